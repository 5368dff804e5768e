//! `retention_progress` and `personal_kept`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::sessions::old::Place;

/// How far a property was gone through.
pub(super) struct Progress {
    /// Conversions up to this one.
    pub(super) personal: Uuid,
    /// Sessions up to this one.
    pub(super) clients: Place,
}

/// A property's progress, locked until the end of the transaction: another instance waits for it, and goes on from there.
pub(super) async fn lock(conn: &mut PgConnection, property_id: Uuid) -> Result<Progress, sqlx::Error> {
    begin(conn, &[property_id]).await?;
    let row = sqlx::query!(
        "select personal_through, clients_through_at, clients_through from retention_progress
         where property_id = $1 for update",
        property_id,
    )
    .fetch_one(conn)
    .await?;
    Ok(Progress {
        personal: row.personal_through,
        clients: Place {
            started_at: row.clients_through_at,
            session_id: row.clients_through,
        },
    })
}

/// Conversions up to this one were looked at.
pub(super) async fn personal_through(
    conn: &mut PgConnection,
    property_id: Uuid,
    through: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update retention_progress set personal_through = $2 where property_id = $1",
        property_id,
        through,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sessions up to this one were looked at.
pub(super) async fn clients_through(
    conn: &mut PgConnection,
    property_id: Uuid,
    through: &Place,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update retention_progress set clients_through_at = $2, clients_through = $3 where property_id = $1",
        property_id,
        through.started_at,
        through.session_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Goes back to the first of the sessions that were stored late, property by property: they are gone through once more. A sweep of such a
/// property waits until the end of the transaction, and one that runs is waited for.
pub(super) async fn clients_from(
    conn: &mut PgConnection,
    firsts: &BTreeMap<Uuid, DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    let properties: Vec<Uuid> = firsts.keys().copied().collect();
    begin(conn, &properties).await?;
    sqlx::query!(
        "update retention_progress r set clients_through_at = t.first, clients_through = ''
         from unnest($1::uuid[], $2::timestamptz[]) as t(property_id, first)
         where r.property_id = t.property_id and r.clients_through_at >= t.first",
        &properties,
        &firsts.values().copied().collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// From the very beginning, where nothing was gone through yet.
async fn begin(conn: &mut PgConnection, properties: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into retention_progress (property_id, personal_through, clients_through_at, clients_through)
         select property_id, '00000000-0000-0000-0000-000000000000', 'epoch', '' from unnest($1::uuid[]) as t(property_id)
         on conflict do nothing",
        properties,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `most` conversions that were gone past and are to be looked at again, those that are due for longest first.
pub(super) async fn kept(
    conn: &mut PgConnection,
    property_id: Uuid,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select event_id from personal_kept where property_id = $1 and look_at <= $2 order by look_at limit $3",
        property_id,
        now,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Looks at these again then.
pub(super) async fn keep_on(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
    look_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into personal_kept (property_id, event_id, look_at) select $1, event_id, $3 from unnest($2::uuid[]) as t(event_id)
         on conflict (property_id, event_id) do update set look_at = excluded.look_at",
        property_id,
        event_ids,
        look_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Has nothing to do with these any more.
pub(super) async fn keep_no_more(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from personal_kept where property_id = $1 and event_id = any($2)",
        property_id,
        event_ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}
