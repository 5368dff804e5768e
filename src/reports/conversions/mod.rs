//! Conversions one by one: the list, and all that is known of one.

mod cursor;
mod detail;
mod store;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

pub use cursor::{BadCursor, Cursor};
pub use detail::{AtLookback, Detail, Personal, Related, Repeat, Share, Version, Why, find};

use crate::domain::topic::Topic;
use crate::platform::clock::id_at;

/// Conversions on a page, at most.
pub const MOST_ON_PAGE: u16 = 100;
/// Conversions that are looked through for one page, at most.
const MOST_LOOKED_THROUGH: i64 = 10_000;

/// Which conversions are wanted.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The tenant.
    pub property_id: Uuid,
    /// One stream; none: all of the property.
    pub attribution_id: Option<Uuid>,
    /// One topic.
    pub topic: Option<Topic>,
    /// Matched, or why not.
    pub outcome: Option<MatchFilter>,
    /// Source of the last click; empty: without one.
    pub source: Option<String>,
    /// Medium of the last click, likewise.
    pub medium: Option<String>,
    /// Campaign of the last click, likewise.
    pub campaign: Option<String>,
    /// Received at or after, to the millisecond.
    pub from: Option<DateTime<Utc>>,
    /// Received before.
    pub until: Option<DateTime<Utc>>,
    /// The sender's id or ours, exactly; of the other filters, only stream and topic hold then.
    pub conversion_id: Option<String>,
}

impl Filter {
    /// All of a property.
    pub fn new(property_id: Uuid) -> Self {
        Self {
            property_id,
            attribution_id: None,
            topic: None,
            outcome: None,
            source: None,
            medium: None,
            campaign: None,
            from: None,
            until: None,
            conversion_id: None,
        }
    }
}

/// What became of the match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchFilter {
    /// Somebody has the credit.
    Matched,
    /// Nobody has.
    Unmatched,
    /// No visitor was named.
    NoVisitorId,
    /// The visitor has no session.
    UnknownVisitor,
    /// The visitor has none in the window.
    OutsideLookback,
}

/// No such outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be matched, unmatched, no_visitor_id, unknown_visitor or outside_lookback")]
pub struct UnknownOutcome;

impl std::str::FromStr for MatchFilter {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        Ok(match text {
            "matched" => Self::Matched,
            "unmatched" => Self::Unmatched,
            "no_visitor_id" => Self::NoVisitorId,
            "unknown_visitor" => Self::UnknownVisitor,
            "outside_lookback" => Self::OutsideLookback,
            _ => return Err(UnknownOutcome),
        })
    }
}

impl MatchFilter {
    /// The reasons that it stands for, as in the database.
    fn reasons(self) -> &'static [&'static str] {
        match self {
            Self::Matched => &["matched"],
            Self::Unmatched => &["no_visitor_id", "unknown_visitor", "outside_lookback"],
            Self::NoVisitorId => &["no_visitor_id"],
            Self::UnknownVisitor => &["unknown_visitor"],
            Self::OutsideLookback => &["outside_lookback"],
        }
    }
}

/// A conversion in a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Conversion {
    /// Our id of it.
    pub event_id: Uuid,
    /// The stream.
    pub attribution_id: Uuid,
    /// The topic's name.
    pub topic: String,
    /// The sender's id of it.
    pub conversion_id: String,
    /// Name of a custom event.
    pub event_name: Option<String>,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// What it was worth, in major units.
    pub value: Option<Decimal>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// `matched`, or why not: `no_visitor_id`, `unknown_visitor`, `outside_lookback`.
    pub reason: String,
    /// When the match was made, where it came after the conversion.
    pub matched_late_at: Option<DateTime<Utc>>,
    /// Through which door it came: `webhook` or `sdk`.
    pub via: String,
    /// The last click; none without a match.
    pub last_click: Option<LastClick>,
}

/// The touch that last click credits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastClick {
    /// The way in, as marketers count them.
    pub channel: String,
    /// `utm_source` or what stands for it.
    pub source: Option<String>,
    /// `utm_medium` or what stands for it.
    pub medium: Option<String>,
    /// `utm_campaign`.
    pub campaign: Option<String>,
    /// Name of the click id.
    pub click_id: Option<String>,
    /// When it was.
    pub clicked_at: DateTime<Utc>,
    /// Touches of the journey.
    pub touches: i16,
}

/// A page of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    /// The newest first, by when they came in.
    pub conversions: Vec<Conversion>,
    /// Where the next page begins; none behind the last. A page that is not full has one, too, where only so many conversions were looked
    /// through.
    pub next: Option<Cursor>,
    /// Set when the page is not full because there is more to look through: all that came in after this moment was.
    pub looked_through_to: Option<DateTime<Utc>>,
}

/// A page of the conversions that are wanted, from the cursor on, at most `limit`, which is kept between 1 and [`MOST_ON_PAGE`].
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u16,
) -> Result<Page, sqlx::Error> {
    let limit = usize::from(limit.clamp(1, MOST_ON_PAGE));
    if let Some(conversion_id) = &filter.conversion_id {
        let conversions = store::by_id(conn, filter, conversion_id).await?;
        return Ok(Page {
            conversions,
            next: None,
            looked_through_to: None,
        });
    }
    // Ids begin with the time at which they were made: when the conversion came in.
    let before = match (after, filter.until) {
        (Some(after), None) => after.event_id(),
        (None, None) => Uuid::max(),
        (after, Some(until)) => {
            id_at(until, &[0; 8]).min(after.map_or(Uuid::max(), |after| after.event_id()))
        }
    };
    let from = filter.from.map_or(Uuid::nil(), |from| id_at(from, &[0; 8]));
    let mut conversions = store::list(conn, filter, from..before, MOST_LOOKED_THROUGH, limit + 1).await?;
    if conversions.len() > limit {
        conversions.truncate(limit);
        let next = conversions.last().map(|last| Cursor::after(last.event_id));
        return Ok(Page {
            conversions,
            next,
            looked_through_to: None,
        });
    }
    let stopped_at = store::end_of_look(conn, filter.property_id, from..before, MOST_LOOKED_THROUGH).await?;
    Ok(Page {
        conversions,
        next: stopped_at.map(|(event_id, _)| Cursor::after(event_id)),
        looked_through_to: stopped_at.map(|(_, received_at)| received_at),
    })
}
