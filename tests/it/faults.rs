//! The database goes away and comes back; the service is killed. What was answered 200 is stored, exactly once.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio_util::task::AbortOnDropHandle;
use trustdata::platform::clock::Clock;
use trustdata::server::App;
use trustdata::streams;
use uuid::Uuid;

use crate::support::{
    Answer, Load, Process, TestApp, config_for, free_port, listen, new_key, new_stream, now, purchase,
    signal, until, wait_until_ready,
};
use crate::wire::Wire;

/// A service behind a wire, with the stream and the key of another one that is not.
struct Behind {
    app: TestApp,
    wire: Wire,
    address: SocketAddr,
    _server: AbortOnDropHandle<()>,
    _service: App,
}

impl Behind {
    async fn start(pool: &PgPool) -> Self {
        let app = TestApp::start(pool.clone()).await;
        let mut config = config_for(&pool.connect_options());
        let wire = Wire::before(&mut config).await;
        let service = App::start(&config, Clock::fixed(now())).await.unwrap();
        let (address, server) = listen(&service).await;
        Self {
            app,
            wire,
            address,
            _server: server,
            _service: service,
        }
    }

    fn post(&self, attribution_id: Uuid, query: &str, token: &str) -> reqwest::RequestBuilder {
        let url = format!(
            "http://{}/webhooks/custom/{attribution_id}/purchase{query}",
            self.address
        );
        let request = self.app.http.post(url).bearer_auth(token);
        request.header("content-type", "application/json")
    }

    async fn send(&self, id: &str) -> Answer {
        let request = self.post(self.app.attribution_id, "", &self.app.token);
        Answer::of(request.body(purchase(id).to_string())).await
    }

    /// Sends until it is taken.
    async fn send_until_taken(&self, id: &str) {
        for _ in 0..200 {
            if self.send(id).await.status == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the database is not found again");
    }

    async fn health(&self) -> Answer {
        let url = format!("http://{}/readyz", self.address);
        Answer::of(self.app.http.get(url)).await
    }
}

/// What a sender is told while there is no database, and how soon.
async fn refused_in_time(request: reqwest::RequestBuilder, what: &str) {
    let started = Instant::now();
    let answer = Answer::of(request).await;
    let told = (
        answer.status.as_u16(),
        answer.code(),
        answer.header("retry-after"),
    );
    assert_eq!(told, (503, "unavailable", "1"), "{what}");
    let waited = started.elapsed();
    assert!(
        waited < Duration::from_millis(1500),
        "{what}: 503 took {waited:?}"
    );
}

/// The table, locked against everybody until it is rolled back.
async fn locked(pool: &PgPool, table: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut other = pool.begin().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("lock table {table}")))
        .execute(&mut *other)
        .await
        .unwrap();
    other
}

#[sqlx::test]
async fn a_database_that_is_cut_off_is_found_again(pool: PgPool) {
    let behind = Behind::start(&pool).await;
    assert_eq!(behind.send("before").await.status, 200);
    assert_eq!(behind.health().await.status, 200);
    behind.wire.cut();
    let (stream, token) = (behind.app.attribution_id, &behind.app.token);
    for i in 0..5 {
        let request = behind.post(stream, "", token);
        refused_in_time(request.body(purchase(&format!("during-{i}")).to_string()), "cut").await;
    }
    assert_eq!(behind.health().await.status, 503);
    behind.wire.mend();
    behind.send_until_taken("after").await;
    wait_until_ready(&behind.app.http, behind.address).await;
    let stored: Vec<String> =
        sqlx::query_scalar("select conversion_id from conversions order by conversion_id")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(stored, ["after", "before"]);
}

/// What changes while nobody listens holds once somebody does, though the old state was loaded in between.
#[sqlx::test]
async fn a_key_revoked_while_nobody_listened_is_revoked(pool: PgPool) {
    let behind = Behind::start(&pool).await;
    behind.wire.cut();
    // The first attempt to listen again has failed by now, and the next one is a moment away.
    tokio::time::sleep(Duration::from_millis(600)).await;
    behind.wire.mend();
    behind.send_until_taken("1").await;
    let (property_id, key_id) = (behind.app.property_id, behind.app.key_id);
    trustdata::keys::store::revoke(&mut pool.acquire().await.unwrap(), property_id, key_id, now())
        .await
        .unwrap();
    until("the key is revoked", async || {
        behind.send("2").await.code() == "revoked_key"
    })
    .await;
}

