//! `last_used_at`, written at most once a minute and key.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use sqlx::PgPool;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Key, store};

const EVERY: Duration = Duration::from_secs(60);
/// Keys that may wait to be written; one that finds no room is written with its next use.
const QUEUE: usize = 4096;

/// Notes uses without making a request wait.
#[derive(Clone)]
pub struct LastUsed {
    lately: Cache<Uuid, ()>,
    queue: mpsc::Sender<Use>,
}

/// A use of a key.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// The tenant.
    pub property_id: Uuid,
    /// The key.
    pub key_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
}

impl LastUsed {
    /// The tracker, and the task that writes; it ends when the last tracker is gone.
    pub fn start(pool: PgPool) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let lately = Cache::builder().max_capacity(100_000).time_to_live(EVERY).build();
        (Self { lately, queue }, write(pool, waiting))
    }

    /// Notes that a key opened something.
    pub fn note(&self, key: &Arc<Key>, at: DateTime<Utc>) {
        if self.lately.contains_key(&key.key_id) {
            return;
        }
        if self
            .queue
            .try_send(Use {
                property_id: key.property_id,
                key_id: key.key_id,
                at,
            })
            .is_ok()
        {
            self.lately.insert(key.key_id, ());
        }
    }
}

async fn write(pool: PgPool, mut waiting: mpsc::Receiver<Use>) {
    let mut uses = Vec::new();
    while waiting.recv_many(&mut uses, 512).await > 0 {
        let written = async { store::note_uses(&mut *pool.acquire().await?, &uses).await };
        if let Err(error) = written.await {
            // Only a convenience: the next use after a minute tries again.
            tracing::warn!(%error, "last_used_at was not written");
        }
        uses.clear();
    }
}
