//! The tab of webhooks: open or closed, the endpoint, keys, recent activity.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::Said;
use super::activity::{self, Entries};
use super::attribution_ids::{changed, name};
use super::of_stream::{self, Tab};
use super::test_event::Tested;
use crate::dashboard::Dashboard;
use crate::dashboard::extract::{Path, Query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Editor, Form, Posted, Session, Viewer};
use crate::dashboard::show::{day, go, html, time_or};
use crate::keys::{DEFAULT_RATE_LIMIT, Key, MOST_RATE_LIMIT, store};
use crate::platform::clock::Clock;
use crate::platform::db;
use crate::settings::{self, StreamChange};
use crate::streams::Stream;

/// Keys of a page.
const MOST_KEYS: usize = 50;
const MOST_DAYS: i64 = 36_500;

/// A key in the table.
struct Row {
    key: Key,
    created: String,
    last_used: String,
    /// In force, or why it is not.
    state: &'static str,
    ends: String,
}

/// A key that was just made, and is shown once.
pub struct Fresh {
    name: String,
    token: String,
    curl: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/webhooks.html")]
struct Page {
    frame: Frame,
    stream: Stream,
    base: String,
    tabs: Vec<Tab>,
    endpoint: String,
    rows: Vec<Row>,
    /// Whether they are not the newest.
    later: bool,
    older: Option<Uuid>,
    /// The id of the key that the form makes.
    once: Uuid,
    fresh: Option<Fresh>,
    entries: Entries,
    default_limit: i32,
    tested: Option<Tested>,
    example: String,
}

/// `GET .../{attribution_id}`
pub async fn first(
    Allowed(_, _): Allowed<Viewer>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
) -> Response {
    go(&at(property_id, attribution_id))
}

fn at(property_id: Uuid, attribution_id: Uuid) -> String {
    format!("/dashboard/properties/{property_id}/attribution-ids/{attribution_id}/webhooks")
}

/// `GET .../webhooks`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    Query(from): Query<Before>,
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let view = View {
        said: said.word(),
        keys_before: from.keys_before,
        ..View::default()
    };
    shown(&dashboard, &session, stream, view).await
}

/// From where on keys are shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Before {
    keys_before: Option<Uuid>,
}

/// What the page shows besides what is always there.
#[derive(Default)]
pub(super) struct View<'a> {
    /// What was just done.
    pub said: Option<&'a str>,
    /// Keys older than this one.
    pub keys_before: Option<Uuid>,
    /// What was just made.
    pub fresh: Option<Fresh>,
    /// What was just tried.
    pub tested: Option<Tested>,
}

/// The page.
pub(super) async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    stream: Stream,
    view: View<'_>,
) -> Result<Response, Failure> {
    let View {
        said,
        keys_before,
        fresh,
        tested,
    } = view;
    let frame = Frame::new(
        dashboard,
        session,
        Some(stream.property_id),
        Place::AttributionIds,
    )
    .await?;
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::of_stream(&mut conn, stream.tenant(), keys_before, MOST_KEYS as i64 + 1).await
    };
    let mut keys = db::in_time(read).await?;
    let more = keys.len() > MOST_KEYS;
    keys.truncate(MOST_KEYS);
    let row = |key: Key| {
        let (state, ends) = state_and_end(key.revoked_at, key.expires_at, dashboard.clock.now());
        Row {
            created: day(key.created_at),
            last_used: time_or(key.last_used_at, "never"),
            state,
            ends,
            key,
        }
    };
    let example = tested.as_ref().map_or_else(
        || super::test_event::EXAMPLE.to_owned(),
        |tested| tested.payload.clone(),
    );
    Ok(html(&Page {
        frame: frame.saying(said),
        base: of_stream::path(&stream),
        tabs: of_stream::tabs(&stream, "webhooks"),
        endpoint: stream.webhook_url(&dashboard.base_url, "{topic}"),
        later: keys_before.is_some(),
        older: keys.last().map(|key| key.key_id).filter(|_| more),
        once: dashboard.clock.new_id(),
        rows: keys.into_iter().map(row).collect(),
        fresh,
        entries: activity::newest(dashboard, &stream).await?,
        default_limit: DEFAULT_RATE_LIMIT,
        tested,
        example,
        stream,
    }))
}

