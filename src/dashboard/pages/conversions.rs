//! Conversions: the list, and one of them with its journey, credit and deliveries.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;
use uuid::Uuid;

use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Viewer};
use crate::dashboard::show::{amount, html, time, time_or};
use crate::domain::topic::Topic;
use crate::forwarding::listing::Delivery;
use crate::reports::conversions::{self, AtLookback, Conversion, Detail, Filter, Personal};

/// Conversions on a page.
const ON_PAGE: u16 = 50;
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
    source: String,
    campaign: String,
    from: String,
    until: String,
    conversion_id: String,
    after: String,
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
    rows: Vec<Row>,
    next: Option<String>,
    looked_through_to: String,
    filtered: bool,
}

/// A day's beginning, as a date field sends it.
fn day(sent: &str) -> Option<chrono::DateTime<chrono::Utc>> {
    let day = sent.parse::<NaiveDate>().ok()?;
    Some(day.and_time(NaiveTime::MIN).and_utc())
}

fn chosen(sent: &str) -> Option<String> {
    Some(sent.trim().to_owned()).filter(|text| !text.is_empty() && !text.contains('\0'))
}

fn filter(property_id: Uuid, asked: &Asked) -> Filter {
    Filter {
        topic: asked.topic.parse::<Topic>().ok(),
        outcome: asked.outcome.parse().ok(),
        source: chosen(&asked.source),
        campaign: chosen(&asked.campaign),
        from: day(&asked.from),
        // The last day is in it.
        until: day(&asked.until).map(|day| day + chrono::TimeDelta::days(1)),
        conversion_id: chosen(&asked.conversion_id),
        ..Filter::new(property_id)
    }
}

/// `GET .../conversions`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::Conversions).await?;
    let filter = filter(property_id, &asked);
    let mut conn = dashboard.reports.turn().await?;
    let found = conversions::list(&mut conn, &filter, asked.after.parse().ok(), ON_PAGE).await?;
    drop(conn);
    let next = found.next.map(|cursor| {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("topic", &asked.topic),
            ("outcome", &asked.outcome),
            ("source", &asked.source),
            ("campaign", &asked.campaign),
            ("from", &asked.from),
            ("until", &asked.until),
        ] {
            if !value.is_empty() {
                text.append_pair(name, value);
            }
        }
        text.append_pair("after", &cursor.to_string());
        format!("?{}", text.finish())
    });
    let filtered = [
        &asked.topic,
        &asked.outcome,
        &asked.source,
        &asked.campaign,
        &asked.from,
        &asked.until,
        &asked.conversion_id,
        &asked.after,
    ]
    .into_iter()
    .any(|text| !text.is_empty());
    let row = |one: Conversion| Row {
        at: time(one.event_time),
        value: value(&one),
        credit: credit(&one),
        path: format!("/dashboard/properties/{property_id}/conversions/{}", one.event_id),
        one,
    };
    Ok(html(&Page {
        frame,
        topics: Topic::ALL.map(Topic::as_str),
        outcomes: OUTCOMES,
        rows: found.conversions.into_iter().map(row).collect(),
        next,
        looked_through_to: time_or(found.looked_through_to, ""),
        filtered,
        asked,
    }))
}

