//! `properties` and `streams`: directories, read to find out who the tenant is.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Property, Stream};

/// Streams in one page.
const PAGE: i64 = 500;

/// Stores a new property.
pub async fn insert_property(conn: &mut PgConnection, property: &Property) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into properties (property_id, name, created_at) values ($1, $2, $3)",
        property.property_id,
        property.name,
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
        "select property_id, name, created_at from properties order by created_at, property_id",
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

/// A page of the streams by attribution ID, from the one after `after`; empty behind the last.
pub async fn next_streams(conn: &mut PgConnection, after: Uuid) -> Result<Vec<Stream>, sqlx::Error> {
    sqlx::query_as!(
        Stream,
        "select attribution_id, property_id, name, webhooks_enabled, lookback_days, created_at
         from streams where attribution_id > $1 order by attribution_id limit $2",
        after,
        PAGE,
    )
    .fetch_all(conn)
    .await
}

/// Opens or closes the webhook; none when there is no such stream.
pub async fn set_webhooks_enabled(
    conn: &mut PgConnection,
    attribution_id: Uuid,
    enabled: bool,
) -> Result<Option<Stream>, sqlx::Error> {
    sqlx::query_as!(
        Stream,
        "update streams set webhooks_enabled = $2 where attribution_id = $1
         returning attribution_id, property_id, name, webhooks_enabled, lookback_days, created_at",
        attribution_id,
        enabled,
    )
    .fetch_optional(conn)
    .await
}

/// Sets the lookback of future conversions; none when there is no such stream.
pub async fn set_lookback_days(
    conn: &mut PgConnection,
    attribution_id: Uuid,
    days: i16,
) -> Result<Option<Stream>, sqlx::Error> {
    sqlx::query_as!(
        Stream,
        "update streams set lookback_days = $2 where attribution_id = $1
         returning attribution_id, property_id, name, webhooks_enabled, lookback_days, created_at",
        attribution_id,
        days,
    )
    .fetch_optional(conn)
    .await
}
