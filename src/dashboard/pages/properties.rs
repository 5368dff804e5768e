//! Properties: all of them, and the settings of one.

use std::ops::RangeInclusive;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use super::Said;
use super::attribution_ids::name;
use crate::dashboard::Dashboard;
use crate::dashboard::extract::{Path, Query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Editor, Owner, Posted, Viewer};
use crate::dashboard::show::{day, go, html};
use crate::platform::db;
use crate::settings::{self, PropertyChange};
use crate::streams::{KEEP_DAYS, KEEP_PERSONAL_DAYS, Property, store};
use crate::users::Role;

/// Properties of a page.
const MOST: usize = 50;

/// A property in the table.
struct Row {
    property: Property,
    created: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/properties.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    /// Whether it is not the first page.
    later: bool,
    next: Option<Uuid>,
}

impl Page {
    fn may_create(&self) -> bool {
        self.frame.role >= Role::Owner
    }
}

#[derive(Template)]
#[template(path = "dashboard/templates/property.html")]
struct Settings {
    frame: Frame,
}

/// From where on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct After {
    after: Option<Uuid>,
}

/// `GET /dashboard/properties`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Query(from): Query<After>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, None, Place::Properties).await?;
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::properties_after(&mut conn, from.after, MOST as i64 + 1).await
    };
    let mut properties = db::in_time(read).await?;
    let more = properties.len() > MOST;
    properties.truncate(MOST);
    let row = |property: Property| Row {
        created: day(property.created_at),
        property,
    };
    Ok(html(&Page {
        frame,
        later: from.after.is_some(),
        next: properties.last().map(|last| last.property_id).filter(|_| more),
        rows: properties.into_iter().map(row).collect(),
    }))
}

/// `POST /dashboard/properties`
pub async fn create(
    State(dashboard): State<Arc<Dashboard>>,
    posted: Posted<Owner>,
) -> Result<Response, Failure> {
    let name = name(posted.form.text("name"))?;
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let made = settings::create_property(&mut conn, &actor, name, &dashboard.clock).await?;
    Ok(go(&format!(
        "/dashboard/properties/{}/attribution-ids?said=created",
        made.property_id
    )))
}

/// `GET /dashboard/properties/{property_id}/settings`
pub async fn one(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::Property).await?;
    Ok(html(&Settings {
        frame: frame.saying(said.word()),
    }))
}

/// `POST .../settings/name`
pub async fn rename(
    State(dashboard): State<Arc<Dashboard>>,
    Path(property_id): Path<Uuid>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let change = PropertyChange {
        name: Some(name(posted.form.text("name"))?),
        ..PropertyChange::default()
    };
    changed(&dashboard, &posted, property_id, change, "renamed").await
}

/// `POST .../settings/unknown-consent`
pub async fn set_unknown_consent(
    State(dashboard): State<Arc<Dashboard>>,
    Path(property_id): Path<Uuid>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let (granted, said) = match posted.form.text("granted") {
        "true" => (true, "consent_granted"),
        "false" => (false, "consent_unknown"),
        _ => {
            return Err(Failure::BadForm(
                "Unknown consent counts as granted, or does not.",
            ));
        }
    };
    let change = PropertyChange {
        unknown_consent_granted: Some(granted),
        ..PropertyChange::default()
    };
    changed(&dashboard, &posted, property_id, change, said).await
}

/// `POST .../settings/retention`
pub async fn set_retention(
    State(dashboard): State<Arc<Dashboard>>,
    Path(property_id): Path<Uuid>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let days = |field: &str, allowed: RangeInclusive<i16>| {
        let days = posted.form.text(field).parse::<i16>().ok();
        days.filter(|days| allowed.contains(days)).ok_or(Failure::BadForm(
            "Activity and sessions are kept for 1 to 3,650 days, personal data for 7 to 3,650.",
        ))
    };
    let change = PropertyChange {
        keep_activity_days: Some(days("keep_activity_days", KEEP_DAYS)?),
        keep_personal_days: Some(days("keep_personal_days", KEEP_PERSONAL_DAYS)?),
        keep_sessions_days: Some(days("keep_sessions_days", KEEP_DAYS)?),
        ..PropertyChange::default()
    };
    changed(&dashboard, &posted, property_id, change, "retention").await
}

async fn changed(
    dashboard: &Dashboard,
    posted: &Posted<Editor>,
    property_id: Uuid,
    change: PropertyChange,
    said: &str,
) -> Result<Response, Failure> {
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let changed = settings::change_property(&mut conn, &actor, property_id, change, &dashboard.clock).await?;
    changed.ok_or(Failure::NotFound)?;
    Ok(go(&format!(
        "/dashboard/properties/{property_id}/settings?said={said}"
    )))
}
