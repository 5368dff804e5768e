//! Allowances by key.

use std::num::NonZeroU32;
use std::sync::Arc;

use uuid::Uuid;

use super::Key;
use crate::platform::clock::Clock;
use crate::platform::rate::{self, Allowance};

/// What each key may still send.
pub struct Allowances(rate::Allowances<Uuid>);

impl Allowances {
    /// All full.
    pub fn new(clock: Clock) -> Self {
        Self(rate::Allowances::new(clock))
    }

    /// The key's allowance.
    pub fn of(&self, key: &Key) -> Arc<Allowance> {
        let limit = u32::try_from(key.rate_limit).ok().and_then(NonZeroU32::new);
        self.0.of(key.key_id, limit.unwrap_or(NonZeroU32::MIN))
    }
}
