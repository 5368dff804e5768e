//! The key that stands in where the configuration names none.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// The database's own key, made at the first call; every instance gets the same.
pub async fn key_of_database(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<[u8; 32], sqlx::Error> {
    let fresh: [u8; 32] = rand::random();
    sqlx::query!(
        "insert into sealing_keys (key, created_at) values ($1, $2) on conflict do nothing",
        &fresh,
        now
    )
    .execute(&mut *conn)
    .await?;
    let key = sqlx::query_scalar!("select key from sealing_keys")
        .fetch_one(conn)
        .await?;
    key.try_into()
        .map_err(|_| sqlx::Error::Decode("the sealing key in the database is not 32 bytes".into()))
}
