//! `outbox`.

use sqlx::PgConnection;

use super::{Outgoing, array_text};

/// Stores conversions that are to be fanned out; one that is there already is planned anew as well, where it got its match late.
pub async fn insert(conn: &mut PgConnection, outgoing: &[Outgoing]) -> Result<(), sqlx::Error> {
    if outgoing.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into outbox (property_id, event_id, destination_ids, again, created_at)
         select property_id, event_id, destination_ids::uuid[], again, created_at
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::boolean[], $5::timestamptz[])
           as t(property_id, event_id, destination_ids, again, created_at)
         on conflict (property_id, event_id) do update set again = outbox.again or excluded.again",
        &outgoing.iter().map(|out| out.property_id).collect::<Vec<_>>(),
        &outgoing.iter().map(|out| out.event_id).collect::<Vec<_>>(),
        &outgoing
            .iter()
            .map(|out| array_text(&out.destination_ids))
            .collect::<Vec<_>>(),
        &outgoing.iter().map(|out| out.again).collect::<Vec<_>>(),
        &outgoing.iter().map(|out| out.created_at).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes at most `most` out; they are gone when the transaction commits. Those that another instance holds are left to it. One look-up for
/// each property, in an index that begins with it; properties come in any order, so that a busy one does not always go first.
pub async fn take(conn: &mut PgConnection, most: i64) -> Result<Vec<Outgoing>, sqlx::Error> {
    sqlx::query_as!(
        Outgoing,
        r#"with taken as (
               select o.property_id, o.event_id
               from (
                   select p.property_id from properties p
                   cross join lateral (select from outbox o where o.property_id = p.property_id limit 1) busy
                   order by random()
               ) p
               cross join lateral (
                   select property_id, event_id from outbox o where o.property_id = p.property_id
                   order by event_id limit $1 for update skip locked
               ) o
               limit $1
           )
           delete from outbox o using taken t where o.property_id = t.property_id and o.event_id = t.event_id
           returning o.property_id, o.event_id, o.destination_ids, o.again, o.created_at"#,
        most,
    )
    .fetch_all(conn)
    .await
}

/// How many wait; where there are more than 100,000, that many.
pub async fn depth(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from (
               select from properties p
               cross join lateral (select from outbox o where o.property_id = p.property_id limit 100000) o
               limit 100000
           ) waiting"#
    )
    .fetch_one(conn)
    .await
}
