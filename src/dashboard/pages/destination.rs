//! One destination: its settings, its books, its deliveries, and what is done to it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::NaiveTime;
use serde::Deserialize;
use uuid::Uuid;

use super::Said;
use super::destinations::{REACH, Row, Typed, faults, names, read, row, streams_of};
use crate::dashboard::Dashboard;
use crate::dashboard::days::day;
use crate::dashboard::extract::{Path, Query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Editor, Posted, Session, Viewer};
use crate::dashboard::show::{count, go, html, time_or};
use crate::destinations::{Destination, Policy, store};
use crate::domain::faults::Fault;
use crate::domain::topic::Topic;
use crate::forwarding::listing::{Delivery, Filter, Ledger, Place as At, Replay, Replayed, Span};
use crate::forwarding::state::State as DeliveryState;
use crate::forwarding::{self, Changes, Tried, changed_destination, try_out};
use crate::platform::db;
use crate::settings::{self, DestinationChange};

/// Deliveries of a page.
const ON_PAGE: usize = 20;
/// Bytes of a platform's test code.
const MOST_CODE: usize = 200;

/// A delivery in the table.
struct Sent {
    one: Delivery,
    at: String,
    path: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/destination.html")]
struct One {
    frame: Frame,
    row: Row,
    /// Whether it is there, and whoever looks may change it.
    may_change: bool,
    removed: String,
    topics: String,
    books: Option<Ledger>,
    counted_from: String,
    states: [&'static str; 7],
    state: &'static str,
    deliveries: Vec<Sent>,
    next: Option<String>,
    replayed: [Replayed; 2],
    policies: [Policy; 3],
    typed: Typed,
    beside: Beside,
}

/// What a destination's page shows besides, by what was asked for.
#[derive(Default)]
struct Beside {
    /// What is shown of its deliveries and its books.
    looked_at: Looked,
    /// How many a replay would take up, with what it was asked for.
    counted: Option<(String, Again)>,
    /// What came of trying it out, or why it was not.
    tried: Option<Result<Tried, String>>,
    /// What is wrong with a change, and what was typed.
    faults: Vec<Fault>,
    typed: Option<Typed>,
}

/// What a replay is to take up.
struct Again {
    state: Replayed,
    code: String,
    since: String,
    until: String,
}

/// What of a destination is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Looked {
    /// Whether to count the books, which takes a while where there is much.
    books: String,
    /// Where the deliveries stand that are listed.
    state: String,
    /// Where the list goes on.
    after: String,
}

async fn ever_there(
    dashboard: &Dashboard,
    property_id: Uuid,
    destination_id: Uuid,
) -> Result<Destination, Failure> {
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::find(&mut conn, &[(property_id, destination_id)]).await
    };
    let found = db::in_time(read).await?.pop();
    found.ok_or(Failure::NotFound)
}

async fn find(
    dashboard: &Dashboard,
    property_id: Uuid,
    destination_id: Uuid,
) -> Result<Destination, Failure> {
    let found = ever_there(dashboard, property_id, destination_id).await?;
    match found.removed_at {
        None => Ok(found),
        Some(_) => Err(Failure::NotFound),
    }
}

/// `GET .../destinations/{destination_id}`: one that was taken away, too.
pub async fn one(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path((property_id, destination_id)): Path<(Uuid, Uuid)>,
    Query(said): Query<Said>,
    Query(looked_at): Query<Looked>,
) -> Result<Response, Failure> {
    let destination = ever_there(&dashboard, property_id, destination_id).await?;
    let beside = Beside {
        looked_at,
        ..Beside::default()
    };
    shown(&dashboard, &session, destination, said.word(), beside).await
}

