//! Check 2: a key in force, of this very attribution ID.

use std::sync::Arc;

use axum::http::HeaderMap;

use super::Webhook;
use super::known_stream::Call;
use super::refusal::Refusal;
use crate::keys::Key;
use crate::platform::last_noted::Note;

/// The key that the request proves.
pub async fn prove(webhook: &Webhook, call: &Call, headers: &HeaderMap) -> Result<Arc<Key>, Refusal> {
    let key = webhook
        .authenticator
        .authenticate(headers, call.stream.tenant(), call.client)
        .await
        .map_err(Refusal::Authentication)?;
    webhook.last_used.note(Note {
        property_id: key.property_id,
        id: key.key_id,
        at: call.received_at,
    });
    Ok(key)
}
