//! Google Data Manager API: `events:ingest`, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::answer::{indexes_after, words};
use super::body::{envelope, number, rfc3339};
use super::oauth;
use super::settings::{DIGITS, Fields, Shape};
use super::{
    Answer, Count, Draft, Event, Failure, Fate, Later, Limits, NoTrial, Platform, Request, Sending, Spec,
    Unsendable, Verdict, Whole,
};
use crate::domain::identifiers::{Field, Rules};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "google_data_manager",
    title: "Google Data Manager",
    base_url: "https://datamanager.googleapis.com",
    version: "v1",
    token_url: Some("https://oauth2.googleapis.com/token"),
    limits: Limits {
        events: 2000,
        bytes: 1_000_000,
        // The longest click-through window of a conversion action.
        max_age: Some(TimeDelta::days(90)),
    },
    rules: Rules::GOOGLE,
    // Ads personalisation is denied.
    limited_use: true,
    click_ids: &["gclid", "gbraid", "wbraid", "dclid"],
    secrets: &["client_secret", "refresh_token"],
    clear: &["userAgent", "regionCode", "postalCode"],
};

/// How long a new conversion action takes to be known everywhere.
const NEW_ACTION: TimeDelta = TimeDelta::hours(6);

/// After how long a click that is not known will not be.
const CLICK_IS_KNOWN: TimeDelta = TimeDelta::hours(24);

/// As people copy it from the page: with dashes.
const ACCOUNT: Shape = Shape {
    holds: |text| (DIGITS.holds)(&text.replace('-', "")),
    must: "must be made of digits, such as 1234567890",
};

struct Settings {
    operating_account_id: String,
    login_account_id: Option<String>,
    conversion_actions: BTreeMap<Topic, String>,
    client: oauth::Client,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let undashed = |id: String| id.replace('-', "");
    let operating_account_id = fields.text("operating_account_id", &ACCOUNT).map(undashed);
    let login_account_id = fields.optional_text("login_account_id", &ACCOUNT).map(undashed);
    let conversion_actions = fields.by_topic("conversion_actions", &DIGITS);
    let client = oauth::Client::read(fields);
    Some(Settings {
        operating_account_id: operating_account_id?,
        login_account_id,
        conversion_actions: conversion_actions?,
        client: client?,
    })
}

/// The topic whose conversion action takes this one: a refund changes what its purchase made.
fn action_topic(topic: Topic) -> Topic {
    match topic {
        Topic::Refund => Topic::Purchase,
        other => other,
    }
}

impl Platform for Settings {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn event_name(&self, topic: Topic, _custom: Option<&str>) -> Result<String, Unsendable> {
        let action = action_topic(topic);
        if !self.conversion_actions.contains_key(&action) {
            return Err(Unsendable::new(
                "unsupported_topic",
                format!("conversion_actions has no conversion action for {action}"),
            ));
        }
        Ok(action.as_str().to_owned())
    }

