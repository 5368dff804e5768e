//! A parcel on its way to become one platform's event.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::{number, pruned};
use super::{Limits, Spec};
use crate::domain::identifiers::{Field, Rules};
use crate::domain::topic::Topic;
use crate::forwarding::parcel::{Parcel, Product};

/// Products that an event has, at most.
const MOST_PRODUCTS: usize = 200;

/// Something that was left out of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where the payload or the session has it. Never its value.
    pub field: &'static str,
    /// Why, for programs.
    pub code: &'static str,
}

/// Why a parcel cannot be sent to a platform, now or ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsendable {
    /// Stable, for programs.
    pub code: &'static str,
    /// For people.
    pub reason: String,
}

impl Unsendable {
    pub(super) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    pub(super) fn topic(spec: &Spec, topic: Topic) -> Self {
        Self::new("unsupported_topic", format!("{} takes no {topic}", spec.title))
    }

    /// The platform takes no event of such a name.
    pub(super) fn name(reason: impl Into<String>) -> Self {
        Self::new("unsupported_name", reason)
    }

    pub(super) fn no_identifiers() -> Self {
        Self::new(
            "no_identifiers",
            "nothing that the platform could know the visitor by",
        )
    }
}

/// One event in a platform's own words, ready to go into a request. It has no `Debug`: it tells of a person.
#[derive(Clone)]
pub struct Event {
    /// Our id of the event.
    pub event_id: Uuid,
    /// What the platform tells copies by; the same at every attempt.
    pub dedup_id: String,
    /// What kind.
    pub topic: Topic,
    /// What was left out.
    pub notes: Vec<Note>,
    json: String,
}

impl Event {
    /// The event's JSON.
    pub fn json(&self) -> &str {
        &self.json
    }
}