fn value(one: &Conversion) -> String {
    match (&one.value, &one.currency) {
        (Some(value), Some(currency)) => format!("{} {currency}", amount(*value)),
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

/// A touch of the journey.
struct Touch {
    at: String,
    name: String,
    rest: String,
    click_id: String,
    before: String,
    credited: bool,
    /// By model, in percent.
    shares: [String; 5],
}

/// What another lookback would have matched.
struct Other {
    days: i16,
    text: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/conversion.html")]
struct One {
    frame: Frame,
    detail: Detail,
    at: String,
    received: String,
    matched_late: String,
    value: String,
    payload: String,
    personal: String,
    versions: Vec<(i16, bool, Vec<Touch>)>,
    others: Vec<Other>,
    deliveries: Vec<Sent>,
    nearest: String,
    base: String,
}

/// A delivery in the table.
struct Sent {
    one: Delivery,
    settled: String,
    payload: String,
}

/// `GET .../conversions/{event_id}`
pub async fn one(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path((property_id, event_id)): Path<(Uuid, Uuid)>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::Conversions).await?;
    let mut conn = dashboard.reports.turn().await?;
    let found = conversions::find(&mut conn, property_id, event_id, &dashboard.sealer).await?;
    let detail = found.ok_or(Failure::NotFound)?;
    let deliveries = crate::forwarding::store::of_event(&mut conn, property_id, event_id).await?;
    drop(conn);
    let one = &detail.conversion;
    Ok(html(&One {
        frame,
        at: time(one.event_time),
        received: time(one.received_at),
        matched_late: time_or(one.matched_late_at, ""),
        value: value(one),
        payload: pretty(detail.payload.get()),
        personal: personal(&detail.personal),
        versions: versions(&detail),
        others: detail.why.at_lookback.iter().map(other).collect(),
        deliveries: deliveries
            .into_iter()
            .map(|mut one| {
                one.open(&dashboard.sealer);
                Sent {
                    settled: time_or(one.settled_at, "not yet"),
                    payload: one.payload.as_ref().map_or_else(String::new, |payload| {
                        serde_json::to_string_pretty(payload).unwrap_or_default()
                    }),
                    one,
                }
            })
            .collect(),
        nearest: time_or(detail.nearest_session_at, ""),
        base: format!("/dashboard/properties/{property_id}"),
        detail,
    }))
}

fn pretty(json: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(json).ok();
    value
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| json.to_owned())
}

fn personal(personal: &Personal) -> String {
    match personal {
        Personal::None => "none was sent".to_owned(),
        Personal::Masked(masked) => serde_json::to_string_pretty(masked).unwrap_or_default(),
        Personal::Deleted => "it was past its retention, and is deleted".to_owned(),
        Personal::Unreadable => "it is sealed under a key that is no longer configured".to_owned(),
    }
}

fn versions(detail: &Detail) -> Vec<(i16, bool, Vec<Touch>)> {
    let event_time = detail.conversion.event_time;
    let percent = |share: rust_decimal::Decimal| {
        let hundredths = (share * rust_decimal::Decimal::ONE_HUNDRED).round_dp(1);
        format!("{} %", hundredths.normalize())
    };
    let of = |share: &conversions::Share| Touch {
        at: time(share.clicked_at),
        name: [&share.campaign, &share.source]
            .into_iter()
            .flatten()
            .next()
            .cloned()
            .unwrap_or_else(|| share.channel.clone()),
        rest: [Some(&share.channel), share.source.as_ref(), share.medium.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" · "),
        click_id: share.click_id.clone().unwrap_or_default(),
        before: apart(event_time - share.clicked_at),
        credited: share.last_click > rust_decimal::Decimal::ZERO,
        shares: [
            percent(share.last_click),
            percent(share.first_click),
            percent(share.linear),
            percent(share.time_decay),
            percent(share.position_based),
        ],
    };
    detail
        .versions
        .iter()
        .map(|version| {
            (
                version.version,
                version.current,
                version.touches.iter().map(of).collect(),
            )
        })
        .collect()
}

/// How long before the conversion.
fn apart(time: chrono::TimeDelta) -> String {
    match (time.num_days(), time.num_hours(), time.num_minutes()) {
        (0, 0, minutes) => format!("{} min before", minutes.max(0)),
        (0, hours, _) => format!("{hours} h before"),
        (days, hours, _) => format!("{days} d {} h before", hours % 24),
    }
}

fn other(at: &AtLookback) -> Other {
    let text = match (at.touches, at.clicked_at) {
        (0, _) | (_, None) => "no match".to_owned(),
        (touches, Some(clicked_at)) => {
            let what = [&at.campaign, &at.source]
                .into_iter()
                .flatten()
                .next()
                .map_or("a direct visit", String::as_str);
            format!("{what}, clicked {}; {touches} touch(es)", time(clicked_at))
        }
    };
    Other {
        days: at.lookback_days,
        text,
    }
}
