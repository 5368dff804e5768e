//! What is stored, once, with its credit.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Answer, TestApp, now, purchase};

#[sqlx::test]
async fn a_repeat_is_the_first_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("v1", 2.0, "utm_source=google&utm_campaign=spring")
        .await;
    let mut body = purchase("ORD-1");
    body["visitor_id"] = json!("v1");
    body["user_data"] = json!({ "email": "a@example.com" });
    let first = app.send("purchase", &body).await;
    assert_eq!(first.body["duplicate"], false);
    let again = app.send("purchase", &body).await;
    assert_eq!(
        (again.status.as_u16(), &again.body["duplicate"]),
        (200, &json!(true))
    );
    assert_eq!(again.body["event_id"], first.body["event_id"]);
    assert_eq!(again.body["attribution"], first.body["attribution"]);
    assert_eq!(again.body.get("differs"), None);
    body["value"] = json!("12.00");
    body["user_data"]["email"] = json!("b@example.com");
    let other = app.send("purchase", &body).await;
    assert_eq!(other.body["differs"], json!(["value", "user_data"]));
    assert_eq!(other.body["event_id"], first.body["event_id"]);
    let value: String = sqlx::query_scalar("select value::text from conversions")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(value, "99.0");
    let rows = app.activity(3).await;
    assert_eq!(rows[2]["differs"], "value,user_data");
    assert_eq!(
        [&rows[0]["duplicate"], &rows[1]["duplicate"]],
        [&json!(false), &json!(true)]
    );
    // The same id under another topic is another conversion.
    assert_eq!(
        app.send("lead", &purchase("ORD-1")).await.body["duplicate"],
        false
    );
}

#[sqlx::test]
async fn very_many_differences_are_counted(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let event = |value: u8| {
        let fields = (0..300).map(|i| (format!("field_{i:03}"), json!(value)));
        let mut event: serde_json::Map<_, _> = fields.collect();
        event.insert("conversion_id".to_owned(), json!("1"));
        Value::Object(event)
    };
    app.send("lead", &event(1)).await;
    let repeat = app.send("lead", &event(2)).await;
    let differs = repeat.body["differs"].as_array().unwrap();
    assert_eq!(
        (differs.len(), &differs[0], &differs[100]),
        (101, &json!("field_000"), &json!("and 200 more"))
    );
    let rows = app.activity(2).await;
    assert!(rows[1]["differs"].as_str().unwrap().len() <= 500);
}

#[sqlx::test]
async fn a_thousand_at_once_are_one_conversion(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let requests = (0..1000).map(|_| async { app.send("purchase", &purchase("ORD-1")).await });
    let answers = futures_util::future::join_all(requests).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let fresh = answers
        .iter()
        .filter(|answer| answer.body["duplicate"] == false)
        .count();
    assert_eq!(fresh, 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.body["event_id"] == answers[0].body["event_id"])
    );
    assert_eq!(app.count("conversions").await, 1);
    app.activity(1000).await;
}

