//! What the visitor agreed to. Absent is unknown, and unknown is not granted.

use serde::{Deserialize, Serialize};

use super::json::{Kind, Object};
use super::reader::get;

/// The four flags of a payload or a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Consent {
    /// May be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analytics: Option<bool>,
    /// May be sent to ad platforms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertising: Option<bool>,
    /// May be remembered for convenience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferences: Option<bool>,
    /// False: the visitor opted out of the sale of data (US).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale_of_data: Option<bool>,
}

impl Consent {
    /// What a stored event says, JSON text. It was checked when it came; what cannot be read was not granted.
    pub fn of_event(event: &str) -> Self {
        let event: Option<Object<'_>> = serde_json::from_str(event).ok();
        let flags = event.and_then(|event| get(&event, "consent"));
        flags.map_or_else(Self::default, |flags| Self::of_flags(flags.get()))
    }

    /// What the `consent` of a stored event says, JSON text. Whatever else the sender put there is not looked at: a number beyond all bounds
    /// says nothing of consent, and stands in nobody's way.
    pub fn of_flags(flags: &str) -> Self {
        let Ok(flags) = serde_json::from_str::<Object<'_>>(flags) else {
            return Self::default();
        };
        let flag = |name: &str| {
            get(&flags, name)
                .filter(|raw| Kind::of(raw) == Kind::Bool)
                .map(|raw| raw.get() == "true")
        };
        Self {
            analytics: flag("analytics"),
            advertising: flag("advertising"),
            preferences: flag("preferences"),
            sale_of_data: flag("sale_of_data"),
        }
    }

    /// Each flag, or where nothing is said the other's.
    pub fn or(self, other: Self) -> Self {
        Self {
            analytics: self.analytics.or(other.analytics),
            advertising: self.advertising.or(other.advertising),
            preferences: self.preferences.or(other.preferences),
            sale_of_data: self.sale_of_data.or(other.sale_of_data),
        }
    }
}

/// The names of the flags on the wire.
pub const FLAGS: [&str; 4] = ["analytics", "advertising", "preferences", "sale_of_data"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flags_are_read() {
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let table = [
            (r#"{"advertising":true}"#.to_owned(), Some(true)),
            (
                r#"{"x":1e999,"advertising":true,"y":-1e999999}"#.to_owned(),
                Some(true),
            ),
            (format!(r#"{{"x":{deep},"advertising":false}}"#), Some(false)),
            (r#"{"\u0061dvertising":true}"#.to_owned(), Some(true)),
            (r#"{"advertising":null}"#.to_owned(), None),
            (r#"{"advertising":1e999}"#.to_owned(), None),
            (r#"{"advertising":"true"}"#.to_owned(), None),
            ("[true]".to_owned(), None),
            ("null".to_owned(), None),
            (String::new(), None),
        ];
        for (flags, expected) in table {
            assert_eq!(Consent::of_flags(&flags).advertising, expected, "{flags}");
            let event = format!(r#"{{"value":1e999,"consent":{flags},"z":1e999}}"#);
            assert_eq!(Consent::of_event(&event).advertising, expected, "{event}");
        }
    }
}
