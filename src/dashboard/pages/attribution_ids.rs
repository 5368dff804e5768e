//! Attribution IDs: all of a property, and the settings of one.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Said;
use super::of_stream::{self, Tab};
use crate::dashboard::Dashboard;
use crate::dashboard::extract::{Path, Query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Editor, Posted, Viewer};
use crate::dashboard::show::{day, go, html};
use crate::domain::text;
use crate::platform::db;
use crate::settings::{self, StreamChange};
use crate::streams::{LOOKBACK_DAYS, Stream, store};

/// Attribution IDs of a page.
const MOST: usize = 50;
/// Characters of a name, at most.
const MOST_NAME: usize = 100;

/// An attribution ID in the table.
struct Row {
    stream: Stream,
    path: String,
    created: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/attribution_ids.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    older: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "dashboard/templates/first.html")]
struct First {
    frame: Frame,
}

#[derive(Template)]
#[template(path = "dashboard/templates/attribution.html")]
struct Attribution {
    frame: Frame,
    stream: Stream,
    base: String,
    tabs: Vec<Tab>,
}

/// From where on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct After {
    after: Option<Uuid>,
}

/// `GET /dashboard`: how things stand with the first property, or how to make one.
pub async fn first(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, None, Place::AttributionIds).await?;
    match &frame.property {
        Some(property) => Ok(go(&format!(
            "/dashboard/properties/{}/overview",
            property.property_id
        ))),
        None => Ok(html(&First { frame })),
    }
}

fn of_property(property_id: Uuid) -> String {
    format!("/dashboard/properties/{property_id}/attribution-ids")
}

/// A name that people give.
pub(super) fn name(sent: &str) -> Result<String, Failure> {
    match text::check(sent, MOST_NAME) {
        Ok(()) if !sent.is_empty() => Ok(sent.to_owned()),
        _ => Err(Failure::BadForm(
            "A name has 1 to 100 characters, none of which is a control character.",
        )),
    }
}

/// Whether there is such a property to make something in.
pub(super) async fn refuse_unknown(conn: &mut PgConnection, property_id: Uuid) -> Result<(), Failure> {
    match store::property_exists(conn, property_id).await? {
        true => Ok(()),
        false => Err(Failure::NotFound),
    }
}

/// `GET .../attribution-ids`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(from): Query<After>,
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::AttributionIds).await?;
    let after = match from.after {
        Some(id) => Some(of_stream::find(&dashboard, property_id, id).await?),
        None => None,
    };
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::streams_of(&mut conn, property_id, after.as_ref(), MOST as i64 + 1).await
    };
    let mut streams = db::in_time(read).await?;
    let more = streams.len() > MOST;
    streams.truncate(MOST);
    let older = streams
        .last()
        .map(|stream| stream.attribution_id)
        .filter(|_| more);
    let row = |stream: Stream| Row {
        path: of_stream::path(&stream),
        created: day(stream.created_at),
        stream,
    };
    Ok(html(&Page {
        frame: frame.saying(said.word()),
        rows: streams.into_iter().map(row).collect(),
        older,
    }))
}

/// `POST .../attribution-ids`
pub async fn create(
    State(dashboard): State<Arc<Dashboard>>,
    Path(property_id): Path<Uuid>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let name = name(posted.form.text("name"))?;
    let mut conn = dashboard.pool.acquire().await?;
    refuse_unknown(&mut conn, property_id).await?;
    let stream = Stream::new(property_id, name, &dashboard.clock);
    settings::create_stream(&mut conn, &posted.session.actor(), &stream, &dashboard.clock).await?;
    Ok(go(&format!("{}/webhooks?said=created", of_stream::path(&stream))))
}

/// `GET .../attribution`
pub async fn attribution(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::AttributionIds).await?;
    Ok(html(&Attribution {
        frame: frame.saying(said.word()),
        base: of_stream::path(&stream),
        tabs: of_stream::tabs(&stream, "attribution"),
        stream,
    }))
}

/// `POST .../attribution/lookback`
pub async fn set_lookback(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let days = posted.form.text("lookback_days").parse::<i16>().ok();
    let days = days
        .filter(|days| LOOKBACK_DAYS.contains(days))
        .ok_or(Failure::BadForm("The lookback is 1 to 90 days."))?;
    let change = StreamChange {
        lookback_days: Some(days),
        ..StreamChange::default()
    };
    changed(&dashboard, &posted, property_id, attribution_id, change).await?;
    back(property_id, attribution_id, "lookback")
}

/// `POST .../attribution/name`
pub async fn rename(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let change = StreamChange {
        name: Some(name(posted.form.text("name"))?),
        ..StreamChange::default()
    };
    changed(&dashboard, &posted, property_id, attribution_id, change).await?;
    back(property_id, attribution_id, "renamed")
}

fn back(property_id: Uuid, attribution_id: Uuid, said: &str) -> Result<Response, Failure> {
    Ok(go(&format!(
        "{}/{attribution_id}/attribution?said={said}",
        of_property(property_id)
    )))
}

/// Changes an attribution ID of this property.
pub(super) async fn changed(
    dashboard: &Dashboard,
    posted: &Posted<Editor>,
    property_id: Uuid,
    attribution_id: Uuid,
    change: StreamChange,
) -> Result<Stream, Failure> {
    of_stream::find(dashboard, property_id, attribution_id).await?;
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let changed =
        settings::change_stream(&mut conn, &actor, attribution_id, change, &dashboard.clock).await?;
    changed.ok_or(Failure::NotFound)
}
