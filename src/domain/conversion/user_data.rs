//! `user_data`: identifiers for forwarding. One that no ad platform could use is a warning, whatever is wrong with it: the event stands.

use serde_json::value::RawValue;

use super::parse::Reader;
use crate::domain::json::{self, Kind, Object};

const MOST_CHARS: usize = 256;
const NAMES: [&str; 2] = ["first_name", "last_name"];
const ADDRESS: [&str; 4] = ["street", "city", "region", "postal_code"];

/// Notes what is wrong with `user_data`.
pub fn check(reader: &mut Reader, raw: &RawValue) {
    let Some(object) = reader.object("user_data", raw) else {
        return;
    };
    identifier(reader, &object, "user_data", "email", |text| {
        (!is_sha256(text) && !is_email(text)).then_some(("not_an_email", "is not an email address"))
    });
    identifier(reader, &object, "user_data", "phone", |text| {
        (!is_sha256(text) && !is_e164(text))
            .then_some(("not_e164", "is not in E.164 format, such as +15551234567"))
    });
    for name in NAMES {
        identifier(reader, &object, "user_data", name, |_| None);
    }
    let Some(raw) = super::fields::get(&object, "address") else {
        return;
    };
    if Kind::of(raw) != Kind::Object {
        not_forwarded(
            reader,
            "user_data.address".to_owned(),
            "wrong_type",
            "is no object",
        );
        return;
    }
    let Some(address) = reader.object("user_data.address", raw) else {
        return;
    };
    for name in ADDRESS {
        identifier(reader, &address, "user_data.address", name, |_| None);
    }
    identifier(reader, &address, "user_data.address", "country", |text| {
        (!is_country(text)).then_some(("not_iso_3166", "is not an ISO 3166-1 alpha-2 country code"))
    });
}

/// Checks one identifier; `unusable` gives code and message where no platform could use it.
fn identifier(
    reader: &mut Reader,
    object: &Object<'_>,
    path: &str,
    name: &str,
    unusable: impl Fn(&str) -> Option<(&'static str, &'static str)>,
) {
    let Some(raw) = super::fields::get(object, name) else {
        return;
    };
    let path = format!("{path}.{name}");
    let Some(text) = json::string(raw) else {
        not_forwarded(reader, path, "wrong_type", "is no string");
        return;
    };
    let text = text.trim();
    let problem = match text {
        "" => Some(("empty", "is empty")),
        _ if text.chars().count() > MOST_CHARS => Some(("too_long", "is longer than 256 characters")),
        _ => unusable(text),
    };
    if let Some((code, message)) = problem {
        not_forwarded(reader, path, code, message);
    }
}

fn not_forwarded(reader: &mut Reader, path: String, code: &'static str, message: &str) {
    reader.warn(path, code, format!("{message}: kept, but not forwarded"));
}

/// 64 hex digits: hashed by the sender already.
fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    !local.is_empty()
        && local.chars().count() <= 64
        && !local.contains('@')
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && domain.contains('.')
        && domain.split('.').all(label)
}

fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else {
        return false;
    };
    (7..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.is_ascii() && rust_iso3166::from_alpha2(&text.to_ascii_uppercase()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        let hash = "a".repeat(64);
        for good in [
            "jane@example.com",
            "a+b@sub.example.co",
            "Jane.Doe@EXAMPLE.com",
            "用户@例子.中国",
        ] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "jane",
            "jane@",
            "@x.y",
            "jane@localhost",
            "a b@x.y",
            "a@b@c.d",
            "a@-x.y",
            "a@x..y",
            &hash,
        ] {
            assert!(!is_email(bad), "{bad}");
        }
        for good in ["+15551234567", "+4915112345678"] {
            assert!(is_e164(good), "{good}");
        }
        for bad in [
            "15551234567",
            "+1 555 123 4567",
            "+0123456789",
            "+12345",
            "+1234567890123456",
            "+",
        ] {
            assert!(!is_e164(bad), "{bad}");
        }
        assert!(is_sha256(&hash) && !is_sha256(&hash[1..]));
        assert!(
            is_country("US")
                && is_country("de")
                && !is_country("XQ")
                && !is_country("USA")
                && !is_country("é")
        );
    }
}
