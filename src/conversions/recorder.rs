//! The one way into the database for conversions, whichever door they come through.

use sqlx::postgres::PgConnectOptions;

use super::outcome::Outcome;
use super::record::Draft;
use super::recording::{Audit, Recording, Request};
use crate::activity;
use crate::destinations::outbox::Bell;
use crate::platform::config;
use crate::platform::group_commit::{Depth, Queue, Unavailable, Writers};
use crate::platform::secrets::Sealer;

/// Hands conversions to the writers and waits for the commit.
#[derive(Clone)]
pub struct Recorder(Queue<Recording>);

impl Recorder {
    /// A recorder, and its writers among `writers`.
    pub fn start(
        settings: &config::GroupCommit,
        database: &PgConnectOptions,
        sealer: &Sealer,
        bell: &Bell,
        writers: &mut Writers,
    ) -> Self {
        let recording = Recording {
            sealer: sealer.clone(),
            bell: bell.clone(),
        };
        Self(Queue::start(recording, settings, database, writers))
    }

    /// Records one request's events, and the audit row where one is due, in one transaction; the outcomes come in the order of `drafts`.
    pub async fn record(
        &self,
        mut drafts: Vec<Draft>,
        array: bool,
        activity: Option<activity::Entry>,
    ) -> Result<Vec<Outcome>, Unavailable> {
        if let Some(entry) = &activity {
            for draft in &mut drafts {
                draft.origin.activity_id = Some(entry.activity_id);
            }
        }
        let request = Request {
            drafts,
            array,
            audit: activity.map_or(Audit::None, Audit::Due),
        };
        self.0.commit(request).await
    }

    /// How much waits or is being committed.
    pub fn depth(&self) -> Depth {
        self.0.depth()
    }

    /// Keeps the gauge of what waits or is being committed.
    pub fn gauge(&self) {
        self.0.gauge();
    }

    /// What keeps it from taking events, if anything does.
    pub fn trouble(&self) -> Option<&'static str> {
        self.0.trouble()
    }
}
