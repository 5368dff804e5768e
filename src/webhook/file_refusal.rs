//! Files the audit row of what was refused. What was recorded has its row from the recorder.

use axum::response::Response;

use super::Webhook;
use super::known_stream::Call;
use super::refusal::Audit;
use crate::activity::{Entry, Status};
use crate::domain::text::shown;
use crate::keys::Key;
use crate::platform::clock::Clock;

/// Files the row of an answer that refuses, with the key where one was proven.
pub fn file(webhook: &Webhook, call: &Call, key: Option<&Key>, response: &Response) {
    if let Some(audit) = response.extensions().get::<Audit>() {
        webhook.filer.file(Entry {
            status: audit.status,
            http_status: response.status().as_u16(),
            code: Some(audit.code),
            detail: Some(shown(&audit.detail, 500)),
            rejected: i32::try_from(audit.rejected).unwrap_or(i32::MAX),
            ..entry(call, key, &webhook.clock)
        });
    }
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
        dry_run: call.is_dry_run(),
        conversion_id: None,
        event_id: None,
        accepted: 0,
        rejected: 0,
        requests: 1,
    }
}
