//! What a platform's answer means for each event of a batch.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::ASK_AFTER;
use super::batch::{Batch, without_user_data};
use super::target::Target;
use crate::forwarding::parcel::Parcel;
use crate::forwarding::platforms::{Event, Failure, Name, Remark, Verdict};
use crate::forwarding::retry;
use crate::forwarding::state::{Reason, State};
use crate::forwarding::store::{Claimed, Settled};
use crate::platform::secrets::{self, Sealer};

/// What the answer to a batch makes of it.
#[derive(Default)]
pub struct Handled {
    /// What is decided.
    pub settled: Vec<Settled>,
    /// What is to be sent again at once, in other requests.
    pub again: Vec<Batch>,
    /// The platform works.
    pub worked: bool,
    /// How long it asks to be left alone.
    pub rest: Option<TimeDelta>,
    /// Nothing can be sent until somebody mends it.
    pub broken: Option<String>,
}

/// What has to be known of a round to read its answers.
pub struct Reading<'a> {
    /// Where it was sent.
    pub target: &'a Target,
    /// How often each was tried.
    pub claimed: &'a HashMap<Uuid, Claimed>,
    /// What they were made of.
    pub parcels: &'a HashMap<Uuid, Parcel>,
    /// Seals what was sent.
    pub sealer: &'a Sealer,
    /// When it was answered.
    pub now: DateTime<Utc>,
}

