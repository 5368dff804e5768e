//! What a page is told.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::faults::Fault;
use crate::platform::marks::RefusedAs;
use crate::platform::problem::VALIDATION_FAILED;

/// The answer to one event: the visitor's id, for the browser to keep where the visitor agreed.
#[derive(Debug, Serialize)]
pub struct One {
    /// The id.
    pub visitor_id: String,
}

/// The answer to an array.
#[derive(Debug, Serialize)]
pub struct Many {
    /// Of the last good event.
    #[serde(skip_serializing_if = "Option::is_none")]
    visitor_id: Option<String>,
    accepted: usize,
    rejected: usize,
    results: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    index: usize,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

impl Many {
    /// In the order of the array: each event taken, or what is wrong with it.
    pub fn new(visitor_id: Option<String>, results: Vec<Result<(), Vec<Fault>>>) -> Self {
        let accepted = results.iter().filter(|result| result.is_ok()).count();
        let rejected = results.len() - accepted;
        let item = |(index, result): (usize, Result<(), Vec<Fault>>)| Item {
            index,
            status: match result {
                Ok(()) => "success",
                Err(_) => "validation_error",
            },
            errors: result.err().unwrap_or_default(),
        };
        Self {
            visitor_id,
            accepted,
            rejected,
            results: results.into_iter().enumerate().map(item).collect(),
        }
    }
}

impl IntoResponse for Many {
    fn into_response(self) -> Response {
        if self.accepted > 0 {
            return Json(self).into_response();
        }
        let mut response = (StatusCode::UNPROCESSABLE_ENTITY, Json(self)).into_response();
        response.extensions_mut().insert(RefusedAs(VALIDATION_FAILED));
        response
    }
}
