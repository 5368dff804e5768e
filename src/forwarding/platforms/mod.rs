//! The ad platforms: each one file with the same roles.
//!
//! Settings are read by [`Name::read`] into a [`Platform`]. [`Platform::prepare`](trait.Platform.html) makes an [`Event`] of a parcel, or
//! says why there is none; [`Platform::request`] makes a request of events; [`Platform::verdict`] reads what came back. All of it is pure:
//! time, endpoint and access token are handed in.

mod answer;
mod body;
mod draft;
mod ga4;
mod google;
mod linkedin;
mod meta;
mod microsoft;
pub mod oauth;
mod pinterest;
mod reddit;
mod request;
mod settings;
mod snapchat;
mod tiktok;
mod webhook;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

pub use answer::{Answer, Count, Failure, Fate, Later, Remark, Verdict, Whole};
pub use draft::{Draft, Event, Note, Unsendable};
pub use request::{Endpoint, Header, Request, Sending};

use crate::domain::faults::Fault;
use crate::domain::identifiers::Rules;
use crate::domain::personal::MASK;
use crate::domain::topic::Topic;
use crate::forwarding::parcel::Parcel;

/// A platform by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// Meta Conversions API.
    Meta,
    /// Google Data Manager API.
    GoogleDataManager,
    /// TikTok Events API.
    TikTok,
    /// Google Analytics 4, Measurement Protocol.
    Ga4,
    /// Microsoft UET Conversions API.
    Microsoft,
    /// LinkedIn Conversions API.
    LinkedIn,
    /// Pinterest API for Conversions.
    Pinterest,
    /// Snapchat Conversions API.
    Snapchat,
    /// Reddit Conversions API.
    Reddit,
    /// An endpoint of the user's own, signed by Standard Webhooks.
    Webhook,
}

/// What holds for a platform whoever uses it.
#[derive(Debug)]
pub struct Spec {
    /// As in settings and in the database.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Where it is, unless the configuration says otherwise; empty where the settings say it.
    pub base_url: &'static str,
    /// Version of its API; empty where it has none.
    pub version: &'static str,
    /// Where access tokens are renewed.
    pub token_url: Option<&'static str>,
    /// How much it takes.
    pub limits: Limits,
    /// In which form it takes identifiers.
    pub rules: Rules,
    /// Whether it can be told that data must not be sold. Where it cannot, the conversion of somebody who opted out stays here.
    pub limited_use: bool,
    /// Names of the click ids that are its own.
    pub click_ids: &'static [&'static str],
    /// Settings that are secret.
    pub secrets: &'static [&'static str],
    /// Members of its events that tell of the visitor in clear: sent, and shown to nobody.
    pub clear: &'static [&'static str],
}

/// Why an event cannot be tried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTrial {
    /// The platform has no such mode: whatever it is sent counts.
    #[error("the platform has neither a validation nor a test mode: whatever it is sent counts")]
    NotOffered,
    /// It wants the code of its test tool, where the event is to be seen then.
    #[error("the platform wants the code of its test tool (Events Manager, Test Events): name it by --code")]
    NeedsCode,
}

/// How much a platform takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events in one request.
    pub events: usize,
    /// Bytes of one request's body.
    pub bytes: usize,
    /// Age of an event; none where any will do.
    pub max_age: Option<TimeDelta>,
}

/// The roles of a platform, with the settings of one destination.
pub trait Platform: Send + Sync {
    /// What holds whoever uses it.
    fn spec(&self) -> &'static Spec;

    /// What it calls a topic's event; `custom` is the name of a custom event.
    fn event_name(&self, topic: Topic, custom: Option<&str>) -> Result<String, Unsendable>;

    /// A destination's own name for a topic's event, as the platform takes it; else why it takes none such. Unless a platform says otherwise,
    /// its settings name what each topic is there, and there is no other place for a name.
    fn rename(&self, _topic: Topic, _name: &str) -> Result<String, Unsendable> {
        Err(Unsendable::name(format!(
            "{} takes no event names: its settings say what each topic is there",
            self.spec().title
        )))
    }

    /// How old an event may be; none where any age will do.
    fn max_age(&self) -> Option<TimeDelta> {
        self.spec().limits.max_age
    }

