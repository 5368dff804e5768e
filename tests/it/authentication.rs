//! Checks 1 to 3: who may send, and how often.

use sqlx::PgPool;
use trustdata::platform::token::{Scheme, Token};
use trustdata::streams;

use crate::support::{Answer, TestApp, new_key, new_stream, now, purchase, until};

#[sqlx::test]
async fn every_refusal_has_its_code(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let other = new_stream(&app.clock, app.property_id);
    streams::store::insert_stream(&mut app.pool.acquire().await.unwrap(), &other)
        .await
        .unwrap();
    let key = async |stream, change: fn(&mut trustdata::keys::Key)| {
        new_key(&app.pool, &app.clock, app.property_id, stream, change)
            .await
            .1
    };
    let foreign = key(other.attribution_id, |_| {}).await;
    let revoked = key(app.attribution_id, |key| key.expires_at = None).await;
    sqlx::query("update webhook_keys set revoked_at = now() where prefix = $1")
        .bind(&revoked[..14])
        .execute(&app.pool)
        .await
        .unwrap();
    let expired = key(app.attribution_id, |key| key.expires_at = Some(now())).await;
    let mut wrong_secret = revoked.clone().into_bytes();
    // The revoked key's prefix with another secret, checksum and all, is not "revoked".
    let other_token = Token::generate(Scheme::Webhook);
    wrong_secret.truncate(14);
    let mut changed = app.token.clone();
    changed.replace_range(20..21, if &changed[20..21] == "a" { "b" } else { "a" });
    let table = [
        (None, "missing_credentials"),
        (Some("".to_owned()), "missing_credentials"),
        (Some(app.token.clone()), "malformed_credentials"),
        (Some("Bearer".to_owned()), "malformed_credentials"),
        (Some(format!("Basic {}", app.token)), "malformed_credentials"),
        (Some(format!("Bearer  {}", app.token)), "malformed_credentials"),
        (Some(format!("Bearer {changed}")), "malformed_credentials"),
        (Some("Bearer sk_live_1".to_owned()), "malformed_credentials"),
        (Some(format!("Bearer {}", other_token.expose())), "invalid_key"),
        (Some(format!("Bearer {foreign}")), "invalid_key"),
        (Some(format!("Bearer {revoked}")), "revoked_key"),
        (Some(format!("Bearer {expired}")), "expired_key"),
    ];
    let refused = table.len();
    for (header, code) in table {
        let mut request = app
            .http
            .post(app.webhook("purchase"))
            .header("content-type", "application/json");
        if let Some(header) = &header {
            request = request.header("authorization", header);
        }
        let answer = Answer::of(request.body(purchase("1").to_string())).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (401, code));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("ratelimit"), "");
        assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
    }
    let rows = app.activity(refused).await;
    assert!(
        rows.iter()
            .all(|row| row["status"] == "auth_error" && row["key_name"].is_null())
    );
}

#[sqlx::test]
async fn unknown_streams_and_other_methods_reveal_nothing(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let table = [
        (
            "/webhooks/custom/0193aaaa-0000-7000-8000-000000000001/purchase",
            404,
            "unknown_attribution_id",
        ),
        (
            "/webhooks/custom/nonsense/purchase",
            404,
            "unknown_attribution_id",
        ),
        ("/webhooks/custom/%00'%22/purchase", 404, "unknown_attribution_id"),
        ("/webhooks/custom/", 404, "not_found"),
        ("/webhooks/custom/a/b/c", 404, "not_found"),
        ("/", 405, "method_not_allowed"),
    ];
    for (path, status, code) in table {
        let answer = Answer::of(app.http.post(app.url(path)).bearer_auth(&app.token).body("{}")).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{path}");
    }
    for id in [app.attribution_id.to_string(), "nonsense".to_owned()] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"] {
            let url = app.url(&format!("/webhooks/custom/{id}/purchase"));
            let response = app
                .http
                .request(method.parse().unwrap(), url)
                .send()
                .await
                .unwrap();
            assert_eq!(
                (
                    response.status().as_u16(),
                    response.headers()["allow"].to_str().unwrap()
                ),
                (405, "POST"),
                "{method}"
            );
        }
    }
    sqlx::query("update streams set webhooks_enabled = false")
        .execute(&app.pool)
        .await
        .unwrap();
    until("webhooks are off", async || {
        app.send("purchase", &purchase("1")).await.code() == "webhooks_disabled"
    })
    .await;
}

