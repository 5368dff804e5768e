//! Google on its way: refunds that restate their purchase, what is said later of a request, tokens. Google is its stub, which knows the
//! reference; in front of it stands somebody who can be told to answer in its place.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;
use trustdata::audit::Actor;
use trustdata::destinations::{self, Policy};
use trustdata::forwarding;
use trustdata::forwarding::platforms::Name;
use trustdata::stubs::{self, Options};
use uuid::Uuid;

use crate::forwarding::{becomes, consented, destination_on, found};
use crate::parcels::settings;
use crate::support::{Answer, TestApp, until};

/// Says for a request, by the end of its path and its body, what is answered in the stub's place; none: the stub answers.
type Instead = Box<dyn FnMut(&str, &Value) -> Option<(u16, Value)> + Send>;

#[derive(Clone)]
struct Shared {
    stub: Router,
    got: Arc<Mutex<Vec<(String, Value)>>>,
    instead: Arc<Mutex<Instead>>,
}

struct Google {
    url: String,
    shared: Shared,
    _server: AbortOnDropHandle<()>,
}

async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let call = head.uri.path().rsplit('/').next().unwrap().to_owned();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let instead = (shared.instead.lock().unwrap())(&call, &json);
    let response = match instead {
        Some((status, answer)) => (StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response(),
        None => shared
            .stub
            .oneshot(Request::from_parts(head, Body::from(body)))
            .await
            .unwrap(),
    };
    let mut got = shared.got.lock().unwrap();
    got.push((format!("{call} {}", response.status().as_u16()), json));
    response
}

