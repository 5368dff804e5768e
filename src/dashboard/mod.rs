//! The pages: settings, and what became of conversions. HTML from the server, for people who are signed in.

mod assets;
mod chart;
mod days;
mod failure;
mod frame;
mod guard;
mod pages;
mod router;
mod show;
mod timeline;

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::forwarding::Sender;
use crate::platform::client_ip::TrustedProxies;
use crate::platform::clock::Clock;
use crate::platform::password::SlowHash;
use crate::platform::secrets::Sealer;
use crate::reports::Reader;
use crate::trials::Trials;
use crate::users::sign_ins::SignIns;

pub use router::router;

/// Pages that are kept current at the same time, at most: each asks the database once a second.
const MOST_LIVE: usize = 200;

/// What the pages need.
pub struct Dashboard {
    /// Reads and changes of settings.
    pub pool: PgPool,
    /// Reads of reports.
    pub reports: Reader,
    /// Time and ids.
    pub clock: Clock,
    /// Who is signed in.
    pub sign_ins: Arc<SignIns>,
    /// Hashes new passwords and keys.
    pub hash: SlowHash,
    /// Opens what is shown masked.
    pub sealer: Sealer,
    /// Whose word about the client's address counts.
    pub proxies: TrustedProxies,
    /// How the service is reached, without a slash at the end.
    pub base_url: String,
    /// Test events.
    pub trials: Trials,
    /// Tries destinations out.
    pub sender: Sender,
    /// Ends pages that are kept current.
    pub stop: CancellationToken,
    /// Places of pages that are kept current.
    pub live: Arc<Semaphore>,
}

impl Dashboard {
    /// Places for pages that are kept current.
    pub fn live_places() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MOST_LIVE))
    }

    /// Whether browsers reach it by TLS: cookies are then sent by TLS alone.
    fn is_secure(&self) -> bool {
        self.base_url.starts_with("https://")
    }
}
