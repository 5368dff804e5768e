//! The six topics of conversions.

use std::fmt;
use std::str::FromStr;

/// What kind of conversion it is: the last segment of the webhook's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A completed transaction.
    Purchase,
    /// A lead form.
    Lead,
    /// An account created.
    Signup,
    /// A refunded order.
    Refund,
    /// A subscription started.
    Subscription,
    /// Anything else, by name.
    Custom,
}

impl Topic {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Purchase,
        Self::Lead,
        Self::Signup,
        Self::Refund,
        Self::Subscription,
        Self::Custom,
    ];

    /// As in the path and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Lead => "lead",
            Self::Signup => "signup",
            Self::Refund => "refund",
            Self::Subscription => "subscription",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No such topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the topics are purchase, lead, signup, refund, subscription and custom")]
pub struct UnknownTopic;

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, UnknownTopic> {
        Self::ALL
            .into_iter()
            .find(|topic| topic.as_str() == text)
            .ok_or(UnknownTopic)
    }
}
