//! Why a conversion is attributed or not, in words, and what would have made a match.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::Conversion;
use super::Version;
use super::store::Rest;
use crate::attribution::{Attribution, attribute, window_start};
use crate::sessions::store::{Wanted, touches};

/// Lookbacks that are tried, in days.
const TRIED: [i16; 3] = [45, 60, 90];

/// Why a conversion is attributed or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Why {
    /// What happened, in a sentence or two.
    pub summary: String,
    /// What to do about it, where something can be done.
    pub advice: Option<String>,
    /// What the match would be with today's sessions, at the conversion's own lookback and longer ones; empty where it is matched, or no visitor
    /// was named.
    pub at_lookback: Vec<AtLookback>,
}

/// What the match would be at a lookback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AtLookback {
    /// In days.
    pub lookback_days: i16,
    /// Touches of the journey; 0: no match.
    pub touches: usize,
    /// Source of the last click.
    pub source: Option<String>,
    /// Medium of the last click.
    pub medium: Option<String>,
    /// Campaign of the last click.
    pub campaign: Option<String>,
    /// When the last click was.
    pub clicked_at: Option<DateTime<Utc>>,
}

pub(super) async fn explain(
    conn: &mut PgConnection,
    property_id: Uuid,
    conversion: &Conversion,
    rest: &Rest,
    current: Option<&Version>,
) -> Result<Why, sqlx::Error> {
    let (Some(visitor_id), None) = (&rest.visitor_id, current) else {
        return Ok(match current {
            Some(version) => matched(conversion, version),
            None => no_visitor_id(),
        });
    };
    let own = rest.lookback_days;
    let lookbacks: Vec<i16> = std::iter::once(own)
        .chain(TRIED.into_iter().filter(|days| *days > own))
        .collect();
    let wanted: Vec<Wanted<'_>> = lookbacks
        .iter()
        .map(|days| Wanted {
            property_id,
            visitor_id,
            event_time: conversion.event_time,
            window_start: window_start(conversion.event_time, TimeDelta::days(i64::from(*days))),
        })
        .collect();
    let found = touches(conn, &wanted).await?;
    let looks: Vec<(i16, Attribution)> = lookbacks
        .into_iter()
        .zip(found)
        .map(|(days, touches)| {
            let lookback = TimeDelta::days(i64::from(days));
            (days, attribute(touches, conversion.event_time, lookback))
        })
        .collect();
    Ok(unmatched(conversion, rest, &looks))
}

fn matched(conversion: &Conversion, version: &Version) -> Why {
    let count = version.touches.len();
    let mut summary = match (count, version.touches.last()) {
        (1, Some(touch)) if touch.channel == "direct" => {
            "The visitor came directly, and from no ad within the lookback: the direct visit has the credit."
                .to_owned()
        }
        (_, Some(touch)) => {
            let days = days_between(touch.clicked_at, conversion.event_time);
            let visits = if count == 1 {
                "One visit".to_owned()
            } else {
                format!("{count} visits")
            };
            let names = named(
                touch.source.as_deref(),
                touch.medium.as_deref(),
                touch.campaign.as_deref(),
            );
            format!(
                "{visits} within the lookback led to it. The last one came through {names}, {} before.",
                in_days(days)
            )
        }
        (_, None) => String::new(),
    };
    if let Some(at) = conversion.matched_late_at {
        summary.push_str(&format!(
            " The match was made {} after the conversion came in, when its visitor's session came to be known.",
            in_minutes(at - conversion.received_at)
        ));
    }
    Why {
        summary,
        advice: None,
        at_lookback: Vec::new(),
    }
}

fn no_visitor_id() -> Why {
    Why {
        summary: "No visitor id was sent, so there was nobody whose visits could be looked up.".to_owned(),
        advice: Some(
            "Send `visitor_id` with the conversion. On the site the script's getVisitorId() returns it; keep it with the order, for instance in \
             a hidden field of the checkout, so that your back end can send it."
                .to_owned(),
        ),
        at_lookback: Vec::new(),
    }
}

