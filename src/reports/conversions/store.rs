//! Conversions and the newest version of their credit, read only.

use std::ops::Range;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Conversion, Filter, LastClick};
use crate::attribution::UNITS;
use crate::domain::channel::Channel;
use crate::domain::topic::Topic;

/// Streams of a property that an id is looked for in, at most.
const MOST_STREAMS: i64 = 1000;
/// Conversions of one id, at most.
const MOST_OF_ID: i64 = 100;

/// A conversion with its last click, as it is stored.
struct Listed {
    event_id: Uuid,
    attribution_id: Uuid,
    topic: String,
    conversion_id: String,
    event_name: Option<String>,
    event_time: DateTime<Utc>,
    received_at: DateTime<Utc>,
    value: Option<Decimal>,
    currency: Option<String>,
    reason: String,
    matched_late_at: Option<DateTime<Utc>>,
    via: String,
    position: Option<i16>,
    clicked_at: Option<DateTime<Utc>>,
    direct: Option<bool>,
    source: Option<String>,
    medium: Option<String>,
    campaign: Option<String>,
    click_id: Option<String>,
}

impl From<Listed> for Conversion {
    fn from(row: Listed) -> Self {
        let last_click = match (row.position, row.clicked_at, row.direct) {
            (Some(touches), Some(clicked_at), Some(direct)) => Some(LastClick {
                channel: Channel::of_touch(direct, row.source.as_deref(), row.medium.as_deref())
                    .as_str()
                    .to_owned(),
                source: row.source,
                medium: row.medium,
                campaign: row.campaign,
                click_id: row.click_id,
                clicked_at,
                // Last click credits the last touch, whose position is therefore their number.
                touches,
            }),
            _ => None,
        };
        Self {
            event_id: row.event_id,
            attribution_id: row.attribution_id,
            topic: row.topic,
            conversion_id: row.conversion_id,
            event_name: row.event_name,
            event_time: row.event_time,
            received_at: row.received_at,
            value: row.value,
            currency: row.currency,
            reason: row.reason,
            matched_late_at: row.matched_late_at,
            via: row.via,
            last_click,
        }
    }
}

/// The conversions that pass the filter, of the newest `look_through` in a range of ids.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    ids: Range<Uuid>,
    look_through: i64,
    most: usize,
) -> Result<Vec<Conversion>, sqlx::Error> {
    let reasons: Option<Vec<&str>> = filter.outcome.map(|outcome| outcome.reasons().to_vec());
    let rows = sqlx::query_as!(
        Listed,
        r#"select c.event_id, c.attribution_id, c.topic, c.conversion_id, c.event_name, c.event_time, c.received_at, c.value, c.currency,
               c.match_reason as reason, c.matched_late_at, c.source as via,
               l.position as "position?", l.clicked_at as "clicked_at?", l.direct as "direct?", l.source, l.medium, l.campaign, l.click_id
           from (
               select event_id, attribution_id, topic, conversion_id, event_name, event_time, received_at, value, currency, match_reason,
                   matched_late_at, source
               from conversions where property_id = $1 and event_id >= $2 and event_id < $3
               order by event_id desc limit $4
           ) c
           left join lateral (
               select k.* from credits k
               where k.property_id = $1 and k.event_id = c.event_id and k.last_click = $5
               order by k.version desc limit 1
           ) l on c.match_reason = 'matched'
           where ($6::uuid is null or c.attribution_id = $6) and ($7::text is null or c.topic = $7)
             and ($8::text[] is null or c.match_reason = any($8))
             and ($14 or c.topic <> 'refund') and ($15::text is null or coalesce(c.currency, '') = $15)
             and ($16::timestamptz is null or c.event_time >= $16) and ($17::timestamptz is null or c.event_time < $17)
             and (coalesce($9::text, $10::text, $11::text) is null or exists (
                 select from credits k
                 where k.property_id = $1 and k.event_id = c.event_id and k.version = l.version
                   and (array[k.last_click, k.first_click, k.linear, k.time_decay, k.position_based])[$13] > 0
                   and ($9 is null or coalesce(k.source, '') = $9) and ($10 is null or coalesce(k.medium, '') = $10)
                   and ($11 is null or coalesce(k.campaign, '') = $11)))
           order by c.event_id desc limit $12"#,
        filter.property_id,
        ids.start,
        ids.end,
        look_through,
        UNITS,
        filter.attribution_id,
        filter.topic.map(Topic::as_str),
        reasons as Option<Vec<&str>>,
        filter.source.as_deref(),
        filter.medium.as_deref(),
        filter.campaign.as_deref(),
        most as i64,
        filter.model.index() as i32 + 1,
        filter.refunds,
        filter.currency.as_deref(),
        filter.happened_from,
        filter.happened_until,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Conversion::from).collect())
}

