//! A destination as somebody asks for it, checked.

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::platforms::Name;
use crate::destinations::{Destination, Policy, Topics, seal_settings};
use crate::domain::faults::Fault;
use crate::domain::tenant::Tenant;
use crate::domain::text;
use crate::domain::topic::{Topic, UnknownTopic};
use crate::platform::clock::Clock;
use crate::platform::secrets::{SealError, Sealer};

/// Characters of a platform's event name, at most.
const MOST_EVENT_NAME: usize = 64;

/// What is asked for.
pub struct Wanted {
    /// The platform.
    pub platform: Name,
    /// What people call it.
    pub name: String,
    /// Ids and credentials, as JSON.
    pub settings: SecretString,
    /// Where the platform is, in place of its own address.
    pub base_url: Option<Url>,
    /// Topics sent; empty: all that the platform takes.
    pub topics: Topics,
    /// Which conversions it gets.
    pub policy: Policy,
}

/// Why there is no such destination.
#[derive(Debug)]
pub enum Unfit {
    /// What is wrong with the settings, all of it; no value is shown.
    Settings(Vec<Fault>),
    /// The settings cannot be sealed.
    Seal(SealError),
}

/// A destination that is not stored yet, its settings checked and sealed.
pub fn new_destination(
    tenant: Tenant,
    wanted: Wanted,
    sealer: &Sealer,
    clock: &Clock,
) -> Result<Destination, Unfit> {
    let Wanted {
        platform, settings, ..
    } = &wanted;
    // What the parser says may quote the text: a secret.
    let json = serde_json::from_str(settings.expose_secret()).map_err(|error| {
        let message = format!("are no JSON: line {}, column {}", error.line(), error.column());
        Unfit::Settings(vec![Fault {
            field: "settings".to_owned(),
            code: "invalid_json",
            message,
        }])
    })?;
    platform.read(&json).map_err(Unfit::Settings)?;
    let destination_id = clock.new_id();
    let sealed = seal_settings(settings, tenant.property_id, destination_id, sealer);
    Ok(Destination {
        destination_id,
        property_id: tenant.property_id,
        attribution_id: tenant.attribution_id,
        platform: platform.as_str().to_owned(),
        name: wanted.name,
        settings_sealed: sealed.map_err(Unfit::Seal)?,
        base_url: wanted
            .base_url
            .map(|url| url.as_str().trim_end_matches('/').to_owned()),
        topics: Some(wanted.topics).filter(|topics| !topics.is_empty()),
        policy: wanted.policy,
        created_at: clock.now(),
        paused_at: None,
        paused_reason: None,
        removed_at: None,
    })
}

/// A topic, or a topic and the platform's name for it: `purchase`, `lead=enquiry`.
pub fn read_topic(sent: &str) -> Result<(String, Option<String>), String> {
    let (topic, name) = match sent.split_once('=') {
        Some((topic, name)) => (topic, Some(name)),
        None => (sent, None),
    };
    let topic: Topic = topic
        .parse()
        .map_err(|unknown: UnknownTopic| unknown.to_string())?;
    let name = name
        .map(|name| match text::check(name, MOST_EVENT_NAME) {
            Ok(()) => Ok(name.to_owned()),
            Err(bad) => Err(bad.spec(MOST_EVENT_NAME).1),
        })
        .transpose()?;
    Ok((topic.as_str().to_owned(), name))
}
