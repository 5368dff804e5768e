//! The admin API: the set-up by programs alone, lists, faults.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::audit::Actor;
use trustdata::settings;
use trustdata::tokens::Scope;
use uuid::Uuid;

use crate::support::{Answer, TestApp, until};

/// A token of the app's property.
pub async fn token(app: &TestApp, scope: Scope) -> String {
    token_of(app, app.property_id, scope, None).await
}

pub async fn token_of(app: &TestApp, property_id: Uuid, scope: Scope, days: Option<i64>) -> String {
    let mut conn = app.pool.acquire().await.unwrap();
    let expires_at = days.map(|days| app.clock.now() + TimeDelta::days(days));
    let new = settings::NewToken {
        token_id: app.clock.new_id(),
        property_id,
        name: "test".to_owned(),
        scope,
        expires_at,
        user_id: None,
    };
    let made = settings::create_token(&mut conn, &Actor::System, new, &app.clock).await;
    made.unwrap().1.expose().to_owned()
}

/// A program with a token.
pub struct Program<'a> {
    pub app: &'a TestApp,
    pub token: String,
}

impl Program<'_> {
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let url = self.app.url(&format!("/api/v1{path}"));
        self.app.clock.advance(TimeDelta::microseconds(1));
        let mut request = self.app.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(&body)).await
    }
}

/// Tries events out: nothing is recorded.
async fn test_events(program: &Program<'_>, attribution_id: &str) {
    let path = format!("/attribution-ids/{attribution_id}/test-events");
    let try_out = async |topic: &str, payload: Value| {
        program
            .post(&path, json!({ "topic": topic, "payload": payload }))
            .await
    };
    let before = program.app.count("conversions").await;
    let tried = try_out(
        "lead",
        json!({ "conversion_id": "2", "visitor_id": "v-1", "value": "x" }),
    )
    .await;
    assert_eq!(tried.faults(), ["value not_a_number", "currency required"]);
    let tried = try_out("lead", json!([])).await;
    assert_eq!(tried.faults(), ["payload wrong_type"]);
    let tried = try_out("lead", json!({ "conversion_id": "2", "visitor_id": "v-1" })).await;
    assert_eq!(tried.status, 200, "{tried:?}");
    assert_eq!(
        (
            &tried.body["session_matched"],
            &tried.body["attribution"]["reason"],
            &tried.body["duplicate"]
        ),
        (&json!(false), &json!("unknown_visitor"), &json!(false))
    );
    let repeat = try_out("lead", json!({ "conversion_id": "1" })).await;
    assert_eq!(repeat.body["duplicate"], true);
    assert_eq!(program.app.count("conversions").await, before);
    let tracking = program
        .get(&format!("/attribution-ids/{attribution_id}/tracking"))
        .await;
    assert_eq!(tracking.body["last_seen_at"], Value::Null);
    let snippet = tracking.body["snippet"].as_str().unwrap();
    assert!(
        snippet.contains(attribution_id) && snippet.contains(&program.app.url("/t.js")),
        "{snippet}"
    );
}

