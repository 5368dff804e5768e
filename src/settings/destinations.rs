//! Destinations.

use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::audit::{Actor, Object, note};
use crate::destinations::{Destination, Edit, store};
use crate::platform::clock::Clock;

/// What is done to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationChange {
    /// Nothing is sent until it goes on.
    Pause,
    /// It goes on.
    Resume,
    /// It is taken away, with its credentials.
    Remove,
}

/// Makes a destination.
pub async fn create_destination(
    conn: &mut PgConnection,
    actor: &Actor,
    destination: &Destination,
    clock: &Clock,
) -> Result<(), sqlx::Error> {
    let mut transaction = conn.begin().await?;
    store::insert(&mut transaction, destination).await?;
    let change = json!({ "platform": destination.platform, "policy": destination.policy, "topics": destination.topics });
    note(
        &mut transaction,
        actor,
        &object(destination),
        "created",
        Some(change),
        clock,
    )
    .await?;
    transaction.commit().await
}

/// Pauses, resumes or removes a destination: as it is then, or was before it was removed. None when there is no such one. What is so already leaves no entry.
pub async fn change_destination(
    conn: &mut PgConnection,
    actor: &Actor,
    property_id: Uuid,
    destination_id: Uuid,
    change: DestinationChange,
    clock: &Clock,
) -> Result<Option<Destination>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let Some(before) = store::lock(&mut transaction, property_id, destination_id).await? else {
        return Ok(None);
    };
    let now = clock.now();
    let verb = match change {
        DestinationChange::Pause if before.paused_at.is_none() => {
            store::pause(
                &mut transaction,
                property_id,
                destination_id,
                now,
                "paused by hand",
            )
            .await?;
            "paused"
        }
        DestinationChange::Resume if before.paused_at.is_some() => {
            store::resume(&mut transaction, property_id, destination_id).await?;
            "resumed"
        }
        DestinationChange::Remove => {
            store::remove(&mut transaction, property_id, destination_id, now).await?;
            "removed"
        }
        DestinationChange::Pause | DestinationChange::Resume => return Ok(Some(before)),
    };
    note(&mut transaction, actor, &object(&before), verb, None, clock).await?;
    let after = store::lock(&mut transaction, property_id, destination_id).await?;
    transaction.commit().await?;
    Ok(Some(after.unwrap_or(before)))
}

/// Makes a destination otherwise: as it is then. None when there is no such one. The log names the fields, never what is in them; what is so
/// already leaves no entry.
pub async fn edit_destination(
    conn: &mut PgConnection,
    actor: &Actor,
    property_id: Uuid,
    destination_id: Uuid,
    edit: Edit,
    clock: &Clock,
) -> Result<Option<Destination>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let Some(before) = store::lock(&mut transaction, property_id, destination_id).await? else {
        return Ok(None);
    };
    let (after, fields) = before.edited(edit);
    if fields.is_empty() {
        return Ok(Some(before));
    }
    store::update(&mut transaction, &after).await?;
    let change = Some(json!({ "fields": fields }));
    note(&mut transaction, actor, &object(&after), "changed", change, clock).await?;
    transaction.commit().await?;
    Ok(Some(after))
}

fn object(destination: &Destination) -> Object<'_> {
    Object {
        property_id: destination.property_id,
        kind: "destination",
        id: destination.destination_id,
        name: &destination.name,
    }
}
