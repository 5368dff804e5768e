//! What campaigns brought, by model.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::prelude::ToPrimitive as _;
use serde::Deserialize;
use uuid::Uuid;

use super::conversions::{NO_REFUNDS, NONE};
use crate::dashboard::Dashboard;
use crate::dashboard::chart::{Chart, Value};
use crate::dashboard::days::{self, Days, query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Link, Place};
use crate::dashboard::guard::{Allowed, Viewer};
use crate::dashboard::show::{Revenue, amount, count, html};
use crate::platform::db;
use crate::reports::campaigns::{self, Dimension, Figures, Point, Row as ReportRow};
use crate::reports::{Model, Window};
use crate::streams::{self, Stream};

/// Streams that can be chosen.
pub(super) const MOST_STREAMS: i64 = 200;
/// Rows of the table, at most.
const MOST_ROWS: usize = 200;
/// Currencies that are drawn, at most.
pub(super) const MOST_DRAWN: usize = 4;
/// What rows can be told apart by: the choice's word, and its dimensions.
const GROUPS: [(&str, &str, &[Dimension]); 6] = [
    ("campaign", "Campaign", &[Dimension::Campaign]),
    ("channel", "Channel", &[Dimension::Channel]),
    ("source", "Source", &[Dimension::Source]),
    ("medium", "Medium", &[Dimension::Medium]),
    (
        "source_medium",
        "Source and medium",
        &[Dimension::Source, Dimension::Medium],
    ),
    ("all", "All four", &Dimension::ALL),
];

/// What is asked for; what makes no sense is as if it were not there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    days: String,
    from: String,
    until: String,
    model: String,
    by: String,
    stream: String,
    models: String,
}

/// The choice, as it is understood.
struct Choice {
    days: Days,
    model: Model,
    by: &'static str,
    dimensions: &'static [Dimension],
    stream: Option<Uuid>,
    side_by_side: bool,
}

impl Choice {
    fn of(asked: &Asked, now: DateTime<Utc>) -> Self {
        let (by, _, dimensions) = GROUPS
            .into_iter()
            .find(|(word, ..)| *word == asked.by)
            .unwrap_or(GROUPS[0]);
        Self {
            days: Days::of(&asked.days, &asked.from, &asked.until, now),
            model: asked.model.parse().unwrap_or(Model::LastClick),
            by,
            dimensions,
            stream: Uuid::try_parse(&asked.stream).ok(),
            side_by_side: asked.models == "all",
        }
    }

    fn query(&self, property_id: Uuid) -> campaigns::Query {
        let mut query = campaigns::Query::new(property_id, self.days.window).group_by(self.dimensions);
        query.attribution_id = self.stream;
        let mut models = vec![self.model];
        if self.side_by_side {
            models.extend(Model::ALL);
        }
        query.models(&models)
    }

    /// The same choice but for the days, as parts of a query.
    fn rest(&self) -> Vec<(&'static str, String)> {
        let mut rest = vec![
            ("model", self.model.as_str().to_owned()),
            ("by", self.by.to_owned()),
        ];
        rest.extend(self.stream.map(|stream| ("stream", stream.to_string())));
        if self.side_by_side {
            rest.push(("models", "all".to_owned()));
        }
        rest
    }
}

/// Where a row's conversions are listed: those that it has credit of by the model, in these days, in its currency; nobody's are those without a
/// match. None where the list cannot tell them apart.
pub(super) fn leads_to(
    property_id: Uuid,
    days: &Days,
    model: Model,
    stream: Option<Uuid>,
    dimensions: &[Dimension],
    row: &ReportRow,
) -> Option<String> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    let mut pairs = Vec::new();
    if row.attributed {
        for dimension in dimensions {
            match dimension {
                // Follows from source and medium.
                Dimension::Channel if dimensions.len() == 1 => return None,
                Dimension::Channel => {}
                Dimension::Source => pairs.push(("source", or_none(&row.source))),
                Dimension::Medium => pairs.push(("medium", or_none(&row.medium))),
                Dimension::Campaign => pairs.push(("campaign", or_none(&row.campaign))),
            }
        }
        pairs.push(("model", model.as_str().to_owned()));
    } else {
        pairs.push(("outcome", "unmatched".to_owned()));
    }
    pairs.push(("topic", NO_REFUNDS.to_owned()));
    pairs.push(("currency", or_none(&row.currency)));
    pairs.extend(stream.map(|stream| ("stream", stream.to_string())));
    pairs.extend([("from", days.first()), ("until", days.last())]);
    Some(format!(
        "/dashboard/properties/{property_id}/conversions{}",
        query(&pairs)
    ))
}

