//! Lanes when destinations fail, ask for time or come back, and when places, leases and time run out. The time is the test's: what rests,
//! rests until the test moves it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;
use trustdata::destinations::{self, seal_settings};
use trustdata::forwarding::store::{self, Room};
use trustdata::platform::clock::Clock;
use trustdata::platform::secrets::{Sealer, key_of_database};
use uuid::Uuid;

use crate::forwarding::{Double, ROOM, becomes, consented, destination, received};
use crate::support::{TestApp, now, until};

const LEASE: TimeDelta = TimeDelta::minutes(5);

/// A destination on a platform other than Meta.
async fn on(app: &TestApp, platform: &str, settings: Value, url: &str) -> Uuid {
    let key = key_of_database(&mut app.pool.acquire().await.unwrap(), now()).await;
    let secrets = trustdata::platform::config::load(None).unwrap().secrets;
    let sealer = Sealer::new(&secrets, Some(key.unwrap())).unwrap();
    destination(app, url, |d| {
        platform.clone_into(&mut d.platform);
        let settings = settings.to_string().into();
        d.settings_sealed = seal_settings(&settings, d.property_id, d.destination_id, &sealer).unwrap();
    })
    .await
}

/// A signed webhook: a request for each event, eight of them at a time.
async fn webhook(app: &TestApp, url: &str) -> Uuid {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let settings = json!({ "url": "https://hooks.shop.example/trustdata", "secret": secret });
    on(app, "webhook", settings, url).await
}

async fn failing() -> Double {
    let double = Double::start().await;
    double.answers(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    double
}

/// A visitor whose conversions may be forwarded.
async fn started(pool: PgPool, lanes: usize) -> TestApp {
    let app = TestApp::start_with(pool, |config| config.forwarding.lanes = lanes).await;
    app.session("v-1", 1.0, "utm_source=x").await;
    app
}

/// Sends conversions of these numbers at once.
async fn send(app: &TestApp, numbers: std::ops::Range<usize>) {
    let events: Vec<Value> = numbers.map(|n| consented(&format!("o-{n}"), "v-1")).collect();
    assert_eq!(app.send("purchase", &Value::Array(events)).await.status, 200);
}

async fn pause(app: &TestApp, destination_id: Uuid) {
    let mut conn = app.pool.acquire().await.unwrap();
    destinations::store::pause(&mut conn, app.property_id, destination_id, now(), "for the test")
        .await
        .unwrap();
}

async fn resume(app: &TestApp, destination_id: Uuid) {
    let mut conn = app.pool.acquire().await.unwrap();
    destinations::store::resume(&mut conn, app.property_id, destination_id)
        .await
        .unwrap();
}

/// Waits until so many deliveries are as `what` says.
async fn until_there_are(app: &TestApp, expected: i64, what: &str) {
    until(what, async || {
        app.count(&format!("deliveries where {what}")).await == expected
    })
    .await;
}

/// What a platform's handler knows of the test, to meddle in the middle of a request.
#[derive(Clone)]
struct Meddler {
    pool: PgPool,
    clock: Clock,
    property_id: Uuid,
    destination_id: Arc<OnceLock<Uuid>>,
    requests: Arc<AtomicUsize>,
    claimed: Arc<AtomicUsize>,
}

impl Meddler {
    fn of(app: &TestApp) -> Self {
        Self {
            pool: app.pool.clone(),
            clock: app.clock.clone(),
            property_id: app.property_id,
            destination_id: Arc::default(),
            requests: Arc::default(),
            claimed: Arc::default(),
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Claims what is due, as another instance would; how many.
    async fn claim(&self, at: DateTime<Utc>, room: Room) -> (Uuid, usize) {
        let lease = Uuid::new_v4();
        let mut conn = self.pool.acquire().await.unwrap();
        let destination_id = *self.destination_id.get().unwrap();
        let until = at + LEASE;
        let claimed = store::claim(
            &mut conn,
            self.property_id,
            destination_id,
            lease,
            (at, until),
            room,
        );
        let claimed = claimed.await.unwrap().len();
        self.claimed.fetch_add(claimed, Ordering::SeqCst);
        (lease, claimed)
    }

    /// A webhook whose requests are met by `meet`, which is told how many came before; many conversions wait for it, and then go at once.
    async fn webhook<F>(
        &self,
        app: &TestApp,
        conversions: usize,
        meet: impl Fn(Self, usize) -> F + Clone + Send + Sync + 'static,
    ) -> AbortOnDropHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let meddler = self.clone();
        let (url, server) = serve(move || {
            let before = meddler.requests.fetch_add(1, Ordering::SeqCst);
            meet(meddler.clone(), before)
        })
        .await;
        let destination_id = webhook(app, &url).await;
        self.destination_id.set(destination_id).unwrap();
        pause(app, destination_id).await;
        send(app, 0..conversions).await;
        let planned = format!("destination_id = '{destination_id}'");
        until_there_are(app, conversions as i64, &planned).await;
        resume(app, destination_id).await;
        server
    }
}

/// A server that does something before each answer.
async fn serve<F>(meet: impl Fn() -> F + Clone + Send + Sync + 'static) -> (String, AbortOnDropHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().fallback(move || {
        let met = meet();
        async move {
            met.await;
            StatusCode::NO_CONTENT
        }
    });
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (url, AbortOnDropHandle::new(server))
}

