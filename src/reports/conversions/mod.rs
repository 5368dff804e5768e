//! Conversions one by one: the list, and all that is known of one.

mod cursor;
mod detail;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

pub use cursor::{BadCursor, Cursor};
pub use detail::{AtLookback, Detail, Personal, Related, Repeat, Share, Version, Why, find};

use super::model::Model;
use crate::domain::time::{MOST_AHEAD, MOST_BACK};
use crate::domain::topic::Topic;
use crate::platform::clock::id_at;

/// Conversions on a page, at most.
pub const MOST_ON_PAGE: u16 = 100;
/// Conversions that are looked through for one page, at most.
const MOST_LOOKED_THROUGH: i64 = 10_000;
/// Between the moment that an event's time is held against and that of its id, at most.
const SLACK: TimeDelta = TimeDelta::hours(1);

/// Which conversions are wanted.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The tenant.
    pub property_id: Uuid,
    /// One stream; none: all of the property.
    pub attribution_id: Option<Uuid>,
    /// One topic.
    pub topic: Option<Topic>,
    /// Whether refunds are among them, which reports do not count as conversions.
    pub refunds: bool,
    /// Matched, or why not.
    pub outcome: Option<MatchFilter>,
    /// The model by which source, medium and campaign have credit.
    pub model: Model,
    /// Source that has credit; empty: without one. With medium and campaign, of one and the same touch.
    pub source: Option<String>,
    /// Medium, likewise.
    pub medium: Option<String>,
    /// Campaign, likewise.
    pub campaign: Option<String>,
    /// ISO 4217; empty: without value.
    pub currency: Option<String>,
    /// Happened at or after.
    pub happened_from: Option<DateTime<Utc>>,
    /// Happened before.
    pub happened_until: Option<DateTime<Utc>>,
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
            refunds: true,
            outcome: None,
            model: Model::LastClick,
            source: None,
            medium: None,
            campaign: None,
            currency: None,
            happened_from: None,
            happened_until: None,
            from: None,
            until: None,
            conversion_id: None,
        }
    }
}

impl Filter {
    /// The times at which what is wanted can have come in: a conversion is taken only so long after it happened.
    fn received(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let soonest = self
            .happened_from
            .and_then(|at| at.checked_sub_signed(MOST_AHEAD + SLACK));
        let latest = self
            .happened_until
            .and_then(|at| at.checked_add_signed(MOST_BACK + SLACK));
        (
            self.from.into_iter().chain(soonest).max(),
            self.until.into_iter().chain(latest).min(),
        )
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
    let id = |at: Option<DateTime<Utc>>| at.map(|at| id_at(at, &[0; 8]));
    let (received_from, received_until) = filter.received();
    let from = id(received_from).unwrap_or(Uuid::nil());
    let before = id(received_until)
        .into_iter()
        .chain(after.map(Cursor::event_id))
        .fold(Uuid::max(), Uuid::min);
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
