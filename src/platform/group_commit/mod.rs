//! Group commit: requests hand over what is to be stored and wait; a writer takes whatever waits, commits it in one transaction, answers, and
//! takes again. No timer: batches grow with load, and a lone request waits for nobody.

mod queue;
mod writer;

use sqlx::PgConnection;

pub use queue::{Depth, Queue, Writers};

/// One kind of rows that is committed in groups.
pub trait Work: Send + Sync + 'static {
    /// What one request hands over.
    type Job: Send + Sync;
    /// What becomes of it.
    type Outcome: Send;

    /// What it stores, for logs and metrics.
    const NAME: &'static str;

    /// How much of the queue a job takes.
    fn size(job: &Self::Job) -> Size;

    /// Commits the jobs in one transaction; their outcomes in the same order.
    fn commit(
        &self,
        conn: &mut PgConnection,
        jobs: &[&Self::Job],
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, sqlx::Error>> + Send;

    /// What of a job can be stored without the rest of it, each as a job of its own.
    fn parts(job: &Self::Job) -> Vec<Self::Job>;

    /// What becomes of a part that the database refuses for good.
    fn refused(part: &Self::Job) -> Self::Outcome;

    /// What became of a job whose parts went each alone, and what is still to be stored of it.
    fn joined(job: &Self::Job, parts: Vec<Self::Outcome>) -> (Self::Outcome, Option<Self::Job>);
}

/// How much of a queue something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows that a request asks for.
    pub events: usize,
    /// Bytes that they hold in memory, near enough.
    pub bytes: usize,
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
