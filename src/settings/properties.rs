//! Properties.

use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::audit::{Actor, Object, from_to, note};
use crate::platform::clock::Clock;
use crate::streams::{Property, store};

/// What is to be changed; none: it stays.
#[derive(Debug, Clone, Default)]
pub struct PropertyChange {
    /// What people call it.
    pub name: Option<String>,
    /// Whether consent that nobody told counts as granted.
    pub unknown_consent_granted: Option<bool>,
    /// Days that audit rows are kept.
    pub keep_activity_days: Option<i16>,
    /// Days that personal data is kept.
    pub keep_personal_days: Option<i16>,
    /// Days that sessions are kept after the lookback.
    pub keep_sessions_days: Option<i16>,
}

/// Makes a property.
pub async fn create_property(
    conn: &mut PgConnection,
    actor: &Actor,
    name: String,
    clock: &Clock,
) -> Result<Property, sqlx::Error> {
    let property = Property::new(name, clock);
    let mut transaction = conn.begin().await?;
    store::insert_property(&mut transaction, &property).await?;
    note(
        &mut transaction,
        actor,
        &object(&property),
        "created",
        None,
        clock,
    )
    .await?;
    transaction.commit().await?;
    Ok(property)
}

/// Changes a property; none when there is no such one. What is as it was leaves no entry.
pub async fn change_property(
    conn: &mut PgConnection,
    actor: &Actor,
    property_id: Uuid,
    change: PropertyChange,
    clock: &Clock,
) -> Result<Option<Property>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let Some(before) = store::lock_property(&mut transaction, property_id).await? else {
        return Ok(None);
    };
    let after = Property {
        name: change.name.unwrap_or_else(|| before.name.clone()),
        unknown_consent_granted: change
            .unknown_consent_granted
            .unwrap_or(before.unknown_consent_granted),
        keep_activity_days: change.keep_activity_days.unwrap_or(before.keep_activity_days),
        keep_personal_days: change.keep_personal_days.unwrap_or(before.keep_personal_days),
        keep_sessions_days: change.keep_sessions_days.unwrap_or(before.keep_sessions_days),
        ..before.clone()
    };
    store::update_property(&mut transaction, &after).await?;
    if after.name != before.name {
        let change = from_to(before.name.clone(), after.name.clone());
        note(&mut transaction, actor, &object(&after), "renamed", change, clock).await?;
    }
    if after.unknown_consent_granted != before.unknown_consent_granted {
        let verb = match after.unknown_consent_granted {
            true => "unknown_consent_granted",
            false => "unknown_consent_denied",
        };
        note(&mut transaction, actor, &object(&after), verb, None, clock).await?;
    }
    let kept = |of: &Property| json!({ "activity_days": of.keep_activity_days, "personal_days": of.keep_personal_days, "sessions_days": of.keep_sessions_days });
    if kept(&after) != kept(&before) {
        let change = from_to(kept(&before), kept(&after));
        note(
            &mut transaction,
            actor,
            &object(&after),
            "retention_set",
            change,
            clock,
        )
        .await?;
    }
    transaction.commit().await?;
    Ok(Some(after))
}

fn object(property: &Property) -> Object<'_> {
    Object {
        property_id: property.property_id,
        kind: "property",
        id: property.property_id,
        name: &property.name,
    }
}
