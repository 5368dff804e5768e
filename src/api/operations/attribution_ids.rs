//! Attribution IDs.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::stream;
use crate::api::Api;
use crate::api::extract::{Asked, At, Created, Json, Sent, check_name, fault, invalid};
use crate::api::page::{Page, Wanted, bad_cursor};
use crate::api::principal::{OfProperty, Reader, Writer, unavailable, unknown};
use crate::domain::faults::Fault;
use crate::platform::db;
use crate::platform::problem::Problem;
use crate::settings::{self, StreamChange};
use crate::streams::{LOOKBACK_DAYS, Stream, store};

/// An attribution ID, and where its events go.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttributionId {
    #[serde(flatten)]
    stream: Stream,
    /// Where events are posted to; `{topic}` stands for the topic.
    webhook_url: String,
}

impl AttributionId {
    fn new(stream: Stream, api: &Api) -> Self {
        Self {
            webhook_url: stream.webhook_url(&api.base_url, "{topic}"),
            stream,
        }
    }
}

/// Attribution IDs of the property, oldest first
#[utoipa::path(get, path = "/attribution-ids", tag = "Attribution IDs", params(OfProperty, Wanted), responses((status = 200, body = Page<AttributionId>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<AttributionId>>, Problem> {
    let limit = wanted.limit()?;
    let after = match wanted.after_id()? {
        Some(id) => {
            let found = stream(&api, reader.property_id, id).await;
            Some(found.map_err(|_| bad_cursor())?)
        }
        None => None,
    };
    let read = async {
        let mut conn = api.pool.acquire().await?;
        store::streams_of(
            &mut conn,
            reader.property_id,
            after.as_ref(),
            i64::from(limit) + 1,
        )
        .await
    };
    let found = db::in_time(read).await.map_err(unavailable)?;
    let found = found.into_iter().map(|stream| AttributionId::new(stream, &api));
    Ok(Json(Page::of(found.collect(), limit, |one| {
        [one.stream.attribution_id]
    })))
}

/// What an attribution ID is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAttributionId)]
pub struct New {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// Make an attribution ID; its webhook is closed
#[utoipa::path(post, path = "/attribution-ids", tag = "Attribution IDs", params(OfProperty), request_body = New, responses((status = 201, body = AttributionId)))]
pub async fn create(
    State(api): State<Arc<Api>>,
    writer: Writer,
    Sent(new): Sent<New>,
) -> Result<Created<AttributionId>, Problem> {
    let mut faults = Vec::new();
    check_name("name", &new.name, &mut faults);
    if !faults.is_empty() {
        return Err(invalid(faults));
    }
    let stream = Stream::new(writer.property_id, new.name, &api.clock);
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    settings::create_stream(&mut conn, &writer.principal.actor(), &stream, &api.clock)
        .await
        .map_err(unavailable)?;
    Ok(Created(AttributionId::new(stream, &api)))
}

/// An attribution ID
#[utoipa::path(get, path = "/attribution-ids/{attribution_id}", tag = "Attribution IDs", params(("attribution_id" = Uuid, Path), OfProperty), responses((status = 200, body = AttributionId)))]
pub async fn show(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(attribution_id): At<Uuid>,
) -> Result<Json<AttributionId>, Problem> {
    let stream = stream(&api, reader.property_id, attribution_id).await?;
    Ok(Json(AttributionId::new(stream, &api)))
}

/// The script, and whether it is in place.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tracking {
    /// What is pasted into the head of every page.
    snippet: String,
    /// When a page last told of itself, to the minute; null when none ever did.
    last_seen_at: Option<DateTime<Utc>>,
}

/// The snippet for the site's pages, and whether page views arrive
#[utoipa::path(get, path = "/attribution-ids/{attribution_id}/tracking", tag = "Attribution IDs", params(("attribution_id" = Uuid, Path), OfProperty), responses((status = 200, body = Tracking)))]
pub async fn tracking(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(attribution_id): At<Uuid>,
) -> Result<Json<Tracking>, Problem> {
    let stream = stream(&api, reader.property_id, attribution_id).await?;
    let read = async { store::last_seen(&mut *api.pool.acquire().await?, stream.tenant()).await };
    let last_seen_at = db::in_time(read).await.map_err(unavailable)?;
    Ok(Json(Tracking {
        snippet: stream.snippet(&api.base_url),
        last_seen_at,
    }))
}

/// What is to be changed; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = AttributionIdChange)]
pub struct Change {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// Whether the webhook takes requests.
    webhooks_enabled: Option<bool>,
    /// Days from a click within which a conversion is credited to it; for conversions from now on.
    #[schema(minimum = 1, maximum = 90)]
    lookback_days: Option<i16>,
}

fn faults(change: &Change) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(name) = &change.name {
        check_name("name", name, &mut faults);
    }
    if change
        .lookback_days
        .is_some_and(|days| !LOOKBACK_DAYS.contains(&days))
    {
        faults.push(fault("lookback_days", "out_of_range", "must be 1 to 90"));
    }
    faults
}

/// Change an attribution ID: its name, its lookback, and whether its webhook is open
#[utoipa::path(patch, path = "/attribution-ids/{attribution_id}", tag = "Attribution IDs", params(("attribution_id" = Uuid, Path), OfProperty), request_body = Change, responses((status = 200, body = AttributionId)))]
pub async fn change(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(attribution_id): At<Uuid>,
    Sent(change): Sent<Change>,
) -> Result<Json<AttributionId>, Problem> {
    let faults = faults(&change);
    if !faults.is_empty() {
        return Err(invalid(faults));
    }
    stream(&api, writer.property_id, attribution_id).await?;
    let change = StreamChange {
        name: change.name,
        webhooks_enabled: change.webhooks_enabled,
        lookback_days: change.lookback_days,
    };
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let actor = writer.principal.actor();
    let changed = settings::change_stream(&mut conn, &actor, attribution_id, change, &api.clock)
        .await
        .map_err(unavailable)?;
    let changed = changed.ok_or_else(|| unknown("attribution ID"))?;
    Ok(Json(AttributionId::new(changed, &api)))
}
