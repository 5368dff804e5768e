//! Properties, and their streams: attribution IDs with their settings.

mod directory;
pub mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

pub use directory::Streams;

use crate::domain::tenant::Tenant;
use crate::platform::clock::Clock;

/// Days of lookback that an attribution ID begins with.
pub const DEFAULT_LOOKBACK_DAYS: i16 = 30;
/// Days of lookback that may be set.
pub const LOOKBACK_DAYS: std::ops::RangeInclusive<i16> = 1..=90;
/// Days that personal data may be kept. Copies of an event through the other door add to it for a week, and it must be there for so long.
pub const KEEP_PERSONAL_DAYS: std::ops::RangeInclusive<i16> = 7..=3650;
/// Days that audit rows, and sessions after the lookback, may be kept.
pub const KEEP_DAYS: std::ops::RangeInclusive<i16> = 1..=3650;

/// A tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Property {
    /// Its id.
    pub property_id: Uuid,
    /// What people call it.
    pub name: String,
    /// Whether consent that nobody told counts as granted.
    pub unknown_consent_granted: bool,
    /// Days that audit rows are kept, 1 to 3650.
    pub keep_activity_days: i16,
    /// Days that personal data is kept after the last delivery, 7 to 3650; a visitor's address and browser, after the lookback.
    pub keep_personal_days: i16,
    /// Days that sessions are kept after the lookback, 1 to 3650.
    pub keep_sessions_days: i16,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Property {
    /// A property that is not stored yet.
    pub fn new(name: String, clock: &Clock) -> Self {
        Self {
            property_id: clock.new_id(),
            name,
            unknown_consent_granted: false,
            keep_activity_days: 30,
            keep_personal_days: 30,
            keep_sessions_days: 60,
            created_at: clock.now(),
        }
    }
}

/// What is kept of a property, in days.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Whose it is.
    pub property_id: Uuid,
    /// Audit rows.
    pub keep_activity_days: i16,
    /// Personal data, after the last delivery.
    pub keep_personal_days: i16,
    /// Sessions, after the lookback.
    pub keep_sessions_days: i16,
    /// The longest lookback of its streams.
    pub longest_lookback_days: i16,
}

/// An attribution ID and its settings.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Stream {
    /// The id in the webhook's URL.
    pub attribution_id: Uuid,
    /// The tenant that it belongs to.
    pub property_id: Uuid,
    /// What people call it.
    pub name: String,
    /// Whether the webhook takes requests.
    pub webhooks_enabled: bool,
    /// Days from a click within which a conversion is credited to it, 1 to 90.
    pub lookback_days: i16,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Stream {
    /// A stream that is not stored yet, with its webhook closed.
    pub fn new(property_id: Uuid, name: String, clock: &Clock) -> Self {
        Self {
            attribution_id: clock.new_id(),
            property_id,
            name,
            webhooks_enabled: false,
            lookback_days: DEFAULT_LOOKBACK_DAYS,
            created_at: clock.now(),
        }
    }

    /// Where its events of a topic are posted to; `base_url` is how the service is reached.
    pub fn webhook_url(&self, base_url: &str, topic: &str) -> String {
        format!("{base_url}/webhooks/custom/{}/{topic}", self.attribution_id)
    }

    /// What is pasted into the site's pages.
    pub fn snippet(&self, base_url: &str) -> String {
        format!(
            "<script>\n  window.trustdata = window.trustdata || [];\n  trustdata.push(['init', '{}']);\n\
             </script>\n<script async src=\"{base_url}/t.js\"></script>",
            self.attribution_id
        )
    }

    /// Whose it is.
    pub fn tenant(&self) -> Tenant {
        Tenant {
            property_id: self.property_id,
            attribution_id: self.attribution_id,
        }
    }
}
