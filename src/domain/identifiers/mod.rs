//! Identifiers of people, as each ad platform wants them: normalised, and hashed where it says so. Pure.
//!
//! What a sender is told to be unusable is used nowhere: [`check`] is asked first, for the webhook's warnings and for every platform.

mod address;
mod email;
mod name;
mod opaque;
mod phone;
mod regions;
mod rules;
mod valid;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

pub use rules::{Rule, Rules};
pub use valid::{Unusable, check};

/// What identifies a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// An email address.
    Email,
    /// A phone number in E.164.
    Phone,
    /// The given name.
    FirstName,
    /// The family name.
    LastName,
    /// Street and number.
    Street,
    /// The city.
    City,
    /// State or province.
    Region,
    /// The postal code.
    PostalCode,
    /// ISO 3166-1 alpha-2.
    Country,
    /// The sender's own id of the person.
    ExternalId,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Email,
        Self::Phone,
        Self::FirstName,
        Self::LastName,
        Self::Street,
        Self::City,
        Self::Region,
        Self::PostalCode,
        Self::Country,
        Self::ExternalId,
    ];

    /// Where a payload has it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Email => "user_data.email",
            Self::Phone => "user_data.phone",
            Self::FirstName => "user_data.first_name",
            Self::LastName => "user_data.last_name",
            Self::Street => "user_data.address.street",
            Self::City => "user_data.address.city",
            Self::Region => "user_data.address.region",
            Self::PostalCode => "user_data.address.postal_code",
            Self::Country => "user_data.address.country",
            Self::ExternalId => "user_id",
        }
    }
}

/// 64 hex digits: hashed by the sender already.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing into a String cannot fail.
        let _never = write!(hex, "{byte:02x}");
        hex
    })
}

/// The text without what `unwanted` names.
fn without(text: &str, unwanted: impl Fn(char) -> bool) -> String {
    text.chars().filter(|c| !unwanted(*c)).collect()
}

/// Nothing, where nothing is left.
fn something(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