    /// The JSON of one event. Null and empty members are taken out afterwards.
    fn event(&self, draft: &mut Draft<'_>) -> Result<Value, Unsendable>;

    /// One request for events that [`prepare`](trait.Platform.html) made, within the limits.
    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request;

    /// What became of the events of a request.
    fn verdict(&self, answer: &Answer<'_>, events: &[Event]) -> Verdict;

    /// Where it is, for a platform whose settings say that.
    fn address(&self) -> Option<&str> {
        None
    }

    /// Whether it is told of a refund by its purchase anew, with what is left of it. The refund is as old as the purchase then, and is taken for a
    /// purchase itself where the platform does not have that yet.
    fn restates(&self) -> bool {
        false
    }

    /// The credentials that access tokens are renewed with.
    fn oauth(&self) -> Option<&oauth::Client> {
        None
    }

    /// The request that tries one event out in the platform's own validation or test mode; `code` is of its test tool.
    fn trial(&self, _sending: &Sending<'_>, _event: &Event, _code: Option<&str>) -> Result<Request, NoTrial> {
        Err(NoTrial::NotOffered)
    }

    /// Reads the answer to that.
    fn trial_verdict(&self, answer: &Answer<'_>, event: &Event) -> Verdict {
        self.verdict(answer, std::slice::from_ref(event))
    }

    /// Asks what became of a request that was taken without a word on its events.
    fn later_request(&self, _sending: &Sending<'_>, _token: &str) -> Option<Request> {
        None
    }

    /// Reads the answer to that.
    fn later(&self, _answer: &Answer<'_>) -> Later {
        Later::Unknown {
            code: "not_offered".to_owned(),
        }
    }
}

impl dyn Platform {
    /// One parcel as this platform's event; where it cannot be sent, why.
    pub fn prepare(&self, parcel: &Parcel, now: DateTime<Utc>) -> Result<Event, Unsendable> {
        self.prepare_as(parcel, None, now)
    }

    /// As `prepare`, with another event name than the platform's own.
    pub fn prepare_as(
        &self,
        parcel: &Parcel,
        renamed: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Event, Unsendable> {
        let spec = self.spec();
        let name = self.event_name(parcel.topic, parcel.event_name.as_deref())?;
        let name = match renamed {
            Some(renamed) => self.rename(parcel.topic, renamed)?,
            None => name,
        };
        let adjustment = parcel.refund.as_ref().and_then(|refund| refund.adjustment);
        let happened = match adjustment.filter(|_| self.restates()) {
            Some(adjustment) => adjustment.purchase_time,
            None => parcel.event_time,
        };
        let deadline = self.max_age().and_then(|age| happened.checked_add_signed(age));
        if deadline.is_some_and(|by| by < now) {
            return Err(Unsendable::new(
                "too_old",
                format!("{} takes no event of that age", spec.title),
            ));
        }
        if parcel.consent.sale_of_data == Some(false) && !spec.limited_use {
            return Err(Unsendable::new(
                "sale_opted_out",
                format!(
                    "the visitor opted out of the sale of data, and {} cannot be told",
                    spec.title
                ),
            ));
        }
        let mut draft = Draft::new(parcel, name, spec, now);
        let json = self.event(&mut draft)?;
        draft.finish(json)
    }
}

impl Name {
    /// An event of this platform as it may be shown: without what tells of the visitor in clear, at any depth.
    pub fn masked(self, event: Value) -> Value {
        mask(event, self.spec().clear)
    }

    /// What this platform said of an event, without the words that the event itself told it of the visitor in clear.
    pub fn discreet(self, said: &str, event: &Event) -> String {
        let mut told = BTreeSet::new();
        let event: Value = serde_json::from_str(event.json()).unwrap_or_default();
        words_in_clear(&event, self.spec().clear, &mut told);
        let is_told = |word: &&str| told.contains(&word.to_lowercase());
        let shown = |word| match words_of(word).any(|word| is_told(&word)) {
            true => "…",
            false => word,
        };
        said.split(' ').map(shown).collect::<Vec<_>>().join(" ")
    }

    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::GoogleDataManager,
        Self::TikTok,
        Self::Ga4,
        Self::Microsoft,
        Self::LinkedIn,
        Self::Pinterest,
        Self::Snapchat,
        Self::Reddit,
        Self::Webhook,
    ];

    /// What holds whoever uses it.
    pub fn spec(self) -> &'static Spec {
        match self {
            Self::Meta => &meta::SPEC,
            Self::GoogleDataManager => &google::SPEC,
            Self::TikTok => &tiktok::SPEC,
            Self::Ga4 => &ga4::SPEC,
            Self::Microsoft => &microsoft::SPEC,
            Self::LinkedIn => &linkedin::SPEC,
            Self::Pinterest => &pinterest::SPEC,
            Self::Snapchat => &snapchat::SPEC,
            Self::Reddit => &reddit::SPEC,
            Self::Webhook => &webhook::SPEC,
        }
    }

    /// As in settings and in the database.
    pub fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// Reads a destination's settings: all faults at once, none of which shows a value.
    pub fn read(self, settings: &Value) -> Result<Box<dyn Platform>, Vec<Fault>> {
        match self {
            Self::Meta => settings::read(settings, meta::read),
            Self::GoogleDataManager => settings::read(settings, google::read),
            Self::TikTok => settings::read(settings, tiktok::read),
            Self::Ga4 => settings::read(settings, ga4::read),
            Self::Microsoft => settings::read(settings, microsoft::read),
            Self::LinkedIn => settings::read(settings, linkedin::read),
            Self::Pinterest => settings::read(settings, pinterest::read),
            Self::Snapchat => settings::read(settings, snapchat::read),
            Self::Reddit => settings::read(settings, reddit::read),
            Self::Webhook => settings::read(settings, webhook::read),
        }
    }
}

fn mask(value: Value, clear: &[&str]) -> Value {
    match value {
        Value::Object(members) => {
            let masked = |(name, value): (String, Value)| match clear.contains(&name.as_str()) {
                true => (name, Value::from(MASK)),
                false => (name, mask(value, clear)),
            };
            Value::Object(members.into_iter().map(masked).collect())
        }
        Value::Array(items) => items.into_iter().map(|item| mask(item, clear)).collect(),
        other => other,
    }
}

/// The words of all members that are in clear.
fn words_in_clear(value: &Value, clear: &[&str], into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str().filter(|_| clear.contains(&name.as_str())) {
                    Some(text) => into.extend(words_of(text).map(str::to_lowercase)),
                    None => words_in_clear(value, clear, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| words_in_clear(item, clear, into)),
        _ => {}
    }
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No such platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the platforms are meta, google_data_manager, tiktok, ga4, microsoft, linkedin, pinterest, snapchat, reddit and webhook"
)]
pub struct UnknownPlatform;

impl FromStr for Name {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, UnknownPlatform> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or(UnknownPlatform)
    }
}
