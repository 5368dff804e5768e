//! `deliveries` and the outbox, as far as they hold personal data or still need it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Those of the conversions that something is still to be sent of, or was after `cutoff`.
pub async fn still_needed(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
    cutoff: DateTime<Utc>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select w.event_id as "event_id!" from unnest($2::uuid[]) as w(event_id)
           where exists (select from outbox where property_id = $1 and event_id = w.event_id)
              or exists (select from deliveries where property_id = $1 and event_id = w.event_id
                           and (state = 'queued' or later is not null or settled_at >= $3))"#,
        property_id,
        event_ids,
        cutoff,
    )
    .fetch_all(conn)
    .await
}

/// Deletes what was sent, of up to `most` deliveries that were over before `cutoff`; how many there were. What became of them stays.
pub async fn delete_before(
    conn: &mut PgConnection,
    property_id: Uuid,
    cutoff: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update deliveries d set payload_sealed = null
         from (select event_id, destination_id from deliveries
               where property_id = $1 and settled_at < $2 and payload_sealed is not null and state <> 'queued' and later is null
               order by settled_at limit $3 for update skip locked) old
         where d.property_id = $1 and d.event_id = old.event_id and d.destination_id = old.destination_id",
        property_id,
        cutoff,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
