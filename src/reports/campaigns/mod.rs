//! What campaigns brought: conversions, revenue and refunds by where the credit went.
//!
//! A conversion is counted on its own day, a refund on the refund's, so that the report of a month that is over does not change by what is given
//! back later. A refund takes from whoever has the credit of its purchase; where the purchase is not known, from nobody's row. Refunds are no
//! conversions. Days are UTC's. Currencies are never added up: each has rows of its own, and what has no value has rows without a currency.

mod csv;
mod query;
mod store;
mod sums;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};
use utoipa::ToSchema;

pub use csv::to_csv;
pub use query::{BadDimension, Dimension, Filter, Query};

use super::model::{Model, Window};
use super::rollup::{self, DayKey, DaySums, Deltas, Unsummed};
use query::GroupKey;
use store::Group;
use sums::Sums;

/// Rows of a report, at most; what is beyond is in [`Report::others`].
pub const MOST_ROWS: usize = 2000;
/// Conversions that are not in the sums yet and are added to a report, at most.
pub(super) const MOST_UNSUMMED: usize = 20_000;

/// What campaigns brought.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CampaignReport)]
pub struct Report {
    /// The days that it is about.
    pub window: Window,
    /// What its rows are told apart by.
    pub group_by: Vec<Dimension>,
    /// The models of its figures, in the order of each row's.
    pub models: Vec<Model>,
    /// The most credited first, by the first model. Nobody's row is one of them.
    pub rows: Vec<Row>,
    /// Figures of rows beyond the most that a report has, by currency.
    pub others: Vec<Others>,
    /// All rows together, by currency.
    pub totals: Vec<Row>,
    /// False while so much was recorded just now that the newest conversions are not in it yet.
    pub complete: bool,
}

/// A group in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CampaignRow)]
pub struct Row {
    /// False for the row of what nobody has the credit of; always true in totals.
    pub attributed: bool,
    /// The channel, where rows are told apart by it.
    pub channel: Option<String>,
    /// The source, where rows are told apart by it and there is one.
    pub source: Option<String>,
    /// The medium, likewise.
    pub medium: Option<String>,
    /// The campaign, likewise.
    pub campaign: Option<String>,
    /// ISO 4217; none for what has no value.
    pub currency: Option<String>,
    /// Conversions with a touch of this group, each once; in totals, all of them.
    pub conversions: i64,
    /// By model.
    pub figures: Vec<Figures>,
}

/// What a group has by one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Figures {
    /// The model.
    pub model: Model,
    /// Conversions, by share of credit.
    pub credit: Decimal,
    /// Their value, by share of credit.
    pub gross: Decimal,
    /// What was given back of it in these days.
    pub refunds: Decimal,
    /// `gross` less `refunds`.
    pub net: Decimal,
}

/// Figures of what has no row of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CampaignOthers)]
pub struct Others {
    /// ISO 4217.
    pub currency: Option<String>,
    /// By model.
    pub figures: Vec<Figures>,
}

/// A day in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CampaignPoint)]
pub struct Point {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// ISO 4217; none for what has no value.
    pub currency: Option<String>,
    /// Conversions, each once.
    pub conversions: i64,
    /// By model.
    pub figures: Vec<Figures>,
}

/// The report that is asked for.
pub async fn report(conn: &mut PgConnection, query: &Query) -> Result<Report, sqlx::Error> {
    // Sums and what is not in them yet, as they were at one moment.
    let mut transaction = conn.begin_with(super::SNAPSHOT).await?;
    let unsummed = rollup::unsummed(&mut transaction, query.property_id, MOST_UNSUMMED).await?;
    let report = within(&mut transaction, query, &unsummed).await?;
    transaction.commit().await?;
    Ok(report)
}