#[sqlx::test]
async fn more_dead_destinations_than_places_leave_places_to_others(pool: PgPool) {
    let app = started(pool, 2).await;
    let (dead, good) = (failing().await, Double::start().await);
    for _ in 0..4 {
        webhook(&app, &dead.url).await;
    }
    destination(&app, &good.url, |_| ()).await;
    send(&app, 0..60).await;
    let mut expected = vec![("queued", None); 4];
    expected.push(("accepted", None));
    becomes(&app, "o-59", &expected).await;
    // All the dead ones were tried too, each in its turn, and rest now.
    until("all were tried", async || {
        app.count("deliveries where code = 'http_500'").await >= 4 * 40
    })
    .await;
    send(&app, 60..61).await;
    becomes(&app, "o-60", &expected).await;
}

#[sqlx::test]
async fn a_destination_with_much_to_send_lets_others_have_their_turn(pool: PgPool) {
    let app = started(pool, 1).await;
    let quick = Double::start().await;
    let quick_id = destination(&app, &quick.url, |_| ()).await;
    pause(&app, quick_id).await;
    let slow = Meddler::of(&app);
    let take_time = |_: Meddler, _: usize| tokio::time::sleep(std::time::Duration::from_millis(100));
    let _server = slow.webhook(&app, 800, take_time).await;
    until("the slow one is at it", async || slow.requests() > 0).await;
    resume(&app, quick_id).await;
    until("the other one had its turn", async || {
        quick.event_ids().len() == 800
    })
    .await;
    assert!(slow.requests() < 800);
}

#[sqlx::test]
async fn a_destination_that_fails_time_and_again_is_left_alone_however_little_it_gets(pool: PgPool) {
    let app = started(pool, 64).await;
    let (dead, good) = (failing().await, Double::start().await);
    destination(&app, &dead.url, |_| ()).await;
    destination(&app, &good.url, |_| ()).await;
    let expected = [("queued", None), ("accepted", None)];
    for n in 0..5 {
        send(&app, n..n + 1).await;
        becomes(&app, &format!("o-{n}"), &expected).await;
        until_there_are(&app, n as i64 + 1, "http_status = 500").await;
    }
    for n in 5..8 {
        send(&app, n..n + 1).await;
        becomes(&app, &format!("o-{n}"), &expected).await;
    }
    assert_eq!(dead.got().len(), 5, "the breaker is open");
    app.clock.advance(TimeDelta::seconds(6));
    until("it is tried again, with one", async || dead.got().len() == 6).await;
    assert_eq!(dead.event_ids().len(), 6);
    dead.answers(received);
    app.clock.advance(TimeDelta::hours(1));
    until_there_are(&app, 16, "state = 'accepted'").await;
    let failed = app
        .count("deliveries where code is not null or http_status <> 200")
        .await;
    assert_eq!(
        failed, 0,
        "what was taken in the end keeps no code of a try before"
    );
}