impl Google {
    async fn start(app: &TestApp) -> Self {
        let options = Options {
            clock: app.clock.clone(),
            record: None,
            webhook_key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap(),
        };
        let shared = Shared {
            stub: stubs::router(options).await.unwrap(),
            got: Arc::default(),
            instead: Arc::new(Mutex::new(Box::new(|_, _| None))),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/google_data_manager", listener.local_addr().unwrap());
        let routes = Router::new().fallback(serve).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            url,
            shared,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// From now on it is answered so in the stub's place.
    fn answers(&self, instead: impl FnMut(&str, &Value) -> Option<(u16, Value)> + Send + 'static) {
        *self.shared.instead.lock().unwrap() = Box::new(instead);
    }

    /// What is said later of a request as a whole, with these reasons.
    fn says_later(&self, whole: &'static str, reasons: &'static [&'static str]) {
        self.answers(move |call, _| {
            let counts: Vec<Value> = reasons
                .iter()
                .map(|reason| json!({ "recordCount": "1", "reason": format!("PROCESSING_ERROR_REASON_{reason}") }))
                .collect();
            let status = json!({ "requestStatusPerDestination": [{ "requestStatus": whole,
                "eventsIngestionStatus": { "recordCount": "1" }, "errorInfo": { "errorCounts": counts } }] });
            (call == "requestStatus:retrieve").then_some((200, status))
        });
    }

    /// How often it was called so, and answered so.
    fn calls(&self, call: &str) -> usize {
        let got = self.shared.got.lock().unwrap();
        got.iter().filter(|(what, _)| what == call).count()
    }

    /// Transaction and value of each event that was taken, in order.
    fn values(&self) -> Vec<(String, f64)> {
        let taken = self.taken();
        let value = |event: &Value| {
            let id = event["transactionId"].as_str().unwrap().to_owned();
            (id, event["conversionValue"].as_f64().unwrap())
        };
        taken.iter().map(value).collect()
    }

    /// Events that were taken, in order.
    fn taken(&self) -> Vec<Value> {
        let got = self.shared.got.lock().unwrap();
        let events = got
            .iter()
            .filter(|(what, _)| what == "events:ingest 200")
            .filter_map(|(_, body)| body["events"].as_array());
        events.flatten().cloned().collect()
    }

    async fn destination(&self, app: &TestApp, policy: Policy) -> Uuid {
        let settings = settings(Name::GoogleDataManager);
        destination_on(app, "google_data_manager", &settings, &self.url, |d| {
            d.policy = policy
        })
        .await
    }
}

async fn start(pool: PgPool) -> (TestApp, Google) {
    let app = TestApp::start(pool).await;
    let google = Google::start(&app).await;
    (app, google)
}

/// As shops send it: nobody there knows the visitor.
fn refund(id: &str, purchase_id: &str, value: Option<i64>, currency: &str) -> Value {
    let mut body = json!({ "conversion_id": id, "purchase_id": purchase_id });
    if let Some(value) = value {
        body["value"] = json!(value);
        body["currency"] = json!(currency);
    }
    body
}

async fn send(app: &TestApp, topic: &str, body: &Value) {
    let answer = app.send(topic, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn dry(app: &TestApp, topic: &str, body: &Value) -> Value {
    let request = app
        .http
        .post(format!("{}?dry_run=true", app.webhook(topic)))
        .bearer_auth(&app.token)
        .header("content-type", "application/json");
    let answer = Answer::of(request.body(body.to_string())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["forwarding"][0].clone()
}

#[sqlx::test]
async fn a_refund_without_a_visitor_takes_back_what_its_purchase_told(pool: PgPool) {
    let (app, google) = start(pool).await;
    google.destination(&app, Policy::OwnClick).await;
    app.session("v-1", 1.0, "utm_source=google&gclid=Click-1").await;
    send(&app, "purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("accepted", None)]).await;
    let first = refund("refund_1", "o-1", Some(30), "USD");
    let shown = dry(&app, "refund", &first).await;
    assert_eq!(
        (&shown["state"], &shown["payload"]["conversionValue"]),
        (&json!("queued"), &json!(69))
    );
    send(&app, "refund", &first).await;
    becomes(&app, "refund_1", &[("accepted", None)]).await;
    send(&app, "refund", &refund("refund_2", "o-1", Some(20), "USD")).await;
    becomes(&app, "refund_2", &[("accepted", None)]).await;
    let told = google.taken().pop().unwrap();
    assert_eq!(told["adIdentifiers"]["gclid"], "Click-1");
    assert_eq!(told["consent"]["adUserData"], "CONSENT_GRANTED");

    // What came back in another currency is taken off nothing.
    let other = refund("refund_3", "o-1", Some(10), "EUR");
    assert_eq!(dry(&app, "refund", &other).await["reason"], "other_currency");
    send(&app, "refund", &other).await;
    becomes(&app, "refund_3", &[("suppressed", Some("other_currency"))]).await;
    // Without a value all of it comes back.
    send(&app, "refund", &refund("refund_4", "o-1", None, "")).await;
    becomes(&app, "refund_4", &[("accepted", None)]).await;
    let told = [99.0, 69.0, 49.0, 0.0].map(|value| ("o-1".to_owned(), value));
    assert_eq!(google.values(), told);

    // What a refund says itself, stands.
    let mut denied = refund("refund_5", "o-1", Some(1), "USD");
    denied["consent"] = json!({ "advertising": false });
    send(&app, "refund", &denied).await;
    becomes(&app, "refund_5", &[("suppressed", Some("consent_denied"))]).await;
}

#[sqlx::test]
async fn a_refund_that_comes_first_waits_for_its_purchase(pool: PgPool) {
    let (app, google) = start(pool).await;
    google.destination(&app, Policy::Matched).await;
    app.session("v-1", 1.0, "utm_source=google&gclid=Click-1").await;
    // Nobody knows yet whether it may be sent.
    send(&app, "refund", &refund("refund_1", "o-1", Some(30), "USD")).await;
    becomes(&app, "refund_1", &[("suppressed", Some("consent_unknown"))]).await;
    send(&app, "purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("accepted", None)]).await;
    becomes(&app, "refund_1", &[("accepted", None)]).await;
    // The purchase tells what is left of it already.
    assert_eq!(
        google.values(),
        [("o-1".to_owned(), 69.0), ("o-1".to_owned(), 69.0)]
    );

    // This one may be sent, and waits for a day.
    let mut early = refund("refund_2", "o-2", Some(10), "USD");
    early["visitor_id"] = json!("v-1");
    early["consent"] = json!({ "advertising": true });
    send(&app, "refund", &early).await;
    let waits = async || {
        let waits: Option<bool> = sqlx::query_scalar(
            "select d.state = 'queued' and d.due_at > c.received_at and d.attempts = 0 from deliveries d
             join conversions c using (property_id, event_id) where c.conversion_id = 'refund_2'",
        )
        .fetch_optional(&app.pool)
        .await
        .unwrap();
        waits == Some(true)
    };
    until("the refund waits", waits).await;
    app.clock.advance(TimeDelta::hours(25));
    becomes(
        &app,
        "refund_2",
        &[("suppressed", Some("purchase_not_delivered"))],
    )
    .await;
    // Later than that, it is planned again.
    send(&app, "purchase", &consented("o-2", "v-1")).await;
    becomes(&app, "o-2", &[("accepted", None)]).await;
    becomes(&app, "refund_2", &[("accepted", None)]).await;
    let told = google.values();
    assert_eq!(told[2..], [("o-2".to_owned(), 89.0), ("o-2".to_owned(), 89.0)]);
}

#[sqlx::test]
async fn a_purchase_that_is_sent_again_tells_what_is_left(pool: PgPool) {
    let (app, google) = start(pool).await;
    let destination_id = google.destination(&app, Policy::All).await;
    let refused =
        json!({ "error": { "status": "INVALID_ARGUMENT", "details": [{ "reason": "INVALID_EVENT" }] } });
    google.answers(move |call, _| (call == "events:ingest").then(|| (400, refused.clone())));
    send(&app, "purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("dead", Some("refused"))]).await;
    send(&app, "refund", &refund("refund_1", "o-1", Some(30), "USD")).await;
    becomes(
        &app,
        "refund_1",
        &[("suppressed", Some("purchase_not_delivered"))],
    )
    .await;
    google.answers(|_, _| None);
    let mut conn = app.pool.acquire().await.unwrap();
    let (actor, all) = (Actor::CommandLine, forwarding::listing::Replay::default());
    let destination = found(&app, destination_id).await;
    let replayed = forwarding::replay(&mut conn, &actor, &destination, &all, &app.clock).await;
    assert_eq!(replayed.unwrap(), 1);
    becomes(&app, "o-1", &[("accepted", None)]).await;
    becomes(&app, "refund_1", &[("accepted", None)]).await;
    assert_eq!(
        google.values(),
        [("o-1".to_owned(), 69.0), ("o-1".to_owned(), 69.0)]
    );
}

#[sqlx::test]
async fn a_refund_is_as_old_as_its_purchase(pool: PgPool) {
    let (app, google) = start(pool).await;
    google.destination(&app, Policy::All).await;
    let mut old = consented("o-1", "v-1");
    old["event_time"] = json!((app.clock.now() - TimeDelta::days(89)).timestamp());
    send(&app, "purchase", &old).await;
    becomes(&app, "o-1", &[("accepted", None)]).await;
    app.clock.advance(TimeDelta::days(2));
    send(&app, "refund", &refund("refund_1", "o-1", Some(30), "USD")).await;
    becomes(&app, "refund_1", &[("expired", Some("too_old"))]).await;
}

/// The platform's code for a conversion.
async fn code(app: &TestApp, conversion_id: &str) -> Option<String> {
    sqlx::query_scalar(
        "select d.code from deliveries d join conversions c using (property_id, event_id) where c.conversion_id = $1",
    )
    .bind(conversion_id)
    .fetch_one(&app.pool)
    .await
    .unwrap()
}

#[sqlx::test]
async fn what_is_said_later_is_kept(pool: PgPool) {
    let (app, google) = start(pool).await;
    google.destination(&app, Policy::All).await;
    let table: [(&str, &[&str], _, _); 4] = [
        ("SUCCESS", &[], ("processed", None), None),
        ("FAILED", &[], ("dead", Some("refused")), Some("FAILED")),
        (
            "FAILED",
            &["EVENT_TOO_OLD"],
            ("dead", Some("refused")),
            Some("EVENT_TOO_OLD x1"),
        ),
        (
            "PARTIAL_SUCCESS",
            &["DUPLICATE_TRANSACTION_ID"],
            ("processed", None),
            Some("DUPLICATE_TRANSACTION_ID x1"),
        ),
    ];
    for (n, (whole, reasons, state, said)) in table.into_iter().enumerate() {
        let id = format!("o-{n}");
        google.says_later(whole, reasons);
        send(&app, "purchase", &consented(&id, "v-1")).await;
        becomes(&app, &id, &[("accepted", None)]).await;
        app.clock.advance(TimeDelta::minutes(31));
        becomes(&app, &id, &[state]).await;
        assert_eq!(code(&app, &id).await.as_deref(), said, "{id}");
    }

    // Not known yet: asked again, half an hour later.
    google.says_later("PROCESSING", &[]);
    send(&app, "purchase", &consented("o-9", "v-1")).await;
    becomes(&app, "o-9", &[("accepted", None)]).await;
    let asked = google.calls("requestStatus:retrieve 200");
    app.clock.advance(TimeDelta::minutes(31));
    until("it was asked", async || {
        google.calls("requestStatus:retrieve 200") == asked + 1
    })
    .await;
    google.says_later("SUCCESS", &[]);
    app.clock.advance(TimeDelta::minutes(31));
    becomes(&app, "o-9", &[("processed", None)]).await;
    assert_eq!(app.count("deliveries where later is not null").await, 0);
}

#[sqlx::test]
async fn a_click_that_is_not_known_is_sent_again_for_a_day(pool: PgPool) {
    let (app, google) = start(pool).await;
    google.destination(&app, Policy::All).await;
    google.says_later("FAILED", &["CLICK_NOT_FOUND"]);
    send(&app, "purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("accepted", None)]).await;
    for again in 1..=3 {
        app.clock.advance(TimeDelta::minutes(31));
        becomes(&app, "o-1", &[("queued", None)]).await;
        assert_eq!(google.taken().len(), again);
        app.clock.advance(TimeDelta::hours(6));
        becomes(&app, "o-1", &[("accepted", None)]).await;
    }
    app.clock.advance(TimeDelta::minutes(31));
    becomes(&app, "o-1", &[("dead", Some("refused"))]).await;
    assert_eq!(code(&app, "o-1").await.as_deref(), Some("CLICK_NOT_FOUND x1"));
    assert_eq!(google.taken().len(), 4);
}

#[sqlx::test]
async fn who_gets_no_word_later_goes_on_sending(pool: PgPool) {
    let (app, google) = start(pool).await;
    google.destination(&app, Policy::All).await;
    // Each has a request of its own.
    for n in 0..5 {
        send(&app, "purchase", &consented(&format!("o-{n}"), "v-1")).await;
        becomes(&app, &format!("o-{n}"), &[("accepted", None)]).await;
    }
    google.answers(|call, _| (call == "requestStatus:retrieve").then_some((503, Value::Null)));
    app.clock.advance(TimeDelta::minutes(31));
    until("it was asked", async || {
        google.calls("requestStatus:retrieve 503") > 0
    })
    .await;
    send(&app, "purchase", &consented("o-9", "v-1")).await;
    becomes(&app, "o-9", &[("accepted", None)]).await;
    // The first that got no answer spoke for all.
    assert_eq!(google.calls("requestStatus:retrieve 503"), 1);
    google.answers(|_, _| None);
    app.clock.advance(TimeDelta::minutes(31));
    for n in 0..5 {
        becomes(&app, &format!("o-{n}"), &[("processed", None)]).await;
    }
}

#[sqlx::test]
async fn nobody_is_asked_about_a_destination_that_was_taken_away(pool: PgPool) {
    let (app, google) = start(pool).await;
    let destination_id = google.destination(&app, Policy::All).await;
    // Whoever asks in the meantime is no wiser.
    google.says_later("PROCESSING", &[]);
    send(&app, "purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("accepted", None)]).await;
    assert_eq!(app.count("deliveries where later is not null").await, 1);
    let mut conn = app.pool.acquire().await.unwrap();
    destinations::store::remove(&mut conn, app.property_id, destination_id, app.clock.now())
        .await
        .unwrap();
    app.clock.advance(TimeDelta::minutes(31));
    until("nothing is open", async || {
        app.count("deliveries where later is not null").await == 0
    })
    .await;
    let due = forwarding::store::with_something_due(&mut conn, app.clock.now(), &[], 10);
    assert_eq!(due.await.unwrap(), []);
    becomes(&app, "o-1", &[("accepted", None)]).await;
}

#[sqlx::test]
async fn an_access_token_that_is_refused_is_renewed_once(pool: PgPool) {
    let (app, google) = start(pool).await;
    google.destination(&app, Policy::All).await;
    let refuse = |times: usize| {
        let mut left = times;
        move |call: &str, _: &Value| {
            let refused = json!({ "error": { "code": 401, "status": "UNAUTHENTICATED" } });
            let refuses = call == "events:ingest" && left > 0;
            left -= usize::from(refuses);
            refuses.then_some((401, refused))
        }
    };
    google.answers(refuse(1));
    send(&app, "purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("accepted", None)]).await;
    assert_eq!(
        (google.calls("token 200"), google.calls("events:ingest 401")),
        (2, 1)
    );
    assert_eq!(app.count("destinations where paused_at is not null").await, 0);
    // A fresh one that is refused as well is nothing that another one mends.
    google.answers(refuse(2));
    send(&app, "purchase", &consented("o-2", "v-1")).await;
    until("the destination is paused", async || {
        app.count("destinations where paused_at is not null").await == 1
    })
    .await;
    becomes(&app, "o-2", &[("queued", None)]).await;
    assert_eq!(google.calls("events:ingest 401"), 3);
}

#[sqlx::test]
async fn what_an_account_may_not_be_sent_is_left_out_and_noted(pool: PgPool) {
    let (app, google) = start(pool).await;
    google.destination(&app, Policy::All).await;
    app.session("v-1", 1.0, "utm_source=google&gclid=Click-1").await;
    for (id, status) in [("o-1", 400), ("o-2", 403)] {
        google.answers(move |call, body| {
            let reason = "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED";
            let refused = json!({ "error": { "code": status, "details": [{ "reason": reason }] } });
            let personal = body.to_string().contains("userData");
            (call == "events:ingest" && personal).then_some((status, refused))
        });
        send(&app, "purchase", &consented(id, "v-1")).await;
        becomes(&app, id, &[("accepted", None)]).await;
    }
    assert!(google.taken().iter().all(|event| event["userData"].is_null()));
    let noted: Vec<Vec<String>> = sqlx::query_scalar("select notes from deliveries")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(noted.len(), 2);
    assert!(
        noted
            .iter()
            .all(|notes| notes.contains(&"user_data: refused_by_platform".to_owned())),
        "{noted:?}"
    );
}
