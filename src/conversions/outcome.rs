//! What became of a conversion.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::record::Draft;
use crate::attribution::Attribution;
use crate::domain::touch::Touch;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored now.
    Recorded(Receipt),
    /// It was there; the first one stands.
    Duplicate {
        /// Of the first one.
        first: Receipt,
        /// Names of the fields in which the repeat differs.
        differs: Vec<String>,
    },
    /// The database takes no such row, and never will: a fault that our checks should have found.
    Unstorable,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Our id of the conversion.
    pub event_id: Uuid,
    /// Where it came from.
    pub matched: Match,
}

/// The match, as far as an answer tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// `matched`, or why not.
    pub reason: Cow<'static, str>,
    /// What last click credits.
    pub credit: Option<Credit>,
    /// When the session nearest to the window began, where there was one outside it.
    pub nearest_session_at: Option<DateTime<Utc>>,
    /// When the conversion happened.
    pub event_time: DateTime<Utc>,
    /// The window that held.
    pub lookback_days: i16,
}

/// The last click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// The touch.
    pub touch: Touch,
    /// Touches in the journey.
    pub touches: usize,
}

impl Outcome {
    /// That of a conversion which was not there before.
    pub fn recorded(draft: &Draft, attribution: Attribution) -> Self {
        Self::Recorded(Receipt::new(draft, attribution))
    }

    /// The conversion that stands, whether stored now or before.
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Recorded(receipt) | Self::Duplicate { first: receipt, .. } => Some(receipt),
            Self::Unstorable => None,
        }
    }
}

impl Receipt {
    /// That of a conversion which is the first of its identity.
    pub fn new(draft: &Draft, attribution: Attribution) -> Self {
        let (event_time, lookback_days) = (draft.conversion.event_time, draft.origin.lookback_days);
        Self {
            event_id: draft.event_id,
            matched: Match::of(attribution, event_time, lookback_days),
        }
    }
}

impl Match {
    /// What an attribution comes down to.
    pub fn of(attribution: Attribution, event_time: DateTime<Utc>, lookback_days: i16) -> Self {
        Self {
            reason: attribution.reason().into(),
            nearest_session_at: attribution.nearest_session_at(),
            credit: match attribution {
                Attribution::Matched(mut journey) => {
                    let touches = journey.len();
                    journey.pop().map(|touch| Credit { touch, touches })
                }
                Attribution::Unmatched(_) => None,
            },
            event_time,
            lookback_days,
        }
    }

    /// Whether a session was found.
    pub fn is_matched(&self) -> bool {
        self.credit.is_some()
    }

    /// Whole days from the nearest session to the conversion; below zero when the session came after it.
    pub fn nearest_session_days(&self) -> Option<i64> {
        self.nearest_session_at
            .map(|at| (self.event_time - at).num_days())
    }
}
