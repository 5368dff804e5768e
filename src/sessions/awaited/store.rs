//! `awaited_visitors`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Awaited, LOOKS_AFTER, WAITS};
use crate::domain::tenant::Tenant;

/// Stores that conversions wait.
pub async fn insert(conn: &mut PgConnection, waiting: &[Awaited]) -> Result<(), sqlx::Error> {
    if waiting.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into awaited_visitors (property_id, event_id, visitor_id, attribution_id, activity_id, look_at, waits_until)
         select property_id, event_id, visitor_id, attribution_id, activity_id, look_at, waits_until
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::timestamptz[])
           as t(property_id, event_id, visitor_id, attribution_id, activity_id, look_at, waits_until)",
        &waiting.iter().map(|a| a.tenant.property_id).collect::<Vec<_>>(),
        &waiting.iter().map(|a| a.event_id).collect::<Vec<_>>(),
        &waiting.iter().map(|a| a.visitor_id.as_str()).collect::<Vec<_>>() as &[&str],
        &waiting.iter().map(|a| a.tenant.attribution_id).collect::<Vec<_>>(),
        &waiting.iter().map(|a| a.activity_id).collect::<Vec<_>>() as &[Option<Uuid>],
        &waiting.iter().map(|a| a.waits_until - WAITS + LOOKS_AFTER).collect::<Vec<_>>(),
        &waiting.iter().map(|a| a.waits_until).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// These visitors have a new session or another id: who waits for one of their ids is due, whatever anybody's clock says.
pub async fn arrived(conn: &mut PgConnection, visitors: &[(Uuid, &str)]) -> Result<(), sqlx::Error> {
    if visitors.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update awaited_visitors a set look_at = to_timestamp(0)
         from unnest($1::uuid[], $2::text[]) as v(property_id, visitor_id)
         cross join lateral visitor_ids(v.property_id, v.visitor_id, '-infinity') as i
         where a.property_id = v.property_id and a.visitor_id = i.id",
        &visitors.iter().map(|(property, _)| *property).collect::<Vec<_>>(),
        &visitors.iter().map(|(_, visitor)| *visitor).collect::<Vec<_>>() as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// At most `most` of those that are due at `now`, held until the end of the transaction; those that another instance holds are left to it.
/// One look-up for each property, in an index that begins with it; properties come in any order, so that a busy one does not always go first.
pub async fn claim(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<Awaited>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select due.property_id as "property_id!", due.event_id as "event_id!", due.visitor_id as "visitor_id!",
               due.attribution_id as "attribution_id!", due.activity_id, due.waits_until as "waits_until!"
           from (
               select p.property_id from properties p
               cross join lateral (select from awaited_visitors a where a.property_id = p.property_id and a.look_at <= $1 limit 1) busy
               order by random()
           ) p
           cross join lateral (
               select property_id, event_id, visitor_id, attribution_id, activity_id, waits_until from awaited_visitors a
               where a.property_id = p.property_id and a.look_at <= $1
               order by a.look_at limit $2 for update skip locked
           ) due
           limit $2"#,
        now,
        most,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Awaited {
            tenant: Tenant {
                property_id: row.property_id,
                attribution_id: row.attribution_id,
            },
            event_id: row.event_id,
            visitor_id: row.visitor_id,
            activity_id: row.activity_id,
            waits_until: row.waits_until,
        })
        .collect())
}

/// They wait on, and are due once more when their time is over.
pub async fn wait_on(conn: &mut PgConnection, waiting: &[&Awaited]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update awaited_visitors a set look_at = a.waits_until
         from unnest($1::uuid[], $2::uuid[]) as t(property_id, event_id)
         where a.property_id = t.property_id and a.event_id = t.event_id",
        &waiting.iter().map(|a| a.tenant.property_id).collect::<Vec<_>>(),
        &waiting.iter().map(|a| a.event_id).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// They wait no more.
pub async fn delete(conn: &mut PgConnection, settled: &[&Awaited]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from awaited_visitors a using unnest($1::uuid[], $2::uuid[]) as t(property_id, event_id)
         where a.property_id = t.property_id and a.event_id = t.event_id",
        &settled.iter().map(|a| a.tenant.property_id).collect::<Vec<_>>(),
        &settled.iter().map(|a| a.event_id).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
