//! One conversion with its journey, credit and deliveries.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::conversions::value;
use crate::dashboard::Dashboard;
use crate::dashboard::extract::Path;
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Viewer};
use crate::dashboard::show::{html, pretty, time, time_or, touches};
use crate::dashboard::timeline::{Kind, Moment, Timeline};
use crate::domain::channel::Channel;
use crate::forwarding;
use crate::forwarding::listing::Delivery;
use crate::reports::conversions::{self, AtLookback, Detail, Personal};

/// A touch of the journey.
struct Touch {
    at: String,
    name: String,
    rest: String,
    click_id: String,
    before: String,
    kind: Kind,
    /// By model, in percent.
    shares: [String; 5],
}

/// A version of the journey and its credit.
struct Version {
    number: i16,
    current: bool,
    timeline: Timeline,
    touches: Vec<Touch>,
}

/// What another lookback would have matched.
struct Other {
    days: i16,
    text: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/conversion.html")]
struct Page {
    frame: Frame,
    detail: Detail,
    at: String,
    received: String,
    matched_late: String,
    value: String,
    payload: String,
    personal: String,
    versions: Vec<Version>,
    /// Of a conversion without a journey: how far off the nearest session was.
    off: Option<Timeline>,
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
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path((property_id, event_id)): Path<(Uuid, Uuid)>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::Conversions).await?;
    let mut conn = dashboard.reports.turn().await?;
    let found = conversions::find(&mut conn, property_id, event_id, &dashboard.sealer).await?;
    let detail = found.ok_or(Failure::NotFound)?;
    let deliveries = forwarding::store::of_event(&mut conn, property_id, event_id).await?;
    drop(conn);
    let one = &detail.conversion;
    Ok(html(&Page {
        frame,
        at: time(one.event_time),
        received: time(one.received_at),
        matched_late: time_or(one.matched_late_at, ""),
        value: value(one),
        payload: pretty(detail.payload.get()),
        personal: personal(&detail.personal),
        versions: versions(&detail),
        off: off(&detail),
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

fn personal(personal: &Personal) -> String {
    match personal {
        Personal::None => "none was sent".to_owned(),
        Personal::Masked(masked) => serde_json::to_string_pretty(masked).unwrap_or_default(),
        Personal::Deleted => "it was past its retention, and is deleted".to_owned(),
        Personal::Unreadable => "it is sealed under a key that is no longer configured".to_owned(),
    }
}

fn versions(detail: &Detail) -> Vec<Version> {
    let event_time = detail.conversion.event_time;
    let version = |version: &conversions::Version| {
        let moment = |share: &conversions::Share| Moment {
            at: share.clicked_at,
            kind: if is_direct(share) {
                Kind::Direct
            } else {
                Kind::Click
            },
            title: format!("{}, {} UTC", name(share), time(share.clicked_at)),
        };
        Version {
            number: version.version,
            current: version.current,
            timeline: Timeline::of(
                version.touches.iter().map(moment).collect(),
                lookback_begins(detail),
                event_time,
            ),
            touches: version
                .touches
                .iter()
                .map(|share| touch(share, event_time))
                .collect(),
        }
    };
    detail.versions.iter().map(version).collect()
}

/// Where there is no journey: the nearest session, and where the lookback began.
fn off(detail: &Detail) -> Option<Timeline> {
    let (true, Some(nearest)) = (detail.versions.is_empty(), detail.nearest_session_at) else {
        return None;
    };
    let moment = Moment {
        at: nearest,
        kind: Kind::Outside,
        title: format!("The nearest session, {} UTC", time(nearest)),
    };
    let drawn = Timeline::of(
        vec![moment],
        lookback_begins(detail),
        detail.conversion.event_time,
    );
    Some(drawn).filter(|drawn| !drawn.marks.is_empty())
}

fn lookback_begins(detail: &Detail) -> DateTime<Utc> {
    detail.conversion.event_time - TimeDelta::days(i64::from(detail.lookback_days))
}

fn is_direct(share: &conversions::Share) -> bool {
    share.channel == Channel::Direct.as_str()
}

fn name(share: &conversions::Share) -> String {
    let names = [&share.campaign, &share.source];
    names
        .into_iter()
        .flatten()
        .next()
        .unwrap_or(&share.channel)
        .clone()
}

fn touch(share: &conversions::Share, event_time: DateTime<Utc>) -> Touch {
    let percent = |share: Decimal| format!("{} %", (share * Decimal::ONE_HUNDRED).round_dp(1).normalize());
    let parts = [Some(&share.channel), share.source.as_ref(), share.medium.as_ref()];
    Touch {
        at: time(share.clicked_at),
        name: name(share),
        rest: parts
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" · "),
        click_id: share.click_id.clone().unwrap_or_default(),
        before: apart(event_time - share.clicked_at),
        kind: if is_direct(share) {
            Kind::Direct
        } else {
            Kind::Click
        },
        shares: [
            percent(share.last_click),
            percent(share.first_click),
            percent(share.linear),
            percent(share.time_decay),
            percent(share.position_based),
        ],
    }
}

/// How long before the conversion.
fn apart(time: TimeDelta) -> String {
    match (time.num_days(), time.num_hours(), time.num_minutes()) {
        (0, 0, minutes) => format!("{} min before", minutes.max(0)),
        (0, hours, _) => format!("{hours} h before"),
        (days, hours, _) => format!("{days} d {} h before", hours % 24),
    }
}

fn other(at: &AtLookback) -> Other {
    let text = match (at.touches, at.clicked_at) {
        (0, _) | (_, None) => "no match".to_owned(),
        (count, Some(clicked_at)) => {
            let what = [&at.campaign, &at.source]
                .into_iter()
                .flatten()
                .next()
                .map_or("a direct visit", String::as_str);
            format!("{what}, clicked {}; {}", time(clicked_at), touches(count))
        }
    };
    Other {
        days: at.lookback_days,
        text,
    }
}
