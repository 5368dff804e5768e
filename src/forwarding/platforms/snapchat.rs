//! Snapchat Conversions API v3.

use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::answer::words;
use super::body::{envelope, number};
use super::settings::{Fields, Shape, WORD};
use super::{
    Answer, Draft, Event, Failure, Limits, NoTrial, Platform, Request, Sending, Spec, Unsendable, Verdict,
};
use crate::domain::identifiers::{Field, Rules};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "snapchat",
    title: "Snapchat",
    base_url: "https://tr.snapchat.com",
    version: "v3",
    token_url: None,
    limits: Limits {
        events: 2000,
        bytes: 1_000_000,
        max_age: Some(TimeDelta::days(37)),
    },
    rules: Rules::SNAPCHAT,
    limited_use: true,
    click_ids: &["ScCid"],
    secrets: &["token"],
    clear: &["client_ip_address", "client_user_agent"],
};

/// Events that it knows.
const NAMES: [&str; 31] = [
    "PURCHASE",
    "SAVE",
    "START_CHECKOUT",
    "ADD_CART",
    "VIEW_CONTENT",
    "ADD_BILLING",
    SIGN_UP,
    "SEARCH",
    "PAGE_VIEW",
    "SUBSCRIBE",
    "AD_CLICK",
    "AD_VIEW",
    "COMPLETE_TUTORIAL",
    "INVITE",
    "LOGIN",
    "SHARE",
    "RESERVE",
    "ACHIEVEMENT_UNLOCKED",
    "ADD_TO_WISHLIST",
    "SPENT_CREDITS",
    "RATE",
    "START_TRIAL",
    "LIST_VIEW",
    "APP_INSTALL",
    "APP_OPEN",
    "LEVEL_COMPLETE",
    "CUSTOM_EVENT_1",
    "CUSTOM_EVENT_2",
    "CUSTOM_EVENT_3",
    "CUSTOM_EVENT_4",
    "CUSTOM_EVENT_5",
];
const SIGN_UP: &str = "SIGN_UP";

/// Snapchat has no event for leads, and numbers where others have custom names.
const LEAD: Shape = Shape {
    holds: |text| text == SIGN_UP || (NUMBERED.holds)(text),
    must: "must be SIGN_UP or CUSTOM_EVENT_1 to CUSTOM_EVENT_5",
};
const NUMBERED: Shape = Shape {
    holds: |text| {
        text.strip_prefix("CUSTOM_EVENT_")
            .is_some_and(|number| matches!(number, "1" | "2" | "3" | "4" | "5"))
    },
    must: "must be CUSTOM_EVENT_1 to CUSTOM_EVENT_5",
};

struct Settings {
    pixel_id: String,
    token: SecretString,
    lead_event: String,
    custom_event: String,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let pixel_id = fields.text("pixel_id", &WORD);
    let token = fields.secret("token");
    let lead_event = fields.optional_text("lead_event", &LEAD);
    let custom_event = fields.optional_text("custom_event", &NUMBERED);
    Some(Settings {
        pixel_id: pixel_id?,
        token: token?,
        lead_event: lead_event.unwrap_or_else(|| SIGN_UP.to_owned()),
        custom_event: custom_event.unwrap_or_else(|| "CUSTOM_EVENT_1".to_owned()),
    })
}

impl Platform for Settings {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn event_name(&self, topic: Topic, _custom: Option<&str>) -> Result<String, Unsendable> {
        Ok(match topic {
            Topic::Purchase => "PURCHASE",
            Topic::Lead => &self.lead_event,
            Topic::Signup => SIGN_UP,
            Topic::Subscription => "SUBSCRIBE",
            Topic::Custom => &self.custom_event,
            Topic::Refund => return Err(Unsendable::topic(&SPEC, topic)),
        }
        .to_owned())
    }

    fn rename(&self, _topic: Topic, name: &str) -> Result<String, Unsendable> {
        let name = name.to_ascii_uppercase();
        match NAMES.contains(&name.as_str()) {
            true => Ok(name),
            false => Err(Unsendable::name(format!(
                "Snapchat's events are {}",
                NAMES.join(", ")
            ))),
        }
    }

