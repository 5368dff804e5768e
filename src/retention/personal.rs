//! The personal part of conversions, once nothing is to be sent of them any more.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{PART, Part, store};
use crate::platform::clock::id_at;
use crate::{conversions, forwarding};

/// When a conversion whose delivery was not over is looked at again.
const AGAIN_AFTER: TimeDelta = TimeDelta::days(1);

/// Goes through the next conversions from before `cutoff`, and those that were gone past earlier. Ids are in the order of time: each
/// conversion is read once, and needs no index of its own for this.
pub(super) async fn forget(
    conn: &mut PgConnection,
    property_id: Uuid,
    cutoff: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Part, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let progress = store::lock(&mut transaction, property_id).await?;
    let end = id_at(cutoff, &[0; 8]);
    let next =
        conversions::personal::store::next(&mut transaction, property_id, progress.personal, end, PART)
            .await?;
    let kept = store::kept(&mut transaction, property_id, now, PART).await?;
    let looked_at: Vec<Uuid> = next.iter().chain(&kept).copied().collect();

    let needed =
        forwarding::payloads::store::still_needed(&mut transaction, property_id, &looked_at, cutoff).await?;
    let is_needed: HashSet<&Uuid> = needed.iter().collect();
    let over: Vec<Uuid> = looked_at
        .iter()
        .filter(|event_id| !is_needed.contains(event_id))
        .copied()
        .collect();
    let rows = conversions::personal::store::delete(&mut transaction, property_id, &over).await?;
    store::keep_on(&mut transaction, property_id, &needed, now + AGAIN_AFTER).await?;
    store::keep_no_more(&mut transaction, property_id, &over).await?;
    if let Some(through) = next.last() {
        store::personal_through(&mut transaction, property_id, *through).await?;
    }
    transaction.commit().await?;
    let full = |looked_at: &[Uuid]| looked_at.len() as i64 >= PART;
    Ok(Part {
        rows,
        more: full(&next) || full(&kept),
    })
}
