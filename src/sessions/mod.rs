//! Visits: where conversions can come from.

pub mod awaited;
pub mod import;
pub mod old;
pub mod store;
pub mod tracking;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::answers::Answers;
use crate::domain::device::Device;
use crate::domain::landing::Landing;
use tracking::timeline::Hit;

/// A visit to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The stream that saw it.
    pub attribution_id: Uuid,
    /// Its id within the property.
    pub session_id: String,
    /// Whose it was.
    pub visitor_id: String,
    /// When it began: the click.
    pub started_at: DateTime<Utc>,
    /// Where it began, and what brought it there.
    pub landing: Landing,
    /// The kind of device, where the browser told.
    pub device: Option<Device>,
    /// Its moments, the first of them its start; none where only the start is known.
    pub hits: Vec<Hit>,
    /// Pages viewed.
    pub page_views: i32,
    /// What the visitor answered.
    pub answers: Answers,
    /// Cookies of ad platforms, name to value; kept with the consent to advertising alone.
    pub browser_ids: BTreeMap<String, String>,
    /// The visitor's address and user agent: to be sealed.
    pub client: Client,
}

/// What a browser's connection tells of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Client {
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}
