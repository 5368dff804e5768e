//! A secret a day, the same on every instance, and gone for good soon after: what is hashed with it tells nobody apart beyond the day.

mod store;

use std::time::Duration;

use chrono::{NaiveDate, TimeDelta};
use moka::future::Cache;
use sqlx::{PgConnection, PgPool};

use super::clock::Clock;
use super::db;

/// A day's secret.
pub type Salt = [u8; 32];

/// How long a salt stays in memory: not beyond the day after its own.
const TIME_TO_LIVE: Duration = Duration::from_secs(24 * 3600);

/// The salts.
pub struct DailySalts {
    pool: PgPool,
    clock: Clock,
    known: Cache<NaiveDate, Salt>,
}

impl DailySalts {
    /// Kept in the database that `pool` leads to.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self {
            pool,
            clock,
            known: Cache::builder()
                .max_capacity(8)
                .time_to_live(TIME_TO_LIVE)
                .build(),
        }
    }

    /// The salt of this day, in UTC; whoever asks first makes it, and lets the old ones go.
    pub async fn today(&self) -> Result<Salt, String> {
        let day = self.clock.now().date_naive();
        if let Some(salt) = self.known.get(&day).await {
            return Ok(salt);
        }
        // Once a day: boxed, so that not every request's future is as large.
        let found = Box::pin(self.known.try_get_with(day, db::in_time(self.load(day))));
        found.await.map_err(|error| error.to_string())
    }

    async fn load(&self, day: NaiveDate) -> Result<Salt, sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        let salt = store::salt_of(&mut conn, day, &rand::random()).await?;
        delete_old(&mut conn, day).await?;
        Ok(salt)
    }

    /// Lets the salts of days past go, though nobody asks for today's.
    pub async fn forget_old(&self) -> Result<(), sqlx::Error> {
        delete_old(&mut *self.pool.acquire().await?, self.clock.now().date_naive()).await
    }
}

/// Yesterday's stays: another instance's clock may still stand before midnight.
async fn delete_old(conn: &mut PgConnection, today: NaiveDate) -> Result<(), sqlx::Error> {
    store::delete_before(conn, today - TimeDelta::days(1)).await
}
