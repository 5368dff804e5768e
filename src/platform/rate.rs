//! Allowances: so many a minute, usable in one burst, coming back evenly (GCRA).

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as RateClock;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::clock::Clock;

/// One caller's allowance.
pub struct Allowance {
    clock: Clock,
    per_minute: NonZeroU32,
    limiter: RateLimiter<NotKeyed, InMemoryState, Clock, StateInformationMiddleware>,
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
        let limiter = RateLimiter::direct_with_clock(Quota::per_minute(per_minute), clock.clone())
            .with_middleware::<StateInformationMiddleware>();
        Self {
            clock,
            per_minute,
            limiter,
        }
    }

    /// Requests a minute.
    pub fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    /// Takes one request out of the allowance.
    pub fn take(&self) -> Result<Left, Exhausted> {
        match self.limiter.check() {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Ok(Left {
                    remaining,
                    full_in: self.refill_seconds(self.per_minute.get().saturating_sub(remaining)),
                })
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(RateClock::now(&self.clock));
                Err(Exhausted {
                    retry_after: whole_seconds(wait).max(1),
                    full_in: self.refill_seconds(self.per_minute.get()),
                })
            }
        }
    }

    fn refill_seconds(&self, used: u32) -> u64 {
        (u64::from(used) * 60).div_ceil(u64::from(self.per_minute.get()))
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
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
