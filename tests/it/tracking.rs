//! Sessions that events make, whatever their order and whoever writes at the same time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::attribution::{Attribution, attribute};
use trustdata::domain::answers::Answers;
use trustdata::domain::consent::Consent;
use trustdata::domain::landing::Landing;
use trustdata::domain::tenant::Tenant;
use trustdata::domain::touch::Touch;
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
    visit_from(visitor, at, campaign, None)
}

fn visit_from(visitor: usize, at: DateTime<Utc>, campaign: Option<u8>, referrer: Option<&str>) -> Moment {
    let query = campaign.map_or(String::new(), |n| format!("?utm_source=google&utm_campaign=c{n}"));
    let landing = Landing::parse(&format!("https://shop.example/{query}"), referrer).unwrap();
    moment(tenant(), &format!("v-{visitor}"), at, landing)
}

/// Visitor, start, end, campaign, page views, and who sent the visitor where it was no campaign.
type Told = (String, i64, i64, Option<String>, i32, Option<String>);

/// Visitor, click, campaign, source.
type Touched = (String, i64, Option<String>, Option<String>);

/// All events of a visitor in order, as anybody would write it down first; each session with what its own events answered.
fn oracle(moments: &[Moment]) -> BTreeMap<Told, Answers> {
    let mut by_visitor: BTreeMap<&str, Vec<&Moment>> = BTreeMap::new();
    for moment in moments {
        by_visitor.entry(&moment.visitor_id).or_default().push(moment);
    }
    let mut all = BTreeMap::new();
    for (visitor, mut events) in by_visitor {
        events.sort_by_key(|event| {
            let (key, referrer) = (event.landing.campaign_key(), &event.landing.referrer);
            (
                event.at.timestamp(),
                key.is_none(),
                key,
                referrer.is_none(),
                referrer.clone(),
            )
        });
        let mut running: Option<(Told, Answers)> = None;
        for event in events {
            let (at, campaign) = (event.at.timestamp(), event.landing.campaign.campaign.clone());
            let answered = Answers::given(event.consent, event.at);
            running = match running {
                Some(((id, start, end, of, views, from), mut answers))
                    if at - end < INACTIVITY && (campaign.is_none() || campaign == of) =>
                {
                    answers.take(answered);
                    Some(((id, start, at, of, views + 1, from), answers))
                }
                before => {
                    all.extend(before);
                    let from = event.landing.referrer.clone().filter(|_| campaign.is_none());
                    Some(((visitor.to_owned(), at, at, campaign, 1, from), answered))
                }
            };
        }
        all.extend(running);
    }
    all
}

async fn stored(pool: &PgPool) -> Vec<(Told, Answers)> {
    type Row = (
        String,
        i64,
        i64,
        Option<String>,
        i32,
        Option<String>,
        Value,
        Option<DateTime<Utc>>,
        Option<Value>,
    );
    let rows: Vec<Row> = sqlx::query_as(
        "select visitor_id, extract(epoch from started_at)::bigint, extract(epoch from last_seen_at)::bigint, campaign, page_views, referrer,
             consent, consent_at, consent_times
         from sessions",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter()
        .map(
            |(visitor, start, end, campaign, views, referrer, consent, at, times)| {
                let (consent, times) = (
                    serde_json::from_value(consent).unwrap(),
                    times.map(|times| serde_json::from_value(times).unwrap()),
                );
                let answers = Answers::stored(consent, at.unwrap_or_default(), times);
                let referrer = referrer.filter(|_| campaign.is_none());
                ((visitor, start, end, campaign, views, referrer), answers)
            },
        )
        .collect()
}

/// The newest answers of each visitor.
fn newest<'a>(told: impl IntoIterator<Item = (&'a str, Answers)>) -> BTreeMap<&'a str, Answers> {
    let mut all: BTreeMap<&str, Answers> = BTreeMap::new();
    for (visitor, answers) in told {
        all.entry(visitor).or_default().take(answers);
    }
    all
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
            let referrer = ["https://blog.example/", "https://news.example/a"].choose(&mut random);
            let referrer = referrer.filter(|_| random.random_bool(0.3)).copied();
            let mut moment = visit_from(visitor, at, campaign, referrer);
            let mut flag = || random.random_bool(0.5).then(|| random.random_bool(0.5));
            moment.consent = Consent {
                analytics: flag(),
                advertising: flag(),
                ..Consent::default()
            };
            moments.push(moment);
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
    let sessions: BTreeSet<Told> = stored.iter().map(|(told, _)| told.clone()).collect();
    assert_eq!(sessions, expected.keys().cloned().collect());
    assert_eq!(touches(&pool).await, touches_of(&sessions));

    // No session has lost an answer of its own, and of each visitor the newest ones are the newest that were given.
    for (told, answers) in &stored {
        let mut with_own = *answers;
        with_own.take(expected[told]);
        assert_eq!(with_own, *answers, "{told:?}");
    }
    let given = moments.iter().map(|moment| {
        let answers = Answers::given(moment.consent, moment.at);
        (moment.visitor_id.as_str(), answers)
    });
    let kept = stored.iter().map(|(told, answers)| (told.0.as_str(), *answers));
    assert_eq!(newest(kept), newest(given));
}

