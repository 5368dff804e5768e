//! Recent activity: the last requests, kept current, and one of them in detail.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::{Before, of_stream};
use crate::activity::{Logged, store};
use crate::dashboard::Dashboard;
use crate::dashboard::extract::{Path, Query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Viewer, Watching};
use crate::dashboard::show::{html, time, time_or};
use crate::platform::db;
use crate::streams::Stream;

/// Requests that are shown at first, as the command line and the API list them.
const NEWEST: usize = 20;
/// Requests of an older page.
const MOST: usize = 50;
/// How often the table is looked at again.
const EVERY: Duration = Duration::from_secs(1);
/// Looks of one connection: the browser then comes back, and has to be signed in still.
const LOOKS: u32 = 60;

/// A request in the table.
pub struct Row {
    /// As it is stored.
    pub logged: Logged,
    /// When, for people.
    pub at: String,
    /// `yes`, `no`, or nothing where nobody looked.
    pub matched: &'static str,
    /// What else is to be said in a word.
    pub notes: Vec<String>,
}

/// The table of requests.
#[derive(Template)]
#[template(path = "dashboard/templates/activity_rows.html")]
pub struct Entries {
    base: String,
    rows: Vec<Row>,
    older: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "dashboard/templates/activity.html")]
struct Page {
    frame: Frame,
    stream: Stream,
    base: String,
    entries: Entries,
}

/// One request as a page of its own, for browsers without scripts and for links.
#[derive(Template)]
#[template(path = "dashboard/templates/activity_request.html")]
struct Request {
    frame: Frame,
    stream: Stream,
    base: String,
    detail: Detail,
}

#[derive(Template)]
#[template(path = "dashboard/templates/activity_detail.html")]
struct Detail {
    row: Row,
    matched_late: String,
}

async fn read(
    dashboard: &Dashboard,
    stream: &Stream,
    before: Option<Uuid>,
    most: usize,
) -> Result<Entries, Failure> {
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::list(&mut conn, stream.tenant(), before, most as i64 + 1).await
    };
    let mut found = db::in_time(read).await?;
    let more = found.len() > most;
    found.truncate(most);
    Ok(Entries {
        base: of_stream::path(stream),
        older: found.last().map(|logged| logged.activity_id).filter(|_| more),
        rows: found.into_iter().map(row).collect(),
    })
}

/// The newest requests.
pub async fn newest(dashboard: &Dashboard, stream: &Stream) -> Result<Entries, Failure> {
    read(dashboard, stream, None, NEWEST).await
}

fn row(logged: Logged) -> Row {
    let mut notes = Vec::new();
    if logged.dry_run {
        notes.push("dry run".to_owned());
    }
    if logged.duplicate {
        notes.push("repeat".to_owned());
    }
    if logged.matched_late_at.is_some() {
        notes.push("matched late".to_owned());
    }
    if logged.accepted + logged.rejected > 1 {
        notes.push(format!("{} taken, {} refused", logged.accepted, logged.rejected));
    }
    if logged.requests > 1 {
        notes.push(format!("{} requests in one row", logged.requests));
    }
    Row {
        at: time(logged.at),
        matched: match logged.session_matched {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        },
        notes,
        logged,
    }
}

/// `GET .../activity`
pub async fn older(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    Query(from): Query<Before>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::AttributionIds).await?;
    let entries = read(&dashboard, &stream, from.before, MOST).await?;
    Ok(html(&Page {
        frame,
        base: of_stream::path(&stream),
        entries,
        stream,
    }))
}

/// `GET .../activity/{activity_id}`: a part of the page where htmx asks, else a page.
pub async fn detail(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path((property_id, attribution_id, activity_id)): Path<(Uuid, Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::find(&mut conn, stream.tenant(), activity_id).await
    };
    let logged = db::in_time(read).await?.ok_or(Failure::NotFound)?;
    let detail = Detail {
        matched_late: time_or(logged.matched_late_at, ""),
        row: row(logged),
    };
    if headers.contains_key("hx-request") {
        return Ok(html(&detail));
    }
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::AttributionIds).await?;
    Ok(html(&Request {
        frame,
        base: of_stream::path(&stream),
        detail,
        stream,
    }))
}

/// A page that is kept current.
struct Live {
    dashboard: Arc<Dashboard>,
    stream: Stream,
    /// Of what was last sent.
    shown: Option<u64>,
    looks: u32,
    _place: OwnedSemaphorePermit,
}

/// `GET .../activity/live`: the table, whenever it has changed.
pub async fn live(
    State(dashboard): State<Arc<Dashboard>>,
    _: Watching,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let place = Arc::clone(&dashboard.live).try_acquire_owned();
    let place = place.map_err(|_| Failure::Unavailable("no place for one more live page".to_owned()))?;
    let live = Live {
        dashboard,
        stream,
        shown: None,
        looks: 0,
        _place: place,
    };
    let events = stream::unfold(live, |live| async { live.next().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

impl Live {
    /// The next table that differs from the one before; none when the browser is to come back.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        while self.looks < LOOKS {
            if self.looks > 0 {
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = self.dashboard.stop.cancelled() => return None,
                }
            }
            self.looks += 1;
            // What cannot be read now can be a second later.
            let Ok(entries) = newest(&self.dashboard, &self.stream).await else {
                continue;
            };
            let text = entries.render().ok()?;
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            let hash = Some(hasher.finish());
            if hash != self.shown {
                self.shown = hash;
                return Some((Ok(Event::default().event("activity").data(text)), self));
            }
        }
        None
    }
}
