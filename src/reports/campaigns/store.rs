//! Sums of `report_days`.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::query::{Dimension, Filter, GroupKey, Query};
use super::sums::Sums;
use crate::reports::model::Model;

/// A sum as it comes from the database: an element for each model that is asked for, in their order, and null for those that are not; whole
/// numbers beyond 64 bits as text.
struct Summed {
    touched: i64,
    credit: Vec<Option<i64>>,
    gross: Vec<Option<String>>,
    refunds: Vec<Option<String>>,
}

impl Summed {
    fn read(self, models: &[Model]) -> Result<Sums, sqlx::Error> {
        let mut sums = Sums {
            touched: self.touched,
            ..Sums::default()
        };
        for (model, credit) in models.iter().zip(self.credit) {
            sums.credit[model.index()] = credit.ok_or_else(bad)?;
        }
        for (model, gross) in models.iter().zip(self.gross) {
            sums.gross[model.index()] = number(gross)?;
        }
        for (model, refunds) in models.iter().zip(self.refunds) {
            sums.refunds[model.index()] = number(refunds)?;
        }
        Ok(sums)
    }
}

fn number(text: Option<String>) -> Result<i128, sqlx::Error> {
    text.and_then(|text| text.parse().ok()).ok_or_else(bad)
}

fn bad() -> sqlx::Error {
    sqlx::Error::Decode("a sum is not a whole number".into())
}

/// Where the models that are asked for are in arrays of the database. One that is not asked for is beyond the end of this array, and nothing is
/// read of it there.
fn places(models: &[Model]) -> Vec<i32> {
    models.iter().map(|model| model.index() as i32 + 1).collect()
}

/// A group with its sums, and the conversions that it adds to the total.
pub struct Group {
    pub(super) key: GroupKey,
    pub(super) sums: Sums,
    pub(super) counted: i64,
}

/// The groups of the query, up to `most`, the most credited first.
pub async fn groups(conn: &mut PgConnection, query: &Query, most: usize) -> Result<Vec<Group>, sqlx::Error> {
    let Filter {
        channel,
        source,
        medium,
        campaign,
    } = &query.filter;
    let rows = sqlx::query!(
        r#"select channel is not null as "attributed!",
               case when $10 then channel end as channel, case when $11 then source end as source,
               case when $12 then medium end as medium, case when $13 then campaign end as campaign, currency,
               sum(touched[$14])::bigint as "touched!", sum(touched[$15])::bigint as "counted!",
               array[sum(credit[m.at[1]])::bigint, sum(credit[m.at[2]])::bigint, sum(credit[m.at[3]])::bigint, sum(credit[m.at[4]])::bigint,
                   sum(credit[m.at[5]])::bigint] as "credit!: Vec<Option<i64>>",
               array[sum(gross[m.at[1]])::text, sum(gross[m.at[2]])::text, sum(gross[m.at[3]])::text, sum(gross[m.at[4]])::text,
                   sum(gross[m.at[5]])::text] as "gross!: Vec<Option<String>>",
               array[sum(refunds[m.at[1]])::text, sum(refunds[m.at[2]])::text, sum(refunds[m.at[3]])::text, sum(refunds[m.at[4]])::text,
                   sum(refunds[m.at[5]])::text] as "refunds!: Vec<Option<String>>"
           from report_days cross join (select $16::int[] as at) m
           where property_id = $1 and day >= $2 and day < $3
             and ($4::uuid is null or attribution_id = $4) and ($5::text is null or topic = $5)
             and ($6::text is null or channel = $6) and ($7::text is null or coalesce(source, '') = $7)
             and ($8::text is null or coalesce(medium, '') = $8) and ($9::text is null or coalesce(campaign, '') = $9)
             and (channel is not null or coalesce($6, $7, $8, $9) is null)
           group by 1, 2, 3, 4, 5, 6
           order by sum(credit[m.at[1]]) desc, 1, 2, 3, 4, 5, 6
           limit $17"#,
        query.property_id,
        query.window.from,
        query.window.until,
        query.attribution_id,
        query.topic.map(|topic| topic.as_str()),
        channel.as_deref(),
        source.as_deref(),
        medium.as_deref(),
        campaign.as_deref(),
        query.is_by(Dimension::Channel),
        query.is_by(Dimension::Source),
        query.is_by(Dimension::Medium),
        query.is_by(Dimension::Campaign),
        query.told_apart() as i32 + 1,
        query.filtered() as i32 + 1,
        &places(&query.models),
        most as i64,
    )
    .fetch_all(conn)
    .await?;
    let mut groups = Vec::with_capacity(rows.len());
    for row in rows {
        let summed = Summed {
            touched: row.touched,
            credit: row.credit,
            gross: row.gross,
            refunds: row.refunds,
        };
        groups.push(Group {
            key: GroupKey {
                attributed: row.attributed,
                channel: row.channel,
                source: row.source,
                medium: row.medium,
                campaign: row.campaign,
                currency: row.currency,
            },
            sums: summed.read(&query.models)?,
            counted: row.counted,
        });
    }
    Ok(groups)
}

/// The sums of each day and currency, or of each currency with `None` for the day.
pub async fn days(
    conn: &mut PgConnection,
    query: &Query,
    each_day: bool,
) -> Result<BTreeMap<(Option<NaiveDate>, Option<String>), Sums>, sqlx::Error> {
    let Filter {
        channel,
        source,
        medium,
        campaign,
    } = &query.filter;
    let rows = sqlx::query!(
        r#"select case when $10 then day end as day, currency, sum(touched[$11])::bigint as "touched!",
               array[sum(credit[m.at[1]])::bigint, sum(credit[m.at[2]])::bigint, sum(credit[m.at[3]])::bigint, sum(credit[m.at[4]])::bigint,
                   sum(credit[m.at[5]])::bigint] as "credit!: Vec<Option<i64>>",
               array[sum(gross[m.at[1]])::text, sum(gross[m.at[2]])::text, sum(gross[m.at[3]])::text, sum(gross[m.at[4]])::text,
                   sum(gross[m.at[5]])::text] as "gross!: Vec<Option<String>>",
               array[sum(refunds[m.at[1]])::text, sum(refunds[m.at[2]])::text, sum(refunds[m.at[3]])::text, sum(refunds[m.at[4]])::text,
                   sum(refunds[m.at[5]])::text] as "refunds!: Vec<Option<String>>"
           from report_days cross join (select $12::int[] as at) m
           where property_id = $1 and day >= $2 and day < $3
             and ($4::uuid is null or attribution_id = $4) and ($5::text is null or topic = $5)
             and ($6::text is null or channel = $6) and ($7::text is null or coalesce(source, '') = $7)
             and ($8::text is null or coalesce(medium, '') = $8) and ($9::text is null or coalesce(campaign, '') = $9)
             and (channel is not null or coalesce($6, $7, $8, $9) is null)
           group by 1, 2"#,
        query.property_id,
        query.window.from,
        query.window.until,
        query.attribution_id,
        query.topic.map(|topic| topic.as_str()),
        channel.as_deref(),
        source.as_deref(),
        medium.as_deref(),
        campaign.as_deref(),
        each_day,
        query.filtered() as i32 + 1,
        &places(&query.models),
    )
    .fetch_all(conn)
    .await?;
    let mut days = BTreeMap::new();
    for row in rows {
        let summed = Summed {
            touched: row.touched,
            credit: row.credit,
            gross: row.gross,
            refunds: row.refunds,
        };
        days.insert((row.day, row.currency), summed.read(&query.models)?);
    }
    Ok(days)
}
