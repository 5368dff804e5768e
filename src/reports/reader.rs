//! Connections for reports: few, and none of those that requests need.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reports at the same time: more would leave too few connections to the rest of the background work.
const AT_ONCE: usize = 2;
/// How long a report may wait for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Hands out connections.
#[derive(Clone)]
pub struct Reader {
    pool: PgPool,
    turns: Arc<Semaphore>,
}

/// A connection, for the time of a report.
pub struct Reading {
    conn: PoolConnection<Postgres>,
    _turn: OwnedSemaphorePermit,
}

impl Reader {
    /// Reads by connections of the background's pool.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Waits for a turn.
    pub async fn turn(&self) -> Result<Reading, sqlx::Error> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?;
        Ok(Reading {
            _turn: turn.map_err(|_| sqlx::Error::PoolClosed)?,
            conn: self.pool.acquire().await?,
        })
    }
}

impl Deref for Reading {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}
