//! Webhook keys: made, proven, limited, revoked.

mod allowances;
mod authenticator;
pub mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

pub use allowances::Allowances;
pub use authenticator::{Authenticator, Refusal};

/// Requests a minute that a key gets unless told otherwise.
pub const DEFAULT_RATE_LIMIT: i32 = 60;
/// Requests a minute that a key may be given.
pub const MOST_RATE_LIMIT: i32 = 100_000_000;

/// A key as it is listed: never its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Key {
    /// Its id.
    #[serde(rename = "id")]
    pub key_id: Uuid,
    /// The tenant.
    pub property_id: Uuid,
    /// The one attribution ID that it opens.
    pub attribution_id: Uuid,
    /// What people call it.
    pub name: String,
    /// The first characters of the token.
    pub prefix: String,
    /// Requests a minute.
    pub rate_limit: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops working by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it last opened anything, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}
