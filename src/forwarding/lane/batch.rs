//! What of the claimed can be sent, in which requests.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::target::{Target, renamed};
use crate::domain::topic::Topic;
use crate::forwarding::parcel::{Parcel, UserData};
use crate::forwarding::platforms::{Event, Name, Unsendable};
use crate::forwarding::state::{Reason, State};
use crate::forwarding::store::{Claimed, Settled};

/// How long a refund waits for its purchase to be taken.
const UNTIL_THE_PURCHASE_IS_THERE: TimeDelta = TimeDelta::minutes(1);

/// A request's events, on their way.
pub struct Batch {
    pub events: Vec<Event>,
    /// Identifiers were left out, because the account may not send them.
    pub without_user_data: bool,
    /// The access token was renewed for it.
    pub renewed: bool,
}

impl Batch {
    /// Whether all its events are of the same topic.
    pub fn is_of_one_topic(&self) -> bool {
        let mut topics = self.events.iter().map(|event| event.topic);
        let first = topics.next();
        topics.all(|topic| Some(topic) == first)
    }

    /// A batch for each topic.
    pub fn by_topic(self) -> Vec<Self> {
        let mut topics: BTreeMap<Topic, Vec<Event>> = BTreeMap::new();
        for event in self.events {
            topics.entry(event.topic).or_default().push(event);
        }
        let batch = |events| Self {
            events,
            without_user_data: self.without_user_data,
            renewed: self.renewed,
        };
        topics.into_values().map(batch).collect()
    }
}

/// What of the claimed can be sent, and what became of the rest.
pub fn prepare(
    target: &Target,
    claimed: &HashMap<Uuid, Claimed>,
    parcels: &HashMap<Uuid, Parcel>,
    purchases: &HashMap<Uuid, Option<String>>,
    now: DateTime<Utc>,
) -> (Vec<Event>, Vec<Settled>) {
    let (mut events, mut settled) = (Vec::new(), Vec::new());
    // The oldest conversion first: ids are in the order of time.
    let mut ids: Vec<&Claimed> = claimed.values().collect();
    ids.sort_unstable_by_key(|claimed| claimed.event_id);
    for one in ids {
        let not_sent = |state, reason| Settled {
            reason: Some(reason),
            untried: true,
            ..Settled::new(one.event_id, state)
        };
        let Some(parcel) = parcels.get(&one.event_id) else {
            settled.push(not_sent(State::Dead, Reason::Unreadable.as_str()));
            continue;
        };
        // A platform that takes any age is asked once more, whatever the time.
        if one.deliver_by <= now && target.name.spec().limits.max_age.is_some() {
            settled.push(not_sent(State::Expired, Reason::TooOld.as_str()));
            continue;
        }
        // A refund restates what its purchase said: before that it would be taken for a purchase itself.
        let purchase = purchases.get(&one.event_id).and_then(Option::as_deref);
        if target.name == Name::GoogleDataManager && parcel.topic == Topic::Refund {
            match purchase {
                Some("accepted" | "processed") => {}
                Some("queued") => {
                    settled.push(Settled {
                        due_at: Some(now + UNTIL_THE_PURCHASE_IS_THERE),
                        untried: true,
                        ..Settled::new(one.event_id, State::Queued)
                    });
                    continue;
                }
                _ => {
                    settled.push(not_sent(State::Suppressed, Reason::PurchaseNotDelivered.as_str()));
                    continue;
                }
            }
        }
        match target
            .platform
            .prepare_as(parcel, renamed(&target.destination.topics, parcel), now)
        {
            Ok(event) => events.push(event),
            Err(Unsendable { code: "too_old", .. }) => {
                settled.push(not_sent(State::Expired, Reason::TooOld.as_str()))
            }
            Err(Unsendable { code, reason }) => settled.push(Settled {
                answer: Some(reason),
                ..not_sent(State::Suppressed, code)
            }),
        }
    }
    (events, settled)
}

/// The event without what the account may not send; none where nothing is left to know anybody by.
pub fn without_user_data(target: &Target, parcel: &Parcel, now: DateTime<Utc>) -> Option<Event> {
    let mut parcel = parcel.clone();
    parcel.user_data = UserData::default();
    parcel.user_id = None;
    target
        .platform
        .prepare_as(&parcel, renamed(&target.destination.topics, &parcel), now)
        .ok()
}

/// Events in requests of at most so many, and so many bytes.
pub fn batches(events: Vec<Event>, most: usize, bytes: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    // Some bytes are left to the envelope.
    let room = bytes.saturating_sub(4096);
    let mut used = 0;
    for event in events {
        let size = event.json().len() + 1;
        match batches.last_mut() {
            Some(batch) if batch.events.len() < most && used + size <= room => {
                used += size;
                batch.events.push(event);
            }
            _ => {
                used = size;
                batches.push(Batch {
                    events: vec![event],
                    without_user_data: false,
                    renewed: false,
                });
            }
        }
    }
    // Taken from the end.
    batches.reverse();
    batches
}
