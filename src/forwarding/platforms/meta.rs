//! Meta Conversions API.

use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::answer::{on_all, words};
use super::body::{envelope, number};
use super::settings::{DIGITS, Fields, Shape, WORD};
use super::{Answer, Draft, Event, Limits, NoTrial, Platform, Request, Sending, Spec, Unsendable, Verdict};
use crate::domain::identifiers::{Field, Rules};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "meta",
    title: "Meta",
    base_url: "https://graph.facebook.com",
    version: "v26.0",
    token_url: None,
    limits: Limits {
        events: 1000,
        bytes: 1_000_000,
        // One older event and the whole request is refused.
        max_age: Some(TimeDelta::days(7)),
    },
    rules: Rules::META,
    limited_use: true,
    click_ids: &["fbclid"],
    secrets: &["access_token"],
    clear: &["client_ip_address", "client_user_agent"],
};

/// Meta's number of California, whose rules are the strictest.
const CALIFORNIA: u32 = 1000;

const STATE: Shape = Shape {
    holds: |text| (1..=5).contains(&text.len()) && (DIGITS.holds)(text),
    must: "must be Meta's number of a state of the US, such as 1000 for California",
};

struct Settings {
    pixel_id: String,
    access_token: SecretString,
    test_event_code: Option<String>,
    ldu_state: Option<u32>,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let pixel_id = fields.text("pixel_id", &DIGITS);
    let access_token = fields.secret("access_token");
    let test_event_code = fields.optional_text("test_event_code", &WORD);
    let ldu_state = fields.optional_text("ldu_state", &STATE);
    Some(Settings {
        pixel_id: pixel_id?,
        access_token: access_token?,
        test_event_code,
        ldu_state: ldu_state.and_then(|state| state.parse().ok()),
    })
}

