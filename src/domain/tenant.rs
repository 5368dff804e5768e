//! Whose data it is.

use uuid::Uuid;

/// A stream of conversions and the tenant that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant {
    /// The tenant: leads every key, named by every query.
    pub property_id: Uuid,
    /// The stream within it.
    pub attribution_id: Uuid,
}
