//! Conversions and credits, and where refunds are summed; read only.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use super::super::material::{Fact, RefundPlace, Share, Versions};
use super::super::place::Place;

/// These conversions.
pub async fn facts(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &BTreeSet<Uuid>,
) -> Result<Vec<Fact>, sqlx::Error> {
    sqlx::query_as!(
        Fact,
        "select c.event_id, c.attribution_id, c.topic, c.conversion_id, c.purchase_id, c.event_time, c.value, c.currency
         from unnest($2::uuid[]) as w(event_id)
         cross join lateral (select * from conversions where property_id = $1 and event_id = w.event_id limit 1) c",
        property_id,
        &event_ids.iter().copied().collect::<Vec<_>>(),
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
         cross join lateral (
             select * from conversions
             where property_id = $1 and attribution_id = w.attribution_id and purchase_id = w.purchase_id and topic = 'refund'
             offset 0
         ) c",
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
         cross join lateral (
             select * from conversions
             where property_id = $1 and attribution_id = w.attribution_id and topic = 'purchase' and conversion_id = w.conversion_id
             limit 1
         ) c",
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
    event_ids: &BTreeSet<Uuid>,
) -> Result<HashMap<Uuid, RefundPlace>, sqlx::Error> {
    let found = sqlx::query!(
        "select r.event_id, r.purchase_event_id, r.version
         from unnest($2::uuid[]) as w(event_id)
         cross join lateral (select * from report_refunds where property_id = $1 and event_id = w.event_id limit 1) r",
        property_id,
        &event_ids.iter().copied().collect::<Vec<_>>(),
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
    event_ids: &BTreeSet<Uuid>,
) -> Result<HashMap<Uuid, Versions>, sqlx::Error> {
    let found = sqlx::query!(
        "select k.event_id, k.version, k.direct, k.source, k.medium, k.campaign,
             k.last_click, k.first_click, k.linear, k.time_decay, k.position_based
         from unnest($2::uuid[]) as w(event_id)
         cross join lateral (select * from credits where property_id = $1 and event_id = w.event_id offset 0) k
         order by k.event_id, k.version, k.position",
        property_id,
        &event_ids.iter().copied().collect::<Vec<_>>(),
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