impl Reading<'_> {
    /// What becomes of batches that were sent at the same time. The platform works if it does for one of them.
    pub fn handle_all(&self, sent: impl Iterator<Item = (Batch, (Option<i16>, Verdict))>) -> Handled {
        let mut all = Handled::default();
        for (batch, (status, verdict)) in sent {
            let mut one = self.handle(batch, verdict);
            for settled in &mut one.settled {
                settled.http_status = status;
            }
            all.settled.append(&mut one.settled);
            all.again.append(&mut one.again);
            all.worked |= one.worked;
            all.rest = all.rest.max(one.rest);
            all.broken = all.broken.or(one.broken);
        }
        all
    }

    /// What becomes of a batch.
    fn handle(&self, batch: Batch, verdict: Verdict) -> Handled {
        let works = !matches!(verdict, Verdict::Retry { .. } | Verdict::Unclear { .. });
        Handled {
            worked: works,
            ..self.read(batch, verdict)
        }
    }

    fn read(&self, batch: Batch, verdict: Verdict) -> Handled {
        match verdict {
            Verdict::Accepted {
                request_id,
                later,
                failures,
                remarks,
            } => self.accepted(&batch, (request_id, later), failures, remarks),
            Verdict::Retry { code, after } => Handled {
                settled: self.all(&batch, |event| self.again(event, after, &code)),
                rest: after,
                ..Handled::default()
            },
            Verdict::Unclear { code, after } => Handled {
                settled: self.all(&batch, |event| match self.is_stuck(event, &code) {
                    true => self.given_up(event, &code),
                    false => self.again(event, after, &code),
                }),
                rest: after,
                ..Handled::default()
            },
            Verdict::NotYet { code, after } => match batch.is_of_one_topic() {
                true => Handled {
                    settled: self.all(&batch, |event| self.again(event, Some(after), &code)),
                    ..Handled::default()
                },
                // It is about one of them, and does not say which.
                false => Handled {
                    again: batch.by_topic(),
                    ..Handled::default()
                },
            },
            Verdict::Refused {
                code,
                detail,
                culprits,
            } => match culprits.is_empty() && batch.events.len() > 1 {
                true => halved(batch),
                false => self.refused(batch, &code, detail, culprits),
            },
            Verdict::UserDataRefused { code } => self.user_data_refused(&batch, &code),
            Verdict::Credentials { refresh: true, .. } if !batch.renewed => Handled {
                again: vec![Batch {
                    renewed: true,
                    ..batch
                }],
                ..Handled::default()
            },
            Verdict::Credentials { code, .. } => self.broken(
                &batch,
                format!("the platform does not accept the credentials: {code}"),
            ),
            Verdict::Configuration { code, detail } => {
                let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                self.broken(
                    &batch,
                    format!("the platform refuses the settings: {code}{detail}"),
                )
            }
        }
    }

    fn all(&self, batch: &Batch, settle: impl Fn(&Event) -> Settled) -> Vec<Settled> {
        batch.events.iter().map(settle).collect()
    }

    fn accepted(
        &self,
        batch: &Batch,
        (request_id, later): (Option<String>, Option<String>),
        failures: Vec<Failure>,
        remarks: Vec<Remark>,
    ) -> Handled {
        let failures = by_index(failures);
        let remarks: HashMap<usize, String> = remarks
            .into_iter()
            .map(|remark| (remark.index, remark.text))
            .collect();
        let taken = if self.target.name == Name::Ga4 {
            State::Sent
        } else {
            State::Accepted
        };
        let settle = |(index, event): (usize, &Event)| match failures.get(&index) {
            None => Settled {
                request_id: request_id.clone(),
                due_at: later.is_some().then(|| self.now + ASK_AFTER),
                later: later.clone(),
                answer: self.discreet(remarks.get(&index), event),
                ..self.settled(event, taken)
            },
            Some(failure) => self.failed(event, failure),
        };
        Handled {
            settled: batch.events.iter().enumerate().map(settle).collect(),
            ..Handled::default()
        }
    }

    /// The culprits die, and the others are sent again without them. Nobody named as a culprit: it is the one event there is.
    fn refused(&self, batch: Batch, code: &str, detail: Option<String>, culprits: Vec<Failure>) -> Handled {
        let culprits = by_index(culprits);
        let mut handled = Handled::default();
        let mut innocent = Vec::new();
        for (index, event) in batch.events.into_iter().enumerate() {
            match culprits.get(&index) {
                Some(culprit) => handled.settled.push(self.failed(&event, culprit)),
                None if culprits.is_empty() => {
                    handled.settled.push(self.dead(&event, code, detail.clone()));
                }
                None => innocent.push(event),
            }
        }
        if !innocent.is_empty() {
            handled.again.push(Batch {
                events: innocent,
                without_user_data: batch.without_user_data,
                renewed: false,
            });
        }
        handled
    }

    /// Once more without identifiers, where enough is left to know somebody by.
    fn user_data_refused(&self, batch: &Batch, code: &str) -> Handled {
        let mut handled = Handled::default();
        let mut events = Vec::new();
        let platform = self.target.name.as_str();
        tracing::warn!(destination = %self.target.destination.destination_id, code, "the platform's account may not be sent identifiers");
        metrics::counter!("trustdata_user_data_refused_total", "platform" => platform)
            .increment(batch.events.len() as u64);
        for event in &batch.events {
            let stripped = match batch.without_user_data {
                true => None,
                false => self
                    .parcels
                    .get(&event.event_id)
                    .and_then(|parcel| without_user_data(self.target, parcel, self.now)),
            };
            match stripped {
                Some(event) => events.push(event),
                None => handled.settled.push(self.dead(event, code, None)),
            }
        }
        if !events.is_empty() {
            handled.again.push(Batch {
                events,
                without_user_data: true,
                renewed: batch.renewed,
            });
        }
        handled
    }

    fn broken(&self, batch: &Batch, reason: String) -> Handled {
        Handled {
            settled: self.all(batch, |event| untried(event, self.now)),
            broken: Some(reason),
            ..Handled::default()
        }
    }

    fn failed(&self, event: &Event, failure: &Failure) -> Settled {
        match failure.retry {
            true => self.again(event, None, &failure.code),
            false => self.dead(event, &failure.code, failure.detail.clone()),
        }
    }

    fn dead(&self, event: &Event, code: &str, detail: Option<String>) -> Settled {
        Settled {
            reason: Some(Reason::Refused.as_str()),
            code: Some(code.to_owned()),
            answer: self.discreet(detail.as_ref(), event),
            ..self.settled(event, State::Dead)
        }
    }

    /// The platform's words, as they may be kept.
    fn discreet(&self, said: Option<&String>, event: &Event) -> Option<String> {
        said.map(|said| self.target.name.discreet(said, event))
    }

    /// Back into the queue. Where the platform takes events of any age, a time of our own is the limit; it counts when a try has failed, so that
    /// what waited for a pause to end is tried once more.
    fn again(&self, event: &Event, after: Option<TimeDelta>, code: &str) -> Settled {
        let claimed = self.claimed.get(&event.event_id);
        let ageless = self.target.name.spec().limits.max_age.is_none();
        if ageless && claimed.is_some_and(|claimed| claimed.deliver_by <= self.now) {
            return self.given_up(event, code);
        }
        let attempts = claimed.map_or(1, |claimed| claimed.attempts);
        let asked = after.and_then(|after| after.to_std().ok());
        Settled {
            due_at: Some(self.now + retry::wait(attempts, asked, rand::random())),
            code: Some(code.to_owned()),
            ..self.settled(event, State::Queued)
        }
    }

    /// Whether a code that nobody has documented has come often enough, and the last time too.
    fn is_stuck(&self, event: &Event, code: &str) -> bool {
        self.claimed.get(&event.event_id).is_some_and(|claimed| {
            claimed.attempts >= retry::UNCLEAR_TRIES && claimed.code.as_deref() == Some(code)
        })
    }

    fn given_up(&self, event: &Event, code: &str) -> Settled {
        Settled {
            reason: Some(Reason::GaveUp.as_str()),
            ..self.dead(event, code, None)
        }
    }

    fn settled(&self, event: &Event, state: State) -> Settled {
        let row = secrets::row(self.target.destination.property_id, event.event_id.as_bytes());
        let notes = event.notes.iter();
        Settled {
            sent_at: Some(self.now),
            // A payload that cannot be kept is no reason to lose what became of it.
            payload: self.sealer.seal(event.json().as_bytes(), &row).ok(),
            notes: notes
                .map(|note| format!("{}: {}", note.field, note.code))
                .collect(),
            ..Settled::new(event.event_id, state)
        }
    }
}

/// Back into the queue, as if it had not been tried.
pub fn untried(event: &Event, now: DateTime<Utc>) -> Settled {
    Settled {
        due_at: Some(now),
        untried: true,
        ..Settled::new(event.event_id, State::Queued)
    }
}

/// Nobody says which one it is: it is looked for by halves, until it is alone.
fn halved(mut batch: Batch) -> Handled {
    let right = batch.events.split_off(batch.events.len() / 2);
    let half = |events| Batch {
        events,
        without_user_data: batch.without_user_data,
        renewed: false,
    };
    let left = std::mem::take(&mut batch.events);
    Handled {
        again: vec![half(left), half(right)],
        ..Handled::default()
    }
}

fn by_index(failures: Vec<Failure>) -> HashMap<usize, Failure> {
    failures
        .into_iter()
        .map(|failure| (failure.index, failure))
        .collect()
}
