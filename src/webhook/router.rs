//! The webhook's route, and its checks in the order of the contract. Each check is a file, and leaves a typed value for the next.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;

use super::handler::Received;
use super::refusal::Refusal;
use super::{Webhook, authenticate, file_refusal, known_stream, limit};
use crate::platform::http_body::{self, Accepts};
use crate::platform::problem::Problem;

/// The route. Another method than POST is turned away before any check, and learns nothing of what exists.
pub fn router(webhook: Arc<Webhook>) -> Router {
    let receive = post(receive).fallback(async || Problem::method_not_allowed(Method::POST));
    Router::new()
        .route("/webhooks/custom/{attribution_id}/{topic}", receive)
        .with_state(webhook)
}

async fn receive(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    let (head, content) = request.into_parts();
    // 1. attribution ID -> Call; without one there is nothing to file a refusal under
    let call = match known_stream::find(&webhook, &head).await {
        Ok(call) => call,
        Err(refusal) => return refusal.into_response(),
    };
    // 2. bearer -> Arc<Key>
    let key = match authenticate::prove(&webhook, &call, &head.headers).await {
        Ok(key) => key,
        Err(refusal) => {
            let response = refusal.into_response();
            file_refusal::file(&webhook, &call, None, &response);
            return response;
        }
    };
    // 3. the key's allowance -> RateLimit headers on every answer from here on
    let (allowed, limit) = limit::take(&webhook, &key);
    let received = Received {
        webhook: &webhook,
        call: &call,
        key: &key,
    };
    let answer = async {
        allowed?;
        // 4. type, size, time -> Bytes
        let content = http_body::read(&head.headers, content, Accepts::Json, webhook.read_timeout)
            .await
            .map_err(Refusal::Body)?;
        // 5. and 6. valid, recorded
        received.answer(&head.headers, &content).await
    };
    let mut response = answer.await.into_response();
    limit.tell(response.headers_mut());
    file_refusal::file(&webhook, &call, Some(&key), &response);
    response
}
