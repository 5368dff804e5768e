//! Browser events and the script across origins: who may read, whose cookie it is, what a cache may keep.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Answer, TestApp};

const SHOP: &str = "https://www.shop.example";

#[sqlx::test]
async fn any_origin_may_read_any_answer(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.collect.requests_per_minute_per_attribution_id = 3.try_into().unwrap();
    })
    .await;
    let good = app.event("login", &json!({ "visitor_id": "v" })).to_string();
    let mut unknown = app.event("login", &json!({}));
    unknown["attribution_id"] = json!(uuid::Uuid::new_v4());
    let read = |answer: &Answer| {
        for (name, value) in [
            ("access-control-allow-origin", SHOP),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "Retry-After, X-Request-Id"),
            ("vary", "Origin"),
        ] {
            assert_eq!(answer.header(name), value, "{answer:?}");
        }
        assert!(!answer.header("x-request-id").is_empty());
    };
    for (body, status, code) in [
        (good.clone(), 200, ""),
        ("{".to_owned(), 400, "invalid_json"),
        ("{}".to_owned(), 422, "validation_failed"),
        (unknown.to_string(), 404, "unknown_attribution_id"),
        (" ".repeat(300_000), 413, "payload_too_large"),
        (good.clone(), 200, ""),
        (good.clone(), 200, ""),
        (good.clone(), 429, "rate_limited"),
    ] {
        let answer = Answer::of(app.page().header("origin", SHOP).body(body)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code));
        read(&answer);
    }
    let form = app
        .http
        .post(app.url("/api/events"))
        .header("origin", SHOP)
        .header("content-type", "application/x-www-form-urlencoded");
    let form = Answer::of(form.body("a=b")).await;
    assert_eq!(form.code(), "unsupported_media_type");
    read(&form);
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let request = app
            .http
            .request(method.parse().unwrap(), app.url("/api/events"))
            .header("origin", SHOP);
        let answer = Answer::of(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (405, "POST, OPTIONS")
        );
        read(&answer);
    }
    let without = Answer::of(app.page().body("{}")).await;
    assert_eq!(without.header("access-control-allow-origin"), "");
    assert_eq!(without.header("access-control-allow-credentials"), "");
}

#[sqlx::test]
async fn preflights(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let request = app
        .http
        .request(reqwest::Method::OPTIONS, app.url("/api/events"))
        .header("origin", SHOP)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let answer = Answer::of(request).await;
    assert_eq!((answer.status.as_u16(), &answer.body), (204, &Value::Null));
    for (name, value) in [
        ("access-control-allow-origin", SHOP),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-max-age", "86400"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

#[sqlx::test]
async fn what_pages_and_beacons_send(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let body = app.event("login", &json!({ "visitor_id": "v" })).to_string();
    for media in [
        Some("application/json"),
        Some("application/json; charset=utf-8"),
        Some("text/plain;charset=UTF-8"),
        Some("text/plain"),
        None,
    ] {
        let mut request = app.http.post(app.url("/api/events"));
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        assert_eq!(
            Answer::of(request.body(body.clone())).await.status,
            200,
            "{media:?}"
        );
    }
    for media in ["text/html", "text/plain; charset=utf-16", "multipart/form-data"] {
        let request = app
            .http
            .post(app.url("/api/events"))
            .header("content-type", media);
        assert_eq!(
            Answer::of(request.body(body.clone())).await.status,
            415,
            "{media}"
        );
    }
}

#[sqlx::test]
async fn the_cookie_is_the_sites_own(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let send = async |host: &str, origin: &str, cookie: &str, fields: Value| {
        let request = app
            .page()
            .header("host", host)
            .header("origin", origin)
            .header("cookie", cookie);
        let answer = Answer::of(request.body(app.event("login", &fields).to_string())).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let visitor = answer.body["visitor_id"].as_str().unwrap().to_owned();
        (visitor, answer.header("set-cookie").to_owned())
    };
    let agreed = || json!({ "consent": { "analytics": true } });
    let (visitor, cookie) = send("t.shop.example", SHOP, "", agreed()).await;
    assert_eq!(
        cookie,
        format!("_trdt_vid={visitor}; Path=/; Max-Age=34560000; SameSite=Lax; Domain=shop.example; Secure")
    );
    let (_, cookie) = send("127.0.0.1:80", "http://127.0.0.1:3000", "", agreed()).await;
    assert!(cookie.ends_with("; SameSite=Lax"), "{cookie}");

    // Of another site neither read nor set.
    let kept = "a=b; _trdt_vid=v%201";
    let (visitor, cookie) = send("t.other.example", SHOP, kept, agreed()).await;
    assert!(visitor != "v 1" && cookie.is_empty(), "{visitor} {cookie}");
    let (visitor, cookie) = send("t.shop.example", SHOP, kept, agreed()).await;
    assert_eq!(visitor, "v 1");
    assert!(cookie.starts_with("_trdt_vid=v%201; "), "{cookie}");
    // What was sent comes before the cookie.
    let sent = json!({ "visitor_id": "v-2", "consent": { "analytics": true } });
    assert_eq!(send("t.shop.example", SHOP, kept, sent).await.0, "v-2");
    // Without consent it is neither read nor set, and unknown is not granted.
    let refused = json!({ "visitor_id": "v-2", "consent": { "analytics": false } });
    for fields in [refused, json!({})] {
        let (visitor, cookie) = send("t.shop.example", SHOP, kept, fields).await;
        assert!(
            visitor.starts_with("fp_") && cookie.is_empty(),
            "{visitor} {cookie}"
        );
    }
}

async fn script(app: &TestApp, headers: &[(&'static str, &str)]) -> reqwest::Response {
    let mut request = app.http.get(app.url("/t.js"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[sqlx::test]
async fn the_script_is_served_to_everybody_and_kept(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let header = |response: &reqwest::Response, name: &str| {
        let value = response.headers().get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    };
    let plain = script(&app, &[]).await;
    assert_eq!(plain.status(), 200);
    for (name, value) in [
        ("content-type", "text/javascript; charset=utf-8"),
        (
            "cache-control",
            "public, max-age=3600, stale-while-revalidate=86400",
        ),
        ("vary", "Accept-Encoding"),
        ("access-control-allow-origin", "*"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "nosniff"),
        ("content-encoding", ""),
    ] {
        assert_eq!(header(&plain, name), value, "{name}");
    }
    let tag = header(&plain, "etag");
    let source = include_str!("../../src/collect/t.js");
    assert_eq!(plain.text().await.unwrap(), source);
    for (accepted, encoding) in [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0.1, gzip", "gzip"),
    ] {
        let response = script(&app, &[("accept-encoding", accepted)]).await;
        assert_eq!(header(&response, "content-encoding"), encoding);
        assert_ne!(header(&response, "etag"), tag);
        let own = header(&response, "etag");
        assert!(response.bytes().await.unwrap().len() <= 4096);
        let known = format!("\"other\", W/{own}");
        let unchanged = script(&app, &[("accept-encoding", accepted), ("if-none-match", &known)]).await;
        assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(header(&unchanged, "etag"), own);
        assert_eq!(unchanged.bytes().await.unwrap().len(), 0);
    }
    assert_eq!(script(&app, &[("if-none-match", "\"old\"")]).await.status(), 200);
    let head = app.http.head(app.url("/t.js")).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), header(&head, "content-length")),
        (200, source.len().to_string())
    );
    let post = Answer::of(app.http.post(app.url("/t.js"))).await;
    assert_eq!((post.status.as_u16(), post.header("allow")), (405, "GET, HEAD"));
}
