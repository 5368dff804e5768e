//! The way to the writers. The queue is bounded by events and by their bytes, and full means 503 at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::writer::Writer;
use super::{Unavailable, Work};
use crate::platform::config;

/// Bytes that the largest single event may have: where there is no room for it, the queue is full.
const LARGEST_EVENT: usize = 256 * 1024;

/// A job that waits.
pub(super) struct Waiting<W: Work> {
    pub(super) job: W::Job,
    pub(super) reply: oneshot::Sender<Result<W::Outcome, Unavailable>>,
    /// Its places in the queue, of events and of bytes, given back when it is settled.
    pub(super) _places: [OwnedSemaphorePermit; 2],
}

/// Hands jobs to the writers and waits for the commit.
pub struct Queue<W: Work> {
    waiting: mpsc::UnboundedSender<Waiting<W>>,
    places: Arc<Semaphore>,
    capacity: usize,
    bytes: Arc<Semaphore>,
    answer_within: Duration,
    /// Writers whose connection works.
    connected: Arc<AtomicUsize>,
}

impl<W: Work> Clone for Queue<W> {
    fn clone(&self) -> Self {
        Self {
            waiting: self.waiting.clone(),
            places: Arc::clone(&self.places),
            capacity: self.capacity,
            bytes: Arc::clone(&self.bytes),
            answer_within: self.answer_within,
            connected: Arc::clone(&self.connected),
        }
    }
}

/// How much waits in a queue or is being committed.
#[derive(Clone)]
pub struct Depth {
    places: Arc<Semaphore>,
    capacity: usize,
}

impl Depth {
    /// In events.
    pub fn events(&self) -> usize {
        self.capacity - self.places.available_permits()
    }
}

/// The writers, which run until the last queue's end is gone and all that waits is settled.
pub struct Writers(pub JoinSet<()>);

impl<W: Work> Queue<W> {
    /// A queue, and its writers among `writers`, each with a connection of its own.
    pub fn start(
        work: W,
        settings: &config::GroupCommit,
        database: &PgConnectOptions,
        writers: &mut Writers,
    ) -> Self {
        // Bounded by the semaphores, which count events and bytes where a channel would count requests.
        let (sender, receiver) = mpsc::unbounded_channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let work = Arc::new(work);
        let connected = Arc::new(AtomicUsize::new(0));
        for _ in 0..settings.writers {
            let writer = Writer::new(
                Arc::clone(&work),
                database.clone(),
                settings.max_batch,
                Arc::clone(&connected),
            );
            writers.0.spawn(writer.run(Arc::clone(&receiver)));
        }
        Self {
            waiting: sender,
            places: Arc::new(Semaphore::new(settings.queue)),
            capacity: settings.queue,
            bytes: Arc::new(Semaphore::new(settings.queue_bytes)),
            answer_within: settings.answer_within,
            connected,
        }
    }

    /// What became of the job, once it is committed.
    pub async fn commit(&self, job: W::Job) -> Result<W::Outcome, Unavailable> {
        let size = W::size(&job);
        let places = [take(&self.places, size.events)?, take(&self.bytes, size.bytes)?];
        let (reply, outcome) = oneshot::channel();
        let waiting = Waiting {
            job,
            reply,
            _places: places,
        };
        self.waiting.send(waiting).map_err(|_| Unavailable::Stopped)?;
        match tokio::time::timeout(self.answer_within, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_writer_gone)) => Err(Unavailable::Stopped),
            Err(_elapsed) => Err(Unavailable::Slow),
        }
    }

    /// How much waits or is being committed, to be looked at by whoever should step back then.
    pub fn depth(&self) -> Depth {
        Depth {
            places: Arc::clone(&self.places),
            capacity: self.capacity,
        }
    }

    /// Keeps the gauge of what waits or is being committed.
    pub fn gauge(&self) {
        metrics::gauge!("trustdata_recorder_queue_depth", "of" => W::NAME).set(self.depth().events() as f64);
    }

    /// What keeps it from taking events, if anything does.
    pub fn trouble(&self) -> Option<&'static str> {
        if self.waiting.is_closed() {
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
