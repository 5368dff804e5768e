//! `/api/v1`: everything that the dashboard shows or does, for programs.

mod docs;
mod document;
mod extract;
mod operations;
mod page;
mod principal;
mod router;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;

use crate::forwarding::Sender;
use crate::platform::client_ip::TrustedProxies;
use crate::platform::clock::Clock;
use crate::platform::last_noted::LastNoted;
use crate::platform::password::SlowHash;
use crate::platform::rate::Allowances;
use crate::platform::secrets::Sealer;
use crate::reports::Reader;
use crate::trials::Trials;
use crate::users::sign_ins::SignIns;

pub use router::router;

/// What the operations need.
pub struct Api {
    /// Reads and changes of settings.
    pub pool: PgPool,
    /// Reads of reports.
    pub reports: Reader,
    /// Time and ids.
    pub clock: Clock,
    /// Users of the dashboard.
    pub sign_ins: Arc<SignIns>,
    /// Hashes new webhook keys.
    pub hash: SlowHash,
    /// Seals settings, and opens what is shown masked.
    pub sealer: Sealer,
    /// Test events.
    pub trials: Trials,
    /// Tries destinations out.
    pub sender: Sender,
    /// Whose word about the client's address counts.
    pub proxies: TrustedProxies,
    /// How the service is reached, without a slash at the end.
    pub base_url: String,
    /// Notes when tokens are used.
    pub last_used: LastNoted,
    /// Failed tokens by address.
    pub failures: Allowances<IpAddr>,
    /// How many of them a minute.
    pub failures_per_minute: NonZeroU32,
    /// How long a body may take to arrive.
    pub read_timeout: Duration,
}
