//! Allowances: so many a minute, usable in one burst, coming back evenly (GCRA).

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Clock;

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
        let now = self.clock.ticks();
        let mut full_at = self.full_at.load(Ordering::Acquire);
        loop {
            let (next, left) = self.next(full_at, now)?;
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
        self.next(full_at, self.clock.ticks()).map(drop)
    }

    /// One request more: when the allowance is full then, and what is left.
    fn next(&self, full_at: u64, now: u64) -> Result<(u64, Left), Exhausted> {
        let each = (MINUTE / u64::from(self.per_minute.get())).max(1);
        let whole = each.saturating_mul(u64::from(self.per_minute.get()));
        let next = full_at.max(now).saturating_add(each);
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
