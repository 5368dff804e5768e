//! Work by key reads what it works on, and not all that a tenant has, also where Postgres knows nothing yet of what is in its tables.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use trustdata::conversions::look_again;
use uuid::Uuid;

use crate::forwarding::{Double, destination};
use crate::support::{TestApp, now, rows_read, rows_read_in_the_end, until};

/// Conversions that come at once, as after an import: many batches of them.
const CONVERSIONS: i32 = 8000;
/// Rows of tables that a conversion costs on its way to one platform and into the sums, measured and rounded up. One statement that reads all
/// of the tenant's conversions for each batch alone comes to more than the difference.
const MOST_ROWS: f64 = 30.0;
/// The tables that grow.
const GROWING: &str = "'conversions', 'credits', 'credit_changes', 'sessions', 'outbox'";

#[sqlx::test]
async fn a_conversion_costs_the_same_however_many_there_are(pool: PgPool) {
    let (app, double) = (TestApp::start(pool.clone()).await, Double::start().await);
    let destination_id = destination(&app, &double.url, |_| ()).await;
    for table in [
        "conversions",
        "credits",
        "credit_changes",
        "sessions",
        "deliveries",
        "outbox",
    ] {
        let unknown = format!("alter table {table} set (autovacuum_enabled = off)");
        sqlx::query(sqlx::AssertSqlSafe(unknown))
            .execute(&pool)
            .await
            .unwrap();
    }
    let before = rows_read(&pool, GROWING).await;
    fill(&app, destination_id).await;
    let open = async || {
        let sent = app.count("deliveries where state = 'accepted'").await;
        i64::from(CONVERSIONS) - sent + app.count("credit_changes").await
    };
    let started = Instant::now();
    while open().await > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "{} are open",
            open().await
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let each = (rows_read_in_the_end(&pool, GROWING).await - before) / f64::from(CONVERSIONS);
    println!("{each:.1} rows read for each conversion");
    assert!(each > 10.0, "{each}: reading is counted");
    assert!(each < MOST_ROWS, "{each}");
}

#[sqlx::test]
async fn who_is_waited_for_costs_the_same_however_many_wait(pool: PgPool) {
    const VISITORS: i32 = 200;
    let app = TestApp::start(pool.clone()).await;
    let (property, stream, now) = (app.property_id, app.attribution_id, now());
    let script = format!(
        "alter table awaited_visitors set (autovacuum_enabled = off);
         insert into awaited_visitors (property_id, event_id, visitor_id, attribution_id, look_at, waits_until)
         select '{property}', md5(i::text)::uuid, 'v-' || i, '{stream}', '{now}'::timestamptz + '1 day', '{now}'::timestamptz + '1 day'
         from generate_series(1, {CONVERSIONS}) i"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&pool)
        .await
        .unwrap();
    let before = rows_read(&pool, "'awaited_visitors'").await;
    for visitor in 1..=VISITORS {
        let consent = serde_json::json!({ "analytics": true });
        let fields = serde_json::json!({ "visitor_id": format!("v-{visitor}"), "consent": consent });
        assert_eq!(app.tell("page_view", fields).await.status, 200);
    }
    let mut conn = pool.acquire().await.unwrap();
    while look_again(&mut conn, now).await.unwrap().more {}
    let looked_up = rows_read_in_the_end(&pool, "'awaited_visitors'").await - before;
    println!("{looked_up} rows of those who wait looked up for {VISITORS} visitors");
    assert!(
        looked_up >= f64::from(VISITORS),
        "{looked_up}: reading is counted"
    );
    // How many looks it takes is a matter of time; one that reads all who wait, for each visitor, comes to much more.
    assert!(looked_up < f64::from(CONVERSIONS) * 5.0, "{looked_up}");
    // Of conversions that are not there nobody waits on.
    let left = i64::from(CONVERSIONS - VISITORS);
    until("they were looked at", async || {
        app.count("awaited_visitors").await == left
    })
    .await;
}

/// Matched conversions of three touches each, with what the recorder writes beside them.
async fn fill(app: &TestApp, destination_id: Uuid) {
    let (property, stream, now) = (app.property_id, app.attribution_id, now());
    let script = format!(
        "begin;
         insert into sessions (property_id, session_id, attribution_id, visitor_id, started_at, last_seen_at, direct, landing_url)
         select '{property}', 's-' || i, '{stream}', 'v-' || i, '{now}', '{now}', false, 'https://shop.example/?utm_source=x'
         from generate_series(1, {CONVERSIONS} + 3) i;
         insert into conversions (property_id, event_id, attribution_id, topic, conversion_id, event_time, received_at, value, currency,
             visitor_id, user_id, match_reason, session_id, lookback_days, payload, source)
         select '{property}', md5(i::text)::uuid, '{stream}', 'purchase', i::text, '{now}', '{now}', 9.9, 'EUR', 'v-' || i, 'u-' || i, 'matched',
             's-' || i + 3, 30, '{{\"consent\":{{\"advertising\":true}}}}', 'webhook'
         from generate_series(1, {CONVERSIONS}) i;
         insert into credits (property_id, event_id, version, position, session_id, clicked_at, direct, source, last_click, first_click, linear,
             time_decay, position_based)
         select '{property}', md5(i::text)::uuid, 1, p, 's-' || i + p, '{now}', false, 'x', x, x, x, x, x
         from generate_series(1, {CONVERSIONS}) i, generate_series(1, 3) p, lateral (select (p = 3)::int * 1000000 as x) whole;
         insert into credit_changes (property_id, event_ids, versions)
         select '{property}', array_agg(md5(i::text)::uuid), array_agg(1::smallint)
         from generate_series(1, {CONVERSIONS}) i group by i / 200;
         insert into outbox (property_id, event_id, destination_ids, created_at)
         select '{property}', md5(i::text)::uuid, array['{destination_id}'::uuid], '{now}' from generate_series(1, {CONVERSIONS}) i;
         commit"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&app.pool)
        .await
        .unwrap();
}
