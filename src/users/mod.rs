//! People who may sign in.

pub mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

/// A user as listed: never the password.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// Its id.
    #[serde(rename = "id")]
    pub user_id: Uuid,
    /// The address that names the user.
    pub email: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}
