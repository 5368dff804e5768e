//! Array bodies.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Answer, TestApp, purchase};

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

/// A conversion of that worth.
fn worth(id: &str, value: usize) -> Value {
    json!({ "conversion_id": id, "value": value, "currency": "USD" })
}

/// So many conversions, each of that worth.
fn all_worth(value: usize, n: usize) -> Vec<Value> {
    (0..n).map(|i| worth(&format!("ORD-{i}"), value)).collect()
}

async fn values(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("select distinct value::text from conversions")
        .fetch_all(&app.pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn the_first_of_an_array_stands(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let events = [all_worth(1, 100), all_worth(2, 100), all_worth(3, 100)].concat();
    let answer = app.send("purchase", &Value::Array(events)).await;
    let results = answer.body["results"].as_array().unwrap();
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["duplicate"], index >= 100, "{index}: {result}");
        assert_eq!(result["event_id"], results[index % 100]["event_id"]);
    }
    assert_eq!(values(&app).await, ["1"]);
}

/// Requests that wait are committed together, and still in the order in which they came.
#[sqlx::test]
async fn the_first_of_two_waiting_requests_stands(pool: PgPool) {
    let app = TestApp::start_with(pool.clone(), |config| {
        config.recorder.writers = 1;
        config.recorder.answer_within = Duration::from_secs(8);
    })
    .await;
    assert_eq!(app.send("purchase", &worth("warm", 1)).await.status, 200);
    let mut other = pool.begin().await.unwrap();
    sqlx::query("lock table conversions")
        .execute(&mut *other)
        .await
        .unwrap();
    let send = async |after: u64, event: Value| {
        tokio::time::sleep(Duration::from_millis(after)).await;
        app.send("purchase", &event).await
    };
    let unlock = async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        other.rollback().await.unwrap();
    };
    let (_, first, second, ()) = tokio::join!(
        send(0, worth("busy", 1)),
        send(400, Value::Array(all_worth(1, 200))),
        send(800, Value::Array(all_worth(2, 200))),
        unlock
    );
    for (answer, duplicate) in [(first, false), (second, true)] {
        let results = answer.body["results"].as_array().unwrap();
        assert!(results.iter().all(|result| result["duplicate"] == duplicate));
    }
    assert_eq!(values(&app).await, ["1"]);
}

#[sqlx::test]
async fn a_dry_run_sees_repeats_within_the_array(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.send("purchase", &worth("stored", 1)).await;
    let events = json!([
        worth("a", 1),
        worth("a", 2),
        worth("b", 1),
        worth("a", 1),
        worth("stored", 2)
    ]);
    let request = app.http.post(app.webhook("purchase") + "?dry_run=true");
    let request = request
        .bearer_auth(&app.token)
        .header("content-type", "application/json");
    let dry = Answer::of(request.body(events.to_string())).await.body;
    let real = app.send("purchase", &events).await.body;
    for index in 0..5 {
        for field in ["duplicate", "differs"] {
            assert_eq!(
                dry["results"][index][field], real["results"][index][field],
                "{index} {field}"
            );
        }
    }
    assert_eq!(dry["results"][1]["differs"], json!(["value"]));
    assert_eq!(dry["results"][3]["event_id"], dry["results"][0]["event_id"]);
}

#[sqlx::test]
async fn an_array_that_cannot_be_stored_has_one_audit_row(pool: PgPool) {
    sqlx::query("alter table conversions add check (conversion_id <> 'poison')")
        .execute(&pool)
        .await
        .unwrap();
    let app = TestApp::start(pool).await;
    let answer = app
        .send("purchase", &json!([purchase("poison"), purchase("poison"), {}]))
        .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["rejected"]),
        (422, &json!(3))
    );
    // Rows of refused requests come in the order of their requests: once this one is there, no other is to come.
    app.send("signup", &json!({})).await;
    let rows = app.activity(2).await;
    assert_eq!(
        [&rows[0]["rejected"], &rows[1]["topic"]],
        [&json!(3), &json!("signup")]
    );
}

#[sqlx::test]
async fn a_refused_array_is_counted_as_refused(pool: PgPool) {
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _here = metrics::set_default_local_recorder(&metrics);
    let app = TestApp::start(pool).await;
    assert_eq!(app.send("purchase", &json!([{}])).await.status, 422);
    let text = metrics.handle().render();
    let line = text
        .lines()
        .find(|line| line.starts_with("trustdata_http_requests_total"))
        .unwrap();
    assert!(
        line.contains(r#"status="422""#) && line.contains(r#"code="validation_failed""#),
        "{line}"
    );
}
