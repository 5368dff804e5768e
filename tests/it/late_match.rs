//! Conversions whose session comes to be known after them.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::conversions::look_again;
use trustdata::destinations::Policy;
use trustdata::domain::landing::Landing;
use trustdata::domain::tenant::Tenant;
use trustdata::sessions::tracking::{Moment, apply};

use crate::forwarding::{Double, destination};
use crate::support::{TestApp, moment, now, purchase, sealer, until};

const AD: &str = "https://shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=late&gclid=x";

/// A page view of `visitor`, so many seconds from now.
fn page_view(app: &TestApp, visitor: &str, seconds: i64, url: &str) -> Moment {
    let tenant = Tenant {
        property_id: app.property_id,
        attribution_id: app.attribution_id,
    };
    moment(
        tenant,
        visitor,
        now() + TimeDelta::seconds(seconds),
        Landing::parse(url, None).unwrap(),
    )
}

async fn track(app: &TestApp, moment: &Moment) {
    let mut transaction = app.pool.begin().await.unwrap();
    apply(&mut transaction, &[moment], &app.clock, &sealer())
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

async fn buy(app: &TestApp, id: &str, visitor: &str) -> Value {
    let mut body = purchase(id);
    body["visitor_id"] = json!(visitor);
    let answer = app.send("purchase", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Waits until nobody waits any more.
async fn settled(app: &TestApp) {
    for _ in 0..500 {
        if app.count("awaited_visitors").await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a conversion still waits");
}

/// Version and campaign of each credit row.
async fn credits(app: &TestApp) -> Vec<(i16, Option<String>)> {
    sqlx::query_as("select version, campaign from credits order by event_id, version, position")
        .fetch_all(&app.pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn a_session_that_comes_late_is_credited_and_says_so(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let first = buy(&app, "o-1", "v-1").await;
    assert_eq!(first["attribution"]["reason"], "unknown_visitor");
    track(&app, &page_view(&app, "v-1", -60, AD)).await;
    settled(&app).await;
    assert_eq!(credits(&app).await, [(2, Some("late".to_owned()))]);
    let row = &app.activity(1).await[0];
    assert_eq!(row["session_matched"], true);
    assert!(row["matched_late_at"].is_string(), "{row}");
    let again = buy(&app, "o-1", "v-1").await;
    assert_eq!(
        (
            &again["duplicate"],
            &again["session_matched"],
            &again["attribution"]["campaign"]
        ),
        (&json!(true), &json!(true), &json!("late"))
    );
}

#[sqlx::test]
async fn a_link_that_comes_late_leads_to_the_session(pool: PgPool) {
    let app = TestApp::start(pool).await;
    track(&app, &page_view(&app, "fp_1", -60, AD)).await;
    assert_eq!(buy(&app, "o-1", "v-1").await["session_matched"], false);
    let mut link = page_view(&app, "v-1", -10, "https://shop.example/");
    link.formerly = Some("fp_1".to_owned());
    track(&app, &link).await;
    settled(&app).await;
    assert_eq!(credits(&app).await, [(2, Some("late".to_owned()))]);
}

#[sqlx::test]
async fn a_session_written_at_the_same_time_is_found(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let mut writing = app.pool.begin().await.unwrap();
    let visit = page_view(&app, "v-1", -60, AD);
    apply(&mut writing, &[&visit], &app.clock, &sealer())
        .await
        .unwrap();
    // Neither sees the other.
    assert_eq!(buy(&app, "o-1", "v-1").await["session_matched"], false);
    writing.commit().await.unwrap();
    app.clock.advance(TimeDelta::minutes(2));
    settled(&app).await;
    assert_eq!(credits(&app).await.len(), 1);
}

#[sqlx::test]
async fn a_visit_that_goes_on_is_no_news(pool: PgPool) {
    let app = TestApp::start(pool).await;
    track(&app, &page_view(&app, "v-1", 600, AD)).await;
    let answer = buy(&app, "o-1", "v-1").await;
    assert_eq!(answer["attribution"]["reason"], "outside_lookback");
    track(&app, &page_view(&app, "v-1", 660, "https://shop.example/cart")).await;
    let due: i64 = sqlx::query_scalar("select count(*) from awaited_visitors where look_at <= $1")
        .bind(now())
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(due, 0);
}

#[sqlx::test]
async fn after_a_day_nobody_waits(pool: PgPool) {
    let app = TestApp::start(pool).await;
    buy(&app, "o-1", "v-1").await;
    app.clock.advance(TimeDelta::hours(23));
    // Looked at once more, and left waiting.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(app.count("awaited_visitors").await, 1);
    app.clock.advance(TimeDelta::hours(2));
    settled(&app).await;
    track(&app, &page_view(&app, "v-1", -60, AD)).await;
    let mut conn = app.pool.acquire().await.unwrap();
    assert_eq!(look_again(&mut conn, app.clock.now()).await.unwrap().matched, 0);
    assert_eq!(app.count("credits").await, 0);
}

#[sqlx::test]
async fn many_who_look_at_once_make_one_version(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for n in 0..20 {
        buy(&app, &format!("o-{n}"), "v-1").await;
    }
    track(&app, &page_view(&app, "v-1", -60, AD)).await;
    let look = || async {
        let mut conn = app.pool.acquire().await.unwrap();
        look_again(&mut conn, app.clock.now()).await.unwrap();
    };
    futures_util::future::join_all((0..3).map(|_| look())).await;
    settled(&app).await;
    let credits = credits(&app).await;
    assert_eq!(credits.len(), 20, "{credits:?}");
    assert!(credits.iter().all(|(version, _)| *version == 2));
}

#[sqlx::test]
async fn who_names_no_visitor_waits_for_nobody(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.send("purchase", &purchase("o-1")).await;
    assert_eq!(app.count("awaited_visitors").await, 0);
}

#[sqlx::test]
async fn a_touch_that_comes_late_takes_the_credit_from_a_direct_visit(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |d| d.policy = Policy::OwnClick).await;
    let mut direct = page_view(&app, "v-1", -60, "https://shop.example/");
    direct.consent.advertising = Some(true);
    track(&app, &direct).await;
    let first = buy(&app, "o-1", "v-1").await;
    assert_eq!(first["attribution"]["reason"], "matched");
    let state = async || -> Option<(String, Option<String>)> {
        sqlx::query_as("select state, reason from deliveries")
            .fetch_optional(&app.pool)
            .await
            .unwrap()
    };
    until("the delivery is planned", async || {
        state()
            .await
            .is_some_and(|(_, reason)| reason.as_deref() == Some("not_own_click"))
    })
    .await;
    // Another direct visit changes nothing.
    track(&app, &page_view(&app, "v-1", -9000, "https://shop.example/")).await;
    let due = "awaited_visitors where look_at = to_timestamp(0)";
    until("it was looked at", async || app.count(due).await == 0).await;
    assert_eq!(
        (credits(&app).await, app.count("awaited_visitors").await),
        (vec![(1, None)], 1)
    );

    let ad = "https://shop.example/?utm_source=facebook&utm_medium=cpc&utm_campaign=late&fbclid=x";
    track(&app, &page_view(&app, "v-1", -3000, ad)).await;
    settled(&app).await;
    assert_eq!(credits(&app).await, [(1, None), (2, Some("late".to_owned()))]);
    let again = buy(&app, "o-1", "v-1").await;
    assert_eq!(again["attribution"]["campaign"], "late");
    until("the delivery is planned anew", async || {
        state().await.is_some_and(|(state, _)| state == "accepted")
    })
    .await;
}

#[sqlx::test]
async fn who_came_by_a_touch_waits_for_nobody(pool: PgPool) {
    let app = TestApp::start(pool).await;
    track(&app, &page_view(&app, "v-1", -60, AD)).await;
    buy(&app, "o-1", "v-1").await;
    assert_eq!(app.count("awaited_visitors").await, 0);
}
