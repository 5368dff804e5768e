//! `activity`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Entry, Logged};
use crate::domain::tenant::Tenant;
use crate::platform::clock::id_at;

/// Writes rows; a row that counts is added to the one that is there.
pub async fn insert(conn: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Entry) -> Option<&str>| entries.iter().map(of).collect::<Vec<Option<&str>>>();
    sqlx::query!(
        r#"insert into activity (property_id, attribution_id, activity_id, at, status, topic, http_status, code, detail, key_id, key_name,
               session_matched, duplicate, differs, dry_run, conversion_id, event_id, accepted, rejected, requests)
           select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::smallint[], $8::text[],
               $9::text[], $10::uuid[], $11::text[], $12::boolean[], $13::boolean[], $14::text[], $15::boolean[], $16::text[], $17::uuid[],
               $18::integer[], $19::integer[], $20::integer[])
           on conflict (property_id, attribution_id, activity_id) do update set requests = activity.requests + excluded.requests"#,
        &entries.iter().map(|e| e.property_id).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.attribution_id).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.activity_id).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.at).collect::<Vec<_>>(),
        &column(|e| Some(e.status.as_str())) as &[Option<&str>],
        &column(|e| Some(&e.topic)) as &[Option<&str>],
        &entries.iter().map(|e| i16::try_from(e.http_status).unwrap_or(0)).collect::<Vec<_>>(),
        &column(|e| e.code) as &[Option<&str>],
        &column(|e| e.detail.as_deref()) as &[Option<&str>],
        &entries.iter().map(|e| e.key.as_ref().map(|(id, _)| *id)).collect::<Vec<_>>() as &[Option<Uuid>],
        &column(|e| e.key.as_ref().map(|(_, name)| name.as_str())) as &[Option<&str>],
        &entries.iter().map(|e| e.session_matched).collect::<Vec<_>>() as &[Option<bool>],
        &entries.iter().map(|e| e.duplicate).collect::<Vec<_>>(),
        &column(|e| e.differs.as_deref()) as &[Option<&str>],
        &entries.iter().map(|e| e.dry_run).collect::<Vec<_>>(),
        &column(|e| e.conversion_id.as_deref()) as &[Option<&str>],
        &entries.iter().map(|e| e.event_id).collect::<Vec<_>>() as &[Option<Uuid>],
        &entries.iter().map(|e| e.accepted).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.rejected).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.requests).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Conversions of these requests, by stream and id of their rows, got their match after the answer.
pub async fn matched_late(
    conn: &mut PgConnection,
    requests: &[(Tenant, Uuid)],
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update activity a set session_matched = true, matched_late_at = $4
         from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as t(property_id, attribution_id, activity_id)
         where a.property_id = t.property_id and a.attribution_id = t.attribution_id and a.activity_id = t.activity_id",
        &requests.iter().map(|(tenant, _)| tenant.property_id).collect::<Vec<_>>(),
        &requests.iter().map(|(tenant, _)| tenant.attribution_id).collect::<Vec<_>>(),
        &requests.iter().map(|(_, activity_id)| *activity_id).collect::<Vec<_>>(),
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes up to `most` of a stream's rows from before `cutoff`; how many there were.
pub async fn delete_before(
    conn: &mut PgConnection,
    property_id: Uuid,
    attribution_id: Uuid,
    cutoff: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    // Ids begin with their time, so the primary key finds the old ones.
    let first_kept = id_at(cutoff, &[0; 8]);
    let done = sqlx::query!(
        "delete from activity where property_id = $1 and attribution_id = $2 and activity_id in (
             select activity_id from activity where property_id = $1 and attribution_id = $2 and activity_id < $3
             order by activity_id limit $4)",
        property_id,
        attribution_id,
        first_kept,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// The newest requests of an attribution ID before one of them, if one is named; newest first.
pub async fn list(
    conn: &mut PgConnection,
    tenant: Tenant,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<Logged>, sqlx::Error> {
    sqlx::query_as!(
        Logged,
        "select activity_id, at, status, topic, http_status, code, detail, key_name, session_matched, matched_late_at, duplicate, differs,
             dry_run, conversion_id, event_id, accepted, rejected, requests
         from activity where property_id = $1 and attribution_id = $2
           and activity_id < coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         order by activity_id desc limit $4",
        tenant.property_id,
        tenant.attribution_id,
        before,
        most,
    )
    .fetch_all(conn)
    .await
}

/// One request.
pub async fn find(
    conn: &mut PgConnection,
    tenant: Tenant,
    activity_id: Uuid,
) -> Result<Option<Logged>, sqlx::Error> {
    sqlx::query_as!(
        Logged,
        "select activity_id, at, status, topic, http_status, code, detail, key_name, session_matched, matched_late_at, duplicate, differs,
             dry_run, conversion_id, event_id, accepted, rejected, requests
         from activity where property_id = $1 and attribution_id = $2 and activity_id = $3",
        tenant.property_id,
        tenant.attribution_id,
        activity_id,
    )
    .fetch_optional(conn)
    .await
}
