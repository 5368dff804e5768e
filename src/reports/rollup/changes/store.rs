//! `credit_changes`.

use sqlx::PgConnection;
use uuid::Uuid;

use super::super::store::wait_for_lock;

/// Rows of changes that are read at a time, at most: each is a commit.
const MOST_CHANGES: i64 = 1000;
/// Conversions in a change, where all are told of anew.
const REBUILT_AT_ONCE: i64 = 1000;

/// Properties with changes, in order, from the one after `after`. One look into the index for each.
pub async fn with_changes(conn: &mut PgConnection, after: Uuid, most: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "with recursive next as (
             (select property_id, 1 as number from credit_changes where property_id > $1 order by property_id limit 1)
             union all
             select c.property_id, next.number + 1 from next
             cross join lateral (
                 select property_id from credit_changes x where x.property_id > next.property_id order by x.property_id limit 1
             ) c
             where next.number < $2
         )
         select property_id from next",
        after,
        most as i32,
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().flatten().collect())
}

/// A row of `credit_changes`.
pub struct Change {
    /// Its place in the order.
    pub change_id: i64,
    event_ids: Vec<Uuid>,
    versions: Option<Vec<i16>>,
}

impl Change {
    /// The conversions, each with the version that it got.
    pub fn versions(&self) -> impl Iterator<Item = (Uuid, i16)> + '_ {
        let version = |place: usize| {
            self.versions
                .as_ref()
                .and_then(|all| all.get(place).copied())
                .unwrap_or(1)
        };
        self.event_ids
            .iter()
            .enumerate()
            .map(move |(place, id)| (*id, version(place)))
    }
}

/// The oldest changes, up to about `most` conversions, and whether there are more.
pub async fn changes(
    conn: &mut PgConnection,
    property_id: Uuid,
    most: usize,
) -> Result<(Vec<Change>, bool), sqlx::Error> {
    let mut found = sqlx::query_as!(
        Change,
        "select change_id, event_ids, versions from credit_changes where property_id = $1 order by change_id limit $2",
        property_id,
        MOST_CHANGES,
    )
    .fetch_all(conn)
    .await?;
    let mut events = 0;
    let mut taken = 0;
    while taken < found.len() && events < most {
        events += found[taken].event_ids.len();
        taken += 1;
    }
    let more = taken < found.len() || found.len() as i64 == MOST_CHANGES;
    found.truncate(taken);
    Ok((found, more))
}

/// Deletes changes that are in the sums now.
pub async fn delete_changes(
    conn: &mut PgConnection,
    property_id: Uuid,
    change_ids: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from credit_changes c using unnest($2::bigint[]) as w(change_id)
         where c.property_id = $1 and c.change_id = w.change_id",
        property_id,
        change_ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Throws a property's sums away, and tells of all its conversions anew, in the transaction of the caller. What is committed meanwhile tells of
/// itself.
pub async fn rebuild(conn: &mut PgConnection, property_id: Uuid) -> Result<(), sqlx::Error> {
    wait_for_lock(conn, property_id).await?;
    // One statement, one snapshot: each conversion is told of once, by its own change or by one that is made here.
    sqlx::query!(
        "with days as (delete from report_days where property_id = $1),
              hours as (delete from report_hours where property_id = $1),
              refunds as (delete from report_refunds where property_id = $1),
              changes as (delete from credit_changes where property_id = $1),
              all_versions as (
                  select event_id, 1::smallint as version from conversions where property_id = $1
                  union all
                  select event_id, version from credits where property_id = $1 and version > 1 and position = 1
              ),
              numbered as (
                  select event_id, version, (row_number() over (order by version, event_id) - 1) / $2 as part from all_versions
              ),
              parts as (
                  select part, array_agg(event_id order by version, event_id) as event_ids,
                      array_agg(version order by version, event_id) as versions
                  from numbered group by part order by part
              )
         insert into credit_changes (property_id, event_ids, versions) select $1, event_ids, versions from parts order by part",
        property_id,
        REBUILT_AT_ONCE,
    )
    .execute(conn)
    .await?;
    Ok(())
}
