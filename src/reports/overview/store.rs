//! Sums of `report_hours`, and refused requests.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Query, Refused};
use crate::platform::clock::id_at;
use crate::reports::rollup::{HourKey, HourSums};

/// Streams of a property whose refused requests are counted.
const MOST_STREAMS: i64 = 1000;
/// Rows of refused requests that are counted: index entries, some 20 ms.
const MOST_REFUSED: i64 = 50_000;

/// Sums of steps of so many seconds; `hour` is a step's beginning.
pub async fn hours(
    conn: &mut PgConnection,
    query: &Query,
    step: i64,
) -> Result<Vec<(HourKey, HourSums)>, sqlx::Error> {
    let (from, until) = query.window.moments();
    let rows = sqlx::query!(
        r#"select date_bin(make_interval(secs => $5::bigint), hour, 'epoch') as "at!", topic, currency,
               sum(conversions)::bigint as "conversions!", sum(matched)::bigint as "matched!", sum(gross)::text as "gross!",
               sum(refunds)::text as "refunds!"
           from report_hours
           where property_id = $1 and hour >= $2 and hour < $3 and ($4::uuid is null or attribution_id = $4)
           group by 1, 2, 3"#,
        query.property_id,
        from,
        until,
        query.attribution_id,
        step,
    )
    .fetch_all(conn)
    .await?;
    let number = |text: &str| {
        text.parse::<i128>()
            .map_err(|error| sqlx::Error::Decode(error.into()))
    };
    let mut hours = Vec::with_capacity(rows.len());
    for row in rows {
        let key = HourKey {
            hour: row.at,
            attribution_id: query.attribution_id.unwrap_or_default(),
            topic: row.topic,
            currency: row.currency,
        };
        let sums = HourSums {
            conversions: row.conversions,
            matched: row.matched,
            gross: number(&row.gross)?,
            refunds: number(&row.refunds)?,
        };
        hours.push((key, sums));
    }
    Ok(hours)
}

/// Refused requests of steps of so many seconds, the newest [`MOST_REFUSED`] rows of them; and from when on, where there are more.
pub async fn refused(
    conn: &mut PgConnection,
    query: &Query,
    step: i64,
) -> Result<(Vec<Refused>, Option<DateTime<Utc>>), sqlx::Error> {
    let (from, until) = query.window.moments();
    // Each stream has its share. From the latest moment at which one of them has used it up, all are complete.
    let rows = sqlx::query!(
        r#"with s as (
               select attribution_id from streams where property_id = $1 and ($2::uuid is null or attribution_id = $2) order by created_at limit $5
           ), share as (
               select greatest($7 / greatest(count(*), 1), 1) as most from s
           ), read as materialized (
               select s.attribution_id, r.at, r.status, r.requests
               from s cross join lateral (
                   select a.at, a.status, a.requests from activity a
                   where a.property_id = $1 and a.attribution_id = s.attribution_id and a.activity_id >= $3 and a.activity_id < $4
                     and a.status <> 'success' and not a.dry_run
                   order by a.activity_id desc limit (select most from share)
               ) r
           ), since as (
               select max(oldest) as at
               from (select min(at) as oldest from read group by attribution_id having count(*) >= (select most from share)) used_up
           )
           select date_bin(make_interval(secs => $6::bigint), read.at, 'epoch') as "at!", status as "status!",
               sum(requests)::bigint as "requests!", since.at as since
           from read cross join since where since.at is null or read.at >= since.at
           group by 1, 2, 4 order by 1, 2"#,
        query.property_id,
        query.attribution_id,
        id_at(from, &[0; 8]),
        id_at(until, &[0; 8]),
        MOST_STREAMS,
        step,
        MOST_REFUSED,
    )
    .fetch_all(conn)
    .await?;
    let since = rows.first().and_then(|row| row.since);
    let refused = |at: DateTime<Utc>, status, requests| Refused { at, status, requests };
    let steps = rows
        .into_iter()
        .map(|row| refused(row.at, row.status, row.requests));
    Ok((steps.collect(), since))
}