impl Platform for Settings {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn event_name(&self, topic: Topic, custom: Option<&str>) -> Result<String, Unsendable> {
        Ok(match topic {
            Topic::Purchase => "Purchase",
            Topic::Lead => "Lead",
            Topic::Signup => "CompleteRegistration",
            Topic::Subscription => "Subscribe",
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
            "em": draft.ids(Field::Email),
            "ph": draft.ids(Field::Phone),
            "fn": draft.ids(Field::FirstName),
            "ln": draft.ids(Field::LastName),
            "ct": draft.ids(Field::City),
            "st": draft.ids(Field::Region),
            "zp": draft.ids(Field::PostalCode),
            "country": draft.ids(Field::Country),
            "external_id": draft.ids(Field::ExternalId),
            "fbc": fbc(draft),
            "fbp": fbp(draft),
            "client_ip_address": draft.ip(),
            "client_user_agent": draft.user_agent(),
        });
        let there = |name: &str| !user[name].is_null();
        // A place, a name or a browser alone is refused.
        let known = ["em", "ph", "external_id", "fbc", "fbp"].into_iter().any(there)
            || (there("client_ip_address") && there("client_user_agent"))
            || (there("fn") && there("ln") && (there("ct") || there("zp")));
        if !known {
            return Err(Unsendable::no_identifiers());
        }
        let website = draft.page().is_some() && draft.user_agent().is_some();
        let contents: Vec<Value> = draft
            .products()
            .iter()
            .map(|product| {
                json!({
                    "id": product.id,
                    "quantity": product.quantity,
                    "item_price": product.price.map(number),
                    "title": product.name,
                    "brand": product.brand,
                    "category": product.category,
                })
            })
            .collect();
        let limited = draft.limited_use();
        let (country, state) = match (self.ldu_state, there("client_ip_address")) {
            (Some(state), _) => (1, state),
            // Zero and zero: Meta finds out the state by the address, if it has one.
            (None, true) => (0, 0),
            (None, false) => (1, CALIFORNIA),
        };
        Ok(json!({
            "event_name": draft.name,
            "event_time": draft.at.timestamp(),
            "event_id": draft.dedup_id,
            // `website` needs the browser and the page.
            "action_source": if website { "website" } else { "system_generated" },
            "event_source_url": draft.page(),
            "referrer_url": draft.referrer(),
            "data_processing_options": limited.then_some(["LDU"]),
            "data_processing_options_country": limited.then_some(country),
            "data_processing_options_state": limited.then_some(state),
            "user_data": user,
            "custom_data": {
                "value": draft.value(),
                "currency": draft.currency(),
                "order_id": draft.order_id(),
                "content_type": (!contents.is_empty()).then_some("product"),
                "content_ids": draft.product_ids(),
                "num_items": draft.item_count(),
                "contents": contents,
            },
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let (base, version) = (sending.endpoint.base(), &sending.endpoint.version);
        // The token goes into the body: proxies and servers log URLs.
        let rest = json!({
            "test_event_code": self.test_event_code,
            "access_token": self.access_token.expose_secret(),
        });
        Request::json(
            format!("{base}/{version}/{}/events", self.pixel_id),
            envelope("data", events, rest),
        )
    }

    fn trial(&self, sending: &Sending<'_>, event: &Event, code: Option<&str>) -> Result<Request, NoTrial> {
        // Without the code it would be counted.
        let code = code
            .or(self.test_event_code.as_deref())
            .ok_or(NoTrial::NeedsCode)?;
        Ok(self
            .request(sending, std::slice::from_ref(event))
            .with(None, "test_event_code", code))
    }

    fn verdict(&self, answer: &Answer<'_>, events: &[Event]) -> Verdict {
        let Some(json) = answer.json() else {
            // A page of the edge's.
            return Verdict::retry(answer.http_code(), answer.retry_after());
        };
        let error = &json["error"];
        let Some(code) = error["code"].as_i64() else {
            return match json["events_received"].as_u64().filter(|_| answer.is_success()) {
                Some(received) if received >= events.len() as u64 => {
                    let messages = json["messages"].as_array().into_iter().flatten();
                    let said: Vec<&str> = messages.filter_map(Value::as_str).collect();
                    Verdict::accepted(json["fbtrace_id"].as_str())
                        .remarking(on_all(events.len(), words(&said.join(" "))))
                }
                Some(_) => Verdict::incomplete(events.len(), Vec::new()),
                None => Verdict::retry(answer.http_code(), answer.retry_after()),
            };
        };
        let subcode = error["error_subcode"].as_i64();
        let text = match subcode {
            Some(subcode) => format!("{code}/{subcode}"),
            None => code.to_string(),
        };
        let detail = || {
            error["error_user_msg"]
                .as_str()
                .or(error["message"].as_str())
                .and_then(words)
        };
        if error["is_transient"] == true {
            return Verdict::retry(text, answer.retry_after());
        }
        match (code, subcode) {
            (102 | 190, _) => Verdict::credentials(text, false),
            (3 | 10 | 200..=293 | 295..=299, _) | (100, Some(33)) => Verdict::configuration(text, detail()),
            (100 | 105 | 294 | 2650 | 2655, _) => Verdict::refused(events.len(), text, detail()),
            // Faults that pass, and limits of app, user, page or account.
            (1 | 2 | 4 | 17 | 32 | 341 | 368 | 613 | 5000 | 21009 | 80000..=80014, _) => {
                Verdict::retry(text, answer.retry_after())
            }
            _ if answer.status >= 500 => Verdict::retry(text, answer.retry_after()),
            _ => Verdict::unclear(text, answer.retry_after()),
        }
    }
}

/// The click: the browser's own cookie where it is of the newest click, or made of the click and its time. Anybody can write an `fbclid` into a
/// link: one that does not make the form is left out.
fn fbc(draft: &mut Draft<'_>) -> Option<String> {
    let cookie = cookie(draft, "_fbc");
    let value = draft.click("fbclid");
    let Some(click) = draft.parcel.session.click("fbclid").filter(|_| value.is_some()) else {
        return cookie;
    };
    let made = format!("fb.1.{}.{}", click.at.timestamp_millis(), click.value);
    let Some(made) = draft.checked("fbclid", made, |made| payload(made) == Some(&click.value)) else {
        return cookie;
    };
    match cookie {
        Some(cookie) if payload(&cookie) == Some(&click.value) => Some(cookie),
        _ => Some(made),
    }
}

fn fbp(draft: &mut Draft<'_>) -> Option<String> {
    cookie(draft, "_fbp")
}

/// A cookie of Meta's, where it has their form; case matters, so it travels as it is.
fn cookie(draft: &mut Draft<'_>, name: &'static str) -> Option<String> {
    let text = draft.cookie(name)?;
    let text = draft.checked(name, text, |text| payload(text).is_some())?;
    Some(text.to_owned())
}

/// The fourth part of `fb.1.1700000000000.payload`, of four parts or five.
fn payload(cookie: &str) -> Option<&str> {
    let parts: Vec<&str> = cookie.split('.').collect();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (payload, mark) = match parts.as_slice() {
        ["fb", index, made, payload] if digits(index) && digits(made) => (payload, None),
        ["fb", index, made, payload, mark] if digits(index) && digits(made) => (payload, Some(mark)),
        _ => return None,
    };
    let marked = mark.is_none_or(|mark| match mark.len() {
        2 => ["AQ", "Ag", "Aw", "BA", "BQ", "Bg"].contains(mark),
        8 => mark
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'),
        _ => false,
    });
    (!payload.is_empty() && marked).then_some(*payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies() {
        for (cookie, expected) in [
            ("fb.1.1700000000000.AbC", Some("AbC")),
            ("fb.2.1700000000000.AbC.Bg", Some("AbC")),
            ("fb.1.1700000000000.AbC.AQYBAQIA", Some("AbC")),
            ("fb.1.1700000000000.AbC.xx", None),
            ("fb.1.1700000000000.", None),
            ("fb.x.1700000000000.AbC", None),
            ("fb.1.AbC", None),
            ("FB.1.1700000000000.AbC", None),
        ] {
            assert_eq!(payload(cookie), expected, "{cookie}");
        }
    }
}
