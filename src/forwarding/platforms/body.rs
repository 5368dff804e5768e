//! Pieces of request bodies.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::{Number, Value};

use super::Event;

/// An amount as a JSON number. Every platform reads a double: its shortest digits are the amount's own, up to 15 of them.
pub(super) fn number(amount: Decimal) -> Value {
    let amount = amount.normalize();
    if amount.scale() == 0
        && let Some(whole) = amount.to_i64()
    {
        return Value::from(whole);
    }
    amount
        .to_string()
        .parse()
        .ok()
        .and_then(Number::from_f64)
        .map_or(Value::Null, Value::Number)
}

/// An amount as text, with the digits that were written.
pub(super) fn decimal(amount: Decimal) -> Value {
    Value::String(amount.to_string())
}

/// RFC 3339 in UTC, to the second, or finer where there is more to say.
pub(super) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// At most `most` characters.
pub(super) fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(at, _)| &text[..at])
}

/// The value without null and empty members, at every depth; none, where nothing is left.
pub(super) fn pruned(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then_some(Value::String(text)),
        Value::Array(items) => {
            let kept: Vec<Value> = items.into_iter().filter_map(pruned).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Value::Object(members) => {
            let kept: serde_json::Map<_, _> = members
                .into_iter()
                .filter_map(|(name, value)| pruned(value).map(|value| (name, value)))
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        other => Some(other),
    }
}

/// An object with the events in `list`, and `rest`'s members after it.
pub(super) fn envelope(list: &str, events: &[Event], rest: Value) -> String {
    let events: Vec<&str> = events.iter().map(Event::json).collect();
    let events = events.join(",");
    match pruned(rest) {
        Some(rest) => format!(
            "{{\"{list}\":[{events}],{}",
            rest.to_string().trim_start_matches('{')
        ),
        None => format!("{{\"{list}\":[{events}]}}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_keep_their_digits() {
        for (amount, expected) in [
            ("99.00", "99"),
            ("99.90", "99.9"),
            ("0.00", "0"),
            ("0.0001", "0.0001"),
            ("1234567890.1234", "1234567890.1234"),
            ("999999999999999", "999999999999999"),
        ] {
            assert_eq!(number(amount.parse().unwrap()).to_string(), expected);
        }
        assert_eq!(decimal("99.00".parse().unwrap()), "99.00");
    }

    #[test]
    fn what_is_empty_is_not_there() {
        let value = json!({"a": null, "b": "", "c": [], "d": {"e": [null, ""]}, "f": false, "g": 0, "h": ["x", null]});
        assert_eq!(pruned(value), Some(json!({"f": false, "g": 0, "h": ["x"]})));
    }

    #[test]
    fn cuts_at_characters() {
        assert_eq!(cut("münze", 2), "mü");
        assert_eq!(cut("ab", 2), "ab");
    }
}
