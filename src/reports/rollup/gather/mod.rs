//! What is to be known of a property's changes.

mod store;

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::changes::{Change, changes};
use super::material::Material;
use super::sums::Deltas;

/// Changes that are in no sum yet.
#[derive(Debug, Default)]
pub struct Unsummed {
    /// Their ids.
    pub change_ids: Vec<i64>,
    /// What they come to.
    pub deltas: Deltas,
    /// Conversions in them.
    pub events: usize,
    /// Whether there are more.
    pub more: bool,
}

/// What a property's changes come to: the oldest ones, up to about `most` conversions.
pub async fn unsummed(
    conn: &mut PgConnection,
    property_id: Uuid,
    most: usize,
) -> Result<Unsummed, sqlx::Error> {
    let (changes, more) = changes(conn, property_id, most).await?;
    if changes.is_empty() {
        return Ok(Unsummed::default());
    }
    let mut material = Material {
        changes: changes.iter().flat_map(Change::versions).collect(),
        ..Material::default()
    };
    let ids: BTreeSet<Uuid> = material.changes.iter().map(|(event_id, _)| *event_id).collect();
    let facts = store::facts(conn, property_id, &ids).await?;
    material.refunds = store::refunds_of(conn, property_id, &facts).await?;
    for fact in facts {
        if fact.is_refund() {
            material.refunds.retain(|known| known.event_id != fact.event_id);
            material.refunds.push(fact.clone());
        }
        material.conversions.insert(fact.event_id, fact);
    }
    let mut credited: BTreeSet<Uuid> = material.conversions.keys().copied().collect();
    if !material.refunds.is_empty() {
        let refund_ids: BTreeSet<Uuid> = material.refunds.iter().map(|refund| refund.event_id).collect();
        material.places = store::refund_places(conn, property_id, &refund_ids).await?;
        material.purchases = store::purchases_of(conn, property_id, &material.refunds).await?;
        credited.extend(material.purchases.values());
        credited.extend(material.places.values().filter_map(|place| place.purchase));
    }
    material.credits = store::credits(conn, property_id, &credited).await?;
    Ok(Unsummed {
        change_ids: changes.iter().map(|change| change.change_id).collect(),
        events: material.changes.len(),
        deltas: Deltas::of(&material),
        more,
    })
}
