//! A conversion: what a sender says happened, parsed and valid.

mod fields;
mod parse;
mod products;
mod user_data;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

#[cfg(test)]
pub(super) use fields::KNOWN;
pub use fields::{content_differs, with_user_data_of};
pub(super) use parse::Told;
pub use parse::{Arrival, parse};

pub use super::reader::get as field;

use super::consent::Consent;
use super::currency::Currency;
use super::topic::Topic;

/// An amount of money, in major units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    /// Exact; as many fraction digits as were written, at most 4.
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: Currency,
}

/// A valid conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// What kind.
    pub topic: Topic,
    /// The sender's own id: with attribution ID and topic, what makes it one conversion.
    pub conversion_id: String,
    /// Name of a custom event.
    pub event_name: Option<String>,
    /// The purchase that a refund takes back.
    pub purchase_id: Option<String>,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// What it was worth.
    pub money: Option<Money>,
    /// The browser script's id of the visitor: the matching key.
    pub visitor_id: Option<String>,
    /// The sender's id of the user.
    pub user_id: Option<String>,
    /// As the payload says.
    pub consent: Consent,
    /// The event as sent, without personal data: JSON text.
    pub payload: String,
    /// `user_data` and other personal fields: JSON text, to be sealed.
    pub personal: Option<String>,
}