#[sqlx::test]
async fn the_set_up_by_programs_alone(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Write).await,
    };
    let made = program
        .post("/attribution-ids", json!({ "name": "Second site" }))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["attribution_id"].as_str().unwrap().to_owned();
    assert_eq!(made.body["webhooks_enabled"], false);
    let of = |rest: &str| format!("/attribution-ids/{id}{rest}");
    let change = json!({ "webhooks_enabled": true, "lookback_days": 45 });
    let changed = program.ask(Method::PATCH, &of(""), Some(&change)).await;
    assert_eq!(
        (
            &changed.body["webhooks_enabled"],
            &changed.body["lookback_days"],
            &changed.body["name"]
        ),
        (&json!(true), &json!(45), &json!("Second site"))
    );
    let key = program.post(&of("/keys"), json!({ "name": "Back end" })).await;
    assert_eq!((key.status.as_u16(), &key.body["rate_limit"]), (201, &json!(60)));
    let (key_id, secret) = (
        key.body["id"].as_str().unwrap(),
        key.body["token"].as_str().unwrap(),
    );
    let listed = program.get(&of("/keys")).await;
    assert_eq!(listed.body["data"][0]["prefix"], secret[..14]);
    assert!(!listed.body.to_string().contains(secret));

    let webhook = made.body["webhook_url"]
        .as_str()
        .unwrap()
        .replace("{topic}", "lead");
    assert_eq!(webhook, app.url(&format!("/webhooks/custom/{id}/lead")));
    let send = async |sent: &str| {
        app.clock.advance(TimeDelta::microseconds(1));
        let request = app.http.post(&webhook).bearer_auth(secret);
        let answer = request
            .json(&json!({ "conversion_id": sent }))
            .send()
            .await
            .unwrap();
        let policy = answer.headers().get("ratelimit-policy");
        let policy = policy.map_or(String::new(), |policy| policy.to_str().unwrap().to_owned());
        (answer.status().as_u16(), policy)
    };
    let (sixty, two) = (r#""key";q=60;w=60"#.to_owned(), r#""key";q=2;w=60"#.to_owned());
    assert_eq!(send("1").await, (200, sixty));
    test_events(&program, &id).await;
    let limit = json!({ "rate_limit": 2 });
    let path = of(&format!("/keys/{key_id}"));
    assert_eq!(
        program.ask(Method::PATCH, &path, Some(&limit)).await.body["rate_limit"],
        2
    );
    // The webhook hears of it a moment later. A changed limit begins full: the first request under it is one of two.
    until("the limit is heard of", async || {
        send("2").await == (200, two.clone())
    })
    .await;
    assert_eq!(send("3").await, (200, two.clone()));
    assert_eq!(send("4").await, (429, two.clone()));
    let revoked = program.ask(Method::POST, &format!("{path}/revoke"), None).await;
    assert!(revoked.body["revoked_at"].is_string());
    until("the key is revoked", async || send("5").await.0 == 401).await;

    // Refused requests are filed behind the answer.
    until("all is in the activity", async || {
        let rows = program.get(&of("/activity?limit=100")).await.body["data"].clone();
        let rows = rows.as_array().unwrap().clone();
        let mut statuses: Vec<&str> = rows.iter().filter_map(|row| row["status"].as_str()).collect();
        statuses.dedup();
        statuses
            == [
                "auth_error",
                "rate_limited",
                "success",
                "validation_error",
                "success",
            ]
    })
    .await;
    let log = program.get("/settings-log?limit=100").await.body["data"].clone();
    let mut actions: Vec<&str> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    // The two of one change happened at the same time, for a clock that stands.
    actions[3..5].sort_unstable();
    assert_eq!(
        actions,
        [
            "webhook_key.revoked",
            "webhook_key.rate_limit_changed",
            "webhook_key.created",
            "attribution_id.lookback_changed",
            "attribution_id.webhooks_enabled",
            "attribution_id.created",
            "api_token.created",
        ]
    );
    assert!(!log.to_string().contains(secret));
    // What is so already is not changed again.
    program.ask(Method::PATCH, &of(""), Some(&change)).await;
    let again = program.get("/settings-log?limit=100").await.body["data"].clone();
    assert_eq!(again.as_array().unwrap().len(), actions.len());
}

#[sqlx::test]
async fn pages_go_through_everything_once(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Write).await,
    };
    for n in 0..7 {
        program
            .post("/attribution-ids", json!({ "name": format!("site {n}") }))
            .await;
        let path = format!("/attribution-ids/{}/keys", app.attribution_id);
        program.post(&path, json!({ "name": format!("key {n}") })).await;
        let sent = json!({ "conversion_id": format!("C-{n}"), "value": 1, "currency": "EUR" });
        app.send("purchase", &sent).await;
    }
    app.activity(7).await;
    for (path, expected) in [
        ("/attribution-ids".to_owned(), 8),
        (format!("/attribution-ids/{}/keys", app.attribution_id), 8),
        (format!("/attribution-ids/{}/activity", app.attribution_id), 7),
        ("/conversions".to_owned(), 7),
        ("/settings-log".to_owned(), 15),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = program.get(&format!("{path}?limit=3{cursor}")).await;
            assert_eq!(page.status, 200, "{path} {page:?}");
            let data = page.body["data"].as_array().unwrap().clone();
            assert!(data.len() <= 3);
            seen.extend(data.into_iter().map(|one| one.to_string()));
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((all, seen.len()), (expected, expected), "{path}");
        for bad in ["cursor=x", "cursor=", "cursor=AAAA", "limit=0", "limit=101"] {
            let refused = program.get(&format!("{path}?{bad}")).await;
            assert_eq!(
                (refused.status.as_u16(), refused.code()),
                (422, "validation_failed"),
                "{path} {bad}"
            );
        }
    }
}

/// A body that never ends is not one that is too large.
#[sqlx::test]
async fn a_body_that_does_not_come_is_late(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let token = token(&app, Scope::Write).await;
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = app
        .http
        .post(app.url("/api/v1/attribution-ids"))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(never));
    let late = Answer::of(request).await;
    assert_eq!((late.status.as_u16(), late.code()), (408, "request_timeout"));
}

