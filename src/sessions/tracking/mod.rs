//! From a browser's events to sessions.

mod apply;
pub mod store;
pub mod timeline;
mod tracker;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Client;
use crate::domain::consent::Consent;
use crate::domain::device::Device;
use crate::domain::landing::Landing;
use crate::domain::tenant::Tenant;

pub use apply::apply;
pub use tracker::Tracker;

/// A moment of a visit, as a browser told of it.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The stream that saw it.
    pub tenant: Tenant,
    /// Whose it was.
    pub visitor_id: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether a page was viewed.
    pub page_view: bool,
    /// The page, and what brought the visitor there.
    pub landing: Landing,
    /// What the visitor agreed to.
    pub consent: Consent,
    /// The kind of device.
    pub device: Option<Device>,
    /// The visitor's address and user agent: to be sealed.
    pub client: Client,
    /// Cookies of ad platforms.
    pub browser_ids: BTreeMap<String, String>,
    /// The id that the visitor had before agreeing to be recognised.
    pub formerly: Option<String>,
}

impl Moment {
    /// Bytes that it holds in memory, near enough.
    pub fn bytes(&self) -> usize {
        let texts = [
            Some(&self.visitor_id),
            Some(&self.landing.url),
            self.landing.referrer.as_ref(),
            self.client.user_agent.as_ref(),
        ];
        // What it says of the campaign was taken out of the URL.
        size_of::<Self>()
            + texts
                .into_iter()
                .flatten()
                .map(|text| text.len() * 2)
                .sum::<usize>()
    }
}
