//! Why events are refused: the failure contract in one list.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::faults::Fault;
use crate::platform::group_commit::Unavailable;
use crate::platform::http_body::BadBody;
use crate::platform::problem::Problem;

/// A refusal, in the order of the checks.
#[derive(Debug)]
pub enum Refusal {
    /// 429
    RateLimited {
        /// Whose allowance is used up.
        whose: &'static str,
        /// Whole seconds.
        retry_after: u64,
    },
    /// 400, 408, 413, 415
    Body(BadBody),
    /// 422
    Invalid(Vec<Fault>),
    /// 404
    UnknownAttributionId,
    /// 503
    Unavailable(String),
}

impl Refusal {
    /// Problem, and outcome for the metrics.
    fn spec(&self) -> (Problem, &'static str) {
        match self {
            Self::RateLimited { whose, retry_after } => {
                let detail = format!("{whose} allowance is used up: try again in {retry_after} s.");
                (Problem::rate_limited(detail, *retry_after), "rate_limited")
            }
            Self::Body(bad) => (bad.problem(), "invalid"),
            Self::Invalid(faults) => (Problem::validation_failed(faults.len(), json!(faults)), "invalid"),
            Self::UnknownAttributionId => {
                let problem = Problem::new(
                    StatusCode::NOT_FOUND,
                    "unknown_attribution_id",
                    "Unknown attribution ID",
                    "There is no such attribution ID: copy it from the settings into the page's `init`.",
                );
                (problem, "unknown_attribution_id")
            }
            Self::Unavailable(cause) => {
                let problem = Problem::unavailable("The event was not stored: send it again.");
                (problem.caused_by(cause), "unavailable")
            }
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(cause: Unavailable) -> Self {
        Self::Unavailable(cause.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (problem, outcome) = self.spec();
        super::count(outcome, 1);
        problem.into_response()
    }
}