#[sqlx::test]
async fn bad_requests_are_told_what_is_wrong(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Write).await,
    };
    let own = format!("/attribution-ids/{}", app.attribution_id);
    let both = json!({ "name": "", "lookback_days": 91 });
    let refused = program.ask(Method::PATCH, &own, Some(&both)).await;
    assert_eq!(refused.faults(), ["name empty", "lookback_days out_of_range"]);
    for (path, body, status, code) in [
        (
            "/attribution-ids",
            json!({ "nome": "x" }),
            422,
            "validation_failed",
        ),
        ("/attribution-ids", json!({ "name": 5 }), 422, "validation_failed"),
        (
            "/attribution-ids",
            json!({ "name": "a\u{0}b" }),
            422,
            "validation_failed",
        ),
        (
            "/attribution-ids",
            json!({ "name": "x".repeat(101) }),
            422,
            "validation_failed",
        ),
        (
            "/attribution-ids/x/keys",
            json!({ "name": "x" }),
            404,
            "not_found",
        ),
        ("/nothing", json!({}), 404, "not_found"),
    ] {
        let refused = program.post(path, body.clone()).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (status, code),
            "{path} {body}"
        );
    }
    let post = async |kind: &'static str, body: String| {
        let request = app
            .http
            .post(app.url("/api/v1/attribution-ids"))
            .bearer_auth(&program.token);
        Answer::of(request.header("content-type", kind).body(body)).await
    };
    assert_eq!(post("text/plain", "{}".to_owned()).await.status, 415);
    assert_eq!(
        post("application/json", "{".to_owned()).await.code(),
        "invalid_json"
    );
    assert_eq!(post("application/json", " ".repeat(300_000)).await.status, 413);
    let wrong = program.ask(Method::DELETE, "/attribution-ids", None).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (405, "method_not_allowed"));
    assert!(wrong.header("allow").contains("GET"), "{}", wrong.header("allow"));
    let secret = json!({ "attribution_id": app.attribution_id, "platform": "meta", "name": "M",
        "settings": { "access_token": "EAAB-very-secret" } });
    let refused = program.post("/destinations", secret).await;
    assert_eq!(refused.status, 422);
    assert!(!refused.body.to_string().contains("very-secret"));
}

#[sqlx::test]
async fn reports_and_conversions(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Read).await,
    };
    app.session(
        "v-1",
        3.0,
        "utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=x",
    )
    .await;
    let sent = json!({ "conversion_id": "1", "value": 99.5, "currency": "EUR", "visitor_id": "v-1",
        "user_data": { "email": "jane@example.com" } });
    let event_id = app.send("purchase", &sent).await.body["event_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let report = program
        .get("/reports/campaigns?models=last_click,linear&group_by=source,campaign")
        .await;
    let row = &report.body["rows"][0];
    assert_eq!(
        (
            &row["source"],
            &row["campaign"],
            &row["currency"],
            &row["figures"][1]["net"]
        ),
        (&json!("google"), &json!("spring"), &json!("EUR"), &json!("99.5")),
        "{report:?}"
    );
    let csv = app
        .http
        .get(app.url("/api/v1/reports/campaigns.csv"))
        .bearer_auth(&program.token);
    assert!(csv.send().await.unwrap().text().await.unwrap().contains("spring"));
    let one = program.get(&format!("/conversions/{event_id}")).await;
    assert_eq!(one.body["reason"], "matched", "{one:?}");
    assert!(!one.body.to_string().contains("jane@"));
    for path in [
        "/reports/campaigns/series",
        "/reports/overview?step=hour&from=2026-10-31&until=2026-11-02",
        "/reports/unhealthy",
        "/me",
        "/destinations",
        &format!("/conversions/{event_id}/deliveries"),
    ] {
        assert_eq!(program.get(path).await.status, 200, "{path}");
    }
    for (path, fault) in [
        ("/reports/campaigns?from=2026-01-01", "until incomplete"),
        (
            "/reports/campaigns?from=2026-01-02&until=2026-01-01",
            "until bad_window",
        ),
        ("/reports/campaigns?models=best", "models unknown_word"),
        ("/reports/overview?step=week", "step unknown_word"),
        ("/conversions?topic=x&outcome=y", "topic unknown_topic"),
        ("/conversions?from=-9999-01-01T00:00:00Z", "from out_of_range"),
        ("/reports/campaigns?topic=purchase,lead", "topic unknown_word"),
        ("/reports/overview?model=linear,last_click", "model unknown_word"),
    ] {
        assert_eq!(program.get(path).await.faults()[0], fault, "{path}");
    }
}
