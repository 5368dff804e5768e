//! TikTok Events API 2.0. It answers 200 whatever happened: its `code` decides.

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::answer::{indexes_after, on_all, words};
use super::body::{envelope, number};
use super::settings::{Fields, Shape, WORD};
use super::{
    Answer, Draft, Event, Failure, Limits, NoTrial, Platform, Request, Sending, Spec, Unsendable, Verdict,
};
use crate::domain::identifiers::{Field, Rules};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "tiktok",
    title: "TikTok",
    base_url: "https://business-api.tiktok.com",
    version: "v1.3",
    token_url: None,
    limits: Limits {
        events: 1000,
        bytes: 1_000_000,
        // Some of its pages say 7 days, others 28: the shorter one is never wrong, and the setting max_age_days says otherwise.
        max_age: Some(TimeDelta::days(7)),
    },
    rules: Rules::TIKTOK,
    limited_use: true,
    click_ids: &["ttclid"],
    secrets: &["access_token"],
    clear: &["ip", "user_agent", "city", "state", "country"],
};

const AGE: Shape = Shape {
    holds: |text| text.parse::<u8>().is_ok_and(|days| (1..=28).contains(&days)),
    must: "must be a number of days from 1 to 28",
};

const URL: Shape = Shape {
    holds: |text| {
        text.len() <= 2048 && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    },
    must: "must be an http or https URL",
};

struct Settings {
    pixel_code: String,
    access_token: SecretString,
    page_url: Option<String>,
    max_age: Option<TimeDelta>,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let pixel_code = fields.text("pixel_code", &WORD);
    let access_token = fields.secret("access_token");
    // A web event without a page is refused; this one stands in where the visit is not known.
    let page_url = fields.optional_text("page_url", &URL);
    let max_age_days = fields.optional_text("max_age_days", &AGE);
    Some(Settings {
        pixel_code: pixel_code?,
        access_token: access_token?,
        page_url,
        max_age: max_age_days.and_then(|days| TimeDelta::try_days(days.parse().ok()?)),
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

    fn max_age(&self) -> Option<TimeDelta> {
        self.max_age.or(SPEC.limits.max_age)
    }

    fn event(&self, draft: &mut Draft<'_>) -> Result<Value, Unsendable> {
        let Some(page) = draft.page().or(self.page_url.as_deref()) else {
            return Err(Unsendable::new(
                "no_page",
                "TikTok wants the page's URL, and the visit is not known; the setting page_url can stand in for it",
            ));
        };
        let user = json!({
            "email": draft.id(Field::Email),
            "phone": draft.id(Field::Phone),
            "external_id": draft.id(Field::ExternalId),
            "first_name": draft.id(Field::FirstName),
            "last_name": draft.id(Field::LastName),
            "zip_code": draft.id(Field::PostalCode),
            "city": draft.id(Field::City),
            "state": draft.id(Field::Region),
            "country": draft.id(Field::Country),
            "ip": draft.ip(),
            "user_agent": draft.user_agent(),
            "ttclid": draft.click("ttclid"),
            "ttp": draft.cookie("_ttp"),
        });
        let there = |name: &str| !user[name].is_null();
        let known = ["email", "phone", "external_id", "ttclid", "ttp"]
            .into_iter()
            .any(there)
            || (there("ip") && there("user_agent"));
        if !known {
            return Err(Unsendable::no_identifiers());
        }
        let contents: Vec<Value> = draft
            .products()
            .iter()
            .map(|product| {
                json!({
                    "content_id": product.id,
                    "content_type": "product",
                    "content_name": product.name,
                    "content_category": product.category,
                    "brand": product.brand,
                    "price": product.price.map(number),
                    "quantity": product.quantity,
                })
            })
            .collect();
        Ok(json!({
            "event": draft.name,
            "event_time": draft.at.timestamp(),
            "event_id": draft.dedup_id,
            "user": user,
            "page": { "url": page, "referrer": draft.referrer() },
            "properties": {
                "value": draft.value(),
                "currency": draft.currency(),
                "order_id": draft.order_id(),
                "content_type": (!contents.is_empty()).then_some("product"),
                "num_items": draft.item_count(),
                "contents": contents,
            },
            "limited_data_use": draft.limited_use().then_some(true),
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let (base, version) = (sending.endpoint.base(), &sending.endpoint.version);
        let rest = json!({ "event_source": "web", "event_source_id": self.pixel_code });
        Request::json(
            format!("{base}/open_api/{version}/event/track/"),
            envelope("data", events, rest),
        )
        .secret("access-token", &self.access_token)
    }

    fn trial(&self, sending: &Sending<'_>, event: &Event, code: Option<&str>) -> Result<Request, NoTrial> {
        let code = code.ok_or(NoTrial::NeedsCode)?;
        Ok(self
            .request(sending, std::slice::from_ref(event))
            .with(None, "test_event_code", code))
    }

    fn verdict(&self, answer: &Answer<'_>, events: &[Event]) -> Verdict {
        let json = answer.json().unwrap_or_default();
        let Some(code) = json["code"].as_i64() else {
            // A page of the edge's, or nothing at all: no success without a code.
            return Verdict::retry(answer.http_code(), answer.retry_after());
        };
        let text = code.to_string();
        let message = json["message"].as_str().unwrap_or_default();
        match code {
            0 => Verdict::accepted(json["request_id"].as_str()),
            // Taken in part, and which part it does not say.
            20001 => {
                let said = words(&format!("{code} {message}"));
                Verdict::accepted(json["request_id"].as_str()).remarking(on_all(events.len(), said))
            }
            40001 | 40007 => Verdict::configuration(text, words(message)),
            40102 | 40104 | 40105 => Verdict::credentials(text, false),
            40002 => {
                let culprits = indexes_after(message, "Batch.").into_iter().map(|index| Failure {
                    index,
                    code: text.clone(),
                    detail: words(message),
                    retry: false,
                });
                let culprits = culprits.collect();
                Verdict::refused_for(events.len(), text.clone(), words(message), culprits)
            }
            40000 => Verdict::refused(events.len(), text, words(message)),
            // Too many requests, or a fault of the system's.
            40100..40200 | 50000..52000 => Verdict::retry(text, answer.retry_after()),
            _ if answer.status >= 500 => Verdict::retry(text, answer.retry_after()),
            _ => Verdict::unclear(text, answer.retry_after()),
        }
    }
}
