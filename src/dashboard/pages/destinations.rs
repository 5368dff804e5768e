//! Destinations: where conversions are forwarded to.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use super::attribution_ids::name;
use super::{Said, of_stream};
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Editor, Form, Posted, Session, Viewer};
use crate::dashboard::show::{day, go, html, time_or};
use crate::destinations::{Destination, Policy, Topics, store};
use crate::domain::faults::{Fault, Faults};
use crate::forwarding::platforms::Name;
use crate::forwarding::{Unfit, Wanted, new_destination, read_base_url, read_topic};
use crate::platform::db;
use crate::platform::outbound::Reach;
use crate::settings;
use crate::streams::{self, Stream};

/// Whoever signs in here, and has not the machine, sends to public addresses alone.
pub(super) const REACH: Reach = Reach::Public;
/// Streams whose destinations are shown, at most.
const MOST_STREAMS: i64 = 200;
/// Destinations of a page.
const ON_PAGE: usize = 50;

/// A destination in the table.
pub(super) struct Row {
    pub(super) one: Destination,
    pub(super) platform: &'static str,
    pub(super) stream: String,
    pub(super) created: String,
    pub(super) paused: String,
    pub(super) path: String,
}

/// What is in the form, or was typed when it was refused; never the settings.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) name: String,
    pub(super) platform: String,
    pub(super) attribution_id: String,
    pub(super) topics: String,
    pub(super) policy: String,
    pub(super) base_url: String,
}

impl Typed {
    /// What a form sent.
    pub(super) fn of(form: &Form) -> Self {
        let text = |field: &str| form.text(field).to_owned();
        Self {
            name: text("name"),
            platform: text("platform"),
            attribution_id: text("attribution_id"),
            topics: text("topics"),
            policy: text("policy"),
            base_url: text("base_url"),
        }
    }

    /// As an empty form begins.
    fn new() -> Self {
        Self {
            policy: Policy::Matched.to_string(),
            ..Self::default()
        }
    }
}

#[derive(Template)]
#[template(path = "dashboard/templates/destinations.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
    removed: bool,
    streams: Vec<Stream>,
    platforms: [(&'static str, &'static str); 10],
    policies: [Policy; 3],
    faults: Vec<Fault>,
    typed: Typed,
}

fn title(platform: &str) -> &'static str {
    platform
        .parse::<Name>()
        .map_or("an unknown platform", |name| name.spec().title)
}

pub(super) fn row(one: Destination, streams: &HashMap<Uuid, String>) -> Row {
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

pub(super) async fn streams_of(dashboard: &Dashboard, property_id: Uuid) -> Result<Vec<Stream>, Failure> {
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        streams::store::streams_of(&mut conn, property_id, None, MOST_STREAMS).await
    };
    Ok(db::in_time(read).await?)
}

pub(super) fn names(streams: &[Stream]) -> HashMap<Uuid, String> {
    streams
        .iter()
        .map(|stream| (stream.attribution_id, stream.name.clone()))
        .collect()
}

/// Which page of the list is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Those that were taken away, too; empty: not.
    removed: String,
    /// The id that the page before ended with.
    after: String,
}

