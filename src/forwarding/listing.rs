//! Deliveries as people see them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::platforms::Name;
use super::state::State;
use crate::platform::secrets::{self, Sealer};

/// What became of a conversion at a destination.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Delivery {
    /// Its id: the same for a conversion and a destination, always.
    pub id: Uuid,
    /// The tenant.
    pub property_id: Uuid,
    /// Our id of the conversion.
    pub event_id: Uuid,
    /// The sender's id of it.
    pub conversion_id: String,
    /// What kind of conversion it is.
    pub topic: String,
    /// The destination's name.
    pub destination: String,
    /// The destination.
    pub destination_id: Uuid,
    /// The platform.
    pub platform: String,
    /// Where it stands.
    pub state: String,
    /// Why, where it was not taken.
    pub reason: Option<String>,
    /// Times that it was sent.
    pub attempts: i32,
    /// When it was planned.
    pub created_at: DateTime<Utc>,
    /// When it is tried next, where it is queued.
    pub due_at: Option<DateTime<Utc>>,
    /// Until when it may be sent.
    pub deliver_by: Option<DateTime<Utc>>,
    /// When it was sent last.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it came to where it stands.
    pub settled_at: Option<DateTime<Utc>>,
    /// Status of the last answer.
    pub http_status: Option<i16>,
    /// The platform's code.
    pub code: Option<String>,
    /// The platform's words, cut short.
    pub answer: Option<String>,
    /// The platform's id of the request.
    pub request_id: Option<String>,
    /// The event as it was sent, sealed.
    #[serde(skip)]
    pub payload_sealed: Option<Vec<u8>>,
    /// The event as it was sent, identifiers hashed and what tells of the visitor in clear masked; where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<serde_json::Value>,
    /// What was left out of it, and why.
    pub notes: Option<Vec<String>>,
}

impl Delivery {
    /// Opens the event as it was sent. What tells of the visitor in clear stays closed: it is for the platform alone.
    pub fn open(&mut self, sealer: &Sealer) {
        let Ok(platform) = self.platform.parse::<Name>() else {
            return;
        };
        let context = secrets::row(self.property_id, self.event_id.as_bytes());
        let clear = self
            .payload_sealed
            .as_ref()
            .and_then(|sealed| sealer.open(sealed, &context).ok());
        let event = clear.and_then(|clear| serde_json::from_slice(&clear).ok());
        self.payload = event.map(|event| platform.masked(event));
    }
}

/// The id of a conversion's delivery to a destination.
pub fn delivery_id(event_id: Uuid, destination_id: Uuid) -> Uuid {
    use sha2::Digest as _;
    let digest = sha2::Sha256::new()
        .chain_update(event_id)
        .chain_update(destination_id)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Which deliveries are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those that stand here.
    pub state: Option<State>,
    /// Only those to this destination.
    pub destination_id: Option<Uuid>,
    /// Only those planned before this one: when it was planned, our id of its conversion, its destination.
    pub before: Option<(DateTime<Utc>, Uuid, Uuid)>,
    /// At most so many, the newest first.
    pub limit: i64,
}

/// A place in a list of a destination's deliveries, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When the last one before it was planned.
    pub at: DateTime<Utc>,
    /// Our id of that one's conversion.
    pub event_id: Uuid,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.timestamp_micros(), self.event_id)
    }
}

/// No place in any list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no place in a list of deliveries")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (micros, id) = text.split_once('.').ok_or(NoPlace)?;
        let micros: i64 = micros.parse().map_err(|_| NoPlace)?;
        Ok(Self {
            at: DateTime::from_timestamp_micros(micros)
                .filter(|at| at.timestamp() >= 0)
                .ok_or(NoPlace)?,
            event_id: Uuid::try_parse(id).map_err(|_| NoPlace)?,
        })
    }
}

/// Conversions that came in between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// At or after; none: from the beginning.
    pub since: Option<DateTime<Utc>>,
    /// Before; none: until now.
    pub until: Option<DateTime<Utc>>,
}

/// The books of a destination: what the commits of conversions promised it, by what is kept with each conversion, against what became of it,
/// by the deliveries that there are. Where the two differ, something was lost, or made up.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Ledger {
    /// The destination.
    pub destination_id: Uuid,
    /// Its name.
    pub destination: String,
    /// The platform.
    pub platform: String,
    /// When it was taken away, if it was.
    pub removed_at: Option<DateTime<Utc>>,
    /// The conversions that came in since then are looked at; null: all from the beginning.
    pub since: Option<DateTime<Utc>>,
    /// And before then; null: until now.
    pub until: Option<DateTime<Utc>>,
    /// Whether all of them were looked at. If not, `since` is the time of the oldest that was; ask for the older ones by `until`.
    pub complete: bool,
    /// Conversions that it was promised.
    pub promised: i64,
    /// Conversions that wait to be planned: none of the states has them yet.
    pub to_be_planned: i64,
    /// To be sent, for the first time or again.
    pub queued: i64,
    /// Handed over, to a platform that does not say more.
    pub sent: i64,
    /// Taken.
    pub accepted: i64,
    /// Worked in.
    pub processed: i64,
    /// Not to be sent.
    pub suppressed: i64,
    /// Too old.
    pub expired: i64,
    /// Refused for good.
    pub dead: i64,
    /// All states together, and what is to be planned.
    pub total: i64,
    /// Promised, and nowhere to be found; below zero: found, and never promised.
    pub difference: i64,
    /// Whether there is no difference.
    pub balanced: bool,
}

/// Where deliveries stand that can be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replayed {
    /// Refused for good.
    #[default]
    Dead,
    /// Not taken in time.
    Expired,
}

impl Replayed {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Dead, Self::Expired];

    /// As in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => State::Dead.as_str(),
            Self::Expired => State::Expired.as_str(),
        }
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Nothing that can be sent again stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is dead or expired can be sent again")]
pub struct NotReplayed;

impl FromStr for Replayed {
    type Err = NotReplayed;

    fn from_str(text: &str) -> Result<Self, NotReplayed> {
        match text.parse::<State>() {
            Ok(State::Dead) => Ok(Self::Dead),
            Ok(State::Expired) => Ok(Self::Expired),
            _ => Err(NotReplayed),
        }
    }
}

/// What a replay takes up.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Replay {
    /// Those that stand here.
    pub state: Replayed,
    /// Those with this code of the platform only.
    pub code: Option<String>,
    /// That came to stand there at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// That came to stand there before.
    pub until: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = Place {
            at: DateTime::from_timestamp_micros(1_790_000_000_123_456).unwrap(),
            event_id: Uuid::from_u128(7),
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        for bad in [
            "",
            "x",
            "1.x",
            "x.00000000-0000-0000-0000-000000000007",
            "9223372036854775807.1",
            "-1.",
        ] {
            assert_eq!(bad.parse::<Place>(), Err(NoPlace), "{bad}");
        }
    }
}
