//! Dead deliveries, taken up again.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::listing::Replay;
use super::store;

/// Deliveries queued again in one statement.
const AT_ONCE: i64 = 5000;

/// Queues dead deliveries of a destination again, as if they were new; how many. What dies while this goes on is left to the next replay.
pub async fn replay(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    which: &Replay,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    let count = store::count_dead(conn, property_id, destination_id, which).await?;
    let mut left = count;
    while left > 0 {
        let revived = store::revive(conn, property_id, destination_id, which, now, left.min(AT_ONCE)).await?;
        if revived == 0 {
            break;
        }
        left -= i64::try_from(revived).unwrap_or(left);
    }
    Ok(count - left)
}
