//! Deliveries that ended badly, taken up again.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

use super::listing::Replay;
use super::plan::A_WEEK;
use super::platforms::Name;
use super::store;
use crate::audit::{Actor, Object, note};
use crate::destinations::Destination;
use crate::platform::clock::Clock;

/// Deliveries queued again in one statement.
const AT_ONCE: i64 = 5000;

/// How many deliveries of a destination a replay would queue again. What the platform would find too old is left out.
pub async fn count_replay(
    conn: &mut PgConnection,
    destination: &Destination,
    which: &Replay,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    let (property_id, destination_id) = (destination.property_id, destination.destination_id);
    let anew = deliver_by(destination, now);
    store::count_replay(conn, property_id, destination_id, which, anew, now).await
}

/// Queues deliveries of a destination again, as if they were new; how many. What ends while this goes on is left to the next replay. The
/// settings log tells of it before it begins: nothing is sent again without an entry, also where this breaks off.
pub async fn replay(
    conn: &mut PgConnection,
    actor: &Actor,
    destination: &Destination,
    which: &Replay,
    clock: &Clock,
) -> Result<i64, sqlx::Error> {
    let (property_id, destination_id, now) =
        (destination.property_id, destination.destination_id, clock.now());
    let count = count_replay(conn, destination, which, now).await?;
    if count == 0 {
        return Ok(0);
    }
    let object = Object {
        property_id,
        kind: "destination",
        id: destination_id,
        name: &destination.name,
    };
    let change = json!({ "deliveries": count, "state": which.state, "code": which.code, "since": which.since, "until": which.until });
    note(conn, actor, &object, "replayed", Some(change), clock).await?;
    let anew = deliver_by(destination, now);
    let mut left = count;
    while left > 0 {
        let most = left.min(AT_ONCE);
        let revived = store::revive(conn, property_id, destination_id, which, anew, now, most).await?;
        if revived == 0 {
            break;
        }
        left -= i64::try_from(revived).unwrap_or(left);
    }
    Ok(count - left)
}

/// Until when what is queued again may be sent, where that is ours to say; a platform's maximum age stays what it is.
fn deliver_by(destination: &Destination, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let name = destination.platform.parse::<Name>().ok()?;
    name.spec().limits.max_age.is_none().then(|| now + A_WEEK)
}
