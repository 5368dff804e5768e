//! `users`: a directory, read at sign-in to find out who it is.

use sqlx::PgConnection;

use super::User;

/// Stores a new user; false when the address has one already.
pub async fn insert(conn: &mut PgConnection, user: &User, password_hash: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into users (user_id, email, password_hash, created_at) values ($1, $2, $3, $4) on conflict do nothing",
        user.user_id,
        user.email,
        password_hash,
        user.created_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
