//! A payload's fields by name: found, split by what may be kept in clear, compared.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::domain::json::{self, Kind, Object};
use crate::domain::reader::get;

/// Fields that mean something: sent twice, nobody knows which one is meant.
pub(in crate::domain) const KNOWN: [&str; 20] = [
    "conversion_id",
    "transaction_id",
    "value",
    "currency",
    "tax",
    "shipping",
    "discount",
    "discount_code",
    "lead_type",
    "visitor_id",
    "user_id",
    "event_time",
    "event_name",
    "purchase_id",
    "user_data",
    "products",
    "consent",
    "attribution_id",
    "lib",
    "lib_version",
];

/// Splits an event into the JSON text that is kept in clear and the one that is sealed, each field as it was sent. In clear are the fields
/// that the schema knows and that hold nothing personal: what an unknown field holds, nobody can tell.
pub fn split(object: &Object<'_>) -> (String, Option<String>) {
    let (mut clear, mut sealed) = (String::with_capacity(512), String::new());
    for (name, raw) in &object.fields {
        let in_clear = KNOWN.contains(&name.as_ref()) && name != "user_data";
        let text = if in_clear { &mut clear } else { &mut sealed };
        text.push(if text.is_empty() { '{' } else { ',' });
        push_name(text, name);
        text.push(':');
        text.push_str(raw.get());
    }
    if clear.is_empty() {
        clear.push('{');
    }
    clear.push('}');
    (clear, (!sealed.is_empty()).then(|| sealed + "}"))
}

fn push_name(text: &mut String, name: &str) {
    let plain = name
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if plain {
        text.push('"');
        text.push_str(name);
        text.push('"');
    } else {
        text.push_str(&serde_json::Value::from(name).to_string());
    }
}

/// Names of the fields that differ between the first event and its repeat, both JSON text of objects; in order, each once. An id that is
/// told in another way, or an absence told as null or "", is no difference.
pub fn content_differs(first: &str, repeat: &str) -> Vec<String> {
    let (Ok(first), Ok(repeat)) = (serde_json::from_str(first), serde_json::from_str(repeat)) else {
        return Vec::new();
    };
    let objects: [Object<'_>; 2] = [first, repeat];
    // What each of the two says under a name; of a name that is there more than once the first one counts.
    let mut told: BTreeMap<&str, [Option<&RawValue>; 2]> = BTreeMap::new();
    for (side, object) in objects.iter().enumerate() {
        for (name, raw) in &object.fields {
            told.entry(name).or_default()[side].get_or_insert(raw);
        }
    }
    told.into_iter()
        .filter(|(name, _)| !matches!(*name, "conversion_id" | "transaction_id"))
        .filter(
            |(name, told)| match told.map(|raw| raw.filter(|raw| !is_absence(raw))) {
                [Some(first), Some(repeat)] => {
                    !json::same(first, repeat) && !same_currency(name, first, repeat)
                }
                [None, None] => false,
                _ => true,
            },
        )
        .map(|(name, _)| crate::domain::text::shown(name, 64))
        .collect()
}

/// Personal fields with the members of `user_data`, and of the address in it, that only the repeat's have; none where that adds nothing. Both
/// are JSON text of objects.
pub fn with_user_data_of(first: &str, repeat: &str) -> Option<String> {
    let mut first: Object<'_> = serde_json::from_str(first).ok()?;
    let repeat: Object<'_> = serde_json::from_str(repeat).ok()?;
    let user_data = get(&first, "user_data").map_or("{}", RawValue::get);
    let user_data = with_members_of(user_data, get(&repeat, "user_data")?.get())?;
    let user_data = RawValue::from_string(user_data).ok()?;
    first.fields.retain(|(name, _)| name != "user_data");
    first.fields.push(("user_data".into(), &user_data));
    Some(text_of(&first))
}

/// An object with the members that only the other has; none where that adds nothing. Both are JSON text.
fn with_members_of(object: &str, other: &str) -> Option<String> {
    let told = |(_, raw): &(_, &RawValue)| !is_absence(raw);
    let (object, other): (Object<'_>, Object<'_>) = (
        serde_json::from_str(object).ok()?,
        serde_json::from_str(other).ok()?,
    );
    let address = || with_members_of(get(&object, "address")?.get(), get(&other, "address")?.get());
    let address = address().and_then(|text| RawValue::from_string(text).ok());
    let mut members = Object {
        fields: object
            .fields
            .iter()
            .filter(|member| told(member))
            .cloned()
            .collect(),
    };
    let before = members.fields.len();
    for member in other.fields.iter().filter(|member| told(member)) {
        if !members.fields.iter().any(|(known, _)| *known == member.0) {
            members.fields.push(member.clone());
        }
    }
    let mut richer = members.fields.len() > before;
    if let Some(address) = &address {
        let known = members.fields.iter_mut().find(|(name, _)| name == "address");
        if let Some((_, known)) = known {
            *known = address;
            richer = true;
        }
    }
    richer.then(|| text_of(&members))
}

/// An object's JSON text.
fn text_of(object: &Object<'_>) -> String {
    let mut text = String::from("{");
    for (place, (name, raw)) in object.fields.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        push_name(&mut text, name);
        text.push(':');
        text.push_str(raw.get());
    }
    text.push('}');
    text
}

