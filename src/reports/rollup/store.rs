//! `report_days`, `report_hours`, `report_refunds`, `credit_changes`; conversions and credits are only read.

use std::collections::HashMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::place::Place;
use super::sums::{DayKey, DaySums, Deltas, Fact, HourSums, RefundPlace, Share, Versions};

/// Rows of changes that are read at a time, at most: each is a commit.
const MOST_CHANGES: i64 = 1000;
/// Conversions in a change, where all are told of anew.
const REBUILT_AT_ONCE: i64 = 1000;

/// Properties with changes, in order, from the one after `after`. One look into the index for each.
pub async fn with_changes(conn: &mut PgConnection, after: Uuid, most: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "with recursive next as (
             (select property_id, 1 as number from credit_changes where property_id > $1 order by property_id limit 1)
             union all
             select c.property_id, next.number + 1 from next
             cross join lateral (
                 select property_id from credit_changes x where x.property_id > next.property_id order by x.property_id limit 1
             ) c
             where next.number < $2
         )
         select property_id from next",
        after,
        most as i32,
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Makes this transaction the only one that works into the property's sums. Whether it is.
pub async fn lock(conn: &mut PgConnection, property_id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended('report_days ' || $1::uuid::text, 0)) as "locked!""#,
        property_id,
    )
    .fetch_one(conn)
    .await
}

/// As [`lock`], and waits for its turn.
async fn wait_for_lock(conn: &mut PgConnection, property_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('report_days ' || $1::uuid::text, 0))",
        property_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A row of `credit_changes`.
pub struct Change {
    /// Its place in the order.
    pub change_id: i64,
    event_ids: Vec<Uuid>,
    versions: Option<Vec<i16>>,
}

impl Change {
    /// The conversions, each with the version that it got.
    pub fn versions(&self) -> impl Iterator<Item = (Uuid, i16)> + '_ {
        let version = |place: usize| {
            self.versions
                .as_ref()
                .and_then(|all| all.get(place).copied())
                .unwrap_or(1)
        };
        self.event_ids
            .iter()
            .enumerate()
            .map(move |(place, id)| (*id, version(place)))
    }
}

/// The oldest changes, up to about `most` conversions, and whether there are more.
pub async fn changes(
    conn: &mut PgConnection,
    property_id: Uuid,
    most: usize,
) -> Result<(Vec<Change>, bool), sqlx::Error> {
    let mut found = sqlx::query_as!(
        Change,
        "select change_id, event_ids, versions from credit_changes where property_id = $1 order by change_id limit $2",
        property_id,
        MOST_CHANGES,
    )
    .fetch_all(conn)
    .await?;
    let mut events = 0;
    let mut taken = 0;
    while taken < found.len() && events < most {
        events += found[taken].event_ids.len();
        taken += 1;
    }
    let more = taken < found.len() || found.len() as i64 == MOST_CHANGES;
    found.truncate(taken);
    Ok((found, more))
}

/// These conversions.
pub async fn facts(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
) -> Result<Vec<Fact>, sqlx::Error> {
    sqlx::query_as!(
        Fact,
        "select event_id, attribution_id, topic, conversion_id, purchase_id, event_time, value, currency
         from conversions where property_id = $1 and event_id = any($2)",
        property_id,
        event_ids,
    )
    .fetch_all(conn)
    .await
}

/// The refunds of the purchases among these conversions.
pub async fn refunds_of(
    conn: &mut PgConnection,
    property_id: Uuid,
    facts: &[Fact],
) -> Result<Vec<Fact>, sqlx::Error> {
    let purchases = || facts.iter().filter(|fact| fact.topic == "purchase");
    sqlx::query_as!(
        Fact,
        "select c.event_id, c.attribution_id, c.topic, c.conversion_id, c.purchase_id, c.event_time, c.value, c.currency
         from unnest($2::uuid[], $3::text[]) as w(attribution_id, purchase_id)
         join conversions c on c.property_id = $1 and c.attribution_id = w.attribution_id and c.purchase_id = w.purchase_id
           and c.topic = 'refund'",
        property_id,
        &purchases().map(|fact| fact.attribution_id).collect::<Vec<_>>(),
        &purchases().map(|fact| fact.conversion_id.as_str()).collect::<Vec<_>>() as &[&str],
    )
    .fetch_all(conn)
    .await
}

