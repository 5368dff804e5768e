//! Destinations: where conversions are forwarded to.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use super::attribution_ids::name;
use super::{Said, of_stream};
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Editor, Form, Posted, Session, Viewer};
use crate::dashboard::show::{count, day, go, html, time_or};
use crate::destinations::{Destination, Policy, Topics, store};
use crate::domain::faults::Fault;
use crate::domain::topic::Topic;
use crate::forwarding::listing::{Delivery, Filter, Ledger, Replay};
use crate::forwarding::platforms::Name;
use crate::forwarding::state::State as DeliveryState;
use crate::forwarding::{self, Tried, Unfit, Wanted, new_destination, read_topic, try_out};
use crate::platform::db;
use crate::settings::{self, DestinationChange};
use crate::streams::{self, Stream};

/// Streams whose destinations are shown, at most.
const MOST_STREAMS: i64 = 200;
/// Dead deliveries that are shown.
const MOST_DEAD: i64 = 20;
/// Bytes of a platform's test code.
const MOST_CODE: usize = 200;

/// A destination in the table.
struct Row {
    one: Destination,
    platform: &'static str,
    stream: String,
    created: String,
    paused: String,
    path: String,
}

/// What was typed, when it was refused; never the settings.
#[derive(Default)]
struct Typed {
    name: String,
    platform: String,
    topics: String,
    base_url: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/destinations.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    streams: Vec<Stream>,
    platforms: [(&'static str, &'static str); 10],
    policies: [Policy; 3],
    faults: Vec<Fault>,
    typed: Typed,
}

/// A dead delivery in the table.
struct Dead {
    one: Delivery,
    at: String,
    path: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/destination.html")]
struct One {
    frame: Frame,
    row: Row,
    books: Option<Ledger>,
    dead: Vec<Dead>,
    beside: Beside,
    topics: String,
}

/// What a destination's page shows besides, by what was asked for.
#[derive(Default)]
struct Beside {
    /// The books.
    with_books: bool,
    /// How many a replay would take up, with what it was asked for.
    counted: Option<(String, Asked)>,
    /// What came of trying it out, or why it was not.
    tried: Option<Result<Tried, String>>,
}

/// What a replay is to take up.
#[derive(Default)]
struct Asked {
    code: String,
    since: String,
    until: String,
}

fn title(platform: &str) -> &'static str {
    platform
        .parse::<Name>()
        .map_or("an unknown platform", |name| name.spec().title)
}

fn row(one: Destination, streams: &HashMap<Uuid, String>) -> Row {
    Row {
        platform: title(&one.platform),
        stream: streams.get(&one.attribution_id).cloned().unwrap_or_default(),
        created: day(one.created_at),
        paused: time_or(one.paused_at, ""),
        path: format!(
            "/dashboard/properties/{}/destinations/{}",
            one.property_id, one.destination_id
        ),
        one,
    }
}

async fn streams_of(dashboard: &Dashboard, property_id: Uuid) -> Result<Vec<Stream>, Failure> {
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        streams::store::streams_of(&mut conn, property_id, None, MOST_STREAMS).await
    };
    Ok(db::in_time(read).await?)
}

fn names(streams: &[Stream]) -> HashMap<Uuid, String> {
    streams
        .iter()
        .map(|stream| (stream.attribution_id, stream.name.clone()))
        .collect()
}

async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    property_id: Uuid,
    said: Option<&str>,
    faults: Vec<Fault>,
    typed: Typed,
) -> Result<Response, Failure> {
    let frame = Frame::new(dashboard, session, Some(property_id), Place::Destinations).await?;
    let streams = streams_of(dashboard, property_id).await?;
    let read = async { store::of_property(&mut *dashboard.pool.acquire().await?, property_id).await };
    let found = db::in_time(read).await?;
    let names = names(&streams);
    Ok(html(&Page {
        frame: frame.saying(said),
        rows: found.into_iter().map(|one| row(one, &names)).collect(),
        streams,
        platforms: Name::ALL.map(|name| (name.as_str(), name.spec().title)),
        policies: Policy::ALL,
        faults,
        typed,
    }))
}

/// `GET .../destinations`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    shown(
        &dashboard,
        &session,
        property_id,
        said.word(),
        Vec::new(),
        Typed::default(),
    )
    .await
}

/// `POST .../destinations`
pub async fn create(
    State(dashboard): State<Arc<Dashboard>>,
    Path(property_id): Path<Uuid>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let (session, form) = (&posted.session, &posted.form);
    let attribution_id = Uuid::try_parse(form.text("attribution_id"));
    let attribution_id = attribution_id.map_err(|_| Failure::BadForm("Choose an attribution ID."))?;
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let made = match wanted(form)? {
        Ok(wanted) => match new_destination(stream.tenant(), wanted, &dashboard.sealer, &dashboard.clock) {
            Ok(destination) => Ok(destination),
            Err(Unfit::Settings(faults)) => Err(faults),
            Err(Unfit::Seal(error)) => return Err(Failure::Internal(error.to_string())),
        },
        Err(faults) => Err(faults),
    };
    match made {
        Ok(destination) => {
            let mut conn = dashboard.pool.acquire().await?;
            let actor = session.actor();
            settings::create_destination(&mut conn, &actor, &destination, &dashboard.clock).await?;
            Ok(go(&format!(
                "/dashboard/properties/{property_id}/destinations?said=created"
            )))
        }
        Err(faults) => {
            let text = |field: &str| form.text(field).to_owned();
            let typed = Typed {
                name: text("name"),
                platform: text("platform"),
                topics: text("topics"),
                base_url: text("base_url"),
            };
            shown(&dashboard, session, property_id, None, faults, typed).await
        }
    }
}

