//! The sums of the reports against the same rules over a list in memory, slow and obvious.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rust_decimal::Decimal;
use sqlx::PgPool;
use trustdata::attribution::weigh;
use trustdata::platform::clock::Clock;
use trustdata::reports::campaigns::{self, Dimension, Query, Row};
use trustdata::reports::{Model, Window, overview, rollup};
use uuid::Uuid;

use crate::support::now;

/// Source, medium, campaign.
type Ad = (Option<&'static str>, Option<&'static str>, Option<&'static str>);

const ADS: [Ad; 5] = [
    (Some("google"), Some("cpc"), Some("spring")),
    (Some("google"), Some("cpc"), Some("summer")),
    (Some("facebook"), Some("paid_social"), Some("spring")),
    (Some("google"), None, None),
    (None, None, None),
];

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    Convert {
        topic: &'static str,
        number: u8,
        journey: Vec<usize>,
        cents: i64,
        currency: &'static str,
        days: i64,
    },
    Rematch {
        which: prop::sample::Index,
        journey: Vec<usize>,
    },
    Refund {
        number: u8,
        cents: i64,
        days: i64,
    },
    Roll,
    RollTwice,
    Rebuild,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let journey = || prop::collection::vec(0..ADS.len(), 0..5);
    let convert = (
        prop::sample::select(vec!["purchase", "purchase", "lead"]),
        0u8..8,
        journey(),
        0i64..100_000,
        prop::sample::select(vec!["USD", "EUR", ""]),
        0i64..4,
    )
        .prop_map(|(topic, number, journey, cents, currency, days)| Step::Convert {
            topic,
            number,
            journey,
            cents,
            currency,
            days,
        });
    let step = prop_oneof![
        5 => convert,
        2 => (any::<prop::sample::Index>(), journey()).prop_map(|(which, journey)| Step::Rematch { which, journey }),
        3 => (0u8..8, 1i64..50_000, 0i64..4).prop_map(|(number, cents, days)| Step::Refund { number, cents, days }),
        2 => Just(Step::Roll),
        1 => Just(Step::RollTwice),
        1 => Just(Step::Rebuild),
    ];
    prop::collection::vec(step, 1..30)
}

#[derive(Debug, Clone)]
struct Event {
    event_id: Uuid,
    topic: &'static str,
    name: String,
    purchase: Option<String>,
    at: DateTime<Utc>,
    money: Option<(Decimal, &'static str)>,
    /// Newest last.
    versions: Vec<(i16, Vec<usize>)>,
}

/// A property, in the database and in memory.
struct World {
    pool: PgPool,
    clock: Clock,
    property_id: Uuid,
    attribution_id: Uuid,
    events: Vec<Event>,
}

impl World {
    async fn apply(&mut self, step: &Step) {
        self.clock.advance(TimeDelta::seconds(1));
        let at = |days: &i64| now() - TimeDelta::days(*days);
        match step {
            Step::Convert {
                topic,
                number,
                journey,
                cents,
                currency,
                days,
            } => {
                let name = format!("o-{number}");
                if self
                    .events
                    .iter()
                    .any(|event| event.topic == *topic && event.name == name)
                {
                    return;
                }
                let money = (!currency.is_empty()).then(|| (Decimal::new(*cents, 2), *currency));
                let versions = if journey.is_empty() {
                    vec![]
                } else {
                    vec![(1, journey.clone())]
                };
                self.store(Event {
                    event_id: self.clock.new_id(),
                    topic,
                    name,
                    purchase: None,
                    at: at(days),
                    money,
                    versions,
                })
                .await;
            }
            Step::Refund { number, cents, days } => {
                let (event_id, name) = (self.clock.new_id(), self.clock.new_id().to_string());
                let money = Some((Decimal::new(*cents, 2), "USD"));
                let purchase = Some(format!("o-{number}"));
                // Its own journey is nobody's business.
                let versions = vec![(1, vec![0])];
                self.store(Event {
                    event_id,
                    topic: "refund",
                    name,
                    purchase,
                    at: at(days),
                    money,
                    versions,
                })
                .await;
            }
            Step::Rematch { which, journey } => {
                let candidates: Vec<usize> = (0..self.events.len())
                    .filter(|place| self.events[*place].topic != "refund")
                    .collect();
                if candidates.is_empty() || journey.is_empty() {
                    return;
                }
                let place = candidates[which.index(candidates.len())];
                let version = self.events[place]
                    .versions
                    .last()
                    .map_or(1, |(version, _)| *version)
                    + 1;
                let mut transaction = self.pool.begin().await.unwrap();
                let event = &self.events[place];
                credit(&mut transaction, self.property_id, event, version, journey).await;
                sqlx::query(
                    "insert into credit_changes (property_id, event_ids, versions) values ($1, $2, $3)",
                )
                .bind(self.property_id)
                .bind(vec![event.event_id])
                .bind(vec![version])
                .execute(&mut *transaction)
                .await
                .unwrap();
                transaction.commit().await.unwrap();
                self.events[place].versions.push((version, journey.clone()));
            }
            Step::Roll => drop(self.roll().await),
            Step::RollTwice => {
                let (a, b) = tokio::join!(self.roll(), self.roll());
                assert!(!(a.events > 0 && b.events > 0), "{a:?} {b:?}");
            }
            Step::Rebuild => {
                let mut transaction = self.pool.begin().await.unwrap();
                rollup::rebuild(&mut transaction, self.property_id).await.unwrap();
                transaction.commit().await.unwrap();
            }
        }
    }