#[sqlx::test]
async fn the_journey_and_its_weights_are_kept(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("v1", 14.0, "utm_source=google&utm_campaign=a").await;
    app.session("v1", 7.0, "utm_source=bing&utm_campaign=b").await;
    app.session("v1", 0.5, "").await;
    app.session("v1", 40.0, "utm_source=old").await;
    let answer = app
        .send("lead", &json!({ "conversion_id": "1", "visitor_id": "v1" }))
        .await;
    assert_eq!(answer.body["attribution"]["campaign"], "b");
    assert_eq!(answer.body["attribution"]["touches"], 2);
    let credits: Vec<Value> = sqlx::query_scalar("select to_jsonb(c) from credits c order by position")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    let column = |name: &str| {
        credits
            .iter()
            .map(|row| row[name].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(credits[0]["campaign"], "a");
    assert_eq!(column("last_click"), [0, 1_000_000]);
    assert_eq!(column("first_click"), [1_000_000, 0]);
    assert_eq!(column("linear"), [500_000, 500_000]);
    assert_eq!(column("time_decay"), [333_333, 666_667]);
    assert_eq!(column("position_based"), [500_000, 500_000]);
    // Later changes of the session leave the journey as it was.
    sqlx::query("update sessions set campaign = 'changed'")
        .execute(&app.pool)
        .await
        .unwrap();
    let again = app
        .send("lead", &json!({ "conversion_id": "1", "visitor_id": "v1" }))
        .await;
    assert_eq!(again.body["attribution"], answer.body["attribution"]);
}

#[sqlx::test]
async fn links_are_followed_both_ways(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("fp_1", 2.0, "utm_source=google").await;
    app.session("fp_2", 1.0, "utm_source=bing").await;
    for from in ["fp_1", "fp_2"] {
        sqlx::query("insert into visitor_links values ($1, $2, 'v1', now())")
            .bind(app.property_id)
            .bind(from)
            .execute(&app.pool)
            .await
            .unwrap();
    }
    for (id, visitor) in [("1", "v1"), ("2", "fp_1")] {
        let answer = app
            .send("lead", &json!({ "conversion_id": id, "visitor_id": visitor }))
            .await;
        assert_eq!(answer.body["attribution"]["source"], "bing", "{visitor}");
        assert_eq!(answer.body["attribution"]["touches"], 2, "{visitor}");
    }
}

/// A link, made so many days ago.
async fn link(app: &TestApp, from: &str, to: &str, days_ago: i64) {
    sqlx::query("insert into visitor_links values ($1, $2, $3, $4)")
        .bind(app.property_id)
        .bind(from)
        .bind(to)
        .bind(now() - TimeDelta::days(days_ago))
        .execute(&app.pool)
        .await
        .unwrap();
}

#[sqlx::test]
async fn an_id_of_the_day_is_the_visitors_up_to_the_link(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("fp_1", 3.0, "utm_source=before").await;
    app.session("v1", 2.0, "utm_source=own").await;
    link(&app, "fp_1", "v1", 2).await;
    // Somebody else behind the same address.
    app.session("fp_1", 1.0, "utm_source=other").await;
    let journey = async |id: &str, visitor: &str, days_ago: i64| -> Vec<String> {
        let at = (now() - TimeDelta::days(days_ago)).timestamp();
        let body = json!({ "conversion_id": id, "visitor_id": visitor, "event_time": at });
        assert_eq!(app.send("lead", &body).await.status, 200);
        sqlx::query_scalar("select k.source from credits k join conversions c using (event_id) where c.conversion_id = $1 order by k.position")
            .bind(id)
            .fetch_all(&app.pool)
            .await
            .unwrap()
    };
    assert_eq!(journey("1", "v1", 0).await, ["before", "own"]);
    assert_eq!(journey("2", "fp_1", 0).await, ["before", "other"]);
    assert_eq!(journey("3", "fp_1", 2).await, ["before", "own"]);
}

#[sqlx::test]
async fn of_many_links_the_newest_count(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for day in 1..=20 {
        let id = format!("fp_{day:02}");
        app.session(&id, day as f64 + 0.5, &format!("utm_source=s{day}"))
            .await;
        link(&app, &id, "v1", day).await;
    }
    let answer = app
        .send("lead", &json!({ "conversion_id": "1", "visitor_id": "v1" }))
        .await;
    let attribution = &answer.body["attribution"];
    assert_eq!(
        (&attribution["source"], &attribution["touches"]),
        (&json!("s1"), &json!(16)),
        "{answer:?}"
    );
}

#[sqlx::test]
async fn a_dry_run_stores_only_its_audit_row(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("v1", 2.0, "utm_source=google").await;
    let url = app.webhook("lead") + "?dry_run=true";
    let body = json!({ "conversion_id": "1", "visitor_id": "v1" }).to_string();
    let send = || {
        app.http
            .post(&url)
            .bearer_auth(&app.token)
            .header("content-type", "application/json")
            .body(body.clone())
    };
    let answer = Answer::of(send()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["dry_run"]),
        (200, &json!(true))
    );
    assert_eq!(answer.body["attribution"]["reason"], "matched");
    assert_eq!(app.count("conversions").await + app.count("credits").await, 0);
    let rows = app.activity(1).await;
    assert_eq!(
        [
            &rows[0]["dry_run"],
            &rows[0]["status"],
            &rows[0]["session_matched"]
        ],
        [&json!(true), &json!("success"), &json!(true)]
    );
    // It tells of a repeat, too.
    app.send_raw("lead", body.clone()).await;
    assert_eq!(Answer::of(send()).await.body["duplicate"], true);
}

#[sqlx::test]
async fn a_poison_row_falls_alone(pool: PgPool) {
    sqlx::query("alter table conversions add check (conversion_id <> 'poison')")
        .execute(&pool)
        .await
        .unwrap();
    let app = TestApp::start(pool).await;
    let ids: Vec<String> = (0..300)
        .map(|i| {
            if i == 137 {
                "poison".to_owned()
            } else {
                format!("ORD-{i}")
            }
        })
        .collect();
    let answers = futures_util::future::join_all(
        ids.iter()
            .map(|id| async { app.send("purchase", &purchase(id)).await }),
    )
    .await;
    for (id, answer) in ids.iter().zip(&answers) {
        assert_eq!(
            answer.status.as_u16(),
            if id == "poison" { 422 } else { 200 },
            "{id}: {answer:?}"
        );
    }
    assert_eq!(app.count("conversions").await, 299);
    let refused = app
        .activity(300)
        .await
        .into_iter()
        .filter(|row| row["status"] == "validation_error")
        .count();
    assert_eq!(refused, 1);

    let array = json!([purchase("a"), purchase("poison"), purchase("b")]);
    let answer = app.send("purchase", &array).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        [&answer.body["accepted"], &answer.body["rejected"]],
        [&json!(2), &json!(1)]
    );
    assert_eq!(answer.body["results"][1]["errors"][0]["code"], "not_storable");
}
