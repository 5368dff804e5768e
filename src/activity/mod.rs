//! The audit: a row for each request that reached authentication.

mod filer;
mod flood;
pub mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

pub use filer::{Filer, start as start_filer};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// 200.
    Success,
    /// 401.
    AuthError,
    /// The content did not pass: 400, 408, 413, 415, 422.
    ValidationError,
    /// 429.
    RateLimited,
}

impl Status {
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::AuthError => "auth_error",
            Self::ValidationError => "validation_error",
            Self::RateLimited => "rate_limited",
        }
    }
}

/// A row to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The tenant.
    pub property_id: Uuid,
    /// The stream.
    pub attribution_id: Uuid,
    /// UUIDv7 of `at`.
    pub activity_id: Uuid,
    /// When the request came.
    pub at: DateTime<Utc>,
    /// What became of it.
    pub status: Status,
    /// Topic as sent, made fit to be shown.
    pub topic: String,
    /// The answer's status.
    pub http_status: u16,
    /// The answer's code, where it was refused.
    pub code: Option<&'static str>,
    /// What was wrong.
    pub detail: Option<String>,
    /// The key, where it was proven.
    pub key: Option<(Uuid, String)>,
    /// Whether a session was found; for an array, whether one was for any event.
    pub session_matched: Option<bool>,
    /// Whether the conversion was there already.
    pub duplicate: bool,
    /// Names of the fields in which a repeat differs.
    pub differs: Option<String>,
    /// Whether nothing was to be recorded.
    pub dry_run: bool,
    /// The sender's id of the conversion.
    pub conversion_id: Option<String>,
    /// Our id of it.
    pub event_id: Option<Uuid>,
    /// Events taken.
    pub accepted: i32,
    /// Events refused.
    pub rejected: i32,
    /// Requests that the row stands for.
    pub requests: i32,
}

/// A request as it is listed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Logged {
    /// Its id.
    #[serde(rename = "id")]
    pub activity_id: Uuid,
    /// When it came.
    pub at: DateTime<Utc>,
    /// `success`, `auth_error`, `validation_error` or `rate_limited`.
    pub status: String,
    /// As it was sent.
    pub topic: String,
    /// What was answered.
    pub http_status: i16,
    /// Why it was refused.
    pub code: Option<String>,
    /// The same in words.
    pub detail: Option<String>,
    /// The key that it proved to have.
    pub key_name: Option<String>,
    /// Whether a session was found, for the first event of it.
    pub session_matched: Option<bool>,
    /// Since when it is matched, if that came later.
    pub matched_late_at: Option<DateTime<Utc>>,
    /// Whether it had come before.
    pub duplicate: bool,
    /// The fields in which it differs from the first one.
    pub differs: Option<String>,
    /// Whether nothing was recorded.
    pub dry_run: bool,
    /// The sender's id of the conversion.
    pub conversion_id: Option<String>,
    /// Our id of it.
    pub event_id: Option<Uuid>,
    /// Events taken.
    pub accepted: i32,
    /// Events refused.
    pub rejected: i32,
    /// Requests that this row stands for.
    pub requests: i32,
}