async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    destination: Destination,
    said: Option<&str>,
    mut beside: Beside,
) -> Result<Response, Failure> {
    let property_id = destination.property_id;
    let frame = Frame::new(dashboard, session, Some(property_id), Place::Destinations).await?;
    let names = names(&streams_of(dashboard, property_id).await?);
    let looked_at = &beside.looked_at;
    let state = looked_at.state.parse().unwrap_or(DeliveryState::Dead);
    let mut conn = dashboard.reports.turn().await?;
    let (deliveries, next) = deliveries(&mut conn, &destination, state, &looked_at.after).await?;
    let books = match looked_at.books.is_empty() {
        true => None,
        false => Some(forwarding::books(&mut conn, &destination, Span::default()).await?),
    };
    drop(conn);
    Ok(html(&One {
        may_change: frame.may_edit() && destination.removed_at.is_none(),
        frame: frame.saying(said),
        removed: time_or(destination.removed_at, ""),
        topics: in_words(&destination),
        counted_from: time_or(books.as_ref().and_then(|books| books.since), ""),
        books,
        states: DeliveryState::ALL.map(DeliveryState::as_str),
        state: state.as_str(),
        deliveries,
        next,
        replayed: Replayed::ALL,
        policies: Policy::ALL,
        typed: beside.typed.take().unwrap_or_else(|| as_it_is(&destination)),
        row: row(destination, &names),
        beside,
    }))
}

/// A page of a destination's deliveries, and where the next one is.
async fn deliveries(
    conn: &mut sqlx::PgConnection,
    destination: &Destination,
    state: DeliveryState,
    after: &str,
) -> Result<(Vec<Sent>, Option<String>), Failure> {
    let (property_id, destination_id) = (destination.property_id, destination.destination_id);
    let after = after.parse::<At>().ok();
    let filter = Filter {
        state: Some(state),
        destination_id: Some(destination_id),
        before: after.map(|after| (after.at, after.event_id, destination_id)),
        // One more tells whether there are older ones.
        limit: ON_PAGE as i64 + 1,
    };
    let mut found = forwarding::store::list(conn, &[destination.tenant()], &filter).await?;
    let more = found.len() > ON_PAGE;
    found.truncate(ON_PAGE);
    let next = found.last().filter(|_| more).map(|last| {
        let place = At {
            at: last.created_at,
            event_id: last.event_id,
        };
        format!("?state={state}&after={place}")
    });
    let sent = found.into_iter().map(|one| Sent {
        at: time_or(one.due_at.or(one.settled_at), ""),
        path: format!("/dashboard/properties/{property_id}/conversions/{}", one.event_id),
        one,
    });
    Ok((sent.collect(), next))
}

fn in_words(destination: &Destination) -> String {
    destination.topics.as_ref().map_or_else(
        || "all that the platform takes".to_owned(),
        |topics| {
            let told = topics.iter().map(|(topic, event)| match event {
                Some(event) => format!("{topic} as {event}"),
                None => topic.clone(),
            });
            told.collect::<Vec<_>>().join(", ")
        },
    )
}

/// The form as it is filled in before anything is changed.
fn as_it_is(destination: &Destination) -> Typed {
    let topics = destination.topics.iter().flatten();
    let topics = topics.map(|(topic, event)| match event {
        Some(event) => format!("{topic}={event}"),
        None => topic.clone(),
    });
    Typed {
        name: destination.name.clone(),
        topics: separated(&topics.collect::<Vec<_>>()),
        policy: destination.policy.to_string(),
        base_url: destination.base_url.clone().unwrap_or_default(),
        ..Typed::default()
    }
}

/// Topics as the form takes them; with a comma wherever a space is no separator.
fn separated(topics: &[String]) -> String {
    let text = topics.join(", ");
    match text.contains(' ') && !text.contains(',') {
        true => text + ",",
        false => text,
    }
}

fn path(property_id: Uuid, destination_id: Uuid) -> String {
    format!("/dashboard/properties/{property_id}/destinations/{destination_id}")
}

/// `POST .../destinations/{destination_id}/settings`
pub async fn set(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, destination_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let (session, form) = (&posted.session, &posted.form);
    let before = find(&dashboard, property_id, destination_id).await?;
    let edit = read(form)?.and_then(|read| {
        let settings = form.exact("settings");
        let changes = Changes {
            name: Some(read.name),
            settings: (!settings.trim().is_empty()).then(|| settings.to_owned().into()),
            base_url: Some(read.base_url),
            topics: Some(read.topics),
            policy: Some(read.policy),
        };
        changed_destination(&before, changes, REACH, &dashboard.sender, &dashboard.sealer)
    });
    let edit = match edit {
        Ok(edit) => edit,
        Err(unfit) => {
            let beside = Beside {
                faults: faults(unfit)?,
                typed: Some(Typed::of(form)),
                ..Beside::default()
            };
            return shown(&dashboard, session, before, None, beside).await;
        }
    };
    let mut conn = dashboard.pool.acquire().await?;
    let (actor, clock) = (session.actor(), &dashboard.clock);
    let edited =
        settings::edit_destination(&mut conn, &actor, property_id, destination_id, edit, clock).await?;
    edited.ok_or(Failure::NotFound)?;
    Ok(go(&format!("{}?said=changed", path(property_id, destination_id))))
}

