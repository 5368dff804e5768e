//! How things stand: conversions, revenue and match rate over time, refused requests, the best sources and campaigns, and what is unhealthy.
//!
//! Read from the sums of hours and from indexes that begin with the property; the plans, over a million conversions: `report_hours` and
//! `report_days` by a range of their primary keys, a bounded number of refused requests by the index `activity_refused` alone, of `activity`, `sessions` and
//! `deliveries` a few index entries each.

mod counted;
mod store;
mod unhealthy;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

pub use unhealthy::{Trouble, Unhealthy, unhealthy};

use super::amount::amount;
use super::campaigns::{self, Dimension, MOST_UNSUMMED};
use super::model::{Model, Window};
use super::rollup::{self, HourKey};
use counted::Counted;

/// Days that a chart by the hour may reach over.
pub const MOST_DAYS_BY_HOUR: i64 = 31;
/// Sources and campaigns that an overview names.
const MOST_TOP: usize = 10;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Query {
    /// The tenant.
    pub property_id: Uuid,
    /// One stream; none: all of the property.
    pub attribution_id: Option<Uuid>,
    /// The days.
    pub window: Window,
    /// The charts' step; days where hours would be too many.
    pub step: Step,
    /// The model of sources and campaigns.
    pub model: Model,
}

impl Query {
    /// The step that is taken.
    fn step(&self) -> Step {
        let days = (self.window.until - self.window.from).num_days();
        match self.step {
            Step::Hour if days <= MOST_DAYS_BY_HOUR => Step::Hour,
            _ => Step::Day,
        }
    }
}

/// The step of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// An hour.
    Hour,
    /// A day in UTC.
    Day,
}

impl Step {
    fn seconds(self) -> i64 {
        match self {
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// The beginning of the step that a moment is in.
    fn of(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let seconds = at.timestamp().div_euclid(self.seconds()) * self.seconds();
        DateTime::from_timestamp(seconds, 0).unwrap_or(at)
    }
}

/// How things stand.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overview {
    /// The days that it is about.
    pub window: Window,
    /// The charts' step.
    pub step: Step,
    /// A point for each step of the window, also where nothing happened, up to now.
    pub points: Vec<Point>,
    /// All points together; its time is the window's beginning.
    pub total: Point,
    /// Refused requests, by step and status; steps without any are left out. As far as activity is kept.
    pub refused: Vec<Refused>,
    /// Set where there were too many to count: refused requests are counted from this moment on.
    pub refused_since: Option<DateTime<Utc>>,
    /// The most credited sources with their media.
    pub sources: Vec<campaigns::Row>,
    /// The most credited campaigns.
    pub campaigns: Vec<campaigns::Row>,
    /// False while so much was recorded just now that the newest conversions are not in it yet.
    pub complete: bool,
}

/// Conversions of a step.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = OverviewPoint)]
pub struct Point {
    /// Its beginning.
    pub at: DateTime<Utc>,
    /// Conversions; refunds are none.
    pub conversions: i64,
    /// Those with credit.
    pub matched: i64,
    /// Of 1; none without conversions.
    pub match_rate: Option<f64>,
    /// Refunds.
    pub refunds: i64,
    /// By currency, never added up.
    pub revenue: Vec<Revenue>,
}

/// Revenue in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Revenue {
    /// ISO 4217.
    pub currency: String,
    /// What conversions were worth.
    pub gross: Decimal,
    /// What was given back.
    pub refunds: Decimal,
    /// `gross` less `refunds`.
    pub net: Decimal,
}

/// Refused requests of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refused {
    /// The step's beginning.
    pub at: DateTime<Utc>,
    /// `auth_error`, `validation_error` or `rate_limited`.
    pub status: String,
    /// How many.
    pub requests: i64,
}

/// Sums by currency; empty: without value.
type Sums = BTreeMap<String, Counted>;

/// How things stand.
pub async fn overview(
    conn: &mut PgConnection,
    query: &Query,
    now: DateTime<Utc>,
) -> Result<Overview, sqlx::Error> {
    let step = query.step();
    // All of it as it was at one moment.
    let mut transaction = conn.begin_with(super::SNAPSHOT).await?;
    let unsummed = rollup::unsummed(&mut transaction, query.property_id, MOST_UNSUMMED).await?;
    let mut steps: BTreeMap<DateTime<Utc>, Sums> = BTreeMap::new();
    for (key, sums) in store::hours(&mut transaction, query, step.seconds()).await? {
        let sum = steps
            .entry(key.hour)
            .or_default()
            .entry(key.currency)
            .or_default();
        *sum += &Counted::of(&key.topic, &sums);
    }
    for (key, sums) in unsummed
        .deltas
        .hours
        .iter()
        .filter(|(key, _)| asks_for(query, key))
    {
        let sums_of_step = steps.entry(step.of(key.hour)).or_default();
        *sums_of_step.entry(key.currency.clone()).or_default() += &Counted::of(&key.topic, sums);
    }
    let (refused, refused_since) = store::refused(&mut transaction, query, step.seconds()).await?;
    let mut top = async |dimensions: &[Dimension]| {
        let mut asked = campaigns::Query::new(query.property_id, query.window)
            .group_by(dimensions)
            .models(&[query.model]);
        asked.attribution_id = query.attribution_id;
        let mut report = campaigns::within(&mut transaction, &asked, &unsummed).await?;
        report.rows.retain(|row| row.attributed);
        report.rows.truncate(MOST_TOP);
        Ok::<_, sqlx::Error>(report.rows)
    };
    let sources = top(&[Dimension::Source, Dimension::Medium]).await?;
    let campaigns = top(&[Dimension::Campaign]).await?;
    transaction.commit().await?;

    let (from, until) = query.window.moments();
    let mut all = Sums::new();
    for (currency, sums) in steps.values().flatten() {
        *all.entry(currency.clone()).or_default() += sums;
    }
    let mut points = Vec::new();
    let mut at = from;
    while at < until.min(now.max(from) + TimeDelta::seconds(1)) {
        points.push(point(at, steps.get(&at)));
        at += TimeDelta::seconds(step.seconds());
    }
    Ok(Overview {
        window: query.window,
        step,
        points,
        total: point(from, Some(&all)),
        refused,
        refused_since,
        sources,
        campaigns,
        complete: !unsummed.more,
    })
}

fn asks_for(query: &Query, key: &HourKey) -> bool {
    query.window.contains(key.hour.date_naive())
        && query.attribution_id.is_none_or(|id| id == key.attribution_id)
}

fn point(at: DateTime<Utc>, sums: Option<&Sums>) -> Point {
    let count = |of: fn(&Counted) -> i64| sums.map_or(0, |sums| sums.values().map(of).sum::<i64>());
    let (conversions, matched) = (count(|sums| sums.conversions), count(|sums| sums.matched));
    let revenue = sums
        .into_iter()
        .flatten()
        .filter(|(currency, _)| !currency.is_empty());
    Point {
        at,
        conversions,
        matched,
        match_rate: (conversions > 0).then(|| matched as f64 / conversions as f64),
        refunds: count(|sums| sums.refunds),
        revenue: revenue
            .map(|(currency, sums)| Revenue {
                currency: currency.clone(),
                gross: amount(sums.gross),
                refunds: amount(sums.given_back),
                net: amount(sums.gross - sums.given_back),
            })
            .collect(),
    }
}
