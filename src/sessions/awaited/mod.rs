//! Visitors whose session somebody waits for.

pub mod store;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::tenant::Tenant;

/// How long a conversion waits for a session of its visitor.
pub const WAITS: TimeDelta = TimeDelta::hours(24);

/// When it is looked at again in any case: a transaction that was writing sessions while the conversion was recorded, and could not see that
/// somebody waits, has ended by then.
pub const LOOKS_AFTER: TimeDelta = TimeDelta::minutes(1);

/// A conversion that waits.
#[derive(Debug, Clone)]
pub struct Awaited {
    /// Whose it is.
    pub tenant: Tenant,
    /// The conversion.
    pub event_id: Uuid,
    /// The visitor that it names.
    pub visitor_id: String,
    /// The audit row of the request that brought it.
    pub activity_id: Option<Uuid>,
    /// Until when.
    pub waits_until: DateTime<Utc>,
}
