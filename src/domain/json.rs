//! JSON as it was sent: objects keep their order, their duplicates and the digits of their numbers.

use std::borrow::Cow;
use std::fmt;

use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Levels of nesting that a field may have.
pub const MAX_DEPTH: usize = 64;

/// An object's fields, in order, duplicates and all; values are raw text that is known to be well-formed.
#[derive(Debug)]
pub struct Object<'a> {
    /// Name and value of each field.
    pub fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Object { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A field's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// Digits.
    Number,
    /// Text.
    String,
    /// `[...]`
    Array,
    /// `{...}`
    Object,
}

impl Kind {
    /// The kind of a well-formed value.
    pub fn of(raw: &RawValue) -> Self {
        match raw.get().as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Bool,
            Some(b'"') => Self::String,
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            _ => Self::Number,
        }
    }

    /// For messages, with its article.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// What a well-formed value may hold that nothing downstream can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
    /// `\u0000`: Postgres has no such character in text.
    Nul,
    /// Half of a surrogate pair: no Unicode text.
    LoneSurrogate,
}

impl Flaw {
    /// Code and message of the fault.
    pub fn spec(self) -> (&'static str, &'static str) {
        match self {
            Self::TooDeep => ("too_deep", "is nested more than 64 levels deep"),
            Self::Nul => (
                "nul_character",
                "holds the character U+0000, which cannot be stored",
            ),
            Self::LoneSurrogate => (
                "lone_surrogate",
                "holds half of a surrogate pair, which is not Unicode text",
            ),
        }
    }
}

/// Looks through a well-formed value for what cannot be kept. One pass, no recursion.
pub fn inspect(raw: &RawValue) -> Result<(), Flaw> {
    let bytes = raw.get().as_bytes();
    if !matches!(bytes.first(), Some(b'{' | b'[')) && !bytes.contains(&b'\\') {
        return Ok(());
    }
    let mut depth = 0usize;
    let mut in_string = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => in_string = !in_string,
            b'\\' => {
                at += match bytes.get(at) {
                    Some(b'u') => escape_length(bytes.get(at + 1..).unwrap_or_default())?,
                    _ => 1,
                }
            }
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Flaw::TooDeep);
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Bytes after the backslash of a `\uXXXX` escape, a whole surrogate pair taken as one; `hex` begins at its digits.
fn escape_length(hex: &[u8]) -> Result<usize, Flaw> {
    match code_unit(hex) {
        0 => Err(Flaw::Nul),
        0xD800..=0xDBFF => match hex.get(4..6) {
            Some(b"\\u") if (0xDC00..=0xDFFF).contains(&code_unit(hex.get(6..).unwrap_or_default())) => {
                Ok(11)
            }
            _ => Err(Flaw::LoneSurrogate),
        },
        0xDC00..=0xDFFF => Err(Flaw::LoneSurrogate),
        _ => Ok(5),
    }
}

fn code_unit(hex: &[u8]) -> u32 {
    let digits = hex.get(..4).unwrap_or_default().iter();
    digits.fold(0, |unit, digit| {
        unit * 16 + char::from(*digit).to_digit(16).unwrap_or(0)
    })
}

/// The text of a string that [`inspect`] let pass; none for any other kind.
pub fn string<'a>(raw: &'a RawValue) -> Option<Cow<'a, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(raw.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Whether two values say the same: digits, escapes, order of fields and white space aside.
pub fn same(a: &RawValue, b: &RawValue) -> bool {
    if a.get() == b.get() {
        return true;
    }
    if let (Some(a), Some(b)) = (decimal(a), decimal(b)) {
        return a == b;
    }
    match (
        serde_json::from_str::<serde_json::Value>(a.get()),
        serde_json::from_str::<serde_json::Value>(b.get()),
    ) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn decimal(raw: &RawValue) -> Option<Decimal> {
    let text = string(raw).unwrap_or(Cow::Borrowed(raw.get()));
    super::money::parse(&text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn flaws() {
        let table = [
            (r#""plain""#, Ok(())),
            (r#""\u00e9\n\"""#, Ok(())),
            (r#""\ud83d\ude00""#, Ok(())),
            (r#""\\u0000""#, Ok(())),
            (r#""a\u0000""#, Err(Flaw::Nul)),
            (r#"{"a":["\u0000"]}"#, Err(Flaw::Nul)),
            (r#"{"\u0000":1}"#, Err(Flaw::Nul)),
            (r#""\ud83d""#, Err(Flaw::LoneSurrogate)),
            (r#""\ud83dx\ude00""#, Err(Flaw::LoneSurrogate)),
            (r#""\ude00""#, Err(Flaw::LoneSurrogate)),
            (r#""\ud83d\ud83d""#, Err(Flaw::LoneSurrogate)),
            (r#"["[[[", {"]": "}"}]"#, Ok(())),
        ];
        for (text, expected) in table {
            assert_eq!(inspect(&raw(text)), expected, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |levels: usize| raw(&("[".repeat(levels) + &"]".repeat(levels)));
        assert_eq!(inspect(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(inspect(&nested(MAX_DEPTH + 1)), Err(Flaw::TooDeep));
        assert_eq!(inspect(&nested(200_000)), Err(Flaw::TooDeep));
    }

    #[test]
    fn sameness() {
        let table = [
            ("99", "99.00", true),
            ("99", "\"99.0\"", true),
            ("1e2", "100", true),
            ("99", "99.01", false),
            (r#"{"a":1,"b":[1,2]}"#, r#"{ "b" : [1, 2], "a" : 1 }"#, true),
            (r#"[1,2]"#, r#"[2,1]"#, false),
            (r#""é""#, r#""\u00e9""#, true),
            ("true", "\"true\"", false),
        ];
        for (a, b, expected) in table {
            assert_eq!(same(&raw(a), &raw(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn objects_keep_order_and_duplicates() {
        let object: Object<'_> = serde_json::from_str(r#"{"b":1,"\u0061":2,"b":3}"#).unwrap();
        let seen: Vec<_> = object
            .fields
            .iter()
            .map(|(name, value)| (name.as_ref(), value.get()))
            .collect();
        assert_eq!(seen, [("b", "1"), ("a", "2"), ("b", "3")]);
    }

    proptest! {
        /// What passes the inspection is text that the strict parser takes too, and the other way round.
        #[test]
        fn strings_agree_with_the_strict_parser(units in proptest::collection::vec(any::<u16>(), 0..6)) {
            let text: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let value = raw(&format!("\"{text}\""));
            let strict = serde_json::from_str::<String>(value.get());
            let expected = match &strict {
                Ok(text) if !text.contains('\0') => Ok(()),
                _ => Err(()),
            };
            prop_assert_eq!(inspect(&value).map_err(|_| ()), expected);
        }
    }
}
