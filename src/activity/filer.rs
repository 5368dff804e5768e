//! Files the rows of refused requests, and of dry runs, without making anybody wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Counter;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::flood::Flood;
use super::{Entry, Status, store};
use crate::platform::db::{self, Failure};

/// Rows that may wait.
const QUEUE: usize = 4096;
/// Rows written at once, at most.
const BATCH: usize = 512;
/// How often the counts are written.
const COUNTS_EVERY: Duration = Duration::from_millis(500);
/// How often a batch that met another instance's is tried again.
const TRIES: usize = 3;

/// Takes rows to be written soon. Refused requests that find no room are counted instead; what cannot be counted either, and dry runs that
/// find no room, is lost and shows in a metric.
#[derive(Clone)]
pub struct Filer {
    queue: mpsc::Sender<Entry>,
    counts: Counts,
}

impl Filer {
    /// Files a row.
    pub fn file(&self, entry: Entry) {
        if refused(&entry) && !self.counts.flood().admits(&entry) {
            return self.counts.add(&entry);
        }
        if let Err(full) = self.queue.try_send(entry) {
            self.counts.add(&full.into_inner());
        }
    }
}

/// What has no row of its own.
#[derive(Clone)]
struct Counts {
    flood: Arc<Mutex<Flood>>,
    dropped: Counter,
}

impl Counts {
    fn flood(&self) -> MutexGuard<'_, Flood> {
        self.flood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the requests of a refused row; a dry run's is not worth more than the metric.
    fn add(&self, entry: &Entry) {
        if !refused(entry) || !self.flood().count(entry) {
            self.dropped.increment(1);
        }
    }
}

fn refused(entry: &Entry) -> bool {
    entry.status != Status::Success
}

/// The filer, and the task that writes; it ends when the last filer is gone and all is written.
pub fn start(pool: PgPool, refused_per_minute: u32) -> (Filer, impl Future<Output = ()> + Send) {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let counts = Counts {
        flood: Arc::new(Mutex::new(Flood::new(refused_per_minute))),
        dropped: metrics::counter!("trustdata_activity_dropped_total"),
    };
    let filer = Filer {
        queue,
        counts: counts.clone(),
    };
    (filer, write(pool, waiting, counts))
}

async fn write(pool: PgPool, mut waiting: mpsc::Receiver<Entry>, counts: Counts) {
    let mut due = tokio::time::interval(COUNTS_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rows = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            taken = waiting.recv_many(&mut rows, BATCH) => if taken == 0 {
                break;
            },
            _ = due.tick() => rows = counts.flood().take(BATCH),
        }
        if let Err(error) = insert(&pool, &mut rows).await {
            tracing::warn!(%error, rows = rows.len(), "activity of refused requests was not written");
            match db::failure(&error) {
                Failure::BadRow => counts.dropped.increment(insert_apart(&pool, &rows).await),
                Failure::Conflict | Failure::Away => rows.iter().for_each(|row| counts.add(row)),
            }
            // A database that is away is asked again soon, not at once.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        rows.clear();
    }
    // What is left when nobody files any more has this one chance.
    loop {
        rows = counts.flood().take(BATCH);
        if rows.is_empty() {
            return;
        }
        if let Err(error) = insert(&pool, &mut rows).await {
            tracing::warn!(%error, rows = rows.len(), "counts of refused requests were not written");
            counts.dropped.increment(rows.len() as u64);
        }
    }
}

/// Writes each row alone, where together they were refused; how many are lost.
async fn insert_apart(pool: &PgPool, rows: &[Entry]) -> u64 {
    let mut lost = 0;
    for row in rows {
        if insert(pool, &mut [row.clone()]).await.is_err() {
            lost += 1;
        }
    }
    lost
}

/// Writes rows in the order of their key: instances that add to the same counts wait for each other, and not in a circle.
async fn insert(pool: &PgPool, rows: &mut [Entry]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable_by_key(|row| (row.property_id, row.attribution_id, row.activity_id));
    let mut tries = 0;
    loop {
        tries += 1;
        let written = async { store::insert(&mut *pool.acquire().await?, rows).await };
        match written.await {
            Err(error) if db::failure(&error) == Failure::Conflict && tries < TRIES => {}
            done => return done,
        }
    }
}
