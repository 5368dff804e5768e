//! What becomes of a delivery, and why.

use std::fmt;
use std::str::FromStr;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DeliveryState)]
pub enum State {
    /// To be sent, for the first time or again.
    Queued,
    /// Handed over to a platform that never says whether it took it.
    Sent,
    /// Taken by the platform.
    Accepted,
    /// Worked in, as the platform says later.
    Processed,
    /// Not to be sent.
    Suppressed,
    /// Too old for the platform before it was taken.
    Expired,
    /// Refused for good.
    Dead,
}

impl State {
    /// All of them, in the order of a delivery's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Sent,
        Self::Accepted,
        Self::Processed,
        Self::Suppressed,
        Self::Expired,
        Self::Dead,
    ];

    /// As in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Accepted => "accepted",
            Self::Processed => "processed",
            Self::Suppressed => "suppressed",
            Self::Expired => "expired",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No such state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the states are queued, sent, accepted, processed, suppressed, expired and dead")]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        // What is dead has failed, and people look for that word too.
        let name = if text == "failed" { "dead" } else { text };
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or(UnknownState)
    }
}

/// Why a delivery is suppressed, expired or dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The visitor refused advertising.
    ConsentDenied,
    /// Nobody asked the visitor.
    ConsentUnknown,
    /// The platform takes no such conversions.
    TopicNotSupported,
    /// The destination is not set to get such conversions.
    TopicNotSent,
    /// No session was found, and the destination gets matched conversions only.
    NotMatched,
    /// The credited click is not the platform's, and the destination gets only those.
    NotOwnClick,
    /// The destination was taken away.
    DestinationRemoved,
    /// Nothing that the platform could recognise the visitor by.
    NoIdentifiers,
    /// Past the platform's maximum age.
    TooOld,
    /// The platform refuses this event.
    Refused,
    /// It was tried for as long as is tried, and the platform never took it.
    GaveUp,
    /// The purchase that a refund adjusts never reached the platform.
    PurchaseNotDelivered,
    /// Something that the event needs can no longer be read.
    Unreadable,
}

impl Reason {
    /// As in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsentDenied => "consent_denied",
            Self::ConsentUnknown => "consent_unknown",
            Self::TopicNotSupported => "topic_not_supported",
            Self::TopicNotSent => "topic_not_sent",
            Self::NotMatched => "not_matched",
            Self::NotOwnClick => "not_own_click",
            Self::DestinationRemoved => "destination_removed",
            Self::NoIdentifiers => "no_identifiers",
            Self::TooOld => "too_old",
            Self::Refused => "refused",
            Self::GaveUp => "gave_up",
            Self::PurchaseNotDelivered => "purchase_not_delivered",
            Self::Unreadable => "unreadable",
        }
    }
}
