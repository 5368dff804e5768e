//! One entry of the settings' log.

use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Actor, Entry, store};
use crate::platform::clock::Clock;

/// What something was done to.
pub struct Object<'a> {
    /// The tenant, or the installation.
    pub property_id: Uuid,
    /// What it is, e.g. `webhook_key`.
    pub kind: &'static str,
    /// Its id.
    pub id: Uuid,
    /// What people call it.
    pub name: &'a str,
}

/// Writes that something was done to an object, in the transaction of what was done: the action is named as the object and the verb.
pub async fn note(
    conn: &mut PgConnection,
    actor: &Actor,
    object: &Object<'_>,
    verb: &str,
    change: Option<Value>,
    clock: &Clock,
) -> Result<(), sqlx::Error> {
    let entry = Entry {
        property_id: object.property_id,
        entry_id: clock.new_id(),
        at: clock.now(),
        actor_kind: actor.kind().to_owned(),
        actor: actor.name().to_owned(),
        action: format!("{}.{verb}", object.kind),
        object_kind: object.kind.to_owned(),
        object_id: object.id.to_string(),
        object_name: object.name.to_owned(),
        change,
    };
    store::insert(conn, &entry).await
}

/// A value that was replaced by another.
pub fn from_to(from: impl Into<Value>, to: impl Into<Value>) -> Option<Value> {
    Some(json!({ "from": from.into(), "to": to.into() }))
}
