//! What a sender is told.

use std::borrow::Cow;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::refusal::Audit;
use crate::activity::Status;
use crate::conversions::{Match, Outcome, Receipt};
use crate::domain::faults::{Fault, Warning, in_short};
use crate::forwarding::Preview;
use crate::platform::marks::RefusedAs;
use crate::platform::problem::VALIDATION_FAILED;

const INVALID: RefusedAs = RefusedAs(VALIDATION_FAILED);

/// An event that was taken.
#[derive(Debug, Serialize)]
pub struct Accepted {
    status: &'static str,
    event_id: Uuid,
    topic: String,
    conversion_id: String,
    duplicate: bool,
    #[serde(skip_serializing_if = "is_false")]
    dry_run: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differs: Vec<String>,
    session_matched: bool,
    attribution: Attribution,
    warnings: Vec<Warning>,
    /// Of a dry run, what each destination would be sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forwarding: Vec<Preview>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Where it came from, or why nobody knows.
#[derive(Debug, Serialize)]
struct Attribution {
    reason: Cow<'static, str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    matched: Option<Matched>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    outside: Option<Outside>,
}

#[derive(Debug, Serialize)]
struct Matched {
    session_id: String,
    touches: usize,
    source: Option<String>,
    medium: Option<String>,
    campaign: Option<String>,
    click_id: Option<String>,
    clicked_at: String,
}

#[derive(Debug, Serialize)]
struct Outside {
    nearest_session_days: i64,
    nearest_session_at: String,
    lookback_days: i16,
}

impl Accepted {
    /// The answer to one event; none when it could not be stored.
    pub fn new(
        topic: &str,
        conversion_id: String,
        warnings: Vec<Warning>,
        outcome: Outcome,
        dry_run: bool,
    ) -> Option<Self> {
        let (receipt, duplicate, differs): (Receipt, bool, Vec<String>) = match outcome {
            Outcome::Recorded(receipt) => (receipt, false, Vec::new()),
            Outcome::Duplicate { first, differs } => (first, true, differs),
            Outcome::Unstorable => return None,
        };
        Some(Self {
            status: "success",
            event_id: receipt.event_id,
            topic: topic.to_owned(),
            conversion_id,
            duplicate,
            dry_run,
            differs,
            session_matched: receipt.matched.is_matched(),
            attribution: Attribution::of(receipt.matched),
            warnings,
            forwarding: Vec::new(),
        })
    }
}

impl Attribution {
    fn of(found: Match) -> Self {
        let outside = found
            .nearest_session_days()
            .zip(found.nearest_session_at)
            .map(|(days, at)| Outside {
                nearest_session_days: days,
                nearest_session_at: rfc3339(at),
                lookback_days: found.lookback_days,
            });
        let matched = found.credit.map(|credit| Matched {
            session_id: credit.touch.session_id,
            touches: credit.touches,
            source: credit
                .touch
                .source
                .or_else(|| credit.touch.direct.then(|| "direct".to_owned())),
            medium: credit.touch.medium,
            campaign: credit.touch.campaign,
            click_id: credit.touch.click_id,
            clicked_at: rfc3339(credit.touch.clicked_at),
        });
        Self {
            reason: found.reason,
            matched,
            outside,
        }
    }
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// One event of an array.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Item {
    /// Taken.
    Accepted {
        /// Its place in the array.
        index: usize,
        /// As for a single event.
        #[serde(flatten)]
        answer: Box<Accepted>,
    },
    /// Refused.
    Refused {
        /// Its place in the array.
        index: usize,
        /// `validation_error`
        status: &'static str,
        /// All that is wrong with it.
        errors: Vec<Fault>,
    },
}

/// The answer to an array.
#[derive(Debug, Serialize)]
pub struct Many {
    status: &'static str,
    accepted: usize,
    rejected: usize,
    results: Vec<Item>,
}

impl Many {
    /// In the order of the array.
    pub fn new(results: Vec<Item>) -> Self {
        let accepted = results
            .iter()
            .filter(|item| matches!(item, Item::Accepted { .. }))
            .count();
        let rejected = results.len() - accepted;
        let status = match (accepted, rejected) {
            (_, 0) => "success",
            (0, _) => "validation_error",
            _ => "partial",
        };
        Self {
            status,
            accepted,
            rejected,
            results,
        }
    }
}

impl Many {
    /// The audit row of an array of which nothing was accepted.
    pub fn audit(&self) -> Audit {
        let first = self.results.iter().find_map(|item| match item {
            Item::Refused { index, errors, .. } => Some(format!("event {index}: {}", in_short(errors))),
            Item::Accepted { .. } => None,
        });
        Audit {
            status: Status::ValidationError,
            code: INVALID.0,
            detail: first.unwrap_or_default(),
            rejected: self.rejected,
        }
    }
}

impl IntoResponse for Many {
    fn into_response(self) -> Response {
        if self.accepted > 0 {
            return Json(self).into_response();
        }
        let mut response = (StatusCode::UNPROCESSABLE_ENTITY, Json(self)).into_response();
        response.extensions_mut().insert(INVALID);
        response
    }
}
