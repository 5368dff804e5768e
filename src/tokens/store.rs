//! `api_tokens`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{ApiToken, Scope};
use crate::platform::last_noted::{self, Note};

struct Stored {
    token_id: Uuid,
    property_id: Uuid,
    name: String,
    prefix: String,
    scope: String,
    created_at: DateTime<Utc>,
    created_by: String,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl From<Stored> for ApiToken {
    fn from(row: Stored) -> Self {
        Self {
            token_id: row.token_id,
            property_id: row.property_id,
            name: row.name,
            prefix: row.prefix,
            // What nobody wrote may do the least.
            scope: row.scope.parse().unwrap_or(Scope::Read),
            created_at: row.created_at,
            created_by: row.created_by,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// Stores a new token under its hash; false when there is one of this id already.
pub async fn insert(
    conn: &mut PgConnection,
    token: &ApiToken,
    hash: &[u8],
    user_id: Option<Uuid>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into api_tokens (property_id, token_id, name, prefix, token_hash, scope, created_at, expires_at, created_by, user_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (property_id, token_id) do nothing",
        token.property_id,
        token.token_id,
        token.name,
        token.prefix,
        hash,
        token.scope.as_str(),
        token.created_at,
        token.expires_at,
        token.created_by,
        user_id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The token of a hash, in force or not.
pub async fn find_by_hash(conn: &mut PgConnection, hash: &[u8]) -> Result<Option<ApiToken>, sqlx::Error> {
    let row = sqlx::query_as!(
        Stored,
        "select token_id, property_id, name, prefix, scope, created_at, created_by, expires_at, last_used_at, revoked_at
         from api_tokens where token_hash = $1",
        hash,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(ApiToken::from))
}

/// The newest tokens of a property before one of them, if one is named; newest first.
pub async fn list(
    conn: &mut PgConnection,
    property_id: Uuid,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<ApiToken>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Stored,
        "select token_id, property_id, name, prefix, scope, created_at, created_by, expires_at, last_used_at, revoked_at
         from api_tokens where property_id = $1 and token_id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         order by token_id desc limit $3",
        property_id,
        before,
        most,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(ApiToken::from).collect())
}

/// A token, locked until the end of the transaction.
pub async fn lock(
    conn: &mut PgConnection,
    property_id: Uuid,
    token_id: Uuid,
) -> Result<Option<ApiToken>, sqlx::Error> {
    let row = sqlx::query_as!(
        Stored,
        "select token_id, property_id, name, prefix, scope, created_at, created_by, expires_at, last_used_at, revoked_at
         from api_tokens where property_id = $1 and token_id = $2 for update",
        property_id,
        token_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(ApiToken::from))
}

/// Revokes a token.
pub async fn revoke(
    conn: &mut PgConnection,
    property_id: Uuid,
    token_id: Uuid,
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update api_tokens set revoked_at = $3 where property_id = $1 and token_id = $2",
        property_id,
        token_id,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Revokes what a user made in any property: users are of none, and this index is their directory.
pub async fn revoke_of_user(
    conn: &mut PgConnection,
    user_id: Uuid,
    at: DateTime<Utc>,
) -> Result<Vec<ApiToken>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Stored,
        "update api_tokens set revoked_at = $2 where user_id = $1 and revoked_at is null
         returning token_id, property_id, name, prefix, scope, created_at, created_by, expires_at, last_used_at, revoked_at",
        user_id,
        at,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(ApiToken::from).collect())
}

/// Whose a token is; the command line is told the token alone.
pub async fn property_of(conn: &mut PgConnection, token_id: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    // Few rows: one look-up for each property, in the primary key.
    sqlx::query_scalar!(
        "select t.property_id from properties p join api_tokens t on t.property_id = p.property_id and t.token_id = $1",
        token_id,
    )
    .fetch_optional(conn)
    .await
}

/// `last_used_at` of tokens.
pub struct LastUsed;

impl last_noted::Store for LastUsed {
    const NAME: &'static str = "API tokens";

    async fn write(conn: &mut PgConnection, notes: &[Note]) -> Result<(), sqlx::Error> {
        let properties: Vec<Uuid> = notes.iter().map(|note| note.property_id).collect();
        let tokens: Vec<Uuid> = notes.iter().map(|note| note.id).collect();
        let times: Vec<DateTime<Utc>> = notes.iter().map(|note| note.at).collect();
        sqlx::query!(
            "update api_tokens k set last_used_at = u.at
             from (select property_id, token_id, max(at) as at
                   from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as t(property_id, token_id, at) group by 1, 2) u
             where k.property_id = u.property_id and k.token_id = u.token_id
               and (k.last_used_at is null or k.last_used_at <= u.at - interval '1 minute')",
            &properties,
            &tokens,
            &times,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}
