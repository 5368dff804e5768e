//! Why a request is refused: the failure contract in one list.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::activity::Status;
use crate::domain::faults::{Fault, in_short};
use crate::keys;
use crate::platform::group_commit::Unavailable;
use crate::platform::http_body::BadBody;
use crate::platform::problem::Problem;

/// A refusal, in the order of the checks.
#[derive(Debug)]
pub enum Refusal {
    /// 404
    UnknownAttributionId,
    /// 404
    WebhooksDisabled,
    /// 401, or 429 after too many, or 503
    Authentication(keys::Refusal),
    /// 429
    RateLimited {
        /// Whole seconds.
        retry_after: u64,
    },
    /// 400, 408, 413, 415
    Body(BadBody),
    /// 422
    Invalid(Vec<Fault>),
    /// 422, found out by the database; the recorder has written the audit row.
    Unstorable(Vec<Fault>),
    /// 503
    Unavailable(String),
}

impl From<Unavailable> for Refusal {
    fn from(cause: Unavailable) -> Self {
        Self::Unavailable(cause.to_string())
    }
}

/// What the audit row of a refused request says.
#[derive(Debug, Clone)]
pub struct Audit {
    /// What became of it.
    pub status: Status,
    /// The answer's code.
    pub code: &'static str,
    /// What was wrong: names of fields and rules, never values.
    pub detail: String,
    /// Events refused.
    pub rejected: usize,
}

impl Refusal {
    fn problem(&self) -> Problem {
        match self {
            Self::UnknownAttributionId => Problem::new(
                StatusCode::NOT_FOUND,
                "unknown_attribution_id",
                "Unknown attribution ID",
                "There is no such attribution ID: copy it from the webhook settings.",
            ),
            Self::WebhooksDisabled => Problem::new(
                StatusCode::NOT_FOUND,
                "webhooks_disabled",
                "Webhooks are disabled",
                "Webhooks are not enabled for this attribution ID: enable them in its settings.",
            ),
            Self::Authentication(refusal) => authentication(refusal),
            Self::RateLimited { retry_after } => {
                let detail = format!("This key's allowance is used up: try again in {retry_after} s.");
                Problem::rate_limited(detail, *retry_after)
            }
            Self::Body(bad) => bad.problem(),
            Self::Invalid(faults) | Self::Unstorable(faults) => {
                Problem::validation_failed(faults.len(), json!(faults))
            }
            Self::Unavailable(cause) => {
                Problem::unavailable("The event was not recorded: send it again.").caused_by(cause)
            }
        }
    }

    /// The audit row's part; none where no row is possible or due.
    fn audit(&self, problem: &Problem) -> Option<Audit> {
        let audit = |status| Audit {
            status,
            code: problem.code,
            detail: problem.detail.clone(),
            rejected: 0,
        };
        match self {
            Self::UnknownAttributionId
            | Self::WebhooksDisabled
            | Self::Unavailable(_)
            | Self::Unstorable(_) => None,
            Self::Authentication(keys::Refusal::Unavailable(_)) => None,
            Self::Authentication(keys::Refusal::TooManyFailures { .. }) | Self::RateLimited { .. } => {
                Some(audit(Status::RateLimited))
            }
            Self::Authentication(_) => Some(audit(Status::AuthError)),
            Self::Invalid(faults) => Some(Audit {
                detail: in_short(faults),
                rejected: 1,
                ..audit(Status::ValidationError)
            }),
            _ => Some(audit(Status::ValidationError)),
        }
    }
}

fn authentication(refusal: &keys::Refusal) -> Problem {
    use keys::Refusal::{Expired, Invalid, Malformed, Missing, Revoked, TooManyFailures, Unavailable};
    let (code, detail) = match refusal {
        Missing => (
            "missing_credentials",
            "Send `Authorization: Bearer td_wh_...`.".to_owned(),
        ),
        Malformed(why) => (
            "malformed_credentials",
            format!("The credentials cannot be a key: {why}."),
        ),
        Invalid => ("invalid_key", "This is no key of this attribution ID.".to_owned()),
        Revoked => ("revoked_key", "This key was revoked: use another one.".to_owned()),
        Expired => ("expired_key", "This key has expired: use another one.".to_owned()),
        TooManyFailures { retry_after } => {
            let detail = format!("Too many failed attempts from this address: try again in {retry_after} s.");
            return Problem::rate_limited(detail, *retry_after);
        }
        Unavailable(cause) => {
            return Problem::unavailable("The key cannot be checked now: send the event again.")
                .caused_by(cause);
        }
    };
    Problem::new(StatusCode::UNAUTHORIZED, code, "Not authenticated", detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let audit = self.audit(&problem);
        let mut response = problem.into_response();
        if let Some(audit) = audit {
            response.extensions_mut().insert(audit);
        }
        response
    }
}
