//! Conversions on their way to platforms: what is sent, what is not, and what becomes of it. The platform is a server of the test's own that
//! answers as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;
use trustdata::audit::Actor;
use trustdata::destinations::{self, Destination, Policy, seal_settings};
use trustdata::forwarding;
use trustdata::forwarding::listing::{Replay, Span};
use trustdata::forwarding::platforms::Name;
use trustdata::platform::secrets::{Sealer, key_of_database};
use uuid::Uuid;

use crate::support::{Answer, TestApp, now, purchase, until};

/// Enough for everything in these tests.
pub const ROOM: forwarding::store::Room = forwarding::store::Room {
    events: 100,
    bytes: 1_000_000,
};

/// What a request is answered, by its body.
type Answers = Arc<dyn Fn(&Value) -> Response + Send + Sync>;

/// A platform that keeps what it is sent.
pub struct Double {
    pub url: String,
    got: Arc<Mutex<Vec<Value>>>,
    answers: Arc<Mutex<Answers>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Shared {
    got: Arc<Mutex<Vec<Value>>>,
    answers: Arc<Mutex<Answers>>,
}

async fn answer(State(shared): State<Shared>, _uri: Uri, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answers = Arc::clone(&shared.answers.lock().unwrap());
    shared.got.lock().unwrap().push(body.clone());
    answers(&body)
}

pub fn received(body: &Value) -> Response {
    let events = body["data"].as_array().map_or(0, Vec::len);
    axum::Json(json!({ "events_received": events, "fbtrace_id": "trace-1" })).into_response()
}

impl Double {
    pub async fn start() -> Self {
        let shared = Shared {
            got: Arc::default(),
            answers: Arc::new(Mutex::new(Arc::new(received))),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            url,
            got: shared.got,
            answers: shared.answers,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// How it answers from now on.
    pub fn answers(&self, with: impl Fn(&Value) -> Response + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Arc::new(with);
    }

    /// Bodies of all requests that it got, in order; null where one was not JSON.
    pub fn got(&self) -> Vec<Value> {
        self.got.lock().unwrap().clone()
    }

    /// Ids of all events that it got, in order.
    pub fn event_ids(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        let events = got.iter().filter_map(|body| body["data"].as_array()).flatten();
        events
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Seals as the service does.
async fn services_sealer(app: &TestApp) -> Sealer {
    let mut conn = app.pool.acquire().await.unwrap();
    let key = key_of_database(&mut conn, now()).await.unwrap();
    let secrets = trustdata::platform::config::load(None).unwrap().secrets;
    Sealer::new(&secrets, Some(key)).unwrap()
}

/// Makes a destination on Meta; `change` says what is not as usual.
pub async fn destination(app: &TestApp, url: &str, change: impl FnOnce(&mut Destination)) -> Uuid {
    let settings = json!({ "pixel_id": "123456", "access_token": "token" });
    destination_on(app, "meta", &settings, url, change).await
}

/// Makes a destination on a platform.
pub async fn destination_on(
    app: &TestApp,
    platform: &str,
    settings: &Value,
    url: &str,
    change: impl FnOnce(&mut Destination),
) -> Uuid {
    let sealer = services_sealer(app).await;
    let mut conn = app.pool.acquire().await.unwrap();
    let destination_id = app.clock.new_id();
    let settings = settings.to_string().into();
    let mut destination = Destination {
        destination_id,
        property_id: app.property_id,
        attribution_id: app.attribution_id,
        platform: platform.to_owned(),
        name: platform.to_owned(),
        settings_sealed: seal_settings(&settings, app.property_id, destination_id, &sealer).unwrap(),
        base_url: Some(url.to_owned()),
        base_url_anywhere: true,
        topics: None,
        policy: Policy::Matched,
        created_at: now(),
        paused_at: None,
        paused_reason: None,
        removed_at: None,
    };
    change(&mut destination);
    destinations::store::insert(&mut conn, &destination)
        .await
        .unwrap();
    until_known(app, destination_id).await;
    destination_id
}

/// Waits until the service knows a destination: a stream's are cached, and a notification empties the cache a moment later. Until then a
/// conversion is promised to those alone that are known.
pub async fn until_known(app: &TestApp, destination_id: Uuid) {
    let body = consented("dry", "dry").to_string();
    until("the destination is known", async || {
        let url = format!("{}?dry_run=true", app.webhook("purchase"));
        let request = app.http.post(url).bearer_auth(&app.token);
        let request = request.header("content-type", "application/json");
        let answer = Answer::of(request.body(body.clone())).await;
        let told = answer.body["forwarding"].to_string();
        told.contains(&destination_id.to_string())
    })
    .await;
}

/// A destination as it is now.
pub async fn found(app: &TestApp, destination_id: Uuid) -> Destination {
    let mut conn = app.pool.acquire().await.unwrap();
    let wanted = [(app.property_id, destination_id)];
    let found = destinations::store::find(&mut conn, &wanted).await;
    found.unwrap().pop().unwrap()
}

/// A purchase that may be forwarded.
pub fn consented(id: &str, visitor: &str) -> Value {
    let mut body = purchase(id);
    body["visitor_id"] = json!(visitor);
    body["consent"] = json!({ "advertising": true });
    body["user_data"] = json!({ "email": "jane@example.com" });
    body
}

/// State and reason of each delivery of a conversion.
pub async fn states(app: &TestApp, conversion_id: &str) -> Vec<(String, Option<String>)> {
    sqlx::query_as(
        "select d.state, d.reason from deliveries d join conversions c using (property_id, event_id)
         where c.conversion_id = $1 order by d.state desc, d.reason",
    )
    .bind(conversion_id)
    .fetch_all(&app.pool)
    .await
    .unwrap()
}

/// Waits until the conversion's deliveries stand so.
pub async fn becomes(app: &TestApp, conversion_id: &str, expected: &[(&str, Option<&str>)]) {
    let expected: Vec<(String, Option<String>)> = expected
        .iter()
        .map(|(state, reason)| ((*state).to_owned(), reason.map(str::to_owned)))
        .collect();
    let mut found = Vec::new();
    for _ in 0..500 {
        found = states(app, conversion_id).await;
        if found == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(found, expected, "{conversion_id}");
}

#[sqlx::test]
async fn a_consented_and_matched_purchase_is_sent_once_and_accounted_for(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |_| ()).await;
    app.session("v-1", 1.0, "utm_source=facebook&utm_medium=cpc&fbclid=Click-1")
        .await;
    assert_eq!(app.send("purchase", &consented("o-1", "v-1")).await.status, 200);
    becomes(&app, "o-1", &[("accepted", None)]).await;
    assert_eq!(app.send("purchase", &consented("o-1", "v-1")).await.status, 200);
    assert_eq!(double.event_ids(), ["o-1"]);
    let sent = double.got.lock().unwrap()[0]["data"][0].clone();
    assert_eq!(
        (&sent["event_name"], &sent["custom_data"]["value"]),
        (&json!("Purchase"), &json!(99))
    );
    let clicked = (now() - TimeDelta::days(1)).timestamp_millis();
    assert_eq!(sent["user_data"]["fbc"], format!("fb.1.{clicked}.Click-1"));
    let hash = sent["user_data"]["em"][0].as_str().unwrap();
    assert!(hash.len() == 64 && !sent.to_string().contains("jane"), "{sent}");
    let (request_id, attempts, clear): (String, i32, bool) = sqlx::query_as(
        "select request_id, attempts, position('o-1'::bytea in payload_sealed) > 0 from deliveries",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!((request_id.as_str(), attempts, clear), ("trace-1", 1, false));
}

#[sqlx::test]
async fn nothing_is_sent_without_consent_and_each_reason_shows(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |_| ()).await;
    app.session("v-1", 1.0, "utm_source=x").await;
    let mut denied = consented("denied", "v-1");
    denied["consent"] = json!({ "advertising": false });
    let mut unknown = consented("unknown", "v-1");
    unknown.as_object_mut().unwrap().remove("consent");
    let unmatched = consented("unmatched", "v-2");
    let mut old = consented("old", "v-1");
    old["event_time"] = json!((now() - TimeDelta::days(8)).timestamp());
    app.session("v-1", 9.0, "utm_source=x").await;
    for body in [denied, unknown, unmatched, old] {
        assert_eq!(app.send("purchase", &body).await.status, 200);
    }
    let refund = json!({ "conversion_id": "denied", "value": 5, "currency": "USD", "visitor_id": "v-1", "consent": { "advertising": true } });
    assert_eq!(app.send("refund", &refund).await.status, 200);
    becomes(&app, "unknown", &[("suppressed", Some("consent_unknown"))]).await;
    becomes(&app, "unmatched", &[("suppressed", Some("not_matched"))]).await;
    becomes(&app, "old", &[("expired", Some("too_old"))]).await;
    let mut reasons = states(&app, "denied").await;
    for _ in 0..200 {
        if reasons.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        reasons = states(&app, "denied").await;
    }
    reasons.sort();
    let suppressed = |reason: &str| ("suppressed".to_owned(), Some(reason.to_owned()));
    assert_eq!(
        reasons,
        [suppressed("consent_denied"), suppressed("topic_not_supported")]
    );
    assert!(double.event_ids().is_empty());
}

#[sqlx::test]
async fn a_dry_run_shows_what_would_be_sent(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |_| ()).await;
    destination(&app, &double.url, |d| d.policy = Policy::OwnClick).await;
    app.session("v-1", 1.0, "utm_source=google&gclid=x").await;
    let dry = |body: Value| {
        let url = format!("{}?dry_run=true", app.webhook("purchase"));
        let request = app
            .http
            .post(url)
            .bearer_auth(&app.token)
            .header("content-type", "application/json");
        crate::support::Answer::of(request.body(body.to_string()))
    };
    let answer = dry(consented("o-1", "v-1")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let forwarding = answer.body["forwarding"].as_array().unwrap();
    let sent = forwarding.iter().find(|one| one["state"] == "queued").unwrap();
    assert_eq!(sent["payload"]["event_id"], "o-1");
    assert!(!answer.body.to_string().contains("jane@"), "{answer:?}");
    let not_sent = forwarding
        .iter()
        .find(|one| one["state"] == "suppressed")
        .unwrap();
    assert_eq!(not_sent["reason"], "not_own_click");
    let mut denied = consented("o-1", "v-1");
    denied["consent"] = json!({ "advertising": false });
    let answer = dry(denied).await;
    let reasons: Vec<&Value> = answer.body["forwarding"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["reason"])
        .collect();
    assert_eq!(reasons, ["consent_denied", "consent_denied"]);
    assert_eq!(app.count("outbox").await + app.count("deliveries").await, 0);
    assert!(double.event_ids().is_empty());
}

#[sqlx::test]
async fn a_late_match_is_sent_after_all(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |_| ()).await;
    app.send("purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("suppressed", Some("not_matched"))]).await;
    app.session("v-1", 1.0, "utm_source=x").await;
    // An imported session wakes nobody; the look after a minute finds it.
    app.clock.advance(TimeDelta::minutes(2));
    becomes(&app, "o-1", &[("accepted", None)]).await;
}

#[sqlx::test]
async fn a_platform_that_hangs_or_fails_delays_no_other(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (good, bad) = (Double::start().await, Double::start().await);
    bad.answers(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    // It takes connections and never says a word.
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", hanging.local_addr().unwrap());
    destination(&app, &silent, |_| ()).await;
    destination(&app, &bad.url, |_| ()).await;
    for _ in 0..8 {
        destination(&app, &good.url, |_| ()).await;
    }
    app.session("v-1", 1.0, "utm_source=x").await;
    app.send("purchase", &consented("o-1", "v-1")).await;
    let mut expected = vec![("queued", None), ("queued", None)];
    expected.extend([("accepted", None); 8]);
    becomes(&app, "o-1", &expected).await;
    // The books: one conversion, ten destinations.
    let mut conn = app.pool.acquire().await.unwrap();
    let all = destinations::store::all(&mut conn, app.property_id, None, true)
        .await
        .unwrap();
    assert_eq!(all.len(), 10);
    for destination in &all {
        let book = forwarding::books(&mut conn, destination, Span::default())
            .await
            .unwrap();
        assert_eq!(
            (book.promised, book.total, book.balanced),
            (1, 1, true),
            "{book:?}"
        );
    }
}

#[sqlx::test]
async fn refused_credentials_pause_the_destination_and_lose_nothing(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    double.answers(|_| {
        let error = json!({ "error": { "code": 190, "message": "token expired" } });
        (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
    });
    let destination_id = destination(&app, &double.url, |_| ()).await;
    app.session("v-1", 1.0, "utm_source=x").await;
    app.send("purchase", &consented("o-1", "v-1")).await;
    let mut paused: Option<String> = None;
    for _ in 0..500 {
        paused = sqlx::query_scalar("select paused_reason from destinations")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        if paused.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(paused.unwrap().contains("190"));
    becomes(&app, "o-1", &[("queued", None)]).await;
    let sent = double.event_ids().len();
    double.answers(received);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(
        double.event_ids().len(),
        sent,
        "a paused destination is left alone"
    );
    let mut conn = app.pool.acquire().await.unwrap();
    destinations::store::resume(&mut conn, app.property_id, destination_id)
        .await
        .unwrap();
    becomes(&app, "o-1", &[("accepted", None)]).await;
    let attempts: i32 = sqlx::query_scalar("select attempts from deliveries")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(attempts, 1, "a try that was no fault of the event does not count");
}

/// Large orders make several requests, none of which is larger than the platform takes; what it has to say of them is read, however long.
#[sqlx::test]
async fn requests_keep_to_the_platforms_bytes_and_long_answers_are_read(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    let destination_id = destination(&app, &double.url, |_| ()).await;
    let mut conn = app.pool.acquire().await.unwrap();
    destinations::store::pause(&mut conn, app.property_id, destination_id, now(), "for the test")
        .await
        .unwrap();
    double.answers(|body| {
        let events = body["data"].as_array().unwrap().len();
        let messages = vec!["weak match"; 100_000];
        axum::Json(json!({ "events_received": events, "messages": messages, "fbtrace_id": "t" }))
            .into_response()
    });
    app.session("v-1", 1.0, "utm_source=x").await;
    let products: Vec<Value> = (0..200)
        .map(|n| json!({ "id": n, "name": "n".repeat(500), "brand": "b".repeat(500) }))
        .collect();
    for n in 0..8 {
        let mut event = consented(&format!("o-{n}"), "v-1");
        event["products"] = json!(products);
        assert_eq!(app.send("purchase", &event).await.status, 200);
    }
    becomes(&app, "o-7", &[("queued", None)]).await;
    destinations::store::resume(&mut conn, app.property_id, destination_id)
        .await
        .unwrap();
    for n in 0..8 {
        becomes(&app, &format!("o-{n}"), &[("accepted", None)]).await;
    }
    let sizes: Vec<(usize, usize)> = double
        .got
        .lock()
        .unwrap()
        .iter()
        .map(|body| (body["data"].as_array().unwrap().len(), body.to_string().len()))
        .collect();
    let most = Name::Meta.spec().limits.bytes;
    assert!(sizes.iter().all(|(_, bytes)| *bytes <= most), "{sizes:?}");
    assert!(sizes.iter().any(|(events, _)| *events > 1), "{sizes:?}");
    assert_eq!(
        sizes.iter().map(|(events, _)| events).sum::<usize>(),
        8,
        "{sizes:?}"
    );
    // The platform's remark is part of the receipt.
    let told: Vec<String> = sqlx::query_scalar("select answer from deliveries")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert!(
        told.iter()
            .all(|answer| answer.starts_with("weak match weak match"))
    );
}

/// How old an event may be is TikTok's limit, or the destination's own: the plan goes by it, and by it the delivery ends.
#[sqlx::test]
async fn a_destinations_own_age_is_what_is_planned_with(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    double.answers(|_| axum::Json(json!({ "code": 0, "message": "OK", "request_id": "r" })).into_response());
    for days in [7, 28] {
        let settings = json!({ "pixel_code": "C4", "access_token": "t", "page_url": "https://shop.example/", "max_age_days": days });
        let sealer = services_sealer(&app).await;
        destination(&app, &double.url, |d| {
            d.platform = "tiktok".to_owned();
            let row = (d.property_id, d.destination_id);
            d.settings_sealed = seal_settings(&settings.to_string().into(), row.0, row.1, &sealer).unwrap();
        })
        .await;
    }
    app.session("v-1", 25.0, "utm_source=x").await;
    let mut old = consented("old", "v-1");
    old["event_time"] = json!((now() - TimeDelta::days(20)).timestamp());
    assert_eq!(app.send("purchase", &old).await.status, 200);
    becomes(&app, "old", &[("expired", Some("too_old")), ("accepted", None)]).await;
}

/// An event that told no page leaves none, and an empty address is no page: the event is not of a website then.
#[sqlx::test]
async fn a_visit_without_a_page_claims_none(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |d| d.policy = Policy::All).await;
    let consent = json!({ "analytics": true, "advertising": true });
    let fields = json!({ "visitor_id": "v-1", "consent": consent, "page_location": null });
    assert_eq!(app.tell("add_to_cart", fields).await.status, 200);
    let stored: String = sqlx::query_scalar("select landing_url from sessions")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(stored, "");
    app.send("purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("accepted", None)]).await;
    let sent = double.got.lock().unwrap()[0]["data"][0].clone();
    assert_eq!(sent["action_source"], "system_generated", "{sent}");
    assert!(sent["event_source_url"].is_null(), "{sent}");
}

#[sqlx::test]
async fn a_platform_gets_its_own_clicks_alone_where_it_is_set_so(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |d| d.policy = Policy::OwnClick).await;
    app.session("own", 1.0, "utm_source=facebook&fbclid=x").await;
    app.session("other", 1.0, "utm_source=google&gclid=x").await;
    // The click that gets the credit decides, not one that there was before.
    app.session("both", 2.0, "utm_source=facebook&fbclid=x").await;
    app.session("both", 1.0, "utm_source=google&gclid=x").await;
    for visitor in ["own", "other", "both", "nobody"] {
        let sent = app.send("purchase", &consented(visitor, visitor)).await;
        assert_eq!(sent.status, 200);
    }
    becomes(&app, "own", &[("accepted", None)]).await;
    becomes(&app, "other", &[("suppressed", Some("not_own_click"))]).await;
    becomes(&app, "both", &[("suppressed", Some("not_own_click"))]).await;
    becomes(&app, "nobody", &[("suppressed", Some("not_matched"))]).await;
    assert_eq!(double.event_ids(), ["own"]);
}

#[sqlx::test]
async fn only_the_bad_event_of_a_batch_dies(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    let destination_id = destination(&app, &double.url, |_| ()).await;
    let mut conn = app.pool.acquire().await.unwrap();
    destinations::store::pause(&mut conn, app.property_id, destination_id, now(), "for the test")
        .await
        .unwrap();
    double.answers(|body| {
        let events = body["data"].as_array().unwrap();
        if events.iter().any(|event| event["event_id"] == "o-7") {
            let error = json!({ "error": { "code": 100, "message": "Invalid parameter" } });
            return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
        }
        received(body)
    });
    app.session("v-1", 1.0, "utm_source=x").await;
    let events: Vec<Value> = (0..20).map(|n| consented(&format!("o-{n}"), "v-1")).collect();
    assert_eq!(app.send("purchase", &Value::Array(events)).await.status, 200);
    becomes(&app, "o-19", &[("queued", None)]).await;
    destinations::store::resume(&mut conn, app.property_id, destination_id)
        .await
        .unwrap();
    becomes(&app, "o-7", &[("dead", Some("refused"))]).await;
    for n in (0..20).filter(|n| *n != 7) {
        becomes(&app, &format!("o-{n}"), &[("accepted", None)]).await;
    }
    // The dead one can be sent again, once the platform takes it.
    double.answers(received);
    let destination = found(&app, destination_id).await;
    let (actor, all) = (Actor::CommandLine, Replay::default());
    let replayed = forwarding::replay(&mut conn, &actor, &destination, &all, &app.clock).await;
    assert_eq!(replayed.unwrap(), 1);
    becomes(&app, "o-7", &[("accepted", None)]).await;
}

#[sqlx::test]
async fn what_a_dead_worker_held_is_sent_by_another_under_the_same_id(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    let destination_id = destination(&app, &double.url, |_| ()).await;
    let mut conn = app.pool.acquire().await.unwrap();
    destinations::store::pause(&mut conn, app.property_id, destination_id, now(), "for the test")
        .await
        .unwrap();
    app.session("v-1", 1.0, "utm_source=x").await;
    app.send("purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("queued", None)]).await;
    // A worker that claims, and is never heard of again.
    let until = app.clock.now() + TimeDelta::minutes(5);
    let lease = Uuid::new_v4();
    let claimed = forwarding::store::claim(
        &mut conn,
        app.property_id,
        destination_id,
        lease,
        (app.clock.now(), until),
        ROOM,
    )
    .await
    .unwrap();
    assert_eq!(claimed.len(), 1);
    destinations::store::resume(&mut conn, app.property_id, destination_id)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(double.event_ids().is_empty(), "it is in the other's hands");
    app.clock.advance(TimeDelta::minutes(6));
    becomes(&app, "o-1", &[("accepted", None)]).await;
    // The first one comes back to life: its word counts no more.
    let late = forwarding::store::Settled::new(claimed[0].event_id, forwarding::state::State::Dead);
    let settled = forwarding::store::settle(
        &mut conn,
        app.property_id,
        destination_id,
        lease,
        std::slice::from_ref(&late),
        now(),
    );
    assert_eq!(settled.await.unwrap(), 0);
    assert_eq!(double.event_ids(), ["o-1"]);
}

#[sqlx::test]
async fn a_destination_that_was_taken_away_gets_nothing_more(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    let destination_id = destination(&app, &double.url, |_| ()).await;
    let mut conn = app.pool.acquire().await.unwrap();
    destinations::store::pause(&mut conn, app.property_id, destination_id, now(), "for the test")
        .await
        .unwrap();
    app.session("v-1", 1.0, "utm_source=x").await;
    app.send("purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("queued", None)]).await;
    destinations::store::remove(&mut conn, app.property_id, destination_id, now())
        .await
        .unwrap();
    becomes(&app, "o-1", &[("suppressed", Some("destination_removed"))]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    app.send("purchase", &consented("o-2", "v-1")).await;
    assert_eq!(app.count("outbox").await, 0);
    assert!(states(&app, "o-2").await.is_empty() && double.event_ids().is_empty());
}

#[sqlx::test]
async fn a_number_beyond_all_bounds_stops_nobody(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |_| ()).await;
    app.session("v-1", 1.0, "utm_source=facebook&fbclid=Click-1")
        .await;
    let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
    let odd = format!(
        r#""value":99,"currency":"USD","visitor_id":"v-1","y":-1e999,"products":[{{"id":"p","z":1e999}}],
           "consent":{{"analytics":true,"advertising":true,"x":1e999,"deep":{deep}}},"user_data":{{"email":"jane@example.com","n":1e999}}"#
    );
    let sent = app
        .send_raw("purchase", format!(r#"{{"conversion_id":"o-1",{odd}}}"#))
        .await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let told = format!(
        r#"{{"event_name":"purchase","attribution_id":"{}","page_location":"https://shop.example/","conversion_id":"o-2",{odd}}}"#,
        app.attribution_id
    );
    let told = crate::support::Answer::of(app.page().body(told)).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(app.send("purchase", &consented("o-3", "v-1")).await.status, 200);
    for id in ["o-1", "o-2", "o-3"] {
        becomes(&app, id, &[("accepted", None)]).await;
    }
    // The same says a dry run.
    let url = format!("{}?dry_run=true", app.webhook("purchase"));
    let dry = app
        .http
        .post(url)
        .bearer_auth(&app.token)
        .header("content-type", "application/json");
    let dry = crate::support::Answer::of(dry.body(format!(r#"{{"conversion_id":"o-4",{odd}}}"#))).await;
    assert_eq!(dry.body["forwarding"][0]["state"], "queued", "{dry:?}");
}

#[sqlx::test]
async fn what_cannot_be_read_dies_alone_and_shows_it(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    let destination_id = destination(&app, &double.url, |_| ()).await;
    app.session("v-1", 1.0, "utm_source=x").await;
    app.session("v-2", 1.0, "utm_source=x").await;
    sqlx::query(r#"update sessions set consent = '{"advertising":"perhaps"}' where visitor_id = 'v-2'"#)
        .execute(&app.pool)
        .await
        .unwrap();
    // Of this one the plan has no need, and the event has.
    app.session("v-3", 2.0, "utm_source=x&gclid=y").await;
    app.session("v-3", 1.0, "utm_source=y").await;
    sqlx::query(
        r#"update sessions set click_ids = '{"gclid":7}' where visitor_id = 'v-3' and click_id is not null"#,
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let visitor = |n: usize| match n {
        7 => "v-2",
        8 => "v-3",
        _ => "v-1",
    };
    let of = |n: usize| consented(&format!("o-{n}"), visitor(n));
    let events = Value::Array((0..20).map(of).collect());
    assert_eq!(app.send("purchase", &events).await.status, 200);
    becomes(&app, "o-7", &[("dead", Some("unreadable"))]).await;
    becomes(&app, "o-8", &[("dead", Some("unreadable"))]).await;
    for n in (0..20).filter(|n| ![7, 8].contains(n)) {
        becomes(&app, &format!("o-{n}"), &[("accepted", None)]).await;
    }
    assert_eq!(app.count("outbox").await, 0);
    let mut conn = app.pool.acquire().await.unwrap();
    let destination = found(&app, destination_id).await;
    let span = trustdata::forwarding::listing::Span::default();
    let books = forwarding::store::ledger(&mut conn, &destination, span, 100)
        .await
        .unwrap();
    assert!(books.balanced, "{books:?}");
    assert_eq!((books.total, books.accepted, books.dead), (20, 18, 2));
    // What could not be read can be mended, and is sent then.
    sqlx::query("update sessions set consent = null, click_ids = null where visitor_id <> 'v-1'")
        .execute(&app.pool)
        .await
        .unwrap();
    let (actor, all) = (Actor::CommandLine, Replay::default());
    let replayed = forwarding::replay(&mut conn, &actor, &destination, &all, &app.clock).await;
    assert_eq!(replayed.unwrap(), 2);
    becomes(&app, "o-7", &[("accepted", None)]).await;
    becomes(&app, "o-8", &[("accepted", None)]).await;
}

/// A page view that came by an ad a minute ago, with consent to advertising.
async fn view_by_ad(app: &TestApp, visitor: &str) {
    let fields = json!({
        "visitor_id": visitor, "event_time": (app.clock.now() - TimeDelta::minutes(1)).timestamp(),
        "page_location": "https://shop.example/?utm_source=facebook&fbclid=Click-1",
        "consent": { "analytics": true, "advertising": true },
    });
    assert_eq!(app.tell("page_view", fields).await.status, 200);
}

#[sqlx::test]
async fn a_session_that_comes_late_brings_consent_and_identifiers(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |d| d.policy = Policy::All).await;
    let bought = |id: &str, visitor: &str| {
        let mut body = purchase(id);
        body["visitor_id"] = json!(visitor);
        body
    };
    // Nobody said anything of consent.
    app.send("purchase", &bought("unasked", "v-1")).await;
    becomes(&app, "unasked", &[("suppressed", Some("consent_unknown"))]).await;
    // Nothing to know the visitor by.
    let mut nobody = bought("nobody", "v-2");
    nobody["consent"] = json!({ "advertising": true });
    app.send("purchase", &nobody).await;
    becomes(&app, "nobody", &[("suppressed", Some("no_identifiers"))]).await;
    // A no stays a no.
    let mut denied = bought("denied", "v-3");
    denied["consent"] = json!({ "advertising": false });
    app.send("purchase", &denied).await;
    becomes(&app, "denied", &[("suppressed", Some("consent_denied"))]).await;
    for visitor in ["v-3", "v-2", "v-1"] {
        view_by_ad(&app, visitor).await;
    }
    becomes(&app, "unasked", &[("accepted", None)]).await;
    becomes(&app, "nobody", &[("accepted", None)]).await;
    crate::support::until("all were matched", async || {
        app.count("awaited_visitors").await == 0 && app.count("outbox").await == 0
    })
    .await;
    becomes(&app, "denied", &[("suppressed", Some("consent_denied"))]).await;
}

#[sqlx::test]
async fn a_busy_property_does_not_always_go_first(pool: PgPool) {
    let app = TestApp::start(pool).await;
    // Nobody's conversions: the service has no such tables to look at.
    let mut conn = app.pool.acquire().await.unwrap();
    let script = format!(
        "create temporary table outbox (like public.outbox including all);
         create temporary table awaited_visitors (like public.awaited_visitors including all);
         insert into properties (property_id, name, created_at) select md5('p' || p)::uuid, 'p', '{0}' from generate_series(1, 9) p;
         insert into outbox (property_id, event_id, destination_ids, created_at)
         select md5('p' || p)::uuid, md5(i::text)::uuid, '{{}}', '{0}' from generate_series(1, 9) p, generate_series(1, case p when 1 then 1 else 50 end) i;
         insert into awaited_visitors (property_id, event_id, visitor_id, attribution_id, look_at, waits_until)
         select property_id, event_id, 'v', property_id, '{0}', '{0}' from outbox",
        now()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&mut *conn)
        .await
        .unwrap();
    let mut taken = std::collections::BTreeMap::<Uuid, (u32, u32)>::new();
    for _ in 0..200 {
        let mut transaction = sqlx::Connection::begin(&mut *conn).await.unwrap();
        let outgoing = destinations::outbox::store::take(&mut transaction, 50)
            .await
            .unwrap();
        let awaited = trustdata::sessions::awaited::store::claim(&mut transaction, now(), 50)
            .await
            .unwrap();
        assert_eq!((outgoing.len(), awaited.len()), (50, 50));
        for out in outgoing {
            taken.entry(out.property_id).or_default().0 += 1;
        }
        for due in awaited {
            taken.entry(due.tenant.property_id).or_default().1 += 1;
        }
        transaction.rollback().await.unwrap();
    }
    assert_eq!(taken.len(), 9, "{taken:?}");
    assert!(
        taken
            .values()
            .all(|(outgoing, awaited)| *outgoing > 0 && *awaited > 0),
        "{taken:?}"
    );
}
