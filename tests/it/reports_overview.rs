//! How things stand, as the overview has it.

use chrono::TimeDelta;
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::PgPool;
use trustdata::destinations::seal_settings;
use trustdata::domain::landing::Landing;
use trustdata::domain::tenant::Tenant;
use trustdata::platform::config;
use trustdata::platform::pace::Pace;
use trustdata::platform::secrets::Sealer;
use trustdata::reports::overview::{Overview, Query, Step, Trouble, Unhealthy, overview, unhealthy};
use trustdata::reports::{Model, Window, rollup};

use crate::support::{TestApp, moment, new_key, now, purchase, sealer};

async fn look(app: &TestApp, step: Step, days: u16) -> Overview {
    let query = Query {
        property_id: app.property_id,
        attribution_id: None,
        window: Window::last_days(days, now()),
        step,
        model: Model::LastClick,
    };
    overview(&mut app.pool.acquire().await.unwrap(), &query, app.clock.now())
        .await
        .unwrap()
}

#[sqlx::test]
async fn conversions_revenue_match_rate_and_refusals_over_time(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session(
        "v-1",
        2.0,
        "utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=x",
    )
    .await;
    let send = async |topic: &str, id: &str, visitor: &str, value: f64, currency: &str, days_ago: i64| {
        let mut body = purchase(id);
        body["value"] = json!(value);
        body["currency"] = json!(currency);
        body["event_time"] = json!((now() - TimeDelta::days(days_ago)).timestamp());
        if !visitor.is_empty() {
            body["visitor_id"] = json!(visitor);
        }
        if topic == "refund" {
            body["purchase_id"] = json!("o-1");
        }
        assert_eq!(app.send(topic, &body).await.status, 200);
    };
    send("purchase", "o-1", "v-1", 100.0, "USD", 0).await;
    send("purchase", "o-2", "", 50.5, "USD", 0).await;
    send("purchase", "o-3", "", 7.0, "EUR", 1).await;
    send("refund", "r-1", "", 20.0, "USD", 0).await;
    app.send("purchase", &json!({})).await;
    app.send("purchase", &json!({})).await;
    let wrong = app.with_key("td_wh_wrong").body("{}").send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    app.activity(7).await;

    for summed in [false, true] {
        if summed {
            rollup::roll_all(&app.pool, &Pace::free()).await.unwrap();
        }
        let seen = look(&app, Step::Day, 3).await;
        assert_eq!(seen.points.len(), 3);
        let today = &seen.points[2];
        assert_eq!(
            (today.conversions, today.matched, today.match_rate, today.refunds),
            (2, 1, Some(0.5), 1)
        );
        assert_eq!(today.revenue.len(), 1);
        assert_eq!(
            (today.revenue[0].gross, today.revenue[0].net),
            (Decimal::new(1505, 1), Decimal::new(1305, 1))
        );
        assert_eq!((seen.points[0].conversions, seen.points[0].match_rate), (0, None));
        let currencies: Vec<&str> = seen
            .total
            .revenue
            .iter()
            .map(|one| one.currency.as_str())
            .collect();
        assert_eq!((seen.total.conversions, currencies), (3, vec!["EUR", "USD"]));
        let refused: Vec<_> = seen
            .refused
            .iter()
            .map(|one| (one.status.as_str(), one.requests))
            .collect();
        assert_eq!(refused, [("auth_error", 1), ("validation_error", 2)]);
        assert_eq!(seen.sources.len(), 1);
        assert_eq!(
            (seen.sources[0].source.as_deref(), seen.sources[0].conversions),
            (Some("google"), 1)
        );
        assert_eq!(seen.campaigns[0].campaign.as_deref(), Some("spring"));
        assert_eq!(seen.campaigns[0].figures[0].net, Decimal::from(80));
    }
    let hours = look(&app, Step::Hour, 2).await;
    assert_eq!((hours.step, hours.points.len()), (Step::Hour, 35), "up to now");
    assert_eq!(
        (hours.points[34].conversions, hours.points[10].conversions),
        (2, 1)
    );
    assert_eq!(look(&app, Step::Hour, 60).await.step, Step::Day);
}

async fn troubles(app: &TestApp) -> Vec<Unhealthy> {
    unhealthy(
        &mut app.pool.acquire().await.unwrap(),
        app.property_id,
        &sealer(),
        app.clock.now(),
    )
    .await
    .unwrap()
}

