//! Reads an event's fields, and collects what is wrong with them: one reader for every door.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::consent::{Consent, FLAGS};
use super::faults::{Fault, Faults, MOST_LISTED, Warning};
use super::json::{self, Kind, Object};
use super::money;
use super::text;

/// Characters of an id that is not ours.
pub(super) const MAX_ID: usize = 256;
/// Characters of an event's name.
pub(super) const MAX_EVENT_NAME: usize = 64;
/// Fields of an event's own level: many times what any sender has, and few enough to be compared and listed.
const MOST_FIELDS: usize = 1000;
/// Names in one object that are compared with each other: more than any object of ours has, few enough for a hostile one.
const MOST_COMPARED: usize = 64;

/// Older names that are still understood.
const ALIASES: [(&str, &str); 3] = [
    ("transaction_id", "conversion_id"),
    ("product_id", "id"),
    ("product_name", "name"),
];

/// The value of the field `name`, or of its older name; null, like absence, is nothing.
pub fn get<'a>(object: &Object<'a>, name: &str) -> Option<&'a RawValue> {
    let find = |wanted: &str| {
        object
            .fields
            .iter()
            .find(|(field, raw)| field == wanted && Kind::of(raw) != Kind::Null)
            .map(|(_, raw)| *raw)
    };
    find(name).or_else(|| {
        ALIASES
            .iter()
            .find(|(_, today)| *today == name)
            .and_then(|(older, _)| find(older))
    })
}

/// Collects what is wrong while it reads.
pub(super) struct Reader {
    pub(super) faults: Faults,
    warnings: Vec<Warning>,
    /// Fields of the event that mean something: sent twice, nobody knows which one is meant.
    known: &'static [&'static str],
    /// Whether a field that means nothing, and cannot be kept, costs only itself.
    tolerant: bool,
}

impl Reader {
    /// For a sender that is told what is wrong and can mend it.
    pub(super) fn strict(known: &'static [&'static str]) -> Self {
        Self {
            faults: Faults::default(),
            warnings: Vec::new(),
            known,
            tolerant: false,
        }
    }

    /// For a sender that nobody reads the answers of: a page's title that was cut within a character costs no purchase.
    pub(super) fn tolerant(known: &'static [&'static str]) -> Self {
        Self {
            tolerant: true,
            ..Self::strict(known)
        }
    }

    /// What was read, with what was noticed; or all that is wrong.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<(T, Vec<Warning>), Vec<Fault>> {
        match read {
            Some(read) if self.faults.is_empty() => Ok((read, self.warnings)),
            _ => Err(self.faults.into_vec()),
        }
    }

    /// The event's `consent`; absent is unknown.
    pub(super) fn consent(&mut self, event: &Object<'_>) -> Consent {
        let mut consent = Consent::default();
        let Some(flags) = get(event, "consent").and_then(|raw| self.object("consent", raw)) else {
            return consent;
        };
        for name in FLAGS {
            let Some(raw) = get(&flags, name) else {
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
            let meaningful = !path.is_empty() || self.known.contains(&name.as_ref());
            let tolerated = self.tolerant && !meaningful;
            if name.contains('\0') {
                if tolerated {
                    return false;
                }
                let (code, message) = json::Flaw::Nul.spec();
                self.faults
                    .add(place(name), code, format!("has a name that {message}"));
            }
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
            if let Some(flaw) = flaw.filter(|_| !tolerated) {
                let (code, message) = flaw.spec();
                self.faults.add(place(name), code, message);
            }
            flaw.is_none()
        });
        Some(object)
    }

    /// The value of one of the event's fields; an empty string is taken for absence, and noted.
    pub(super) fn present<'b>(&mut self, event: &Object<'b>, name: &str) -> Option<&'b RawValue> {
        self.present_in(event, "", name)
    }

    /// As `present`, of the object at `path`.
    pub(super) fn present_in<'b>(
        &mut self,
        object: &Object<'b>,
        path: &str,
        name: &str,
    ) -> Option<&'b RawValue> {
        let raw = get(object, name)?;
        if raw.get() == "\"\"" {
            let separator = if path.is_empty() { "" } else { "." };
            let field = format!("{path}{separator}{name}");
            self.warn(field, "empty", "is empty: taken as absent".to_owned());
            return None;
        }
        Some(raw)
    }

    /// As `identifier`, of one of the event's fields, which may be absent.
    pub(super) fn optional_id(&mut self, object: &Object<'_>, name: &str, most: usize) -> Option<String> {
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

    /// An event's name, of characters that every report can show.
    pub(super) fn name_characters(&mut self, name: String) -> Option<String> {
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

    /// Notes that a value is of another type than it must be.
    pub(super) fn wrong_type(&mut self, path: &str, expected: &str, raw: &RawValue) {
        let found = Kind::of(raw).describe();
        self.faults
            .add(path, "wrong_type", format!("must be {expected}, not {found}"));
    }

    /// Notes what the event survives.
    pub(super) fn warn(&mut self, field: String, code: &'static str, message: String) {
        // A warning is bounded like a fault; there are fewer places for them than that.
        if self.warnings.len() < MOST_LISTED {
            self.warnings.push(Warning { field, code, message });
        }
    }
}
