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

use super::campaigns::{MOST_DRAWN, leads_to};
use super::conversions::NONE;
use crate::dashboard::Dashboard;
use crate::dashboard::chart::{Chart, Value};
use crate::dashboard::days::Days;
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Link, Place};
use crate::dashboard::guard::{Allowed, Viewer};
use crate::dashboard::show::{Revenue, amount, count, html, time_or};
use crate::reports::Model;
use crate::reports::campaigns::{Dimension, Row as CampaignRow};
use crate::reports::overview::{self, Point, Step, Unhealthy};

/// Revenue in one currency.
struct Money {
    currency: String,
    net: String,
    gross: String,
    refunds: String,
}

/// A source or campaign.
struct Top {
    name: String,
    path: Option<String>,
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
    days: Days,
    presets: Vec<Link>,
    conversions: String,
    match_rate: String,
    refused: String,
    /// Refused requests are counted from this moment on, where there were too many.
    refused_since: String,
    charts: Vec<Chart>,
    /// Currencies that no chart shows.
    not_drawn: String,
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
    days: String,
    from: String,
    until: String,
}

/// `GET .../overview`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::Overview).await?;
    let now = dashboard.clock.now();
    let days = Days::of(&asked.days, &asked.from, &asked.until, now);
    let query = overview::Query {
        property_id,
        attribution_id: None,
        window: days.window,
        step: if days.count() == 1 { Step::Hour } else { Step::Day },
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
    let chart = |label: &str, unit, value: &dyn Fn(&Point) -> Option<(f64, String)>| {
        let values = found.points.iter().map(|point| {
            let value = value(point);
            Value {
                at: at(point.at, found.step),
                value: value.as_ref().map(|(value, _)| *value),
                shown: value.map_or_else(|| "–".to_owned(), |(_, shown)| shown),
            }
        });
        Chart::of(label.to_owned(), unit, values.collect())
    };
    let some = |many: i64| (many > 0).then(|| (many as f64, count(many)));
    let mut revenue: Vec<_> = total.revenue.iter().collect();
    revenue.sort_by_key(|one| std::cmp::Reverse(one.gross));
    let not_drawn: Vec<&str> = revenue
        .iter()
        .skip(MOST_DRAWN)
        .map(|one| one.currency.as_str())
        .collect();
    let mut charts = vec![chart("Conversions", "Conversions", &|point| {
        some(point.conversions)
    })];
    charts.extend(revenue.iter().take(MOST_DRAWN).map(|drawn| {
        let currency = &drawn.currency;
        let of_currency = |point: &Point| {
            let found = point.revenue.iter().find(|one| one.currency == *currency)?;
            let net = Revenue::of(found.gross, found.refunds, currency).net;
            Some((net.to_f64()?, format!("{} {currency}", amount(net, currency))))
        };
        chart(&format!("Net revenue, {currency}"), "Net revenue", &of_currency)
    }));
    charts.push(chart("Match rate", "Matched", &|point| {
        Some((point.match_rate?, rate(point.match_rate)))
    }));
    charts.push(chart("Refused requests", "Refused", &|point| {
        some(refused.get(&point.at).copied().unwrap_or_default())
    }));
    let money = revenue.iter().map(|one| {
        let (currency, sums) = (&one.currency, Revenue::of(one.gross, one.refunds, &one.currency));
        Money {
            currency: currency.clone(),
            net: amount(sums.net, currency),
            gross: amount(sums.gross, currency),
            refunds: amount(sums.refunds, currency),
        }
    });
    let top = |dimensions: &'static [Dimension]| {
        let days = &days;
        move |row: &CampaignRow| Top {
            path: leads_to(property_id, days, query.model, None, dimensions, row),
            ..top(row)
        }
    };
    let path = |trouble: &Unhealthy| of_trouble(property_id, trouble);
    Ok(html(&Page {
        presets: days.presets(&[]),
        conversions: count(total.conversions),
        match_rate: rate(total.match_rate),
        refused: count(refused.values().sum()),
        refused_since: time_or(found.refused_since, ""),
        charts,
        not_drawn: not_drawn.join(", "),
        money: money.collect(),
        sources: found
            .sources
            .iter()
            .map(top(&[Dimension::Source, Dimension::Medium]))
            .collect(),
        campaigns: found.campaigns.iter().map(top(&[Dimension::Campaign])).collect(),
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
        days,
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
            (true, true) => NONE.to_owned(),
            (true, false) => parts.join(" / "),
        },
        conversions: count(row.conversions),
        credit: figures.map_or_else(String::new, |figures| figures.credit.round_dp(2).to_string()),
        net: figures.map_or_else(String::new, |figures| {
            let currency = row.currency.as_deref().unwrap_or_default();
            amount(
                Revenue::of(figures.gross, figures.refunds, currency).net,
                currency,
            )
        }),
        currency: row.currency.clone().unwrap_or_default(),
        path: None,
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
            "No page view for a day; the last came {}",
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