/// What a conversion after all of it has to be credited to: the visits by campaigns and from other sites, or else the last direct one.
fn touches_of(sessions: &BTreeSet<Told>) -> BTreeSet<Touched> {
    /// Start, campaign, source.
    type Visit = (i64, Option<String>, Option<String>);
    let mut by_visitor: BTreeMap<&str, Vec<Visit>> = BTreeMap::new();
    for (visitor, start, _, campaign, _, referrer) in sessions {
        let host = |referrer: &String| referrer.split('/').nth(2).unwrap().to_owned();
        let source = match campaign {
            Some(_) => Some("google".to_owned()),
            None => referrer.as_ref().map(host),
        };
        let visits = by_visitor.entry(visitor).or_default();
        visits.push((*start, campaign.clone(), source));
    }
    let mut all = BTreeSet::new();
    for (visitor, visits) in by_visitor {
        let sent = visits.iter().filter(|(_, _, source)| source.is_some());
        let counted: Vec<_> = match sent.clone().next() {
            Some(_) => sent.collect(),
            None => visits.iter().max().into_iter().collect(),
        };
        all.extend(
            counted.into_iter().map(|(start, campaign, source)| {
                (visitor.to_owned(), *start, campaign.clone(), source.clone())
            }),
        );
    }
    all
}

async fn touches(pool: &PgPool) -> BTreeSet<Touched> {
    let visitors: Vec<String> = (0..VISITORS).map(|visitor| format!("v-{visitor}")).collect();
    let mut conn = pool.acquire().await.unwrap();
    let (event_time, lookback) = (now() + TimeDelta::hours(4), TimeDelta::days(30));
    let mut all = BTreeSet::new();
    for some in visitors.chunks(500) {
        let wanted: Vec<Wanted<'_>> = some
            .iter()
            .map(|visitor| Wanted {
                property_id: tenant().property_id,
                visitor_id: visitor,
                event_time,
                window_start: event_time - lookback,
            })
            .collect();
        let found = sessions::store::touches(&mut conn, &wanted).await.unwrap();
        for (visitor, touches) in some.iter().zip(found) {
            let Attribution::Matched(journey) = attribute(touches, event_time, lookback) else {
                continue;
            };
            let touched = |touch: Touch| {
                (
                    visitor.clone(),
                    touch.clicked_at.timestamp(),
                    touch.campaign,
                    touch.source,
                )
            };
            all.extend(journey.into_iter().map(touched));
        }
    }
    all
}

/// One event, at a second of the day, with an answer.
fn answered(seconds: i64, advertising: Option<bool>, campaign: Option<u8>) -> Moment {
    let mut moment = visit(1, now() + TimeDelta::seconds(seconds), campaign);
    moment.consent.advertising = advertising;
    moment.browser_ids = match advertising {
        Some(true) => BTreeMap::from([("_fbp".to_owned(), format!("fb.1.{seconds}"))]),
        _ => BTreeMap::new(),
    };
    moment
}

#[sqlx::test]
async fn who_says_nothing_takes_nothing_back(pool: PgPool) {
    write(&pool, &[answered(0, Some(true), None)]).await;
    write(&pool, &[answered(60, None, None)]).await;
    let told: (Value, Value) = sqlx::query_as("select consent, browser_ids from sessions")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(
        told,
        (json!({ "advertising": true }), json!({ "_fbp": "fb.1.0" }))
    );
}

#[sqlx::test]
async fn no_merge_and_no_cut_loses_a_withdrawal(pool: PgPool) {
    let consents = async || -> Vec<Value> {
        sqlx::query_scalar("select consent->'advertising' from sessions order by started_at")
            .fetch_all(&pool)
            .await
            .unwrap()
    };
    write(&pool, &[answered(0, Some(true), None)]).await;
    write(&pool, &[answered(2400, Some(false), None)]).await;
    write(&pool, &[answered(1200, None, None)]).await;
    assert_eq!(consents().await, [json!(false)]);
    write(&pool, &[answered(1500, None, Some(1))]).await;
    assert_eq!(consents().await, [json!(false), json!(false)]);
}

#[sqlx::test]
async fn a_merged_session_leads_to_the_one_that_was_kept(pool: PgPool) {
    let ids = async || -> Vec<String> {
        sqlx::query_scalar("select session_id from sessions order by started_at")
            .fetch_all(&pool)
            .await
            .unwrap()
    };
    for seconds in [0, 5000, 2500] {
        write(&pool, &[answered(seconds, None, None)]).await;
    }
    let [first, second, third] = ids().await.try_into().unwrap();
    // The second and the third become one, and then the first and that one.
    write(&pool, &[answered(3700, None, None)]).await;
    write(&pool, &[answered(1250, None, None)]).await;
    assert_eq!(ids().await, [first.as_str()]);
    for id in [&first, &second, &third] {
        let found: Vec<String> = sqlx::query_scalar("select session_id from session_of($1, $2)")
            .bind(tenant().property_id)
            .bind(id)
            .fetch_all(&pool)
            .await
            .unwrap();
        assert_eq!(found, [first.as_str()]);
    }
    // When that one goes, so does what leads to it.
    let (mut conn, later) = (pool.acquire().await.unwrap(), now() + TimeDelta::days(1));
    let gone = sessions::old::store::delete_before(&mut conn, tenant().property_id, later, 10).await;
    assert_eq!(gone.unwrap(), 1);
    let left: i64 = sqlx::query_scalar("select count(*) from merged_sessions")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[sqlx::test]
async fn a_click_carried_on_by_the_site_is_the_same_visit(pool: PgPool) {
    let page = |seconds: i64, query: &str| {
        let landing = Landing::parse(&format!("https://shop.example/{query}"), None).unwrap();
        moment(tenant(), "v-1", now() + TimeDelta::seconds(seconds), landing)
    };
    write(&pool, &[page(60, "cart?gclid=X")]).await;
    write(&pool, &[page(0, "?utm_source=google&utm_campaign=c1&gclid=X")]).await;
    write(&pool, &[page(120, "?gclid=Y")]).await;
    let campaigns: Vec<Option<String>> =
        sqlx::query_scalar("select campaign from sessions order by started_at")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(campaigns, [Some("c1".to_owned()), None]);
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