/// `POST .../destinations/{destination_id}/change`
pub async fn change(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, destination_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let (change, said) = match posted.form.text("change") {
        "pause" => (DestinationChange::Pause, "paused"),
        "resume" => (DestinationChange::Resume, "resumed"),
        "remove" => (DestinationChange::Remove, "removed"),
        _ => return Err(Failure::BadForm("A destination is paused, resumed or removed.")),
    };
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let changed = settings::change_destination(
        &mut conn,
        &actor,
        property_id,
        destination_id,
        change,
        &dashboard.clock,
    )
    .await?;
    changed.ok_or(Failure::NotFound)?;
    Ok(go(&match change {
        DestinationChange::Remove => {
            format!("/dashboard/properties/{property_id}/destinations?said={said}")
        }
        _ => format!("{}?said={said}", path(property_id, destination_id)),
    }))
}

/// `POST .../destinations/{destination_id}/replay`: counts first, and does it when it is sent again with that word.
pub async fn replay(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, destination_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let destination = find(&dashboard, property_id, destination_id).await?;
    let form = &posted.form;
    let moment = |field: &str| match form.text(field) {
        "" => Ok(None),
        sent => match day(sent) {
            Some(day) => Ok(Some(day.and_time(NaiveTime::MIN).and_utc())),
            None => Err(Failure::BadForm("A day is written as 2026-01-31.")),
        },
    };
    let state = match form.text("state") {
        "" => Replayed::default(),
        sent => sent
            .parse()
            .map_err(|_| Failure::BadForm("What is dead or expired can be sent again."))?,
    };
    let which = Replay {
        state,
        code: Some(form.text("code").to_owned()).filter(|code| !code.is_empty() && !code.contains('\0')),
        since: moment("since")?,
        until: moment("until")?,
    };
    let mut conn = dashboard.reports.turn().await?;
    if form.text("do") == "replay" {
        let actor = posted.session.actor();
        forwarding::replay(&mut conn, &actor, &destination, &which, &dashboard.clock).await?;
        return Ok(go(&format!(
            "{}?said=replayed",
            path(property_id, destination_id)
        )));
    }
    let now = dashboard.clock.now();
    let found = forwarding::count_replay(&mut conn, &destination, &which, now).await?;
    drop(conn);
    let text = |field: &str| form.text(field).to_owned();
    let asked = Again {
        state,
        code: text("code"),
        since: text("since"),
        until: text("until"),
    };
    let beside = Beside {
        counted: Some((count(found), asked)),
        ..Beside::default()
    };
    shown(&dashboard, &posted.session, destination, None, beside).await
}

/// `POST .../destinations/{destination_id}/test`: sends a made-up event in the platform's own validation or test mode.
pub async fn test(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, destination_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let destination = find(&dashboard, property_id, destination_id).await?;
    let topic: Topic = posted
        .form
        .text("topic")
        .parse()
        .map_err(|_| Failure::BadForm("Choose a topic."))?;
    let code = Some(posted.form.text("code")).filter(|code| !code.is_empty());
    if code.is_some_and(|code| code.len() > MOST_CODE) {
        return Err(Failure::BadForm("The code is too long."));
    }
    let (sender, sealer, now) = (&dashboard.sender, &dashboard.sealer, dashboard.clock.now());
    let tried = try_out(destination.clone(), topic, code, sender, sealer, now).await;
    let beside = Beside {
        tried: Some(tried.map_err(|not| not.to_string())),
        ..Beside::default()
    };
    shown(&dashboard, &posted.session, destination, None, beside).await
}
