//! `settings_log`.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Entry;

/// Adds an entry, in the transaction of what it tells of.
pub async fn insert(conn: &mut PgConnection, entry: &Entry) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into settings_log (property_id, entry_id, at, actor_kind, actor, action, object_kind, object_id, object_name, change)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        entry.property_id,
        entry.entry_id,
        entry.at,
        entry.actor_kind,
        entry.actor,
        entry.action,
        entry.object_kind,
        entry.object_id,
        entry.object_name,
        entry.change,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest entries of a property before one of them, if one is named; newest first.
pub async fn list(
    conn: &mut PgConnection,
    property_id: Uuid,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as!(
        Entry,
        "select property_id, entry_id, at, actor_kind, actor, action, object_kind, object_id, object_name, change
         from settings_log where property_id = $1 and entry_id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         order by entry_id desc limit $3",
        property_id,
        before,
        most,
    )
    .fetch_all(conn)
    .await
}
