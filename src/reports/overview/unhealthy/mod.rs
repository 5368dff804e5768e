//! What somebody should look at now.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::platform::secrets::Sealer;

/// How long it may be quiet.
const QUIET: TimeDelta = TimeDelta::hours(24);
/// How long a delivery may wait.
const WAITING: TimeDelta = TimeDelta::hours(1);
/// How long before its end a key is named.
const EXPIRES_WITHIN: TimeDelta = TimeDelta::days(14);

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Nothing is sent to a destination until somebody resumes it.
    DestinationPaused,
    /// The settings of a destination cannot be read by the instance that tells of it: nothing is sent from there.
    DestinationUnreadable,
    /// A destination refused deliveries for good in the last 24 hours.
    DestinationRefuses,
    /// Deliveries to a destination wait for more than an hour.
    DestinationBehind,
    /// A stream had webhooks, and none for 24 hours.
    NoWebhooks,
    /// Pages of a stream told of themselves once, and none for 24 hours.
    NoPageViews,
    /// A key ends within 14 days.
    KeyExpires,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unhealthy {
    /// What is wrong.
    pub trouble: Trouble,
    /// The stream.
    pub attribution_id: Uuid,
    /// The destination, stream or key.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Since when; of a key, when it ends.
    pub at: Option<DateTime<Utc>>,
    /// How many deliveries, where it is about some; 1,000 stands for that many and more.
    pub deliveries: Option<i64>,
    /// The reason, where one is stored.
    pub reason: Option<String>,
    /// What to do.
    pub advice: &'static str,
}

impl Trouble {
    fn advice(self) -> &'static str {
        match self {
            Self::DestinationPaused => {
                "Mend what the reason says, and resume the destination: what waits is sent then."
            }
            Self::DestinationUnreadable => {
                "Give this instance the key that sealed the settings (secrets.previous_seal_keys), or set them anew."
            }
            Self::DestinationRefuses => {
                "Look at the codes of its dead deliveries; once it is mended, replay them."
            }
            Self::DestinationBehind => {
                "Look at the last answers of its queued deliveries: the platform may be out of order, or slow you down."
            }
            Self::NoWebhooks => {
                "Look whether your back end still sends, and whether its requests are refused."
            }
            Self::NoPageViews => "Look whether the script is still on the site's pages, and loads there.",
            Self::KeyExpires => "Make a new key, and have your back end use it before this one ends.",
        }
    }
}

/// What is wrong with a property now; `sealer` is this instance's.
pub async fn unhealthy(
    conn: &mut PgConnection,
    property_id: Uuid,
    sealer: &Sealer,
    now: DateTime<Utc>,
) -> Result<Vec<Unhealthy>, sqlx::Error> {
    let mut found = store::destinations(conn, property_id, sealer, now - QUIET, now - WAITING).await?;
    found.extend(store::streams(conn, property_id, now - QUIET).await?);
    found.extend(store::keys(conn, property_id, now, now + EXPIRES_WITHIN).await?);
    found.sort_by(|a, b| (a.trouble, &a.name, a.id).cmp(&(b.trouble, &b.name, b.id)));
    Ok(found)
}
