//! `properties` and `streams`: directories, read to find out who the tenant is.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{DEFAULT_LOOKBACK_DAYS, Kept, Property, Stream};
use crate::domain::tenant::Tenant;
use crate::platform::last_noted::{self, Note};

/// Properties, or streams, in one page.
const PAGE: i64 = 500;

/// Stores a new property.
pub async fn insert_property(conn: &mut PgConnection, property: &Property) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into properties (property_id, name, unknown_consent_granted, keep_activity_days, keep_personal_days, keep_sessions_days,
             created_at) values ($1, $2, $3, $4, $5, $6, $7)",
        property.property_id,
        property.name,
        property.unknown_consent_granted,
        property.keep_activity_days,
        property.keep_personal_days,
        property.keep_sessions_days,
        property.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The properties, oldest first.
pub async fn list_properties(conn: &mut PgConnection) -> Result<Vec<Property>, sqlx::Error> {
    sqlx::query_as!(
        Property,
        "select property_id, name, unknown_consent_granted, keep_activity_days, keep_personal_days, keep_sessions_days, created_at
         from properties order by created_at, property_id",
    )
    .fetch_all(conn)
    .await
}

/// Properties after one of them, if one is named; oldest first.
pub async fn properties_after(
    conn: &mut PgConnection,
    after: Option<Uuid>,
    most: i64,
) -> Result<Vec<Property>, sqlx::Error> {
    sqlx::query_as!(
        Property,
        "select property_id, name, unknown_consent_granted, keep_activity_days, keep_personal_days, keep_sessions_days, created_at
         from properties where property_id > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid) order by property_id limit $2",
        after,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Whether there is such a property.
pub async fn property_exists(conn: &mut PgConnection, property_id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from properties where property_id = $1) as "exists!""#,
        property_id
    )
    .fetch_one(conn)
    .await
}

/// One property.
pub async fn find_property(
    conn: &mut PgConnection,
    property_id: Uuid,
) -> Result<Option<Property>, sqlx::Error> {
    sqlx::query_as!(
        Property,
        "select property_id, name, unknown_consent_granted, keep_activity_days, keep_personal_days, keep_sessions_days, created_at
         from properties where property_id = $1",
        property_id,
    )
    .fetch_optional(conn)
    .await
}

/// A property, locked until the end of the transaction.
pub async fn lock_property(
    conn: &mut PgConnection,
    property_id: Uuid,
) -> Result<Option<Property>, sqlx::Error> {
    sqlx::query_as!(
        Property,
        "select property_id, name, unknown_consent_granted, keep_activity_days, keep_personal_days, keep_sessions_days, created_at
         from properties where property_id = $1 for update",
        property_id,
    )
    .fetch_optional(conn)
    .await
}

/// Writes a property's settings.
pub async fn update_property(conn: &mut PgConnection, property: &Property) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update properties set name = $2, unknown_consent_granted = $3, keep_activity_days = $4, keep_personal_days = $5,
             keep_sessions_days = $6
         where property_id = $1",
        property.property_id,
        property.name,
        property.unknown_consent_granted,
        property.keep_activity_days,
        property.keep_personal_days,
        property.keep_sessions_days,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores a new stream.
pub async fn insert_stream(conn: &mut PgConnection, stream: &Stream) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into streams (attribution_id, property_id, name, webhooks_enabled, lookback_days, created_at)
         values ($1, $2, $3, $4, $5, $6)",
        stream.attribution_id,
        stream.property_id,
        stream.name,
        stream.webhooks_enabled,
        stream.lookback_days,
        stream.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The stream of an attribution ID.
pub async fn find_stream(
    conn: &mut PgConnection,
    attribution_id: Uuid,
) -> Result<Option<Stream>, sqlx::Error> {
    sqlx::query_as!(
        Stream,
        "select attribution_id, property_id, name, webhooks_enabled, lookback_days, created_at
         from streams where attribution_id = $1",
        attribution_id,
    )
    .fetch_optional(conn)
    .await
}

