//! From an event's JSON to a conversion: tolerant of what is unknown, and complete about what is wrong.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::{Conversion, Money, fields, products, user_data};
use crate::domain::consent::{Consent, FLAGS};
use crate::domain::currency::Currency;
use crate::domain::faults::{Fault, Faults, Warning};
use crate::domain::json::{self, Kind, Object};
use crate::domain::money;
use crate::domain::text;
use crate::domain::time::parse_event_time;
use crate::domain::topic::{Topic, UnknownTopic};

/// Characters of a `conversion_id`.
const MAX_CONVERSION_ID: usize = 128;
const MAX_ID: usize = 256;
const MAX_EVENT_NAME: usize = 64;

/// Fields of an event's own level: many times what any sender has, and few enough to be compared and listed.
const MOST_FIELDS: usize = 1000;

/// Names in one object that are compared with each other: more than any object of ours has, few enough for a hostile one.
const MOST_COMPARED: usize = 64;

/// How an event arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// When: the default of `event_time`, and what it is held against.
    pub received_at: DateTime<Utc>,
    /// The header that may stand in for `conversion_id`.
    pub idempotency_key: Option<&'a [u8]>,
}

/// Reads one event. All faults at once, or the conversion with what was noticed.
pub fn parse(
    event: &RawValue,
    topic: Result<Topic, UnknownTopic>,
    arrival: Arrival<'_>,
) -> Result<(Conversion, Vec<Warning>), Vec<Fault>> {
    let mut reader = Reader::default();
    if let Err(unknown) = topic {
        reader
            .faults
            .add("topic", "unknown_topic", format!("is unknown: {unknown}"));
    }
    let event = reader.object("", event);
    let conversion = event.and_then(|event| reader.conversion(&event, topic.ok(), arrival));
    match conversion {
        Some(conversion) if reader.faults.is_empty() => Ok((conversion, reader.warnings)),
        _ => Err(reader.faults.into_vec()),
    }
}

/// Collects what is wrong while it reads.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) faults: Faults,
    warnings: Vec<Warning>,
}

impl Reader {
    fn conversion(
        &mut self,
        event: &Object<'_>,
        topic: Option<Topic>,
        arrival: Arrival<'_>,
    ) -> Option<Conversion> {
        let conversion_id = self.conversion_id(event, arrival.idempotency_key);
        let money = self.money(event, topic);
        for name in ["tax", "shipping", "discount"] {
            if let Some(raw) = self.present(event, name) {
                self.amount(name, raw);
            }
        }
        for name in ["discount_code", "lead_type"] {
            self.optional_id(event, name, MAX_ID);
        }
        let visitor_id = self.optional_id(event, "visitor_id", MAX_ID);
        let user_id = self.optional_id(event, "user_id", MAX_ID);
        let event_time = self.event_time(event, arrival.received_at);
        let event_name = match topic {
            Some(Topic::Custom) => self.event_name(event),
            _ => None,
        };
        let purchase_id = match topic {
            Some(Topic::Refund) => self
                .optional_id(event, "purchase_id", MAX_CONVERSION_ID)
                .or_else(|| conversion_id.clone()),
            _ => None,
        };
        let consent = self.consent(event);
        if let Some(raw) = fields::get(event, "user_data") {
            user_data::check(self, raw);
        }
        if let Some(raw) = fields::get(event, "products") {
            products::check(self, raw);
        }
        let (payload, personal) = fields::split(event);
        Some(Conversion {
            topic: topic?,
            conversion_id: conversion_id?,
            event_name,
            purchase_id,
            event_time: event_time?,
            money,
            visitor_id,
            user_id,
            consent,
            payload,
            personal,
        })
    }

