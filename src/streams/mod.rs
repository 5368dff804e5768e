//! Properties, and their streams: attribution IDs with their settings.

mod directory;
pub mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

pub use directory::Streams;

use crate::domain::tenant::Tenant;

/// A tenant.
#[derive(Debug, Clone, Serialize)]
pub struct Property {
    /// Its id.
    pub property_id: Uuid,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// An attribution ID and its settings.
#[derive(Debug, Clone, Serialize)]
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
    /// Whose it is.
    pub fn tenant(&self) -> Tenant {
        Tenant {
            property_id: self.property_id,
            attribution_id: self.attribution_id,
        }
    }
}
