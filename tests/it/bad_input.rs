//! Bad input: a clear answer, never a 500, nothing half stored.

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Answer, TestApp, purchase};

#[sqlx::test]
async fn bodies_that_are_no_json(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let bodies: [&[u8]; 9] = [
        b"",
        b"   ",
        b"{",
        b"{\"conversion_id\":\"1\"",
        b"{'a':1}",
        b"{\"a\":NaN}",
        b"nope",
        b"{} {}",
        b"{\"a\":\"\xff\"}",
    ];
    for body in bodies {
        let answer = app.send_raw("purchase", body.to_vec()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (400, "invalid_json"),
            "{body:?}"
        );
        assert!(
            answer.body["line"].is_u64() && answer.body["column"].is_u64(),
            "{answer:?}"
        );
    }
    let answer = app.send_raw("purchase", "{\n  \"a\": x}").await;
    assert_eq!(
        [&answer.body["line"], &answer.body["column"]],
        [&json!(2), &json!(8)]
    );
}

#[sqlx::test]
async fn content_that_is_no_conversion(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let deep = |n: usize| {
        format!(
            r#"{{"conversion_id":"1","x":{}{}}}"#,
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    let huge = format!(r#"{{"conversion_id":"{}"}}"#, "x".repeat(100_000));
    let table: Vec<(String, &str)> = vec![
        (
            r#"{"conversion_id":"1","value":1e400,"currency":"USD"}"#.into(),
            "value too_large",
        ),
        (
            r#"{"conversion_id":"1","value":"NaN","currency":"USD"}"#.into(),
            "value not_a_number",
        ),
        (
            r#"{"conversion_id":"1","value":-5,"currency":"USD"}"#.into(),
            "value negative",
        ),
        (
            r#"{"conversion_id":"1","value":123456789012345678901234567890,"currency":"USD"}"#.into(),
            "value too_large",
        ),
        (
            r#"{"conversion_id":"1","value":5,"currency":"ZZZ"}"#.into(),
            "currency unknown_currency",
        ),
        (
            r#"{"conversion_id":"","value":5,"currency":"USD"}"#.into(),
            "conversion_id empty",
        ),
        (r#"{"conversion_id":"1","x":"\u0000"}"#.into(), "x nul_character"),
        (r#"{"conversion_id":"1","x":"\ud800"}"#.into(), "x lone_surrogate"),
        (
            r#"{"conversion_id":"1","conversion_id":"2"}"#.into(),
            "conversion_id duplicate_key",
        ),
        (deep(10_000), "x too_deep"),
        (huge, "conversion_id too_long"),
    ];
    for (body, fault) in table {
        let answer = app.send_raw("lead", body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (422, "validation_failed"),
            "{fault}"
        );
        assert_eq!(answer.faults(), [fault]);
    }
    assert_eq!(
        app.send_raw("lead", "[".repeat(10_000) + &"]".repeat(10_000))
            .await
            .status,
        422
    );
    for field in [
        "conversion_id",
        "value",
        "currency",
        "tax",
        "visitor_id",
        "user_id",
        "event_time",
        "user_data",
        "products",
        "consent",
        "lead_type",
    ] {
        for wrong in [json!(true), json!({ "a": 1 }), json!([[]])] {
            let mut body = purchase("1");
            body[field] = wrong;
            let answer = app.send("purchase", &body).await;
            let allowed = field == "user_data" || field == "consent" || answer.status == 422;
            assert!(allowed && answer.status.as_u16() < 500, "{field}: {answer:?}");
            sqlx::query("delete from conversions")
                .execute(&app.pool)
                .await
                .unwrap();
        }
    }
    assert_eq!(app.count("credits").await, 0);
}

#[sqlx::test]
async fn every_fault_at_once(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let body =
        json!({ "value": -1, "currency": "ZZZ", "products": [{ "quantity": 0 }], "event_time": "soon" });
    let answer = app.send("purchase", &body).await;
    assert_eq!(
        answer.faults(),
        [
            "conversion_id required",
            "value negative",
            "currency unknown_currency",
            "event_time not_a_time",
            "products[0].id required",
            "products[0].quantity not_positive"
        ]
    );
    assert_eq!(
        app.send("nonsense", &purchase("1")).await.faults(),
        ["topic unknown_topic"]
    );
    let rows = app.activity(2).await;
    assert_eq!(
        [&rows[1]["topic"], &rows[1]["status"]],
        [&json!("nonsense"), &json!("validation_error")]
    );
}

#[sqlx::test]
async fn types_sizes_and_encodings(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let typed = async |media: &str| {
        let request = app
            .http
            .post(app.webhook("lead"))
            .bearer_auth(&app.token)
            .header("content-type", media);
        Answer::of(request.body(purchase("1").to_string())).await
    };
    for good in ["application/json", "Application/JSON; charset=UTF-8"] {
        assert_eq!(typed(good).await.status, 200, "{good}");
    }
    for bad in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "",
    ] {
        assert_eq!(typed(bad).await.code(), "unsupported_media_type", "{bad}");
    }
    let without = Answer::of(
        app.http
            .post(app.webhook("lead"))
            .bearer_auth(&app.token)
            .body("{}"),
    )
    .await;
    assert_eq!(without.status, 415);
    let gzip = Answer::of(app.post("lead").header("content-encoding", "gzip").body("x")).await;
    assert_eq!(gzip.status, 415);
    let padded = |prefix: &str, size: usize| format!("{prefix}{}", " ".repeat(size - prefix.len()));
    for (body, limit) in [
        (padded("{}", 262_145), 262_144),
        (padded("[]", 1_048_577), 1_048_576),
    ] {
        let size = body.len();
        let answer = app.send_raw("lead", body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (413, "payload_too_large")
        );
        assert_eq!(
            [&answer.body["limit_bytes"], &answer.body["size_bytes"]],
            [&json!(limit), &json!(size)]
        );
    }
    assert_eq!(app.send_raw("lead", padded("[]", 1_048_576)).await.status, 422);
    let chunks = futures_util::stream::iter((0..400).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
    let chunked = app.send_raw("lead", reqwest::Body::wrap_stream(chunks)).await;
    assert_eq!(chunked.status, 413);
}

#[sqlx::test]
async fn a_slow_body_is_timed_out(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "POST /webhooks/custom/{}/lead HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{{",
        app.attribution_id, app.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(app.activity(1).await[0]["code"], "request_timeout");
}

#[sqlx::test]
async fn ids_with_anything_in_them(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for id in [
        "a/b",
        "it's \"quoted\"",
        "%00",
        "'; drop table conversions; --",
        "注文-1",
        "🛒",
    ] {
        let answer = app
            .send("lead", &json!({ "conversion_id": id, "visitor_id": id }))
            .await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["conversion_id"]),
            (200, &json!(id))
        );
    }
    for topic in ["a%2Fb", "%00", "%ff", "purchase%20", "PURCHASE"] {
        assert_eq!(
            app.send(topic, &json!({ "conversion_id": "1" })).await.faults(),
            ["topic unknown_topic"],
            "{topic}"
        );
    }
    assert_eq!(app.count("conversions").await, 6);
}

#[sqlx::test]
async fn an_idempotency_key_is_text(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let send = async |key: &[u8]| {
        let key = reqwest::header::HeaderValue::from_bytes(key).unwrap();
        Answer::of(app.post("lead").header("idempotency-key", key).body("{}")).await
    };
    assert_eq!(send("n°1".as_bytes()).await.body["conversion_id"], "n°1");
    for key in [b"n\xb01", b"n\xb11"] {
        let answer = send(key).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (422, "validation_failed")
        );
        assert_eq!(answer.faults(), ["Idempotency-Key not_utf8"]);
    }
}

#[sqlx::test]
async fn a_dry_run_that_is_asked_for_unclearly_is_no_record(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let send = async |query: &str, body: serde_json::Value| {
        let request = app.http.post(app.webhook("purchase") + query);
        let request = request
            .bearer_auth(&app.token)
            .header("content-type", "application/json");
        Answer::of(request.body(body.to_string())).await
    };
    for query in ["?dry_run=1", "?dry_run", "?dry_run=True"] {
        for body in [purchase("1"), json!([purchase("1")])] {
            let answer = send(query, body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (422, "validation_failed")
            );
            assert_eq!(answer.faults(), ["dry_run not_a_flag"], "{query}");
        }
    }
    let faults = send("?dry_run=1", json!({ "value": 1, "currency": "USD" }))
        .await
        .faults();
    assert_eq!(faults, ["dry_run not_a_flag", "conversion_id required"]);
    assert_eq!(app.count("conversions").await, 0);
    assert_eq!(
        send("?dry_run=false", purchase("1")).await.body["duplicate"],
        false
    );
    assert_eq!(app.count("conversions").await, 1);
}
