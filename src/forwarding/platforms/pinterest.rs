//! Pinterest API for Conversions v5.

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::answer::{Remark, unsaid, untold, words};
use super::body::{decimal, envelope};
use super::settings::{DIGITS, Fields};
use super::{
    Answer, Draft, Event, Failure, Limits, NoTrial, Platform, Request, Sending, Spec, Unsendable, Verdict,
};
use crate::domain::identifiers::{Field, Rules};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "pinterest",
    title: "Pinterest",
    base_url: "https://api.pinterest.com",
    version: "v5",
    token_url: None,
    limits: Limits {
        events: 1000,
        bytes: 1_000_000,
        max_age: Some(TimeDelta::days(7)),
    },
    rules: Rules::PINTEREST,
    limited_use: true,
    click_ids: &["epik"],
    secrets: &["token"],
    clear: &["client_ip_address", "client_user_agent"],
};

/// Events that it knows.
const NAMES: [&str; 22] = [
    "add_payment_info",
    "add_to_cart",
    "add_to_wishlist",
    "app_install",
    "app_open",
    "checkout",
    "contact",
    "custom",
    "customize_product",
    "find_location",
    "initiate_checkout",
    "lead",
    "page_visit",
    "schedule",
    "search",
    "signup",
    "start_trial",
    "submit_application",
    "subscribe",
    "view_category",
    "view_content",
    "watch_video",
];

struct Settings {
    ad_account_id: String,
    token: SecretString,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let ad_account_id = fields.text("ad_account_id", &DIGITS);
    let token = fields.secret("token");
    Some(Settings {
        ad_account_id: ad_account_id?,
        token: token?,
    })
}

impl Platform for Settings {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn event_name(&self, topic: Topic, _custom: Option<&str>) -> Result<String, Unsendable> {
        Ok(match topic {
            Topic::Purchase => "checkout",
            Topic::Lead => "lead",
            Topic::Signup => "signup",
            Topic::Subscription => "subscribe",
            Topic::Custom => "custom",
            Topic::Refund => return Err(Unsendable::topic(&SPEC, topic)),
        }
        .to_owned())
    }

    fn rename(&self, _topic: Topic, name: &str) -> Result<String, Unsendable> {
        let name = name.to_ascii_lowercase();
        match NAMES.contains(&name.as_str()) {
            true => Ok(name),
            false => Err(Unsendable::name(format!(
                "Pinterest's events are {}",
                NAMES.join(", ")
            ))),
        }
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
            "click_id": draft.click("epik").or_else(|| draft.cookie("_epik")),
            "client_ip_address": draft.ip(),
            "client_user_agent": draft.user_agent(),
        });
        let there = |name: &str| !user[name].is_null();
        if !(there("em") || (there("client_ip_address") && there("client_user_agent"))) {
            return Err(Unsendable::no_identifiers());
        }
        let limited = draft.limited_use();
        let contents: Vec<Value> = draft
            .products()
            .iter()
            .map(|product| {
                json!({
                    "id": product.id,
                    "item_price": product.price.map(decimal),
                    "quantity": product.quantity,
                    "item_name": product.name,
                    "item_category": product.category,
                    "item_brand": product.brand,
                })
            })
            .collect();
        Ok(json!({
            "event_name": draft.name,
            "action_source": "web",
            "event_time": draft.at.timestamp(),
            "event_id": draft.dedup_id,
            "event_source_url": draft.page(),
            "opt_out": limited.then_some(true),
            "user_data": user,
            "custom_data": {
                "value": draft.parcel.money.map(|money| decimal(money.amount)),
                "currency": draft.currency(),
                "order_id": draft.order_id(),
                "num_items": draft.item_count(),
                "content_ids": draft.product_ids(),
                "contents": contents,
                "opt_out_type": limited.then_some("LDP"),
            },
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let (base, version) = (sending.endpoint.base(), &sending.endpoint.version);
        Request::json(
            format!("{base}/{version}/ad_accounts/{}/events", self.ad_account_id),
            envelope("data", events, Value::Null),
        )
        .bearer(&self.token)
    }

    fn trial(&self, sending: &Sending<'_>, event: &Event, _code: Option<&str>) -> Result<Request, NoTrial> {
        Ok(self
            .request(sending, std::slice::from_ref(event))
            .to("/events", "/events?test=true"))
    }

    fn verdict(&self, answer: &Answer<'_>, events: &[Event]) -> Verdict {
        let json = answer.json().unwrap_or_default();
        let code = json["code"]
            .as_i64()
            .map_or_else(|| answer.http_code(), |code| code.to_string());
        let detail = json["message"].as_str().and_then(words);
        match answer.status {
            // Some were processed, and which: the same in both.
            200..300 | 422 => match (json["events"].as_array()).or(json["details"]["events"].as_array()) {
                Some(rows) => {
                    let failures = failures(rows, &code).chain(untold(rows.len(), events.len()));
                    Verdict::partly(events.len(), None, failures.collect()).remarking(warnings(rows))
                }
                None if answer.is_success() => answer.success_unread(code),
                None => Verdict::refused(events.len(), code, detail),
            },
            401 => Verdict::credentials(code, false),
            403 | 404 => Verdict::configuration(code, detail),
            429 | 500.. => Verdict::retry(code, answer.retry_after()),
            400 => Verdict::refused(events.len(), code, detail),
            _ => answer.by_status(events.len(), detail),
        }
    }
}

fn failures(rows: &[Value], code: &str) -> impl Iterator<Item = Failure> {
    rows.iter()
        .enumerate()
        .filter_map(move |(index, row)| match row["status"].as_str() {
            Some("processed") => None,
            Some("failed") => Some(Failure {
                index,
                code: match code {
                    "http_200" => "failed".to_owned(),
                    code => code.to_owned(),
                },
                detail: row["error_message"].as_str().and_then(words),
                retry: false,
            }),
            _ => Some(unsaid(index)),
        })
}

fn warnings(rows: &[Value]) -> impl Iterator<Item = Remark> {
    let rows = rows.iter().enumerate();
    rows.filter(|(_, row)| row["status"] == "processed")
        .filter_map(|(index, row)| {
            let text = row["warning_message"].as_str().and_then(words)?;
            Some(Remark { index, text })
        })
}
