//! LinkedIn Conversions API.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::answer::{indexes_after, unsaid, untold, words};
use super::body::{decimal, envelope};
use super::oauth;
use super::settings::{DIGITS, Fields};
use super::{Answer, Draft, Event, Failure, Limits, Platform, Request, Sending, Spec, Unsendable, Verdict};
use crate::domain::identifiers::{Field, Rules};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "linkedin",
    title: "LinkedIn",
    base_url: "https://api.linkedin.com",
    // Of the header; each lives for about a year.
    version: "202603",
    token_url: Some("https://www.linkedin.com/oauth/v2/accessToken"),
    limits: Limits {
        events: 5000,
        bytes: 1_000_000,
        max_age: Some(TimeDelta::days(90)),
    },
    rules: Rules::LINKEDIN,
    limited_use: false,
    click_ids: &["li_fat_id"],
    secrets: &["access_token", "client_secret", "refresh_token"],
    clear: &["firstName", "lastName", "countryCode"],
};

struct Settings {
    conversion_rules: BTreeMap<Topic, String>,
    token: Token,
}

/// Made by hand, or renewed.
enum Token {
    Fixed(SecretString),
    Renewed(oauth::Client),
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let conversion_rules = fields.by_topic("conversion_rules", &DIGITS);
    let access_token = fields.optional_secret("access_token");
    let oauth = ["client_id", "client_secret", "refresh_token"]
        .into_iter()
        .any(|name| fields.has(name));
    let token = match (fields.has("access_token"), oauth) {
        (true, false) => access_token.map(Token::Fixed),
        (false, true) => oauth::Client::read(fields).map(Token::Renewed),
        (there, _) => {
            // Read all the same, so that they count as known.
            if there {
                let _known = oauth::Client::read(fields);
            }
            fields.fault(
                "access_token",
                if there { "ambiguous" } else { "required" },
                "give either access_token, or client_id, client_secret and refresh_token",
            );
            None
        }
    };
    Some(Settings {
        conversion_rules: conversion_rules?,
        token: token?,
    })
}

impl Platform for Settings {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn event_name(&self, topic: Topic, _custom: Option<&str>) -> Result<String, Unsendable> {
        match (topic, self.conversion_rules.get(&topic)) {
            (Topic::Refund, _) => Err(Unsendable::topic(&SPEC, topic)),
            (_, Some(rule)) => Ok(format!("urn:lla:llaPartnerConversion:{rule}")),
            (_, None) => Err(Unsendable::new(
                "unsupported_topic",
                format!("conversion_rules has no conversion rule for {topic}"),
            )),
        }
    }

    fn event(&self, draft: &mut Draft<'_>) -> Result<Value, Unsendable> {
        let id = |kind: &str, value: String| json!({ "idType": kind, "idValue": value });
        let click = draft.click("li_fat_id").or_else(|| draft.cookie("li_fat_id"));
        let click = click.and_then(|click| draft.checked("li_fat_id", click, is_click));
        let ids: Vec<Value> = [
            draft.id(Field::Email).map(|email| id("SHA256_EMAIL", email)),
            click.map(|click| id("LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID", click.to_owned())),
        ]
        .into_iter()
        .flatten()
        .collect();
        // LinkedIn takes names in clear, and both or none. They go only where nothing else tells who it is.
        let named = ids
            .is_empty()
            .then(|| (draft.id(Field::FirstName), draft.id(Field::LastName)));
        let person = match named {
            Some((Some(first), Some(last))) => Some(json!({
                "firstName": first, "lastName": last, "countryCode": draft.id(Field::Country),
            })),
            _ => None,
        };
        if ids.is_empty() && person.is_none() {
            return Err(Unsendable::no_identifiers());
        }
        Ok(json!({
            "conversion": draft.name,
            "conversionHappenedAt": draft.at.timestamp_millis(),
            "conversionValue": draft.parcel.money.map(|money| json!({
                "currencyCode": money.currency.code(), "amount": decimal(money.amount),
            })),
            "eventId": draft.dedup_id,
            "user": { "userIds": ids, "userInfo": person },
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let request = Request::json(
            format!("{}/rest/conversionEvents", sending.endpoint.base()),
            envelope("elements", events, Value::Null),
        )
        .header("linkedin-version", &sending.endpoint.version)
        .header("x-restli-protocol-version", "2.0.0")
        .header("x-restli-method", "BATCH_CREATE");
        match &self.token {
            Token::Fixed(token) => request.bearer(token),
            Token::Renewed(_) => request.bearer_of(sending.access_token),
        }
    }

    fn verdict(&self, answer: &Answer<'_>, events: &[Event]) -> Verdict {
        let json = answer.json().unwrap_or_default();
        if answer.is_success() {
            let Some(rows) = json["elements"].as_array() else {
                return answer.success_unread(answer.http_code());
            };
            let failures = rows.iter().enumerate();
            let failures = failures.filter_map(|(index, row)| failure_of(index, row));
            let failures = failures.chain(untold(rows.len(), events.len())).collect();
            return Verdict::partly(events.len(), None, failures);
        }
        let message = json["message"].as_str().unwrap_or_default();
        let code = json["code"]
            .as_str()
            .filter(|code| code.len() <= 64)
            .and_then(words)
            .unwrap_or_else(|| answer.http_code());
        match answer.status {
            401 => {
                let renewable = matches!(self.token, Token::Renewed(_)) && code != "REVOKED_ACCESS_TOKEN";
                Verdict::credentials(code, renewable)
            }
            // The version is no longer there.
            426 => Verdict::configuration(code, words(message)),
            400 | 422 => {
                let mut named = indexes_after(message, "Index:");
                named.extend(indexes_after(message, "indices ["));
                let culprits = named.into_iter().map(|index| Failure {
                    index,
                    code: code.clone(),
                    detail: words(line_of(message, index)),
                    retry: false,
                });
                let culprits = culprits.collect();
                Verdict::refused_for(events.len(), code.clone(), words(message), culprits)
            }
            403 | 404 => Verdict::configuration(code, words(message)),
            429 | 500.. => Verdict::retry(code, answer.retry_after()),
            _ => answer.by_status(events.len(), words(message)),
        }
    }

    fn oauth(&self) -> Option<&oauth::Client> {
        match &self.token {
            Token::Fixed(_) => None,
            Token::Renewed(client) => Some(client),
        }
    }
}

/// A click id: an id in the manner of UUIDs.
fn is_click(id: &str) -> bool {
    id.len() <= 128
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What a row of the answer says, unless all is well.
fn failure_of(index: usize, row: &Value) -> Option<Failure> {
    let Some(status) = row["status"].as_u64() else {
        return Some(unsaid(index));
    };
    if (200..300).contains(&status) {
        return None;
    }
    Some(Failure {
        index,
        code: format!("http_{status}"),
        detail: row["error"]["message"]
            .as_str()
            .or(row["message"].as_str())
            .and_then(words),
        retry: status == 429 || status >= 500,
    })
}

/// The line that speaks of one index, or all of them.
fn line_of(message: &str, index: usize) -> &str {
    let mark = format!("Index: {index},");
    message
        .lines()
        .find(|line| line.contains(&mark))
        .unwrap_or(message)
}
