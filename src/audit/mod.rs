//! Who changed which setting, and when.

mod note;
pub mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

pub use note::{Object, from_to, note};

/// Whose property the installation's own settings are, its users say.
pub const INSTALLATION: Uuid = Uuid::nil();

/// Who changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A user, by the email address.
    User(String),
    /// An API token, by its prefix.
    Token(String),
    /// Whoever has the machine.
    CommandLine,
    /// The service itself.
    System,
}

impl Actor {
    /// As it is stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Token(_) => "token",
            Self::CommandLine => "command_line",
            Self::System => "system",
        }
    }

    /// Who of that kind.
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Token(name) => name,
            Self::CommandLine => "command line",
            Self::System => "service",
        }
    }
}

/// A change of a setting.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Entry {
    /// The tenant, or [`INSTALLATION`].
    pub property_id: Uuid,
    /// Its id.
    #[serde(rename = "id")]
    pub entry_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// `user`, `token`, `command_line` or `system`.
    pub actor_kind: String,
    /// Who of that kind: an email address or a token's prefix.
    pub actor: String,
    /// What was done, e.g. `webhook_key.revoked`.
    pub action: String,
    /// What it was done to, e.g. `webhook_key`.
    pub object_kind: String,
    /// The id of that.
    pub object_id: String,
    /// What people called it then.
    pub object_name: String,
    /// What was set; never a secret.
    pub change: Option<Value>,
}
