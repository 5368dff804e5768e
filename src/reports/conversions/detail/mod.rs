//! All that is known of one conversion. What became of it at the ad platforms is `forwarding::store::of_conversion`'s to say.

mod mask;
mod store;
mod why;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Conversion;
use super::store::one;
use crate::domain::channel::Channel;
use crate::platform::clock::id_at;
use crate::platform::secrets::{self, Sealer};
use crate::reports::amount::share;
use store::{Rest, Touched};
pub use why::{AtLookback, Why};

/// A conversion with its journey, its credit, and the reason for them.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ConversionDetail)]
pub struct Detail {
    /// As in lists.
    #[serde(flatten)]
    pub conversion: Conversion,
    /// The visitor, as the sender named it.
    pub visitor_id: Option<String>,
    /// The sender's id of the user, masked: many shops' are email addresses.
    pub user_id: Option<String>,
    /// The purchase that a refund takes back, as the sender named it.
    pub purchase_id: Option<String>,
    /// The key that it came by.
    pub key_id: Option<Uuid>,
    /// The window that held when it came, in days.
    pub lookback_days: i16,
    /// When the session nearest to the window began, where none was in it.
    pub nearest_session_at: Option<DateTime<Utc>>,
    /// The event as it was sent, without personal data; `user_id` is masked.
    #[schema(value_type = Object)]
    pub payload: Box<RawValue>,
    /// The personal data of it.
    pub personal: Personal,
    /// Versions of its credit, the newest first; the newest one holds. Its touches are the journey.
    pub versions: Vec<Version>,
    /// A refund's purchase, or a purchase's refunds.
    pub related: Vec<Related>,
    /// Times that it was sent again, as far as they are among the next 10,000 requests.
    pub repeats: Vec<Repeat>,
    /// Why it is attributed or not, in words.
    pub why: Why,
}

/// Personal data of a conversion, never in clear.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "state", content = "masked")]
pub enum Personal {
    /// None was sent.
    None,
    /// Every value masked, as in `j***@e***.com`.
    Masked(Value),
    /// It was past its retention.
    Deleted,
    /// It is there, and cannot be opened: its key is no longer configured.
    Unreadable,
}

/// A version of credit.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CreditVersion)]
pub struct Version {
    /// From 1.
    pub version: i16,
    /// Whether it is the one that holds.
    pub current: bool,
    /// The journey, oldest first.
    pub touches: Vec<Share>,
}

/// A touch with its share of the credit by each model: fractions of 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Share {
    /// The session.
    pub session_id: String,
    /// When it began: the click.
    pub clicked_at: DateTime<Utc>,
    /// The way in, as marketers count them.
    pub channel: String,
    /// `utm_source` or what stands for it.
    pub source: Option<String>,
    /// `utm_medium` or what stands for it.
    pub medium: Option<String>,
    /// `utm_campaign`.
    pub campaign: Option<String>,
    /// The network's id of the campaign.
    pub campaign_id: Option<String>,
    /// Name of the click id.
    pub click_id: Option<String>,
    /// All to the last touch.
    pub last_click: Decimal,
    /// All to the first touch.
    pub first_click: Decimal,
    /// Equal shares.
    pub linear: Decimal,
    /// Halving with every 7 days before the conversion.
    pub time_decay: Decimal,
    /// 40 % first, 40 % last, 20 % over the middle.
    pub position_based: Decimal,
}

/// A conversion that belongs to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Related {
    /// Our id of it.
    pub event_id: Uuid,
    /// The topic's name.
    pub topic: String,
    /// The sender's id of it.
    pub conversion_id: String,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// What it was worth.
    pub value: Option<Decimal>,
    /// ISO 4217.
    pub currency: Option<String>,
}

/// A conversion that was sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Repeat {
    /// When.
    pub at: DateTime<Utc>,
    /// Names of the fields in which it differs from the first one.
    pub differs: Option<String>,
}

/// All of one conversion, by our id of it; none where the property has no such one.
pub async fn find(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_id: Uuid,
    sealer: &Sealer,
) -> Result<Option<Detail>, sqlx::Error> {
    let Some(conversion) = one(conn, property_id, event_id).await? else {
        return Ok(None);
    };
    let Some(rest) = store::rest(conn, property_id, event_id).await? else {
        return Ok(None);
    };
    let versions = versions(store::touches(conn, property_id, event_id).await?);
    let related = store::related(conn, property_id, &conversion, rest.purchase_id.as_deref()).await?;
    let received = id_at(conversion.received_at, &[0; 8]);
    let repeats = store::repeats(conn, property_id, &conversion, received).await?;
    let why = why::explain(conn, property_id, &conversion, &rest, versions.first()).await?;
    let personal = personal(property_id, event_id, &rest, sealer);
    Ok(Some(Detail {
        conversion,
        visitor_id: rest.visitor_id,
        user_id: rest.user_id.as_deref().map(mask::mask),
        purchase_id: rest.purchase_id,
        key_id: rest.key_id,
        lookback_days: rest.lookback_days,
        nearest_session_at: rest.nearest_session_at,
        payload: RawValue::from_string(mask::without_user_id(rest.payload))
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
        personal,
        versions,
        related,
        repeats,
        why,
    }))
}

fn personal(property_id: Uuid, event_id: Uuid, rest: &Rest, sealer: &Sealer) -> Personal {
    let Some(sealed) = &rest.personal_sealed else {
        return Personal::None;
    };
    if sealed.is_empty() {
        return Personal::Deleted;
    }
    let context = secrets::row(property_id, event_id.as_bytes());
    let clear = sealer.open(sealed, &context).ok();
    let masked = clear.and_then(|clear| mask::masked(&clear));
    masked.map_or(Personal::Unreadable, Personal::Masked)
}

fn versions(touches: Vec<Touched>) -> Vec<Version> {
    let mut versions: Vec<Version> = Vec::new();
    for touch in touches {
        if versions.last().is_none_or(|last| last.version != touch.version) {
            versions.push(Version {
                version: touch.version,
                current: versions.is_empty(),
                touches: Vec::new(),
            });
        }
        if let Some(version) = versions.last_mut() {
            version.touches.push(shared(touch));
        }
    }
    versions
}

fn shared(touch: Touched) -> Share {
    let share = |units: i32| share(i64::from(units));
    Share {
        channel: Channel::of_touch(touch.direct, touch.source.as_deref(), touch.medium.as_deref())
            .as_str()
            .to_owned(),
        session_id: touch.session_id,
        clicked_at: touch.clicked_at,
        source: touch.source,
        medium: touch.medium,
        campaign: touch.campaign,
        campaign_id: touch.campaign_id,
        click_id: touch.click_id,
        last_click: share(touch.last_click),
        first_click: share(touch.first_click),
        linear: share(touch.linear),
        time_decay: share(touch.time_decay),
        position_based: share(touch.position_based),
    }
}
