//! Takes, commits, answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Histogram};
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};

use super::queue::Waiting;
use super::{Unavailable, Work};
use crate::platform::db::{self, Failure};

/// A transaction that has not come to its end by then never will: the connection is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
/// A writer that has waited for so long looks after its connection.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a batch that met a deadlock or the like is tried again.
const TRIES: usize = 3;

type Settled<W> = Result<<W as Work>::Outcome, Unavailable>;
type Receiver<W> = mpsc::UnboundedReceiver<Waiting<W>>;

/// A writer, with a connection of its own.
pub(super) struct Writer<W: Work> {
    work: Arc<W>,
    database: PgConnectOptions,
    conn: Option<PgConnection>,
    max_batch: usize,
    /// Whether it is one of `connected`, once that was found out.
    works: Option<bool>,
    /// Writers whose connection works.
    connected: Arc<AtomicUsize>,
    batch_events: Histogram,
    commit_seconds: Histogram,
    split: Counter,
}

impl<W: Work> Writer<W> {
    pub(super) fn new(
        work: Arc<W>,
        database: PgConnectOptions,
        max_batch: usize,
        connected: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            work,
            database,
            conn: None,
            max_batch,
            works: None,
            connected,
            batch_events: metrics::histogram!("trustdata_recorder_batch_events", "of" => W::NAME),
            commit_seconds: metrics::histogram!("trustdata_recorder_commit_seconds", "of" => W::NAME),
            split: metrics::counter!("trustdata_recorder_splits_total", "of" => W::NAME),
        }
    }

    /// Works until the queue is closed and empty. The first request finds a connection, and a lost one is found again without any.
    pub(super) async fn run(mut self, receiver: Arc<Mutex<Receiver<W>>>) {
        self.look_after_connection().await;
        loop {
            let max_batch = self.max_batch;
            let next = async { take(&mut *receiver.lock().await, max_batch).await };
            let Ok((waiting, events)) = timeout(LOOK_EVERY, next).await else {
                self.look_after_connection().await;
                continue;
            };
            if waiting.is_empty() {
                return;
            }
            self.batch_events.record(events as f64);
            let started = Instant::now();
            let jobs: Vec<&W::Job> = waiting.iter().map(|waiting| &waiting.job).collect();
            let settled = self.settle(&jobs).await;
            self.commit_seconds.record(started.elapsed().as_secs_f64());
            for (waiting, settled) in waiting.into_iter().zip(settled) {
                // A caller that has gone away is no error: what it sent is settled all the same.
                let _gone = waiting.reply.send(settled);
            }
        }
    }

    /// Commits the jobs together; a batch that holds a row which the database refuses is halved until that row's job is alone.
    async fn settle(&mut self, jobs: &[&W::Job]) -> Vec<Settled<W>> {
        match self.commit(jobs).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(Trouble::Unavailable(why)) => jobs.iter().map(|_| Err(why.clone())).collect(),
            Err(Trouble::BadRow) => {
                self.split.increment(1);
                match jobs {
                    [job] => vec![self.settle_apart(job).await],
                    _ => {
                        let (left, right) = jobs.split_at(jobs.len() / 2);
                        let mut settled = Box::pin(self.settle(left)).await;
                        settled.extend(Box::pin(self.settle(right)).await);
                        settled
                    }
                }
            }
        }
    }

    /// Commits each part of a job alone, then what is left of it.
    async fn settle_apart(&mut self, job: &W::Job) -> Settled<W> {
        let mut outcomes = Vec::new();
        for part in W::parts(job) {
            match self.commit(&[&part]).await {
                Ok(outcome) => outcomes.extend(outcome),
                Err(Trouble::BadRow) => outcomes.push(W::refused(&part)),
                Err(Trouble::Unavailable(why)) => return Err(why),
            }
        }
        let (outcome, rest) = W::joined(job, outcomes);
        match rest {
            None => Ok(outcome),
            Some(rest) => match self.commit(&[&rest]).await {
                Ok(_) => Ok(outcome),
                Err(Trouble::Unavailable(why)) => Err(why),
                Err(Trouble::BadRow) => Err(Unavailable::Away("the audit row was refused".to_owned())),
            },
        }
    }

    async fn commit(&mut self, jobs: &[&W::Job]) -> Result<Vec<W::Outcome>, Trouble> {
        let work = Arc::clone(&self.work);
        let mut tries = 0;
        loop {
            tries += 1;
            let attempt = async { work.commit(self.connection().await?, jobs).await };
            let error = match timeout(GIVE_UP_AFTER, attempt).await {
                Ok(Ok(outcomes)) => {
                    self.note_works(true, "");
                    return Ok(outcomes);
                }
                Ok(Err(error)) => error,
                Err(_elapsed) => sqlx::Error::PoolTimedOut,
            };
            match db::failure(&error) {
                Failure::BadRow => return Err(Trouble::BadRow),
                Failure::Conflict if tries < TRIES => {}
                // The database is there, and so is the connection.
                Failure::Conflict => {
                    return Err(Trouble::Unavailable(Unavailable::Conflict(error.to_string())));
                }
                Failure::Away => {
                    // In what state the connection is, nobody knows.
                    self.conn = None;
                    let cause = error.to_string();
                    self.note_works(false, &cause);
                    return Err(Trouble::Unavailable(Unavailable::Away(cause)));
                }
            }
        }
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        match &mut self.conn {
            Some(conn) => Ok(conn),
            empty => Ok(empty.insert(db::connect(&self.database).await?)),
        }
    }

    /// Makes sure that there is a connection, and that it works.
    async fn look_after_connection(&mut self) {
        if let Some(conn) = &mut self.conn
            && !db::answers(conn).await
        {
            self.conn = None;
        }
        match self.connection().await.map(|_| ()) {
            Ok(()) => self.note_works(true, ""),
            Err(error) => self.note_works(false, &error.to_string()),
        }
    }

    /// Logs the change, not each failure.
    fn note_works(&mut self, now: bool, cause: &str) {
        match (self.works.replace(now), now) {
            (Some(true), true) | (Some(false), false) => return,
            (Some(true), false) => self.connected.fetch_sub(1, Ordering::Relaxed),
            (_, true) => self.connected.fetch_add(1, Ordering::Relaxed),
            (None, false) => 0,
        };
        match now {
            true => tracing::info!(of = W::NAME, "a writer of the recorder reaches the database"),
            false => tracing::error!(
                of = W::NAME,
                cause,
                "a writer of the recorder cannot reach the database"
            ),
        }
    }
}

/// Why a batch was not committed.
enum Trouble {
    /// A row in it can never be stored.
    BadRow,
    /// Not now.
    Unavailable(Unavailable),
}

/// Waits for a job, then takes what else is there, up to `max_batch` events, and counts them; nothing when the queue is closed.
async fn take<W: Work>(receiver: &mut Receiver<W>, max_batch: usize) -> (Vec<Waiting<W>>, usize) {
    let Some(first) = receiver.recv().await else {
        return (Vec::new(), 0);
    };
    let mut events = W::size(&first.job).events;
    let mut waiting = vec![first];
    while events < max_batch
        && let Ok(next) = receiver.try_recv()
    {
        events += W::size(&next.job).events;
        waiting.push(next);
    }
    (waiting, events)
}
