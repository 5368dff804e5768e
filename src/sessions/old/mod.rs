//! Sessions and links that are past their time.

pub mod store;

use chrono::{DateTime, Utc};

/// How far a property's sessions were gone through, in the order of their start and their id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A session's start.
    pub started_at: DateTime<Utc>,
    /// Its id.
    pub session_id: String,
}

/// What became of some sessions that were looked at.
#[derive(Debug)]
pub struct Stripped {
    /// How many were looked at.
    pub looked_at: u64,
    /// How many had something that went.
    pub stripped: u64,
    /// How far it came; none where there was nothing to look at.
    pub through: Option<Place>,
}
