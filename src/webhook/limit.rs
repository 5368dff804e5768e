//! Check 3: the key's allowance. Its headers are on every authenticated answer.

use std::num::NonZeroU32;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::Webhook;
use super::refusal::Refusal;
use crate::keys::Key;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// What is left of an allowance after this request.
#[derive(Debug)]
pub struct Limit {
    per_minute: NonZeroU32,
    remaining: u32,
    /// Whole seconds.
    full_in: u64,
}

/// Takes one request out of the key's allowance; whether it was there, and what is left.
pub fn take(webhook: &Webhook, key: &Key) -> (Result<(), Refusal>, Limit) {
    let allowance = webhook.allowances.of(key);
    let (allowed, remaining, full_in) = match allowance.take() {
        Ok(left) => (Ok(()), left.remaining, left.full_in),
        Err(none) => (
            Err(Refusal::RateLimited {
                retry_after: none.retry_after,
            }),
            0,
            none.full_in,
        ),
    };
    let limit = Limit {
        per_minute: allowance.per_minute(),
        remaining,
        full_in,
    };
    (allowed, limit)
}

impl Limit {
    /// Tells the sender.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let policy = format!("\"key\";q={};w=60", self.per_minute);
        let state = format!("\"key\";r={};t={}", self.remaining, self.full_in);
        for (name, text) in [(POLICY, policy), (STATE, state)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}
