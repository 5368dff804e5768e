//! Files the audit row of what was refused, and of dry runs. What was recorded has its row from the recorder.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Webhook;
use super::answer::DryRun;
use super::known_stream::Call;
use super::refusal::Audit;
use crate::activity::{Entry, Status};
use crate::domain::text::shown;
use crate::keys::Key;
use crate::platform::clock::Clock;

/// The key that a request has proven, on its way out.
#[derive(Clone)]
pub struct Proven(pub Arc<Key>);

pub async fn file(
    State(webhook): State<Webhook>,
    Extension(call): Extension<Call>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let key = response
        .extensions()
        .get::<Proven>()
        .map(|proven| Arc::clone(&proven.0));
    if let Some(audit) = response.extensions().get::<Audit>() {
        webhook.filer.file(Entry {
            status: audit.status,
            http_status: response.status().as_u16(),
            code: Some(audit.code),
            detail: Some(shown(&audit.detail, 500)),
            rejected: i32::try_from(audit.rejected).unwrap_or(i32::MAX),
            ..entry(&call, key.as_deref(), &webhook.clock)
        });
    } else if let Some(DryRun(filed)) = response.extensions_mut().remove::<DryRun>() {
        webhook.filer.file(filed);
    }
    response
}

/// The row of a request that goes well; whoever knows better fills in the rest.
pub fn entry(call: &Call, key: Option<&Key>, clock: &Clock) -> Entry {
    Entry {
        property_id: call.stream.property_id,
        attribution_id: call.stream.attribution_id,
        activity_id: clock.new_id(),
        at: call.received_at,
        status: Status::Success,
        topic: call.topic.clone(),
        http_status: 200,
        code: None,
        detail: None,
        key: key.map(|key| (key.key_id, key.name.clone())),
        session_matched: None,
        duplicate: false,
        differs: None,
        dry_run: call.dry_run,
        conversion_id: None,
        event_id: None,
        accepted: 0,
        rejected: 0,
        requests: 1,
    }
}
