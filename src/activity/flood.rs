//! The flood cap: beyond so many refused requests a minute and stream, one row counts the rest.
//!
//! Attribution IDs are public, so anybody can have requests refused. Those with a proven key are the merchant's own: they have a cap and a
//! count of their own, which no stranger uses up.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use chrono::{DateTime, TimeZone as _, Utc};
use uuid::Uuid;

use super::Entry;
use crate::platform::clock::id_at;

/// Counts that may wait to be written.
const MOST_COUNTS: usize = 4096;

/// Whose requests are counted together: attribution ID, and whether a key was proven.
type Sender = (Uuid, bool);

/// Counts the refused requests of the running minute.
pub struct Flood {
    per_minute: u32,
    minute: i64,
    seen: HashMap<Sender, u32>,
    counts: HashMap<(Sender, i64), Entry>,
}

impl Flood {
    /// At most `per_minute` rows of their own.
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            minute: i64::MIN,
            seen: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    /// Whether a refused request gets a row of its own.
    pub fn admits(&mut self, entry: &Entry) -> bool {
        let minute = minute(entry);
        // A straggler belongs to the running minute; a clock that was set back begins another.
        if minute > self.minute || minute < self.minute - 1 {
            self.minute = minute;
            self.seen.clear();
        }
        let seen = self.seen.entry(sender(entry)).or_default();
        *seen = seen.saturating_add(1);
        *seen <= self.per_minute
    }

    /// Adds a refused row to the count of its minute; false when there are too many counts already.
    pub fn count(&mut self, entry: &Entry) -> bool {
        let full = self.counts.len() >= MOST_COUNTS;
        let minute = minute(entry);
        let counted = match self.counts.entry((sender(entry), minute)) {
            Place::Occupied(counted) => counted.into_mut(),
            Place::Vacant(_) if full => return false,
            Place::Vacant(place) => place.insert(counting_row(entry, minute)),
        };
        counted.requests = counted.requests.saturating_add(entry.requests);
        true
    }

    /// Takes up to `most` counts, to be written.
    pub fn take(&mut self, most: usize) -> Vec<Entry> {
        let taken = self.counts.extract_if(|_, _| true).take(most);
        taken.map(|(_, counted)| counted).collect()
    }
}

fn minute(entry: &Entry) -> i64 {
    entry.at.timestamp().div_euclid(60)
}

fn sender(entry: &Entry) -> Sender {
    (entry.attribution_id, proven(entry))
}

/// A counting row names no key, but its id tells.
fn proven(entry: &Entry) -> bool {
    entry.key.is_some() || entry.activity_id == id_at(entry.at, PROVEN.0)
}

/// The end of a counting row's id, and what it says.
type Kind = (&'static [u8; 8], &'static str);
const PROVEN: Kind = (
    b"proven\0\0",
    "refused requests with a valid key, of this minute, beyond those that have a row of their own",
);
const ANONYMOUS: Kind = (
    b"refused\0",
    "refused requests without a valid key, of this minute, beyond those that have a row of their own",
);

/// The row that counts a sender's refused requests of one minute, from 0; every instance makes the same, so that they add up.
fn counting_row(entry: &Entry, minute: i64) -> Entry {
    let at: DateTime<Utc> = Utc.timestamp_opt(minute * 60, 0).single().unwrap_or(entry.at);
    let (id, detail) = if proven(entry) { PROVEN } else { ANONYMOUS };
    Entry {
        activity_id: id_at(at, id),
        at,
        code: Some("flood"),
        detail: Some(detail.to_owned()),
        key: None,
        topic: String::new(),
        conversion_id: None,
        rejected: 0,
        requests: 0,
        ..entry.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::Status;

    fn refused(stream: u128, second: i64) -> Entry {
        let at = Utc.timestamp_opt(1_800_000_000 + second, 0).unwrap();
        Entry {
            property_id: Uuid::from_u128(1),
            attribution_id: Uuid::from_u128(stream),
            activity_id: id_at(at, &rand::random()),
            at,
            status: Status::AuthError,
            topic: "purchase".to_owned(),
            http_status: 401,
            code: Some("invalid_key"),
            detail: None,
            key: None,
            session_matched: None,
            duplicate: false,
            differs: None,
            dry_run: false,
            conversion_id: None,
            event_id: None,
            accepted: 0,
            rejected: 0,
            requests: 1,
        }
    }

    fn with_key(entry: Entry) -> Entry {
        Entry {
            key: Some((Uuid::from_u128(9), "k".to_owned())),
            ..entry
        }
    }

    /// Those that get a row; the others are counted.
    fn file(flood: &mut Flood, entries: impl IntoIterator<Item = Entry>) -> usize {
        let mut rows = 0;
        for entry in entries {
            if flood.admits(&entry) {
                rows += 1;
            } else {
                assert!(flood.count(&entry));
            }
        }
        rows
    }

    #[test]
    fn a_flood_is_one_row() {
        let mut flood = Flood::new(3);
        let refusals = (0..1000).map(|_| refused(1, 0)).chain([refused(2, 0)]);
        assert_eq!(file(&mut flood, refusals), 4);
        let counted = flood.take(10);
        assert_eq!((counted.len(), counted[0].requests), (1, 997));
        // Later in the same minute it goes on counting, into the same row.
        assert_eq!(file(&mut flood, [refused(1, 59)]), 0);
        let more = flood.take(10);
        assert_eq!(
            (more[0].requests, more[0].activity_id),
            (1, counted[0].activity_id)
        );
        // The next minute begins anew, also when a straggler of the last one follows.
        assert_eq!(file(&mut flood, [refused(1, 60), refused(1, 59)]), 2);
        assert!(flood.take(10).is_empty());
    }

    #[test]
    fn strangers_do_not_use_up_the_merchants_rows() {
        let mut flood = Flood::new(3);
        file(&mut flood, (0..100).map(|_| refused(1, 0)));
        let own = (0..5).map(|_| with_key(refused(1, 0)));
        assert_eq!(file(&mut flood, own), 3);
        let mut counted = flood.take(10);
        counted.sort_by_key(|row| row.requests);
        assert_eq!((counted[0].requests, counted[1].requests), (2, 97));
        assert_ne!(counted[0].activity_id, counted[1].activity_id);
        // Counts that could not be written go back to where they came from.
        for row in &counted {
            assert!(flood.count(row));
        }
        let mut again = flood.take(10);
        again.sort_by_key(|row| row.requests);
        let told = |rows: &[Entry]| {
            rows.iter()
                .map(|row| (row.activity_id, row.requests))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&again), told(&counted));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_the_cap_shut() {
        let mut flood = Flood::new(3);
        assert_eq!(file(&mut flood, (0..10).map(|_| refused(1, 3600))), 3);
        assert_eq!(file(&mut flood, (0..10).map(|_| refused(1, 0))), 3);
    }

    #[test]
    fn counts_are_bounded() {
        let mut flood = Flood::new(0);
        for stream in 0..MOST_COUNTS as u128 {
            assert!(flood.count(&refused(stream, 0)));
        }
        assert!(!flood.count(&refused(u128::MAX, 0)));
        assert!(flood.count(&refused(0, 0)));
        assert_eq!(flood.take(512).len(), 512);
        assert_eq!(flood.take(MOST_COUNTS).len(), MOST_COUNTS - 512);
    }
}