    async fn roll(&self) -> rollup::Rolled {
        rollup::roll(
            &mut self.pool.acquire().await.unwrap(),
            self.property_id,
            rollup::BATCH,
        )
        .await
        .unwrap()
    }

    async fn store(&mut self, event: Event) {
        let mut transaction = self.pool.begin().await.unwrap();
        sqlx::query(
            "insert into conversions (property_id, event_id, attribution_id, topic, conversion_id, purchase_id, event_time, received_at, value,
                 currency, match_reason, lookback_days, payload, source)
             values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, 'x', 30, '{}', 'webhook')",
        )
        .bind(self.property_id)
        .bind(event.event_id)
        .bind(self.attribution_id)
        .bind(event.topic)
        .bind(&event.name)
        .bind(&event.purchase)
        .bind(event.at)
        .bind(event.money.map(|(amount, _)| amount))
        .bind(event.money.map(|(_, currency)| currency))
        .execute(&mut *transaction)
        .await
        .unwrap();
        for (version, journey) in &event.versions {
            credit(&mut transaction, self.property_id, &event, *version, journey).await;
        }
        sqlx::query("insert into credit_changes (property_id, event_ids) values ($1, $2)")
            .bind(self.property_id)
            .bind(vec![event.event_id])
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        self.events.push(event);
    }

    /// The rows that a report of these dimensions is to have.
    fn expected(&self, dimensions: &[Dimension]) -> BTreeMap<Key, Sums> {
        let mut rows: BTreeMap<Key, Sums> = BTreeMap::new();
        for event in &self.events {
            let refund = event.topic == "refund";
            let credited = match refund {
                false => Some(event),
                true => {
                    let is_it = |other: &&Event| {
                        other.topic == "purchase" && Some(&other.name) == event.purchase.as_ref()
                    };
                    self.events.iter().find(is_it)
                }
            };
            let currency = event.money.map(|(_, currency)| currency.to_owned());
            let value = event.money.map_or(Decimal::ZERO, |(amount, _)| amount);
            let shares = credited.map(shares).unwrap_or_default();
            let mut seen = BTreeSet::new();
            let nobody = (None, [1_000_000; 5]);
            for (ad, units) in shares
                .iter()
                .map(|(ad, units)| (Some(*ad), *units))
                .chain(shares.is_empty().then_some(nobody))
            {
                let key = (
                    ad.is_some(),
                    dimensions
                        .iter()
                        .map(|d| ad.and_then(|ad| told(ad, *d)))
                        .collect(),
                    currency.clone(),
                );
                let sums = rows.entry(key.clone()).or_default();
                if !refund && seen.insert(key) {
                    sums.conversions += 1;
                }
                for (model, units) in units.into_iter().enumerate() {
                    let share = Decimal::new(i64::from(units), 6);
                    match refund {
                        true => sums.refunds[model] += value * share,
                        false => {
                            sums.credit[model] += share;
                            sums.gross[model] += value * share;
                        }
                    }
                }
            }
        }
        rows.retain(|_, sums| *sums != Sums::default());
        rows
    }

    async fn check(&self, dimensions: &[Dimension]) {
        let window = Window::last_days(10, now());
        let query = Query::new(self.property_id, window)
            .group_by(dimensions)
            .models(&Model::ALL);
        let report = campaigns::report(&mut self.pool.acquire().await.unwrap(), &query)
            .await
            .unwrap();
        let told = |row: &Row| {
            let all = [
                (Dimension::Channel, &row.channel),
                (Dimension::Source, &row.source),
                (Dimension::Medium, &row.medium),
                (Dimension::Campaign, &row.campaign),
            ];
            let asked = all
                .into_iter()
                .filter(|(dimension, _)| dimensions.contains(dimension));
            (
                row.attributed,
                asked.map(|(_, text)| text.clone()).collect(),
                row.currency.clone(),
            )
        };
        let found: BTreeMap<Key, Sums> = report.rows.iter().map(|row| (told(row), sums(row))).collect();
        assert_eq!(found, self.expected(dimensions), "{dimensions:?}");
        assert!(report.complete && report.others.is_empty());

        // The totals are the conversions' own.
        for total in &report.totals {
            let own = || {
                self.events
                    .iter()
                    .filter(|event| event.money.map(|(_, currency)| currency) == total.currency.as_deref())
            };
            let worth = |refund: bool| -> Decimal {
                own()
                    .filter(|event| (event.topic == "refund") == refund)
                    .filter_map(|event| event.money)
                    .map(|(amount, _)| amount)
                    .sum()
            };
            let conversions = own().filter(|event| event.topic != "refund").count() as i64;
            assert_eq!(total.conversions, conversions);
            for figures in &total.figures {
                assert_eq!(
                    (figures.credit, figures.gross, figures.refunds, figures.net),
                    (
                        Decimal::from(conversions),
                        worth(false),
                        worth(true),
                        worth(false) - worth(true)
                    )
                );
            }
        }
        let seen = overview::Query {
            property_id: self.property_id,
            attribution_id: None,
            window,
            step: overview::Step::Hour,
            model: Model::LastClick,
        };
        let seen = overview::overview(&mut self.pool.acquire().await.unwrap(), &seen, now())
            .await
            .unwrap();
        let counted = || self.events.iter().filter(|event| event.topic != "refund");
        let matched = counted().filter(|event| !event.versions.is_empty()).count() as i64;
        assert_eq!(
            (seen.total.conversions, seen.total.matched),
            (counted().count() as i64, matched)
        );
        assert_eq!(
            seen.total.refunds,
            self.events.len() as i64 - counted().count() as i64
        );
        for revenue in &seen.total.revenue {
            let total = report
                .totals
                .iter()
                .find(|total| total.currency.as_ref() == Some(&revenue.currency))
                .unwrap();
            assert_eq!(
                (revenue.gross, revenue.net),
                (total.figures[0].gross, total.figures[0].net)
            );
        }
        let points = campaigns::series(&mut self.pool.acquire().await.unwrap(), &query)
            .await
            .unwrap();
        let conversions: i64 = points.iter().map(|point| point.conversions).sum();
        assert_eq!(
            conversions,
            report.totals.iter().map(|total| total.conversions).sum::<i64>()
        );
    }
}

