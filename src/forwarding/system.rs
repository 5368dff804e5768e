//! What the service does to a destination by itself. The settings log tells of it as of what people do.

use sqlx::{Connection as _, PgConnection};

use crate::audit::{Actor, Object, note};
use crate::destinations::{Destination, store};
use crate::platform::clock::Clock;

/// Pauses a destination, with the reason; one that is paused or gone by now is left as it is.
pub async fn pause_by_itself(
    conn: &mut PgConnection,
    destination: &Destination,
    reason: &str,
    clock: &Clock,
) -> Result<(), sqlx::Error> {
    let (property_id, destination_id) = (destination.property_id, destination.destination_id);
    let mut transaction = conn.begin().await?;
    let found = store::lock(&mut transaction, property_id, destination_id).await?;
    // Whoever changed its settings meanwhile has mended, maybe, what the reason is about.
    let as_before = |now: &Destination| {
        now.paused_at.is_none()
            && now.settings_sealed == destination.settings_sealed
            && now.base_url == destination.base_url
    };
    let Some(found) = found.filter(as_before) else {
        return Ok(());
    };
    store::pause(&mut transaction, property_id, destination_id, clock.now(), reason).await?;
    let object = Object {
        property_id,
        kind: "destination",
        id: destination_id,
        name: &found.name,
    };
    let change = Some(serde_json::json!({ "reason": reason }));
    note(&mut transaction, &Actor::System, &object, "paused", change, clock).await?;
    transaction.commit().await
}