/// What the form asks for, or what is wrong with it, all of it.
fn wanted(form: &Form) -> Result<Result<Wanted, Vec<Fault>>, Failure> {
    let platform: Name = form
        .text("platform")
        .parse()
        .map_err(|_| Failure::BadForm("Choose a platform."))?;
    let policy: Policy = form
        .text("policy")
        .parse()
        .map_err(|_| Failure::BadForm("Choose which conversions are sent."))?;
    let name = name(form.text("name"))?;
    let mut faults = Vec::new();
    let mut fault = |field: &str, code, message: String| {
        faults.push(Fault {
            field: field.to_owned(),
            code,
            message,
        });
    };
    let mut topics = Topics::new();
    for sent in form.text("topics").split_whitespace() {
        match read_topic(sent) {
            Ok((topic, event)) => drop(topics.insert(topic, event)),
            Err(message) => fault("topics", "unknown_topic", message),
        }
    }
    let base_url = match form.text("base_url") {
        "" => None,
        text => match Url::parse(text) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() =>
            {
                Some(url)
            }
            _ => {
                let message = "must be an http or https URL without a query".to_owned();
                fault("base_url", "not_a_url", message);
                None
            }
        },
    };
    Ok(match faults.is_empty() {
        true => Ok(Wanted {
            platform,
            name,
            settings: form.exact("settings").to_owned().into(),
            base_url,
            topics,
            policy,
        }),
        false => Err(faults),
    })
}

async fn find(
    dashboard: &Dashboard,
    property_id: Uuid,
    destination_id: Uuid,
) -> Result<Destination, Failure> {
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::find(&mut conn, &[(property_id, destination_id)]).await
    };
    let found = db::in_time(read).await?.pop();
    found
        .filter(|one| one.removed_at.is_none())
        .ok_or(Failure::NotFound)
}

/// Whether to count the books, which takes a while where there is much.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Books {
    books: String,
}

/// `GET .../destinations/{destination_id}`
pub async fn one(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path((property_id, destination_id)): Path<(Uuid, Uuid)>,
    Query(said): Query<Said>,
    Query(books): Query<Books>,
) -> Result<Response, Failure> {
    let destination = find(&dashboard, property_id, destination_id).await?;
    let beside = Beside {
        with_books: !books.books.is_empty(),
        ..Beside::default()
    };
    shown_one(&dashboard, &session, destination, said.word(), beside).await
}

async fn shown_one(
    dashboard: &Dashboard,
    session: &Session,
    destination: Destination,
    said: Option<&str>,
    beside: Beside,
) -> Result<Response, Failure> {
    let (property_id, tenant) = (destination.property_id, destination.tenant());
    let frame = Frame::new(dashboard, session, Some(property_id), Place::Destinations).await?;
    let names = names(&streams_of(dashboard, property_id).await?);
    let mut conn = dashboard.reports.turn().await?;
    let filter = Filter {
        state: Some(DeliveryState::Dead),
        destination_id: Some(destination.destination_id),
        before: None,
        limit: MOST_DEAD,
    };
    let dead = forwarding::store::list(&mut conn, &[tenant], &filter).await?;
    let books = match beside.with_books {
        true => forwarding::store::ledger(&mut conn, tenant)
            .await?
            .into_iter()
            .find(|books| books.destination_id == destination.destination_id),
        false => None,
    };
    drop(conn);
    let topics = destination.topics.as_ref().map_or_else(
        || "all that the platform takes".to_owned(),
        |topics| {
            let told = topics.iter().map(|(topic, event)| match event {
                Some(event) => format!("{topic} as {event}"),
                None => topic.clone(),
            });
            told.collect::<Vec<_>>().join(", ")
        },
    );
    let dead = dead.into_iter().map(|one| Dead {
        at: time_or(one.settled_at, ""),
        path: format!("/dashboard/properties/{property_id}/conversions/{}", one.event_id),
        one,
    });
    Ok(html(&One {
        frame: frame.saying(said),
        row: row(destination, &names),
        books,
        dead: dead.collect(),
        beside,
        topics,
    }))
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
    let base = format!("/dashboard/properties/{property_id}/destinations");
    Ok(go(&match change {
        DestinationChange::Remove => format!("{base}?said={said}"),
        _ => format!("{base}/{destination_id}?said={said}"),
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
        sent => match sent.parse::<NaiveDate>() {
            Ok(day) => Ok(Some(day.and_time(NaiveTime::MIN).and_utc())),
            Err(_) => Err(Failure::BadForm("A day is written as 2026-01-31.")),
        },
    };
    let which = Replay {
        code: Some(form.text("code").to_owned()).filter(|code| !code.is_empty() && !code.contains('\0')),
        since: moment("since")?,
        until: moment("until")?,
    };
    let mut conn = dashboard.reports.turn().await?;
    if form.text("do") == "replay" {
        let now = dashboard.clock.now();
        forwarding::replay(&mut conn, property_id, destination_id, &which, now).await?;
        return Ok(go(&format!(
            "/dashboard/properties/{property_id}/destinations/{destination_id}?said=replayed"
        )));
    }
    let found = forwarding::store::count_dead(&mut conn, property_id, destination_id, &which).await?;
    drop(conn);
    let text = |field: &str| form.text(field).to_owned();
    let asked = Asked {
        code: text("code"),
        since: text("since"),
        until: text("until"),
    };
    let beside = Beside {
        counted: Some((count(found), asked)),
        ..Beside::default()
    };
    shown_one(&dashboard, &posted.session, destination, None, beside).await
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
    shown_one(&dashboard, &posted.session, destination, None, beside).await
}
