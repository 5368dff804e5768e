//! Files the rows of refused requests, and of dry runs, without making anybody wait.

use std::time::Duration;

use metrics::Counter;
use sqlx::PgPool;
use tokio::sync::mpsc;

use super::flood::Flood;
use super::{Entry, Status, store};

/// Rows that may wait. A flood that outruns the database is counted in a metric, and drops rows of refused requests only.
const QUEUE: usize = 4096;
/// Rows written at once, at most.
const BATCH: usize = 512;

/// Takes rows to be written soon.
#[derive(Clone)]
pub struct Filer {
    queue: mpsc::Sender<Entry>,
    dropped: Counter,
}

impl Filer {
    /// Files a row.
    pub fn file(&self, entry: Entry) {
        if self.queue.try_send(entry).is_err() {
            self.dropped.increment(1);
        }
    }
}

/// The filer, and the task that writes; it ends when the last filer is gone and all is written.
pub fn start(pool: PgPool, refused_per_minute: u32) -> (Filer, impl Future<Output = ()> + Send) {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let dropped = metrics::counter!("trustdata_activity_dropped_total");
    (
        Filer {
            queue,
            dropped: dropped.clone(),
        },
        write(pool, waiting, Flood::new(refused_per_minute), dropped),
    )
}

async fn write(pool: PgPool, mut waiting: mpsc::Receiver<Entry>, mut flood: Flood, dropped: Counter) {
    let mut entries = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut entries, BATCH).await > 0 {
        let (refused, others): (Vec<_>, Vec<_>) = std::mem::take(&mut entries)
            .into_iter()
            .partition(|entry| entry.status != Status::Success);
        let rows: Vec<Entry> = flood.cap(refused).into_iter().chain(others).collect();
        let written = async { store::insert(&mut *pool.acquire().await?, &rows).await };
        if let Err(error) = written.await {
            dropped.increment(rows.len() as u64);
            tracing::warn!(%error, rows = rows.len(), "activity of refused requests was not written");
            // A database that is away is asked again soon, not at once.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
