//! Check 1: the attribution ID is known, and takes webhooks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
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
    /// `?dry_run=true`
    pub dry_run: bool,
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
        client: webhook.proxies.client(peer(head), &head.headers),
        dry_run: head
            .uri
            .query()
            .is_some_and(|query| query.split('&').any(|pair| pair == "dry_run=true")),
    })
}

fn peer(head: &Parts) -> IpAddr {
    let info = head.extensions.get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}
