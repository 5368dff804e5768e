//! The webhook's layers, in the order of its checks; each is a file and leaves a typed value for the next.

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::post;

use super::{Webhook, authenticate, body, file_refusal, handler, known_stream, limit};
use crate::platform::problem::Problem;

/// The route with its layers.
pub fn router(webhook: Webhook) -> Router {
    let state = || webhook.clone();
    // Added innermost first: the last one meets a request first. They guard POST alone: another method is turned away before any check and
    // learns nothing of what exists.
    let receive = post(handler::receive)
        .layer(from_fn_with_state(state(), body::read)) // 4. type, size, time -> Content
        .layer(from_fn_with_state(state(), limit::allow)) // 3. the key's allowance -> RateLimit headers
        .layer(from_fn_with_state(state(), authenticate::prove)) // 2. bearer -> Arc<Key>
        .layer(from_fn_with_state(state(), file_refusal::file)) // what 2 to 5 refuse gets its audit row
        .layer(from_fn_with_state(state(), known_stream::find)) // 1. attribution ID -> Call
        .fallback(async || Problem::method_not_allowed(Method::POST))
        .with_state(webhook.clone());
    Router::new().route("/webhooks/custom/{attribution_id}/{topic}", receive)
}
