//! Reads a destination's settings: every fault at once, and no value in any message.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::Platform;
use crate::domain::faults::{Fault, Faults};
use crate::domain::topic::Topic;

/// Characters of a secret, at most.
const MOST_SECRET: usize = 4096;

/// What a setting must look like.
pub(super) struct Shape {
    pub(super) holds: fn(&str) -> bool,
    pub(super) must: &'static str,
}

/// An id made of digits.
pub(super) const DIGITS: Shape = Shape {
    holds: |text| (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    must: "must be made of digits",
};

/// An id that can stand in a URL's path.
pub(super) const WORD: Shape = Shape {
    holds: |text| {
        (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    },
    must: "must be made of letters, digits, _ and -",
};

/// Text that can stand in a form or a body.
pub(super) const TEXT: Shape = Shape {
    holds: |text| (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()),
    must: "must be made of visible ASCII characters",
};

/// The settings, and what is wrong with them.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    known: Vec<&'static str>,
    faults: Faults,
}

/// Reads settings with a platform's reader.
pub(super) fn read<P: Platform + 'static>(
    settings: &Value,
    reader: fn(&mut Fields<'_>) -> Option<P>,
) -> Result<Box<dyn Platform>, Vec<Fault>> {
    let mut faults = Faults::default();
    let Some(object) = settings.as_object() else {
        faults.add("settings", "wrong_type", "must be an object");
        return Err(faults.into_vec());
    };
    let mut fields = Fields {
        object,
        known: Vec::new(),
        faults,
    };
    let platform = reader(&mut fields);
    fields.refuse_unknown();
    match platform {
        Some(platform) if fields.faults.is_empty() => Ok(Box::new(platform)),
        _ => Err(fields.faults.into_vec()),
    }
}

impl Fields<'_> {
    /// A setting that must be there.
    pub(super) fn text(&mut self, name: &'static str, shape: &Shape) -> Option<String> {
        let text = self.optional_text(name, shape);
        self.required(name, text.is_some());
        text
    }

    /// A setting that may be left out.
    pub(super) fn optional_text(&mut self, name: &'static str, shape: &Shape) -> Option<String> {
        let text = self.string(name)?;
        if !(shape.holds)(&text) {
            self.fault(name, "invalid", shape.must);
            return None;
        }
        Some(text)
    }

    /// A secret that must be there.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let secret = self.optional_secret(name);
        self.required(name, secret.is_some());
        secret
    }

    /// A secret that may be left out.
    pub(super) fn optional_secret(&mut self, name: &'static str) -> Option<SecretString> {
        let text = self.string(name)?;
        let sane =
            (1..=MOST_SECRET).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !sane {
            self.fault(
                name,
                "invalid",
                "must be made of visible ASCII characters, without white space",
            );
            return None;
        }
        Some(SecretString::from(text))
    }

    /// An object of topics that must be there, with one entry or more. Refunds adjust what their purchase made.
    pub(super) fn by_topic(&mut self, name: &'static str, shape: &Shape) -> Option<BTreeMap<Topic, String>> {
        self.known.push(name);
        let object = match self.object.get(name) {
            None | Some(Value::Null) => {
                self.required(name, false);
                return None;
            }
            Some(Value::Object(object)) if !object.is_empty() => object,
            Some(_) => {
                self.fault(name, "wrong_type", "must be an object with a topic or more");
                return None;
            }
        };
        let mut ids = BTreeMap::new();
        let mut bad = false;
        for (key, value) in object {
            let topic = key.parse::<Topic>().ok().filter(|topic| *topic != Topic::Refund);
            // A number is an id that somebody wrote without quotes.
            let id = match value {
                Value::String(text) => Some(text.trim().to_owned()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            match (topic, id) {
                (Some(topic), Some(id)) if (shape.holds)(&id) => {
                    ids.insert(topic, id);
                    continue;
                }
                (Some(topic), _) => self.faults.add(format!("{name}.{topic}"), "invalid", shape.must),
                (None, _) => self.faults.add(
                    name,
                    "unknown_topic",
                    "may have the topics purchase, lead, signup, subscription and custom",
                ),
            }
            bad = true;
        }
        (!bad).then_some(ids)
    }

    /// Whether a setting is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    /// Adds a fault.
    pub(super) fn fault(&mut self, name: &str, code: &'static str, message: impl Into<String>) {
        self.faults.add(name, code, message);
    }

    fn string(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        match self.object.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => {
                self.fault(name, "wrong_type", "must be a string");
                None
            }
        }
    }

    fn required(&mut self, name: &'static str, there: bool) {
        // Where something is there, what is wrong with it has been said.
        if !there && !self.has(name) {
            self.fault(name, "required", "is required");
        }
    }

    fn refuse_unknown(&mut self) {
        let known = self.known.join(", ");
        for name in self
            .object
            .keys()
            .filter(|name| !self.known.contains(&name.as_str()))
        {
            let name = crate::domain::text::shown(name, 64);
            self.faults.add(
                name,
                "unknown_setting",
                format!("is no setting; the settings are {known}"),
            );
        }
    }
}
