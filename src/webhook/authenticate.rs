//! Check 2: a key in force, of this very attribution ID.

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Webhook;
use super::file_refusal::Proven;
use super::known_stream::Call;
use super::refusal::Refusal;

pub async fn prove(
    State(webhook): State<Webhook>,
    Extension(call): Extension<Call>,
    mut request: Request,
    next: Next,
) -> Response {
    let proof = webhook
        .authenticator
        .authenticate(request.headers(), call.stream.tenant(), call.client);
    match proof.await {
        Ok(key) => {
            webhook.last_used.note(&key, call.received_at);
            request.extensions_mut().insert(key.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(Proven(key));
            response
        }
        Err(refusal) => Refusal::Authentication(refusal).into_response(),
    }
}
