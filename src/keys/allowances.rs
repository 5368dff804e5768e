//! Allowances by key, in this process.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use uuid::Uuid;

use super::Key;
use crate::platform::clock::Clock;
use crate::platform::rate::Allowance;

/// An allowance that nobody has used for a minute is full, so forgetting it loses nothing.
const IDLE: Duration = Duration::from_secs(61);
const CAPACITY: u64 = 100_000;

/// What each key may still send.
pub struct Allowances {
    clock: Clock,
    by_key: Cache<Uuid, Arc<Allowance>>,
}

impl Allowances {
    /// All full.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            by_key: Cache::builder().max_capacity(CAPACITY).time_to_idle(IDLE).build(),
        }
    }

    /// The key's allowance; a changed limit begins full.
    pub fn of(&self, key: &Key) -> Arc<Allowance> {
        let limit = u32::try_from(key.rate_limit)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN);
        let fresh = || Arc::new(Allowance::new(limit, self.clock.clone()));
        let allowance = self.by_key.get_with(key.key_id, fresh);
        if allowance.per_minute() == limit {
            return allowance;
        }
        let changed = fresh();
        self.by_key.insert(key.key_id, Arc::clone(&changed));
        changed
    }
}
