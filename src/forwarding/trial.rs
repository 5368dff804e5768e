//! A destination tried out with a made-up event, in the platform's own validation or test mode.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::parcel::{Click, Order, Parcel, Session, UserData};
use super::platforms::{Name, NoTrial, Unsendable, Verdict};
use super::sender::Sender;
use super::{fan_out::Target, lane};
use crate::destinations::Destination;
use crate::domain::consent::Consent;
use crate::domain::conversion::Money;
use crate::domain::topic::Topic;
use crate::platform::secrets::Sealer;

/// What came of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Tried {
    /// The destination.
    pub destination_id: Uuid,
    /// The platform.
    pub platform: String,
    /// Whether the platform would take such events.
    pub accepted: bool,
    /// Status of the answer, where there was one.
    pub http_status: Option<i16>,
    /// The platform's code, where it was refused.
    pub code: Option<String>,
    /// The platform's words.
    pub detail: Option<String>,
    /// The platform's id of the request.
    pub request_id: Option<String>,
    /// What was left out of the event, and why.
    pub notes: Vec<String>,
}

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
pub enum NotTried {
    /// The platform cannot.
    #[error(transparent)]
    NoTrial(#[from] NoTrial),
    /// The platform takes no such event.
    #[error("the platform takes no such event: {}", .0.reason)]
    Unsendable(Unsendable),
    /// The settings cannot be read.
    #[error("the destination's settings cannot be read: set them anew")]
    Unreadable,
}

/// Sends one made-up event of a topic.
pub async fn try_out(
    destination: Destination,
    topic: Topic,
    code: Option<&str>,
    sender: &Sender,
    sealer: &Sealer,
    now: DateTime<Utc>,
) -> Result<Tried, NotTried> {
    let Target {
        destination,
        platform,
    } = Target::new(destination, sealer);
    let (name, platform) = platform.ok_or(NotTried::Unreadable)?;
    let parcel = made_up(topic, now);
    // A signed webhook says itself that it is a test; names of the others are the platforms' own.
    let renamed = match name {
        Name::Webhook => Some("test"),
        _ => lane::renamed(&destination.topics, &parcel),
    };
    let event = platform
        .prepare_as(&parcel, renamed, now)
        .map_err(NotTried::Unsendable)?;
    let notes = event
        .notes
        .iter()
        .map(|note| format!("{}: {}", note.field, note.code));
    let mut tried = Tried {
        destination_id: destination.destination_id,
        platform: destination.platform.clone(),
        accepted: false,
        http_status: None,
        code: None,
        detail: None,
        request_id: None,
        notes: notes.collect(),
    };
    let endpoint = sender.endpoint(name, destination.base_url.as_deref(), destination.reach());
    let (status, verdict) = sender
        .try_out(platform.as_ref(), &endpoint, &event, code, now)
        .await?;
    tried.http_status = status;
    match verdict {
        Verdict::Accepted {
            request_id, failures, ..
        } => {
            tried.accepted = failures.is_empty();
            tried.request_id = request_id;
            if let Some(failure) = failures.into_iter().next() {
                tried.code = Some(failure.code);
                tried.detail = failure.detail;
            }
        }
        Verdict::Refused { code, detail, .. } | Verdict::Configuration { code, detail } => {
            tried.code = Some(code);
            tried.detail = detail;
        }
        Verdict::Retry { code, .. }
        | Verdict::Unclear { code, .. }
        | Verdict::NotYet { code, .. }
        | Verdict::UserDataRefused { code }
        | Verdict::Credentials { code, .. } => tried.code = Some(code),
    }
    Ok(tried)
}

/// A conversion of nobody: an address that nobody can have, of a browser that nobody uses.
fn made_up(topic: Topic, now: DateTime<Utc>) -> Parcel {
    let event_id = Uuid::new_v4();
    let click = |name: &str| Click {
        name: name.to_owned(),
        value: "trustdata-test".to_owned(),
        at: now,
    };
    Parcel {
        event_id,
        conversion_id: format!("trustdata-test-{event_id}"),
        topic,
        event_name: None,
        event_time: now,
        money: "USD".parse().ok().map(|currency| Money {
            amount: rust_decimal::Decimal::ONE,
            currency,
        }),
        order: Order::default(),
        user_data: UserData::of_personal(r#"{"user_data":{"email":"test@trustdata.example"}}"#),
        consent: Consent {
            analytics: Some(true),
            advertising: Some(true),
            ..Consent::default()
        },
        visitor_id: Some("trustdata-test".to_owned()),
        user_id: None,
        session: Session {
            landing_url: Some("https://trustdata.example/test".to_owned()),
            clicks: vec![click("gclid")],
            user_agent: Some("Mozilla/5.0 (trustdata test)".to_owned()),
            ..Session::default()
        },
        refund: None,
        after_refunds: None,
    }
}