/// The purchases of these refunds, by stream and the sender's id.
pub async fn purchases_of(
    conn: &mut PgConnection,
    property_id: Uuid,
    refunds: &[Fact],
) -> Result<HashMap<(Uuid, String), Uuid>, sqlx::Error> {
    let named = || {
        refunds
            .iter()
            .filter_map(|refund| Some((refund, refund.purchase_id.as_deref()?)))
    };
    let found = sqlx::query!(
        "select c.attribution_id, c.conversion_id, c.event_id
         from unnest($2::uuid[], $3::text[]) as w(attribution_id, conversion_id)
         join conversions c on c.property_id = $1 and c.attribution_id = w.attribution_id and c.topic = 'purchase'
           and c.conversion_id = w.conversion_id",
        property_id,
        &named().map(|(refund, _)| refund.attribution_id).collect::<Vec<_>>(),
        &named().map(|(_, purchase_id)| purchase_id).collect::<Vec<_>>() as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| ((row.attribution_id, row.conversion_id), row.event_id))
        .collect())
}

/// Where these refunds are summed.
pub async fn refund_places(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
) -> Result<HashMap<Uuid, RefundPlace>, sqlx::Error> {
    let found = sqlx::query!(
        "select event_id, purchase_event_id, version from report_refunds where property_id = $1 and event_id = any($2)",
        property_id,
        event_ids,
    )
    .fetch_all(conn)
    .await?;
    let place = |purchase, version| RefundPlace { purchase, version };
    Ok(found
        .into_iter()
        .map(|row| (row.event_id, place(row.purchase_event_id, row.version)))
        .collect())
}

/// All versions of the credit of these conversions.
pub async fn credits(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
) -> Result<HashMap<Uuid, Versions>, sqlx::Error> {
    let found = sqlx::query!(
        "select k.event_id, k.version, k.direct, k.source, k.medium, k.campaign,
             k.last_click, k.first_click, k.linear, k.time_decay, k.position_based
         from credits k where k.property_id = $1 and k.event_id = any($2)
         order by k.event_id, k.version, k.position",
        property_id,
        event_ids,
    )
    .fetch_all(conn)
    .await?;
    let mut credits: HashMap<Uuid, Versions> = HashMap::new();
    for row in found {
        let share = Share {
            place: Place::of(
                row.direct,
                row.source.as_deref(),
                row.medium.as_deref(),
                row.campaign.as_deref(),
            ),
            units: [
                row.last_click,
                row.first_click,
                row.linear,
                row.time_decay,
                row.position_based,
            ],
        };
        let versions = credits.entry(row.event_id).or_default();
        versions.entry(row.version).or_default().push(share);
    }
    Ok(credits)
}

/// A row of `report_days`; whole numbers beyond 64 bits go as text.
#[derive(Serialize)]
struct DayRow<'a> {
    day: chrono::NaiveDate,
    attribution_id: Uuid,
    group_id: Uuid,
    topic: &'a str,
    currency: Option<&'a str>,
    channel: Option<&'a str>,
    source: Option<&'a str>,
    medium: Option<&'a str>,
    campaign: Option<&'a str>,
    touched: [i64; 16],
    credit: [i64; 5],
    gross: [String; 5],
    refunds: [String; 5],
}