    fn conversion_id(&mut self, event: &Object<'_>, idempotency_key: Option<&[u8]>) -> Option<String> {
        if let Some(raw) = fields::get(event, "conversion_id") {
            return self.identifier("conversion_id", raw, MAX_CONVERSION_ID);
        }
        let Some(key) = idempotency_key else {
            self.faults.add(
                "conversion_id",
                "required",
                "is required, or the header Idempotency-Key in its place",
            );
            return None;
        };
        let Ok(key) = std::str::from_utf8(key) else {
            self.faults
                .add("Idempotency-Key", "not_utf8", "must be text in UTF-8");
            return None;
        };
        match text::check(key, MAX_CONVERSION_ID) {
            Ok(()) => Some(key.to_owned()),
            Err(bad) => {
                let (code, message) = bad.spec(MAX_CONVERSION_ID);
                self.faults.add("Idempotency-Key", code, message);
                None
            }
        }
    }

    fn money(&mut self, event: &Object<'_>, topic: Option<Topic>) -> Option<Money> {
        let value = self.present(event, "value");
        let amount = value.and_then(|raw| self.amount("value", raw));
        let code = self.present(event, "currency");
        let currency = code.and_then(|raw| self.currency("currency", raw));
        let purchase = topic == Some(Topic::Purchase);
        if purchase && value.is_none() {
            self.faults.add("value", "required", "is required for a purchase");
        }
        if code.is_none() && (purchase || value.is_some()) {
            let why = if purchase {
                "is required for a purchase"
            } else {
                "is required where there is a value"
            };
            self.faults.add("currency", "required", why);
        }
        Some(Money {
            amount: amount?,
            currency: currency?,
        })
    }

    fn currency(&mut self, path: &str, raw: &RawValue) -> Option<Currency> {
        let Some(code) = json::string(raw) else {
            self.wrong_type(path, "a string", raw);
            return None;
        };
        match code.trim().parse() {
            Ok(currency) => Some(currency),
            Err(_unknown) => {
                self.faults.add(
                    path,
                    "unknown_currency",
                    "must be an ISO 4217 currency code such as USD",
                );
                None
            }
        }
    }

