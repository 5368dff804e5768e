//! `GET /t.js` and `POST /api/events`: the browser script, and what it tells.

mod answer;
mod cookie;
mod cors;
mod handler;
mod limits;
mod record;
mod refusal;
mod router;
mod script;
mod site;
mod visitor;

use std::sync::Arc;
use std::time::Duration;

use crate::conversions::Recorder;
use crate::destinations::Destinations;
use crate::platform::client_ip::TrustedProxies;
use crate::platform::clock::Clock;
use crate::platform::daily_salts::DailySalts;
use crate::platform::last_noted::LastNoted;
use crate::platform::secrets::Sealer;
use crate::sessions::tracking::Tracker;
use crate::streams::Streams;

pub use limits::Limits;
pub use router::router;

/// What the collector needs of the service; every request holds it, so it is shared and not copied.
pub struct Collector {
    /// Attribution IDs.
    pub streams: Arc<Streams>,
    /// What may be sent.
    pub limits: Limits,
    /// What ids are made with for visitors who have not agreed to be recognised.
    pub salts: Arc<DailySalts>,
    /// Where moments of visits go.
    pub tracker: Tracker,
    /// Notes that pages tell of themselves.
    pub last_seen: LastNoted,
    /// Where conversions are forwarded to.
    pub destinations: Arc<Destinations>,
    /// Where conversions go.
    pub recorder: Recorder,
    /// Seals personal data.
    pub sealer: Sealer,
    /// The time.
    pub clock: Clock,
    /// Whose word on the client's address counts.
    pub proxies: TrustedProxies,
    /// How long a body may take to come.
    pub read_timeout: Duration,
}

/// Counts events by what became of them.
fn count(outcome: &'static str, events: usize) {
    if events > 0 {
        metrics::counter!("trustdata_collect_events_total", "outcome" => outcome).increment(events as u64);
    }
}
