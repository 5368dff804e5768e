//! Deliveries as people see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

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
    /// The event as it was sent, identifiers hashed; where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<serde_json::Value>,
    /// What was left out of it, and why.
    pub notes: Option<Vec<String>>,
}

impl Delivery {
    /// Opens the event as it was sent.
    pub fn open(&mut self, sealer: &Sealer) {
        let context = secrets::row(self.property_id, self.event_id.as_bytes());
        let clear = self
            .payload_sealed
            .as_ref()
            .and_then(|sealed| sealer.open(sealed, &context).ok());
        self.payload = clear.and_then(|clear| serde_json::from_slice(&clear).ok());
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

/// The books of a destination: what each state holds; together they are all conversions that it was to get.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Ledger {
    /// The destination.
    pub destination_id: Uuid,
    /// Its name.
    pub destination: String,
    /// The platform.
    pub platform: String,
    /// To be sent; conversions that are not fanned out yet too.
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
    /// All of them.
    pub total: i64,
}

/// What a replay takes up.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// Those that died with this code only.
    pub code: Option<String>,
    /// Planned at or after.
    pub since: Option<DateTime<Utc>>,
    /// Planned before.
    pub until: Option<DateTime<Utc>>,
}
