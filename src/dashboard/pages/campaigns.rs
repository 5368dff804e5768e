//! What campaigns brought, by model.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use rust_decimal::prelude::ToPrimitive as _;
use serde::Deserialize;
use uuid::Uuid;

use super::attribution_ids::refuse_unknown;
use crate::dashboard::Dashboard;
use crate::dashboard::chart::{Chart, Value};
use crate::dashboard::extract::{Path, Query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Viewer};
use crate::dashboard::show::{amount, count, html};
use crate::platform::db;
use crate::reports::campaigns::{self, Dimension, Figures, Point, Row as ReportRow};
use crate::reports::{Model, Window};
use crate::streams::{self, Stream};

/// Windows that can be chosen, in days.
pub(super) const DAYS: [u16; 4] = [1, 7, 30, 90];
/// Streams that can be chosen.
const MOST_STREAMS: i64 = 200;
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

/// The chosen window.
pub(super) fn days_of(sent: Option<&str>) -> u16 {
    let sent = sent.and_then(|sent| sent.parse().ok());
    sent.filter(|days| DAYS.contains(days)).unwrap_or(30)
}

/// What is asked for; what makes no sense is as if it were not there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    days: Option<String>,
    model: Option<String>,
    by: Option<String>,
    stream: Option<String>,
    models: Option<String>,
}

/// The choice, as it is understood.
struct Choice {
    days: u16,
    model: Model,
    by: &'static str,
    dimensions: &'static [Dimension],
    stream: Option<Uuid>,
    side_by_side: bool,
}

impl Choice {
    fn of(asked: &Asked) -> Self {
        let wanted = asked.by.as_deref().unwrap_or_default();
        let (by, _, dimensions) = GROUPS
            .into_iter()
            .find(|(word, ..)| *word == wanted)
            .unwrap_or(GROUPS[0]);
        Self {
            days: days_of(asked.days.as_deref()),
            model: asked
                .model
                .as_deref()
                .and_then(|model| model.parse().ok())
                .unwrap_or(Model::LastClick),
            by,
            dimensions,
            stream: asked.stream.as_deref().and_then(|id| Uuid::try_parse(id).ok()),
            side_by_side: asked.models.as_deref() == Some("all"),
        }
    }

    fn query(&self, property_id: Uuid, dashboard: &Dashboard) -> campaigns::Query {
        let window = Window::last_days(self.days, dashboard.clock.now());
        let mut query = campaigns::Query::new(property_id, window).group_by(self.dimensions);
        query.attribution_id = self.stream;
        let mut models = vec![self.model];
        if self.side_by_side {
            models.extend(Model::ALL);
        }
        query.models(&models)
    }

    /// The same choice as a query string.
    fn text(&self) -> String {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.append_pair("days", &self.days.to_string());
        text.append_pair("model", self.model.as_str());
        text.append_pair("by", self.by);
        if let Some(stream) = self.stream {
            text.append_pair("stream", &stream.to_string());
        }
        if self.side_by_side {
            text.append_pair("models", "all");
        }
        text.finish()
    }
}

/// A row of the table.
struct Row {
    names: Vec<String>,
    /// Leads to its conversions, where it is a campaign.
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
struct ModelChoice {
    word: &'static str,
    label: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "dashboard/templates/campaigns.html")]
struct Page {
    frame: Frame,
    choice: Choice,
    choices: [u16; 4],
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
    let choice = Choice::of(&asked);
    let query = choice.query(property_id, &dashboard);
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
    Ok(html(&Page {
        choices: DAYS,
        groups: GROUPS,
        models: Model::ALL
            .into_iter()
            .map(|model| ModelChoice {
                word: model.as_str(),
                label: label(model),
                chosen: model == choice.model,
            })
            .collect(),
        streams,
        columns: columns.collect(),
        shown_models: report.models.iter().copied().map(label).collect(),
        rows: report.rows.iter().map(of_row).collect(),
        totals: report.totals.iter().map(of_row).collect(),
        others: !report.others.is_empty(),
        charts: charts(&series, choice.model, query.window),
        complete: report.complete,
        csv: format!(
            "/dashboard/properties/{property_id}/campaigns.csv?{}",
            choice.text()
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
    refuse_unknown(&mut *dashboard.pool.acquire().await?, property_id).await?;
    let query = Choice::of(&asked).query(property_id, &dashboard);
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
    let names = choice.dimensions.iter().map(|dimension| {
        let name = match dimension {
            Dimension::Channel => &row.channel,
            Dimension::Source => &row.source,
            Dimension::Medium => &row.medium,
            Dimension::Campaign => &row.campaign,
        };
        match (row.attributed, name) {
            (false, _) => "nobody".to_owned(),
            (true, Some(name)) => name.clone(),
            (true, None) => "(none)".to_owned(),
        }
    });
    let path = row.campaign.as_ref().filter(|_| row.attributed).map(|campaign| {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("campaign", campaign)
            .finish();
        format!("/dashboard/properties/{property_id}/conversions?{query}")
    });
    let figures = |figures: &Figures| Shown {
        credit: figures.credit.round_dp(2).normalize().to_string(),
        gross: amount(figures.gross.round_dp(2)),
        refunds: amount(figures.refunds.round_dp(2)),
        net: amount(figures.net.round_dp(2)),
    };
    Row {
        names: names.collect(),
        path,
        currency: row.currency.clone().unwrap_or_else(|| "–".to_owned()),
        conversions: count(row.conversions),
        figures: row.figures.iter().map(figures).collect(),
    }
}

/// One of conversions where nothing has a value, else one of net revenue for each currency.
fn charts(series: &[Point], model: Model, window: Window) -> Vec<Chart> {
    let mut currencies: Vec<&str> = series
        .iter()
        .filter_map(|point| point.currency.as_deref())
        .collect();
    currencies.sort_unstable();
    currencies.dedup();
    let days = || window.from.iter_days().take_while(|day| *day < window.until);
    currencies
        .into_iter()
        .take(4)
        .map(|currency| {
            let values = days().map(|day| {
                let point = series
                    .iter()
                    .find(|point| point.day == day && point.currency.as_deref() == Some(currency));
                let net = point
                    .and_then(|point| point.figures.iter().find(|figures| figures.model == model))
                    .map(|figures| figures.net.round_dp(2))
                    .unwrap_or_default();
                Value {
                    at: day.to_string(),
                    value: net.to_f64().unwrap_or_default(),
                    shown: format!("{} {currency}", amount(net)),
                }
            });
            Chart::of(format!("Net revenue by day, {currency}"), values.collect())
        })
        .collect()
}
