//! Group commit: a writer takes whatever waits, commits it in one transaction, answers, and takes again. No timer: batches grow with load,
//! and a lone request waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Histogram};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};

use super::outcome::Outcome;
use super::record::Draft;
use super::recorder::{Job, Unavailable};
use super::steps::{attribute_all, completed, find_duplicates};
use super::store::{self, Row};
use crate::activity;
use crate::attribution::Attribution;
use crate::platform::db::{self, Failure};
use crate::platform::secrets::Sealer;

/// A transaction that has not come to its end by then never will: the connection is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
/// A writer that has waited for so long looks after its connection.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a batch that met a deadlock or the like is tried again.
const TRIES: usize = 3;

type Waiting = Arc<Mutex<mpsc::UnboundedReceiver<Job>>>;
type Settled = Result<Vec<Outcome>, Unavailable>;

/// Takes, commits, answers.
pub(super) struct Writer {
    database: PgConnectOptions,
    conn: Option<PgConnection>,
    sealer: Sealer,
    max_batch: usize,
    /// Whether it is one of `connected`, once that was found out.
    works: Option<bool>,
    /// Writers whose connection works.
    connected: Arc<AtomicUsize>,
    batch_events: Histogram,
    commit_seconds: Histogram,
    split: Counter,
}

impl Writer {
    pub(super) fn new(
        database: PgConnectOptions,
        sealer: Sealer,
        max_batch: usize,
        connected: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            database,
            conn: None,
            sealer,
            max_batch,
            works: None,
            connected,
            batch_events: metrics::histogram!("trustdata_recorder_batch_events"),
            commit_seconds: metrics::histogram!("trustdata_recorder_commit_seconds"),
            split: metrics::counter!("trustdata_recorder_splits_total"),
        }
    }

    /// Works until the queue is closed and empty. The first request finds a connection, and a lost one is found again without any.
    pub(super) async fn run(mut self, waiting: Waiting) {
        self.look_after_connection().await;
        loop {
            let max_batch = self.max_batch;
            let next = async { take(&mut *waiting.lock().await, max_batch).await };
            let Ok(jobs) = timeout(LOOK_EVERY, next).await else {
                self.look_after_connection().await;
                continue;
            };
            if jobs.is_empty() {
                return;
            }
            self.batch_events
                .record(jobs.iter().map(|job| job.drafts.len()).sum::<usize>() as f64);
            let started = Instant::now();
            let settled = self.settle(&jobs).await;
            self.commit_seconds.record(started.elapsed().as_secs_f64());
            for (job, settled) in jobs.into_iter().zip(settled) {
                // A caller that has gone away is no error: what it sent is settled all the same.
                let _gone = job.reply.send(settled);
            }
        }
    }

    /// Commits the jobs together; a batch that holds a row which the database refuses is halved until that row is alone.
    async fn settle(&mut self, jobs: &[Job]) -> Vec<Settled> {
        match self.commit(jobs).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(Trouble::Unavailable(why)) => jobs.iter().map(|_| Err(why.clone())).collect(),
            Err(Trouble::BadRow) => {
                self.split.increment(1);
                match jobs {
                    [job] => vec![self.settle_one_by_one(job).await],
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

    /// Commits each event of a request alone, then its audit row.
    async fn settle_one_by_one(&mut self, job: &Job) -> Settled {
        let mut outcomes = Vec::with_capacity(job.drafts.len());
        for draft in &job.drafts {
            match self.commit_rows(&[draft], |_| Vec::new()).await {
                Ok(outcome) => outcomes.extend(outcome),
                Err(Trouble::BadRow) => outcomes.push(Outcome::Unstorable),
                Err(Trouble::Unavailable(why)) => return Err(why),
            }
        }
        let entry = complete(job, &outcomes);
        match self.commit_rows(&[], |_| vec![entry.clone()]).await {
            Ok(_) => Ok(outcomes),
            Err(Trouble::Unavailable(why)) => Err(why),
            Err(Trouble::BadRow) => Err(Unavailable::Away("the audit row was refused".to_owned())),
        }
    }

    async fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Vec<Outcome>>, Trouble> {
        let drafts: Vec<&Draft> = jobs.iter().flat_map(|job| &job.drafts).collect();
        let entries = |mut outcomes: &[Outcome]| {
            let entry = |job: &Job| {
                let (own, others) = outcomes.split_at(job.drafts.len());
                outcomes = others;
                complete(job, own)
            };
            jobs.iter().map(entry).collect()
        };
        let mut outcomes = self.commit_rows(&drafts, entries).await?.into_iter();
        Ok(jobs
            .iter()
            .map(|job| outcomes.by_ref().take(job.drafts.len()).collect())
            .collect())
    }

    /// One transaction: conversions, credits, and the audit rows that `entries` makes of the outcomes.
    async fn commit_rows(
        &mut self,
        drafts: &[&Draft],
        entries: impl Fn(&[Outcome]) -> Vec<activity::Entry>,
    ) -> Result<Vec<Outcome>, Trouble> {
        let mut tries = 0;
        loop {
            tries += 1;
            let sealer = self.sealer.clone();
            let attempt = async {
                let conn = self.connection().await?;
                transact(conn, drafts, &entries, &sealer).await
            };
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
            true => tracing::info!("a writer of the recorder reaches the database"),
            false => tracing::error!(cause, "a writer of the recorder cannot reach the database"),
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

/// Waits for a job, then takes what else is there, up to `max_batch` events; nothing when the queue is closed.
async fn take(waiting: &mut mpsc::UnboundedReceiver<Job>, max_batch: usize) -> Vec<Job> {
    let Some(first) = waiting.recv().await else {
        return Vec::new();
    };
    let mut events = first.drafts.len();
    let mut jobs = vec![first];
    while events < max_batch
        && let Ok(job) = waiting.try_recv()
    {
        events += job.drafts.len();
        jobs.push(job);
    }
    jobs
}

/// Match, store, find the first of what was there, credit, audit; in one transaction but for the match, which needs none.
async fn transact(
    conn: &mut PgConnection,
    drafts: &[&Draft],
    entries: impl Fn(&[Outcome]) -> Vec<activity::Entry>,
    sealer: &Sealer,
) -> Result<Vec<Outcome>, sqlx::Error> {
    let attributions = attribute_all(conn, drafts).await?;
    let mut order: Vec<usize> = (0..drafts.len()).collect();
    // Stable: of two with one identity the one that came first stands.
    order.sort_by_key(|place| drafts[*place].identity());
    let row = |place: &usize| Row {
        draft: drafts[*place],
        attribution: &attributions[*place],
    };
    let rows: Vec<Row<'_>> = order.iter().map(row).collect();

    let mut transaction = conn.begin().await?;
    let stored = match rows.is_empty() {
        true => Default::default(),
        false => store::insert(&mut transaction, &rows).await?,
    };
    let (fresh, repeats): (Vec<usize>, Vec<usize>) =
        (0..drafts.len()).partition(|place| stored.contains(&drafts[*place].event_id));
    if !fresh.is_empty() {
        store::insert_credits(&mut transaction, &fresh.iter().map(row).collect::<Vec<_>>()).await?;
    }
    let outcome = |(draft, attribution): (&&Draft, Attribution)| Outcome::recorded(draft, attribution);
    let mut outcomes: Vec<Outcome> = drafts.iter().zip(attributions).map(outcome).collect();
    if !repeats.is_empty() {
        let asked: Vec<&Draft> = repeats.iter().map(|place| drafts[*place]).collect();
        let mut found = find_duplicates(&mut transaction, &asked, sealer).await?;
        for (index, place) in repeats.iter().enumerate() {
            // The row that stood in the way was deleted since: the next try stores this one.
            outcomes[*place] = found.remove(&index).ok_or(sqlx::Error::RowNotFound)?;
        }
    }
    activity::store::insert(&mut transaction, &entries(&outcomes)).await?;
    transaction.commit().await?;
    Ok(outcomes)
}

fn complete(job: &Job, outcomes: &[Outcome]) -> activity::Entry {
    completed(job.activity.clone(), &job.drafts, job.array, outcomes)
}
