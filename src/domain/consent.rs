//! What the visitor agreed to. Absent is unknown, and unknown is not granted.

use serde::{Deserialize, Serialize};

/// The four flags of a payload or a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Consent {
    /// May be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analytics: Option<bool>,
    /// May be sent to ad platforms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertising: Option<bool>,
    /// May be remembered for convenience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferences: Option<bool>,
    /// False: the visitor opted out of the sale of data (US).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale_of_data: Option<bool>,
}

impl Consent {
    /// Each flag, or where nothing is said the other's.
    pub fn or(self, other: Self) -> Self {
        Self {
            analytics: self.analytics.or(other.analytics),
            advertising: self.advertising.or(other.advertising),
            preferences: self.preferences.or(other.preferences),
            sale_of_data: self.sale_of_data.or(other.sale_of_data),
        }
    }
}

/// The names of the flags on the wire.
pub const FLAGS: [&str; 4] = ["analytics", "advertising", "preferences", "sale_of_data"];
