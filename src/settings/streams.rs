//! Attribution IDs.

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::audit::{Actor, Object, from_to, note};
use crate::platform::clock::Clock;
use crate::streams::{Stream, store};

/// What is to be changed; none: it stays.
#[derive(Debug, Clone, Default)]
pub struct StreamChange {
    /// What people call it.
    pub name: Option<String>,
    /// Whether the webhook takes requests.
    pub webhooks_enabled: Option<bool>,
    /// Days from a click within which a conversion is credited to it, 1 to 90; for conversions from now on.
    pub lookback_days: Option<i16>,
}

/// Makes an attribution ID.
pub async fn create_stream(
    conn: &mut PgConnection,
    actor: &Actor,
    stream: &Stream,
    clock: &Clock,
) -> Result<(), sqlx::Error> {
    let mut transaction = conn.begin().await?;
    store::insert_stream(&mut transaction, stream).await?;
    note(&mut transaction, actor, &object(stream), "created", None, clock).await?;
    transaction.commit().await
}

/// Changes an attribution ID; none when there is no such one. What is as it was leaves no entry.
pub async fn change_stream(
    conn: &mut PgConnection,
    actor: &Actor,
    attribution_id: Uuid,
    change: StreamChange,
    clock: &Clock,
) -> Result<Option<Stream>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let Some(before) = store::lock_stream(&mut transaction, attribution_id).await? else {
        return Ok(None);
    };
    let after = Stream {
        name: change.name.unwrap_or_else(|| before.name.clone()),
        webhooks_enabled: change.webhooks_enabled.unwrap_or(before.webhooks_enabled),
        lookback_days: change.lookback_days.unwrap_or(before.lookback_days),
        ..before.clone()
    };
    store::update_stream(&mut transaction, &after).await?;
    if after.name != before.name {
        let change = from_to(before.name, after.name.clone());
        note(&mut transaction, actor, &object(&after), "renamed", change, clock).await?;
    }
    if after.webhooks_enabled != before.webhooks_enabled {
        let verb = match after.webhooks_enabled {
            true => "webhooks_enabled",
            false => "webhooks_disabled",
        };
        note(&mut transaction, actor, &object(&after), verb, None, clock).await?;
    }
    if after.lookback_days != before.lookback_days {
        let change = from_to(before.lookback_days, after.lookback_days);
        note(
            &mut transaction,
            actor,
            &object(&after),
            "lookback_changed",
            change,
            clock,
        )
        .await?;
    }
    transaction.commit().await?;
    Ok(Some(after))
}

fn object(stream: &Stream) -> Object<'_> {
    Object {
        property_id: stream.property_id,
        kind: "attribution_id",
        id: stream.attribution_id,
        name: &stream.name,
    }
}
