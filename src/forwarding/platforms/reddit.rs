//! Reddit Conversions API v3.

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::answer::{indexes_after, words};
use super::body::{envelope, number};
use super::settings::{Fields, WORD};
use super::{
    Answer, Draft, Event, Failure, Limits, NoTrial, Platform, Request, Sending, Spec, Unsendable, Verdict,
};
use crate::domain::identifiers::{Field, Rules, sha256_hex};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "reddit",
    title: "Reddit",
    base_url: "https://ads-api.reddit.com",
    version: "v3",
    token_url: None,
    limits: Limits {
        events: 1000,
        bytes: 1_000_000,
        max_age: Some(TimeDelta::hours(168)),
    },
    rules: Rules::REDDIT,
    limited_use: true,
    click_ids: &["rdt_cid"],
    secrets: &["token"],
    // The address goes as a hash, which anybody can undo who tries all addresses.
    clear: &["ip_address", "user_agent"],
};

/// Events that it knows; every other one is a custom event.
const KNOWN: [&str; 8] = [
    "PAGE_VISIT",
    "VIEW_CONTENT",
    "SEARCH",
    "ADD_TO_CART",
    "ADD_TO_WISHLIST",
    "PURCHASE",
    "LEAD",
    "SIGN_UP",
];

struct Settings {
    pixel_id: String,
    token: SecretString,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let pixel_id = fields.text("pixel_id", &WORD);
    let token = fields.secret("token");
    Some(Settings {
        pixel_id: pixel_id?,
        token: token?,
    })
}

impl Platform for Settings {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn event_name(&self, topic: Topic, custom: Option<&str>) -> Result<String, Unsendable> {
        Ok(match topic {
            Topic::Purchase => "PURCHASE",
            Topic::Lead => "LEAD",
            Topic::Signup => "SIGN_UP",
            Topic::Subscription => "subscribe",
            Topic::Custom => custom.unwrap_or("custom"),
            Topic::Refund => return Err(Unsendable::topic(&SPEC, topic)),
        }
        .to_owned())
    }

    fn rename(&self, _topic: Topic, name: &str) -> Result<String, Unsendable> {
        let known = name.to_ascii_uppercase();
        Ok(match KNOWN.contains(&known.as_str()) {
            true => known,
            false => name.to_owned(),
        })
    }

    fn event(&self, draft: &mut Draft<'_>) -> Result<Value, Unsendable> {
        let click = draft.click("rdt_cid");
        let ip = draft.ip();
        let limited = draft.limited_use().then(|| json!({ "modes": ["LDU"] }));
        let user = json!({
            "email": draft.id(Field::Email),
            "phone_number": draft.id(Field::Phone),
            "external_id": draft.id(Field::ExternalId),
            "ip_address": ip.as_deref().map(sha256_hex),
            "user_agent": draft.user_agent(),
            "uuid": draft.cookie("_rdt_uuid"),
            "data_processing_options": limited,
        });
        let there = |name: &str| !user[name].is_null();
        let known = click.is_some()
            || ["email", "external_id", "uuid"].into_iter().any(there)
            || (there("ip_address") && there("user_agent"));
        if !known {
            return Err(Unsendable::no_identifiers());
        }
        let custom = !KNOWN.contains(&draft.name.as_str());
        // Looking around is worth nothing, and a person has no items.
        let valued = !matches!(draft.name.as_str(), "PAGE_VISIT" | "VIEW_CONTENT" | "SEARCH");
        let counted = valued && !matches!(draft.name.as_str(), "LEAD" | "SIGN_UP");
        let products: Vec<Value> = draft
            .products()
            .iter()
            .map(|product| {
                json!({
                    "id": product.id,
                    "name": product.name,
                    "category": product.category,
                    "quantity": product.quantity,
                    "item_price": product.price.map(number),
                })
            })
            .collect();
        Ok(json!({
            "event_at": draft.at.timestamp_millis(),
            "action_source": "WEBSITE",
            "event_source_url": draft.page(),
            "click_id": click,
            "type": {
                "tracking_type": if custom { "CUSTOM" } else { &draft.name },
                "custom_event_name": custom.then_some(&draft.name),
            },
            "user": user,
            "metadata": {
                "conversion_id": draft.dedup_id,
                "value": valued.then(|| draft.value()),
                "currency": valued.then(|| draft.currency()),
                "item_count": counted.then(|| draft.item_count()),
                "products": products,
            },
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let (base, version) = (sending.endpoint.base(), &sending.endpoint.version);
        let data = envelope("events", events, Value::Null);
        Request::json(
            format!("{base}/api/{version}/pixels/{}/conversion_events", self.pixel_id),
            format!("{{\"data\":{data}}}"),
        )
        .bearer(&self.token)
        // Requests without a name of their own are turned away.
        .header("user-agent", concat!("trustdata/", env!("CARGO_PKG_VERSION")))
    }

    fn trial(&self, sending: &Sending<'_>, event: &Event, code: Option<&str>) -> Result<Request, NoTrial> {
        let code = code.ok_or(NoTrial::NeedsCode)?;
        Ok(self
            .request(sending, std::slice::from_ref(event))
            .with(Some("data"), "test_id", code))
    }

    fn verdict(&self, answer: &Answer<'_>, events: &[Event]) -> Verdict {
        let json = answer.json().unwrap_or_default();
        let message = json["message"].as_str();
        let error = &json["error"];
        let explained = error["explanation"].as_str().or(message).unwrap_or_default();
        match answer.status {
            200..300 | 400
                if json["invalid_events"]
                    .as_array()
                    .is_some_and(|list| !list.is_empty()) =>
            {
                let list = json["invalid_events"].as_array().into_iter().flatten();
                let culprits = list.flat_map(|invalid| culprits(invalid, events)).collect();
                Verdict::refused_for(events.len(), "invalid_events", words(explained), culprits)
            }
            200..300 => match processed(explained) {
                Some(count) if count >= events.len() => Verdict::accepted(None),
                Some(_) => Verdict::incomplete(events.len(), Vec::new()),
                None if explained.contains("None were processed") => {
                    Verdict::refused(events.len(), "invalid_events", words(explained))
                }
                None => Verdict::retry(answer.http_code(), answer.retry_after()),
            },
            401 => Verdict::credentials(answer.http_code(), false),
            // It says "forbidden" to what it cannot read, too.
            403 if explained.contains("JSON error unexpected type") => {
                Verdict::refused(events.len(), "unexpected_type", words(explained))
            }
            _ => answer.by_status(events.len(), words(explained)),
        }
    }
}

/// How many events it says that it processed.
fn processed(message: &str) -> Option<usize> {
    indexes_after(message, "Successfully processed").first().copied()
}

/// The events that an echo is of. Two events of one conversion id differ in their type.
fn culprits(invalid: &Value, events: &[Event]) -> Vec<Failure> {
    let echo = &invalid["event"];
    let id = &echo["metadata"]["conversion_id"];
    let kind = &echo["type"];
    events
        .iter()
        .enumerate()
        .filter(|(_, event)| id == event.dedup_id.as_str())
        .filter(|(_, event)| {
            let sent: Value = serde_json::from_str(event.json()).unwrap_or_default();
            kind.is_null() || sent["type"] == *kind
        })
        .map(|(index, _)| Failure {
            index,
            code: "invalid_event".to_owned(),
            detail: invalid["error_message"].as_str().and_then(words),
            retry: false,
        })
        .collect()
}
