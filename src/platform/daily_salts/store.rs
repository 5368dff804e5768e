//! `daily_salts`.

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::Salt;

/// The day's salt: `fresh`, unless there is one already.
pub async fn salt_of(conn: &mut PgConnection, day: NaiveDate, fresh: &Salt) -> Result<Salt, sqlx::Error> {
    sqlx::query!(
        "insert into daily_salts (day, salt) values ($1, $2) on conflict do nothing",
        day,
        fresh.as_slice(),
    )
    .execute(&mut *conn)
    .await?;
    let salt = sqlx::query_scalar!("select salt from daily_salts where day = $1", day)
        .fetch_one(conn)
        .await?;
    salt.try_into()
        .map_err(|_| sqlx::Error::Decode("a daily salt in the database is not 32 bytes".into()))
}

/// Deletes the salts of the days before `day`.
pub async fn delete_before(conn: &mut PgConnection, day: NaiveDate) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from daily_salts where day < $1", day)
        .execute(conn)
        .await?;
    Ok(())
}
