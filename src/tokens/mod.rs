//! Tokens of the admin API.

pub mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::platform::token::Token;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look.
    Read,
    /// Look, and change settings.
    Write,
}

/// A text that is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be read or write")]
pub struct UnknownScope;

impl Scope {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        [Self::Read, Self::Write]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(UnknownScope)
    }
}

/// A token as it is listed: never its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ApiToken {
    /// Its id.
    #[serde(rename = "id")]
    pub token_id: Uuid,
    /// The one property that it opens.
    pub property_id: Uuid,
    /// What people call it.
    pub name: String,
    /// The first characters.
    pub prefix: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it: an email address, or `command line`.
    pub created_by: String,
    /// When it stops working by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it last opened anything, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// What is stored of a token: 190 random bits need no slow hash.
pub fn hash(token: &Token) -> [u8; 32] {
    Sha256::digest(token.expose()).into()
}
