//! Sessions that events make, whatever their order and whoever writes at the same time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use sqlx::PgPool;
use trustdata::domain::consent::Consent;
use trustdata::domain::landing::Landing;
use trustdata::domain::tenant::Tenant;
use trustdata::platform::clock::Clock;
use trustdata::sessions;
use trustdata::sessions::store::Wanted;
use trustdata::sessions::tracking::{Moment, apply};
use uuid::Uuid;

use crate::support::{moment, now, sealer};

const VISITORS: usize = 10_000;
const INACTIVITY: i64 = 30 * 60;

fn tenant() -> Tenant {
    Tenant {
        property_id: Uuid::from_u128(1),
        attribution_id: Uuid::from_u128(2),
    }
}

fn visit(visitor: usize, at: DateTime<Utc>, campaign: Option<u8>) -> Moment {
    let query = campaign.map_or(String::new(), |n| format!("?utm_source=google&utm_campaign=c{n}"));
    let landing = Landing::parse(&format!("https://shop.example/{query}"), None).unwrap();
    moment(tenant(), &format!("v-{visitor}"), at, landing)
}

/// Visitor, start, end, campaign, page views.
type Told = (String, i64, i64, Option<String>, i32);

/// Visitor, click, campaign.
type Touched = (String, i64, Option<String>);

/// Time, whether without campaign, the campaign's key and its name: in this order they are told.
type Event = (i64, bool, Option<i64>, Option<String>);

/// All events of a visitor in order, as anybody would write it down first.
fn oracle(moments: &[Moment]) -> BTreeSet<Told> {
    let mut by_visitor: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
    for moment in moments {
        let campaign = moment.landing.campaign.campaign.clone();
        let events = by_visitor.entry(&moment.visitor_id).or_default();
        let key = moment.landing.campaign_key();
        events.push((moment.at.timestamp(), campaign.is_none(), key, campaign));
    }
    let mut all = BTreeSet::new();
    for (visitor, mut events) in by_visitor {
        events.sort();
        let mut running: Option<Told> = None;
        for (at, _, _, campaign) in events {
            running = match running {
                Some((id, start, end, of, views))
                    if at - end < INACTIVITY && (campaign.is_none() || campaign == of) =>
                {
                    Some((id, start, at, of, views + 1))
                }
                before => {
                    all.extend(before);
                    Some((visitor.to_owned(), at, at, campaign, 1))
                }
            };
        }
        all.extend(running);
    }
    all
}

async fn stored(pool: &PgPool) -> Vec<Told> {
    sqlx::query_as(
        "select visitor_id, extract(epoch from started_at)::bigint, extract(epoch from last_seen_at)::bigint, campaign, page_views
         from sessions",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

async fn write(pool: &PgPool, moments: &[Moment]) {
    let mut transaction = pool.begin().await.unwrap();
    let moments: Vec<&Moment> = moments.iter().collect();
    apply(&mut transaction, &moments, &Clock::system(), &sealer())
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

#[sqlx::test]
async fn any_order_and_any_writers_make_the_same_sessions(pool: PgPool) {
    let mut random = rand::rng();
    let mut moments = Vec::new();
    for visitor in 0..VISITORS {
        for _ in 0..random.random_range(1..7) {
            let at = now() + TimeDelta::seconds(random.random_range(0..12_000));
            let campaign = random.random_bool(0.3).then(|| random.random_range(0..3));
            moments.push(visit(visitor, at, campaign));
        }
    }
    moments.shuffle(&mut random);
    let expected = oracle(&moments);
    // Eight writers at once, who share visitors.
    let writers = (0..8).map(|writer| {
        let (pool, moments) = (&pool, &moments);
        async move {
            for batch in moments.chunks(100).skip(writer).step_by(8) {
                write(pool, batch).await;
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let stored = stored(&pool).await;
    assert_eq!(stored.len(), expected.len());
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(touches(&pool).await, touches_of(&expected));
}

/// What a conversion after all of it has to be credited to: the visits by campaigns, or else the last direct one.
fn touches_of(sessions: &BTreeSet<Told>) -> BTreeSet<Touched> {
    let mut by_visitor: BTreeMap<&str, Vec<(i64, Option<String>)>> = BTreeMap::new();
    for (visitor, start, _, campaign, _) in sessions {
        let visits = by_visitor.entry(visitor).or_default();
        visits.push((*start, campaign.clone()));
    }
    let mut all = BTreeSet::new();
    for (visitor, visits) in by_visitor {
        let by_campaigns = visits.iter().filter(|(_, campaign)| campaign.is_some());
        let counted: Vec<_> = match by_campaigns.clone().next() {
            Some(_) => by_campaigns.collect(),
            None => visits.iter().max().into_iter().collect(),
        };
        all.extend(
            counted
                .into_iter()
                .map(|(start, campaign)| (visitor.to_owned(), *start, campaign.clone())),
        );
    }
    all
}

async fn touches(pool: &PgPool) -> BTreeSet<Touched> {
    let visitors: Vec<String> = (0..VISITORS).map(|visitor| format!("v-{visitor}")).collect();
    let mut conn = pool.acquire().await.unwrap();
    let mut all = BTreeSet::new();
    for some in visitors.chunks(500) {
        let wanted: Vec<Wanted<'_>> = some
            .iter()
            .map(|visitor| Wanted {
                property_id: tenant().property_id,
                visitor_id: visitor,
                event_time: now() + TimeDelta::hours(4),
                window_start: now() - TimeDelta::days(30),
            })
            .collect();
        let found = sessions::store::touches(&mut conn, &wanted).await.unwrap();
        for (visitor, touches) in some.iter().zip(found) {
            all.extend(
                touches
                    .into_iter()
                    .map(|touch| (visitor.clone(), touch.clicked_at.timestamp(), touch.campaign)),
            );
        }
    }
    all
}

#[sqlx::test]
async fn a_session_tells_what_its_events_told_last(pool: PgPool) {
    let consent = |advertising| Consent {
        analytics: Some(true),
        advertising: Some(advertising),
        ..Consent::default()
    };
    let mut first = visit(1, now(), Some(1));
    first.consent = consent(true);
    first.browser_ids = BTreeMap::from([("_fbp".to_owned(), "fb.1.2.3".to_owned())]);
    write(&pool, &[first]).await;
    let told = async || -> (serde_json::Value, serde_json::Value) {
        sqlx::query_as("select consent, browser_ids from sessions")
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    assert_eq!(told().await.1["_fbp"], "fb.1.2.3");
    // Who withdraws takes the cookies along; a late event from before changes nothing of it.
    let mut withdrawn = visit(1, now() + TimeDelta::seconds(60), None);
    withdrawn.consent = consent(false);
    write(&pool, &[withdrawn]).await;
    let mut late = visit(1, now() + TimeDelta::seconds(30), None);
    late.consent = consent(true);
    write(&pool, &[late]).await;
    let (consent, browser_ids) = told().await;
    assert_eq!(
        (&consent["advertising"], browser_ids),
        (&false.into(), serde_json::json!({}))
    );
}
