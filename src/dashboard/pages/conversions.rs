//! Conversions: the list.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;
use uuid::Uuid;

use super::campaigns::{MOST_STREAMS, ModelChoice};
use crate::dashboard::Dashboard;
use crate::dashboard::days::{day, query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Viewer};
use crate::dashboard::show::{amount, html, time, time_or};
use crate::domain::topic::Topic;
use crate::platform::db;
use crate::reports::Model;
use crate::reports::conversions::{self, Conversion, Filter};
use crate::streams::{self, Stream};

/// Conversions on a page.
const ON_PAGE: u16 = 50;
/// Stands for a touch without a campaign, source or medium, and for a conversion without a currency.
pub(super) const NONE: &str = "(none)";
/// All topics that reports count as conversions.
pub(super) const NO_REFUNDS: &str = "conversions";
/// Outcomes that can be chosen: the word, and what people call it.
const OUTCOMES: [(&str, &str); 5] = [
    ("matched", "Matched"),
    ("unmatched", "Not matched"),
    ("no_visitor_id", "No visitor id"),
    ("unknown_visitor", "Unknown visitor"),
    ("outside_lookback", "Outside the lookback"),
];

/// What is asked for; what makes no sense is as if it were not there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    topic: String,
    outcome: String,
    campaign: String,
    source: String,
    medium: String,
    model: String,
    currency: String,
    stream: String,
    from: String,
    until: String,
    conversion_id: String,
    after: String,
}

impl Asked {
    /// All that narrows the list.
    fn narrowing(&self) -> [(&'static str, &str); 11] {
        [
            ("topic", &self.topic),
            ("outcome", &self.outcome),
            ("campaign", &self.campaign),
            ("source", &self.source),
            ("medium", &self.medium),
            ("model", &self.model),
            ("currency", &self.currency),
            ("stream", &self.stream),
            ("from", &self.from),
            ("until", &self.until),
            ("conversion_id", &self.conversion_id),
        ]
    }

    /// Whether one of the less usual fields is filled.
    fn more(&self) -> bool {
        let Self {
            medium,
            model,
            currency,
            stream,
            ..
        } = self;
        [medium, model, currency, stream]
            .into_iter()
            .any(|text| !text.is_empty())
    }

    /// The same list from a cursor on.
    fn next(&self, cursor: conversions::Cursor) -> String {
        let narrowing = self
            .narrowing()
            .into_iter()
            .filter(|(_, value)| !value.is_empty());
        let mut pairs: Vec<_> = narrowing.map(|(name, value)| (name, value.to_owned())).collect();
        pairs.push(("after", cursor.to_string()));
        query(&pairs)
    }

    fn model(&self) -> Model {
        self.model.parse().unwrap_or(Model::LastClick)
    }

    fn filter(&self, property_id: Uuid) -> Filter {
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let last = day(&self.until).and_then(|day| day.succ_opt());
        Filter {
            attribution_id: Uuid::try_parse(&self.stream).ok(),
            topic: self.topic.parse::<Topic>().ok(),
            refunds: self.topic != NO_REFUNDS,
            outcome: self.outcome.parse().ok(),
            model: self.model(),
            source: place(&self.source),
            medium: place(&self.medium),
            campaign: place(&self.campaign),
            currency: place(&self.currency).map(|code| code.to_uppercase()),
            happened_from: day(&self.from).map(midnight),
            // The last day is in it.
            happened_until: last.map(midnight),
            conversion_id: chosen(&self.conversion_id),
            ..Filter::new(property_id)
        }
    }
}

/// A conversion in the table.
struct Row {
    one: Conversion,
    at: String,
    value: String,
    credit: String,
    path: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/conversions.html")]
struct Page {
    frame: Frame,
    asked: Asked,
    topics: [&'static str; 6],
    outcomes: [(&'static str, &'static str); 5],
    models: Vec<ModelChoice>,
    streams: Vec<Stream>,
    rows: Vec<Row>,
    next: Option<String>,
    looked_through_to: String,
    filtered: bool,
}

fn chosen(sent: &str) -> Option<String> {
    Some(sent.trim().to_owned()).filter(|text| !text.is_empty() && !text.contains('\0'))
}

/// A campaign, source, medium or currency; empty for having none.
fn place(sent: &str) -> Option<String> {
    chosen(sent).map(|text| if text == NONE { String::new() } else { text })
}

/// `GET .../conversions`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::Conversions).await?;
    let filter = asked.filter(property_id);
    let mut conn = dashboard.reports.turn().await?;
    let found = conversions::list(&mut conn, &filter, asked.after.parse().ok(), ON_PAGE).await?;
    drop(conn);
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        streams::store::streams_of(&mut conn, property_id, None, MOST_STREAMS).await
    };
    let row = |one: Conversion| Row {
        at: time(one.event_time),
        value: value(&one),
        credit: credit(&one),
        path: format!("/dashboard/properties/{property_id}/conversions/{}", one.event_id),
        one,
    };
    let narrowing = asked.narrowing();
    Ok(html(&Page {
        frame,
        topics: Topic::ALL.map(Topic::as_str),
        outcomes: OUTCOMES,
        models: ModelChoice::all(asked.model()),
        streams: db::in_time(read).await?,
        rows: found.conversions.into_iter().map(row).collect(),
        next: found.next.map(|cursor| asked.next(cursor)),
        looked_through_to: time_or(found.looked_through_to, ""),
        filtered: !asked.after.is_empty() || narrowing.iter().any(|(_, value)| !value.is_empty()),
        asked,
    }))
}

/// What a conversion was worth.
pub(super) fn value(one: &Conversion) -> String {
    match (&one.value, &one.currency) {
        (Some(value), Some(currency)) => format!("{} {currency}", amount(*value, currency)),
        _ => String::new(),
    }
}

/// Who has the credit by last click, or why nobody has.
fn credit(one: &Conversion) -> String {
    match &one.last_click {
        Some(click) => {
            let parts = [&click.campaign, &click.source];
            let told = parts.into_iter().flatten().next();
            told.cloned().unwrap_or_else(|| click.channel.clone())
        }
        None => one.reason.replace('_', " "),
    }
}
