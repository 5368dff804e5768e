//! How things stand: conversions, revenue, match rate, refused requests, and what is unhealthy.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use rust_decimal::prelude::ToPrimitive as _;
use serde::Deserialize;
use uuid::Uuid;

use super::campaigns::{DAYS, days_of};
use crate::dashboard::Dashboard;
use crate::dashboard::chart::{Chart, Value};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Viewer};
use crate::dashboard::show::{amount, count, html, time_or};
use crate::reports::campaigns::Row as CampaignRow;
use crate::reports::overview::{self, Point, Step, Unhealthy};
use crate::reports::{Model, Window};

/// Revenue in one currency.
struct Money {
    currency: String,
    net: String,
    gross: String,
    refunds: String,
    chart: Chart,
}

/// A source or campaign.
struct Top {
    name: String,
    conversions: String,
    credit: String,
    net: String,
    currency: String,
}

/// Something that is wrong.
struct Trouble {
    name: String,
    what: String,
    advice: &'static str,
    path: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/overview.html")]
struct Page {
    frame: Frame,
    days: u16,
    choices: [u16; 4],
    conversions: String,
    match_rate: String,
    refused: String,
    by_conversions: Chart,
    by_match: Chart,
    by_refused: Chart,
    money: Vec<Money>,
    sources: Vec<Top>,
    campaigns: Vec<Top>,
    troubles: Vec<Trouble>,
    complete: bool,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    days: Option<String>,
}

/// `GET .../overview`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::Overview).await?;
    let days = days_of(asked.days.as_deref());
    let now = dashboard.clock.now();
    let query = overview::Query {
        property_id,
        attribution_id: None,
        window: Window::last_days(days, now),
        step: if days == 1 { Step::Hour } else { Step::Day },
        model: Model::LastClick,
    };
    let mut conn = dashboard.reports.turn().await?;
    let found = overview::overview(&mut conn, &query, now).await?;
    let unhealthy = overview::unhealthy(&mut conn, property_id, &dashboard.sealer, now).await?;
    drop(conn);
    let total = &found.total;
    let mut refused: BTreeMap<DateTime<Utc>, i64> = BTreeMap::new();
    for one in &found.refused {
        *refused.entry(one.at).or_default() += one.requests;
    }
    let of_points = |label: &str, value: &dyn Fn(&Point) -> (f64, String)| {
        let values = found.points.iter().map(|point| {
            let (value, shown) = value(point);
            Value {
                at: at(point.at, query.step),
                value,
                shown,
            }
        });
        Chart::of(label.to_owned(), values.collect())
    };
    let money = total.revenue.iter().map(|revenue| {
        let of = |point: &Point| {
            let found = point
                .revenue
                .iter()
                .find(|other| other.currency == revenue.currency);
            let net = found.map(|found| found.net).unwrap_or_default();
            (net.to_f64().unwrap_or_default(), amount(net))
        };
        Money {
            currency: revenue.currency.clone(),
            net: amount(revenue.net),
            gross: amount(revenue.gross),
            refunds: amount(revenue.refunds),
            chart: of_points(&format!("Net revenue in {}", revenue.currency), &of),
        }
    });
    let path = |trouble: &Unhealthy| of_trouble(property_id, trouble);
    Ok(html(&Page {
        days,
        choices: DAYS,
        conversions: count(total.conversions),
        match_rate: rate(total.match_rate),
        refused: count(refused.values().sum()),
        by_conversions: of_points("Conversions", &|point| {
            (point.conversions as f64, count(point.conversions))
        }),
        by_match: of_points("Share of conversions that were matched", &|point| {
            (point.match_rate.unwrap_or_default(), rate(point.match_rate))
        }),
        by_refused: of_points("Refused requests", &|point| {
            let requests = refused.get(&point.at).copied().unwrap_or_default();
            (requests as f64, count(requests))
        }),
        money: money.collect(),
        sources: found.sources.iter().map(top).collect(),
        campaigns: found.campaigns.iter().map(top).collect(),
        troubles: unhealthy
            .iter()
            .map(|trouble| Trouble {
                path: path(trouble),
                name: trouble.name.clone(),
                what: what(trouble),
                advice: trouble.advice,
            })
            .collect(),
        complete: found.complete,
        frame,
    }))
}

fn at(at: DateTime<Utc>, step: Step) -> String {
    match step {
        Step::Hour => at.format("%Y-%m-%d %H:%M").to_string(),
        Step::Day => at.format("%Y-%m-%d").to_string(),
    }
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.0} %", rate * 100.0))
}

fn top(row: &CampaignRow) -> Top {
    let parts: Vec<&str> = [&row.source, &row.medium, &row.campaign]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let figures = row.figures.first();
    Top {
        name: match (row.attributed, parts.is_empty()) {
            (false, _) => "nobody".to_owned(),
            (true, true) => "(none)".to_owned(),
            (true, false) => parts.join(" / "),
        },
        conversions: count(row.conversions),
        credit: figures.map_or_else(String::new, |figures| figures.credit.round_dp(2).to_string()),
        net: figures.map_or_else(String::new, |figures| amount(figures.net.round_dp(2))),
        currency: row.currency.clone().unwrap_or_default(),
    }
}

fn what(trouble: &Unhealthy) -> String {
    use overview::Trouble as T;
    let many = trouble
        .deliveries
        .map_or_else(String::new, |many| format!(" ({many} deliveries)"));
    match trouble.trouble {
        T::DestinationPaused => match &trouble.reason {
            Some(reason) => format!("The destination is paused: {reason}{many}"),
            None => format!("The destination is paused{many}"),
        },
        T::DestinationUnreadable => {
            let reason = trouble.reason.as_deref().unwrap_or_default();
            format!("The destination's settings cannot be read here: {reason}")
        }
        T::DestinationRefuses => format!("The platform refused deliveries for good within a day{many}"),
        T::DestinationBehind => format!("Deliveries wait for more than an hour{many}"),
        T::NoWebhooks => format!(
            "No webhook for a day; the last came {}",
            time_or(trouble.at, "never")
        ),
        T::NoPageViews => format!(
            "No visit began for a day; the last {}",
            time_or(trouble.at, "never")
        ),
        T::KeyExpires => format!("The key ends {}", time_or(trouble.at, "soon")),
    }
}

fn of_trouble(property_id: Uuid, trouble: &Unhealthy) -> String {
    use overview::Trouble as T;
    let base = format!("/dashboard/properties/{property_id}");
    match trouble.trouble {
        T::DestinationPaused | T::DestinationUnreadable | T::DestinationRefuses | T::DestinationBehind => {
            format!("{base}/destinations/{}", trouble.id)
        }
        T::NoPageViews => format!("{base}/attribution-ids/{}/tracking", trouble.attribution_id),
        T::NoWebhooks | T::KeyExpires => {
            format!("{base}/attribution-ids/{}/webhooks", trouble.attribution_id)
        }
    }
}
