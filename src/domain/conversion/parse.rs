//! From an event's JSON to a conversion: tolerant of what is unknown, and complete about what is wrong.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::{Conversion, Money, fields, products, user_data};
use crate::domain::consent::Consent;
use crate::domain::currency::Currency;
use crate::domain::faults::{Fault, Warning};
use crate::domain::json::{self, Object};
use crate::domain::reader::{MAX_EVENT_NAME, MAX_ID, Reader, get};
use crate::domain::text;
use crate::domain::time::parse_event_time;
use crate::domain::topic::{Topic, UnknownTopic};

/// Characters of a `conversion_id`.
const MAX_CONVERSION_ID: usize = 128;

/// How an event arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// When: the default of `event_time`, and what it is held against.
    pub received_at: DateTime<Utc>,
    /// The header that may stand in for `conversion_id`.
    pub idempotency_key: Option<&'a [u8]>,
}

/// What a browser's event has told before its conversion is read, under rules of its own.
#[derive(Debug)]
pub(in crate::domain) struct Told {
    pub(in crate::domain) event_time: DateTime<Utc>,
    pub(in crate::domain) user_id: Option<String>,
    pub(in crate::domain) consent: Consent,
}

/// Reads one event. All faults at once, or the conversion with what was noticed.
pub fn parse(
    event: &RawValue,
    topic: Result<Topic, UnknownTopic>,
    arrival: Arrival<'_>,
) -> Result<(Conversion, Vec<Warning>), Vec<Fault>> {
    let mut reader = Reader::strict(&fields::KNOWN);
    if let Err(unknown) = topic {
        reader
            .faults
            .add("topic", "unknown_topic", format!("is unknown: {unknown}"));
    }
    let event = reader.object("", event);
    let conversion = event.and_then(|event| reader.conversion(&event, topic.ok(), arrival, None));
    reader.finish(conversion)
}

impl Reader {
    /// Reads a conversion out of an event's fields; the visitor's id is left to whoever has told the rest.
    pub(in crate::domain) fn conversion(
        &mut self,
        event: &Object<'_>,
        topic: Option<Topic>,
        arrival: Arrival<'_>,
        told: Option<Told>,
    ) -> Option<Conversion> {
        let conversion_id = self.conversion_id(event, arrival.idempotency_key, told.is_some());
        let money = self.money(event, topic);
        for name in ["tax", "shipping", "discount"] {
            if let Some(raw) = self.present(event, name) {
                self.amount(name, raw);
            }
        }
        for name in ["discount_code", "lead_type"] {
            self.optional_id(event, name, MAX_ID);
        }
        let (visitor_id, user_id, event_time, consent) = match told {
            Some(told) => (None, told.user_id, Some(told.event_time), told.consent),
            None => (
                self.optional_id(event, "visitor_id", MAX_ID),
                self.optional_id(event, "user_id", MAX_ID),
                self.event_time(event, arrival.received_at),
                self.consent(event),
            ),
        };
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
        if let Some(raw) = get(event, "user_data") {
            user_data::check(self, raw);
        }
        if let Some(raw) = get(event, "products") {
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

    fn conversion_id(
        &mut self,
        event: &Object<'_>,
        idempotency_key: Option<&[u8]>,
        of_browser: bool,
    ) -> Option<String> {
        if let Some(raw) = get(event, "conversion_id") {
            return self.identifier("conversion_id", raw, MAX_CONVERSION_ID);
        }
        let Some(key) = idempotency_key else {
            let instead = match of_browser {
                true => "",
                false => ", or the header Idempotency-Key in its place",
            };
            let message = format!("is required{instead}");
            self.faults.add("conversion_id", "required", message);
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
        self.name_characters(name)
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
