//! What no platform could use.

use super::{Field, is_sha256};

/// Characters that an identifier may have.
const MOST_CHARS: usize = 256;

/// Why an identifier is kept, but not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Nothing, or white space.
    Empty,
    /// Longer than any identifier is.
    TooLong,
    /// No email address.
    NotAnEmail,
    /// No phone number in E.164.
    NotE164,
    /// No country of ISO 3166-1.
    NotIso3166,
    /// Nothing is left of it once it has the form that the platform asks for.
    NothingLeft,
    /// Hashed, and the platform wants it in clear.
    Hashed,
}

impl Unusable {
    /// Code and message.
    pub fn spec(self) -> (&'static str, &'static str) {
        match self {
            Self::Empty => ("empty", "is empty"),
            Self::TooLong => ("too_long", "is longer than 256 characters"),
            Self::NotAnEmail => ("not_an_email", "is not an email address"),
            Self::NotE164 => ("not_e164", "is not in E.164 format, such as +15551234567"),
            Self::NotIso3166 => ("not_iso_3166", "is not an ISO 3166-1 alpha-2 country code"),
            Self::NothingLeft => ("unusable", "has not the form that this platform asks for"),
            Self::Hashed => ("hashed", "is hashed, and this platform wants it in clear"),
        }
    }
}

/// Checks what a sender gave, by the schema of the payload. Email and phone may be hashed.
pub fn check(field: Field, sent: &str) -> Result<(), Unusable> {
    let text = sent.trim();
    if text.is_empty() {
        return Err(Unusable::Empty);
    }
    // Bytes first: counting the characters of a huge text is work for its sender.
    if text.len() > MOST_CHARS * 4 || text.chars().count() > MOST_CHARS {
        return Err(Unusable::TooLong);
    }
    match field {
        Field::Email if !is_sha256(text) && !is_email(text) => Err(Unusable::NotAnEmail),
        Field::Phone if !is_sha256(text) && !is_e164(text) => Err(Unusable::NotE164),
        Field::Country if !is_country(text) => Err(Unusable::NotIso3166),
        _ => Ok(()),
    }
}

pub(super) fn is_email(text: &str) -> bool {
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

    #[test]
    fn hashed_or_in_clear() {
        let hash = "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD";
        assert_eq!(check(Field::Email, hash), Ok(()));
        assert_eq!(check(Field::Phone, &format!(" {hash} ")), Ok(()));
        assert_eq!(check(Field::Country, hash), Err(Unusable::NotIso3166));
        assert_eq!(check(Field::FirstName, " \t"), Err(Unusable::Empty));
        assert_eq!(check(Field::City, &"é".repeat(257)), Err(Unusable::TooLong));
        assert_eq!(check(Field::City, &"é".repeat(256)), Ok(()));
    }
}