/// Whether it is attributed, the dimensions, the currency.
type Key = (bool, Vec<Option<String>>, Option<String>);

#[derive(Debug, Default, PartialEq)]
struct Sums {
    conversions: i64,
    credit: [Decimal; 5],
    gross: [Decimal; 5],
    refunds: [Decimal; 5],
}

fn sums(row: &Row) -> Sums {
    let mut sums = Sums {
        conversions: row.conversions,
        ..Sums::default()
    };
    for (model, figures) in row.figures.iter().enumerate() {
        (sums.credit[model], sums.gross[model], sums.refunds[model]) =
            (figures.credit, figures.gross, figures.refunds);
    }
    sums
}

fn told((source, medium, campaign): Ad, dimension: Dimension) -> Option<String> {
    let channel = match (source, medium) {
        (None, None) => "direct",
        (Some("google"), None) => "organic_search",
        (Some("google"), _) => "paid_search",
        _ => "paid_social",
    };
    let text = match dimension {
        Dimension::Channel => Some(channel),
        Dimension::Source => source,
        Dimension::Medium => medium,
        Dimension::Campaign => campaign,
    };
    text.map(str::to_owned)
}

/// Touches a day apart.
fn clicks(event: &Event, journey: &[usize]) -> Vec<DateTime<Utc>> {
    (0..journey.len())
        .map(|place| event.at - TimeDelta::days((journey.len() - place) as i64))
        .collect()
}

