//! Objects of a request body, as tables: which members there may be, and of what kind.

use std::net::IpAddr;

use chrono::DateTime;
use serde_json::Value;

/// Something that is wrong at one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) message: String,
    /// The platform's own code for it, where it has one.
    pub(super) code: Option<&'static str>,
}

impl Fault {
    pub(super) fn new(field: &str, message: &str) -> Self {
        Self {
            field: field.to_owned(),
            message: message.to_owned(),
            code: None,
        }
    }

    pub(super) fn coded(field: &str, message: &str, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..Self::new(field, message)
        }
    }

    pub(super) fn words(&self) -> String {
        format!("{} {}", self.field, self.message)
    }
}

/// An object's members.
pub(super) struct Shape {
    pub(super) members: &'static [Member],
    /// Whether others may be there as well.
    pub(super) open: bool,
}

/// One member.
pub(super) struct Member {
    name: &'static str,
    kind: Kind,
    required: bool,
}

/// A member that must be there.
pub(super) const fn must(name: &'static str, kind: Kind) -> Member {
    Member {
        name,
        kind,
        required: true,
    }
}

/// A member that may be there.
pub(super) const fn may(name: &'static str, kind: Kind) -> Member {
    Member {
        name,
        kind,
        required: false,
    }
}

/// What a member is.
pub(super) enum Kind {
    Any,
    /// Text, not empty.
    Text,
    /// A text of these.
    OneOf(&'static [&'static str]),
    /// A text of a form of its own.
    Form(fn(&str) -> bool, &'static str),
    Int,
    Number,
    Bool,
    /// A list of texts, not empty.
    Texts,
    /// SHA-256 in lower-case hex.
    Sha,
    /// One of them, or a list, not empty.
    Shas,
    /// Ids that may be hashed or not: a text, or a list.
    Ids,
    Ip,
    Url,
    Currency,
    /// A decimal number as text.
    Decimal,
    Rfc3339,
    Object(&'static Shape),
    /// A list of objects, not empty.
    List(&'static Shape),
}

/// Notes what is wrong with an object.
pub(super) fn check(value: &Value, shape: &Shape, path: &str, faults: &mut Vec<Fault>) {
    let at = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    let Some(object) = value.as_object() else {
        faults.push(Fault::new(&at(""), "must be an object"));
        return;
    };
    for member in shape.members {
        match object.get(member.name) {
            Some(value) => member.kind.check(value, &at(member.name), faults),
            None if member.required => faults.push(Fault::new(&at(member.name), "is required")),
            None => {}
        }
    }
    if shape.open {
        return;
    }
    for name in object.keys() {
        if shape.members.iter().all(|member| member.name != name) {
            faults.push(Fault::new(&at(name), "is no field of this platform"));
        }
    }
}

impl Kind {
    fn check(&self, value: &Value, path: &str, faults: &mut Vec<Fault>) {
        let text = |holds: fn(&str) -> bool| value.as_str().is_some_and(holds);
        let filled = |text: &str| !text.trim().is_empty();
        let all = |holds: fn(&str) -> bool| match value {
            Value::Array(items) => {
                !items.is_empty() && items.iter().all(|item| item.as_str().is_some_and(holds))
            }
            _ => text(holds),
        };
        let (holds, must) = match self {
            Self::Any => (true, ""),
            Self::Text => (text(filled), "must be a text that is not empty"),
            Self::OneOf(words) => (
                value.as_str().is_some_and(|text| words.contains(&text)),
                "is none of the words that may stand here",
            ),
            Self::Form(form, must) => (text(*form), *must),
            Self::Int => (value.is_i64() || value.is_u64(), "must be an integer"),
            Self::Number => (value.is_number(), "must be a number"),
            Self::Bool => (value.is_boolean(), "must be true or false"),
            Self::Texts => (
                value.is_array() && all(filled),
                "must be a list of texts that are not empty",
            ),
            Self::Sha => (text(is_sha), "must be SHA-256 in lower-case hex"),
            Self::Shas => (all(is_sha), "must be SHA-256 in lower-case hex, one or a list"),
            Self::Ids => (all(filled), "must be a text or a list of texts"),
            Self::Ip => (
                text(|text| text.parse::<IpAddr>().is_ok()),
                "must be an address in clear",
            ),
            Self::Url => (
                text(|text| text.starts_with("https://") || text.starts_with("http://")),
                "must be a URL",
            ),
            Self::Currency => (
                text(|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())),
                "must be a currency of three capitals",
            ),
            Self::Decimal => (text(is_decimal), "must be a decimal number as text"),
            Self::Rfc3339 => (
                text(|text| DateTime::parse_from_rfc3339(text).is_ok()),
                "must be a time of RFC 3339",
            ),
            Self::Object(shape) => {
                check(value, shape, path, faults);
                return;
            }
            Self::List(shape) => {
                match value.as_array() {
                    Some(items) if !items.is_empty() => {
                        for (index, item) in items.iter().enumerate() {
                            check(item, shape, &format!("{path}.{index}"), faults);
                        }
                    }
                    _ => faults.push(Fault::new(path, "must be a list that is not empty")),
                }
                return;
            }
        };
        if !holds {
            faults.push(Fault::new(path, must));
        }
    }
}

pub(super) fn is_sha(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    is_digits(whole) && is_digits(fraction)
}

/// Two small letters.
pub(super) fn is_lower_pair(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Two capitals.
pub(super) fn is_upper_pair(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Letters and digits, none of them a capital.
pub(super) fn is_lower_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() && !c.is_uppercase())
}
