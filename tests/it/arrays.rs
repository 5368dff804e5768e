//! Array bodies.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{TestApp, purchase};

#[sqlx::test]
async fn each_event_stands_or_falls_alone(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let answer = app
        .send(
            "purchase",
            &json!([purchase("1"), { "value": -1 }, purchase("1"), 7]),
        )
        .await;
    assert_eq!(answer.status, 200);
    let body = &answer.body;
    assert_eq!(
        [&body["status"], &body["accepted"], &body["rejected"]],
        [&json!("partial"), &json!(2), &json!(2)]
    );
    let statuses: Vec<&str> = body["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        statuses,
        ["success", "validation_error", "success", "validation_error"]
    );
    assert_eq!(body["results"][1]["index"], 1);
    assert_eq!(
        [&body["results"][0]["duplicate"], &body["results"][2]["duplicate"]],
        [&json!(false), &json!(true)]
    );
    let rows = app.activity(1).await;
    assert_eq!(
        [&rows[0]["accepted"], &rows[0]["rejected"]],
        [&json!(2), &json!(2)]
    );
}

#[sqlx::test]
async fn none_accepted_is_422(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let answer = app.send("purchase", &json!([{}, {}])).await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        [&answer.body["accepted"], &answer.body["rejected"]],
        [&json!(0), &json!(2)]
    );
    let rows = app.activity(1).await;
    assert_eq!(
        [&rows[0]["status"], &rows[0]["http_status"]],
        [&json!("validation_error"), &json!(422)]
    );
    assert_eq!(app.send("purchase", &json!([])).await.faults(), ["events empty"]);
}

#[sqlx::test]
async fn a_thousand_are_one_request(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let many = |n: usize| Value::Array((0..n).map(|i| purchase(&format!("ORD-{i}"))).collect());
    let answer = app.send("purchase", &many(1000)).await;
    assert_eq!(
        [&answer.body["status"], &answer.body["accepted"]],
        [&json!("success"), &json!(1000)]
    );
    assert!(
        answer.header("ratelimit").contains("r=999999"),
        "{}",
        answer.header("ratelimit")
    );
    assert_eq!(app.count("conversions").await, 1000);
    assert_eq!(
        app.send("purchase", &many(1001)).await.faults(),
        ["events too_many"]
    );
}
