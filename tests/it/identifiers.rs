//! Identifiers in the forms that the platforms' own examples and test suites give. Every row of every file is held, or is on a list with the
//! reason why it cannot be; a list that names more or other rows than there are fails too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta};
use serde_json::Value;
use trustdata::domain::identifiers::{Field, Rules, Unusable, check, sha256_hex};
use trustdata::forwarding::parcel::Parcel;
use trustdata::forwarding::platforms::Name;

use crate::parcels::{full, platform};

/// A row that is not held: its field, its input, the country's code that it comes with.
type Row = (&'static str, &'static str, Option<&'static str>);

const NO_COUNTRY_IS_GUESSED: &str =
    "a number without its country's code is not E.164, and the sender is told so";
const NOT_SPOKEN: &str = "the time of Google Ads' uploadClickConversions, which nothing is sent to";

/// Rows that are not held, and why.
const NOT_HELD: [(Row, &str); 8] = [
    (("phone", "6195551000", Some("+1")), NO_COUNTRY_IS_GUESSED),
    (("phone", "6195551000", Some("1")), NO_COUNTRY_IS_GUESSED),
    (("phone", "20 7123 4567", Some("44")), NO_COUNTRY_IS_GUESSED),
    (("phone", "2071234567", Some("44")), NO_COUNTRY_IS_GUESSED),
    (("phone", "30 1234567", Some("49")), NO_COUNTRY_IS_GUESSED),
    (("phone", "301234567", Some("49")), NO_COUNTRY_IS_GUESSED),
    (
        ("conversionDateTime", "2025-03-11T19:03:56.616960388Z", None),
        NOT_SPOKEN,
    ),
    (("conversionDateTime", "2025-03-11T17:57:29Z", None), NOT_SPOKEN),
];

/// Rows that describe their input in words, and what they mean by it.
const MEANT: [(&str, &str); 1] = [("US (650)555-1212 (country code 1 added)", "+1 (650)555-1212")];

/// Each row of a file of vectors.
fn vectors(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

fn field(row: &Value) -> Field {
    match row["field"].as_str().unwrap() {
        "email" | "em" | "emailAddress" => Field::Email,
        "phone" | "ph" | "phoneNumber" => Field::Phone,
        "fn" | "givenName" => Field::FirstName,
        "familyName" => Field::LastName,
        "regionCode" => Field::Country,
        "postalCode" => Field::PostalCode,
        _ => panic!("of what? {row}"),
    }
}

/// The same hash in base64.
fn base64(hex: &str) -> String {
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    STANDARD.encode(bytes)
}

/// Holds one row against a platform's rules.
fn hold(rules: &Rules, row: &Value) {
    let field = field(row);
    let rule = rules.get(field).unwrap();
    // A value that is not there at all reaches no rule.
    let told = row["input"].as_str().unwrap_or_default();
    let input = MEANT
        .iter()
        .find(|(words, _)| *words == told)
        .map_or(told, |(_, meant)| meant);
    let normal = rule.normalise(input);
    if row["expected"] == "rejected" {
        assert_eq!(normal, None, "{row}");
        return;
    }
    let mut compared = 0;
    if let Some(expected) = row["expected_normalised"].as_str() {
        assert_eq!(normal.as_deref(), Some(expected), "{row}");
        compared += 1;
    }
    assert_eq!(rule.is_hashed(), row["hashed"] != false, "{row}");
    for name in ["expected_sha256", "expected_sha256_hex"] {
        if let Some(expected) = row[name].as_str() {
            assert_eq!(sha256_hex(normal.as_ref().unwrap()), expected, "{row}");
            compared += 1;
        }
    }
    if let Some(expected) = row["expected_sent"].as_str() {
        let sent = match row["encoding"].as_str() {
            Some("HEX") => sha256_hex(&normal.unwrap()),
            // Requests are encoded in hex: this is the same hash.
            Some("BASE64") => base64(&sha256_hex(&normal.unwrap())),
            _ => rule.prepare(field, input).unwrap(),
        };
        assert_eq!(sent, expected, "{row}");
        compared += 1;
    }
    assert!(compared > 0, "nothing is expected of {row}");
}

#[test]
fn google() {
    for row in vectors(include_str!("../vectors/google_datamanager_normalisation.json")) {
        if row["field"] == "sha256" {
            let expected = row["expected_sha256_hex"].as_str().unwrap();
            assert_eq!(sha256_hex(row["input"].as_str().unwrap()), expected, "{row}");
        } else {
            hold(&Rules::GOOGLE, &row);
        }
    }
}

#[test]
fn meta() {
    let rows = vectors(include_str!("../vectors/meta_docs_examples.json"));
    for (words, _) in MEANT {
        assert!(rows.iter().any(|row| row["input"] == words), "{words}");
    }
    rows.iter().for_each(|row| hold(&Rules::META, row));
}

#[test]
fn tiktok() {
    for row in vectors(include_str!("../vectors/tiktok_normalisation.json")) {
        hold(&Rules::TIKTOK, &row);
    }
}

#[test]
fn google_ads() {
    let mut not_held: Vec<Row> = NOT_HELD.iter().map(|(row, _)| *row).collect();
    for row in vectors(include_str!("../vectors/google_ads_segment_formats.json")) {
        let text = |name: &str| row[name].as_str();
        let (kind, input) = (text("field").unwrap(), text("input").unwrap());
        let listed = not_held
            .iter()
            .position(|listed| *listed == (kind, input, text("country_code")));
        match listed {
            Some(place) => {
                not_held.remove(place);
                if kind == "phone" {
                    assert_eq!(check(Field::Phone, input), Err(Unusable::NotE164), "{row}");
                }
            }
            // GA4 takes such a time.
            None if kind == "epoch_micros" => {
                let event_time = DateTime::parse_from_rfc3339(input).unwrap().to_utc();
                let parcel = Parcel { event_time, ..full() };
                let event = platform(Name::Ga4).prepare(&parcel, event_time + TimeDelta::hours(1));
                let json: Value = serde_json::from_str(event.unwrap().json()).unwrap();
                assert_eq!(
                    json["timestamp_micros"].to_string(),
                    text("expected").unwrap(),
                    "{row}"
                );
            }
            None => hold(&Rules::GOOGLE, &row),
        }
    }
    assert!(not_held.is_empty(), "no such rows: {not_held:?}");
}