    fn event_time(&mut self, event: &Object<'_>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Some(raw) = self.present(event, "event_time") else {
            return Some(now);
        };
        match parse_event_time(raw, now) {
            Ok(at) => Some(at),
            Err(bad) => {
                let (code, message) = bad.spec();
                self.faults.add("event_time", code, message);
                None
            }
        }
    }

    fn event_name(&mut self, event: &Object<'_>) -> Option<String> {
        let name = self
            .optional_id(event, "event_name", MAX_EVENT_NAME)
            .unwrap_or_else(|| "custom".to_owned());
        if name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        {
            return Some(name);
        }
        self.faults.add(
            "event_name",
            "bad_characters",
            "may have the characters A-Z a-z 0-9 _ . - only",
        );
        None
    }

    fn consent(&mut self, event: &Object<'_>) -> Consent {
        let mut consent = Consent::default();
        let Some(flags) = fields::get(event, "consent").and_then(|raw| self.object("consent", raw)) else {
            return consent;
        };
        for name in FLAGS {
            let Some(raw) = fields::get(&flags, name) else {
                continue;
            };
            if Kind::of(raw) != Kind::Bool {
                self.wrong_type(&format!("consent.{name}"), "a boolean", raw);
                continue;
            }
            let granted = Some(raw.get() == "true");
            match name {
                "analytics" => consent.analytics = granted,
                "advertising" => consent.advertising = granted,
                "preferences" => consent.preferences = granted,
                _ => consent.sale_of_data = granted,
            }
        }
        consent
    }

    /// An object's fields that can be read; none when it is no object. Faults of shape are noted here once, for every object.
    pub(super) fn object<'b>(&mut self, path: &str, raw: &'b RawValue) -> Option<Object<'b>> {
        if Kind::of(raw) != Kind::Object {
            let name = if path.is_empty() { "event" } else { path };
            self.wrong_type(name, "an object", raw);
            return None;
        }
        let Ok(mut object) = serde_json::from_str::<Object<'b>>(raw.get()) else {
            // The text is well-formed JSON: only a name that is no Unicode text is left to be wrong.
            let (code, message) = json::Flaw::LoneSurrogate.spec();
            self.faults
                .add(path, code, format!("has a field name that {message}"));
            return None;
        };
        if path.is_empty() && object.fields.len() > MOST_FIELDS {
            let message = format!(
                "may have at most {MOST_FIELDS} fields, and has {}",
                object.fields.len()
            );
            self.faults.add("event", "too_many_fields", message);
        }
        let place = |name: &str| {
            let name = text::shown(name, 64);
            if path.is_empty() {
                name
            } else {
                format!("{path}.{name}")
            }
        };
        let mut seen: Vec<String> = Vec::with_capacity(16);
        object.fields.retain(|(name, raw)| {
            if name.contains('\0') {
                let (code, message) = json::Flaw::Nul.spec();
                self.faults
                    .add(place(name), code, format!("has a name that {message}"));
            }
            let meaningful = !path.is_empty() || fields::KNOWN.contains(&name.as_ref());
            if meaningful && seen.iter().any(|earlier| earlier == name) {
                self.faults
                    .add(place(name), "duplicate_key", "is there more than once");
            } else if meaningful && seen.len() < MOST_COMPARED {
                seen.push(name.to_string());
            }
            // The event's own fields are looked through to the bottom, so that nothing below needs to be.
            let flaw = if path.is_empty() {
                json::inspect(raw).err()
            } else {
                None
            };
            if let Some(flaw) = flaw {
                let (code, message) = flaw.spec();
                self.faults.add(place(name), code, message);
            }
            flaw.is_none()
        });
        Some(object)
    }

    /// The value of one of the event's fields; an empty string is taken for absence, and noted.
    fn present<'b>(&mut self, event: &Object<'b>, name: &str) -> Option<&'b RawValue> {
        self.present_in(event, "", name)
    }

    /// As `present`, of the object at `path`.
    pub(super) fn present_in<'b>(
        &mut self,
        object: &Object<'b>,
        path: &str,
        name: &str,
    ) -> Option<&'b RawValue> {
        let raw = fields::get(object, name)?;
        if raw.get() == "\"\"" {
            let separator = if path.is_empty() { "" } else { "." };
            let field = format!("{path}{separator}{name}");
            self.warn(field, "empty", "is empty: taken as absent".to_owned());
            return None;
        }
        Some(raw)
    }

    fn optional_id(&mut self, object: &Object<'_>, name: &str, most: usize) -> Option<String> {
        let raw = self.present(object, name)?;
        self.identifier(name, raw, most)
    }

    /// A short text; an integer is read as its decimal string.
    pub(super) fn identifier(&mut self, path: &str, raw: &RawValue, most: usize) -> Option<String> {
        let found = match Kind::of(raw) {
            Kind::String => json::string(raw)?,
            Kind::Number
                if raw
                    .get()
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'-') =>
            {
                Cow::Borrowed(raw.get())
            }
            _ => {
                self.wrong_type(path, "a string", raw);
                return None;
            }
        };
        match text::check(&found, most) {
            Ok(()) => Some(found.into_owned()),
            Err(bad) => {
                let (code, message) = bad.spec(most);
                self.faults.add(path, code, message);
                None
            }
        }
    }

    /// An exact amount of zero or more; it may be sent as a string.
    pub(super) fn amount(&mut self, path: &str, raw: &RawValue) -> Option<Decimal> {
        let digits = match Kind::of(raw) {
            Kind::Number => Cow::Borrowed(raw.get()),
            Kind::String => json::string(raw)?,
            _ => {
                self.wrong_type(path, "a number", raw);
                return None;
            }
        };
        match money::parse(&digits) {
            Ok(amount) => Some(amount),
            Err(bad) => {
                let (code, message) = bad.spec();
                self.faults.add(path, code, message);
                None
            }
        }
    }

    pub(super) fn wrong_type(&mut self, path: &str, expected: &str, raw: &RawValue) {
        let found = Kind::of(raw).describe();
        self.faults
            .add(path, "wrong_type", format!("must be {expected}, not {found}"));
    }

    pub(super) fn warn(&mut self, field: String, code: &'static str, message: String) {
        // A warning is bounded like a fault; there are fewer places for them than that.
        if self.warnings.len() < crate::domain::faults::MOST_LISTED {
            self.warnings.push(Warning { field, code, message });
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 1, 10, 0, 0).unwrap()
    }

    fn parsed(topic: &str, json: &str) -> Result<(Conversion, Vec<Warning>), Vec<Fault>> {
        let event = RawValue::from_string(json.to_owned()).unwrap();
        parse(
            &event,
            topic.parse(),
            Arrival {
                received_at: now(),
                idempotency_key: None,
            },
        )
    }

    /// `field code` of each fault.
    fn faults(topic: &str, json: &str) -> Vec<String> {
        let faults = parsed(topic, json).expect_err(json);
        faults
            .into_iter()
            .map(|fault| format!("{} {}", fault.field, fault.code))
            .collect()
    }

    #[test]
    fn minimal_events() {
        let (purchase, warnings) = parsed(
            "purchase",
            r#"{"conversion_id":"O-1","value":99.00,"currency":"usd"}"#,
        )
        .unwrap();
        assert!(warnings.is_empty());
        let money = purchase.money.unwrap();
        assert_eq!(
            (money.amount.to_string().as_str(), money.currency.code()),
            ("99.00", "USD")
        );
        assert_eq!(purchase.event_time, now());
        let (refund, _) = parsed("refund", r#"{"transaction_id":77}"#).unwrap();
        assert_eq!(
            (refund.conversion_id.as_str(), refund.purchase_id.as_deref()),
            ("77", Some("77"))
        );
        let (custom, _) = parsed("custom", r#"{"conversion_id":"1","event_name":"quiz.done"}"#).unwrap();
        assert_eq!(custom.event_name.as_deref(), Some("quiz.done"));
        assert_eq!(
            parsed("custom", r#"{"conversion_id":"1"}"#)
                .unwrap()
                .0
                .event_name
                .as_deref(),
            Some("custom")
        );
        assert_eq!(
            parsed("signup", r#"{"conversion_id":"1"}"#).unwrap().0.money,
            None
        );
    }

    #[test]
    fn the_header_stands_in_for_the_id() {
        let event = RawValue::from_string("{}".to_owned()).unwrap();
        let with = |key: &[u8]| {
            parse(
                &event,
                Ok(Topic::Lead),
                Arrival {
                    received_at: now(),
                    idempotency_key: Some(key),
                },
            )
        };
        assert_eq!(with(b"k-1").unwrap().0.conversion_id, "k-1");
        assert_eq!(with(&[b'k'; 129]).unwrap_err()[0].code, "too_long");
        let fault = &with(b"k-\xff").unwrap_err()[0];
        assert_eq!(
            (fault.field.as_str(), fault.code),
            ("Idempotency-Key", "not_utf8")
        );
    }

    #[test]
    fn each_fault() {
        let table: &[(&str, &str, &[&str])] = &[
            (
                "purchase",
                "{}",
                &["conversion_id required", "value required", "currency required"],
            ),
            ("purchase", "[]", &["event wrong_type"]),
            ("lead", "7", &["event wrong_type"]),
            (
                "nonsense",
                r#"{"conversion_id":"1","value":-1}"#,
                &["topic unknown_topic", "value negative", "currency required"],
            ),
            ("lead", r#"{"conversion_id":""}"#, &["conversion_id empty"]),
            ("lead", r#"{"conversion_id":null}"#, &["conversion_id required"]),
            ("lead", r#"{"conversion_id":1.5}"#, &["conversion_id wrong_type"]),
            (
                "lead",
                r#"{"conversion_id":"1","value":1e400,"currency":"XYZ"}"#,
                &["value too_large", "currency unknown_currency"],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","value":"NaN","currency":"EUR"}"#,
                &["value not_a_number"],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","value":{},"currency":7}"#,
                &["value wrong_type", "currency wrong_type"],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","event_time":"soon"}"#,
                &["event_time not_a_time"],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","visitor_id":[],"user_id":{}}"#,
                &["visitor_id wrong_type", "user_id wrong_type"],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","consent":{"analytics":"yes","advertising":1}}"#,
                &["consent.analytics wrong_type", "consent.advertising wrong_type"],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","user_data":[]}"#,
                &["user_data wrong_type"],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","products":[{"quantity":0},{"id":"a","price":-1,"quantity":1.5}]}"#,
                &[
                    "products[0].id required",
                    "products[0].quantity not_positive",
                    "products[1].quantity not_an_integer",
                    "products[1].price negative",
                ],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","value":1,"value":2,"currency":"EUR"}"#,
                &["value duplicate_key"],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","x":"\u0000"}"#,
                &["x nul_character"],
            ),
            (
                "lead",
                r#"{"conversion_id":"a\u0000"}"#,
                &["conversion_id nul_character", "conversion_id required"],
            ),
            (
                "lead",
                r#"{"conversion_id":"1","\ud800":1}"#,
                &[" lone_surrogate"],
            ),
            (
                "custom",
                r#"{"conversion_id":"1","event_name":"a b"}"#,
                &["event_name bad_characters"],
            ),
        ];
        for (topic, json, expected) in table {
            assert_eq!(faults(topic, json), *expected, "{topic} {json}");
        }
    }

    #[test]
    fn each_warning() {
        let (_, warnings) = parsed(
            "lead",
            r#"{"conversion_id":"1","visitor_id":"","user_data":{"email":"x","phone":"555","first_name":1,"address":{"country":"XX"}},
                "products":[{"id":"1","price":"","quantity":""}]}"#,
        )
        .unwrap();
        let seen: Vec<_> = warnings
            .iter()
            .map(|warning| (warning.field.as_str(), warning.code))
            .collect();
        assert_eq!(
            seen,
            [
                ("visitor_id", "empty"),
                ("user_data.email", "not_an_email"),
                ("user_data.phone", "not_e164"),
                ("user_data.first_name", "wrong_type"),
                ("user_data.address.country", "not_iso_3166"),
                ("products[0].quantity", "empty"),
                ("products[0].price", "empty"),
            ]
        );
        let (_, warnings) = parsed("lead", r#"{"conversion_id":"1","user_data":{"address":"x"}}"#).unwrap();
        assert_eq!(
            (warnings[0].field.as_str(), warnings[0].code),
            ("user_data.address", "wrong_type")
        );
    }

    #[test]
    fn fields_are_bounded() {
        let event = |fields: usize| {
            let fields: String = (1..fields).map(|i| format!(",\"f{i}\":{i}")).collect();
            format!(r#"{{"conversion_id":"1"{fields}}}"#)
        };
        assert!(parsed("lead", &event(1000)).is_ok());
        assert_eq!(faults("lead", &event(1001)), ["event too_many_fields"]);
    }

    #[test]
    fn faults_are_bounded() {
        let products = vec!["{}"; 900].join(",");
        let faults = faults(
            "lead",
            &format!(r#"{{"conversion_id":"1","products":[{products}]}}"#),
        );
        assert_eq!(faults.len(), 101);
        assert_eq!(faults[100], " more_faults");
    }

    #[test]
    fn what_is_unknown_is_kept_to_the_byte_and_sealed() {
        let (conversion, _) = parsed(
            "lead",
            r#"{"conversion_id":"1","big":1e999999,"deep":[[{"a" : 1.10}]],"email":"a@b.c"}"#,
        )
        .unwrap();
        assert_eq!(conversion.payload, r#"{"conversion_id":"1"}"#);
        assert_eq!(
            conversion.personal.unwrap(),
            r#"{"big":1e999999,"deep":[[{"a" : 1.10}]],"email":"a@b.c"}"#
        );
    }

    /// Any JSON at all.
    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                proptest::collection::vec(("[a-z_]{1,10}", inner), 0..5)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(field in proptest::sample::select(fields::KNOWN.to_vec()), value in any_json(), topic in 0usize..6) {
            let json = serde_json::json!({ "conversion_id": "1", field: value }).to_string();
            let event = RawValue::from_string(json).unwrap();
            let arrival = Arrival { received_at: now(), idempotency_key: None };
            let _ = parse(&event, Ok(Topic::ALL[topic]), arrival);
        }
    }
}
