//! `webhook_keys`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Key;
use crate::domain::tenant::Tenant;
use crate::platform::last_noted::{self, Note};

/// Keys with one prefix that are tried, at most: prefixes are random, two alike are already a wonder.
const MOST_CANDIDATES: i64 = 4;

/// A key that a token may be.
pub struct Candidate {
    /// The key.
    pub key_id: Uuid,
    /// argon2id of the token it was made with.
    pub hash: String,
}

/// Stores a new key under the hash of its token; false when there is one of this id already.
pub async fn insert(conn: &mut PgConnection, key: &Key, hash: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into webhook_keys (property_id, key_id, attribution_id, name, prefix, hash, rate_limit, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (property_id, key_id) do nothing",
        key.property_id,
        key.key_id,
        key.attribution_id,
        key.name,
        key.prefix,
        hash,
        key.rate_limit,
        key.created_at,
        key.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The keys that a token with this prefix may be, revoked ones too.
pub async fn candidates(
    conn: &mut PgConnection,
    tenant: Tenant,
    prefix: &str,
) -> Result<Vec<Candidate>, sqlx::Error> {
    sqlx::query_as!(
        Candidate,
        "select key_id, hash from webhook_keys where property_id = $1 and attribution_id = $2 and prefix = $3 limit $4",
        tenant.property_id,
        tenant.attribution_id,
        prefix,
        MOST_CANDIDATES,
    )
    .fetch_all(conn)
    .await
}

/// One key.
pub async fn find(
    conn: &mut PgConnection,
    property_id: Uuid,
    key_id: Uuid,
) -> Result<Option<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "select key_id, property_id, attribution_id, name, prefix, rate_limit, created_at, expires_at, revoked_at, last_used_at
         from webhook_keys where property_id = $1 and key_id = $2",
        property_id,
        key_id,
    )
    .fetch_optional(conn)
    .await
}

/// The operator's list, across tenants, oldest first.
pub async fn list(conn: &mut PgConnection, attribution_id: Option<Uuid>) -> Result<Vec<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "select key_id, property_id, attribution_id, name, prefix, rate_limit, created_at, expires_at, revoked_at, last_used_at
         from webhook_keys where $1::uuid is null or attribution_id = $1 order by created_at, key_id",
        attribution_id,
    )
    .fetch_all(conn)
    .await
}

/// A key, locked until the end of the transaction.
pub async fn lock(
    conn: &mut PgConnection,
    property_id: Uuid,
    key_id: Uuid,
) -> Result<Option<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "select key_id, property_id, attribution_id, name, prefix, rate_limit, created_at, expires_at, revoked_at, last_used_at
         from webhook_keys where property_id = $1 and key_id = $2 for update",
        property_id,
        key_id,
    )
    .fetch_optional(conn)
    .await
}

/// Whose a key is; the command line is told the key alone.
pub async fn property_of(conn: &mut PgConnection, key_id: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    // Few rows: one look-up for each property, in the primary key.
    sqlx::query_scalar!(
        "select k.property_id from properties p join webhook_keys k on k.property_id = p.property_id and k.key_id = $1",
        key_id,
    )
    .fetch_optional(conn)
    .await
}

/// The newest keys of an attribution ID after one of them, if one is named; newest first.
pub async fn of_stream(
    conn: &mut PgConnection,
    tenant: Tenant,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "select key_id, property_id, attribution_id, name, prefix, rate_limit, created_at, expires_at, revoked_at, last_used_at
         from webhook_keys where property_id = $1 and attribution_id = $2
           and key_id < coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         order by key_id desc limit $4",
        tenant.property_id,
        tenant.attribution_id,
        before,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Revokes a key; the first revocation's time stands. None when there is no such key.
pub async fn revoke(
    conn: &mut PgConnection,
    property_id: Uuid,
    key_id: Uuid,
    at: DateTime<Utc>,
) -> Result<Option<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "update webhook_keys set revoked_at = coalesce(revoked_at, $3) where property_id = $1 and key_id = $2
         returning key_id, property_id, attribution_id, name, prefix, rate_limit, created_at, expires_at, revoked_at, last_used_at",
        property_id,
        key_id,
        at,
    )
    .fetch_optional(conn)
    .await
}

/// Sets a key's limit. None when there is no such key.
pub async fn set_rate_limit(
    conn: &mut PgConnection,
    property_id: Uuid,
    key_id: Uuid,
    per_minute: i32,
) -> Result<Option<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "update webhook_keys set rate_limit = $3 where property_id = $1 and key_id = $2
         returning key_id, property_id, attribution_id, name, prefix, rate_limit, created_at, expires_at, revoked_at, last_used_at",
        property_id,
        key_id,
        per_minute,
    )
    .fetch_optional(conn)
    .await
}

/// `last_used_at` of keys.
pub struct LastUsed;

impl last_noted::Store for LastUsed {
    const NAME: &'static str = "webhook keys";

    async fn write(conn: &mut PgConnection, notes: &[Note]) -> Result<(), sqlx::Error> {
        let properties: Vec<Uuid> = notes.iter().map(|note| note.property_id).collect();
        let keys: Vec<Uuid> = notes.iter().map(|note| note.id).collect();
        let times: Vec<DateTime<Utc>> = notes.iter().map(|note| note.at).collect();
        sqlx::query!(
            "update webhook_keys k set last_used_at = u.at
             from (select property_id, key_id, max(at) as at
                   from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as t(property_id, key_id, at) group by 1, 2) u
             where k.property_id = u.property_id and k.key_id = u.key_id
               and (k.last_used_at is null or k.last_used_at <= u.at - interval '1 minute')",
            &properties,
            &keys,
            &times,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}
