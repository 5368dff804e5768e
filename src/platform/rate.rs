//! Allowances: so many a minute, usable in one burst, coming back evenly (GCRA).

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use super::clock::Clock;

/// An allowance that nobody has used for a minute is full, so forgetting it loses nothing.
const IDLE: Duration = Duration::from_secs(61);
/// Callers that are remembered at the same time, at most.
const CAPACITY: u64 = 100_000;

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

/// One caller's allowance.
pub struct Allowance {
    clock: Clock,
    per_minute: NonZeroU32,
    /// The clock's nanoseconds at which the allowance is full again: all that there is to know.
    full_at: AtomicU64,
}

/// What was left after a request was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Requests that may still come at once.
    pub remaining: u32,
    /// Whole seconds until the allowance is full again, rounded up.
    pub full_in: u64,
}

/// Nothing is left: when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// Whole seconds until one request is let in again, at least 1.
    pub retry_after: u64,
    /// Whole seconds until the allowance is full again, rounded up.
    pub full_in: u64,
}

impl Allowance {
    /// A full allowance of `per_minute` requests.
    pub fn new(per_minute: NonZeroU32, clock: Clock) -> Self {
        Self {
            clock,
            per_minute,
            full_at: AtomicU64::new(0),
        }
    }

    /// Requests a minute.
    pub fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    /// Takes one request out of the allowance.
    pub fn take(&self) -> Result<Left, Exhausted> {
        self.take_many(1)
    }

    /// Takes so many requests out of the allowance, or none of them.
    pub fn take_many(&self, requests: u32) -> Result<Left, Exhausted> {
        let now = self.clock.ticks();
        let mut full_at = self.full_at.load(Ordering::Acquire);
        loop {
            let (next, left) = self.next(full_at, now, requests)?;
            match self
                .full_at
                .compare_exchange_weak(full_at, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(left),
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Whether a request would be let in; takes nothing.
    pub fn look(&self) -> Result<(), Exhausted> {
        let full_at = self.full_at.load(Ordering::Acquire);
        self.next(full_at, self.clock.ticks(), 1).map(drop)
    }

    /// So many requests more: when the allowance is full then, and what is left.
    fn next(&self, full_at: u64, now: u64, requests: u32) -> Result<(u64, Left), Exhausted> {
        let each = (MINUTE / u64::from(self.per_minute.get())).max(1);
        let whole = each.saturating_mul(u64::from(self.per_minute.get()));
        let next = full_at
            .max(now)
            .saturating_add(each.saturating_mul(u64::from(requests)));
        let used = next - now;
        match whole.checked_sub(used) {
            Some(left) => {
                let remaining = u32::try_from(left / each).unwrap_or(u32::MAX);
                let full_in = self.refill_seconds(self.per_minute.get().saturating_sub(remaining));
                Ok((next, Left { remaining, full_in }))
            }
            None => Err(Exhausted {
                retry_after: (used - whole).div_ceil(SECOND).max(1),
                full_in: self.refill_seconds(self.per_minute.get()),
            }),
        }
    }

    fn refill_seconds(&self, used: u32) -> u64 {
        (u64::from(used) * 60).div_ceil(u64::from(self.per_minute.get()))
    }
}

/// What each caller may still send, in this process.
pub struct Allowances<K> {
    clock: Clock,
    by_caller: Cache<K, Arc<Allowance>>,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Allowances<K> {
    /// All full.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            by_caller: Cache::builder().max_capacity(CAPACITY).time_to_idle(IDLE).build(),
        }
    }

    /// The caller's allowance; a changed limit begins full.
    pub fn of(&self, caller: K, per_minute: NonZeroU32) -> Arc<Allowance> {
        let fresh = || Arc::new(Allowance::new(per_minute, self.clock.clone()));
        let allowance = self.by_caller.get_with(caller.clone(), fresh);
        if allowance.per_minute() == per_minute {
            return allowance;
        }
        let changed = fresh();
        self.by_caller.insert(caller, Arc::clone(&changed));
        changed
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn burst_then_even_return() {
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let allowance = Allowance::new(NonZeroU32::new(60).unwrap(), clock.clone());
        assert_eq!(
            allowance.take(),
            Ok(Left {
                remaining: 59,
                full_in: 1
            })
        );
        for _ in 1..60 {
            allowance.take().unwrap();
        }
        assert_eq!(
            allowance.take(),
            Err(Exhausted {
                retry_after: 1,
                full_in: 60
            })
        );
        clock.advance(chrono::Duration::milliseconds(999));
        assert!(allowance.take().is_err());
        clock.advance(chrono::Duration::milliseconds(1));
        assert_eq!(
            allowance.take(),
            Ok(Left {
                remaining: 0,
                full_in: 60
            })
        );
        assert!(allowance.take().is_err());
    }

    #[test]
    fn a_look_takes_nothing() {
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let allowance = Allowance::new(NonZeroU32::new(2).unwrap(), clock.clone());
        for _ in 0..2 {
            assert_eq!(allowance.look(), Ok(()));
            assert_eq!(allowance.look(), Ok(()));
            allowance.take().unwrap();
        }
        let none = allowance.look().unwrap_err();
        assert_eq!(none.retry_after, 30);
        clock.advance(chrono::Duration::seconds(30));
        assert_eq!(allowance.look(), Ok(()));
    }

    #[test]
    fn several_are_taken_whole_or_not_at_all() {
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let allowances = Allowances::new(clock.clone());
        let of = |caller: &'static str| allowances.of(caller, NonZeroU32::new(60).unwrap());
        assert_eq!(of("a").take_many(50).unwrap().remaining, 10);
        assert_eq!(of("a").take_many(20).unwrap_err().retry_after, 10);
        assert_eq!(of("a").take_many(10).unwrap().remaining, 0);
        assert_eq!(of("b").take_many(60).unwrap().remaining, 0);
        assert!(of("b").take_many(61).is_err());
        clock.advance(chrono::Duration::seconds(10));
        assert!(of("a").take_many(10).is_ok());
    }

    #[test]
    fn slow_allowances_say_when_to_come_back() {
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let allowance = Allowance::new(NonZeroU32::new(2).unwrap(), clock);
        allowance.take().unwrap();
        allowance.take().unwrap();
        assert_eq!(
            allowance.take(),
            Err(Exhausted {
                retry_after: 30,
                full_in: 60
            })
        );
    }
}
