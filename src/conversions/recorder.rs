//! Hands conversions to the writers and waits for the commit. The queue is bounded by events and by their bytes, and full means 503 at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::outcome::Outcome;
use super::record::Draft;
use super::writer::Writer;
use crate::activity;
use crate::platform::config;
use crate::platform::secrets::Sealer;

/// Bytes that the largest single event may have: where there is no room for it, the queue is full.
const LARGEST_EVENT: usize = 256 * 1024;

/// One request's events, which are committed together, and its audit row.
pub(super) struct Job {
    pub(super) drafts: Vec<Draft>,
    /// An array body, even of one event.
    pub(super) array: bool,
    /// The audit row, to be completed by the outcome.
    pub(super) activity: activity::Entry,
    pub(super) reply: oneshot::Sender<Result<Vec<Outcome>, Unavailable>>,
    /// Its places in the queue, of events and of bytes, given back when it is settled.
    pub(super) _places: [OwnedSemaphorePermit; 2],
}

/// Nothing was promised. What was sent may still turn out to be stored; a repeat finds out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unavailable {
    /// Too much waits.
    #[error("the queue is full")]
    Full,
    /// No database, or none that answers.
    #[error("the database cannot be reached: {0}")]
    Away(String),
    /// Other transactions were in the way, each time that it was tried.
    #[error("the database is busy: {0}")]
    Conflict(String),
    /// The commit takes too long.
    #[error("the commit did not come in time")]
    Slow,
    /// The service is stopping.
    #[error("the recorder has stopped")]
    Stopped,
}

/// The way into the database for conversions.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::UnboundedSender<Job>,
    places: Arc<Semaphore>,
    capacity: usize,
    bytes: Arc<Semaphore>,
    answer_within: Duration,
    /// Writers whose connection works.
    connected: Arc<AtomicUsize>,
}

/// The writers, which run until the last recorder is gone and all that waits is settled.
pub struct Writers(pub JoinSet<()>);

impl Recorder {
    /// A recorder and its writers, each with a connection of its own.
    pub fn start(
        settings: &config::Recorder,
        database: &PgConnectOptions,
        sealer: &Sealer,
    ) -> (Self, Writers) {
        // Bounded by the semaphores, which count events and bytes where a channel would count requests.
        let (queue, waiting) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let connected = Arc::new(AtomicUsize::new(0));
        let mut writers = JoinSet::new();
        for _ in 0..settings.writers {
            let writer = Writer::new(
                database.clone(),
                sealer.clone(),
                settings.max_batch,
                Arc::clone(&connected),
            );
            writers.spawn(writer.run(Arc::clone(&waiting)));
        }
        let recorder = Self {
            queue,
            places: Arc::new(Semaphore::new(settings.queue)),
            capacity: settings.queue,
            bytes: Arc::new(Semaphore::new(settings.queue_bytes)),
            answer_within: settings.answer_within,
            connected,
        };
        (recorder, Writers(writers))
    }

    /// Records one request's events and its audit row in one transaction; the outcomes come in the order of `drafts`.
    pub async fn record(
        &self,
        drafts: Vec<Draft>,
        array: bool,
        activity: activity::Entry,
    ) -> Result<Vec<Outcome>, Unavailable> {
        let places = [
            take(&self.places, drafts.len())?,
            take(&self.bytes, drafts.iter().map(Draft::bytes).sum())?,
        ];
        let (reply, outcome) = oneshot::channel();
        let job = Job {
            drafts,
            array,
            activity,
            reply,
            _places: places,
        };
        self.queue.send(job).map_err(|_| Unavailable::Stopped)?;
        match tokio::time::timeout(self.answer_within, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_writer_gone)) => Err(Unavailable::Stopped),
            Err(_elapsed) => Err(Unavailable::Slow),
        }
    }

    /// Events that wait or are being committed.
    pub fn depth(&self) -> usize {
        self.capacity - self.places.available_permits()
    }

    /// What keeps it from taking events, if anything does.
    pub fn trouble(&self) -> Option<&'static str> {
        if self.queue.is_closed() {
            return Some("the recorder has stopped");
        }
        if self.places.available_permits() == 0 || self.bytes.available_permits() < LARGEST_EVENT {
            return Some("the recorder's queue is full");
        }
        (self.connected.load(Ordering::Relaxed) == 0).then_some("the recorder cannot reach the database")
    }
}

fn take(places: &Arc<Semaphore>, wanted: usize) -> Result<OwnedSemaphorePermit, Unavailable> {
    let wanted = u32::try_from(wanted).map_err(|_| Unavailable::Full)?;
    Arc::clone(places)
        .try_acquire_many_owned(wanted)
        .map_err(|_| Unavailable::Full)
}