/// A balancer sends nothing to an instance that is not ready: it has to find back by itself.
#[sqlx::test]
async fn readiness_comes_back_without_traffic(pool: PgPool) {
    let behind = Behind::start(&pool).await;
    assert_eq!(behind.send("before").await.status, 200);
    behind.wire.cut();
    assert_eq!(behind.send("during").await.status, 503);
    // The other writer has not sent anything, and finds out all the same.
    let lost = "the recorder cannot reach the database";
    let mut health = behind.health().await;
    for _ in 0..200 {
        if health.body["checks"]["recorder"] == lost {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        health = behind.health().await;
    }
    assert_eq!(
        (health.status.as_u16(), &health.body["checks"]["recorder"]),
        (503, &lost.into())
    );
    behind.wire.mend();
    wait_until_ready(&behind.app.http, behind.address).await;
}

#[sqlx::test]
async fn a_transaction_that_always_loses_is_no_outage(pool: PgPool) {
    sqlx::raw_sql(
        "create function lose() returns trigger language plpgsql as $$
         begin raise 'lost' using errcode = 'deadlock_detected'; end $$;
         create trigger lose before insert on conversions for each row
         when (new.conversion_id = 'unlucky') execute function lose();",
    )
    .execute(&pool)
    .await
    .unwrap();
    let app = TestApp::start_with(pool, |config| config.recorder.writers = 1).await;
    assert_eq!(app.send("purchase", &purchase("1")).await.status, 200);
    let answer = app.send("purchase", &purchase("unlucky")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
    let health = Answer::of(app.http.get(app.url("/readyz"))).await;
    assert_eq!(health.status, 200, "{health:?}");
    assert_eq!(app.send("purchase", &purchase("2")).await.status, 200);
}

#[sqlx::test]
async fn a_database_that_goes_silent_is_given_up_in_time(pool: PgPool) {
    let behind = Behind::start(&pool).await;
    let app = &behind.app;
    let unseen = new_stream(&app.clock, app.property_id);
    let mut conn = pool.acquire().await.unwrap();
    streams::store::insert_stream(&mut conn, &unseen).await.unwrap();
    let (_, new_token) = new_key(&pool, &app.clock, app.property_id, app.attribution_id, |_| {}).await;
    assert_eq!(behind.send("before").await.status, 200);

    behind.wire.silence();
    let cases = [
        ("all known", app.attribution_id, "", &app.token),
        ("dry run", app.attribution_id, "?dry_run=true", &app.token),
        ("new key", app.attribution_id, "", &new_token),
        ("new stream", unseen.attribution_id, "", &app.token),
    ];
    for (what, stream, query, token) in cases {
        let request = behind.post(stream, query, token);
        refused_in_time(request.body(purchase("during").to_string()), what).await;
    }
    behind.wire.mend();
    behind.send_until_taken("after").await;
    wait_until_ready(&app.http, behind.address).await;
    for (what, stream, query, token) in &cases[..3] {
        let request = behind.post(*stream, query, token);
        let answer = Answer::of(request.body(purchase("after").to_string())).await;
        assert_eq!(answer.status, 200, "{what}");
    }
}

/// A connection is there, and the statement does not end.
#[sqlx::test]
async fn look_ups_have_a_deadline(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    for (table, query) in [
        ("streams", ""),
        ("webhook_keys", ""),
        ("conversions", "?dry_run=true"),
    ] {
        let other = locked(&pool, table).await;
        let request = app.http.post(app.webhook("purchase") + query);
        let request = request
            .bearer_auth(&app.token)
            .header("content-type", "application/json");
        refused_in_time(request.body(purchase("1").to_string()), table).await;
        other.rollback().await.unwrap();
        if table == "webhook_keys" {
            assert_eq!(app.send("purchase", &purchase("1")).await.status, 200);
        }
    }
}

/// Whoever gives a look-up up leaves a connection behind that will never answer.
#[sqlx::test]
async fn look_ups_that_were_given_up_hold_no_place_in_the_pool(pool: PgPool) {
    let behind = Behind::start(&pool).await;
    let token = &behind.app.token;
    let other = locked(&pool, "streams").await;
    let hanging = (0..6).map(|_| refused_in_time(behind.post(Uuid::new_v4(), "", token), "hanging"));
    let silence = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        behind.wire.silence();
        other.rollback().await.unwrap();
    };
    tokio::join!(futures_util::future::join_all(hanging), silence);
    behind.wire.mend();
    wait_until_ready(&behind.app.http, behind.address).await;
    let unknown = behind.post(Uuid::new_v4(), "", token);
    assert_eq!(Answer::of(unknown).await.code(), "unknown_attribution_id");
}

#[sqlx::test]
async fn what_waits_is_bounded_by_bytes(pool: PgPool) {
    let app = TestApp::start_with(pool.clone(), |config| {
        config.recorder.queue_bytes = 1_000_000;
        config.recorder.answer_within = Duration::from_secs(8);
    })
    .await;
    let large = |id: &str| {
        let mut event = purchase(id);
        event["note"] = "x".repeat(200_000).into();
        event
    };
    assert_eq!(app.send("purchase", &large("0")).await.status, 200);
    let other = locked(&pool, "conversions").await;
    let waiting = ["1", "2", "3", "4"].map(async |id| app.send("purchase", &large(id)).await.status);
    let beyond = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        refused_in_time(app.post("purchase").body(large("5").to_string()), "full").await;
        let health = Answer::of(app.http.get(app.url("/readyz"))).await;
        other.rollback().await.unwrap();
        assert_eq!(health.body["checks"]["recorder"], "the recorder's queue is full");
    };
    let (statuses, ()) = tokio::join!(futures_util::future::join_all(waiting), beyond);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(app.send("purchase", &large("5")).await.status, 200);
}

