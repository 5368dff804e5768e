//! Google Analytics 4, Measurement Protocol. It answers 2xx to everything: an answer proves that the request came, and no more.

use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::answer::words;
use super::body::{cut, number};
use super::settings::{Fields, Shape};
use super::{Answer, Draft, Event, Limits, NoTrial, Platform, Request, Sending, Spec, Unsendable, Verdict};
use crate::domain::identifiers::{Field, Rules, sha256_hex};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "ga4",
    title: "Google Analytics 4",
    base_url: "https://www.google-analytics.com",
    version: "",
    token_url: None,
    limits: Limits {
        // The visitor is named once a request.
        events: 1,
        bytes: 130_000,
        max_age: Some(TimeDelta::hours(72)),
    },
    rules: Rules::GA4,
    // Ads personalisation is denied.
    limited_use: true,
    click_ids: &["gclid", "gbraid", "wbraid", "dclid"],
    secrets: &["api_secret"],
    clear: &["ip_override", "city", "region", "postal_code", "country"],
};

/// Characters of a parameter's value.
const MOST_VALUE: usize = 100;
/// Characters of an event's name.
const MOST_NAME: usize = 40;
/// Names that are Google's own.
const RESERVED: [&str; 24] = [
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_impression",
    "ad_query",
    "ad_reward",
    "adunit_exposure",
    "app_background",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_update",
    "app_upgrade",
    "error",
    "first_open",
    "first_visit",
    "in_app_purchase",
    "os_update",
    "screen_view",
    "session_start",
    "user_engagement",
    "notification_open",
];
/// Beginnings of names that are Google's own.
const RESERVED_PREFIXES: [&str; 4] = ["ad_", "ga_", "google_", "firebase_"];

