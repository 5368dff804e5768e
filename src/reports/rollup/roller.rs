//! Works changes into the sums.

use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use super::gather::unsummed;
use super::{changes, store};
use crate::platform::pace::Pace;

/// Conversions in one transaction, about.
pub const BATCH: usize = 2000;
/// Properties that are asked for at a time.
const PAGE: i64 = 200;

/// What a turn came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rolled {
    /// Conversions worked in.
    pub events: usize,
    /// Whether more wait.
    pub more: bool,
}

/// Works the oldest changes of a property, about `most` conversions, into its sums, and deletes them, in one transaction. Where another instance is at it, it is left to
/// that one.
pub async fn roll(conn: &mut PgConnection, property_id: Uuid, most: usize) -> Result<Rolled, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    if !store::lock(&mut transaction, property_id).await? {
        return Ok(Rolled::default());
    }
    let found = unsummed(&mut transaction, property_id, most).await?;
    if found.change_ids.is_empty() {
        return Ok(Rolled::default());
    }
    store::add_days(&mut transaction, property_id, &found.deltas).await?;
    store::add_hours(&mut transaction, property_id, &found.deltas).await?;
    store::place_refunds(&mut transaction, property_id, &found.deltas).await?;
    changes::delete_changes(&mut transaction, property_id, &found.change_ids).await?;
    transaction.commit().await?;
    Ok(Rolled {
        events: found.events,
        more: found.more,
    })
}

/// Works all changes of all properties into their sums, a transaction from each in turn, so that none waits for a busy one; past those where it
/// fails. The conversions worked in, or the last failure.
pub async fn roll_all(pool: &PgPool, pace: &Pace) -> Result<u64, sqlx::Error> {
    let (mut events, mut failed) = (0, None);
    let mut after = Uuid::nil();
    let mut more = false;
    loop {
        let properties = changes::with_changes(&mut *pool.acquire().await?, after, PAGE).await?;
        let Some(last) = properties.last() else {
            // The others had their turn: those with more have another.
            if more && failed.is_none() {
                (after, more) = (Uuid::nil(), false);
                continue;
            }
            return failed.map_or(Ok(events), Err);
        };
        after = *last;
        for property_id in properties {
            let turn = pace.turn().await;
            match roll(&mut *pool.acquire().await?, property_id, turn.of(BATCH)).await {
                Ok(rolled) => {
                    events += rolled.events as u64;
                    more |= rolled.more;
                }
                Err(error) => failed = Some(error),
            }
        }
    }
}
