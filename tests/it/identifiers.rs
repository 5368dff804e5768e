//! Identifiers in the forms that the platforms' own examples and test suites give.

use serde_json::Value;
use trustdata::domain::identifiers::{Field, Rules, Unusable, check, sha256_hex};

/// Each row of a file of vectors.
fn vectors(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

fn field(name: &str) -> Option<Field> {
    Some(match name {
        "email" | "em" | "emailAddress" => Field::Email,
        "phone" | "ph" | "phoneNumber" => Field::Phone,
        "fn" | "givenName" => Field::FirstName,
        "familyName" => Field::LastName,
        "regionCode" => Field::Country,
        "postalCode" => Field::PostalCode,
        _ => return None,
    })
}

/// Holds one row against a platform's rules; whether it was about an identifier.
fn hold(rules: &Rules, row: &Value) -> bool {
    let Some(field) = row["field"].as_str().and_then(field) else {
        return false;
    };
    let rule = rules.get(field).unwrap();
    // A value that is not there at all reaches no rule.
    let input = row["input"].as_str().unwrap_or_default();
    let normal = rule.normalise(input);
    if row["expected"] == "rejected" {
        assert_eq!(normal, None, "{row}");
        return true;
    }
    if let Some(expected) = row["expected_normalised"].as_str() {
        assert_eq!(normal.as_deref(), Some(expected), "{row}");
    }
    assert_eq!(rule.is_hashed(), row["hashed"] != false, "{row}");
    for name in ["expected_sha256", "expected_sha256_hex"] {
        if let Some(expected) = row[name].as_str() {
            assert_eq!(sha256_hex(normal.as_ref().unwrap()), expected, "{row}");
        }
    }
    // Requests are encoded in hex; the rows in base64 are of the same hashes.
    if row["encoding"] != "BASE64"
        && let Some(expected) = row["expected_sent"].as_str()
    {
        let sent = match row["encoding"].as_str() {
            Some(_) => sha256_hex(&normal.unwrap()),
            None => rule.prepare(field, input).unwrap(),
        };
        assert_eq!(sent, expected, "{row}");
    }
    true
}

#[test]
fn google() {
    let rows = vectors(include_str!("../vectors/google_datamanager_normalisation.json"));
    let held = rows.iter().filter(|row| hold(&Rules::GOOGLE, row)).count();
    // The two others are of the hash alone.
    assert_eq!(held, rows.len() - 2);
    for row in rows.iter().filter(|row| row["field"] == "sha256") {
        let expected = row["expected_sha256_hex"].as_str().unwrap();
        assert_eq!(sha256_hex(row["input"].as_str().unwrap()), expected, "{row}");
    }
}

#[test]
fn meta() {
    let rows = vectors(include_str!("../vectors/meta_docs_examples.json"));
    for mut row in rows {
        // The row describes its number in words.
        if row["field"] == "ph" {
            row["input"] = "+1 (650)555-1212".into();
        }
        assert!(hold(&Rules::META, &row), "{row}");
    }
}

#[test]
fn tiktok() {
    for row in vectors(include_str!("../vectors/tiktok_normalisation.json")) {
        assert!(hold(&Rules::TIKTOK, &row), "{row}");
    }
}

#[test]
fn google_ads() {
    let rows = vectors(include_str!("../vectors/google_ads_segment_formats.json"));
    let mut held = 0;
    for row in rows {
        let Some(code) = row["country_code"].as_str() else {
            // Times are the business of the requests.
            held += usize::from(hold(&Rules::GOOGLE, &row));
            continue;
        };
        let input = row["input"].as_str().unwrap();
        let digits: String = input.chars().filter(char::is_ascii_digit).collect();
        if digits.starts_with(code.trim_start_matches('+')) {
            assert!(hold(&Rules::GOOGLE, &row));
        } else {
            // No country is guessed: senders are told that such a number is not forwarded.
            assert_eq!(check(Field::Phone, input), Err(Unusable::NotE164), "{row}");
        }
        held += 1;
    }
    assert_eq!(held, 16);
}
