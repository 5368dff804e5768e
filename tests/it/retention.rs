//! What is past its time goes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::platform::pace::Pace;
use trustdata::retention;
use trustdata::tokens::Scope;
use uuid::Uuid;

use crate::api::{Program, token};
use crate::command_line::run;
use crate::support::{TestApp, now, purchase, rows_read, rows_read_in_the_end};

/// More streams than a page has, and one whose rows cannot be deleted.
#[sqlx::test]
async fn all_streams_are_swept_past_one_that_fails(pool: PgPool) {
    for statement in [
        "insert into properties values ('00000000-0000-7000-8000-000000000000', 'p', now())",
        "insert into streams (attribution_id, property_id, name, created_at)
         select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, '00000000-0000-7000-8000-000000000000', 's', now()
         from generate_series(1, 1100) n",
        "insert into activity (property_id, attribution_id, activity_id, at, status, topic, http_status)
         select property_id, attribution_id, '00000000-0000-7000-8000-000000000000', 'epoch', 'success', 'lead', 200 from streams",
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$",
        "create trigger refuse before delete on activity for each row
         when (old.attribution_id = '00000000-0000-7000-8000-000000000007') execute function refuse()",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let app = TestApp::start(pool).await;
    for _ in 0..300 {
        if app.count("activity").await == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} rows are left", app.count("activity").await);
}

/// One look of the sweep at a day from now.
async fn sweep_in_days(app: &TestApp, days: i64) {
    let at = app.clock.now() + TimeDelta::days(days);
    retention::sweep(&app.pool, &Pace::free(), at).await.unwrap();
}

async fn has_personal(app: &TestApp, conversion_id: &str) -> bool {
    let kept = sqlx::query_scalar(
        r"select exists (select from conversions where conversion_id = $1 and personal_sealed <> '\x')",
    );
    kept.bind(conversion_id).fetch_one(&app.pool).await.unwrap()
}

fn buyer(id: &str) -> Value {
    let mut event = purchase(id);
    event["user_data"] = json!({ "email": "jane@shop.example", "phone": "+4915112345678" });
    event
}

#[sqlx::test]
async fn personal_data_goes_and_the_conversion_stays(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let first = app.send("purchase", &buyer("ORD-1")).await;
    sweep_in_days(&app, 30).await;
    assert!(has_personal(&app, "ORD-1").await, "the last day");
    sweep_in_days(&app, 31).await;
    assert!(!has_personal(&app, "ORD-1").await);

    let mut other = buyer("ORD-1");
    other["user_data"]["email"] = json!("someone-else@shop.example");
    let repeat = app.send("purchase", &other).await;
    assert_eq!(repeat.body["duplicate"], true);
    assert_eq!(repeat.body["event_id"], first.body["event_id"]);
    assert_eq!(
        repeat.body["differs"],
        Value::Null,
        "what is gone is past comparing"
    );
    assert!(!has_personal(&app, "ORD-1").await, "and does not come back");
    // What has come meanwhile has a time of its own.
    app.clock.advance(TimeDelta::days(10));
    app.send("purchase", &buyer("ORD-2")).await;
    sweep_in_days(&app, 30).await;
    assert!(has_personal(&app, "ORD-2").await);
    sweep_in_days(&app, 31).await;
    assert!(!has_personal(&app, "ORD-2").await);
    assert_eq!(app.count("conversions").await, 2);
}

#[sqlx::test]
async fn what_is_still_to_be_sent_is_kept_until_it_was(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let event_id = app.send("purchase", &buyer("ORD-1")).await.body["event_id"].clone();
    let event_id: Uuid = event_id.as_str().unwrap().parse().unwrap();
    let deliver = |state: &'static str, settled: Option<DateTime<Utc>>| {
        let row = sqlx::query(
            r"insert into deliveries (property_id, event_id, destination_id, state, created_at, due_at, settled_at, payload_sealed)
              values ($1, $2, $1, $3, now(), now(), $4, '\x01')
              on conflict (property_id, event_id, destination_id) do update set state = $3, settled_at = $4",
        );
        row.bind(app.property_id)
            .bind(event_id)
            .bind(state)
            .bind(settled)
            .execute(&app.pool)
    };
    let payloads = async || app.count("deliveries where payload_sealed is not null").await;
    deliver("queued", None).await.unwrap();
    for day in [31, 32, 60] {
        sweep_in_days(&app, day).await;
        assert!(has_personal(&app, "ORD-1").await, "day {day}");
    }
    deliver("accepted", Some(app.clock.now() + TimeDelta::days(60)))
        .await
        .unwrap();
    sweep_in_days(&app, 89).await;
    assert!(has_personal(&app, "ORD-1").await);
    assert_eq!(payloads().await, 1);
    sweep_in_days(&app, 91).await;
    assert!(!has_personal(&app, "ORD-1").await);
    assert_eq!(payloads().await, 0);
    assert_eq!(app.count("deliveries where state = 'accepted'").await, 1);
    assert_eq!(app.count("personal_kept").await, 0);
}

