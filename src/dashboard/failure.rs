//! Pages that say what went wrong.

use std::sync::Arc;

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::show::{Plain, html};
use crate::platform::marks::RefusedAs;
use crate::platform::password::HashError;

/// Why there is no page.
#[derive(Debug)]
pub enum Failure {
    /// Nobody is signed in.
    SignedOut {
        /// The path to come back to.
        next: String,
        /// Whether a part of a page was asked for, which cannot be led elsewhere.
        part: bool,
    },
    /// The role does not do.
    Forbidden,
    /// Not sent by a page of ours, or by one of an earlier sign-in.
    Forged,
    /// There is no such thing.
    NotFound,
    /// What no form of ours sends.
    BadForm(&'static str),
    /// More than a form may have.
    TooLarge,
    /// A form that did not arrive.
    NotWhole,
    /// Too many sign in, or set a password, at this moment.
    Busy,
    /// The database, or what else is needed; with the cause for the log.
    Unavailable(String),
    /// A fault of ours; with the cause for the log.
    Internal(String),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Arc<sqlx::Error>> for Failure {
    fn from(error: Arc<sqlx::Error>) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<HashError> for Failure {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::Busy,
            HashError::Failed(cause) => Self::Internal(cause),
        }
    }
}

#[derive(Template)]
#[template(path = "dashboard/templates/failure.html")]
struct Page {
    plain: Plain,
    title: &'static str,
    text: &'static str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code, title, text) = match self {
            Self::SignedOut { next, part } => return signed_out(&next, part),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "Not for your role",
                "Your role does not allow this. An owner can change it on the page of users.",
            ),
            Self::Forged => (
                StatusCode::FORBIDDEN,
                "forged_form",
                "This form is out of date",
                "It was sent from another site, it is more than a day old, or you signed in again since it was opened. Go back, load the page anew, and try again.",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "There is no such page",
                "It may have been removed, or the address was mistyped.",
            ),
            Self::BadForm(text) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad_form",
                "That cannot be done",
                text,
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "That is too much",
                "What was sent has more than the form may have. Go back, and send less.",
            ),
            Self::NotWhole => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "It did not arrive",
                "The form did not come whole, and in time. Nothing was changed. Go back and send it again.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many at once",
                "Many passwords are being checked at this moment. Nothing was changed. Try again in a moment.",
            ),
            Self::Unavailable(cause) => {
                tracing::error!(cause, "a page could not be made");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    "The database cannot be reached",
                    "Nothing was changed. Try again in a moment.",
                )
            }
            Self::Internal(cause) => {
                tracing::error!(cause, "a page could not be made");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "Something went wrong",
                    "It is in the service's log, under the id that is in this answer's X-Request-Id header.",
                )
            }
        };
        let page = Page {
            plain: Plain::new(),
            title,
            text,
        };
        let mut response = html(&page);
        *response.status_mut() = status;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(RefusedAs(code));
        response
    }
}

fn signed_out(next: &str, part: bool) -> Response {
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("next", next)
        .finish();
    let target = HeaderValue::from_str(&format!("/dashboard/sign-in?{query}"))
        .unwrap_or(HeaderValue::from_static("/dashboard/sign-in"));
    let mut response = match part {
        true => StatusCode::UNAUTHORIZED.into_response(),
        false => StatusCode::SEE_OTHER.into_response(),
    };
    let name = match part {
        true => header::HeaderName::from_static("hx-redirect"),
        false => header::LOCATION,
    };
    response.headers_mut().insert(name, target);
    response.extensions_mut().insert(RefusedAs("signed_out"));
    response
}
