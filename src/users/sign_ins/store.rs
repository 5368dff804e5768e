//! `sign_ins`: a directory, read to find out who it is.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::users::{Role, User};

/// Stores who is signed in from now on, and forgets sign-ins that are over.
pub async fn insert(
    conn: &mut PgConnection,
    token_hash: &[u8],
    user_id: Uuid,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from sign_ins where token_hash in (select token_hash from sign_ins where expires_at < $1 limit 1000)",
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into sign_ins (token_hash, user_id, created_at, last_seen_at, expires_at) values ($1, $2, $3, $3, $4)",
        token_hash,
        user_id,
        now,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Who a token stands for, and when that user was last seen.
pub async fn find(
    conn: &mut PgConnection,
    token_hash: &[u8],
    now: DateTime<Utc>,
    seen_since: DateTime<Utc>,
) -> Result<Option<(User, DateTime<Utc>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select u.user_id, u.email, u.role, u.created_at, s.last_seen_at from sign_ins s join users u on u.user_id = s.user_id
         where s.token_hash = $1 and s.expires_at > $2 and s.last_seen_at > $3",
        token_hash,
        now,
        seen_since,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let user = User {
            user_id: row.user_id,
            email: row.email,
            role: row.role.parse().unwrap_or(Role::Viewer),
            invited: false,
            created_at: row.created_at,
        };
        (user, row.last_seen_at)
    }))
}

/// Notes that the user was here.
pub async fn seen(conn: &mut PgConnection, token_hash: &[u8], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update sign_ins set last_seen_at = $2 where token_hash = $1 and last_seen_at < $2",
        token_hash,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends one sign-in.
pub async fn end(conn: &mut PgConnection, token_hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from sign_ins where token_hash = $1", token_hash)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends all sign-ins of a user but one, if one is named.
pub async fn end_all(conn: &mut PgConnection, user_id: Uuid, but: Option<&[u8]>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from sign_ins where user_id = $1 and ($2::bytea is null or token_hash <> $2)",
        user_id,
        but
    )
    .execute(conn)
    .await?;
    Ok(())
}
