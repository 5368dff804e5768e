//! The sender's own ids of people: their form is nobody's business, but spelling must not make two of one.

use super::{something, without};

/// As written.
pub fn trimmed(text: &str) -> Option<String> {
    something(text.trim().to_owned())
}

/// Trimmed, lower case.
pub fn lower(text: &str) -> Option<String> {
    something(text.trim().to_lowercase())
}

/// Lower case, without white space.
pub fn compact(text: &str) -> Option<String> {
    something(without(&text.to_lowercase(), char::is_whitespace))
}
