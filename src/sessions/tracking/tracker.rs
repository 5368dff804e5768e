//! The one way into the database for what browsers tell: moments are put into sessions in groups.

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use super::{Moment, apply};
use crate::platform::clock::Clock;
use crate::platform::config;
use crate::platform::group_commit::{Queue, Size, Unavailable, Work, Writers};
use crate::platform::secrets::Sealer;

/// Hands moments to the writers and waits for the commit.
#[derive(Clone)]
pub struct Tracker(Queue<Tracking>);

impl Tracker {
    /// A tracker, and its writers among `writers`.
    pub fn start(
        settings: &config::GroupCommit,
        database: &PgConnectOptions,
        sealer: &Sealer,
        clock: &Clock,
        writers: &mut Writers,
    ) -> Self {
        let tracking = Tracking {
            clock: clock.clone(),
            sealer: sealer.clone(),
        };
        Self(Queue::start(tracking, settings, database, writers))
    }

    /// Puts one request's moments into sessions. Of each, whether it was: the database can refuse one that our checks should have refused.
    pub async fn record(&self, moments: Vec<Moment>) -> Result<Vec<bool>, Unavailable> {
        self.0.commit(moments).await
    }

    /// Keeps the gauge of what waits or is being committed.
    pub fn gauge(&self) {
        self.0.gauge();
    }

    /// What keeps it from taking moments, if anything does.
    pub fn trouble(&self) -> Option<&'static str> {
        self.0.trouble()
    }
}

/// Commits moments.
struct Tracking {
    clock: Clock,
    sealer: Sealer,
}

impl Work for Tracking {
    type Job = Vec<Moment>;
    type Outcome = Vec<bool>;

    const NAME: &'static str = "sessions";

    fn size(moments: &Vec<Moment>) -> Size {
        Size {
            events: moments.len(),
            bytes: moments.iter().map(Moment::bytes).sum(),
        }
    }

    async fn commit(
        &self,
        conn: &mut PgConnection,
        jobs: &[&Vec<Moment>],
    ) -> Result<Vec<Vec<bool>>, sqlx::Error> {
        let moments: Vec<&Moment> = jobs.iter().copied().flatten().collect();
        let mut transaction = conn.begin().await?;
        apply(&mut transaction, &moments, &self.clock, &self.sealer).await?;
        transaction.commit().await?;
        Ok(jobs.iter().map(|moments| vec![true; moments.len()]).collect())
    }

    fn parts(moments: &Vec<Moment>) -> Vec<Vec<Moment>> {
        moments.iter().map(|moment| vec![moment.clone()]).collect()
    }

    fn refused(part: &Vec<Moment>) -> Vec<bool> {
        vec![false; part.len()]
    }

    fn joined(_moments: &Vec<Moment>, parts: Vec<Vec<bool>>) -> (Vec<bool>, Option<Vec<Moment>>) {
        (parts.into_iter().flatten().collect(), None)
    }
}
