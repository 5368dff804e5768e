//! Test events: everything that a webhook does with one, but for the record.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::activity::{Entry, Filer, Status};
use crate::conversions::{Draft, Origin, Outcome, Previewer, Receipt, Source, completed};
use crate::destinations::Destinations;
use crate::domain::conversion::{Arrival, parse};
use crate::domain::faults::{Fault, Warning, in_short};
use crate::domain::text::shown;
use crate::domain::topic::{Topic, UnknownTopic};
use crate::forwarding::{self, Preview};
use crate::platform::clock::Clock;
use crate::platform::http_body::read_json;
use crate::platform::problem::VALIDATION_FAILED;
use crate::platform::secrets::Sealer;
use crate::streams::Stream;

/// Characters of a topic that are kept, as the webhook keeps them.
const MOST_OF_TOPIC: usize = 64;

/// Tries events out.
#[derive(Clone)]
pub struct Trials {
    /// Finds the match.
    pub previewer: Previewer,
    /// Tells what would be forwarded.
    pub forwarding: forwarding::Previewer,
    /// Where to.
    pub destinations: Arc<Destinations>,
    /// Files the audit row.
    pub filer: Filer,
    /// Compares with what is stored.
    pub sealer: Sealer,
    /// The time.
    pub clock: Clock,
}

/// An event that would be taken.
#[derive(Debug)]
pub struct Taken {
    /// The topic.
    pub topic: Topic,
    /// The sender's id.
    pub conversion_id: String,
    /// What was passed over.
    pub warnings: Vec<Warning>,
    /// What the match came to.
    pub receipt: Receipt,
    /// Whether it is stored already.
    pub duplicate: bool,
    /// What each destination would be sent.
    pub forwarding: Vec<Preview>,
}

/// Why nothing can be said of an event.
#[derive(Debug)]
pub enum NotTried {
    /// Everything that is wrong with it.
    Invalid(Vec<Fault>),
    /// The database does not answer.
    Unavailable(String),
}

impl Trials {
    /// Tries a text out that may be an event, or not even JSON.
    pub async fn try_text(&self, stream: &Stream, topic: &str, text: &str) -> Result<Taken, NotTried> {
        match read_json(text.as_bytes()) {
            Ok(event) => self.try_out(stream, topic, event).await,
            Err(bad) => {
                let problem = bad.problem();
                let (status, detail) = (problem.status.as_u16(), problem.detail);
                let faults = vec![Fault {
                    field: "payload".to_owned(),
                    code: problem.code,
                    message: format!("must be JSON. {detail}"),
                }];
                self.file_refusal(stream, topic, status, problem.code, &detail);
                Err(NotTried::Invalid(faults))
            }
        }
    }

    /// Tries one event out, as if it had been sent to the stream's webhook now.
    pub async fn try_out(&self, stream: &Stream, topic: &str, event: &RawValue) -> Result<Taken, NotTried> {
        let tried = self.checked(stream, topic, event).await;
        if let Err(NotTried::Invalid(faults)) = &tried {
            self.file_refusal(stream, topic, 422, VALIDATION_FAILED, &in_short(faults));
        }
        tried
    }

    async fn checked(&self, stream: &Stream, topic: &str, event: &RawValue) -> Result<Taken, NotTried> {
        let topic: Result<Topic, UnknownTopic> = topic.parse();
        let arrival = Arrival {
            received_at: self.clock.now(),
            idempotency_key: None,
        };
        let (conversion, warnings) = match event.get().starts_with('{') {
            true => parse(event, topic, arrival).map_err(NotTried::Invalid)?,
            false => {
                return Err(NotTried::Invalid(vec![Fault {
                    field: "payload".to_owned(),
                    code: "wrong_type",
                    message: "must be one event: an object".to_owned(),
                }]));
            }
        };
        let unavailable = |cause: String| NotTried::Unavailable(cause);
        let destination_ids = self.destinations.of(stream.tenant()).await;
        let destination_ids = destination_ids.map_err(|error| unavailable(error.to_string()))?;
        let origin = Origin {
            tenant: stream.tenant(),
            lookback_days: stream.lookback_days,
            source: Source::Webhook,
            key_id: None,
            received_at: arrival.received_at,
            destination_ids: destination_ids.clone(),
            activity_id: None,
        };
        let event_id = self.clock.new_id();
        let draft = Draft::new(event_id, origin, conversion.clone(), &self.sealer);
        let drafts = [draft.map_err(|error| unavailable(error.to_string()))?];
        let previewed = self.previewer.preview(&drafts).await;
        let previewed = previewed.map_err(|error| unavailable(format!("{error:?}")))?;
        let Some(one) = previewed.into_iter().next() else {
            return Err(unavailable("nothing was found out".to_owned()));
        };
        let outcomes = [one.outcome];
        self.filer.file(completed(
            self.entry(stream, conversion.topic.as_str()),
            &drafts,
            false,
            &outcomes,
        ));
        let [outcome] = outcomes;
        let (receipt, duplicate) = match outcome {
            Outcome::Recorded(receipt) => (receipt, false),
            Outcome::Duplicate { first, .. } => (first, true),
            Outcome::Unstorable => return Err(unavailable("the database refuses the event".to_owned())),
        };
        let forwarding = match destination_ids {
            None => Vec::new(),
            Some(ids) => self
                .forwarding
                .preview(stream.tenant(), &ids, event_id, &conversion, &one.journey)
                .await
                .map_err(|error| unavailable(error.to_string()))?,
        };
        Ok(Taken {
            topic: conversion.topic,
            conversion_id: conversion.conversion_id,
            warnings,
            receipt,
            duplicate,
            forwarding,
        })
    }

    fn file_refusal(&self, stream: &Stream, topic: &str, status: u16, code: &'static str, detail: &str) {
        self.filer.file(Entry {
            status: Status::ValidationError,
            http_status: status,
            code: Some(code),
            detail: Some(shown(detail, 500)),
            ..self.entry(stream, &shown(topic, MOST_OF_TOPIC))
        });
    }

    fn entry(&self, stream: &Stream, topic: &str) -> Entry {
        Entry {
            property_id: stream.property_id,
            attribution_id: stream.attribution_id,
            activity_id: self.clock.new_id(),
            at: self.clock.now(),
            status: Status::Success,
            topic: topic.to_owned(),
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
        }
    }
}