#[sqlx::test]
async fn requests_that_fail_among_many_that_do_not_stop_nothing(pool: PgPool) {
    let app = started(pool, 64).await;
    let double = Double::start().await;
    double.answers(|body| {
        let id = body["data"]["conversion_id"].as_str().unwrap();
        let n: usize = id.trim_start_matches("o-").parse().unwrap();
        match n % 8 {
            0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            _ => StatusCode::NO_CONTENT.into_response(),
        }
    });
    webhook(&app, &double.url).await;
    send(&app, 0..96).await;
    until_there_are(&app, 84, "state = 'accepted'").await;
}

#[sqlx::test]
async fn a_destination_that_asks_for_time_gets_it_for_all_that_waits(pool: PgPool) {
    let app = started(pool, 64).await;
    let (busy, good) = (Double::start().await, Double::start().await);
    busy.answers(|_| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7200")]).into_response());
    webhook(&app, &busy.url).await;
    destination(&app, &good.url, |_| ()).await;
    send(&app, 0..20).await;
    until_there_are(&app, 8, "http_status = 429").await;
    for (n, seconds) in [(20, 0), (21, 3700)] {
        app.clock.advance(TimeDelta::seconds(seconds));
        send(&app, n..n + 1).await;
        becomes(&app, &format!("o-{n}"), &[("queued", None), ("accepted", None)]).await;
        assert_eq!(busy.got().len(), 8, "after {seconds} s");
    }
    busy.answers(|_| StatusCode::NO_CONTENT.into_response());
    app.clock.advance(TimeDelta::seconds(3501));
    until_there_are(&app, 44, "state = 'accepted'").await;
}

#[sqlx::test]
async fn whoever_resumes_a_destination_has_it_tried_at_once(pool: PgPool) {
    let app = started(pool, 64).await;
    let busy = Double::start().await;
    busy.answers(|_| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7200")]).into_response());
    let destination_id = webhook(&app, &busy.url).await;
    send(&app, 0..1).await;
    until_there_are(&app, 1, "http_status = 429").await;
    busy.answers(|_| StatusCode::NO_CONTENT.into_response());
    send(&app, 1..2).await;
    until_there_are(&app, 2, "true").await;
    // A pause counts once the worker has looked while it lasted.
    let a_look = std::time::Duration::from_millis(600);
    until("what waited is taken", async || {
        pause(&app, destination_id).await;
        tokio::time::sleep(a_look).await;
        resume(&app, destination_id).await;
        tokio::time::sleep(a_look).await;
        app.count("deliveries where state = 'accepted'").await == 1
    })
    .await;
}

/// A platform with access tokens, for which purchases are too early.
#[sqlx::test]
async fn what_is_too_early_for_one_topic_holds_up_no_other_and_a_token_is_kept(pool: PgPool) {
    let app = started(pool, 64).await;
    let google = Double::start().await;
    google.answers(|body| {
        if body.is_null() {
            return axum::Json(json!({ "access_token": "t", "expires_in": 3599 })).into_response();
        }
        let events = body["events"].as_array().unwrap();
        if events
            .iter()
            .any(|event| event["destinationReferences"][0] == "purchase")
        {
            let reason = json!({ "reason": "CONVERSION_ACTION_TOO_RECENTLY_CREATED" });
            let error =
                json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT", "details": [reason] } });
            return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
        }
        axum::Json(json!({ "requestId": "r-1" })).into_response()
    });
    let settings = json!({
        "operating_account_id": "1234567890", "conversion_actions": { "purchase": "111", "lead": "222" },
        "client_id": "c", "client_secret": "s", "refresh_token": "r",
    });
    let destination_id = on(&app, "google_data_manager", settings, &google.url).await;
    pause(&app, destination_id).await;
    let lead = |id: &str| {
        let mut body = consented(id, "v-1");
        body.as_object_mut().unwrap().remove("value");
        body.as_object_mut().unwrap().remove("currency");
        body
    };
    send(&app, 0..3).await;
    assert_eq!(app.send("lead", &lead("l-0")).await.status, 200);
    until_there_are(&app, 4, "true").await;
    resume(&app, destination_id).await;
    becomes(&app, "l-0", &[("accepted", None)]).await;
    until_there_are(&app, 3, "code = 'CONVERSION_ACTION_TOO_RECENTLY_CREATED'").await;
    let waits = app
        .count("deliveries where state = 'queued' and due_at >= '2026-11-01T16:00:00Z'")
        .await;
    assert_eq!(waits, 3);
    for n in 1..4 {
        assert_eq!(app.send("lead", &lead(&format!("l-{n}"))).await.status, 200);
        becomes(&app, &format!("l-{n}"), &[("accepted", None)]).await;
    }
    let tokens = google.got().iter().filter(|body| body.is_null()).count();
    assert_eq!(tokens, 1);
}

/// Each answer takes minutes, and another instance claims whatever is due.
#[sqlx::test]
async fn a_lease_lasts_as_long_as_the_round(pool: PgPool) {
    let app = started(pool, 64).await;
    let other = Meddler::of(&app);
    let meet = |other: Meddler, before: usize| async move {
        if before.is_multiple_of(8) {
            other.clock.advance(TimeDelta::seconds(210));
            other.claim(other.clock.now(), ROOM).await;
        }
    };
    let _server = other.webhook(&app, 32, meet).await;
    until_there_are(&app, 32, "state = 'accepted'").await;
    assert_eq!(other.claimed.load(Ordering::SeqCst), 0);
    assert_eq!(other.requests(), 32);
}

/// The lease is over in the middle of a request, and another instance takes all.
#[sqlx::test]
async fn what_was_lost_to_another_is_left_to_it(pool: PgPool) {
    let app = started(pool, 64).await;
    let other = Meddler::of(&app);
    let meet = |other: Meddler, before: usize| async move {
        if before == 0 {
            other.clock.advance(LEASE + TimeDelta::minutes(1));
            // Twice: after a worker that is gone, one takes fewer at first.
            for _ in 0..2 {
                other.claim(other.clock.now(), ROOM).await;
            }
        }
    };
    let _server = other.webhook(&app, 32, meet).await;
    until("the first requests came", async || other.requests() == 8).await;
    send(&app, 32..33).await;
    becomes(&app, "o-32", &[("accepted", None)]).await;
    assert_eq!(other.claimed.load(Ordering::SeqCst), 32);
    assert_eq!(other.requests(), 9);
}

#[sqlx::test]
async fn an_answer_that_cannot_be_noted_is_noted_later_and_nothing_is_sent_again(pool: PgPool) {
    let app = started(pool.clone(), 64).await;
    let double = Double::start().await;
    destination(&app, &double.url, |_| ()).await;
    // A sequence counts what is rolled back, too.
    sqlx::raw_sql(
        "create table trouble (); create sequence refused; insert into trouble default values;
         create function refuse() returns trigger language plpgsql as $$
         begin
             if exists (select from trouble) then perform nextval('refused'); raise 'away' using errcode = 'admin_shutdown'; end if;
             return new;
         end $$;
         create trigger refuse before update on deliveries for each row when (new.state = 'accepted') execute function refuse();",
    )
    .execute(&pool)
    .await
    .unwrap();
    send(&app, 0..10).await;
    until("it was tried to note it twice", async || {
        app.count("refused where last_value >= 2").await == 1
    })
    .await;
    sqlx::raw_sql("delete from trouble").execute(&pool).await.unwrap();
    until_there_are(&app, 10, "state = 'accepted'").await;
    assert_eq!(double.event_ids().len(), 10, "each was sent once");
}

#[sqlx::test]
async fn what_cannot_be_made_ready_is_let_go_and_tried_in_smaller_parts(pool: PgPool) {
    let app = started(pool.clone(), 64).await;
    let double = Double::start().await;
    let destination_id = destination(&app, &double.url, |_| ()).await;
    pause(&app, destination_id).await;
    send(&app, 0..4).await;
    until_there_are(&app, 4, "true").await;
    let rename = async |from: &str, to: &str| {
        let rename = format!("alter table {from} rename to {to}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(rename))
            .execute(&pool)
            .await
            .unwrap();
    };
    rename("sessions", "away").await;
    resume(&app, destination_id).await;
    // Nobody waits for the lease to end: the clock stands still.
    until_there_are(&app, 4, "attempts >= 2").await;
    rename("away", "sessions").await;
    app.clock.advance(TimeDelta::hours(2));
    until_there_are(&app, 4, "state = 'accepted'").await;
}

#[sqlx::test]
async fn a_claim_is_bounded_and_smaller_after_a_worker_that_is_gone(pool: PgPool) {
    let app = started(pool, 64).await;
    let double = Double::start().await;
    let destination_id = destination(&app, &double.url, |_| ()).await;
    pause(&app, destination_id).await;
    send(&app, 0..20).await;
    until_there_are(&app, 20, "true").await;
    let worker = Meddler::of(&app);
    worker.destination_id.set(destination_id).unwrap();
    let claim = async |at, bytes| worker.claim(at, Room { events: 20, bytes }).await;
    assert_eq!(claim(now() + LEASE, 1).await.1, 1);
    assert_eq!(claim(now() + LEASE, 1_000_000).await.1, 19);
    let later = now() + LEASE * 3;
    assert_eq!(claim(later, 1_000_000).await.1, 5);
    let (lease, claimed) = claim(later + LEASE * 2, 1_000_000).await;
    assert_eq!(claimed, 5);
    // What is in somebody's hands is not suppressed under them.
    let mut conn = app.pool.acquire().await.unwrap();
    let at = later + LEASE * 2;
    let suppressed = store::suppress_queued(
        &mut conn,
        app.property_id,
        destination_id,
        "destination_removed",
        at,
    );
    assert_eq!(suppressed.await.unwrap(), 15);
    let held: i64 =
        sqlx::query_scalar("select count(*) from deliveries where state = 'queued' and lease = $1")
            .bind(lease)
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(held, 5);
}

#[sqlx::test]
async fn taking_a_destination_away_holds_within_a_batch(pool: PgPool) {
    let app = started(pool, 64).await;
    let operator = Meddler::of(&app);
    let meet = |operator: Meddler, before: usize| async move {
        if before == 0 {
            let mut conn = operator.pool.acquire().await.unwrap();
            let destination_id = *operator.destination_id.get().unwrap();
            destinations::store::remove(&mut conn, operator.property_id, destination_id, now())
                .await
                .unwrap();
        }
    };
    let _server = operator.webhook(&app, 24, meet).await;
    until_there_are(&app, 16, "reason = 'destination_removed'").await;
    until_there_are(&app, 8, "state = 'accepted'").await;
    assert_eq!(operator.requests(), 8);
}

#[sqlx::test]
async fn what_waits_too_long_for_the_platform_expires_and_for_ours_is_tried_once_more(pool: PgPool) {
    let app = started(pool, 64).await;
    let (meta, hook) = (Double::start().await, failing().await);
    let ids = [
        destination(&app, &meta.url, |_| ()).await,
        webhook(&app, &hook.url).await,
    ];
    for id in ids {
        pause(&app, id).await;
    }
    send(&app, 0..1).await;
    until_there_are(&app, 2, "true").await;
    app.clock.advance(TimeDelta::days(8));
    let mut conn = app.pool.acquire().await.unwrap();
    let due = store::due(&mut conn, app.clock.now()).await.unwrap();
    drop(conn);
    assert_eq!(
        (due.oldest, due.paused),
        (None, 2),
        "nobody waits for what is paused"
    );
    for id in ids {
        resume(&app, id).await;
    }
    becomes(
        &app,
        "o-0",
        &[("expired", Some("too_old")), ("dead", Some("gave_up"))],
    )
    .await;
    assert!(meta.event_ids().is_empty());
    assert_eq!(hook.got().len(), 1);
    assert_eq!(app.count("deliveries where code = 'http_500'").await, 1);
}

#[sqlx::test]
async fn a_code_that_nobody_knows_is_tried_again_so_often_and_kept(pool: PgPool) {
    let app = started(pool, 64).await;
    let double = Double::start().await;
    double.answers(|_| {
        let error = json!({ "error": { "code": 987_654, "message": "No such thing" } });
        (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
    });
    destination(&app, &double.url, |_| ()).await;
    send(&app, 0..1).await;
    for tries in 1..10 {
        until_there_are(
            &app,
            1,
            &format!("attempts = {tries} and state = 'queued' and lease is null"),
        )
        .await;
        app.clock.advance(TimeDelta::hours(2));
    }
    becomes(&app, "o-0", &[("dead", Some("gave_up"))]).await;
    let kept = app
        .count("deliveries where code = '987654' and attempts = 10")
        .await;
    assert_eq!((kept, double.got().len()), (1, 10));
}
