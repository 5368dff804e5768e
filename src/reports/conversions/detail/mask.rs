//! Personal data as it is shown: enough to recognise it, not to learn it.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::json::{self, Kind, Object};
use crate::domain::text::shown;

/// Stands for what is not shown.
const HIDDEN: &str = "***";
/// Members and elements that are shown of each object and list.
const MOST_SHOWN: usize = 100;
/// Of a name, so many characters.
const MOST_OF_NAME: usize = 64;
/// Levels of objects and lists that are shown.
const DEEPEST: usize = 8;

/// The same JSON with every value masked; none where it is no JSON. It is read as it was sent: a number that no machine can hold hides nothing
/// else.
pub fn masked(json: &[u8]) -> Option<Value> {
    let raw: &RawValue = serde_json::from_slice(json).ok()?;
    Some(at_depth(raw, 0))
}

fn at_depth(raw: &RawValue, depth: usize) -> Value {
    let hidden = || HIDDEN.into();
    match Kind::of(raw) {
        Kind::Null => Value::Null,
        Kind::String => json::string(raw).map_or_else(hidden, |text| mask(&text).into()),
        Kind::Object if depth < DEEPEST => match serde_json::from_str::<Object<'_>>(raw.get()) {
            Ok(object) => object
                .fields
                .iter()
                .take(MOST_SHOWN)
                .map(|(name, value)| (name_of(name), at_depth(value, depth + 1)))
                .collect::<serde_json::Map<String, Value>>()
                .into(),
            Err(_) => hidden(),
        },
        Kind::Array if depth < DEEPEST => match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
            Ok(elements) => elements
                .into_iter()
                .take(MOST_SHOWN)
                .map(|element| at_depth(element, depth + 1))
                .collect(),
            Err(_) => hidden(),
        },
        _ => hidden(),
    }
}

/// Names are the sender's, too, and may be anything.
fn name_of(name: &str) -> String {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    match name.contains('@') || digits > 5 {
        true => mask(name),
        false => shown(name, MOST_OF_NAME),
    }
}

/// An event as it was sent with its `user_id` masked, and all else as it was, to the digit.
pub fn without_user_id(event: String) -> String {
    let Ok(Object { fields }) = serde_json::from_str::<Object<'_>>(&event) else {
        return event;
    };
    if !fields.iter().any(|(name, _)| name == "user_id") {
        return event;
    }
    let fields = fields.iter().map(|(name, value)| {
        let text: Option<String> = serde_json::from_str(value.get()).ok();
        let masked = text.map(|text| Value::from(mask(&text)).to_string());
        match &**name {
            "user_id" => format!(r#""user_id":{}"#, masked.unwrap_or_else(|| "null".to_owned())),
            name => format!("{}:{value}", Value::from(name)),
        }
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// `jane@example.com` becomes `j***@e***.com`, any other text its first letter; what is short is hidden altogether.
pub fn mask(text: &str) -> String {
    let first = |text: &str| text.chars().next().filter(|c| c.is_alphanumeric());
    if let Some((local, domain)) = text.trim().rsplit_once('@')
        && let Some((name, top)) = domain.rsplit_once('.')
        && let (Some(local), Some(name)) = (first(local), first(name))
        && top.len() < 10
        && top.bytes().all(|byte| byte.is_ascii_alphabetic())
    {
        return format!("{local}{HIDDEN}@{name}{HIDDEN}.{top}");
    }
    match first(text) {
        // Of a number, the first digits tell the country or the street and nobody.
        Some(first) if text.chars().nth(3).is_some() && first.is_alphabetic() => format!("{first}{HIDDEN}"),
        _ => HIDDEN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts() {
        let table = [
            ("jane.doe@example.com", "j***@e***.com"),
            ("jane@mail.example.co.uk", "j***@m***.uk"),
            ("@example.com", "***"),
            ("jane@localhost", "j***"),
            ("+491701234567", "***"),
            ("01701234567", "***"),
            ("Jane", "J***"),
            ("Jan", "***"),
            ("", "***"),
            ("Ärger", "Ä***"),
            ("\u{202e}abc", "***"),
        ];
        for (text, expected) in table {
            assert_eq!(mask(text), expected, "{text}");
        }
    }

    #[test]
    fn of_an_event_the_user_alone() {
        let event =
            r#"{ "value": 99.00, "user_id": "jane@example.com", "x": {"user_id": "kept"}, "user_id": 7 }"#;
        assert_eq!(
            without_user_id(event.to_owned()),
            r#"{"value":99.00,"user_id":"j***@e***.com","x":{"user_id": "kept"},"user_id":null}"#
        );
        assert_eq!(
            without_user_id(r#"{ "value": 1.0 }"#.to_owned()),
            r#"{ "value": 1.0 }"#
        );
    }

    #[test]
    fn everything_is_masked_at_any_depth() {
        let value = json!({
            "user_data": { "email": "jane@example.com", "address": { "street": "Main Street 1", "postal_code": 12345 } },
            "tags": ["vip", true, null], "jane@example.com": 1, "+4917012345": "x",
        });
        let expected = json!({
            "user_data": { "email": "j***@e***.com", "address": { "street": "M***", "postal_code": "***" } },
            "tags": ["***", "***", null], "j***@e***.com": "***", "***": "***",
        });
        let masked = |json: &str| super::masked(json.as_bytes());
        assert_eq!(masked(&value.to_string()), Some(expected));
        let deep = (0..100).fold(json!("secret-secret"), |inner, _| json!([inner]));
        assert!(!masked(&deep.to_string()).unwrap().to_string().contains("secret"));
        assert_eq!(
            masked(r#"{"x":1e999,"city":"Bonn"}"#),
            Some(json!({ "x": "***", "city": "B***" }))
        );
        assert_eq!(masked("nonsense"), None);
    }
}