impl<'a> DayRow<'a> {
    fn new(key: &'a DayKey, sums: &DaySums) -> Self {
        let place = key.place.as_ref();
        Self {
            day: key.day,
            attribution_id: key.attribution_id,
            group_id: group_id(key),
            topic: &key.topic,
            currency: key.currency.as_deref(),
            channel: place.map(|place| place.channel),
            source: place.and_then(|place| place.source.as_deref()),
            medium: place.and_then(|place| place.medium.as_deref()),
            campaign: place.and_then(|place| place.campaign.as_deref()),
            touched: sums.touched,
            credit: sums.credit,
            gross: sums.gross.map(|sum| sum.to_string()),
            refunds: sums.refunds.map(|sum| sum.to_string()),
        }
    }
}

/// A digest of what the rows of a day and stream are told apart by.
fn group_id(key: &DayKey) -> Uuid {
    let place = key.place.as_ref();
    let columns = [
        Some(key.topic.as_str()),
        key.currency.as_deref(),
        place.map(|place| place.channel),
        place.and_then(|place| place.source.as_deref()),
        place.and_then(|place| place.medium.as_deref()),
        place.and_then(|place| place.campaign.as_deref()),
    ];
    let mut digest = Sha256::new();
    for column in columns {
        // The length goes in too: no two rows of texts read the same.
        match column {
            None => digest.update([0]),
            Some(text) => {
                digest.update([1]);
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text);
            }
        }
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Adds to the sums of days.
pub async fn add_days(
    conn: &mut PgConnection,
    property_id: Uuid,
    deltas: &Deltas,
) -> Result<(), sqlx::Error> {
    let rows: Vec<DayRow<'_>> = deltas
        .days
        .iter()
        .filter(|(_, sums)| **sums != DaySums::default())
        .map(|(key, sums)| DayRow::new(key, sums))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into report_days as r (property_id, day, attribution_id, group_id, topic, currency, channel, source, medium, campaign,
             touched, credit, gross, refunds)
         select $1, x.day, x.attribution_id, x.group_id, x.topic, x.currency, x.channel, x.source, x.medium, x.campaign,
             x.touched, x.credit, x.gross, x.refunds
         from jsonb_to_recordset($2) as x(day date, attribution_id uuid, group_id uuid, topic text, currency text, channel text, source text,
             medium text, campaign text, touched bigint[], credit bigint[], gross numeric[], refunds numeric[])
         on conflict (property_id, day, attribution_id, group_id) do update set
             touched = array[r.touched[1] + excluded.touched[1], r.touched[2] + excluded.touched[2], r.touched[3] + excluded.touched[3],
                 r.touched[4] + excluded.touched[4], r.touched[5] + excluded.touched[5], r.touched[6] + excluded.touched[6],
                 r.touched[7] + excluded.touched[7], r.touched[8] + excluded.touched[8], r.touched[9] + excluded.touched[9],
                 r.touched[10] + excluded.touched[10], r.touched[11] + excluded.touched[11], r.touched[12] + excluded.touched[12],
                 r.touched[13] + excluded.touched[13], r.touched[14] + excluded.touched[14], r.touched[15] + excluded.touched[15],
                 r.touched[16] + excluded.touched[16]],
             credit = array[r.credit[1] + excluded.credit[1], r.credit[2] + excluded.credit[2], r.credit[3] + excluded.credit[3],
                 r.credit[4] + excluded.credit[4], r.credit[5] + excluded.credit[5]],
             gross = array[r.gross[1] + excluded.gross[1], r.gross[2] + excluded.gross[2], r.gross[3] + excluded.gross[3],
                 r.gross[4] + excluded.gross[4], r.gross[5] + excluded.gross[5]],
             refunds = array[r.refunds[1] + excluded.refunds[1], r.refunds[2] + excluded.refunds[2], r.refunds[3] + excluded.refunds[3],
                 r.refunds[4] + excluded.refunds[4], r.refunds[5] + excluded.refunds[5]]",
        property_id,
        Json(rows) as Json<Vec<DayRow<'_>>>,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds to the sums of hours.
pub async fn add_hours(
    conn: &mut PgConnection,
    property_id: Uuid,
    deltas: &Deltas,
) -> Result<(), sqlx::Error> {
    let rows = || {
        deltas
            .hours
            .iter()
            .filter(|(_, sums)| **sums != HourSums::default())
    };
    sqlx::query!(
        "insert into report_hours as r (property_id, hour, attribution_id, topic, currency, conversions, matched, gross, refunds)
         select $1, x.hour, x.attribution_id, x.topic, x.currency, x.conversions, x.matched, x.gross::numeric, x.refunds::numeric
         from unnest($2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[])
             as x(hour, attribution_id, topic, currency, conversions, matched, gross, refunds)
         on conflict (property_id, hour, attribution_id, topic, currency) do update set
             conversions = r.conversions + excluded.conversions, matched = r.matched + excluded.matched,
             gross = r.gross + excluded.gross, refunds = r.refunds + excluded.refunds",
        property_id,
        &rows().map(|(key, _)| key.hour).collect::<Vec<_>>(),
        &rows().map(|(key, _)| key.attribution_id).collect::<Vec<_>>(),
        &rows().map(|(key, _)| key.topic.as_str()).collect::<Vec<_>>() as &[&str],
        &rows().map(|(key, _)| key.currency.as_str()).collect::<Vec<_>>() as &[&str],
        &rows().map(|(_, sums)| sums.conversions).collect::<Vec<_>>(),
        &rows().map(|(_, sums)| sums.matched).collect::<Vec<_>>(),
        &rows().map(|(_, sums)| sums.gross.to_string()).collect::<Vec<_>>(),
        &rows().map(|(_, sums)| sums.refunds.to_string()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes where refunds are summed.
pub async fn place_refunds(
    conn: &mut PgConnection,
    property_id: Uuid,
    deltas: &Deltas,
) -> Result<(), sqlx::Error> {
    if deltas.refunds.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into report_refunds (property_id, event_id, purchase_event_id, version)
         select $1, x.event_id, x.purchase_event_id, x.version
         from unnest($2::uuid[], $3::uuid[], $4::smallint[]) as x(event_id, purchase_event_id, version)
         on conflict (property_id, event_id) do update set purchase_event_id = excluded.purchase_event_id, version = excluded.version",
        property_id,
        &deltas.refunds.keys().copied().collect::<Vec<_>>(),
        &deltas.refunds.values().map(|place| place.purchase).collect::<Vec<_>>() as &[Option<Uuid>],
        &deltas.refunds.values().map(|place| place.version).collect::<Vec<_>>() as &[Option<i16>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes changes that are in the sums now.
pub async fn delete_changes(
    conn: &mut PgConnection,
    property_id: Uuid,
    change_ids: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from credit_changes where property_id = $1 and change_id = any($2)",
        property_id,
        change_ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Throws a property's sums away, and tells of all its conversions anew, in the transaction of the caller. What is committed meanwhile tells of
/// itself.
pub async fn rebuild(conn: &mut PgConnection, property_id: Uuid) -> Result<(), sqlx::Error> {
    wait_for_lock(conn, property_id).await?;
    // One statement, one snapshot: each conversion is told of once, by its own change or by one that is made here.
    sqlx::query!(
        "with days as (delete from report_days where property_id = $1),
              hours as (delete from report_hours where property_id = $1),
              refunds as (delete from report_refunds where property_id = $1),
              changes as (delete from credit_changes where property_id = $1),
              all_versions as (
                  select event_id, 1::smallint as version from conversions where property_id = $1
                  union all
                  select event_id, version from credits where property_id = $1 and version > 1 and position = 1
              ),
              numbered as (
                  select event_id, version, (row_number() over (order by version, event_id) - 1) / $2 as part from all_versions
              ),
              parts as (
                  select part, array_agg(event_id order by version, event_id) as event_ids,
                      array_agg(version order by version, event_id) as versions
                  from numbered group by part order by part
              )
         insert into credit_changes (property_id, event_ids, versions) select $1, event_ids, versions from parts order by part",
        property_id,
        REBUILT_AT_ONCE,
    )
    .execute(conn)
    .await?;
    Ok(())
}