    fn event(&self, draft: &mut Draft<'_>) -> Result<Value, Unsendable> {
        let user = json!({
            "em": draft.ids(Field::Email),
            "ph": draft.ids(Field::Phone),
            "fn": draft.id(Field::FirstName),
            "ln": draft.id(Field::LastName),
            "ct": draft.id(Field::City),
            "st": draft.id(Field::Region),
            "zp": draft.id(Field::PostalCode),
            "country": draft.id(Field::Country),
            "external_id": draft.ids(Field::ExternalId),
            "sc_click_id": draft.click("ScCid"),
            "sc_cookie1": draft.cookie("_scid"),
            "client_ip_address": draft.ip(),
            "client_user_agent": draft.user_agent(),
        });
        let there = |name: &str| !user[name].is_null();
        let known = there("em") || there("ph") || (there("client_ip_address") && there("client_user_agent"));
        if !known {
            return Err(Unsendable::no_identifiers());
        }
        let contents: Vec<Value> = draft
            .products()
            .iter()
            .map(|product| {
                json!({
                    "id": product.id,
                    "quantity": product.quantity,
                    "item_price": product.price.map(number),
                    "brand": product.brand,
                })
            })
            .collect();
        // A lead and a sign-up of one id would be copies of each other.
        if draft.parcel.topic == Topic::Lead && draft.name == SIGN_UP {
            draft.dedup_id = format!("lead:{}", draft.dedup_id);
        }
        Ok(json!({
            "event_name": draft.name,
            "event_time": draft.at.timestamp(),
            "event_id": draft.dedup_id,
            "action_source": "WEB",
            "event_source_url": draft.page(),
            "data_processing_options": draft.limited_use().then_some(["LDU"]),
            "user_data": user,
            "custom_data": {
                "value": draft.value(),
                "currency": draft.currency(),
                "order_id": draft.order_id(),
                "num_items": draft.item_count(),
                "content_ids": draft.product_ids(),
                "contents": contents,
            },
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let (base, version) = (sending.endpoint.base(), &sending.endpoint.version);
        let url = super::request::with_query(
            format!("{base}/{version}/{}/events", self.pixel_id),
            &[("access_token", self.token.expose_secret())],
        );
        Request::json(url, envelope("data", events, Value::Null))
    }

    fn trial(&self, sending: &Sending<'_>, event: &Event, _code: Option<&str>) -> Result<Request, NoTrial> {
        Ok(self
            .request(sending, std::slice::from_ref(event))
            .to("/events?", "/events/validate?"))
    }

    fn verdict(&self, answer: &Answer<'_>, events: &[Event]) -> Verdict {
        let json = answer.json().unwrap_or_default();
        let detail = json["errors"]["error_msgs"][0]
            .as_str()
            .or(json["reason"].as_str())
            .and_then(words);
        let code = match &json["errors"]["codes"][0] {
            Value::String(code) => words(code),
            Value::Number(code) => Some(code.to_string()),
            _ => None,
        };
        let code = code.unwrap_or_else(|| answer.http_code());
        let invalid = json["status"] == "INVALID";
        match answer.status {
            401 | 403 => Verdict::credentials(code, false),
            200..300 if json["status"] == "VALID" => Verdict::accepted(None),
            200..300 | 400 | 422 if invalid => {
                let index = json["event"]
                    .as_u64()
                    .and_then(|index| usize::try_from(index).ok());
                let culprits = index.map(|index| Failure {
                    index,
                    code: code.clone(),
                    detail: detail.clone(),
                    retry: false,
                });
                let culprits = culprits.into_iter().collect();
                Verdict::refused_for(events.len(), code.clone(), detail, culprits)
            }
            // Neither taken nor refused: nothing that it is known to say.
            200..300 => Verdict::retry(code, answer.retry_after()),
            _ => answer.by_status(events.len(), detail),
        }
    }
}
