//! One conversion with its credit, its relations, and the activity around it, read only.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::Conversion;
use super::{Related, Repeat};

/// Refunds of a purchase that are listed.
const MOST_REFUNDS: i64 = 100;
/// Touches of all versions that are listed.
const MOST_TOUCHES: i64 = 2000;
/// Requests after a conversion's that are looked through for its repeats.
const MOST_REQUESTS: i64 = 10_000;
/// Repeats that are listed.
const MOST_REPEATS: i64 = 20;

/// What a list does not show of a conversion.
pub struct Rest {
    pub purchase_id: Option<String>,
    pub visitor_id: Option<String>,
    pub user_id: Option<String>,
    pub key_id: Option<Uuid>,
    pub lookback_days: i16,
    pub nearest_session_at: Option<DateTime<Utc>>,
    pub payload: String,
    pub personal_sealed: Option<Vec<u8>>,
}

/// What a list does not show of a conversion.
pub async fn rest(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_id: Uuid,
) -> Result<Option<Rest>, sqlx::Error> {
    sqlx::query_as!(
        Rest,
        r#"select purchase_id, visitor_id, user_id, key_id, lookback_days, nearest_session_at, payload::text as "payload!", personal_sealed
           from conversions where property_id = $1 and event_id = $2"#,
        property_id,
        event_id,
    )
    .fetch_optional(conn)
    .await
}

/// A touch of a version of credit.
pub struct Touched {
    pub version: i16,
    pub session_id: String,
    pub clicked_at: DateTime<Utc>,
    pub direct: bool,
    pub source: Option<String>,
    pub medium: Option<String>,
    pub campaign: Option<String>,
    pub campaign_id: Option<String>,
    pub click_id: Option<String>,
    pub last_click: i32,
    pub first_click: i32,
    pub linear: i32,
    pub time_decay: i32,
    pub position_based: i32,
}

/// The touches of all versions of a conversion's credit, newest version first, oldest touch first.
pub async fn touches(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_id: Uuid,
) -> Result<Vec<Touched>, sqlx::Error> {
    sqlx::query_as!(
        Touched,
        "select version, session_id, clicked_at, direct, source, medium, campaign, campaign_id, click_id,
             last_click, first_click, linear, time_decay, position_based
         from credits where property_id = $1 and event_id = $2 order by version desc, position limit $3",
        property_id,
        event_id,
        MOST_TOUCHES,
    )
    .fetch_all(conn)
    .await
}

/// The purchase of a refund, or the refunds of a purchase: our id, the sender's, time, value and currency.
pub async fn related(
    conn: &mut PgConnection,
    property_id: Uuid,
    one: &Conversion,
    purchase_id: Option<&str>,
) -> Result<Vec<Related>, sqlx::Error> {
    match (one.topic.as_str(), purchase_id) {
        ("refund", Some(purchase_id)) => {
            sqlx::query_as!(
                Related,
                "select event_id, topic, conversion_id, event_time, value, currency from conversions
                 where property_id = $1 and attribution_id = $2 and topic = 'purchase' and conversion_id = $3",
                property_id,
                one.attribution_id,
                purchase_id,
            )
            .fetch_all(conn)
            .await
        }
        ("purchase", _) => {
            sqlx::query_as!(
                Related,
                "select event_id, topic, conversion_id, event_time, value, currency from conversions
                 where property_id = $1 and attribution_id = $2 and topic = 'refund' and purchase_id = $3
                 order by event_time limit $4",
                property_id,
                one.attribution_id,
                one.conversion_id,
                MOST_REFUNDS,
            )
            .fetch_all(conn)
            .await
        }
        _ => Ok(Vec::new()),
    }
}

/// Repeats of a conversion among the requests that came after `from`.
pub async fn repeats(
    conn: &mut PgConnection,
    property_id: Uuid,
    one: &Conversion,
    from: Uuid,
) -> Result<Vec<Repeat>, sqlx::Error> {
    sqlx::query_as!(
        Repeat,
        "select at, differs from (
             select activity_id, at, differs, duplicate, topic, conversion_id from activity
             where property_id = $1 and attribution_id = $2 and activity_id > $3 order by activity_id limit $4
         ) a
         where duplicate and topic = $5 and conversion_id = $6 order by activity_id limit $7",
        property_id,
        one.attribution_id,
        from,
        MOST_REQUESTS,
        one.topic,
        one.conversion_id,
        MOST_REPEATS,
    )
    .fetch_all(conn)
    .await
}