fn is_absence(raw: &RawValue) -> bool {
    Kind::of(raw) == Kind::Null || raw.get() == "\"\""
}

fn same_currency(name: &str, first: &RawValue, repeat: &RawValue) -> bool {
    name == "currency" && first.get().eq_ignore_ascii_case(repeat.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn richer_user_data() {
        let table = [
            (
                r#"{"user_data":{"email":"a@b.example"}}"#,
                r#"{"user_data":{"phone":"+4912345678"}}"#,
                Some(r#"{"user_data":{"email":"a@b.example","phone":"+4912345678"}}"#),
            ),
            (
                r#"{"user_data":{"email":"a@b.example"}}"#,
                r#"{"user_data":{"email":"other@b.example"}}"#,
                None,
            ),
            (
                r#"{"user_data":{"email":""}}"#,
                r#"{"user_data":{"email":"a@b.example"}}"#,
                Some(r#"{"user_data":{"email":"a@b.example"}}"#),
            ),
            (
                r#"{"note":"x"}"#,
                r#"{"note":"y","user_data":{"email":"a@b.example"}}"#,
                Some(r#"{"note":"x","user_data":{"email":"a@b.example"}}"#),
            ),
            (
                r#"{"user_data":{"address":{"city":"Bonn","country":""}}}"#,
                r#"{"user_data":{"address":{"city":"Kiel","country":"DE"}}}"#,
                Some(r#"{"user_data":{"address":{"city":"Bonn","country":"DE"}}}"#),
            ),
            (
                r#"{"user_data":{"address":{"city":"Bonn"}}}"#,
                r#"{"user_data":{"address":{"city":"Kiel"},"email":null}}"#,
                None,
            ),
            (
                r#"{"user_data":{"address":null}}"#,
                r#"{"user_data":{"address":{"city":"Kiel"}}}"#,
                Some(r#"{"user_data":{"address":{"city":"Kiel"}}}"#),
            ),
            (
                r#"{"user_data":{"address":"odd"}}"#,
                r#"{"user_data":{"address":{"city":"Kiel"}}}"#,
                None,
            ),
            ("{}", r#"{"user_data":{"email":null,"phone":""}}"#, None),
            ("{}", r#"{"user_data":"odd"}"#, None),
            ("{}", "{}", None),
        ];
        for (first, repeat, expected) in table {
            assert_eq!(
                with_user_data_of(first, repeat).as_deref(),
                expected,
                "{first} {repeat}"
            );
        }
    }

    #[test]
    fn personal_fields_are_split_off() {
        let event = r#"{"conversion_id":"1","user_data":{"email":"a@b.c"},"products":[1, 2],"Email":"d@e.f","q\"":1}"#;
        let (clear, sealed) = split(&serde_json::from_str(event).unwrap());
        assert_eq!(clear, r#"{"conversion_id":"1","products":[1, 2]}"#);
        assert_eq!(
            sealed.unwrap(),
            r#"{"user_data":{"email":"a@b.c"},"Email":"d@e.f","q\"":1}"#
        );
        assert_eq!(
            split(&serde_json::from_str("{}").unwrap()),
            ("{}".to_owned(), None)
        );
    }

    #[test]
    fn differences_are_named_once_each() {
        let table: &[(&str, &str, &[&str])] = &[
            (r#"{"value":99}"#, r#"{"value":"99.00"}"#, &[]),
            (
                r#"{"value":99,"currency":"EUR"}"#,
                r#"{"currency":"eur","value":98}"#,
                &["value"],
            ),
            (r#"{"conversion_id":"7"}"#, r#"{"transaction_id":7}"#, &[]),
            (r#"{"a":null,"b":""}"#, r#"{}"#, &[]),
            (r#"{"a":1}"#, r#"{"b":1}"#, &["a", "b"]),
            (r#"{"a":1,"a":2}"#, r#"{"a":1}"#, &[]),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#, &["a"]),
            (
                r#"{"products":[{"id":"1"}]}"#,
                r#"{"products":[{"id":"2"}]}"#,
                &["products"],
            ),
        ];
        for (first, repeat, expected) in table {
            assert_eq!(content_differs(first, repeat), *expected, "{first} {repeat}");
        }
    }

    /// It is done within an open transaction, and what was stored before events had a bound may hold any number of fields.
    #[test]
    fn many_fields_are_compared_in_no_time() {
        let event = |value: u8| {
            let fields: Vec<String> = (0..100_000).map(|i| format!("\"f{i}\":{value}")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let (first, repeat) = (event(1), event(2));
        let started = std::time::Instant::now();
        assert_eq!(content_differs(&first, &repeat).len(), 100_000);
        assert!(
            started.elapsed() < std::time::Duration::from_secs(10),
            "{:?}",
            started.elapsed()
        );
    }
}
