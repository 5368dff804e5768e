//! A test event: everything that a webhook does, but for the record.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use uuid::Uuid;

use super::of_stream;
use super::webhooks::{self, View};
use crate::conversions::Match;
use crate::dashboard::Dashboard;
use crate::dashboard::extract::Path;
use crate::dashboard::failure::Failure;
use crate::dashboard::guard::{Editor, Posted};
use crate::dashboard::show::touches;
use crate::domain::faults::Fault;
use crate::trials::{NotTried, Taken};

/// What is in the form at first.
pub const EXAMPLE: &str =
    r#"{"conversion_id":"ORD-12345","value":99.00,"currency":"USD","visitor_id":"demo-visitor-1"}"#;

/// What came of it.
pub struct Tested {
    /// As it was sent.
    pub payload: String,
    /// What would become of it, or all that is wrong with it.
    pub result: Result<Taken, Vec<Fault>>,
}

/// `POST .../webhooks/test`
pub async fn send(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let (topic, payload) = (posted.form.text("topic"), posted.form.text("payload"));
    let result = match dashboard.trials.try_text(&stream, topic, payload).await {
        Ok(taken) => Ok(taken),
        Err(NotTried::Invalid(faults)) => Err(faults),
        Err(NotTried::Unavailable(cause)) => return Err(Failure::Unavailable(cause)),
    };
    let tested = Tested {
        payload: payload.to_owned(),
        result,
    };
    let view = View {
        tested: Some(tested),
        ..View::default()
    };
    webhooks::shown(&dashboard, &posted.session, stream, view).await
}

/// What a match, or the lack of one, means.
pub fn in_words(found: &Match) -> String {
    if let Some(credit) = &found.credit {
        let touch = &credit.touch;
        let what = touch
            .campaign
            .as_ref()
            .map(|campaign| format!("campaign {campaign}"))
            .or_else(|| touch.source.as_ref().map(|source| format!("source {source}")))
            .unwrap_or_else(|| "a direct visit".to_owned());
        return format!(
            "The credit goes to {what}; the journey has {}.",
            touches(credit.touches)
        );
    }
    match found.reason.as_ref() {
        "no_visitor_id" => "No visitor id was sent. Send what getVisitorId() says on the page as visitor_id.".to_owned(),
        "unknown_visitor" => {
            "No session was ever tracked with this visitor id. Check that the script is on every page, and that the id is the one it made."
                .to_owned()
        }
        "outside_lookback" => format!(
            "The visitor's nearest session was {} days before; the lookback is {} days.",
            found.nearest_session_days().unwrap_or_default(),
            found.lookback_days
        ),
        other => other.to_owned(),
    }
}
