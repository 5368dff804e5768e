//! The examples of the product's documentation, to the letter.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::TestApp;

#[sqlx::test]
async fn minimal_purchase(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session(
        "v1",
        3.0,
        "utm_source=google&utm_medium=cpc&utm_campaign=spring_sale&gclid=abc",
    )
    .await;
    let body = json!({ "conversion_id": "ORD-12345", "value": 99.00, "currency": "USD", "visitor_id": "v1" });
    let answer = app.send("purchase", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = &answer.body;
    assert_eq!(body["status"], "success");
    assert_eq!(body["topic"], "purchase");
    assert_eq!(body["conversion_id"], "ORD-12345");
    assert_eq!(body["duplicate"], false);
    assert_eq!(body["session_matched"], true);
    let attribution = &body["attribution"];
    assert_eq!(attribution["reason"], "matched");
    assert_eq!(attribution["touches"], 1);
    assert_eq!(attribution["source"], "google");
    assert_eq!(attribution["medium"], "cpc");
    assert_eq!(attribution["campaign"], "spring_sale");
    assert_eq!(attribution["click_id"], "gclid");
    assert_eq!(attribution["clicked_at"], "2026-10-29T10:00:00Z");
    assert_eq!(body["warnings"], json!([]));
}

#[sqlx::test]
async fn complete_purchase_is_kept_exact_and_sealed(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let body = r#"{
        "conversion_id": "ORD-1", "value": 1234567.8901, "currency": "eur", "tax": "19.00", "shipping": 4.95, "discount": 0,
        "discount_code": "SPRING", "visitor_id": "v1", "user_id": "u-1", "event_time": 1793527100,
        "user_data": { "email": "jane@example.com", "phone": "+15551234567", "first_name": "Jane", "last_name": "Doe",
            "address": { "street": "1 Main St", "city": "Springfield", "region": "IL", "postal_code": "62701", "country": "US" } },
        "products": [ { "id": "SKU-1", "name": "Shirt", "quantity": 2, "price": 49.50, "brand": "B", "category": "C",
            "variant_title": "L", "sku": "S", "currency": "EUR" } ],
        "consent": { "analytics": true, "advertising": true, "preferences": false, "sale_of_data": true },
        "loyalty": { "points": 12.10 } }"#;
    let answer = app.send_raw("purchase", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let row: Value = sqlx::query_scalar("select to_jsonb(c) || jsonb_build_object('digits', value::text, 'text', payload::text) from conversions c")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(row["digits"], "1234567.8901");
    assert_eq!(row["currency"], "EUR");
    assert_eq!(row["event_time"], "2026-11-01T09:58:20+00:00");
    let text = row["text"].as_str().unwrap();
    assert!(
        text.contains(r#""value":1234567.8901,"currency":"eur","tax":"19.00""#),
        "{text}"
    );
    // What a field of the sender's own holds, nobody can tell: it is kept, and sealed.
    assert!(!text.contains("loyalty"), "{text}");
    let repeat = app.send_raw("purchase", body.replace("12.10", "12.20")).await;
    assert_eq!(repeat.body["differs"], json!(["loyalty"]));
    let everything: String = sqlx::query_scalar("select (select string_agg(c::text, '') from conversions c) || (select string_agg(a::text, '') from activity a)")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    for personal in ["jane", "Jane", "Doe", "5551234567", "Main St", "62701"] {
        assert!(!everything.contains(personal), "{personal} is stored in clear");
    }
    assert_ne!(row["personal_sealed"], Value::Null);
}

#[sqlx::test]
async fn lead_refund_signup_and_unknown_fields(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let table = [
        (
            "lead",
            json!({ "conversion_id": "L-1", "lead_type": "demo_request", "visitor_id": "v" }),
            "unknown_visitor",
        ),
        (
            "refund",
            json!({ "conversion_id": "refund_77", "value": 10, "currency": "USD" }),
            "no_visitor_id",
        ),
        ("signup", json!({ "conversion_id": "U-1" }), "no_visitor_id"),
        (
            "subscription",
            json!({ "conversion_id": "S-1", "plan": { "name": "pro" }, "tags": [1, null] }),
            "no_visitor_id",
        ),
        (
            "custom",
            json!({ "conversion_id": "C-1", "event_name": "quiz_done" }),
            "no_visitor_id",
        ),
    ];
    for (topic, body, reason) in &table {
        let answer = app.send(topic, body).await;
        assert_eq!(answer.status, 200, "{topic}: {answer:?}");
        assert_eq!(answer.body["session_matched"], false);
        assert_eq!(answer.body["attribution"], json!({ "reason": reason }));
    }
    assert_eq!(app.count("conversions").await, 5);
    let rows = app.activity(5).await;
    assert!(
        rows.iter()
            .all(|row| row["status"] == "success" && row["key_name"] == "production")
    );
}

#[sqlx::test]
async fn outside_the_lookback_says_what_is_nearest(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("v1", 45.0, "utm_source=google").await;
    let answer = app
        .send("lead", &json!({ "conversion_id": "1", "visitor_id": "v1" }))
        .await;
    let attribution = &answer.body["attribution"];
    assert_eq!(attribution["reason"], "outside_lookback");
    assert_eq!(attribution["nearest_session_days"], 45);
    assert_eq!(attribution["lookback_days"], 30);
    // A session after the event is not "unknown visitor" either.
    app.session("v2", 1.0, "utm_source=google").await;
    let body = json!({ "conversion_id": "2", "visitor_id": "v2", "event_time": "2026-10-30T10:00:00Z" });
    assert_eq!(
        app.send("lead", &body).await.body["attribution"]["reason"],
        "outside_lookback"
    );
}
