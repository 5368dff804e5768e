//! Query, path and body, each a type or a problem.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Api;
use super::principal::unknown;
use crate::domain::faults::Fault;
use crate::domain::text;
use crate::platform::http_body::{self, Accepts};
use crate::platform::problem::{Problem, VALIDATION_FAILED};
use crate::reports::is_common;

/// The faults of a request, all of them.
pub fn invalid(faults: Vec<Fault>) -> Problem {
    let detail = format!("The request has {} fault(s); every one is listed.", faults.len());
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        VALIDATION_FAILED,
        "Validation failed",
        detail,
    )
    .member("errors", json!(faults))
}

/// One fault.
pub fn fault(field: &str, code: &'static str, message: impl Into<String>) -> Fault {
    Fault {
        field: field.to_owned(),
        code,
        message: message.into(),
    }
}

/// The query of a request.
pub fn query<T: DeserializeOwned>(head: &Parts) -> Result<T, Problem> {
    let read = Query::<T>::try_from_uri(&head.uri);
    let read = read.map_err(|_| {
        invalid(vec![fault(
            "query",
            "malformed",
            "cannot be read: look at names, types and escapes",
        )])
    })?;
    Ok(read.0)
}

/// The query.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        query(head).map(Self)
    }
}

/// Ids of the path; what cannot be an id names nothing.
pub struct At<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Api>> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(head, api).await;
        path.map(|Path(path)| Self(path)).map_err(|_| unknown("thing"))
    }
}

/// The body.
pub struct Sent<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let content = http_body::read(&head.headers, body, Accepts::Json, api.read_timeout)
            .await
            .map_err(|bad| bad.problem())?;
        serde_json::from_slice(&content).map(Self).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            match error.classify() {
                serde_json::error::Category::Data => invalid(vec![fault(
                    "body",
                    "malformed",
                    format!("does not have the documented form: {}, {place}", what(&error)),
                )]),
                _ => Problem::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_json",
                    "Invalid JSON",
                    format!("The body is no JSON: {place}."),
                ),
            }
        })
    }
}

/// What the parser says, without the value that it may quote.
fn what(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once('`') {
        Some(_) if text.starts_with("unknown field") || text.starts_with("missing field") => text
            .split(", expected")
            .next()
            .unwrap_or_default()
            .split(" at line")
            .next()
            .unwrap_or_default()
            .to_owned(),
        _ => "a value of another type, or one that is not allowed".to_owned(),
    }
}

/// A time that is looked for; of the years that databases and people agree about.
pub fn check_time(field: &str, at: Option<DateTime<Utc>>, faults: &mut Vec<Fault>) {
    if at.is_some_and(|at| !is_common(at.date_naive())) {
        faults.push(fault(field, "out_of_range", "must be in the years 1970 to 9999"));
    }
}

/// A name that people give.
pub fn check_name(field: &str, name: &str, faults: &mut Vec<Fault>) {
    const MOST: usize = 100;
    if name.is_empty() {
        faults.push(fault(field, "empty", "must not be empty"));
    } else if let Err(bad) = text::check(name, MOST) {
        let (code, message) = bad.spec(MOST);
        faults.push(fault(field, code, message));
    }
}

/// An answer with a body.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut response = axum::Json(self.0).into_response();
        response.headers_mut().insert(
            axum::http::header::CACHE_CONTROL,
            axum::http::HeaderValue::from_static("no-store"),
        );
        response
    }
}

/// Something that was made.
pub struct Created<T>(pub T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}
