//! A conversion on its way into the database.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::conversion::Conversion;
use crate::domain::tenant::Tenant;
use crate::platform::secrets::{self, SealError, Sealer};

/// Who sent a conversion, and under which settings.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Whose it is.
    pub tenant: Tenant,
    /// Days from the click, as set when it arrived: a change holds for later ones only.
    pub lookback_days: i16,
    /// Through which door.
    pub source: Source,
    /// By which key.
    pub key_id: Option<Uuid>,
    /// When.
    pub received_at: DateTime<Utc>,
    /// The destinations that its stream has.
    pub destination_ids: Option<Arc<Vec<Uuid>>>,
    /// The audit row of the request, where it has one.
    pub activity_id: Option<Uuid>,
}

/// The doors that conversions come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A merchant's back end.
    Webhook,
    /// The browser script.
    Sdk,
}

impl Source {
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Sdk => "sdk",
        }
    }
}

/// A conversion with its id and its personal data sealed: all that a row needs but the match.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Our id of it.
    pub event_id: Uuid,
    /// Who sent it.
    pub origin: Origin,
    /// What it says; its personal part is only in `personal_sealed`.
    pub conversion: Conversion,
    /// The personal part.
    pub personal_sealed: Option<Vec<u8>>,
}

impl Draft {
    /// Seals the personal part.
    pub fn new(
        event_id: Uuid,
        origin: Origin,
        mut conversion: Conversion,
        sealer: &Sealer,
    ) -> Result<Self, SealError> {
        let personal = conversion.personal.take();
        let context = secrets::row(origin.tenant.property_id, event_id.as_bytes());
        let personal_sealed = personal.map(|clear| sealer.seal(clear.as_bytes(), &context));
        Ok(Self {
            event_id,
            origin,
            conversion,
            personal_sealed: personal_sealed.transpose()?,
        })
    }

    /// What makes it the same conversion as another.
    pub fn identity(&self) -> Identity<'_> {
        (
            self.origin.tenant,
            self.conversion.topic.as_str(),
            &self.conversion.conversion_id,
        )
    }

    /// What it says.
    pub fn content(&self) -> Content<'_> {
        Content {
            property_id: self.origin.tenant.property_id,
            event_id: self.event_id,
            payload: &self.conversion.payload,
            personal_sealed: self.personal_sealed.as_deref(),
        }
    }

    /// Bytes that it holds in memory, near enough.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.conversion.payload.len() + self.personal_sealed.as_ref().map_or(0, Vec::len)
    }
}

/// Tenant, topic and the sender's id.
pub type Identity<'a> = (Tenant, &'a str, &'a str);

/// What a conversion says, as far as it is compared with another.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// Its tenant.
    pub property_id: Uuid,
    /// Our id of it.
    pub event_id: Uuid,
    /// Without personal data: JSON text.
    pub payload: &'a str,
    /// The personal part.
    pub personal_sealed: Option<&'a [u8]>,
}

impl Content<'_> {
    /// The personal part as JSON text; none where it can be read no more.
    pub fn personal(&self, sealer: &Sealer) -> Option<String> {
        let Some(sealed) = self.personal_sealed else {
            return Some("{}".to_owned());
        };
        let context = secrets::row(self.property_id, self.event_id.as_bytes());
        // One that retention has emptied opens as little as one whose key is gone.
        String::from_utf8(sealer.open(sealed, &context).ok()?).ok()
    }
}
