//! Check 1: the attribution ID is known, and takes webhooks.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;
use uuid::Uuid;

use super::Webhook;
use super::refusal::Refusal;
use crate::domain::text::shown;
use crate::streams::Stream;

/// A request to a stream that is known.
#[derive(Debug)]
pub struct Call {
    /// Its settings.
    pub stream: Arc<Stream>,
    /// As sent, made fit to be shown.
    pub topic: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// Who sent it.
    pub client: IpAddr,
    /// `?dry_run=true` or `=false`, which is the default; none where it says anything else, and nobody knows which one is meant.
    pub dry_run: Option<bool>,
}

impl Call {
    /// Whether nothing is to be recorded.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run == Some(true)
    }
}

/// Finds what the request calls.
pub async fn find(webhook: &Webhook, head: &Parts) -> Result<Call, Refusal> {
    // `/webhooks/custom/{attribution_id}/{topic}`, which the router has found to be of this shape.
    let mut segments = head.uri.path().split('/').skip(3);
    let (id, topic) = (
        segments.next().unwrap_or_default(),
        segments.next().unwrap_or_default(),
    );
    let id = Uuid::try_parse(id).map_err(|_| Refusal::UnknownAttributionId)?;
    let found = webhook
        .streams
        .get(id)
        .await
        .map_err(|error| Refusal::Unavailable(error.to_string()))?;
    let stream = found.ok_or(Refusal::UnknownAttributionId)?;
    if !stream.webhooks_enabled {
        return Err(Refusal::WebhooksDisabled);
    }
    Ok(Call {
        stream,
        topic: shown(&percent_decode_str(topic).decode_utf8_lossy(), 64),
        received_at: webhook.clock.now(),
        client: webhook.proxies.client_of(head),
        dry_run: dry_run(head.uri.query().unwrap_or_default()),
    })
}

fn dry_run(query: &str) -> Option<bool> {
    let mut told = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "dry_run");
    let (first, second) = (told.next(), told.next());
    match (first.as_ref().map(|(_, value)| value.as_ref()), second) {
        (None, _) | (Some("false"), None) => Some(false),
        (Some("true"), None) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_asked_for_clearly() {
        let table = [
            ("", Some(false)),
            ("other=1", Some(false)),
            ("dry_run=false", Some(false)),
            ("a=b&dry_run=true", Some(true)),
            ("dry_run=%74rue", Some(true)),
            ("dry_run", None),
            ("dry_run=", None),
            ("dry_run=1", None),
            ("dry_run=True", None),
            ("dry_run=true&dry_run=false", None),
        ];
        for (query, expected) in table {
            assert_eq!(dry_run(query), expected, "{query}");
        }
    }
}
