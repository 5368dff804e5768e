//! An endpoint that takes signed webhooks (Standard Webhooks), at any path.

use std::fmt;
use std::str::FromStr;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::schema::{Fault, Kind, Shape, check, is_digits, may, must};

pub(super) const STUB: Stub = Stub {
    name: "webhook",
    per_event: false,
    check: judge,
    answer,
    trouble,
    event_id: |event| event["data"]["event_id"].as_str(),
    door: |_| Door::Events,
    later: None,
};

/// The key of the signatures.
#[derive(Clone)]
pub struct WebhookKey(Vec<u8>);

impl WebhookKey {
    /// The secret that the stub has unless it is told another one. It guards nothing.
    pub const DEFAULT: &str = "whsec_c3R1Yi1wbGF0Zm9ybXMtb2YtdHJ1c3RkYXRh";
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey")
    }
}

/// Not a secret of Standard Webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and 24 to 64 bytes in base64")]
pub struct BadWebhookKey;

impl FromStr for WebhookKey {
    type Err = BadWebhookKey;

    fn from_str(text: &str) -> Result<Self, BadWebhookKey> {
        let encoded = text.strip_prefix("whsec_").ok_or(BadWebhookKey)?;
        let key = STANDARD.decode(encoded).map_err(|_| BadWebhookKey)?;
        if (24..=64).contains(&key.len()) {
            Ok(Self(key))
        } else {
            Err(BadWebhookKey)
        }
    }
}

/// How far a signature's time may be off, in seconds.
const TOLERANCE: i64 = 300;

const MESSAGE: Shape = Shape {
    open: false,
    members: &[
        must("type", Kind::Text),
        must("timestamp", Kind::Rfc3339),
        must("data", Kind::Object(&DATA)),
    ],
};

const DATA: Shape = Shape {
    open: true,
    members: &[
        must("event_id", Kind::Text),
        must("conversion_id", Kind::Text),
        must("topic", Kind::Text),
        must("event_time", Kind::Rfc3339),
        may("value", Kind::Number),
        may("currency", Kind::Currency),
        may("user_data", Kind::Object(&USER)),
    ],
};

/// Nobody in clear.
const USER: Shape = Shape {
    open: false,
    members: &[
        may("sha256_email", Kind::Sha),
        may("sha256_phone", Kind::Sha),
        may("sha256_first_name", Kind::Sha),
        may("sha256_last_name", Kind::Sha),
        may("sha256_city", Kind::Sha),
        may("sha256_region", Kind::Sha),
        may("sha256_postal_code", Kind::Sha),
        may("sha256_user_id", Kind::Sha),
        may("country", Kind::Text),
    ],
};

fn judge(got: &Got, report: &mut Report) {
    report.expect(got, &Method::POST, true);
    check(&got.json, &MESSAGE, "", &mut report.request);
    if got.header("webhook-id").is_none_or(str::is_empty) {
        report.request.push(Fault::new("webhook-id", "is required"));
    }
    let timestamp = got.header("webhook-timestamp").filter(|text| is_digits(text));
    let at = timestamp.and_then(|text| text.parse::<i64>().ok());
    if at.is_none_or(|at| (got.now.timestamp() - at).abs() > TOLERANCE) {
        report.request.push(Fault::new(
            "webhook-timestamp",
            "must be seconds, at most five minutes off",
        ));
    }
    if !is_signed(got) {
        report.credentials =
            Some("no signature in webhook-signature is of this message and this secret".to_owned());
    }
}

/// Whether one of the signatures is right.
fn is_signed(got: &Got) -> bool {
    let header = |name| got.header(name).unwrap_or_default();
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&got.webhook_key.0) else {
        return false;
    };
    mac.update(header("webhook-id").as_bytes());
    mac.update(b".");
    mac.update(header("webhook-timestamp").as_bytes());
    mac.update(b".");
    mac.update(&got.body);
    let signatures = header("webhook-signature").split(' ');
    signatures
        .filter_map(|one| one.strip_prefix("v1,"))
        .filter_map(|encoded| STANDARD.decode(encoded).ok())
        .any(|signature| mac.clone().verify_slice(&signature).is_ok())
}

fn answer(_got: &Got, report: &Report) -> Reply {
    if report.route.is_some() {
        return Reply::new(405, Value::Null);
    }
    if let Some(fault) = &report.credentials {
        return Reply::new(401, json!({ "error": fault }));
    }
    match report.request.first() {
        Some(fault) => Reply::new(400, json!({ "error": fault.words() })),
        None => Reply::new(204, Value::Null),
    }
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => Reply::new(429, Value::Null).header("retry-after", "2"),
        Trouble::ServerError => Reply::new(500, Value::Null),
        // Whatever its body says, 200 is taken.
        Trouble::ErrorIn200 => Reply::new(200, json!({ "error": "not taken" })),
    }
}