#[sqlx::test]
async fn failed_attempts_are_limited_by_address(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.auth.failures_per_minute = 5.try_into().unwrap()
    })
    .await;
    assert_eq!(app.send("lead", &purchase("1")).await.status, 200);
    let attempt = async || {
        let token = Token::generate(Scheme::Webhook);
        let request = app.http.post(app.webhook("lead")).bearer_auth(token.expose());
        Answer::of(request.header("content-type", "application/json").body("{}")).await
    };
    for _ in 0..5 {
        assert_eq!(attempt().await.status, 401);
    }
    let refused = attempt().await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "rate_limited"));
    assert_eq!(refused.header("retry-after"), "12");
    // A key that was proven before goes on.
    assert_eq!(app.send("lead", &purchase("2")).await.status, 200);
}

#[sqlx::test]
async fn first_uses_of_valid_keys_are_no_failures(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.auth.failures_per_minute = 3.try_into().unwrap()
    })
    .await;
    let mut first_uses = Vec::new();
    for _ in 0..8 {
        let (_, token) = new_key(&app.pool, &app.clock, app.property_id, app.attribution_id, |_| {}).await;
        first_uses.push(app.with_key(&token).body(purchase(&token).to_string()));
    }
    for answer in futures_util::future::join_all(first_uses.into_iter().map(Answer::of)).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[sqlx::test]
async fn many_bad_keys_at_once_stay_near_the_limit(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.auth.failures_per_minute = 5.try_into().unwrap()
    })
    .await;
    let attempts = (0..60).map(|_| {
        let token = Token::generate(Scheme::Webhook);
        app.with_key(token.expose()).body("{}")
    });
    let answers = futures_util::future::join_all(attempts.map(Answer::of)).await;
    let tried = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(tried, 5, "all others were told to wait");
}

/// The outcome of a token on one stream says nothing about another stream.
#[sqlx::test]
async fn a_new_key_is_not_refused_for_what_others_do_with_it(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.auth.failures_per_minute = 1000.try_into().unwrap()
    })
    .await;
    let other = new_stream(&app.clock, app.property_id);
    streams::store::insert_stream(&mut app.pool.acquire().await.unwrap(), &other)
        .await
        .unwrap();
    let wrong = app.url(&format!("/webhooks/custom/{}/lead", other.attribution_id));
    for round in 0..10 {
        let (_, token) = new_key(&app.pool, &app.clock, app.property_id, app.attribution_id, |_| {}).await;
        let sent = (0..9).map(|place| {
            let url = if place == 4 {
                app.webhook("lead")
            } else {
                wrong.clone()
            };
            let request = app.http.post(url).bearer_auth(&token);
            Answer::of(
                request
                    .header("content-type", "application/json")
                    .body(purchase(&round.to_string()).to_string()),
            )
        });
        let answers = futures_util::future::join_all(sent).await;
        for (place, answer) in answers.iter().enumerate() {
            let expected = if place == 4 { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{answer:?}");
        }
    }
}

#[sqlx::test]
async fn a_flood_of_refusals_is_counted_in_one_row(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| config.activity.refused_per_minute = 3).await;
    for _ in 0..30 {
        Answer::of(app.http.post(app.webhook("lead")).body("{}")).await;
    }
    for _ in 0..200 {
        let counted: i64 = sqlx::query_scalar("select coalesce(sum(requests), 0) from activity")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        if counted == 30 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let rows = app.activity(4).await;
    let counting: Vec<_> = rows.iter().filter(|row| row["code"] == "flood").collect();
    assert_eq!(
        (counting.len(), &counting[0]["requests"]),
        (1, &serde_json::json!(27))
    );
}

#[sqlx::test]
async fn request_ids_are_kept_when_sane(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let sane = Answer::of(app.post("lead").header("x-request-id", "abc-1.2_3:4").body("{}")).await;
    assert_eq!(
        (sane.header("x-request-id"), &sane.body["request_id"]),
        ("abc-1.2_3:4", &serde_json::json!("abc-1.2_3:4"))
    );
    let long = "x".repeat(129);
    for mad in ["a b", long.as_str(), "<script>"] {
        let answer = Answer::of(app.post("lead").header("x-request-id", mad).body("{}")).await;
        assert_ne!(answer.header("x-request-id"), mad);
        assert_eq!(answer.header("x-request-id").len(), 36);
    }
}
