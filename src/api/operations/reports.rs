//! Reports.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{reading, stream};
use crate::api::Api;
use crate::api::extract::{Asked, Json, fault, invalid};
use crate::api::page::Page;
use crate::api::principal::{OfProperty, Reader, unavailable};
use crate::domain::faults::Fault;
use crate::domain::topic::Topic;
use crate::platform::problem::Problem;
use crate::reports::campaigns::{self, Dimension, Filter, Point, Report};
use crate::reports::overview::{self, Overview, Step, Unhealthy};
use crate::reports::{Model, Window, is_common};

/// Days of a report unless told otherwise.
const USUALLY: u16 = 30;
/// Bytes of a text to look for, at most.
const MOST_TEXT: usize = 1000;

/// Which days: whole ones, in UTC.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Days {
    /// The first day; with `until`. The last 30 days when both are left out.
    from: Option<NaiveDate>,
    /// The day after the last one; at most 800 days after `from`.
    until: Option<NaiveDate>,
    /// Of this attribution ID.
    attribution_id: Option<Uuid>,
}

/// What a campaign report tells apart.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Rows are told apart by these, with commas between: `channel`, `source`, `medium`, `campaign`; by campaign when left out.
    group_by: Option<String>,
    /// Models, with commas between: `last_click`, `first_click`, `linear`, `time_decay`, `position_based`; the first one orders the rows.
    models: Option<String>,
    /// One topic alone.
    topic: Option<String>,
    /// Credit of this channel alone.
    channel: Option<String>,
    /// Credit of this source alone; empty: of touches without one.
    source: Option<String>,
    /// Credit of this medium alone, likewise.
    medium: Option<String>,
    /// Credit of this campaign alone, likewise.
    campaign: Option<String>,
}

impl Days {
    fn window(&self, api: &Api, faults: &mut Vec<Fault>) -> Option<Window> {
        match (self.from, self.until) {
            (None, None) => Some(Window::last_days(USUALLY, api.clock.now())),
            (Some(from), Some(until)) => match Window::new(from, until) {
                Ok(window) if is_common(from) && is_common(until) => Some(window),
                Ok(_) => {
                    faults.push(fault("from", "out_of_range", "must be in the years 1970 to 9999"));
                    None
                }
                Err(bad) => {
                    faults.push(fault("until", "bad_window", bad.to_string()));
                    None
                }
            },
            _ => {
                faults.push(fault("until", "incomplete", "from and until go together"));
                None
            }
        }
    }

    async fn check_stream(&self, api: &Api, property_id: Uuid) -> Result<(), Problem> {
        match self.attribution_id {
            Some(id) => stream(api, property_id, id).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Words with commas between.
fn words<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    sent: Option<&str>,
    faults: &mut Vec<Fault>,
) -> Option<Vec<T>> {
    let sent = sent.filter(|sent| !sent.is_empty())?;
    let mut found = Vec::new();
    for word in sent.split(',') {
        match word.parse() {
            Ok(word) => found.push(word),
            Err(bad) => faults.push(fault(field, "unknown_word", T::Err::to_string(&bad))),
        }
    }
    Some(found)
}

async fn campaign_query(
    api: &Api,
    property_id: Uuid,
    days: &Days,
    which: Which,
) -> Result<campaigns::Query, Problem> {
    let mut faults = Vec::new();
    let window = days.window(api, &mut faults);
    let dimensions = words::<Dimension>("group_by", which.group_by.as_deref(), &mut faults);
    let models = words::<Model>("models", which.models.as_deref(), &mut faults);
    let topic = words::<Topic>("topic", which.topic.as_deref(), &mut faults);
    for (field, text) in [
        ("channel", &which.channel),
        ("source", &which.source),
        ("medium", &which.medium),
        ("campaign", &which.campaign),
    ] {
        if text
            .as_ref()
            .is_some_and(|text| text.len() > MOST_TEXT || text.contains('\0'))
        {
            faults.push(fault(
                field,
                "bad_text",
                "must have at most 1,000 bytes, and no NUL",
            ));
        }
    }
    let (Some(window), true) = (window, faults.is_empty()) else {
        return Err(invalid(faults));
    };
    days.check_stream(api, property_id).await?;
    let mut query = campaigns::Query::new(property_id, window)
        .group_by(&dimensions.unwrap_or_else(|| vec![Dimension::Campaign]))
        .models(&models.unwrap_or_default());
    query.attribution_id = days.attribution_id;
    query.topic = topic.and_then(|topics| topics.first().copied());
    query.filter = Filter {
        channel: which.channel,
        source: which.source,
        medium: which.medium,
        campaign: which.campaign,
    };
    Ok(query)
}

/// What campaigns brought: conversions, gross, refunds, net and credit, by model; currencies apart
#[utoipa::path(get, path = "/reports/campaigns", tag = "Reports", params(OfProperty, Days, Which), responses((status = 200, body = Report)))]
pub async fn campaigns(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Asked(days): Asked<Days>,
    Asked(which): Asked<Which>,
) -> Result<Json<Report>, Problem> {
    let query = campaign_query(&api, reader.property_id, &days, which).await?;
    let mut conn = reading(&api).await?;
    campaigns::report(&mut conn, &query)
        .await
        .map(Json)
        .map_err(unavailable)
}

/// The same as CSV; texts that a spreadsheet would run have a quote in front
#[utoipa::path(get, path = "/reports/campaigns.csv", tag = "Reports", params(OfProperty, Days, Which), responses((status = 200, body = String, content_type = "text/csv")))]
pub async fn campaigns_csv(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Asked(days): Asked<Days>,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    let query = campaign_query(&api, reader.property_id, &days, which).await?;
    let mut conn = reading(&api).await?;
    let report = campaigns::report(&mut conn, &query).await.map_err(unavailable)?;
    drop(conn);
    let content = campaigns::to_csv(&report).map_err(|error| Problem::internal().caused_by(error))?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], content).into_response())
}