/// A row of the table.
struct Row {
    names: Vec<String>,
    /// Leads to its conversions.
    path: Option<String>,
    currency: String,
    conversions: String,
    figures: Vec<Shown>,
}

/// Figures as text.
struct Shown {
    credit: String,
    gross: String,
    refunds: String,
    net: String,
}

/// A model that can be chosen.
pub(super) struct ModelChoice {
    pub(super) word: &'static str,
    pub(super) label: &'static str,
    pub(super) chosen: bool,
}

impl ModelChoice {
    /// All of them, one of which is chosen.
    pub(super) fn all(chosen: Model) -> Vec<Self> {
        let choice = |model: Model| Self {
            word: model.as_str(),
            label: label(model),
            chosen: model == chosen,
        };
        Model::ALL.map(choice).into()
    }
}

#[derive(Template)]
#[template(path = "dashboard/templates/campaigns.html")]
struct Page {
    frame: Frame,
    choice: Choice,
    presets: Vec<Link>,
    groups: [(&'static str, &'static str, &'static [Dimension]); 6],
    models: Vec<ModelChoice>,
    streams: Vec<Stream>,
    columns: Vec<&'static str>,
    /// Of the figures, in order; more than one side by side.
    shown_models: Vec<&'static str>,
    rows: Vec<Row>,
    totals: Vec<Row>,
    others: bool,
    charts: Vec<Chart>,
    /// Currencies that no chart shows.
    not_drawn: String,
    complete: bool,
    csv: String,
}

/// What people call a model.
fn label(model: Model) -> &'static str {
    match model {
        Model::LastClick => "Last click",
        Model::FirstClick => "First click",
        Model::Linear => "Linear",
        Model::TimeDecay => "Time decay",
        Model::PositionBased => "Position based",
    }
}

/// `GET .../campaigns`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let frame = Frame::new(&dashboard, &session, Some(property_id), Place::Campaigns).await?;
    let choice = Choice::of(&asked, dashboard.clock.now());
    let query = choice.query(property_id);
    let mut conn = dashboard.reports.turn().await?;
    let report = campaigns::report(&mut conn, &query).await?;
    let series = campaigns::series(&mut conn, &query).await?;
    drop(conn);
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        streams::store::streams_of(&mut conn, property_id, None, MOST_STREAMS).await
    };
    let streams = db::in_time(read).await?;
    let columns = choice.dimensions.iter().map(|dimension| match dimension {
        Dimension::Channel => "Channel",
        Dimension::Source => "Source",
        Dimension::Medium => "Medium",
        Dimension::Campaign => "Campaign",
    });
    let of_row = |row: &ReportRow| shown(row, &choice, property_id);
    let (charts, not_drawn) = charts(&series, choice.model, query.window, dashboard.clock.now());
    Ok(html(&Page {
        presets: choice.days.presets(&choice.rest()),
        groups: GROUPS,
        models: ModelChoice::all(choice.model),
        streams,
        columns: columns.collect(),
        shown_models: report.models.iter().copied().map(label).collect(),
        rows: report.rows.iter().take(MOST_ROWS).map(of_row).collect(),
        totals: report.totals.iter().map(of_row).collect(),
        others: !report.others.is_empty() || report.rows.len() > MOST_ROWS,
        charts,
        not_drawn,
        complete: report.complete,
        csv: format!(
            "/dashboard/properties/{property_id}/campaigns.csv{}",
            days::query(&[choice.days.query(), choice.rest()].concat())
        ),
        choice,
        frame,
    }))
}

