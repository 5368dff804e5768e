//! Microsoft UET Conversions API.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::answer::words;
use super::body::{envelope, number};
use super::settings::{DIGITS, Fields};
use super::{Answer, Draft, Event, Failure, Limits, Platform, Request, Sending, Spec, Unsendable, Verdict};
use crate::domain::identifiers::{Field, Rules};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "microsoft",
    title: "Microsoft Advertising",
    base_url: "https://capi.uet.microsoft.com",
    version: "v1",
    token_url: None,
    limits: Limits {
        events: 1000,
        bytes: 1_000_000,
        max_age: Some(TimeDelta::days(7)),
    },
    rules: Rules::MICROSOFT,
    // Storage for ads is denied.
    limited_use: true,
    click_ids: &["msclkid"],
    secrets: &["token"],
    clear: &["clientIpAddress", "clientUserAgent"],
};

struct Settings {
    tag_id: String,
    token: SecretString,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let tag_id = fields.text("tag_id", &DIGITS);
    let token = fields.secret("token");
    Some(Settings {
        tag_id: tag_id?,
        token: token?,
    })
}

impl Platform for Settings {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn event_name(&self, topic: Topic, custom: Option<&str>) -> Result<String, Unsendable> {
        Ok(match topic {
            Topic::Purchase => "purchase",
            Topic::Lead => "lead",
            Topic::Signup => "signup",
            Topic::Subscription => "subscribe",
            Topic::Custom => custom.unwrap_or("custom"),
            Topic::Refund => return Err(Unsendable::topic(&SPEC, topic)),
        }
        .to_owned())
    }

    fn rename(&self, _topic: Topic, name: &str) -> Result<String, Unsendable> {
        Ok(name.to_owned())
    }

    fn event(&self, draft: &mut Draft<'_>) -> Result<Value, Unsendable> {
        let user = json!({
            // The visitor's id at Microsoft.
            "anonymousId": draft.cookie("_uetvid"),
            "externalId": draft.id(Field::ExternalId),
            "em": draft.id(Field::Email),
            "ph": draft.id(Field::Phone),
            "msclkid": click(draft),
            "clientIpAddress": draft.ip(),
            "clientUserAgent": draft.user_agent(),
        });
        let there = |name: &str| !user[name].is_null();
        let known = ["anonymousId", "externalId", "em", "ph", "msclkid"]
            .into_iter()
            .any(there)
            || (there("clientIpAddress") && there("clientUserAgent"));
        if !known {
            return Err(Unsendable::no_identifiers());
        }
        let consent = match (draft.limited_use(), draft.parcel.consent.advertising) {
            (true, _) | (_, Some(false)) => Some("D"),
            (false, Some(true)) => Some("G"),
            (false, None) => None,
        };
        let items: Vec<Value> = draft
            .products()
            .iter()
            .map(|product| {
                json!({
                    "id": product.id,
                    "name": product.name,
                    "price": product.price.map(number),
                    "quantity": product.quantity,
                })
            })
            .collect();
        let purchase = draft.parcel.topic == Topic::Purchase;
        Ok(json!({
            "eventType": "custom",
            "eventId": draft.dedup_id,
            "eventName": draft.name,
            "eventTime": draft.at.timestamp(),
            "eventSourceUrl": draft.page(),
            "referrerUrl": draft.referrer(),
            "adStorageConsent": consent,
            "userData": user,
            "customData": {
                "value": draft.value(),
                "currency": draft.currency(),
                "transactionId": draft.order_id(),
                "pageType": purchase.then_some("purchase"),
                "ecommTotalValue": purchase.then(|| draft.value()),
                "itemIds": draft.product_ids(),
                "items": items,
            },
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let (base, version) = (sending.endpoint.base(), &sending.endpoint.version);
        // One bad event does not fail the others.
        let rest = json!({ "continueOnValidationError": true });
        Request::json(
            format!("{base}/{version}/{}/events", self.tag_id),
            envelope("data", events, rest),
        )
        .bearer(&self.token)
    }

    fn verdict(&self, answer: &Answer<'_>, events: &[Event]) -> Verdict {
        let json = answer.json().unwrap_or_default();
        let error = &json["error"];
        let detail = || error["message"].as_str().and_then(words);
        let failures: Vec<Failure> = error["details"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|row| row["isWarning"] != true)
            .filter_map(|row| {
                Some(Failure {
                    index: usize::try_from(row["index"].as_u64()?).ok()?,
                    code: code(&row["errorCode"]).unwrap_or_else(|| "invalid".to_owned()),
                    detail: row["errorMessage"].as_str().and_then(words),
                    retry: false,
                })
            })
            .collect();
        let received = json["eventsReceived"].as_u64();
        let some_taken = received.is_some_and(|received| received > 0);
        let named = failures
            .iter()
            .map(|failure| failure.index as u64)
            .collect::<BTreeSet<_>>();
        let told = received.unwrap_or(0) + named.len() as u64;
        match answer.status {
            401 | 403 => Verdict::credentials(answer.http_code(), false),
            // More are missing than it names.
            200..300 | 400 if some_taken && told < events.len() as u64 => {
                Verdict::incomplete(events.len(), failures)
            }
            // Taken but for those that it names.
            200..300 | 400 if some_taken => Verdict::partly(events.len(), json["traceId"].as_str(), failures),
            // It counts what it took: nothing.
            200..300 | 400 if error.is_object() || received == Some(0) => {
                let text = code(&error["code"]).unwrap_or_else(|| answer.http_code());
                Verdict::refused_for(events.len(), text, detail(), failures)
            }
            200..300 => answer.success_unread(answer.http_code()),
            _ => answer.by_status(events.len(), detail()),
        }
    }
}

/// The platform's code, as text.
fn code(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => words(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A click id: 32 hex digits, or a UUID with its dashes.
fn click<'a>(draft: &mut Draft<'a>) -> Option<&'a str> {
    let id = draft.click("msclkid")?;
    draft.checked("msclkid", id, is_click)
}

fn is_click(id: &str) -> bool {
    // Braces and `urn:uuid:` are UUIDs too, but no click ids.
    matches!(id.len(), 32 | 36) && uuid::Uuid::try_parse(id).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn click_ids() {
        let bare = "0123456789abcdef0123456789ABCDEF";
        let dashed = "01234567-89ab-cdef-0123-456789abcdef";
        assert!(is_click(bare) && is_click(dashed));
        for bad in [
            "",
            "x",
            &bare[1..],
            &format!("{{{dashed}}}"),
            &format!("urn:uuid:{dashed}"),
            &format!("{bare}gggg"),
            "0123456789abcdef0123456789abcde-",
        ] {
            assert!(!is_click(bad), "{bad}");
        }
    }
}
