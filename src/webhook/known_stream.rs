//! Check 1: the attribution ID is known, and takes webhooks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::Webhook;
use super::refusal::Refusal;
use crate::domain::text::shown;
use crate::streams::Stream;

/// A request to a stream that is known.
#[derive(Debug, Clone)]
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

pub async fn find(State(webhook): State<Webhook>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    match known(&webhook, request.uri(), request.headers(), peer).await {
        Ok(call) => {
            request.extensions_mut().insert(call);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn known(webhook: &Webhook, uri: &Uri, headers: &HeaderMap, peer: IpAddr) -> Result<Call, Refusal> {
    // `/webhooks/custom/{attribution_id}/{topic}`, which the router has found to be of this shape.
    let mut segments = uri.path().split('/').skip(3);
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
        client: webhook.proxies.client(peer, headers),
        dry_run: uri
            .query()
            .is_some_and(|query| query.split('&').any(|pair| pair == "dry_run=true")),
    })
}
