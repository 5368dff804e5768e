//! Check 5 and 6: bytes -> conversions -> recorded -> answer.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Webhook;
use super::answer::{Accepted, Item, Many};
use super::file_refusal::entry;
use super::known_stream::Call;
use super::refusal::Refusal;
use crate::conversions::{Draft, Origin, Outcome, Source, completed};
use crate::domain::conversion::{Arrival, Conversion, parse};
use crate::domain::faults::{Fault, Warning};
use crate::domain::topic::{Topic, UnknownTopic};
use crate::domain::touch::Touch;
use crate::forwarding::Preview;
use crate::keys::Key;
use crate::platform::http_body::read_json;
use crate::platform::marks::Recorded;

/// Events of one array.
const MOST_EVENTS: usize = 1000;

type Parsed = Result<(Conversion, Vec<Warning>), Vec<Fault>>;

/// One request, authenticated and within its allowance.
pub struct Received<'a> {
    /// The service.
    pub webhook: &'a Webhook,
    /// What it calls.
    pub call: &'a Call,
    /// Who calls.
    pub key: &'a Key,
}

impl Received<'_> {
    /// Takes the content of its body.
    pub async fn answer(&self, headers: &HeaderMap, content: &[u8]) -> Result<Response, Refusal> {
        let body = read_json(content).map_err(Refusal::Body)?;
        match body.get().starts_with('[') {
            true => self.many(body).await,
            false => self.one(body, headers).await,
        }
    }

    async fn one(&self, body: &RawValue, headers: &HeaderMap) -> Result<Response, Refusal> {
        let idempotency_key = headers.get("idempotency-key").map(HeaderValue::as_bytes);
        let parsed = self.parse(body, idempotency_key);
        let mut faults = self.of_query();
        let (conversion, warnings) = match parsed {
            Ok(valid) if faults.is_empty() => valid,
            invalid => {
                faults.extend(invalid.err().unwrap_or_default());
                return Err(Refusal::Invalid(faults));
            }
        };
        let conversion_id = conversion.conversion_id.clone();
        let topic = conversion.topic;
        let origin = self.origin().await?;
        let looked_at = self
            .call
            .is_dry_run()
            .then(|| (conversion.clone(), origin.destination_ids.clone()));
        let (mut outcomes, mut journeys) = self
            .record(vec![self.draft(origin, conversion)?], false, 0)
            .await?;
        let recorded = counted(&outcomes);
        let outcome = outcomes.pop().unwrap_or(Outcome::Unstorable);
        let mut answer = Accepted::new(
            topic.as_str(),
            conversion_id,
            warnings,
            outcome,
            self.call.is_dry_run(),
        )
        .ok_or_else(|| Refusal::Unstorable(vec![unstorable()]))?;
        if let Some((conversion, Some(destination_ids))) = looked_at {
            let journey = journeys.pop().unwrap_or_default();
            answer.forwarding = Box::pin(self.forwarding(&conversion, &destination_ids, &journey)).await?;
        }
        Ok(self.marked(Json(answer).into_response(), recorded))
    }

    async fn many(&self, body: &RawValue) -> Result<Response, Refusal> {
        let events = serde_json::from_str::<Vec<&RawValue>>(body.get()).unwrap_or_default();
        let mut faults = self.of_query();
        if events.is_empty() || events.len() > MOST_EVENTS {
            let message = format!("must have 1 to {MOST_EVENTS} events, and has {}", events.len());
            let code = if events.is_empty() { "empty" } else { "too_many" };
            faults.push(Fault {
                field: "events".to_owned(),
                code,
                message,
            });
        }
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        let origin = self.origin().await?;
        let (mut drafts, mut sent) = (Vec::new(), Vec::with_capacity(events.len()));
        for event in &events {
            sent.push(match self.parse(event, None) {
                Ok((conversion, warnings)) => {
                    let told = (conversion.topic, conversion.conversion_id.clone(), warnings);
                    drafts.push(self.draft(origin.clone(), conversion)?);
                    Ok(told)
                }
                Err(faults) => Err(faults),
            });
        }
        if drafts.is_empty() {
            let results = sent
                .into_iter()
                .enumerate()
                .map(|(index, sent)| refused(index, sent.err().unwrap_or_default()));
            let many = Many::new(results.collect());
            // No row comes from the recorder, which has not seen it.
            let audit = many.audit();
            let mut response = many.into_response();
            response.extensions_mut().insert(audit);
            return Ok(response);
        }
        let rejected = events.len() - drafts.len();
        let (outcomes, _) = self.record(drafts, true, rejected).await?;
        let recorded = counted(&outcomes);
        let mut outcomes = outcomes.into_iter();
        let results = sent.into_iter().enumerate().map(|(index, sent)| match sent {
            Err(faults) => refused(index, faults),
            Ok((topic, conversion_id, warnings)) => {
                let outcome = outcomes.next().unwrap_or(Outcome::Unstorable);
                match Accepted::new(
                    topic.as_str(),
                    conversion_id,
                    warnings,
                    outcome,
                    self.call.is_dry_run(),
                ) {
                    Some(answer) => Item::Accepted {
                        index,
                        answer: Box::new(answer),
                    },
                    None => refused(index, vec![unstorable()]),
                }
            }
        });
        let many = Many::new(results.collect());
        Ok(self.marked(many.into_response(), recorded))
    }

    fn parse(&self, event: &RawValue, idempotency_key: Option<&[u8]>) -> Parsed {
        let topic: Result<Topic, UnknownTopic> = self.call.topic.parse();
        parse(
            event,
            topic,
            Arrival {
                received_at: self.call.received_at,
                idempotency_key,
            },
        )
    }

    /// What is wrong with the request besides its events.
    fn of_query(&self) -> Vec<Fault> {
        let fault = || Fault {
            field: "dry_run".to_owned(),
            code: "not_a_flag",
            message: "must be true or false, once".to_owned(),
        };
        self.call.dry_run.is_none().then(fault).into_iter().collect()
    }

    async fn origin(&self) -> Result<Origin, Refusal> {
        let tenant = self.call.stream.tenant();
        let destination_ids = self.webhook.destinations.of(tenant).await;
        Ok(Origin {
            tenant,
            lookback_days: self.call.stream.lookback_days,
            source: Source::Webhook,
            key_id: Some(self.key.key_id),
            received_at: self.call.received_at,
            destination_ids: destination_ids.map_err(|error| Refusal::Unavailable(error.to_string()))?,
            activity_id: None,
        })
    }

    fn draft(&self, origin: Origin, conversion: Conversion) -> Result<Draft, Refusal> {
        Draft::new(
            self.webhook.clock.new_id(),
            origin,
            conversion,
            &self.webhook.sealer,
        )
        .map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    /// What each destination would be sent of a dry run.
    async fn forwarding(
        &self,
        conversion: &Conversion,
        destination_ids: &[Uuid],
        journey: &[Touch],
    ) -> Result<Vec<Preview>, Refusal> {
        let (tenant, event_id) = (self.call.stream.tenant(), self.webhook.clock.new_id());
        let forwarding = &self.webhook.forwarding;
        forwarding
            .preview(tenant, destination_ids, event_id, conversion, journey)
            .await
            .map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    /// Records, or for a dry run only looks; then with the touches that each would be credited to.
    async fn record(
        &self,
        drafts: Vec<Draft>,
        array: bool,
        rejected: usize,
    ) -> Result<(Vec<Outcome>, Vec<Vec<Touch>>), Refusal> {
        let mut entry = entry(self.call, Some(self.key), &self.webhook.clock);
        entry.rejected = i32::try_from(rejected).unwrap_or(i32::MAX);
        if !self.call.is_dry_run() {
            let outcomes = self.webhook.recorder.record(drafts, array, Some(entry)).await?;
            return Ok((outcomes, Vec::new()));
        }
        // Boxed, as all that few requests need: not every request's future is then as large.
        let previewed = Box::pin(self.webhook.previewer.preview(&drafts)).await?;
        let (outcomes, journeys): (Vec<Outcome>, Vec<Vec<Touch>>) = previewed
            .into_iter()
            .map(|one| (one.outcome, one.journey))
            .unzip();
        self.webhook
            .filer
            .file(completed(entry, &drafts, array, &outcomes));
        Ok((outcomes, journeys))
    }

    /// Marks an answer whose events were committed.
    fn marked(&self, mut response: Response, recorded: Recorded) -> Response {
        if !self.call.is_dry_run() {
            response.extensions_mut().insert(recorded);
        }
        response
    }
}

fn refused(index: usize, errors: Vec<Fault>) -> Item {
    Item::Refused {
        index,
        status: "validation_error",
        errors,
    }
}

fn unstorable() -> Fault {
    let message = "the database refuses this event: tell the operator the request id".to_owned();
    Fault {
        field: "event".to_owned(),
        code: "not_storable",
        message,
    }
}

fn counted(outcomes: &[Outcome]) -> Recorded {
    let duplicates = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Duplicate { .. }))
        .count();
    let fresh = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Recorded(_)))
        .count();
    Recorded {
        accepted: fresh + duplicates,
        duplicates,
    }
}