#[sqlx::test]
async fn ten_kills_under_load_lose_nothing_that_was_acknowledged(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let database =
        secrecy::ExposeSecret::expose_secret(&config_for(&pool.connect_options()).database.url).to_owned();
    let (port, internal) = (free_port().await, free_port().await);
    let webhook = format!(
        "http://127.0.0.1:{port}/webhooks/custom/{}/purchase",
        app.attribution_id
    );
    let load = Load::start(&webhook, &app.token);
    for _ in 0..10 {
        let process = Process::start(&database, port, internal).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(process);
    }
    let acknowledged = load.stop().await.acknowledged;
    let stored: Vec<String> = sqlx::query_scalar("select conversion_id from conversions")
        .fetch_all(&pool)
        .await
        .unwrap();
    let stored_once: std::collections::HashSet<&String> = stored.iter().collect();
    assert_eq!(stored_once.len(), stored.len(), "stored twice");
    assert!(
        acknowledged.len() > 100,
        "the load reached the service: {}",
        acknowledged.len()
    );
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|id| !stored_once.contains(id))
        .collect();
    assert!(
        lost.is_empty(),
        "acknowledged {}, lost {lost:?}",
        acknowledged.len()
    );
    // Each has the audit row that was committed with it.
    let audited: i64 =
        sqlx::query_scalar("select count(distinct conversion_id) from activity where not duplicate")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(usize::try_from(audited).unwrap(), stored.len());
}

#[sqlx::test]
async fn sigterm_ends_cleanly(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let database =
        secrecy::ExposeSecret::expose_secret(&config_for(&pool.connect_options()).database.url).to_owned();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_trustdata"))
        .arg("serve")
        .env("TRUSTDATA__DATABASE__URL", database)
        .env(
            "TRUSTDATA__SERVER__LISTEN",
            format!("127.0.0.1:{}", free_port().await),
        )
        .env(
            "TRUSTDATA__SERVER__INTERNAL_LISTEN",
            format!("127.0.0.1:{}", free_port().await),
        )
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("serving") {
            break;
        }
    }
    let pid = child.id().unwrap().to_string();
    signal("TERM", &pid);
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.code(), Some(0));
    drop(app);
}
