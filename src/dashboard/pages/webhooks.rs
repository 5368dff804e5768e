//! The tab of webhooks: open or closed, the endpoint, keys, recent activity.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono::TimeDelta;
use uuid::Uuid;

use super::Said;
use super::activity::{self, Entries};
use super::attribution_ids::{changed, name};
use super::of_stream::{self, Tab};
use super::test_event::Tested;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Editor, Posted, Session, Viewer};
use crate::dashboard::show::{day, go, html, time_or};
use crate::keys::{DEFAULT_RATE_LIMIT, Key, MOST_RATE_LIMIT, store};
use crate::platform::db;
use crate::settings::{self, StreamChange};
use crate::streams::Stream;

/// Keys that are shown, at most: the newest.
const MOST_KEYS: i64 = 200;
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
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    shown(&dashboard, &session, stream, said.word(), None, None).await
}

/// The page, with what was just made or tried.
pub(super) async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    stream: Stream,
    said: Option<&str>,
    fresh: Option<Fresh>,
    tested: Option<Tested>,
) -> Result<Response, Failure> {
    let frame = Frame::new(
        dashboard,
        session,
        Some(stream.property_id),
        Place::AttributionIds,
    )
    .await?;
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::of_stream(&mut conn, stream.tenant(), None, MOST_KEYS).await
    };
    let keys = db::in_time(read).await?;
    let now = dashboard.clock.now();
    let row = |key: Key| Row {
        created: day(key.created_at),
        last_used: time_or(key.last_used_at, "never"),
        state: match (key.revoked_at, key.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            _ => "active",
        },
        ends: match (key.revoked_at, key.expires_at) {
            (Some(at), _) | (None, Some(at)) => day(at),
            (None, None) => "never".to_owned(),
        },
        key,
    };
    let example = tested.as_ref().map_or_else(
        || super::test_event::EXAMPLE.to_owned(),
        |tested| tested.payload.clone(),
    );
    Ok(html(&Page {
        frame: frame.saying(said),
        base: of_stream::path(&stream),
        tabs: of_stream::tabs(&stream, "webhooks"),
        endpoint: endpoint(dashboard, &stream, "{topic}"),
        rows: keys.into_iter().map(row).collect(),
        fresh,
        entries: activity::newest(dashboard, &stream).await?,
        default_limit: DEFAULT_RATE_LIMIT,
        tested,
        example,
        stream,
    }))
}

fn endpoint(dashboard: &Dashboard, stream: &Stream, topic: &str) -> String {
    format!(
        "{}/webhooks/custom/{}/{topic}",
        dashboard.base_url, stream.attribution_id
    )
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

/// `POST .../webhooks/keys`
pub async fn create_key(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let (form, clock) = (&posted.form, &dashboard.clock);
    let limit = rate_limit(form.text("rate_limit"))?;
    let expires_at = match form.text("expires_in_days") {
        "" => None,
        days => {
            let days = days
                .parse::<i64>()
                .ok()
                .filter(|days| (1..=MOST_DAYS).contains(days));
            let days = days.ok_or(Failure::BadForm(
                "A key expires after 1 to 36,500 days, or never.",
            ))?;
            Some(clock.now() + TimeDelta::days(days))
        }
    };
    let name = name(form.text("name"))?;
    let new = settings::new_key(&stream, name, limit, expires_at, &dashboard.hash, clock).await?;
    let mut conn = dashboard.pool.acquire().await?;
    settings::create_key(&mut conn, &posted.session.actor(), &new, clock).await?;
    drop(conn);
    let token = new.token.expose().to_owned();
    let url = endpoint(&dashboard, &stream, "purchase");
    let fresh = Fresh {
        curl: format!(
            "curl -sS '{url}' \\\n  -H 'Authorization: Bearer {token}' \\\n  -H 'Content-Type: application/json' \\\n  -d '{}'",
            super::test_event::EXAMPLE
        ),
        name: new.key.name,
        token,
    };
    shown(&dashboard, &posted.session, stream, None, Some(fresh), None).await
}

/// `POST .../webhooks/keys/{key_id}/revoke`
pub async fn revoke_key(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id, key_id)): Path<(Uuid, Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    of_stream::find(&dashboard, property_id, attribution_id).await?;
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
    of_stream::find(&dashboard, property_id, attribution_id).await?;
    let limit = rate_limit(posted.form.text("rate_limit"))?;
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let changed =
        settings::set_rate_limit(&mut conn, &actor, property_id, key_id, limit, &dashboard.clock).await?;
    changed.ok_or(Failure::NotFound)?;
    Ok(go(&format!("{}?said=limit", at(property_id, attribution_id))))
}
