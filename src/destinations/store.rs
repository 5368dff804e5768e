//! `destinations`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Destination, Policy, Topics};
use crate::domain::tenant::Tenant;

/// Destinations that are read in one go.
const AT_ONCE: i64 = 1000;

/// A row as it is stored.
struct Stored {
    property_id: Uuid,
    destination_id: Uuid,
    attribution_id: Uuid,
    platform: String,
    name: String,
    settings_sealed: Vec<u8>,
    base_url: Option<String>,
    base_url_anywhere: bool,
    topics: Option<Json<Topics>>,
    policy: String,
    created_at: DateTime<Utc>,
    paused_at: Option<DateTime<Utc>>,
    paused_reason: Option<String>,
    removed_at: Option<DateTime<Utc>>,
}

impl From<Stored> for Destination {
    fn from(row: Stored) -> Self {
        Self {
            property_id: row.property_id,
            destination_id: row.destination_id,
            attribution_id: row.attribution_id,
            platform: row.platform,
            name: row.name,
            settings_sealed: row.settings_sealed,
            base_url: row.base_url,
            base_url_anywhere: row.base_url_anywhere,
            topics: row.topics.map(|json| json.0),
            // What nobody wrote is taken for the careful one.
            policy: row.policy.parse().unwrap_or(Policy::OwnClick),
            created_at: row.created_at,
            paused_at: row.paused_at,
            paused_reason: row.paused_reason,
            removed_at: row.removed_at,
        }
    }
}

/// Stores a new one.
pub async fn insert(conn: &mut PgConnection, destination: &Destination) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into destinations (property_id, destination_id, attribution_id, platform, name, settings_sealed, base_url,
             base_url_anywhere, topics, policy, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        destination.property_id,
        destination.destination_id,
        destination.attribution_id,
        destination.platform,
        destination.name,
        destination.settings_sealed,
        destination.base_url,
        destination.base_url_anywhere,
        destination.topics.as_ref().map(Json) as Option<Json<&Topics>>,
        destination.policy.as_str(),
        destination.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores what of a destination may be otherwise: name, settings, base URL, topics and policy. Whether there is such a destination.
pub async fn update(conn: &mut PgConnection, destination: &Destination) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update destinations set name = $3, settings_sealed = $4, base_url = $5, base_url_anywhere = $6, topics = $7, policy = $8
         where property_id = $1 and destination_id = $2 and removed_at is null",
        destination.property_id,
        destination.destination_id,
        destination.name,
        destination.settings_sealed,
        destination.base_url,
        destination.base_url_anywhere,
        destination.topics.as_ref().map(Json) as Option<Json<&Topics>>,
        destination.policy.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ids of a stream's destinations.
pub async fn ids_of_stream(conn: &mut PgConnection, tenant: Tenant) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select destination_id from destinations
         where property_id = $1 and attribution_id = $2 and removed_at is null order by created_at",
        tenant.property_id,
        tenant.attribution_id,
    )
    .fetch_all(conn)
    .await
}

/// Which destinations are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// The tenant.
    pub property_id: Uuid,
    /// Only those of this stream.
    pub attribution_id: Option<Uuid>,
    /// Those that were taken away, too.
    pub removed: bool,
    /// Only those made after this one.
    pub after: Option<Uuid>,
    /// At most so many, the oldest first.
    pub limit: i64,
}

/// Destinations that a filter lets through, oldest first: ids are in the order of time.
pub async fn list(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Destination>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Stored,
        r#"select property_id, destination_id, attribution_id, platform, name, settings_sealed, base_url,
               base_url_anywhere, topics as "topics: Json<Topics>", policy, created_at, paused_at, paused_reason, removed_at
           from destinations
           where property_id = $1 and ($2::uuid is null or attribution_id = $2) and ($3 or removed_at is null)
             and destination_id > coalesce($4, '00000000-0000-0000-0000-000000000000'::uuid)
           order by destination_id limit $5"#,
        filter.property_id,
        filter.attribution_id,
        filter.removed,
        filter.after,
        filter.limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Destination::from).collect())
}

/// All destinations of a property, or of one of its streams, oldest first; those that were taken away too where `removed` says so.
pub async fn all(
    conn: &mut PgConnection,
    property_id: Uuid,
    attribution_id: Option<Uuid>,
    removed: bool,
) -> Result<Vec<Destination>, sqlx::Error> {
    let mut all: Vec<Destination> = Vec::new();
    loop {
        let filter = Filter {
            property_id,
            attribution_id,
            removed,
            after: all.last().map(|last| last.destination_id),
            limit: AT_ONCE,
        };
        let found = list(conn, &filter).await?;
        if found.is_empty() {
            return Ok(all);
        }
        all.extend(found);
    }
}

/// These destinations, by property and id; removed ones too.
pub async fn find(conn: &mut PgConnection, wanted: &[(Uuid, Uuid)]) -> Result<Vec<Destination>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Stored,
        r#"select d.property_id, d.destination_id, d.attribution_id, d.platform, d.name, d.settings_sealed, d.base_url,
               d.base_url_anywhere, d.topics as "topics: Json<Topics>", d.policy, d.created_at, d.paused_at, d.paused_reason, d.removed_at
           from unnest($1::uuid[], $2::uuid[]) as w(property_id, destination_id)
           join destinations d on d.property_id = w.property_id and d.destination_id = w.destination_id"#,
        &wanted.iter().map(|(property_id, _)| *property_id).collect::<Vec<_>>(),
        &wanted.iter().map(|(_, destination_id)| *destination_id).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Destination::from).collect())
}

/// A destination, locked until the end of the transaction.
pub async fn lock(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
) -> Result<Option<Destination>, sqlx::Error> {
    let row = sqlx::query_as!(
        Stored,
        r#"select property_id, destination_id, attribution_id, platform, name, settings_sealed, base_url,
               base_url_anywhere, topics as "topics: Json<Topics>", policy, created_at, paused_at, paused_reason, removed_at
           from destinations where property_id = $1 and destination_id = $2 and removed_at is null for update"#,
        property_id,
        destination_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Destination::from))
}

/// Stops sending, with the reason; one that is paused keeps the reason that it has. Whether there is such a destination.
pub async fn pause(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    at: DateTime<Utc>,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update destinations set paused_at = coalesce(paused_at, $3), paused_reason = coalesce(paused_reason, $4)
         where property_id = $1 and destination_id = $2 and removed_at is null",
        property_id,
        destination_id,
        at,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sends again. Whether there is such a destination.
pub async fn resume(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update destinations set paused_at = null, paused_reason = null
         where property_id = $1 and destination_id = $2 and removed_at is null",
        property_id,
        destination_id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a destination away. Whether it was there.
pub async fn remove(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update destinations set removed_at = $3, settings_sealed = '' where property_id = $1 and destination_id = $2 and removed_at is null",
        property_id,
        destination_id,
        at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The property of a destination, one that was taken away too, for commands that are told its id alone.
pub async fn property_of(conn: &mut PgConnection, destination_id: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    // Few rows: one look-up for each property, in the primary key.
    sqlx::query_scalar!(
        "select d.property_id from properties p
         join destinations d on d.property_id = p.property_id and d.destination_id = $1",
        destination_id,
    )
    .fetch_optional(conn)
    .await
}
