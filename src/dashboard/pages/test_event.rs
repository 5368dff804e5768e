//! A test event: everything that a webhook does, but for the record.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{of_stream, webhooks};
use crate::activity::{Entry, Status};
use crate::conversions::{Draft, Match, Origin, Outcome, Source, completed};
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::guard::{Editor, Posted};
use crate::domain::conversion::{Arrival, Conversion, parse};
use crate::domain::faults::{Fault, Warning};
use crate::domain::topic::{Topic, UnknownTopic};
use crate::forwarding::Preview;
use crate::platform::http_body::read_json;
use crate::streams::Stream;

/// What is in the form at first.
pub const EXAMPLE: &str =
    r#"{"conversion_id":"ORD-12345","value":99.00,"currency":"USD","visitor_id":"demo-visitor-1"}"#;

/// What came of it.
pub struct Tested {
    /// As it was sent.
    pub payload: String,
    /// What is wrong with it, all of it.
    pub faults: Vec<Fault>,
    /// What was passed over.
    pub warnings: Vec<Warning>,
    /// What the match came to.
    pub verdict: Option<Verdict>,
    /// What each destination would be sent.
    pub forwarding: Vec<Preview>,
}

/// What the match came to, in words.
pub struct Verdict {
    /// Whether a session was found.
    pub matched: bool,
    /// Which, or why none was.
    pub text: String,
    /// Whether it is stored already.
    pub repeat: bool,
}

/// `POST .../webhooks/test`
pub async fn send(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, attribution_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let stream = of_stream::find(&dashboard, property_id, attribution_id).await?;
    let (topic, payload) = (posted.form.text("topic"), posted.form.text("payload"));
    let tested = tested(&dashboard, &stream, topic, payload).await?;
    webhooks::shown(&dashboard, &posted.session, stream, None, None, Some(tested)).await
}

async fn tested(
    dashboard: &Dashboard,
    stream: &Stream,
    topic: &str,
    payload: &str,
) -> Result<Tested, Failure> {
    let received_at = dashboard.clock.now();
    let mut tested = Tested {
        payload: payload.to_owned(),
        faults: Vec::new(),
        warnings: Vec::new(),
        verdict: None,
        forwarding: Vec::new(),
    };
    let arrival = Arrival {
        received_at,
        idempotency_key: None,
    };
    let sent: Result<Topic, UnknownTopic> = topic.parse();
    let parsed = match body(payload) {
        Ok(body) => parse(body, sent, arrival),
        Err(fault) => Err(vec![fault]),
    };
    let (conversion, warnings) = match parsed {
        Ok(valid) => valid,
        Err(faults) => {
            tested.faults = faults;
            return Ok(tested);
        }
    };
    tested.warnings = warnings;
    preview(dashboard, stream, conversion, &mut tested).await?;
    Ok(tested)
}

fn body(payload: &str) -> Result<&RawValue, Fault> {
    let fault = |code, message: &str| Fault {
        field: "payload".to_owned(),
        code,
        message: message.to_owned(),
    };
    let body = read_json(payload.as_bytes()).map_err(|_| fault("invalid_json", "must be JSON"))?;
    match body.get().starts_with('{') {
        true => Ok(body),
        false => Err(fault("wrong_type", "must be one event: an object")),
    }
}

async fn preview(
    dashboard: &Dashboard,
    stream: &Stream,
    conversion: Conversion,
    tested: &mut Tested,
) -> Result<(), Failure> {
    let destination_ids = dashboard.destinations.of(stream.tenant()).await?;
    let origin = Origin {
        tenant: stream.tenant(),
        lookback_days: stream.lookback_days,
        source: Source::Webhook,
        key_id: None,
        received_at: dashboard.clock.now(),
        destination_ids: destination_ids.clone(),
        activity_id: None,
    };
    let (topic, event_id) = (conversion.topic, dashboard.clock.new_id());
    let draft = Draft::new(event_id, origin, conversion.clone(), &dashboard.sealer)
        .map_err(|error| Failure::Internal(error.to_string()))?;
    let drafts = [draft];
    let previewed = dashboard.previewer.preview(&drafts).await;
    let previewed = previewed.map_err(|unavailable| Failure::Unavailable(format!("{unavailable:?}")))?;
    let Some(one) = previewed.into_iter().next() else {
        return Ok(());
    };
    let entry = Entry {
        property_id: stream.property_id,
        attribution_id: stream.attribution_id,
        activity_id: dashboard.clock.new_id(),
        at: dashboard.clock.now(),
        status: Status::Success,
        topic: topic.as_str().to_owned(),
        http_status: 200,
        code: None,
        detail: None,
        key: None,
        session_matched: None,
        duplicate: false,
        differs: None,
        dry_run: true,
        conversion_id: None,
        event_id: None,
        accepted: 0,
        rejected: 0,
        requests: 1,
    };
    let outcomes = [one.outcome];
    dashboard.filer.file(completed(entry, &drafts, false, &outcomes));
    let [outcome] = outcomes;
    tested.verdict = verdict(outcome);
    if let Some(destination_ids) = destination_ids {
        tested.forwarding = dashboard
            .forwarding
            .preview(
                stream.tenant(),
                &destination_ids,
                event_id,
                &conversion,
                &one.journey,
            )
            .await?;
    }
    Ok(())
}

fn verdict(outcome: Outcome) -> Option<Verdict> {
    let (receipt, repeat) = match outcome {
        Outcome::Recorded(receipt) => (receipt, false),
        Outcome::Duplicate { first, .. } => (first, true),
        Outcome::Unstorable => return None,
    };
    Some(Verdict {
        matched: receipt.matched.is_matched(),
        text: in_words(&receipt.matched),
        repeat,
    })
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
            "The credit goes to {what}; the journey has {} touch(es).",
            credit.touches
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
