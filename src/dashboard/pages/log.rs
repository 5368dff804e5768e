//! Who changed which setting.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use uuid::Uuid;

use super::Before;
use crate::audit::{Entry, INSTALLATION, store};
use crate::dashboard::Dashboard;
use crate::dashboard::extract::{Path, Query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Session, Viewer};
use crate::dashboard::show::{html, time};
use crate::platform::db;
use crate::users::Role;

/// Entries of a page.
const MOST: usize = 50;

/// An entry as people read it.
struct Row {
    at: String,
    actor: String,
    action: String,
    object: String,
    change: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/log.html")]
struct Page {
    frame: Frame,
    of_installation: bool,
    rows: Vec<Row>,
    older: Option<Uuid>,
}

/// `GET /dashboard/properties/{property_id}/log`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(from): Query<Before>,
) -> Result<Response, Failure> {
    shown(&dashboard, &session, Some(property_id), from.before).await
}

/// `GET /dashboard/log`: of users, and so for those alone who manage them.
pub async fn of_installation(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<crate::dashboard::guard::Owner>,
    Query(from): Query<Before>,
) -> Result<Response, Failure> {
    shown(&dashboard, &session, None, from.before).await
}

async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    property_id: Option<Uuid>,
    before: Option<Uuid>,
) -> Result<Response, Failure> {
    let frame = Frame::new(dashboard, session, property_id, Place::Log).await?;
    let whose = property_id.unwrap_or(INSTALLATION);
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        // One more tells whether there are older ones.
        store::list(&mut conn, whose, before, MOST as i64 + 1).await
    };
    let mut entries = db::in_time(read).await?;
    let more = entries.len() > MOST;
    entries.truncate(MOST);
    Ok(html(&Page {
        frame,
        of_installation: property_id.is_none(),
        older: entries.last().map(|entry| entry.entry_id).filter(|_| more),
        rows: entries.into_iter().map(row).collect(),
    }))
}

fn row(entry: Entry) -> Row {
    Row {
        at: time(entry.at),
        actor: entry.actor,
        action: in_words(&entry.action),
        object: entry.object_name,
        change: entry.change.map_or_else(String::new, |change| changed(&change)),
    }
}

/// `webhook_key.rate_limit_changed` as `webhook key: rate limit changed`.
fn in_words(action: &str) -> String {
    action.replace('.', ": ").replace('_', " ")
}

/// What was set: `from → to`, or each member that says something.
fn changed(change: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => {
            let items = items.iter().map(|item| item.as_str().unwrap_or_default());
            items.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    if let (Some(from), Some(to)) = (change.get("from"), change.get("to")) {
        return format!("{} → {}", text(from), text(to));
    }
    let members = change.as_object().into_iter().flatten();
    let told: Vec<String> = members
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("{}: {}", name.replace('_', " "), text(value)))
        .collect();
    told.join(", ")
}

impl Page {
    /// Whether to lead to the log of users.
    fn may_see_users(&self) -> bool {
        self.frame.role >= Role::Owner
    }
}