/// The report within a transaction whose snapshot `unsummed` was read in.
pub(super) async fn within(
    conn: &mut PgConnection,
    query: &Query,
    unsummed: &Unsummed,
) -> Result<Report, sqlx::Error> {
    let found = store::groups(conn, query, MOST_ROWS + 1).await?;
    let cut = found.len() > MOST_ROWS;
    let mut totals: BTreeMap<Option<String>, Sums> = BTreeMap::new();
    if cut {
        let all = store::days(conn, query, false).await?;
        totals.extend(all.into_iter().map(|((_, currency), sums)| (currency, sums)));
    }
    let mut groups: BTreeMap<GroupKey, Sums> = BTreeMap::new();
    for Group { key, sums, counted } in found {
        if !cut {
            // Of a conversion with touches in several groups, the totals count one.
            let counted = Sums {
                touched: counted,
                ..sums
            };
            *totals.entry(key.currency.clone()).or_default() += &counted;
        }
        groups.insert(key, sums);
    }
    for (key, sums) in live(query, &unsummed.deltas) {
        let group = query.group(key);
        *totals.entry(group.currency.clone()).or_default() += &query.seen(sums, query.filtered());
        // Where not all groups were read, one that was not is among the others already.
        if !cut || groups.contains_key(&group) {
            *groups.entry(group).or_default() += &query.seen(sums, query.told_apart());
        }
    }
    let mut rows: Vec<(GroupKey, Sums)> = groups.into_iter().filter(|(_, sums)| !sums.is_zero()).collect();
    let first = query.models[0].index();
    rows.sort_by(|(a_key, a), (b_key, b)| {
        let order = |sums: &Sums| (sums.credit[first], sums.gross[first], sums.touched);
        order(b).cmp(&order(a)).then_with(|| a_key.cmp(b_key))
    });
    rows.truncate(MOST_ROWS);
    let mut rest = totals.clone();
    for (key, sums) in &rows {
        rest.entry(key.currency.clone()).or_default().take(sums);
    }
    let others = rest.iter().filter(|(_, sums)| !sums.has_no_figures());
    Ok(Report {
        window: query.window,
        group_by: query.group_by.clone(),
        models: query.models.clone(),
        others: others
            .map(|(currency, sums)| Others {
                currency: currency.clone(),
                figures: sums.figures(query),
            })
            .collect(),
        rows: rows
            .into_iter()
            .map(|(key, sums)| row(query, key, &sums))
            .collect(),
        totals: totals
            .into_iter()
            .filter(|(_, sums)| !sums.is_zero())
            .map(|(currency, sums)| row(query, GroupKey::total(currency), &sums))
            .collect(),
        complete: !unsummed.more,
    })
}

/// A point for each day and currency that has something, oldest first.
pub async fn series(conn: &mut PgConnection, query: &Query) -> Result<Vec<Point>, sqlx::Error> {
    let mut transaction = conn.begin_with(super::SNAPSHOT).await?;
    let unsummed = rollup::unsummed(&mut transaction, query.property_id, MOST_UNSUMMED).await?;
    let mut days = store::days(&mut transaction, query, true).await?;
    transaction.commit().await?;
    for (key, sums) in live(query, &unsummed.deltas) {
        let day = days.entry((Some(key.day), key.currency.clone())).or_default();
        *day += &query.seen(sums, query.filtered());
    }
    let point = |((day, currency), sums): ((Option<NaiveDate>, Option<String>), Sums)| {
        Some(Point {
            day: day?,
            currency,
            conversions: sums.touched,
            figures: sums.figures(query),
        })
    };
    let days = days.into_iter().filter(|(_, sums)| !sums.is_zero());
    Ok(days.filter_map(point).collect())
}

/// What is not summed yet, as far as the query asks for it.
fn live<'a>(query: &'a Query, deltas: &'a Deltas) -> impl Iterator<Item = (&'a DayKey, &'a DaySums)> {
    deltas.days.iter().filter(|(key, _)| query.asks_for(key))
}

fn row(query: &Query, key: GroupKey, sums: &Sums) -> Row {
    Row {
        attributed: key.attributed,
        channel: key.channel,
        source: key.source,
        medium: key.medium,
        campaign: key.campaign,
        currency: key.currency,
        conversions: sums.touched,
        figures: sums.figures(query),
    }
}
