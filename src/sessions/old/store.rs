//! `sessions`, `merged_sessions` and `visitor_links`, as far as they are deleted.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Place, Stripped};

/// Takes the visitor's address, browser and cookies off the next `most` sessions after `through` that began before `end`.
pub async fn strip(
    conn: &mut PgConnection,
    property_id: Uuid,
    through: &Place,
    end: DateTime<Utc>,
    most: i64,
) -> Result<Stripped, sqlx::Error> {
    let next = sqlx::query_as!(
        Place,
        "select started_at, session_id from sessions
         where property_id = $1 and started_at >= $2 and (started_at, session_id) > ($2, $3) and started_at < $4
         order by started_at, session_id limit $5",
        property_id,
        through.started_at,
        through.session_id,
        end,
        most,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<&str> = next.iter().map(|place| place.session_id.as_str()).collect();
    let done = sqlx::query!(
        "update sessions set client_sealed = null, browser_ids = null
         where property_id = $1 and session_id = any($2) and (client_sealed is not null or browser_ids is not null)",
        property_id,
        &ids as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(Stripped {
        looked_at: next.len() as u64,
        stripped: done.rows_affected(),
        through: next.into_iter().next_back(),
    })
}

/// Deletes up to `most` sessions that were over before `cutoff`, and what leads to them from others that became part of them; how many there were.
pub async fn delete_before(
    conn: &mut PgConnection,
    property_id: Uuid,
    cutoff: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query_scalar!(
        r#"with gone as (
               delete from sessions s using (
                   select session_id from sessions where property_id = $1 and started_at < $2 and last_seen_at < $2
                   order by started_at limit $3 for update skip locked) old
               where s.property_id = $1 and s.session_id = old.session_id
               returning s.session_id
           ), led as (
               delete from merged_sessions m using gone where m.property_id = $1 and m.kept_id = gone.session_id
           )
           select count(*) as "deleted!" from gone"#,
        property_id,
        cutoff,
        most,
    )
    .fetch_one(conn)
    .await?;
    Ok(deleted.unsigned_abs())
}

/// Deletes up to `most` links from before `cutoff`; how many there were.
pub async fn delete_links_before(
    conn: &mut PgConnection,
    property_id: Uuid,
    cutoff: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "delete from visitor_links l using (
             select from_visitor from visitor_links where property_id = $1 and created_at < $2
             order by created_at limit $3 for update skip locked) old
         where l.property_id = $1 and l.from_visitor = old.from_visitor",
        property_id,
        cutoff,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
