//! Test events: the webhook's checks, its match and what would be forwarded, and no record.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::stream;
use crate::api::Api;
use crate::api::document::FieldError;
use crate::api::extract::{At, Json, Sent, invalid};
use crate::api::principal::{OfProperty, Writer};
use crate::conversions::Match;
use crate::domain::faults::Warning;
use crate::forwarding::Preview;
use crate::platform::problem::Problem;
use crate::trials::{NotTried, Taken};

/// An event as the webhook takes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestEvent {
    /// `purchase`, `lead`, `signup`, `refund`, `subscription` or `custom`.
    topic: String,
    /// What would be the webhook's body: one event.
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
}

/// What would become of it.
#[derive(Serialize, ToSchema)]
pub struct Rehearsed {
    topic: &'static str,
    conversion_id: String,
    /// Whether a conversion with this id is stored already: it would be a repeat, and this is the first one's match.
    duplicate: bool,
    session_matched: bool,
    attribution: Attribution,
    /// What was passed over.
    #[schema(value_type = Vec<FieldError>)]
    warnings: Vec<Warning>,
    /// What each destination would be sent.
    forwarding: Vec<Preview>,
}

/// Where it came from, or why nobody knows.
#[derive(Serialize, ToSchema)]
#[schema(as = TestEventAttribution)]
struct Attribution {
    /// `matched`, `no_visitor_id`, `unknown_visitor` or `outside_lookback`.
    reason: String,
    touches: Option<usize>,
    source: Option<String>,
    medium: Option<String>,
    campaign: Option<String>,
    click_id: Option<String>,
    clicked_at: Option<DateTime<Utc>>,
    nearest_session_at: Option<DateTime<Utc>>,
    lookback_days: i16,
}

impl From<Match> for Attribution {
    fn from(found: Match) -> Self {
        let touches = found.credit.as_ref().map(|credit| credit.touches);
        let touch = found.credit.map(|credit| credit.touch);
        let touch = touch.as_ref();
        Self {
            reason: found.reason.into_owned(),
            touches,
            source: touch.and_then(|touch| touch.source.clone()),
            medium: touch.and_then(|touch| touch.medium.clone()),
            campaign: touch.and_then(|touch| touch.campaign.clone()),
            click_id: touch.and_then(|touch| touch.click_id.clone()),
            clicked_at: touch.map(|touch| touch.clicked_at),
            nearest_session_at: found.nearest_session_at,
            lookback_days: found.lookback_days,
        }
    }
}

impl From<Taken> for Rehearsed {
    fn from(taken: Taken) -> Self {
        Self {
            topic: taken.topic.as_str(),
            conversion_id: taken.conversion_id,
            duplicate: taken.duplicate,
            session_matched: taken.receipt.matched.is_matched(),
            attribution: taken.receipt.matched.into(),
            warnings: taken.warnings,
            forwarding: taken.forwarding,
        }
    }
}

/// Try an event out: everything that its webhook would do, but for the record
#[utoipa::path(post, path = "/attribution-ids/{attribution_id}/test-events", tag = "Attribution IDs", params(("attribution_id" = Uuid, Path), OfProperty), request_body = TestEvent, responses((status = 200, body = Rehearsed)))]
pub async fn send(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(attribution_id): At<Uuid>,
    Sent(event): Sent<TestEvent>,
) -> Result<Json<Rehearsed>, Problem> {
    let stream = stream(&api, writer.property_id, attribution_id).await?;
    match api.trials.try_out(&stream, &event.topic, &event.payload).await {
        Ok(taken) => Ok(Json(taken.into())),
        Err(NotTried::Invalid(faults)) => Err(invalid(faults)),
        Err(NotTried::Unavailable(cause)) => {
            Err(Problem::unavailable("The database cannot be reached. Nothing was tried.").caused_by(cause))
        }
    }
}
