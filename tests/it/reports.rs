//! What reports say of what came in over the webhook.

use std::time::Duration;

use chrono::TimeDelta;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::platform::pace::Pace;
use trustdata::platform::secrets::{Sealer, key_of_database};
use trustdata::reports::campaigns::{self, Dimension, Query};
use trustdata::reports::conversions::{self, Cursor, Detail, Filter, MatchFilter, Personal};
use trustdata::reports::{Model, Window, rollup};
use uuid::Uuid;

use crate::support::{TestApp, now, purchase};

const SPRING: &str = "utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=x";
const SUMMER: &str = "utm_source=facebook&utm_medium=paid_social&utm_campaign=summer";

async fn send(app: &TestApp, topic: &str, id: &str, fields: Value) -> Uuid {
    let mut body = purchase(id);
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = app.send(topic, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["event_id"].as_str().unwrap().parse().unwrap()
}

/// Ids of the sender on each page, and whether each page said that it is not full.
async fn pages(app: &TestApp, filter: &Filter, limit: u16) -> Vec<Vec<String>> {
    let mut conn = app.pool.acquire().await.unwrap();
    let (mut pages, mut after) = (Vec::new(), None::<Cursor>);
    loop {
        let page = conversions::list(&mut conn, filter, after, limit).await.unwrap();
        pages.push(
            page.conversions
                .iter()
                .map(|one| one.conversion_id.clone())
                .collect(),
        );
        // As text, the way it goes through a URL.
        after = page.next.map(|next| next.to_string().parse().unwrap());
        if after.is_none() {
            return pages;
        }
    }
}

async fn list(app: &TestApp, change: impl FnOnce(&mut Filter)) -> Vec<String> {
    let mut filter = Filter::new(app.property_id);
    change(&mut filter);
    pages(app, &filter, 100).await.concat()
}

async fn find(app: &TestApp, event_id: Uuid) -> Detail {
    let mut conn = app.pool.acquire().await.unwrap();
    let key = key_of_database(&mut conn, now()).await.unwrap();
    let secrets = trustdata::platform::config::load(None).unwrap().secrets;
    let sealer = Sealer::new(&secrets, Some(key)).unwrap();
    conversions::find(&mut conn, app.property_id, event_id, &sealer)
        .await
        .unwrap()
        .unwrap()
}

#[sqlx::test]
async fn the_list_is_filtered_and_paged(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("v-1", 3.0, SPRING).await;
    app.session("v-2", 2.0, SUMMER).await;
    app.session("v-3", 40.0, SPRING).await;
    let first = send(&app, "purchase", "a", json!({ "visitor_id": "v-1" })).await;
    send(&app, "purchase", "b", json!({ "visitor_id": "v-2" })).await;
    app.clock.advance(TimeDelta::minutes(5));
    send(&app, "lead", "c", json!({ "visitor_id": "v-3" })).await;
    send(&app, "lead", "d", json!({ "visitor_id": "v-4" })).await;
    send(&app, "purchase", "e", json!({})).await;

    let all = Filter::new(app.property_id);
    assert_eq!(
        pages(&app, &all, 2).await,
        [vec!["e", "d"], vec!["c", "b"], vec!["a"]]
    );
    assert_eq!(pages(&app, &all, 0).await.len(), 5);
    assert_eq!(pages(&app, &all, 5).await, [vec!["e", "d", "c", "b", "a"]]);
    assert_eq!(
        list(&app, |f| f.topic = Some("lead".parse().unwrap())).await,
        ["d", "c"]
    );
    assert_eq!(
        list(&app, |f| f.outcome = Some(MatchFilter::Matched)).await,
        ["b", "a"]
    );
    assert_eq!(
        list(&app, |f| f.outcome = Some(MatchFilter::Unmatched)).await,
        ["e", "d", "c"]
    );
    assert_eq!(
        list(&app, |f| f.outcome = "outside_lookback".parse().ok()).await,
        ["c"]
    );
    assert_eq!(
        list(&app, |f| f.outcome = "unknown_visitor".parse().ok()).await,
        ["d"]
    );
    assert_eq!(
        list(&app, |f| f.outcome = "no_visitor_id".parse().ok()).await,
        ["e"]
    );
    assert_eq!(
        list(&app, |f| f.campaign = Some("summer".to_owned())).await,
        ["b"]
    );
    assert_eq!(list(&app, |f| f.source = Some("google".to_owned())).await, ["a"]);
    assert_eq!(list(&app, |f| f.medium = Some("cpc".to_owned())).await, ["a"]);
    assert_eq!(list(&app, |f| f.campaign = Some(String::new())).await.len(), 0);
    let later = now() + TimeDelta::minutes(1);
    assert_eq!(list(&app, |f| f.from = Some(later)).await, ["e", "d", "c"]);
    assert_eq!(list(&app, |f| f.until = Some(later)).await, ["b", "a"]);
    assert_eq!(
        list(&app, |f| f.conversion_id = Some("c".to_owned())).await,
        ["c"]
    );
    assert_eq!(
        list(&app, |f| f.conversion_id = Some(first.to_string())).await,
        ["a"]
    );
    assert_eq!(
        list(&app, |f| f.conversion_id = Some("nothing".to_owned()))
            .await
            .len(),
        0
    );
    assert_eq!(
        list(&app, |f| f.attribution_id = Some(Uuid::new_v4()))
            .await
            .len(),
        0
    );
    assert_eq!(list(&app, |f| f.property_id = Uuid::new_v4()).await.len(), 0);
    let page = conversions::list(&mut app.pool.acquire().await.unwrap(), &all, None, 100)
        .await
        .unwrap();
    let last_click = page.conversions[4].last_click.as_ref().unwrap();
    assert_eq!(
        (last_click.channel.as_str(), last_click.touches),
        ("paid_search", 1)
    );
    assert_eq!(page.conversions[4].value, Some(Decimal::from(99)));
}

#[sqlx::test]
async fn a_rare_conversion_is_found_page_by_page_and_no_page_reads_without_end(pool: PgPool) {
    let app = TestApp::start(pool).await;
    send(&app, "lead", "rare", json!({})).await;
    sqlx::query(
        "insert into conversions (property_id, event_id, attribution_id, topic, conversion_id, event_time, received_at, match_reason,
             lookback_days, payload, source)
         select property_id, ('ffffffff-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, attribution_id, 'purchase', n::text, event_time,
             received_at, 'no_visitor_id', 30, '{}', 'webhook'
         from conversions, generate_series(1, 10000) n",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let mut filter = Filter::new(app.property_id);
    filter.topic = Some("lead".parse().unwrap());
    assert_eq!(pages(&app, &filter, 10).await, [vec![], vec!["rare".to_owned()]]);
    let page = conversions::list(&mut app.pool.acquire().await.unwrap(), &filter, None, 10)
        .await
        .unwrap();
    assert!(page.looked_through_to.is_some());
}

#[sqlx::test]
async fn one_conversion_says_everything_but_who_it_was(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("v-1", 9.0, SUMMER).await;
    app.session("v-1", 2.5, SPRING).await;
    let person = json!({ "visitor_id": "v-1", "user_data": { "email": "jane@example.com", "phone": "+4917012345678",
        "address": { "city": "Hamburg" } }, "note": "call Jane Doe" });
    let id = send(&app, "purchase", "o-1", person).await;
    send(
        &app,
        "purchase",
        "o-1",
        json!({ "visitor_id": "v-1", "value": 1.0 }),
    )
    .await;
    let refund = send(
        &app,
        "refund",
        "r-1",
        json!({ "purchase_id": "o-1", "value": 9.0 }),
    )
    .await;

    let detail = find(&app, id).await;
    assert_eq!(
        detail.personal,
        Personal::Masked(
            json!({ "user_data": { "email": "j***@e***.com", "phone": "***", "address": { "city": "H***" } }, "note": "c***" })
        )
    );
    let shown = serde_json::to_string(&detail).unwrap();
    for secret in ["jane", "Jane", "example.com", "4917012345678", "Hamburg"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(detail.payload.get().contains("99.0"), "digits are kept");
    assert_eq!(detail.versions.len(), 1);
    let version = &detail.versions[0];
    assert!(version.current);
    let campaigns: Vec<_> = version
        .touches
        .iter()
        .map(|touch| touch.campaign.as_deref().unwrap())
        .collect();
    assert_eq!(campaigns, ["summer", "spring"]);
    assert_eq!(
        version.touches.iter().map(|touch| touch.linear).sum::<Decimal>(),
        Decimal::ONE
    );
    assert_eq!(
        detail.related.iter().map(|one| one.event_id).collect::<Vec<_>>(),
        [refund]
    );
    assert_eq!(find(&app, refund).await.related[0].event_id, id);
    assert!(
        detail.repeats[0].differs.as_deref().unwrap().contains("value"),
        "{:?}",
        detail.repeats
    );
    assert_eq!(
        detail.why.summary,
        "2 visits within the lookback led to it. The last one came through google / cpc / spring, 3 days before."
    );
    assert_eq!(detail.why.advice, None);

    // To another property it is not there.
    let sealer = crate::support::sealer();
    let mut conn = app.pool.acquire().await.unwrap();
    assert!(
        conversions::find(&mut conn, Uuid::new_v4(), id, &sealer)
            .await
            .unwrap()
            .is_none()
    );
    let other = conversions::find(&mut conn, app.property_id, id, &sealer)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(other.personal, Personal::Unreadable);
}

#[sqlx::test]
async fn why_there_is_no_match_is_said_with_what_would_have_made_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("v-old", 44.2, SPRING).await;
    app.session("v-ancient", 200.0, SPRING).await;
    app.session("v-later", -0.1, SPRING).await;
    let old = send(&app, "purchase", "1", json!({ "visitor_id": "v-old" })).await;
    let ancient = send(&app, "purchase", "2", json!({ "visitor_id": "v-ancient" })).await;
    let later = send(&app, "purchase", "3", json!({ "visitor_id": "v-later" })).await;
    let unknown = send(&app, "purchase", "4", json!({ "visitor_id": "v-unknown" })).await;
    let nobody = send(&app, "purchase", "5", json!({})).await;

    let why = find(&app, old).await.why;
    assert_eq!(
        why.summary,
        "The visitor's last visit before it was 45 days before, outside the lookback of 30 days."
    );
    assert!(
        why.advice
            .unwrap()
            .starts_with("At a lookback of 45 days it would have matched.")
    );
    let looks: Vec<_> = why
        .at_lookback
        .iter()
        .map(|look| (look.lookback_days, look.touches, look.campaign.as_deref()))
        .collect();
    assert_eq!(
        looks,
        [
            (30, 0, None),
            (45, 1, Some("spring")),
            (60, 1, Some("spring")),
            (90, 1, Some("spring"))
        ]
    );
    let why = find(&app, ancient).await.why;
    assert_eq!(
        why.summary,
        "The visitor's last visit before it was 200 days before: no lookback reaches that far."
    );
    let why = find(&app, later).await.why;
    assert!(
        why.summary
            .starts_with("The visitor's first visit came after the conversion: 2 hours later."),
        "{}",
        why.summary
    );
    let why = find(&app, unknown).await.why;
    assert_eq!(
        why.summary,
        "The visitor is unknown: no session was ever tracked with this visitor id."
    );
    assert!(why.advice.is_some() && why.at_lookback.iter().all(|look| look.touches == 0));
    let why = find(&app, nobody).await.why;
    assert!(why.summary.starts_with("No visitor id was sent") && why.at_lookback.is_empty());
}

#[sqlx::test]
async fn campaigns_have_what_was_just_recorded_and_the_same_once_it_is_summed(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("v-1", 9.0, SUMMER).await;
    app.session("v-1", 2.0, SPRING).await;
    send(
        &app,
        "refund",
        "r-1",
        json!({ "purchase_id": "o-1", "value": 10.0 }),
    )
    .await;
    send(
        &app,
        "purchase",
        "o-1",
        json!({ "visitor_id": "v-1", "value": 100.0 }),
    )
    .await;
    send(
        &app,
        "purchase",
        "o-2",
        json!({ "value": 7.0, "currency": "EUR" }),
    )
    .await;
    send(
        &app,
        "purchase",
        "late",
        json!({ "visitor_id": "v-2", "value": 1.5 }),
    )
    .await;

    let query = Query::new(app.property_id, Window::last_days(7, now()))
        .group_by(&[Dimension::Source, Dimension::Campaign])
        .models(&[Model::Linear, Model::LastClick]);
    let report = async || {
        campaigns::report(&mut app.pool.acquire().await.unwrap(), &query)
            .await
            .unwrap()
    };
    let lines = async || String::from_utf8(campaigns::to_csv(&report().await).unwrap()).unwrap();
    let head = "attributed,source,campaign,currency,conversions,credit_linear,gross_linear,refunds_linear,net_linear,\
        credit_last_click,gross_last_click,refunds_last_click,net_last_click\n";
    let before = format!(
        "{head}false,,,EUR,1,1,7,0,7,1,7,0,7\nfalse,,,USD,1,1,1.5,0,1.5,1,1.5,0,1.5\n\
         true,facebook,summer,USD,1,0.5,50,5,45,0,0,0,0\ntrue,google,spring,USD,1,0.5,50,5,45,1,100,10,90\n"
    );
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(lines().await), sorted(before.clone()));
    summed(&app).await;
    assert_eq!(sorted(lines().await), sorted(before));

    // The background looks again, and the credit moves.
    app.session("v-2", 1.0, SPRING).await;
    sqlx::query("update awaited_visitors set look_at = $1")
        .bind(now())
        .execute(&app.pool)
        .await
        .unwrap();
    let mut conn = app.pool.acquire().await.unwrap();
    trustdata::conversions::look_again(&mut conn, now())
        .await
        .unwrap();
    let after = format!(
        "{head}false,,,EUR,1,1,7,0,7,1,7,0,7\n\
         true,facebook,summer,USD,1,0.5,50,5,45,0,0,0,0\ntrue,google,spring,USD,2,1.5,51.5,5,46.5,2,101.5,10,91.5\n"
    );
    for _ in 0..500 {
        if lines().await.contains("101.5") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sorted(lines().await), sorted(after.clone()));
    summed(&app).await;
    assert_eq!(sorted(lines().await), sorted(after));
    let totals = report().await.totals;
    assert_eq!(totals.len(), 2, "currencies stand apart");
    assert_eq!(
        (totals[1].currency.as_deref(), totals[1].conversions),
        (Some("USD"), 2)
    );

    let mut filtered = query.clone();
    filtered.filter.source = Some("google".to_owned());
    let report = campaigns::report(&mut conn, &filtered).await.unwrap();
    assert_eq!(report.rows.len(), 1);
    let points = campaigns::series(&mut conn, &filtered).await.unwrap();
    assert_eq!(
        (points.len(), points[0].conversions, points[0].figures[1].net),
        (1, 2, Decimal::new(915, 1))
    );
}

/// Works in what waits, beside the service's own task.
async fn summed(app: &TestApp) {
    for _ in 0..500 {
        rollup::roll_all(&app.pool, &Pace::free()).await.unwrap();
        if app.count("credit_changes").await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("changes are left");
}
