//! `POST /webhooks/custom/{attribution_id}/{topic}`: HTTP in, HTTP out.

mod answer;
mod authenticate;
mod file_refusal;
mod handler;
mod known_stream;
mod limit;
mod refusal;
mod router;

use std::sync::Arc;

use crate::activity;
use crate::conversions::{Previewer, Recorder};
use crate::destinations::Destinations;
use crate::forwarding;
use crate::keys::{Allowances, Authenticator};
use crate::platform::client_ip::TrustedProxies;
use crate::platform::clock::Clock;
use crate::platform::last_noted::LastNoted;
use crate::platform::secrets::Sealer;
use crate::streams::Streams;

pub use router::router;

/// What the webhook needs of the service; every request holds it, so it is shared and not copied.
pub struct Webhook {
    /// Attribution IDs.
    pub streams: Arc<Streams>,
    /// Keys.
    pub authenticator: Arc<Authenticator>,
    /// Their limits.
    pub allowances: Arc<Allowances>,
    /// Their last use.
    pub last_used: LastNoted,
    /// Where conversions are forwarded to.
    pub destinations: Arc<Destinations>,
    /// Where conversions go.
    pub recorder: Recorder,
    /// Where dry runs go.
    pub previewer: Previewer,
    /// Tells a dry run what would be forwarded.
    pub forwarding: forwarding::Previewer,
    /// Where the audit rows of refused requests go.
    pub filer: activity::Filer,
    /// Seals personal data.
    pub sealer: Sealer,
    /// The time.
    pub clock: Clock,
    /// Whose word on the client's address counts.
    pub proxies: TrustedProxies,
    /// How long a body may take to come.
    pub read_timeout: std::time::Duration,
}