/// Whether a key or token is in force, or why it is not, and when it ends or ended.
pub(super) fn state_and_end(
    revoked_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> (&'static str, String) {
    match (revoked_at, expires_at) {
        (Some(at), _) => ("revoked", day(at)),
        (None, Some(end)) if end <= now => ("expired", day(end)),
        (None, Some(end)) => ("active", day(end)),
        (None, None) => ("active", "never".to_owned()),
    }
}

/// `POST .../webhooks/enabled`
pub async fn set_enabled(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let enabled = match posted.form.text("enabled") {
        "true" => true,
        "false" => false,
        _ => return Err(Failure::BadForm("Webhooks are enabled or disabled.")),
    };
    let change = StreamChange {
        webhooks_enabled: Some(enabled),
        ..StreamChange::default()
    };
    changed(&dashboard, &posted, property_id, attribution_id, change).await?;
    let said = if enabled { "enabled" } else { "disabled" };
    Ok(go(&format!("{}?said={said}", at(property_id, attribution_id))))
}

fn rate_limit(sent: &str) -> Result<i32, Failure> {
    let limit = sent.parse::<i32>().ok();
    limit
        .filter(|limit| (1..=MOST_RATE_LIMIT).contains(limit))
        .ok_or(Failure::BadForm(
            "The rate limit is 1 to 100,000,000 requests a minute.",
        ))
}

/// When a key or token is to end, by the form's days; never where there are none.
pub(super) fn expires_at(form: &Form, clock: &Clock) -> Result<Option<DateTime<Utc>>, Failure> {
    let days = match form.text("expires_in_days") {
        "" => return Ok(None),
        days => days.parse::<i64>().ok(),
    };
    let days = days
        .filter(|days| (1..=MOST_DAYS).contains(days))
        .ok_or(Failure::BadForm("It expires after 1 to 36,500 days, or never."))?;
    Ok(Some(clock.now() + TimeDelta::days(days)))
}

/// `POST .../webhooks/keys`
pub async fn create_key(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let (form, clock) = (&posted.form, &dashboard.clock);
    let limit = rate_limit(form.text("rate_limit"))?;
    let (name, ends) = (name(form.text("name"))?, expires_at(form, clock)?);
    let key_id = form.once(clock)?;
    let mut new = settings::new_key(&stream, name, limit, ends, &dashboard.hash, clock).await?;
    new.key.key_id = key_id;
    let mut conn = dashboard.pool.acquire().await?;
    if !settings::create_key(&mut conn, &posted.session.actor(), &new, clock).await? {
        return Ok(go(&format!(
            "{}?said=made_before",
            at(property_id, attribution_id)
        )));
    }
    drop(conn);
    let token = new.token.expose().to_owned();
    let url = stream.webhook_url(&dashboard.base_url, "purchase");
    let fresh = Fresh {
        curl: format!(
            "curl -sS '{url}' \\\n  -H 'Authorization: Bearer {token}' \\\n  -H 'Content-Type: application/json' \\\n  -d '{}'",
            super::test_event::EXAMPLE
        ),
        name: new.key.name,
        token,
    };
    let view = View {
        fresh: Some(fresh),
        ..View::default()
    };
    shown(&dashboard, &posted.session, stream, view).await
}

/// Whether the key is of the attribution ID that the path names.
async fn refuse_unknown_key(
    dashboard: &Dashboard,
    property_id: Uuid,
    attribution_id: Uuid,
    key_id: Uuid,
) -> Result<(), Failure> {
    let read = async { store::find(&mut *dashboard.pool.acquire().await?, property_id, key_id).await };
    let key = db::in_time(read).await?;
    key.filter(|key| key.attribution_id == attribution_id)
        .map(drop)
        .ok_or(Failure::NotFound)
}

/// `POST .../webhooks/keys/{key_id}/revoke`
pub async fn revoke_key(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id, key_id)): Path<(Uuid, Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    refuse_unknown_key(&dashboard, property_id, attribution_id, key_id).await?;
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let revoked = settings::revoke_key(&mut conn, &actor, property_id, key_id, &dashboard.clock).await?;
    revoked.ok_or(Failure::NotFound)?;
    Ok(go(&format!("{}?said=revoked", at(property_id, attribution_id))))
}

/// `POST .../webhooks/keys/{key_id}/rate-limit`
pub async fn set_rate_limit(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id, key_id)): Path<(Uuid, Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    refuse_unknown_key(&dashboard, property_id, attribution_id, key_id).await?;
    let limit = rate_limit(posted.form.text("rate_limit"))?;
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let changed =
        settings::set_rate_limit(&mut conn, &actor, property_id, key_id, limit, &dashboard.clock).await?;
    changed.ok_or(Failure::NotFound)?;
    Ok(go(&format!("{}?said=limit", at(property_id, attribution_id))))
}
