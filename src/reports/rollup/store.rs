//! `report_days`, `report_hours` and `report_refunds`.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::sums::{DayKey, DaySums, Deltas, HourSums};

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
pub async fn wait_for_lock(conn: &mut PgConnection, property_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('report_days ' || $1::uuid::text, 0))",
        property_id,
    )
    .execute(conn)
    .await?;
    Ok(())
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