/// `GET .../campaigns.csv`
pub async fn csv(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(_, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let query = Choice::of(&asked, dashboard.clock.now()).query(property_id);
    let mut conn = dashboard.reports.turn().await?;
    let report = campaigns::report(&mut conn, &query).await?;
    drop(conn);
    let content = campaigns::to_csv(&report).map_err(|error| Failure::Internal(error.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"campaigns.csv\"",
        ),
    ];
    Ok((headers, content).into_response())
}

fn shown(row: &ReportRow, choice: &Choice, property_id: Uuid) -> Row {
    let names = choice.dimensions.iter().enumerate().map(|(place, dimension)| {
        let name = match dimension {
            Dimension::Channel => &row.channel,
            Dimension::Source => &row.source,
            Dimension::Medium => &row.medium,
            Dimension::Campaign => &row.campaign,
        };
        match (row.attributed, name) {
            (false, _) if place == 0 => "nobody".to_owned(),
            (false, _) => String::new(),
            (true, Some(name)) => name.clone(),
            (true, None) => NONE.to_owned(),
        }
    });
    let figures = |figures: &Figures| {
        let currency = row.currency.as_deref().unwrap_or_default();
        let revenue = Revenue::of(figures.gross, figures.refunds, currency);
        Shown {
            credit: figures.credit.round_dp(2).normalize().to_string(),
            gross: amount(revenue.gross, currency),
            refunds: amount(revenue.refunds, currency),
            net: amount(revenue.net, currency),
        }
    };
    Row {
        names: names.collect(),
        path: leads_to(
            property_id,
            &choice.days,
            choice.model,
            choice.stream,
            choice.dimensions,
            row,
        ),
        currency: row.currency.clone().unwrap_or_else(|| "–".to_owned()),
        conversions: count(row.conversions),
        figures: row.figures.iter().map(figures).collect(),
    }
}

/// One of conversions, and one of net revenue for each of the currencies that brought most; with the others, which are not drawn.
fn charts(series: &[Point], model: Model, window: Window, now: DateTime<Utc>) -> (Vec<Chart>, String) {
    let mut conversions: BTreeMap<NaiveDate, i64> = BTreeMap::new();
    let mut revenue: BTreeMap<&str, BTreeMap<NaiveDate, Revenue>> = BTreeMap::new();
    for point in series {
        *conversions.entry(point.day).or_default() += point.conversions;
        let figures = point.figures.iter().find(|figures| figures.model == model);
        if let (Some(currency), Some(figures)) = (point.currency.as_deref(), figures) {
            let of_day = Revenue::of(figures.gross, figures.refunds, currency);
            revenue.entry(currency).or_default().insert(point.day, of_day);
        }
    }
    let end = now.date_naive().max(window.from);
    let days: Vec<NaiveDate> = window
        .from
        .iter_days()
        .take_while(|day| *day < window.until && *day <= end)
        .collect();
    let nothing = || "–".to_owned();
    let of_conversions = days.iter().map(|day| {
        let many = conversions.get(day).copied().filter(|many| *many > 0);
        Value {
            at: day.to_string(),
            value: many.map(|many| many as f64),
            shown: many.map_or_else(nothing, count),
        }
    });
    let mut charts = vec![Chart::of(
        "Conversions by day".to_owned(),
        "Conversions",
        of_conversions.collect(),
    )];
    let mut currencies: Vec<_> = revenue.into_iter().collect();
    let gross = |days: &BTreeMap<NaiveDate, Revenue>| -> f64 {
        days.values().filter_map(|revenue| revenue.gross.to_f64()).sum()
    };
    currencies.sort_by(|(_, a), (_, b)| gross(b).total_cmp(&gross(a)));
    let not_drawn = currencies.split_off(currencies.len().min(MOST_DRAWN));
    charts.extend(currencies.into_iter().map(|(currency, by_day)| {
        let of_revenue = days.iter().map(|day| {
            let net = by_day.get(day).map(|revenue| revenue.net);
            Value {
                at: day.to_string(),
                value: net.and_then(|net| net.to_f64()),
                shown: net.map_or_else(nothing, |net| format!("{} {currency}", amount(net, currency))),
            }
        });
        Chart::of(
            format!("Net revenue by day, {currency}"),
            "Net revenue",
            of_revenue.collect(),
        )
    }));
    let not_drawn: Vec<&str> = not_drawn.into_iter().map(|(currency, _)| currency).collect();
    (charts, not_drawn.join(", "))
}
