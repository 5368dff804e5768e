//! Check 3: the key's allowance. Its headers are on every authenticated answer.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Webhook;
use super::refusal::Refusal;
use crate::keys::Key;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

pub async fn allow(
    State(webhook): State<Webhook>,
    Extension(key): Extension<Arc<Key>>,
    request: Request,
    next: Next,
) -> Response {
    let allowance = webhook.allowances.of(&key);
    let (mut response, remaining, full_in) = match allowance.take() {
        Ok(left) => (next.run(request).await, left.remaining, left.full_in),
        Err(none) => (
            Refusal::RateLimited {
                retry_after: none.retry_after,
            }
            .into_response(),
            0,
            none.full_in,
        ),
    };
    let policy = format!("\"key\";q={};w=60", allowance.per_minute());
    let state = format!("\"key\";r={remaining};t={full_in}");
    for (name, text) in [(POLICY, policy), (STATE, state)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