#[sqlx::test]
async fn what_is_unhealthy(pool: PgPool) {
    let app = TestApp::start(pool).await;
    assert_eq!(troubles(&app).await, [], "what has just begun is missing nothing");
    let tenant = Tenant {
        property_id: app.property_id,
        attribution_id: app.attribution_id,
    };
    let visit = async || {
        let page = Landing::parse("https://shop.example/?utm_source=x", None).unwrap();
        let moment = moment(tenant, &format!("v-{}", app.clock.now()), app.clock.now(), page);
        let mut conn = app.pool.acquire().await.unwrap();
        trustdata::sessions::tracking::apply(&mut conn, &[&moment], &app.clock, &sealer())
            .await
            .unwrap();
        sqlx::query(
            "insert into stream_sightings values ($1, $2, $3)
             on conflict (property_id, attribution_id) do update set last_seen_at = excluded.last_seen_at",
        )
        .bind(app.property_id)
        .bind(app.attribution_id)
        .bind(app.clock.now())
        .execute(&app.pool)
        .await
        .unwrap();
    };
    // Whose pages never told of themselves is missing no page views.
    app.send("purchase", &purchase("o-0")).await;
    app.clock.advance(TimeDelta::hours(23));
    app.send("purchase", &purchase("o-1")).await;
    app.clock.advance(TimeDelta::hours(23));
    assert_eq!(troubles(&app).await, []);
    app.send("purchase", &purchase("o-1")).await;
    visit().await;
    app.clock.advance(TimeDelta::hours(23));
    assert_eq!(troubles(&app).await, []);
    app.clock.advance(TimeDelta::hours(2));
    let found: Vec<_> = troubles(&app)
        .await
        .iter()
        .map(|one| (one.trouble, one.name.clone()))
        .collect();
    assert_eq!(
        found,
        [
            (Trouble::NoWebhooks, "Website".to_owned()),
            (Trouble::NoPageViews, "Website".to_owned())
        ]
    );
    app.send("purchase", &purchase("o-2")).await;
    visit().await;
    assert_eq!(troubles(&app).await, []);

    new_key(
        &app.pool,
        &app.clock,
        app.property_id,
        app.attribution_id,
        |key| {
            key.expires_at = Some(app.clock.now() + TimeDelta::days(13));
        },
    )
    .await;
    for (name, paused, state, hours_ago) in [
        ("a", true, "queued", 2),
        ("b", false, "dead", 3),
        ("c", false, "queued", 2),
        ("d", false, "accepted", 2),
        ("e", false, "accepted", 2),
    ] {
        let destination = app.clock.new_id();
        // Of `e` this instance has not the key.
        let other = Sealer::new(&config::load(None).unwrap().secrets, Some([1; 32])).unwrap();
        let with = if name == "e" { other } else { sealer() };
        let sealed = seal_settings(&"{}".to_owned().into(), app.property_id, destination, &with).unwrap();
        sqlx::query(
            "insert into destinations (property_id, destination_id, attribution_id, platform, name, settings_sealed, created_at, paused_at, paused_reason)
             values ($1, $2, $3, 'meta', $4, $7, $5, case when $6 then $5 end, 'the token is refused')",
        )
        .bind(app.property_id)
        .bind(destination)
        .bind(app.attribution_id)
        .bind(name)
        .bind(app.clock.now())
        .bind(paused)
        .bind(sealed)
        .execute(&app.pool)
        .await
        .unwrap();
        sqlx::query(
            "insert into deliveries (property_id, event_id, destination_id, state, created_at, due_at, deliver_by)
             values ($1, $2, $3, $4, $5, $5 + interval '10 years', $5 + interval '10 years')",
        )
        .bind(app.property_id)
        .bind(app.clock.new_id())
        .bind(destination)
        .bind(state)
        .bind(app.clock.now() - TimeDelta::hours(hours_ago))
        .execute(&app.pool)
        .await
        .unwrap();
    }
    let found: Vec<_> = troubles(&app)
        .await
        .iter()
        .map(|one| (one.trouble, one.name.clone(), one.deliveries))
        .collect();
    assert_eq!(
        found,
        [
            (Trouble::DestinationPaused, "a".to_owned(), None),
            (Trouble::DestinationUnreadable, "e".to_owned(), None),
            (Trouble::DestinationRefuses, "b".to_owned(), Some(1)),
            (Trouble::DestinationBehind, "c".to_owned(), Some(1)),
            (Trouble::KeyExpires, "production".to_owned(), None),
        ]
    );
    let other = unhealthy(
        &mut app.pool.acquire().await.unwrap(),
        uuid::Uuid::new_v4(),
        &sealer(),
        app.clock.now(),
    )
    .await
    .unwrap();
    assert_eq!(other, []);
}

/// A flood does not make the page slow: so many rows are counted, and the page says from when on.
#[sqlx::test]
async fn refused_requests_are_counted_up_to_a_bound(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let fill = async |rows: i32| {
        sqlx::query(
            "insert into activity (property_id, attribution_id, activity_id, at, status, topic, http_status, requests)
             select $1, $2, (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7000800000000000' || lpad(to_hex(n), 4, '0'))::uuid,
                 at, 'auth_error', 'purchase', 401, 2
             from (select n % 65536 as n, $3 - make_interval(secs => n * 10) as at from generate_series(1, $4) n) numbered",
        )
        .bind(app.property_id)
        .bind(app.attribution_id)
        .bind(now())
        .bind(rows)
        .execute(&app.pool)
        .await
        .unwrap();
    };
    let counted = |seen: &Overview| seen.refused.iter().map(|one| one.requests).sum::<i64>();
    fill(40_000).await;
    let seen = look(&app, Step::Day, 30).await;
    assert_eq!((counted(&seen), seen.refused_since), (80_000, None));
    sqlx::query("truncate activity").execute(&app.pool).await.unwrap();
    fill(60_000).await;
    let seen = look(&app, Step::Day, 30).await;
    assert_eq!(counted(&seen), 100_000);
    assert_eq!(seen.refused_since, Some(now() - TimeDelta::seconds(500_000)));
    assert_eq!(look(&app, Step::Day, 2).await.refused_since, None);
}
