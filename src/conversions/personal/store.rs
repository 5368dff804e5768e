//! `conversions`, as far as their personal part is deleted.

use sqlx::PgConnection;
use uuid::Uuid;

/// The next `most` conversions after `through` and before `end`, in the order of their ids, which is that of time.
pub async fn next(
    conn: &mut PgConnection,
    property_id: Uuid,
    through: Uuid,
    end: Uuid,
    most: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select event_id from conversions where property_id = $1 and event_id > $2 and event_id < $3 order by event_id limit $4",
        property_id,
        through,
        end,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Deletes the personal part of these conversions: what is left says that there was one.
pub async fn delete(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        r"update conversions set personal_sealed = '\x'
          where property_id = $1 and event_id = any($2) and personal_sealed <> '\x'",
        property_id,
        event_ids,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
