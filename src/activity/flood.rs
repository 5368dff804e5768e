//! The flood cap: beyond so many refused requests a minute and attribution ID, one row counts the rest.

use std::collections::HashMap;

use chrono::{DateTime, TimeZone as _, Utc};
use uuid::Uuid;

use super::Entry;
use crate::platform::clock::id_at;

/// Counts the refused rows of the running minute.
pub struct Flood {
    per_minute: u32,
    minute: i64,
    seen: HashMap<Uuid, u32>,
}

impl Flood {
    /// At most `per_minute` rows of their own.
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            minute: i64::MIN,
            seen: HashMap::new(),
        }
    }

    /// Lets rows within the cap through, and folds each stream's rest of a minute into one entry that counts.
    pub fn cap(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut kept = Vec::with_capacity(entries.len());
        let mut folded: HashMap<(Uuid, i64), Entry> = HashMap::new();
        for entry in entries {
            let minute = entry.at.timestamp().div_euclid(60);
            if minute > self.minute {
                self.minute = minute;
                self.seen.clear();
            }
            let seen = self.seen.entry(entry.attribution_id).or_default();
            *seen = seen.saturating_add(1);
            if *seen <= self.per_minute {
                kept.push(entry);
                continue;
            }
            let counted = folded
                .entry((entry.attribution_id, minute))
                .or_insert_with(|| Entry {
                    requests: 0,
                    ..counting_row(&entry, minute)
                });
            counted.requests = counted.requests.saturating_add(1);
        }
        kept.extend(folded.into_values());
        kept
    }
}

/// The row that counts a stream's refused requests of one minute; every instance makes the same, so that they add up.
fn counting_row(entry: &Entry, minute: i64) -> Entry {
    let at: DateTime<Utc> = Utc.timestamp_opt(minute * 60, 0).single().unwrap_or(entry.at);
    Entry {
        activity_id: id_at(at, b"refused\0"),
        at,
        code: Some("flood"),
        detail: Some("refused requests of this minute beyond those that have a row of their own".to_owned()),
        key: None,
        topic: String::new(),
        conversion_id: None,
        rejected: 0,
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

    #[test]
    fn a_flood_is_one_row() {
        let mut flood = Flood::new(3);
        let rows = flood.cap((0..1000).map(|_| refused(1, 0)).chain([refused(2, 0)]).collect());
        assert_eq!(rows.len(), 5);
        let counted: Vec<_> = rows.iter().filter(|row| row.code == Some("flood")).collect();
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].requests, 997);
        // Later in the same minute it goes on counting, into the same row.
        let more = flood.cap(vec![refused(1, 59)]);
        assert_eq!(
            (more[0].requests, more[0].activity_id),
            (1, counted[0].activity_id)
        );
        // The next minute begins anew, also when a straggler of the last one follows.
        let next = flood.cap(vec![refused(1, 60), refused(1, 59)]);
        assert!(next.iter().all(|row| row.code == Some("invalid_key")));
    }
}
