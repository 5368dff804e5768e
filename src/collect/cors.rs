//! Pages of any origin may send events and read the answers. A page of another site gets no cookie with it: see `site`.

use axum::http::{HeaderMap, HeaderValue, header};

/// Seconds that a browser may remember a preflight's answer; browsers have lower bounds of their own.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Lets the page that asked read the answer. A wildcard would not do: browsers refuse it where cookies come along.
pub fn allow(request: &HeaderMap, answer: &mut HeaderMap) {
    answer.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(header::ORIGIN) else {
        return;
    };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    answer.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Retry-After, X-Request-Id"),
    );
}

/// Answers a preflight: what the request that follows may be.
pub fn allow_next(answer: &mut HeaderMap) {
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST"),
    );
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type"),
    );
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}
