//! When something last happened, to the minute, written without making a request wait.

use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use sqlx::{PgConnection, PgPool};
use tokio::sync::mpsc;
use uuid::Uuid;

const EVERY: Duration = Duration::from_secs(60);
/// Notes that may wait to be written; one that finds no room is written the next time.
const QUEUE: usize = 4096;

/// That something happened.
#[derive(Debug, Clone, Copy)]
pub struct Note {
    /// The tenant.
    pub property_id: Uuid,
    /// To what.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
}

/// Where notes are kept. Several instances make one write a minute between them.
pub trait Store: Send + Sync + 'static {
    /// What it is, for the log.
    const NAME: &'static str;

    /// Writes them all, in one statement.
    fn write(conn: &mut PgConnection, notes: &[Note])
    -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Takes notes.
#[derive(Clone)]
pub struct LastNoted {
    lately: Cache<Uuid, ()>,
    queue: mpsc::Sender<Note>,
}

impl LastNoted {
    /// What takes notes, and the task that writes them; it ends when the last taker is gone.
    pub fn start<S: Store>(pool: PgPool) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let lately = Cache::builder().max_capacity(100_000).time_to_live(EVERY).build();
        (Self { lately, queue }, write::<S>(pool, waiting))
    }

    /// Notes it, once a minute.
    pub fn note(&self, note: Note) {
        if !self.lately.contains_key(&note.id) && self.queue.try_send(note).is_ok() {
            self.lately.insert(note.id, ());
        }
    }
}

async fn write<S: Store>(pool: PgPool, mut waiting: mpsc::Receiver<Note>) {
    let mut notes = Vec::new();
    while waiting.recv_many(&mut notes, 512).await > 0 {
        let written = async { S::write(&mut *pool.acquire().await?, &notes).await };
        if let Err(error) = written.await {
            // Only a convenience: the next note after a minute tries again.
            tracing::warn!(%error, what = S::NAME, "it was not written when something was last used or seen");
        }
        notes.clear();
    }
}