async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    property_id: Uuid,
    said: Option<&str>,
    asked: &Asked,
    (faults, typed): (Vec<Fault>, Typed),
) -> Result<Response, Failure> {
    let frame = Frame::new(dashboard, session, Some(property_id), Place::Destinations).await?;
    let streams = streams_of(dashboard, property_id).await?;
    let removed = !asked.removed.is_empty();
    let filter = store::Filter {
        property_id,
        attribution_id: None,
        removed,
        after: Uuid::try_parse(&asked.after).ok(),
        // One more tells whether there are more.
        limit: ON_PAGE as i64 + 1,
    };
    let read = async { store::list(&mut *dashboard.pool.acquire().await?, &filter).await };
    let mut found = db::in_time(read).await?;
    let more = found.len() > ON_PAGE;
    found.truncate(ON_PAGE);
    let last = found.last().filter(|_| more);
    let next = last.map(|last| {
        let removed = if removed { "&removed=1" } else { "" };
        format!("?after={}{removed}", last.destination_id)
    });
    let names = names(&streams);
    Ok(html(&Page {
        frame: frame.saying(said),
        rows: found.into_iter().map(|one| row(one, &names)).collect(),
        next,
        removed,
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
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let form = (Vec::new(), Typed::new());
    shown(&dashboard, &session, property_id, said.word(), &asked, form).await
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
    let platform: Name = form
        .text("platform")
        .parse()
        .map_err(|_| Failure::BadForm("Choose a platform."))?;
    let made = read(form)?.and_then(|read| {
        let wanted = Wanted {
            platform,
            name: read.name,
            settings: form.exact("settings").to_owned().into(),
            base_url: read.base_url,
            topics: read.topics,
            policy: read.policy,
        };
        let Dashboard {
            sender,
            sealer,
            clock,
            ..
        } = dashboard.as_ref();
        new_destination(stream.tenant(), wanted, REACH, sender, sealer, clock)
    });
    match made {
        Ok(destination) => {
            let mut conn = dashboard.pool.acquire().await?;
            let actor = session.actor();
            settings::create_destination(&mut conn, &actor, &destination, &dashboard.clock).await?;
            Ok(go(&format!(
                "/dashboard/properties/{property_id}/destinations?said=created"
            )))
        }
        Err(unfit) => {
            let refused = (faults(unfit)?, Typed::of(form));
            shown(&dashboard, session, property_id, None, &Asked::default(), refused).await
        }
    }
}

/// The faults of what was asked for; or that it is not about any.
pub(super) fn faults(unfit: Unfit) -> Result<Vec<Fault>, Failure> {
    match unfit {
        Unfit::Faults(faults) => Ok(faults),
        Unfit::Seal(error) => Err(Failure::Internal(error.to_string())),
    }
}

/// Topics are separated by commas, or where there are none by spaces: a platform's name for one may have spaces.
fn separate(topics: &str) -> Vec<&str> {
    let parts: Vec<&str> = match topics.contains(',') {
        true => topics.split(',').map(str::trim).collect(),
        false => topics.split_whitespace().collect(),
    };
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

/// What a form says of a destination, but for its settings.
pub(super) struct Read {
    pub(super) name: String,
    pub(super) base_url: Option<url::Url>,
    pub(super) topics: Topics,
    pub(super) policy: Policy,
}

/// Reads a form, or says what is wrong with it, all of it.
pub(super) fn read(form: &Form) -> Result<Result<Read, Unfit>, Failure> {
    let policy: Policy = form
        .text("policy")
        .parse()
        .map_err(|_| Failure::BadForm("Choose which conversions are sent."))?;
    let mut faults = Faults::default();
    let name = match name(form.text("name")) {
        Ok(name) => name,
        Err(Failure::BadForm(message)) => {
            faults.add("name", "bad_text", message);
            String::new()
        }
        Err(other) => return Err(other),
    };
    let mut topics = Topics::new();
    for sent in separate(form.text("topics")) {
        match read_topic(sent) {
            Ok((topic, event)) => drop(topics.insert(topic, event)),
            Err(message) => faults.add("topics", "unknown_topic", message),
        }
    }
    let base_url = match form.text("base_url") {
        "" => None,
        sent => match read_base_url(sent) {
            Ok(url) => Some(url),
            Err(must) => {
                faults.add("base_url", "not_a_url", must);
                None
            }
        },
    };
    Ok(match faults.is_empty() {
        true => Ok(Read {
            name,
            base_url,
            topics,
            policy,
        }),
        false => Err(Unfit::Faults(faults.into_vec())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_separated() {
        assert_eq!(separate(" purchase  lead=enquiry "), ["purchase", "lead=enquiry"]);
        assert_eq!(
            separate("purchase, lead=Lead Form,"),
            ["purchase", "lead=Lead Form"]
        );
        assert!(separate("").is_empty() && separate(" , ").is_empty());
    }
}
