//! Sums of `report_days`.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::query::{Dimension, Filter, GroupKey, Query};
use super::sums::Sums;

/// A sum as it comes from the database: whole numbers beyond 64 bits as text.
struct Summed {
    touched: i64,
    credit: Vec<i64>,
    gross: Vec<String>,
    refunds: Vec<String>,
}

impl Summed {
    fn read(self) -> Result<Sums, sqlx::Error> {
        Ok(Sums {
            touched: self.touched,
            credit: self.credit.try_into().map_err(|_| bad())?,
            gross: numbers(&self.gross)?,
            refunds: numbers(&self.refunds)?,
        })
    }
}

fn numbers(texts: &[String]) -> Result<[i128; 5], sqlx::Error> {
    let mut numbers = [0; 5];
    for (number, text) in numbers.iter_mut().zip(texts) {
        *number = text.parse().map_err(|_| bad())?;
    }
    Ok(numbers)
}

fn bad() -> sqlx::Error {
    sqlx::Error::Decode("a sum is not a whole number".into())
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
    let first = query.models[0].index();
    let rows = sqlx::query!(
        r#"select channel is not null as "attributed!",
               case when $10 then channel end as channel, case when $11 then source end as source,
               case when $12 then medium end as medium, case when $13 then campaign end as campaign, currency,
               sum(touched[$14])::bigint as "touched!", sum(touched[$15])::bigint as "counted!",
               array[sum(credit[1])::bigint, sum(credit[2])::bigint, sum(credit[3])::bigint, sum(credit[4])::bigint,
                   sum(credit[5])::bigint] as "credit!",
               array[sum(gross[1])::text, sum(gross[2])::text, sum(gross[3])::text, sum(gross[4])::text, sum(gross[5])::text] as "gross!",
               array[sum(refunds[1])::text, sum(refunds[2])::text, sum(refunds[3])::text, sum(refunds[4])::text,
                   sum(refunds[5])::text] as "refunds!"
           from report_days
           where property_id = $1 and day >= $2 and day < $3
             and ($4::uuid is null or attribution_id = $4) and ($5::text is null or topic = $5)
             and ($6::text is null or channel = $6) and ($7::text is null or coalesce(source, '') = $7)
             and ($8::text is null or coalesce(medium, '') = $8) and ($9::text is null or coalesce(campaign, '') = $9)
             and (channel is not null or coalesce($6, $7, $8, $9) is null)
           group by 1, 2, 3, 4, 5, 6
           order by sum(credit[$16]) desc, 1, 2, 3, 4, 5, 6
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
        first as i32 + 1,
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
            sums: summed.read()?,
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
               array[sum(credit[1])::bigint, sum(credit[2])::bigint, sum(credit[3])::bigint, sum(credit[4])::bigint,
                   sum(credit[5])::bigint] as "credit!",
               array[sum(gross[1])::text, sum(gross[2])::text, sum(gross[3])::text, sum(gross[4])::text, sum(gross[5])::text] as "gross!",
               array[sum(refunds[1])::text, sum(refunds[2])::text, sum(refunds[3])::text, sum(refunds[4])::text,
                   sum(refunds[5])::text] as "refunds!"
           from report_days
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
        days.insert((row.day, row.currency), summed.read()?);
    }
    Ok(days)
}