/// The conversion at which a look through `look_through` of them stops, and when it came in; none where there are not more.
pub async fn end_of_look(
    conn: &mut PgConnection,
    property_id: Uuid,
    ids: Range<Uuid>,
    look_through: i64,
) -> Result<Option<(Uuid, DateTime<Utc>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select event_id, received_at from conversions where property_id = $1 and event_id >= $2 and event_id < $3
         order by event_id desc offset $4 limit 1",
        property_id,
        ids.start,
        ids.end,
        look_through - 1,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.event_id, row.received_at)))
}

/// A conversion, by our id of it.
pub async fn one(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_id: Uuid,
) -> Result<Option<Conversion>, sqlx::Error> {
    let row = sqlx::query_as!(
        Listed,
        r#"select c.event_id, c.attribution_id, c.topic, c.conversion_id, c.event_name, c.event_time, c.received_at, c.value, c.currency,
               c.match_reason as reason, c.matched_late_at, c.source as via,
               l.position as "position?", l.clicked_at as "clicked_at?", l.direct as "direct?", l.source, l.medium, l.campaign, l.click_id
           from conversions c
           left join lateral (
               select k.* from credits k
               where k.property_id = $1 and k.event_id = $2 and k.last_click = $3
               order by k.version desc limit 1
           ) l on true
           where c.property_id = $1 and c.event_id = $2"#,
        property_id,
        event_id,
        UNITS,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Conversion::from))
}

/// The conversions of an id, the sender's or ours: one look-up for each stream and topic.
pub async fn by_id(
    conn: &mut PgConnection,
    filter: &Filter,
    id: &str,
) -> Result<Vec<Conversion>, sqlx::Error> {
    let topics: Vec<&str> = match filter.topic {
        Some(topic) => vec![topic.as_str()],
        None => Topic::ALL.map(Topic::as_str).to_vec(),
    };
    let rows = sqlx::query_as!(
        Listed,
        r#"with wanted as (
               select c.event_id
               from (select attribution_id from streams where property_id = $1 and ($2::uuid is null or attribution_id = $2)
                     order by created_at limit $8) s
               cross join unnest($3::text[]) as t(topic)
               join conversions c on c.property_id = $1 and c.attribution_id = s.attribution_id and c.topic = t.topic and c.conversion_id = $4
               union
               select c.event_id from conversions c
               where c.property_id = $1 and c.event_id = $5 and ($2::uuid is null or c.attribution_id = $2) and c.topic = any($3)
           )
           select c.event_id, c.attribution_id, c.topic, c.conversion_id, c.event_name, c.event_time, c.received_at, c.value, c.currency,
               c.match_reason as reason, c.matched_late_at, c.source as via,
               l.position as "position?", l.clicked_at as "clicked_at?", l.direct as "direct?", l.source, l.medium, l.campaign, l.click_id
           from wanted
           join conversions c on c.property_id = $1 and c.event_id = wanted.event_id
           left join lateral (
               select k.* from credits k
               where k.property_id = $1 and k.event_id = c.event_id and k.last_click = $6
               order by k.version desc limit 1
           ) l on true
           order by c.event_id desc limit $7"#,
        filter.property_id,
        filter.attribution_id,
        &topics as &[&str],
        id,
        Uuid::try_parse(id).ok(),
        UNITS,
        MOST_OF_ID,
        MOST_STREAMS,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Conversion::from).collect())
}
