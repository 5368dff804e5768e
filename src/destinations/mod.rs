//! Where conversions are forwarded to, and the conversions that are still to be.

mod directory;
mod edit;
pub mod outbox;
pub mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

pub use directory::Destinations;
pub use edit::Edit;

use crate::domain::tenant::Tenant;
use crate::platform::outbound::Reach;
use crate::platform::secrets::{self, OpenError, SealError, Sealer};

/// A stream's account at an ad platform. Its credentials are sealed, and shown nowhere.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Destination {
    /// Its id.
    #[serde(rename = "id")]
    pub destination_id: Uuid,
    /// The tenant.
    pub property_id: Uuid,
    /// The stream whose conversions it gets.
    pub attribution_id: Uuid,
    /// The platform's name.
    pub platform: String,
    /// What people call it.
    pub name: String,
    /// Ids and credentials at the platform, sealed.
    #[serde(skip)]
    pub settings_sealed: Vec<u8>,
    /// Where the platform is, in place of its own address.
    pub base_url: Option<String>,
    /// Whether that was named on the command line, by whoever runs the service, and may lead to any address.
    #[serde(skip)]
    pub base_url_anywhere: bool,
    /// Topics sent, each with its event name where it is not the platform's own; none: all that the platform takes.
    pub topics: Option<Topics>,
    /// Which conversions it gets.
    pub policy: Policy,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when nothing is sent.
    pub paused_at: Option<DateTime<Utc>>,
    /// Why.
    pub paused_reason: Option<String>,
    /// When it was taken away; what became of its deliveries stays to be seen.
    pub removed_at: Option<DateTime<Utc>>,
}

/// Topic to event name, where it is not the platform's own.
pub type Topics = BTreeMap<String, Option<String>>;

/// Which of the conversions that the visitor consented to are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// All.
    All,
    /// Those that were matched to a session.
    Matched,
    /// Those whose credited click is the platform's own.
    OwnClick,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::All, Self::Matched, Self::OwnClick];

    /// As in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Matched => "matched",
            Self::OwnClick => "own_click",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No such policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policies are all, matched and own_click")]
pub struct UnknownPolicy;

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or(UnknownPolicy)
    }
}

impl Destination {
    /// Whose it is.
    pub fn tenant(&self) -> Tenant {
        Tenant {
            property_id: self.property_id,
            attribution_id: self.attribution_id,
        }
    }

    /// Its settings, JSON text.
    pub fn settings(&self, sealer: &Sealer) -> Result<SecretString, OpenError> {
        open_settings(
            &self.settings_sealed,
            self.property_id,
            self.destination_id,
            sealer,
        )
    }

    /// Which addresses its base URL may lead to.
    pub fn reach(&self) -> Reach {
        match self.base_url_anywhere {
            true => Reach::Anywhere,
            false => Reach::Public,
        }
    }
}

/// A destination's settings, JSON text, out of its row.
pub fn open_settings(
    sealed: &[u8],
    property_id: Uuid,
    destination_id: Uuid,
    sealer: &Sealer,
) -> Result<SecretString, OpenError> {
    let context = secrets::row(property_id, destination_id.as_bytes());
    let clear = sealer.open(sealed, &context)?;
    Ok(String::from_utf8(clear).map_err(|_| OpenError::Malformed)?.into())
}

/// Settings, JSON text, sealed for a destination's row.
pub fn seal_settings(
    settings: &SecretString,
    property_id: Uuid,
    destination_id: Uuid,
    sealer: &Sealer,
) -> Result<Vec<u8>, SealError> {
    let context = secrets::row(property_id, destination_id.as_bytes());
    sealer.seal(settings.expose_secret().as_bytes(), &context)
}