    fn event(&self, draft: &mut Draft<'_>) -> Result<Value, Unsendable> {
        let adjustment = draft.parcel.refund.as_ref().and_then(|refund| refund.adjustment);
        if draft.parcel.topic == Topic::Refund && adjustment.is_none() {
            // An id that matches nothing would count as a new conversion.
            return Err(Unsendable::new(
                "unknown_purchase",
                "the purchase that is refunded is not known here",
            ));
        }
        let back = draft.parcel.money.map(|money| money.currency);
        if let (Some(adjustment), Some(back)) = (adjustment, back)
            && adjustment.remaining.currency != back
        {
            return Err(Unsendable::new(
                "other_currency",
                "the refund is in another currency than its purchase: what is left of it is not known",
            ));
        }
        // One of them, the newest: `gbraid` and `wbraid` together are refused. A landing that has several tells most by its `gclid`.
        let click = ["wbraid", "gbraid", "gclid"]
            .into_iter()
            .filter_map(|name| draft.parcel.session.click(name))
            .max_by_key(|click| click.at)
            .map(|click| BTreeMap::from([(click.name.as_str(), click.value.as_str())]));
        let mut identifiers: Vec<Value> = Vec::new();
        if let Some(email) = draft.id(Field::Email) {
            identifiers.push(json!({ "emailAddress": email }));
        }
        if let Some(phone) = draft.id(Field::Phone) {
            identifiers.push(json!({ "phoneNumber": phone }));
        }
        // An address is taken whole or not at all.
        if let (Some(given), Some(family), Some(region), Some(postal)) = (
            draft.id(Field::FirstName),
            draft.id(Field::LastName),
            draft.id(Field::Country),
            draft.id(Field::PostalCode),
        ) {
            identifiers.push(json!({ "address": {
                "givenName": given, "familyName": family, "regionCode": region, "postalCode": postal,
            }}));
        }
        if click.is_none() && identifiers.is_empty() {
            return Err(Unsendable::no_identifiers());
        }
        let consent = draft.parcel.consent;
        let word = |granted: bool| {
            if granted {
                "CONSENT_GRANTED"
            } else {
                "CONSENT_DENIED"
            }
        };
        // Absent is unknown: a grant is never made up.
        let personal = match draft.limited_use() {
            true => Some(false),
            false => consent.advertising,
        };
        draft.dedup_id = draft.parcel.order_id().to_owned();
        // The value of the last request stands: a purchase that is sent again after its refund must not undo it.
        let value = adjustment
            .map(|adjustment| adjustment.remaining)
            .or(draft.parcel.after_refunds)
            .or(draft.parcel.money);
        Ok(json!({
            "destinationReferences": [draft.name],
            "transactionId": draft.dedup_id,
            "eventTimestamp": rfc3339(adjustment.map_or(draft.at, |adjustment| adjustment.purchase_time)),
            "lastUpdatedTimestamp": adjustment.map(|_| rfc3339(draft.at)),
            "eventSource": "WEB",
            "adIdentifiers": click,
            "userData": { "userIdentifiers": identifiers },
            "conversionValue": value.map(|money| number(money.amount)),
            "currency": value.map(|money| money.currency.code()),
            "consent": {
                "adUserData": consent.advertising.map(word),
                "adPersonalization": personal.map(word),
            },
            // No address: Google does not want that of visitors from Europe, and where they are from is not known.
            "eventDeviceInfo": { "userAgent": draft.user_agent() },
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let (base, version) = (sending.endpoint.base(), &sending.endpoint.version);
        let account = |id: &str| json!({ "accountType": "GOOGLE_ADS", "accountId": id });
        let topics: BTreeSet<Topic> = events.iter().map(|event| action_topic(event.topic)).collect();
        let destinations: Vec<Value> = topics
            .into_iter()
            .map(|topic| {
                json!({
                    "reference": topic.as_str(),
                    "operatingAccount": account(&self.operating_account_id),
                    "loginAccount": self.login_account_id.as_deref().map(account),
                    "productDestinationId": self.conversion_actions.get(&topic),
                })
            })
            .collect();
        Request::json(
            format!("{base}/{version}/events:ingest"),
            envelope(
                "events",
                events,
                json!({ "destinations": destinations, "encoding": "HEX" }),
            ),
        )
        .bearer_of(sending.access_token)
    }

    fn trial(&self, sending: &Sending<'_>, event: &Event, _code: Option<&str>) -> Result<Request, NoTrial> {
        Ok(self
            .request(sending, std::slice::from_ref(event))
            .with(None, "validateOnly", true))
    }

    fn verdict(&self, answer: &Answer<'_>, events: &[Event]) -> Verdict {
        let json = answer.json();
        if answer.is_success() {
            let request_id = json.as_ref().and_then(|json| json["requestId"].as_str());
            return Verdict::Accepted {
                request_id: request_id.map(str::to_owned),
                later: request_id.map(str::to_owned),
                failures: Vec::new(),
                remarks: Vec::new(),
            };
        }
        let Some(error) = json
            .as_ref()
            .map(|json| &json["error"])
            .filter(|error| error.is_object())
        else {
            return match answer.status {
                401 => Verdict::credentials(answer.http_code(), true),
                _ => answer.by_status(events.len(), None),
            };
        };
        let refusal = Refusal::read(error);
        let code = refusal.code(answer);
        let has = |reasons: &[&str]| {
            refusal
                .reasons
                .iter()
                .any(|reason| reasons.contains(&reason.as_str()))
        };
        match answer.status {
            401 => return Verdict::credentials(code, true),
            429 | 500.. => return Verdict::retry(code, answer.retry_after()),
            // Whatever the status: the rest of the event may go.
            _ if refusal.reasons.iter().any(|reason| is_about_user_data(reason)) => {
                return Verdict::UserDataRefused { code };
            }
            403 if has(&["ACCESS_TOKEN_SCOPE_INSUFFICIENT"]) => return Verdict::credentials(code, false),
            403 => return Verdict::configuration(code, refusal.detail),
            _ => {}
        }
        if has(&["CONVERSION_ACTION_TOO_RECENTLY_CREATED"]) {
            return Verdict::NotYet {
                code,
                after: NEW_ACTION,
            };
        }
        if has(&CONFIGURATION) || answer.status == 404 {
            return Verdict::configuration(code, refusal.detail);
        }
        Verdict::refused_for(events.len(), code, refusal.detail, refusal.culprits)
    }

    fn restates(&self) -> bool {
        true
    }

    fn oauth(&self) -> Option<&oauth::Client> {
        Some(&self.client)
    }

    fn later_request(&self, sending: &Sending<'_>, token: &str) -> Option<Request> {
        let (base, version) = (sending.endpoint.base(), &sending.endpoint.version);
        let url = super::request::with_query(
            format!("{base}/{version}/requestStatus:retrieve"),
            &[("requestId", token)],
        );
        Some(Request::get(url).bearer_of(sending.access_token))
    }

    fn later(&self, answer: &Answer<'_>) -> Later {
        let json = answer.json().unwrap_or_default();
        if answer.is_success() {
            return match json["requestStatusPerDestination"].as_array() {
                Some(statuses) if !statuses.is_empty() => later_of(statuses),
                _ => Later::Processing,
            };
        }
        let code = Refusal::read(&json["error"]).code(answer);
        match answer.status {
            401 => Later::Credentials { code, refresh: true },
            403 => Later::Credentials { code, refresh: false },
            408 | 429 | 500.. => Later::Retry {
                after: answer.retry_after(),
            },
            _ => Later::Unknown { code },
        }
    }
}

/// Reasons that no event can help.
const CONFIGURATION: [&str; 8] = [
    "PERMISSION_DENIED",
    "NOT_ALLOWLISTED",
    "TERMS_AND_CONDITIONS_NOT_SIGNED",
    "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH",
    "INVALID_DESTINATION",
    "DESTINATION_ACCOUNT_TYPE_MISMATCH",
    "INVALID_CONVERSION_ACTION_ID",
    "INVALID_CONVERSION_ACTION_TYPE",
];

/// Whether the account, not the event, forbids `userData`.
fn is_about_user_data(reason: &str) -> bool {
    reason.contains("ENHANCED_CONVERSIONS") || reason.contains("DATA_POLICY_PROHIBITS")
}

/// An error's details, in one place.
struct Refusal {
    reasons: Vec<String>,
    status: Option<String>,
    culprits: Vec<Failure>,
    detail: Option<String>,
}

impl Refusal {
    fn read(error: &Value) -> Self {
        let mut reasons: Vec<String> = Vec::new();
        let mut culprits = Vec::new();
        for detail in error["details"].as_array().into_iter().flatten() {
            reasons.extend(detail["reason"].as_str().and_then(constant));
            for violation in detail["fieldViolations"].as_array().into_iter().flatten() {
                let reason = violation["reason"].as_str().and_then(constant);
                let index = violation["field"]
                    .as_str()
                    .and_then(|field| indexes_after(field, "events[").first().copied());
                if let Some(index) = index {
                    culprits.push(Failure {
                        index,
                        code: reason.clone().unwrap_or_else(|| "INVALID_ARGUMENT".to_owned()),
                        detail: violation["description"].as_str().and_then(words),
                        retry: false,
                    });
                }
                reasons.extend(reason);
            }
        }
        Self {
            reasons,
            status: error["status"].as_str().and_then(constant),
            culprits,
            detail: error["message"].as_str().and_then(words),
        }
    }

    fn code(&self, answer: &Answer<'_>) -> String {
        let said = self.reasons.first().or(self.status.as_ref());
        said.cloned().unwrap_or_else(|| answer.http_code())
    }
}

/// A name of an enumeration, or nothing.
fn constant(text: &str) -> Option<String> {
    let sane = (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    sane.then(|| text.to_owned())
}

fn later_of(statuses: &[Value]) -> Later {
    let mut all = statuses
        .iter()
        .map(|status| match status["requestStatus"].as_str()? {
            "SUCCESS" => Some(Whole::Taken),
            "PARTIAL_SUCCESS" => Some(Whole::Partly),
            "FAILED" => Some(Whole::Failed),
            _ => None,
        });
    // Of several destinations that did not fare alike, nobody says whose events were whose.
    let whole = all.try_fold(None, |before: Option<Whole>, one| {
        let one = one?;
        Some(Some(
            before
                .filter(|before| *before != one)
                .map_or(one, |_| Whole::Partly),
        ))
    });
    let Some(Some(whole)) = whole else {
        return Later::Processing;
    };
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let mut records = 0;
    for status in statuses {
        records += int(&status["eventsIngestionStatus"]["recordCount"]);
        counts(&status["errorInfo"]["errorCounts"], &mut errors);
        counts(&status["warningInfo"]["warningCounts"], &mut warnings);
    }
    Later::Done {
        whole,
        records,
        errors,
        warnings,
    }
}

/// 64-bit integers travel as text.
fn int(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    text.or(value.as_u64()).unwrap_or(0)
}

fn counts(list: &Value, into: &mut Vec<Count>) {
    for count in list.as_array().into_iter().flatten() {
        let reason = count["reason"].as_str().and_then(constant).unwrap_or_default();
        let reason = reason
            .trim_start_matches("PROCESSING_ERROR_REASON_")
            .trim_start_matches("PROCESSING_WARNING_REASON_");
        into.push(Count {
            reason: reason.to_owned(),
            events: int(&count["recordCount"]),
            fate: match reason {
                "DUPLICATE_TRANSACTION_ID" | "DUPLICATE_GCLID" => Fate::Delivered,
                "TOO_RECENT_CLICK" | "INTERNAL_ERROR" => Fate::Retry { within: None },
                // Clicks take a while to be known; one that is not known by then was never Google's.
                "CLICK_NOT_FOUND" => Fate::Retry {
                    within: Some(CLICK_IS_KNOWN),
                },
                _ => Fate::Failed,
            },
        });
    }
}