#[sqlx::test]
async fn sessions_lose_the_visitor_and_then_go(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for (visitor, days_ago) in [("v-old", 20.0), ("v-new", 1.0)] {
        app.session(visitor, days_ago, "utm_source=google").await;
    }
    let script = format!(
        "update sessions set client_sealed = '\\x01', browser_ids = '{{\"_fbp\":\"x\"}}';
         insert into visitor_links select property_id, 'fp_' || visitor_id, visitor_id, started_at from sessions;
         update streams set lookback_days = 40;
         update properties set keep_sessions_days = 60 where property_id = '{}'",
        app.property_id
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&app.pool)
        .await
        .unwrap();
    let counts = async || {
        let stripped = app.count("sessions where client_sealed is null and browser_ids is null");
        [
            stripped.await,
            app.count("sessions").await,
            app.count("visitor_links").await,
        ]
    };
    // 40 days of lookback, then 30 for address and browser, and 60 for the rest.
    for (day, expected) in [
        (49, [0, 2, 2]),
        (51, [1, 2, 2]),
        (70, [2, 2, 2]),
        (79, [2, 2, 2]),
        (81, [1, 1, 1]),
        (100, [0, 0, 0]),
    ] {
        sweep_in_days(&app, day).await;
        assert_eq!(counts().await, expected, "day {day}");
    }
}

#[sqlx::test]
async fn imported_sessions_lose_the_visitor_though_their_time_was_swept(pool: PgPool) {
    let app = TestApp::start(pool).await;
    sqlx::raw_sql("update properties set keep_sessions_days = 3650")
        .execute(&app.pool)
        .await
        .unwrap();
    let import = |visitor: &str, started_at: &str| {
        let line = json!({ "attribution_id": app.attribution_id, "visitor_id": visitor, "started_at": started_at,
            "landing_url": "https://shop.example/", "ip": "203.0.113.7" });
        let done = run(&app.pool, &["session", "import", "-"], &line.to_string());
        assert!(done.status.success(), "{done:?}");
    };
    let with_visitor = async || app.count("sessions where client_sealed is not null").await;
    // The same moment too: a place is a time and an id.
    for started_at in [
        "2026-10-20T10:00:00Z",
        "2026-10-20T10:00:00Z",
        "2026-10-10T10:00:00Z",
    ] {
        import(&format!("v-{}", app.count("sessions").await), started_at);
        assert_eq!(with_visitor().await, 1, "{started_at}");
        sweep_in_days(&app, 100).await;
        assert_eq!(with_visitor().await, 0, "{started_at}");
    }
    assert_eq!(app.count("sessions").await, 3);
}

/// Old rows are found by index: what is looked at is what goes, however much there is.
#[sqlx::test]
async fn a_sweep_reads_what_is_due_and_no_more(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (property, stream, now) = (app.property_id, app.attribution_id, now());
    let script = format!(
        "create temporary table minutes as
             select i, '{now}'::timestamptz - make_interval(mins => i) as t from generate_series(1, 20000) i;
         insert into sessions (property_id, session_id, attribution_id, visitor_id, started_at, last_seen_at, direct, landing_url)
         select '{property}', 's-' || i, '{stream}', 'v-' || i, t, t, false, '' from minutes;
         insert into visitor_links select '{property}', 'fp_' || i, 'v-' || i, t from minutes;
         insert into deliveries (property_id, event_id, destination_id, state, created_at, due_at, settled_at, payload_sealed)
         select '{property}', gen_random_uuid(), '{property}', 'accepted', t, t, t, '\\x01' from minutes;
         analyze sessions, visitor_links, deliveries"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&app.pool)
        .await
        .unwrap();
    let tables = "'sessions', 'visitor_links', 'deliveries'";
    let before = rows_read(&app.pool, tables).await;
    // Nothing but the oldest hour's payloads.
    let at = app.clock.now() + TimeDelta::days(30) - TimeDelta::minutes(20_000 - 60);
    retention::sweep(&app.pool, &Pace::free(), at).await.unwrap();
    assert_eq!(app.count("deliveries where payload_sealed is null").await, 60);
    // The count above reads them all, once.
    let fetched = rows_read_in_the_end(&app.pool, tables).await - before - 20_000.0;
    assert!((60.0..2000.0).contains(&fetched), "{fetched}");
}

#[sqlx::test]
async fn a_property_says_how_long(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Write).await,
    };
    let path = format!("/properties/{}", app.property_id);
    let wrong = json!({ "keep_personal_days": 6, "keep_sessions_days": 0, "keep_activity_days": 3651 });
    let refused = program.ask(Method::PATCH, &path, Some(&wrong)).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.faults().len(), 3, "{}", refused.body);
    let short = json!({ "keep_personal_days": 7 });
    let changed = program.ask(Method::PATCH, &path, Some(&short)).await;
    assert_eq!(changed.body["keep_personal_days"], 7, "{}", changed.body);
    assert_eq!(changed.body["keep_sessions_days"], 365);
    let log = program.get("/settings-log").await.body["data"][0].clone();
    assert_eq!(log["action"], "property.retention_set");
    assert_eq!(log["change"]["to"]["personal_days"], 7);

    app.send("purchase", &buyer("ORD-1")).await;
    sweep_in_days(&app, 8).await;
    assert!(!has_personal(&app, "ORD-1").await);
}