/// What a platform's `event` works with: the parcel, and the places where things are left out.
pub struct Draft<'a> {
    /// The parcel.
    pub parcel: &'a Parcel,
    /// What the platform calls the event.
    pub name: String,
    /// When it happened, but not ahead of our clock: platforms refuse the future.
    pub at: DateTime<Utc>,
    /// What the platform tells copies by.
    pub dedup_id: String,
    rules: Rules,
    limits: Limits,
    notes: Vec<Note>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(parcel: &'a Parcel, name: String, spec: &Spec, now: DateTime<Utc>) -> Self {
        Self {
            parcel,
            name,
            at: parcel.event_time.min(now),
            dedup_id: parcel.conversion_id.clone(),
            rules: spec.rules,
            limits: spec.limits,
            notes: Vec::new(),
        }
    }

    /// An identifier as the platform wants it; a bad one is noted, and left out.
    pub(super) fn id(&mut self, field: Field) -> Option<String> {
        let rule = self.rules.get(field)?;
        let sent = match field {
            Field::ExternalId => self.parcel.user_id.as_deref()?,
            _ => self.parcel.user_data.get(field)?,
        };
        match rule.prepare(field, sent) {
            Ok(text) => Some(text),
            Err(unusable) => {
                self.note(field.path(), unusable.spec().0);
                None
            }
        }
    }

    /// As [`Draft::id`], in a list of one.
    pub(super) fn ids(&mut self, field: Field) -> Option<Vec<String>> {
        self.id(field).map(|text| vec![text])
    }

    /// Notes that something was left out.
    pub(super) fn note(&mut self, field: &'static str, code: &'static str) {
        self.notes.push(Note { field, code });
    }

    /// The newest click id of this name; one that no network can have made is noted, and left out.
    pub(super) fn click(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.parcel.session.click(name)?.value.as_str();
        self.checked(name, value, is_token)
    }

    /// A browser cookie; one that no script of a platform's can have set is noted, and left out.
    pub(super) fn cookie(&mut self, name: &'static str) -> Option<&'a str> {
        self.cookie_named(name, name)
    }

    /// A browser cookie whose name is made of a setting; `shown` stands in the note.
    pub(super) fn cookie_named(&mut self, name: &str, shown: &'static str) -> Option<&'a str> {
        let value = self.parcel.session.cookies.get(name)?;
        self.checked(shown, value, is_token)
    }

    /// A value that holds; else it is noted, and left out.
    pub(super) fn checked<T: AsRef<str>>(
        &mut self,
        field: &'static str,
        value: T,
        holds: impl Fn(&str) -> bool,
    ) -> Option<T> {
        match holds(value.as_ref()) {
            true => Some(value),
            false => {
                self.note(field, "malformed");
                None
            }
        }
    }

    /// The landing page.
    pub(super) fn page(&self) -> Option<&'a str> {
        self.parcel.session.landing_url.as_deref()
    }

    /// The page before it.
    pub(super) fn referrer(&self) -> Option<&'a str> {
        self.parcel.session.referrer.as_deref()
    }

    /// The visitor's browser.
    pub(super) fn user_agent(&self) -> Option<&'a str> {
        self.parcel.session.user_agent.as_deref()
    }

    /// The visitor's address, where it says anything outside the visitor's own network.
    pub(super) fn ip(&self) -> Option<String> {
        self.parcel
            .session
            .ip
            .map(|ip| ip.to_canonical())
            .filter(is_public)
            .map(|ip| ip.to_string())
    }

    /// The value as a number.
    pub(super) fn value(&self) -> Option<Value> {
        self.parcel.money.map(|money| number(money.amount))
    }

    /// ISO 4217.
    pub(super) fn currency(&self) -> Option<&'static str> {
        self.parcel.money.map(|money| money.currency.code())
    }

    /// The order's id, where there is an order.
    pub(super) fn order_id(&self) -> Option<&'a str> {
        (self.parcel.topic == Topic::Purchase).then_some(self.parcel.conversion_id.as_str())
    }

    /// Whether data of this visitor must not be sold.
    pub(super) fn limited_use(&self) -> bool {
        self.parcel.consent.sale_of_data == Some(false)
    }

    /// The products, as many as an event has.
    pub(super) fn products(&mut self) -> &'a [Product] {
        let all = self.parcel.order.products.as_slice();
        if all.len() > MOST_PRODUCTS {
            self.note("products", "cut_to_200");
        }
        &all[..all.len().min(MOST_PRODUCTS)]
    }

    /// Ids of the products.
    pub(super) fn product_ids(&self) -> Vec<&'a str> {
        let all = self.parcel.order.products.iter();
        all.take(MOST_PRODUCTS)
            .map(|product| product.id.as_str())
            .collect()
    }

    /// How many things were bought.
    pub(super) fn item_count(&self) -> Option<u64> {
        let all = &self.parcel.order.products;
        (!all.is_empty()).then(|| all.iter().map(|product| u64::from(product.quantity)).sum())
    }

    /// The event, without what is empty.
    pub(super) fn finish(self, json: Value) -> Result<Event, Unsendable> {
        let json = pruned(json).unwrap_or_else(|| json!({})).to_string();
        // Some bytes are left to the envelope.
        if json.len() + 4096 > self.limits.bytes {
            return Err(Unsendable::new(
                "too_large",
                "the event is larger than the platform takes",
            ));
        }
        Ok(Event {
            event_id: self.parcel.event_id,
            dedup_id: self.dedup_id,
            topic: self.parcel.topic,
            notes: self.notes,
            json,
        })
    }
}

/// Visible ASCII, of a length that ids have.
fn is_token(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether an address is one of the public internet's.
fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b)))
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_public_internet() {
        for public in ["203.0.113.7", "8.8.8.8", "2001:db8::1"] {
            assert!(is_public(&public.parse().unwrap()), "{public}");
        }
        for private in [
            "10.0.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "100.64.0.1",
            "169.254.0.1",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "fd00::1",
        ] {
            assert!(!is_public(&private.parse().unwrap()), "{private}");
        }
    }
}
