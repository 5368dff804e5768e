//! The service is killed while it delivers, and shares the work with another instance: nothing is lost, what is sent again is recognisable, and
//! the books balance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;
use trustdata::destinations::{self, Policy};
use trustdata::domain::tenant::Tenant;
use trustdata::forwarding;
use trustdata::forwarding::listing::Span;

use crate::forwarding::destination;
use crate::support::{Load, Process, TestApp, config_for, free_port, purchase};

/// How often each deduplication id came, by destination.
type Arrivals = Arc<Mutex<HashMap<(String, String), usize>>>;

/// A platform that takes its time.
struct Slow {
    url: String,
    arrivals: Arrivals,
    _server: AbortOnDropHandle<()>,
}

async fn take(
    State((arrivals, delay)): State<(Arrivals, Duration)>,
    uri: Uri,
    body: Bytes,
) -> axum::Json<Value> {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let events = body["data"].as_array().unwrap();
    // It has them from here on, whether or not anybody hears the answer.
    for event in events {
        let destination = uri.path().split('/').nth(1).unwrap().to_owned();
        let id = event["event_id"].as_str().unwrap().to_owned();
        *arrivals.lock().unwrap().entry((destination, id)).or_default() += 1;
    }
    tokio::time::sleep(delay).await;
    axum::Json(json!({ "events_received": events.len(), "fbtrace_id": "trace" }))
}

impl Slow {
    async fn start(delay: Duration) -> Self {
        let arrivals = Arrivals::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .fallback(take)
            .with_state((Arc::clone(&arrivals), delay));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            url,
            arrivals,
            _server: AbortOnDropHandle::new(server),
        }
    }
}

/// What is set up before any instance runs as a process.
struct SetUp {
    tenant: Tenant,
    token: String,
    database: String,
}

/// Three destinations that get every conversion. Nothing runs any more when this returns.
async fn set_up(pool: &PgPool, slow: &Slow) -> SetUp {
    let app = TestApp::start(pool.clone()).await;
    for n in 0..3 {
        destination(&app, &format!("{}/d{n}", slow.url), |one| {
            one.policy = Policy::All;
        })
        .await;
    }
    let config = config_for(&pool.connect_options());
    SetUp {
        tenant: Tenant {
            property_id: app.property_id,
            attribution_id: app.attribution_id,
        },
        token: app.token.clone(),
        database: secrecy::ExposeSecret::expose_secret(&config.database.url).to_owned(),
    }
}

/// A purchase that may be forwarded.
fn event(id: &str) -> Value {
    let mut body = purchase(id);
    body["consent"] = json!({ "advertising": true });
    body["user_data"] = json!({ "email": "jane@example.com" });
    body
}

impl SetUp {
    fn webhook(&self, port: u16) -> String {
        format!(
            "http://127.0.0.1:{port}/webhooks/custom/{}/purchase",
            self.tenant.attribution_id
        )
    }

    /// Waits until everything is settled; conversions.
    async fn settled(&self, pool: &PgPool) -> Vec<String> {
        for _ in 0..1500 {
            let open: i64 = sqlx::query_scalar(
                "select (select count(*) from outbox) + (select count(*) from deliveries where state = 'queued')",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            if open == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut conn = pool.acquire().await.unwrap();
        let destinations = destinations::store::all(&mut conn, self.tenant.property_id, None, true)
            .await
            .unwrap();
        let stored: Vec<String> = sqlx::query_scalar("select conversion_id from conversions")
            .fetch_all(pool)
            .await
            .unwrap();
        assert_eq!(destinations.len(), 3);
        for destination in &destinations {
            let book = forwarding::books(&mut conn, destination, Span::default())
                .await
                .unwrap();
            let all = i64::try_from(stored.len()).unwrap();
            assert_eq!(
                (book.promised, book.accepted, book.balanced),
                (all, all, true),
                "{book:?}"
            );
        }
        stored
    }
}

#[sqlx::test]
async fn twenty_kills_in_mid_delivery_lose_nothing(pool: PgPool) {
    let slow = Slow::start(Duration::from_millis(30)).await;
    let set_up = set_up(&pool, &slow).await;
    let (port, internal) = (free_port().await, free_port().await);
    let load = Load::start_with(&set_up.webhook(port), &set_up.token, event);
    for _ in 0..20 {
        let process = Process::start(&set_up.database, port, internal).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        drop(process);
        // The leases of the dead are over a few minutes later: here, now.
        sqlx::query("update deliveries set due_at = now() where state = 'queued' and due_at > now()")
            .execute(&pool)
            .await
            .unwrap();
    }
    let acknowledged = load.stop().await.acknowledged;
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let _process = Process::start(&set_up.database, port, internal).await;
    let stored = set_up.settled(&pool).await;
    let arrivals = slow.arrivals.lock().unwrap();
    for id in &stored {
        for n in 0..3 {
            let arrived = arrivals.get(&(format!("d{n}"), id.clone()));
            assert!(arrived.is_some(), "{id} never came to destination {n}");
        }
    }
    // Nothing came under an id that is no conversion's: what came twice came under the same one.
    assert_eq!(arrivals.len(), stored.len() * 3);
    let repeats: usize = arrivals.values().map(|times| times - 1).sum();
    println!("{} conversions, {repeats} repeats", stored.len());
    assert!(repeats > 0, "no kill came in mid-delivery");
}

#[sqlx::test]
async fn two_instances_share_the_work_and_do_nothing_twice(pool: PgPool) {
    let slow = Slow::start(Duration::from_millis(10)).await;
    let set_up = set_up(&pool, &slow).await;
    let ports = [free_port().await, free_port().await];
    let _one = Process::start(&set_up.database, ports[0], free_port().await).await;
    let _other = Process::start(&set_up.database, ports[1], free_port().await).await;
    // Both are sent the same conversions: one of each is stored.
    let loads = ports.map(|port| Load::start_with(&set_up.webhook(port), &set_up.token, event));
    tokio::time::sleep(Duration::from_secs(2)).await;
    for load in loads {
        load.stop().await;
    }
    let stored = set_up.settled(&pool).await;
    let arrivals = slow.arrivals.lock().unwrap();
    assert_eq!(arrivals.len(), stored.len() * 3);
    assert!(arrivals.values().all(|times| *times == 1));
}
