//! Conversions.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::reading;
use crate::api::Api;
use crate::api::extract::{Asked, At, Json, fault, invalid};
use crate::api::page::{Page, Wanted, bad_cursor};
use crate::api::principal::{OfProperty, Reader, unavailable, unknown};
use crate::domain::faults::Fault;
use crate::domain::topic::Topic;
use crate::forwarding;
use crate::forwarding::listing::Delivery;
use crate::platform::problem::Problem;
use crate::reports::conversions::{self, Conversion, Cursor, Detail, Filter};

/// Bytes of a text to look for, at most.
const MOST_TEXT: usize = 1000;

/// Which conversions are wanted; all when everything is left out.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Of this attribution ID.
    attribution_id: Option<Uuid>,
    /// `purchase`, `lead`, `signup`, `refund`, `subscription` or `custom`.
    topic: Option<String>,
    /// `matched`, `unmatched`, `no_visitor_id`, `unknown_visitor` or `outside_lookback`.
    outcome: Option<String>,
    /// Source of the last click; empty: without one.
    source: Option<String>,
    /// Medium of the last click, likewise.
    medium: Option<String>,
    /// Campaign of the last click, likewise.
    campaign: Option<String>,
    /// Received at or after.
    from: Option<DateTime<Utc>>,
    /// Received before.
    until: Option<DateTime<Utc>>,
    /// The sender's id or ours, exactly.
    conversion_id: Option<String>,
}

/// A page of conversions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conversions {
    /// The newest first, by when they came in.
    data: Vec<Conversion>,
    /// Where the next page begins; null behind the last one.
    next_cursor: Option<String>,
    /// Set when the page is not full because there is more to look through: all that came in after this moment was.
    looked_through_to: Option<DateTime<Utc>>,
}

fn filter(property_id: Uuid, which: Which) -> Result<Filter, Problem> {
    let mut faults: Vec<Fault> = Vec::new();
    let topic = which.topic.map(|topic| topic.parse::<Topic>()).transpose();
    if let Err(unknown) = &topic {
        faults.push(fault("topic", "unknown_topic", unknown.to_string()));
    }
    let outcome = which.outcome.map(|outcome| outcome.parse()).transpose();
    if let Err(unknown) = &outcome {
        let unknown: &conversions::UnknownOutcome = unknown;
        faults.push(fault("outcome", "unknown_outcome", unknown.to_string()));
    }
    for (field, text) in [
        ("source", &which.source),
        ("medium", &which.medium),
        ("campaign", &which.campaign),
        ("conversion_id", &which.conversion_id),
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
    match (topic, outcome, faults.is_empty()) {
        (Ok(topic), Ok(outcome), true) => Ok(Filter {
            attribution_id: which.attribution_id,
            topic,
            outcome,
            source: which.source,
            medium: which.medium,
            campaign: which.campaign,
            from: which.from,
            until: which.until,
            conversion_id: which.conversion_id,
            ..Filter::new(property_id)
        }),
        _ => Err(invalid(faults)),
    }
}

/// Conversions of the property, newest first
#[utoipa::path(get, path = "/conversions", tag = "Conversions", params(OfProperty, Which, Wanted), responses((status = 200, body = Conversions)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Asked(which): Asked<Which>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Conversions>, Problem> {
    let limit = wanted.limit()?;
    let after = wanted.cursor.map(|cursor| cursor.parse::<Cursor>()).transpose();
    let after = after.map_err(|_| bad_cursor())?;
    let filter = filter(reader.property_id, which)?;
    let mut conn = reading(&api).await?;
    let page = conversions::list(&mut conn, &filter, after, limit)
        .await
        .map_err(unavailable)?;
    Ok(Json(Conversions {
        data: page.conversions,
        next_cursor: page.next.map(|cursor| cursor.to_string()),
        looked_through_to: page.looked_through_to,
    }))
}

async fn find(api: &Api, property_id: Uuid, event_id: Uuid) -> Result<Detail, Problem> {
    let mut conn = reading(api).await?;
    let found = conversions::find(&mut conn, property_id, event_id, &api.sealer)
        .await
        .map_err(unavailable)?;
    found.ok_or_else(|| unknown("conversion"))
}

/// A conversion with its journey, its credit by model, its versions, and why it was attributed or not
#[utoipa::path(get, path = "/conversions/{event_id}", tag = "Conversions", params(("event_id" = Uuid, Path), OfProperty), responses((status = 200, body = Detail)))]
pub async fn show(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(event_id): At<Uuid>,
) -> Result<Json<Detail>, Problem> {
    find(&api, reader.property_id, event_id).await.map(Json)
}

/// What became of a conversion at each destination, with the events as they were sent, hashed
#[utoipa::path(get, path = "/conversions/{event_id}/deliveries", tag = "Deliveries", params(("event_id" = Uuid, Path), OfProperty), responses((status = 200, body = Page<Delivery>)))]
pub async fn deliveries(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(event_id): At<Uuid>,
) -> Result<Json<Page<Delivery>>, Problem> {
    find(&api, reader.property_id, event_id).await?;
    let mut conn = reading(&api).await?;
    let mut data = forwarding::store::of_event(&mut conn, reader.property_id, event_id)
        .await
        .map_err(unavailable)?;
    data.iter_mut().for_each(|delivery| delivery.open(&api.sealer));
    Ok(Json(Page {
        data,
        next_cursor: None,
    }))
}
