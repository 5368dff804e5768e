//! Error answers: `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::request_id::RequestId;

/// Where the types of problems live. RFC 9457 asks for an identifier; it need not resolve.
const TYPES: &str = "https://trustdata.example/problems/";

/// The code of answers that refuse what was sent.
pub const VALIDATION_FAILED: &str = "validation_failed";

/// An error answer. `cause` is for the log alone.
#[derive(Debug, Clone)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable, for programs.
    pub code: &'static str,
    /// What this kind of problem is.
    pub title: &'static str,
    /// What it is this time, and how to mend it. Never holds what the caller sent.
    pub detail: String,
    /// Apart, so that a function that may refuse returns little when it does not.
    rest: Box<Rest>,
}

/// What most problems do not have.
#[derive(Debug, Clone, Default)]
struct Rest {
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

impl Problem {
    /// An answer with the four things that each has.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            rest: Box::default(),
        }
    }

    /// Adds an extension member.
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.rest.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.rest.headers.push((name, value.into()));
        self
    }

    /// Keeps the private cause for the log.
    pub fn caused_by(mut self, cause: impl std::fmt::Display) -> Self {
        self.rest.cause = Some(cause.to_string());
        self
    }

    /// The private cause, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.rest.cause.as_deref()
    }

    /// 404: nothing lives at this path.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            "Nothing lives at this path.",
        )
    }

    /// 405, naming the one method that is.
    pub fn method_not_allowed(allowed: Method) -> Self {
        let detail = format!("This path takes {allowed} only.");
        let allow = HeaderValue::from_str(allowed.as_str()).unwrap_or(HeaderValue::from_static("POST"));
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            detail,
        )
        .header(header::ALLOW, allow)
    }

    /// 422: what was sent is not valid; `errors` is the JSON of its faults.
    pub fn validation_failed(faults: usize, errors: Value) -> Self {
        let detail = format!("The event has {faults} fault(s); every one is listed.");
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            VALIDATION_FAILED,
            "Validation failed",
            detail,
        )
        .member("errors", errors)
    }

    /// 429: come back in so many whole seconds.
    pub fn rate_limited(detail: String, retry_after: u64) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "Too many requests",
            detail,
        )
        .header(header::RETRY_AFTER, HeaderValue::from(retry_after))
    }

    /// 503: nothing was promised; come back.
    pub fn unavailable(detail: &'static str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Temporarily unavailable",
            detail,
        )
        .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 500: our fault.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Internal error",
            "Something went wrong on this side; the request id finds it in the log.",
        )
    }

    /// The finished answer, which names the request.
    pub fn render(&self, request: &RequestId) -> Response {
        let mut body = json!({
            "type": format!("{TYPES}{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "request_id": request.as_str(),
        });
        if let Some(object) = body.as_object_mut() {
            object.extend(self.rest.members.clone());
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        for (name, value) in &self.rest.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }
}

/// The body waits for the outermost layer, which knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
