//! Conversions that are still to be fanned out. They are written with the conversion, and a worker takes them.

pub mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use uuid::Uuid;

/// Tells this process's worker that something was written; another instance's finds it when it looks.
#[derive(Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Something was written.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits until it rings; at once when it rang since the last time.
    pub async fn heard(&self) {
        self.0.notified().await;
    }
}

/// Ids as Postgres reads an array: it has no arrays of arrays of different lengths, and so a column of them is one of texts on the way.
pub fn array_text(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

/// A conversion for its stream's destinations.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The tenant.
    pub property_id: Uuid,
    /// The conversion.
    pub event_id: Uuid,
    /// The destinations that its stream had when it came.
    pub destination_ids: Vec<Uuid>,
    /// It got its match late: what was suppressed is planned anew.
    pub again: bool,
    /// When it came, or got its match.
    pub created_at: DateTime<Utc>,
}
