//! What of the claimed can be sent, in which requests.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::target::{Target, renamed};
use crate::domain::topic::Topic;
use crate::forwarding::parcel::{Parcel, UserData};
use crate::forwarding::platforms::{Event, Note, Unsendable};
use crate::forwarding::state::{Reason, State};
use crate::forwarding::store::{Claimed, OfRefund, Settled};

/// How often a refund looks whether its purchase was taken. What takes the purchase wakes it, so that this is for the rare miss.
const LOOKS_FOR_ITS_PURCHASE: TimeDelta = TimeDelta::minutes(10);
/// How long after it came a refund waits for a purchase that is not on its way: that may still come, or get its match.
const WAITS_FOR_ITS_PURCHASE: TimeDelta = TimeDelta::hours(24);

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
    purchases: &HashMap<Uuid, OfRefund>,
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
        if parcel.topic == Topic::Refund && target.platform.restates() {
            match purchases
                .get(&one.event_id)
                .map_or(Turn::Never, |of| turn(of, now))
            {
                Turn::Now => {}
                Turn::Later => {
                    settled.push(Settled {
                        due_at: Some(now + LOOKS_FOR_ITS_PURCHASE),
                        untried: true,
                        ..Settled::new(one.event_id, State::Queued)
                    });
                    continue;
                }
                Turn::Never => {
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

/// When a refund goes.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Now,
    Later,
    Never,
}

/// A refund that restates its purchase goes when the platform has that: before, it would be taken for a purchase itself.
fn turn(refund: &OfRefund, now: DateTime<Utc>) -> Turn {
    match refund.purchase {
        Some(State::Accepted | State::Processed) => Turn::Now,
        Some(State::Queued) => Turn::Later,
        Some(State::Dead | State::Expired) => Turn::Never,
        _ if now < refund.received_at + WAITS_FOR_ITS_PURCHASE => Turn::Later,
        _ => Turn::Never,
    }
}

/// The event without what the account may not send; none where nothing is left to know anybody by.
pub fn without_user_data(target: &Target, parcel: &Parcel, now: DateTime<Utc>) -> Option<Event> {
    let mut parcel = parcel.clone();
    parcel.user_data = UserData::default();
    parcel.user_id = None;
    let mut event = target
        .platform
        .prepare_as(&parcel, renamed(&target.destination.topics, &parcel), now)
        .ok()?;
    event.notes.push(Note {
        field: "user_data",
        code: "refused_by_platform",
    });
    Some(event)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_waits_for_its_purchase_but_not_for_ever() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let turn = |purchase, hours| {
            let refund = OfRefund {
                received_at: now - TimeDelta::hours(hours),
                purchase,
            };
            super::turn(&refund, now)
        };
        let table = [
            (turn(Some(State::Accepted), 0), Turn::Now),
            (turn(Some(State::Processed), 100), Turn::Now),
            (turn(Some(State::Queued), 100), Turn::Later),
            (turn(Some(State::Dead), 0), Turn::Never),
            (turn(Some(State::Expired), 0), Turn::Never),
            (turn(Some(State::Suppressed), 23), Turn::Later),
            (turn(Some(State::Suppressed), 24), Turn::Never),
            (turn(None, 23), Turn::Later),
            (turn(None, 24), Turn::Never),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
    }
}