fn unmatched(conversion: &Conversion, rest: &Rest, looks: &[(i16, Attribution)]) -> Why {
    let own = rest.lookback_days;
    let at_lookback = looks
        .iter()
        .map(|(days, found)| at_lookback(*days, found))
        .collect();
    let nearest = looks
        .iter()
        .find_map(|(_, found)| found.nearest_session_at())
        .or(rest.nearest_session_at);
    let first = looks.iter().find(|(_, found)| found.last_touch().is_some());
    let (summary, advice) = match (first, nearest) {
        (Some((days, _)), _) if *days == own => (
            "No session of this visitor was known when the conversion was looked at. By now there is one within the lookback, but it came to be \
             known too late: a conversion waits for its visitor's session for a day."
                .to_owned(),
            Some("Send sessions in time, or import them before the conversions.".to_owned()),
        ),
        (Some((days, found)), _) => {
            let at = found.last_touch().map_or(conversion.event_time, |touch| touch.clicked_at);
            (
                format!(
                    "The visitor's last visit before it was {} before, outside the lookback of {}.",
                    in_days(days_between(at, conversion.event_time)),
                    in_days(i64::from(own))
                ),
                Some(format!(
                    "At a lookback of {days} days it would have matched. A longer lookback holds for conversions that come after the change."
                )),
            )
        }
        (None, Some(at)) if at > conversion.event_time => (
            format!(
                "The visitor's first visit came after the conversion: {} later. Only visits before it can have led to it.",
                in_minutes(at - conversion.event_time)
            ),
            Some(
                "Look whether `event_time` is the time of the conversion, and whether the script loads before the visitor converts."
                    .to_owned(),
            ),
        ),
        (None, Some(at)) => (
            format!(
                "The visitor's last visit before it was {} before: no lookback reaches that far.",
                in_days(days_between(at, conversion.event_time))
            ),
            None,
        ),
        (None, None) => (
            "The visitor is unknown: no session was ever tracked with this visitor id.".to_owned(),
            Some(
                "Compare the id that was sent with the script's getVisitorId() on the site. Usual causes: an id of another system was sent, the \
                 script is not on the page where visitors land, or it is blocked there."
                    .to_owned(),
            ),
        ),
    };
    Why {
        summary,
        advice,
        at_lookback,
    }
}

fn at_lookback(days: i16, found: &Attribution) -> AtLookback {
    let last = found.last_touch();
    AtLookback {
        lookback_days: days,
        touches: match found {
            Attribution::Matched(touches) => touches.len(),
            Attribution::Unmatched(_) => 0,
        },
        source: last.and_then(|touch| touch.source.clone()),
        medium: last.and_then(|touch| touch.medium.clone()),
        campaign: last.and_then(|touch| touch.campaign.clone()),
        clicked_at: last.map(|touch| touch.clicked_at),
    }
}

fn named(source: Option<&str>, medium: Option<&str>, campaign: Option<&str>) -> String {
    let names: Vec<&str> = [source, medium, campaign].into_iter().flatten().collect();
    match names.is_empty() {
        true => "no named campaign".to_owned(),
        false => names.join(" / "),
    }
}

fn in_days(days: i64) -> String {
    match days {
        ..=1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

fn in_minutes(time: TimeDelta) -> String {
    match time.num_minutes() {
        ..=1 => "a minute".to_owned(),
        minutes @ 2..120 => format!("{minutes} minutes"),
        minutes @ 120..2880 => format!("{} hours", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

/// Days between two moments, compared by whole seconds as the matching does; a day that has begun counts.
fn days_between(earlier: DateTime<Utc>, later: DateTime<Utc>) -> i64 {
    (later.timestamp() - earlier.timestamp() + 86_399).div_euclid(86_400)
}
