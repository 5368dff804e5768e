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

/// A tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Property {
    /// Its id.
    pub property_id: Uuid,
    /// What people call it.
    pub name: String,
    /// Whether consent that nobody told counts as granted.
    pub unknown_consent_granted: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
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

    /// Whose it is.
    pub fn tenant(&self) -> Tenant {
        Tenant {
            property_id: self.property_id,
            attribution_id: self.attribution_id,
        }
    }
}
