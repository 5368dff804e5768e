//! The tab of tracking: the snippet, and whether page views arrive.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::TimeDelta;
use uuid::Uuid;

use super::of_stream::{self, Tab};
use crate::dashboard::Dashboard;
use crate::dashboard::extract::Path;
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Viewer};
use crate::dashboard::show::{html, time};
use crate::platform::db;
use crate::streams::{Stream, store};

#[derive(Template)]
#[template(path = "dashboard/templates/tracking.html")]
struct Page {
    frame: Frame,
    stream: Stream,
    tabs: Vec<Tab>,
    snippet: String,
    /// When a page last told of itself.
    last: Option<String>,
    /// Whether that is within a day.
    lately: bool,
}

/// `GET .../tracking`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::AttributionIds).await?;
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::last_seen(&mut conn, stream.tenant()).await
    };
    let last = db::in_time(read).await?;
    let now = dashboard.clock.now();
    Ok(html(&Page {
        frame,
        tabs: of_stream::tabs(&stream, "tracking"),
        snippet: stream.snippet(&dashboard.base_url),
        lately: last.is_some_and(|at| now - at < TimeDelta::days(1)),
        last: last.map(time),
        stream,
    }))
}
