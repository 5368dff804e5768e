//! A file for each page, with its forms.

pub mod account;
pub mod activity;
pub mod api_tokens;
pub mod attribution_ids;
pub mod campaigns;
pub mod conversion;
pub mod conversions;
pub mod destination;
pub mod destinations;
pub mod invitation;
pub mod log;
mod of_stream;
pub mod overview;
pub mod properties;
pub mod sign_in;
pub mod test_event;
pub mod tracking;
pub mod users;
pub mod webhooks;

use serde::Deserialize;
use uuid::Uuid;

/// What a redirect says of what was just done.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Said {
    said: Option<String>,
}

impl Said {
    /// The word.
    pub fn word(&self) -> Option<&str> {
        self.said.as_deref()
    }
}

/// From where on a list is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Before {
    before: Option<Uuid>,
}