/// What campaigns brought, by day
#[utoipa::path(get, path = "/reports/campaigns/series", tag = "Reports", params(OfProperty, Days, Which), responses((status = 200, body = Page<Point>)))]
pub async fn series(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Asked(days): Asked<Days>,
    Asked(which): Asked<Which>,
) -> Result<Json<Page<Point>>, Problem> {
    let query = campaign_query(&api, reader.property_id, &days, which).await?;
    let mut conn = reading(&api).await?;
    let data = campaigns::series(&mut conn, &query).await.map_err(unavailable)?;
    Ok(Json(Page {
        data,
        next_cursor: None,
    }))
}

/// How the overview is told.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct How {
    /// `hour` or `day`; days where hours would be too many.
    step: Option<String>,
    /// The model of sources and campaigns; last click when left out.
    model: Option<String>,
}

/// How things stand: conversions, revenue, match rate and refused requests over time, sources and campaigns
#[utoipa::path(get, path = "/reports/overview", tag = "Reports", params(OfProperty, Days, How), responses((status = 200, body = Overview)))]
pub async fn overview(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Asked(days): Asked<Days>,
    Asked(how): Asked<How>,
) -> Result<Json<Overview>, Problem> {
    let mut faults = Vec::new();
    let window = days.window(&api, &mut faults);
    let model = words::<Model>("model", how.model.as_deref(), &mut faults);
    let step = match how.step.as_deref() {
        None | Some("day") => Step::Day,
        Some("hour") => Step::Hour,
        Some(_) => {
            faults.push(fault("step", "unknown_word", "must be hour or day"));
            Step::Day
        }
    };
    let (Some(window), true) = (window, faults.is_empty()) else {
        return Err(invalid(faults));
    };
    days.check_stream(&api, reader.property_id).await?;
    let query = overview::Query {
        property_id: reader.property_id,
        attribution_id: days.attribution_id,
        window,
        step,
        model: model
            .and_then(|models| models.first().copied())
            .unwrap_or(Model::LastClick),
    };
    let mut conn = reading(&api).await?;
    let found = overview::overview(&mut conn, &query, api.clock.now()).await;
    found.map(Json).map_err(unavailable)
}

/// What should be looked at.
#[derive(Debug, Serialize, ToSchema)]
pub struct Troubles {
    /// All of it.
    data: Vec<Unhealthy>,
}

/// What is wrong with the property now
#[utoipa::path(get, path = "/reports/unhealthy", tag = "Reports", params(OfProperty), responses((status = 200, body = Troubles)))]
pub async fn unhealthy(State(api): State<Arc<Api>>, reader: Reader) -> Result<Json<Troubles>, Problem> {
    let mut conn = reading(&api).await?;
    let data = overview::unhealthy(&mut conn, reader.property_id, &api.sealer, api.clock.now())
        .await
        .map_err(unavailable)?;
    Ok(Json(Troubles { data }))
}
