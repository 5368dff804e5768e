//! Stand-ins for the ad platforms, for trying things out and for tests: they check requests as strictly as the platforms' references say,
//! and answer as documented.
//!
//! They know nothing of the code that makes the requests: what one side gets wrong, the other one finds.

mod check;
mod control;
mod ga4;
mod google;
mod linkedin;
mod meta;
mod microsoft;
mod pinterest;
mod record;
mod reddit;
mod router;
mod schema;
mod snapchat;
mod tiktok;
mod webhook;

pub use control::{Later, Mode, Setting};
pub use router::{Options, router};
pub use webhook::{BadWebhookKey, WebhookKey};

use check::Stub;

/// Every stub, by the first part of the path.
static STUBS: [Stub; 10] = [
    meta::STUB,
    google::STUB,
    tiktok::STUB,
    ga4::STUB,
    microsoft::STUB,
    linkedin::STUB,
    pinterest::STUB,
    snapchat::STUB,
    reddit::STUB,
    webhook::STUB,
];

/// Names of the stubs: the first parts of their paths.
pub fn names() -> impl Iterator<Item = &'static str> {
    STUBS.iter().map(|stub| stub.name)
}