fn units(event: &Event, journey: &[usize]) -> Vec<[i32; 5]> {
    let weights = weigh(&clicks(event, journey), event.at);
    weights
        .into_iter()
        .map(|w| {
            [
                w.last_click,
                w.first_click,
                w.linear,
                w.time_decay,
                w.position_based,
            ]
        })
        .collect()
}

fn shares(event: &Event) -> Vec<(Ad, [i32; 5])> {
    let journey = event.versions.last().map_or(&[][..], |(_, journey)| journey);
    journey
        .iter()
        .map(|ad| ADS[*ad])
        .zip(units(event, journey))
        .collect()
}

async fn credit(
    conn: &mut sqlx::PgConnection,
    property_id: Uuid,
    event: &Event,
    version: i16,
    journey: &[usize],
) {
    let (clicks, units) = (clicks(event, journey), units(event, journey));
    for (place, ad) in journey.iter().enumerate() {
        let (source, medium, campaign) = ADS[*ad];
        sqlx::query(
            "insert into credits (property_id, event_id, version, position, session_id, clicked_at, direct, source, medium, campaign,
                 last_click, first_click, linear, time_decay, position_based)
             values ($1, $2, $3, $4, 's', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(property_id)
        .bind(event.event_id)
        .bind(version)
        .bind(place as i16 + 1)
        .bind(clicks[place])
        .bind(source.is_none())
        .bind(source)
        .bind(medium)
        .bind(campaign)
        .bind(units[place][0])
        .bind(units[place][1])
        .bind(units[place][2])
        .bind(units[place][3])
        .bind(units[place][4])
        .execute(&mut *conn)
        .await
        .unwrap();
    }
}

#[sqlx::test]
async fn sums_are_what_the_conversions_say_whatever_happens_in_which_order(pool: PgPool) {
    let mut runner = TestRunner::default();
    let dimensions = prop::sample::subsequence(Dimension::ALL.to_vec(), 0..=4);
    for _ in 0..60 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let clock = Clock::fixed(now());
        let (property_id, attribution_id) = (Uuid::new_v4(), Uuid::new_v4());
        let mut world = World {
            pool: pool.clone(),
            clock,
            property_id,
            attribution_id,
            events: Vec::new(),
        };
        println!("{steps:?}");
        for (place, step) in steps.iter().enumerate() {
            world.apply(step).await;
            if place % 5 == 0 {
                world
                    .check(&dimensions.new_tree(&mut runner).unwrap().current())
                    .await;
            }
        }
        world
            .check(&dimensions.new_tree(&mut runner).unwrap().current())
            .await;
        while world.roll().await.events > 0 {}
        world.check(&Dimension::ALL).await;
    }
}