const MEASUREMENT: Shape = Shape {
    holds: |text| {
        text.strip_prefix("G-").is_some_and(|id| {
            (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    },
    must: "must be a measurement ID such as G-ABC123",
};

struct Settings {
    measurement_id: String,
    api_secret: SecretString,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let measurement_id = fields.text("measurement_id", &MEASUREMENT);
    let api_secret = fields.secret("api_secret");
    Some(Settings {
        measurement_id: measurement_id?,
        api_secret: api_secret?,
    })
}

impl Platform for Settings {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn event_name(&self, topic: Topic, custom: Option<&str>) -> Result<String, Unsendable> {
        match topic {
            Topic::Purchase => Ok("purchase".to_owned()),
            Topic::Lead => Ok("generate_lead".to_owned()),
            Topic::Signup => Ok("sign_up".to_owned()),
            Topic::Refund => Ok("refund".to_owned()),
            Topic::Subscription => Ok("subscribe".to_owned()),
            Topic::Custom => custom_name(custom.unwrap_or("custom")),
        }
    }

    fn rename(&self, _topic: Topic, name: &str) -> Result<String, Unsendable> {
        custom_name(name)
    }

    fn event(&self, draft: &mut Draft<'_>) -> Result<Value, Unsendable> {
        let client_id = client_id(draft).ok_or_else(Unsendable::no_identifiers)?;
        draft.dedup_id = transaction_id(draft);
        let consent = draft.parcel.consent;
        let word = |granted: bool| if granted { "GRANTED" } else { "DENIED" };
        let personal = match draft.limited_use() {
            true => Some(false),
            false => consent.advertising,
        };
        let short = |text: &Option<String>| text.as_deref().map(|text| cut(text, MOST_VALUE).to_owned());
        let items: Vec<Value> = draft
            .products()
            .iter()
            .map(|product| {
                json!({
                    "item_id": cut(&product.id, MOST_VALUE),
                    "item_name": short(&product.name),
                    "item_brand": short(&product.brand),
                    "item_category": short(&product.category),
                    "item_variant": short(&product.variant),
                    "price": product.price.map(number),
                    "quantity": product.quantity,
                })
            })
            .collect();
        let order = &draft.parcel.order;
        let micros = draft.at.timestamp_micros();
        let user_data = (consent.advertising != Some(false)).then(|| user_data(draft));
        Ok(json!({
            "client_id": client_id,
            "timestamp_micros": micros,
            "ip_override": draft.ip(),
            "consent": {
                "ad_user_data": consent.advertising.map(word),
                "ad_personalization": personal.map(word),
            },
            "user_data": user_data,
            "events": [{
                "name": draft.name,
                "params": {
                    "transaction_id": draft.dedup_id,
                    "value": draft.value(),
                    "currency": draft.currency(),
                    "tax": order.tax.map(number),
                    "shipping": order.shipping.map(number),
                    "coupon": short(&order.discount_code),
                    "lead_source": (draft.parcel.topic == Topic::Lead).then(|| short(&order.lead_type)),
                    "session_id": self.session_id(draft),
                    // Without it the visitor does not count as active.
                    "engagement_time_msec": 1,
                    "items": items,
                },
            }],
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let url = super::request::with_query(
            format!("{}/mp/collect", sending.endpoint.base()),
            &[
                ("measurement_id", self.measurement_id.as_str()),
                ("api_secret", self.api_secret.expose_secret()),
            ],
        );
        // One event is the whole body.
        let body = events.first().map_or("{}", Event::json);
        Request::json(url, body.to_owned())
    }

    fn trial(&self, sending: &Sending<'_>, event: &Event, _code: Option<&str>) -> Result<Request, NoTrial> {
        Ok(self
            .request(sending, std::slice::from_ref(event))
            .to("/mp/collect?", "/debug/mp/collect?"))
    }

    fn trial_verdict(&self, answer: &Answer<'_>, _event: &Event) -> Verdict {
        let json = answer.json().unwrap_or_default();
        match json["validationMessages"].as_array() {
            Some(messages) => match messages.first() {
                None => Verdict::accepted(None),
                Some(first) => {
                    let code = first["validationCode"].as_str().unwrap_or("VALUE_INVALID");
                    let detail = first["description"].as_str().and_then(words);
                    Verdict::refused(1, code, detail)
                }
            },
            None => Verdict::retry(answer.http_code(), answer.retry_after()),
        }
    }

    fn verdict(&self, answer: &Answer<'_>, _events: &[Event]) -> Verdict {
        match answer.is_success() {
            true => Verdict::accepted(None),
            // It refuses nothing: whatever else comes is of the network.
            false => Verdict::retry(answer.http_code(), answer.retry_after()),
        }
    }
}

impl Settings {
    /// The session's id, from the cookie of this very stream: `GS1.1.<id>.…` or `GS2.1.s<id>$…`.
    fn session_id(&self, draft: &mut Draft<'_>) -> Option<String> {
        let stream = self.measurement_id.trim_start_matches("G-");
        let text = draft.cookie_named(&format!("_ga_{stream}"), "_ga_")?;
        let third = text.splitn(3, '.').nth(2)?;
        let digits = third.trim_start_matches('s');
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        match &digits[..end] {
            "" => {
                draft.note("_ga_", "malformed");
                None
            }
            id => Some(id.to_owned()),
        }
    }
}

/// The browser's client id; else one that is the visitor's, or the purchase's, for ever.
fn client_id(draft: &mut Draft<'_>) -> Option<String> {
    if let Some(cookie) = draft.cookie("_ga") {
        let id = cookie.splitn(3, '.').nth(2).unwrap_or_default();
        let sane = id.len() <= 64 && id.split('.').count() == 2 && id.split('.').all(is_digits);
        if sane {
            return Some(id.to_owned());
        }
        draft.note("_ga", "malformed");
    }
    let parcel = draft.parcel;
    let refunded = (parcel.topic == Topic::Refund).then(|| parcel.order_id());
    let seed = parcel.visitor_id.as_deref().or(refunded)?;
    let hash = sha256_hex(seed);
    let part = |range| hash.get(range).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    Some(format!("{}.{}", part(0..8)?, part(8..16)?))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The order's id. One that is longer than a value may be is cut, and ends in a hash: two orders whose ids begin alike stay two.
fn transaction_id(draft: &mut Draft<'_>) -> String {
    let id = draft.parcel.order_id();
    if cut(id, MOST_VALUE) == id {
        return id.to_owned();
    }
    let hash = sha256_hex(id);
    draft.note("conversion_id", "shortened");
    format!("{}-{}", cut(id, MOST_VALUE - 17), cut(&hash, 16))
}

fn user_data(draft: &mut Draft<'_>) -> Value {
    let names = (draft.id(Field::FirstName), draft.id(Field::LastName));
    let place = (draft.id(Field::PostalCode), draft.id(Field::Country));
    // An address is taken whole or not at all: name, country and postal code. The rest may be left out.
    let address = match (names, place) {
        ((Some(first), Some(last)), (Some(postal), Some(country))) => json!([{
            "sha256_first_name": first,
            "sha256_last_name": last,
            "sha256_street": draft.id(Field::Street),
            "city": draft.id(Field::City),
            "region": draft.id(Field::Region),
            "postal_code": postal,
            "country": country,
        }]),
        _ => Value::Null,
    };
    json!({
        "sha256_email_address": draft.ids(Field::Email),
        "sha256_phone_number": draft.ids(Field::Phone),
        "address": address,
    })
}

/// A name of letters, digits and underscores that begins with a letter and is nobody else's.
fn custom_name(name: &str) -> Result<String, Unsendable> {
    let spelled = name.replace(['.', '-'], "_");
    let holds = spelled.len() <= MOST_NAME
        && spelled.starts_with(|c: char| c.is_ascii_alphabetic())
        && spelled
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !holds {
        return Err(Unsendable::name(
            "Google Analytics 4 takes names of at most 40 letters, digits and underscores that begin with a letter",
        ));
    }
    let lower = spelled.to_ascii_lowercase();
    let reserved = RESERVED.contains(&lower.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    if reserved {
        return Err(Unsendable::new(
            "reserved_name",
            "Google Analytics 4 keeps this name to itself",
        ));
    }
    Ok(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("add_to_cart", Ok("add_to_cart")),
            ("quote-sent.v2", Ok("quote_sent_v2")),
            ("2nd_visit", Err("unsupported_name")),
            ("_x", Err("unsupported_name")),
            ("ga_x", Err("reserved_name")),
            ("session_start", Err("reserved_name")),
            (
                "a1234567890123456789012345678901234567890",
                Err("unsupported_name"),
            ),
        ] {
            let named = custom_name(name);
            let named = named.as_deref().map_err(|unsendable| unsendable.code);
            assert_eq!(named, expected, "{name}");
        }
    }
}