/// All streams, oldest first.
pub async fn list_streams(conn: &mut PgConnection) -> Result<Vec<Stream>, sqlx::Error> {
    sqlx::query_as!(
        Stream,
        "select attribution_id, property_id, name, webhooks_enabled, lookback_days, created_at
         from streams order by created_at, attribution_id",
    )
    .fetch_all(conn)
    .await
}

/// What is kept of a page of the properties by id, from the one after `after`; empty behind the last.
pub async fn next_kept(conn: &mut PgConnection, after: Uuid) -> Result<Vec<Kept>, sqlx::Error> {
    sqlx::query_as!(
        Kept,
        r#"select property_id, keep_activity_days, keep_personal_days, keep_sessions_days,
               coalesce((select max(lookback_days) from streams s where s.property_id = p.property_id), $3) as "longest_lookback_days!"
           from properties p where property_id > $1 order by property_id limit $2"#,
        after,
        PAGE,
        DEFAULT_LOOKBACK_DAYS,
    )
    .fetch_all(conn)
    .await
}

/// Streams of a property after one of them, if one is named; oldest first.
pub async fn streams_of(
    conn: &mut PgConnection,
    property_id: Uuid,
    after: Option<&Stream>,
    most: i64,
) -> Result<Vec<Stream>, sqlx::Error> {
    sqlx::query_as!(
        Stream,
        "select attribution_id, property_id, name, webhooks_enabled, lookback_days, created_at from streams
         where property_id = $1 and ($2::timestamptz is null or (created_at, attribution_id) > ($2, $3))
         order by created_at, attribution_id limit $4",
        property_id,
        after.map(|stream| stream.created_at),
        after.map(|stream| stream.attribution_id),
        most,
    )
    .fetch_all(conn)
    .await
}

/// A stream, locked until the end of the transaction.
pub async fn lock_stream(
    conn: &mut PgConnection,
    attribution_id: Uuid,
) -> Result<Option<Stream>, sqlx::Error> {
    sqlx::query_as!(
        Stream,
        "select attribution_id, property_id, name, webhooks_enabled, lookback_days, created_at
         from streams where attribution_id = $1 for update",
        attribution_id,
    )
    .fetch_optional(conn)
    .await
}

/// Writes a stream's settings.
pub async fn update_stream(conn: &mut PgConnection, stream: &Stream) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update streams set name = $2, webhooks_enabled = $3, lookback_days = $4 where attribution_id = $1",
        stream.attribution_id,
        stream.name,
        stream.webhooks_enabled,
        stream.lookback_days,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When pages of a stream last told of themselves.
pub async fn last_seen(
    conn: &mut PgConnection,
    tenant: Tenant,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "select last_seen_at from stream_sightings where property_id = $1 and attribution_id = $2",
        tenant.property_id,
        tenant.attribution_id,
    )
    .fetch_optional(conn)
    .await
}

/// When pages of streams last told of themselves.
pub struct LastSeen;

impl last_noted::Store for LastSeen {
    const NAME: &'static str = "streams";

    async fn write(conn: &mut PgConnection, notes: &[Note]) -> Result<(), sqlx::Error> {
        let properties: Vec<Uuid> = notes.iter().map(|note| note.property_id).collect();
        let streams: Vec<Uuid> = notes.iter().map(|note| note.id).collect();
        let times: Vec<DateTime<Utc>> = notes.iter().map(|note| note.at).collect();
        sqlx::query!(
            "insert into stream_sightings as s (property_id, attribution_id, last_seen_at)
             select property_id, attribution_id, max(at)
             from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as t(property_id, attribution_id, at) group by 1, 2
             on conflict (property_id, attribution_id) do update set last_seen_at = excluded.last_seen_at
             where s.last_seen_at <= excluded.last_seen_at - interval '1 minute'",
            &properties,
            &streams,
            &times,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}
