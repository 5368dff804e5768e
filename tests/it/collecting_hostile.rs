//! Browser events that nobody's page would send: a clear answer, and nothing lost for anybody else.

use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Answer, Process, TestApp, config_for, free_port};

#[sqlx::test]
async fn every_fault_is_told(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let url = |length: usize| format!("https://shop.example/?x={}", "y".repeat(length));
    for (fields, fault) in [
        (
            json!({ "page_location": "javascript:alert(1)" }),
            "page_location not_a_page",
        ),
        (
            json!({ "page_location": url(100_000) }),
            "page_location not_a_page",
        ),
        (json!({ "page_location": null }), "page_location required"),
        (json!({ "visitor_id": "v".repeat(1000) }), "visitor_id too_long"),
        (json!({ "visitor_id": "a\u{0}b" }), "visitor_id nul_character"),
        (json!({ "visitor_id": "a\u{1}b" }), "visitor_id control_character"),
        (json!({ "visitor_id": ["v"] }), "visitor_id wrong_type"),
        (json!({ "attribution_id": "x" }), "attribution_id not_a_uuid"),
        (json!({ "consent": "all" }), "consent wrong_type"),
        (json!({ "event_name": "a b" }), "event_name bad_characters"),
    ] {
        let answer = app.tell("page_view", fields).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (422, "validation_failed"),
            "{fault}"
        );
        assert_eq!(answer.faults(), [fault]);
    }
    let answer = app
        .tell("page_view", json!({ "page_location": url(1_000_000) }))
        .await;
    assert_eq!(answer.code(), "payload_too_large");
    assert_eq!(app.count("sessions").await, 0);
}

#[sqlx::test]
async fn what_looks_bad_and_is_not(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for (place, fields) in [
        json!({ "page_location": "https://shop.example/%zz?utm_source=%ff&a=%" }),
        json!({ "page_location": "https://user:pass@shop.example/?email=jane@example.com" }),
        json!({ "page_referrer": "javascript:alert(1)" }),
        json!({ "page_referrer": { "a": 1 } }),
        json!({ "raw_user_agent": "x".repeat(5000), "consent": { "analytics": true } }),
        json!({ "browser_cookies": [1], "consent": { "advertising": true } }),
        json!({ "page_title": "a\u{0}b", "value": "free" }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut fields = fields;
        fields["visitor_id"] = json!(format!("it's \"{place}\"; drop table sessions; --"));
        let answer = app.tell("page_view", fields.clone()).await;
        assert_eq!(answer.status, 200, "{fields} {answer:?}");
        assert_eq!(answer.body["visitor_id"], fields["visitor_id"]);
    }
    assert_eq!(app.count("sessions").await, 7);
    let stored: Vec<String> = sqlx::query_scalar("select landing_url from sessions")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    let stored = stored.join(" ");
    assert!(!stored.contains("jane") && !stored.contains("pass@"), "{stored}");
}

#[sqlx::test]
async fn a_huge_cookie_is_refused_in_order(pool: PgPool) {
    let mut config = config_for(&pool.connect_options());
    config.database.max_connections = 4;
    let url = secrecy::ExposeSecret::expose_secret(&config.database.url).to_owned();
    let (port, internal) = (free_port().await, free_port().await);
    let _service = Process::start(&url, port, internal).await;
    for (size, expected) in [(100_000, "HTTP/1.1 4"), (1_000_000, "HTTP/1.1 431")] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let head = format!(
            "POST /api/events HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncookie: _trdt_vid={}\r\n\r\n{{}}",
            "x".repeat(size)
        );
        // The answer may come before all is sent.
        let _refused_early = stream.write_all(head.as_bytes()).await;
        let mut answer = vec![0; 1024];
        // Whoever is cut off while he still sends may not get to read why.
        let read = stream.read(&mut answer).await.unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(read == 0 || answer.starts_with(expected), "{size} {answer}");
    }
    let alive = reqwest::get(format!("http://127.0.0.1:{port}/healthz")).await;
    assert_eq!(alive.unwrap().status(), 200);
}

#[sqlx::test]
async fn a_cookie_that_fits_and_is_no_id_is_none(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for cookie in [
        "_trdt_vid=%ff",
        "_trdt_vid=%00",
        ";;=;_trdt_vid",
        &format!("_trdt_vid={}", "x".repeat(30_000)),
    ] {
        let request = app
            .page()
            .header("host", "t.shop.example")
            .header("origin", "https://shop.example")
            .header("cookie", cookie);
        let answer = Answer::of(request.body(app.event("login", &json!({})).to_string())).await;
        assert_eq!(answer.status, 200, "{}", &cookie[..12]);
        assert!(answer.body["visitor_id"].as_str().unwrap().starts_with("fp_"));
    }
}

#[sqlx::test]
async fn a_flood_from_one_address_is_its_own_affair(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        config.collect.requests_per_minute_per_address = 10.try_into().unwrap();
        config.collect.requests_per_minute_per_attribution_id = 25.try_into().unwrap();
    })
    .await;
    let good = app.event("login", &json!({ "visitor_id": "v" })).to_string();
    let send = async |address: &str, body: &str| {
        Answer::of(
            app.page()
                .header("x-forwarded-for", address)
                .body(body.to_owned()),
        )
        .await
    };
    for sent in 0..40 {
        let answer = send("203.0.113.9", &good).await;
        let expected = if sent < 10 { 200 } else { 429 };
        assert_eq!(answer.status.as_u16(), expected, "{sent}");
    }
    let refused = send("203.0.113.9", &good).await;
    assert_eq!(
        (refused.code(), refused.header("retry-after")),
        ("rate_limited", "6")
    );
    // What was refused there took nothing from the others: 15 are left.
    let many = |count: usize| format!("[{}]", vec![good.as_str(); count].join(","));
    assert_eq!(send("203.0.113.10", &many(9)).await.status, 200);
    assert_eq!(send("203.0.113.10", &many(2)).await.status, 429);
    assert_eq!(send("203.0.113.11", &many(6)).await.status, 200);
    let all_used = send("203.0.113.12", &good).await;
    assert_eq!(
        (all_used.status.as_u16(), all_used.header("retry-after")),
        (429, "3")
    );
    // What cannot be read is paid for too.
    for _ in 0..10 {
        send("2001:db8:1:2:3::1", "{").await;
    }
    assert_eq!(send("2001:db8:1:2:4::1", "{").await.status, 429);
    app.clock.advance(chrono::Duration::minutes(1));
    assert_eq!(send("203.0.113.9", &good).await.status, 200);
}

#[sqlx::test]
async fn made_up_attribution_ids(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let mut event = app.event("login", &json!({}));
    event["attribution_id"] = json!(uuid::Uuid::new_v4());
    let answer = Answer::of(app.page().body(event.to_string())).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (404, "unknown_attribution_id")
    );
}

#[sqlx::test]
async fn without_a_database_the_script_comes_again(pool: PgPool) {
    let mut wire = None;
    let mut config = config_for(&pool.connect_options());
    wire.replace(crate::wire::Wire::before(&mut config).await);
    let url = config.database.url.clone();
    let app = TestApp::start_with(pool, |config| config.database.url = url).await;
    assert_eq!(app.tell("login", json!({ "visitor_id": "v" })).await.status, 200);
    wire.unwrap().cut();
    let answer = app.tell("login", json!({ "visitor_id": "v" })).await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.code(),
            answer.header("retry-after")
        ),
        (503, "unavailable", "1")
    );
}
