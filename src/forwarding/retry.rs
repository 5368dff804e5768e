//! When to try again. Pure.

use std::time::Duration;

use chrono::TimeDelta;

/// Before the second try.
const FIRST: TimeDelta = TimeDelta::seconds(10);
/// Between two tries, at most.
const LONGEST: TimeDelta = TimeDelta::hours(1);
/// Longest wait that a platform may ask for.
const MOST_ASKED: TimeDelta = TimeDelta::hours(24);
/// Tries that end in the same code that nobody has documented, about an hour of them: then it counts as a refusal.
pub const UNCLEAR_TRIES: i32 = 10;
/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;
/// How long it stays open the first time; twice as long each time after.
const OPEN_FIRST: Duration = Duration::from_secs(5);
const OPEN_LONGEST: Duration = Duration::from_secs(300);

/// How long to wait after so many tries: twice as long each time, and between half and all of that, as `jitter` from 0 to 1 says, so that what
/// failed together does not come back together. The platform's own word counts within bounds.
pub fn wait(attempts: i32, retry_after: Option<Duration>, jitter: f64) -> TimeDelta {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(20);
    let whole = (FIRST * 2i32.pow(doublings)).min(LONGEST);
    let part = 0.5 + 0.5 * jitter.clamp(0.0, 1.0);
    let own = TimeDelta::milliseconds((whole.num_milliseconds() as f64 * part) as i64);
    let asked = retry_after.and_then(|asked| TimeDelta::from_std(asked).ok());
    asked.map_or(own, |asked| {
        asked.clamp(TimeDelta::seconds(1), MOST_ASKED).max(own)
    })
}

/// Keeps a lane from asking a platform that does not work.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
}

impl Breaker {
    /// It works, whatever it said.
    pub fn answered(&mut self) {
        self.failures = 0;
    }

    /// It failed; how long to leave it alone, if at all.
    pub fn failed(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.checked_sub(FAILURES)?.min(10);
        Some((OPEN_FIRST * 2u32.pow(doublings)).min(OPEN_LONGEST))
    }

    /// Whether it failed when it was last asked.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether only a single event should be risked.
    pub fn is_cautious(&self) -> bool {
        self.failures >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_listen_within_bounds() {
        let seconds = |attempts, retry_after: Option<u64>, jitter| {
            wait(attempts, retry_after.map(Duration::from_secs), jitter).num_seconds()
        };
        let table = [
            (seconds(1, None, 1.0), 10),
            (seconds(1, None, 0.0), 5),
            (seconds(2, None, 1.0), 20),
            (seconds(5, None, 1.0), 160),
            (seconds(50, None, 1.0), 3600),
            (seconds(i32::MAX, None, 0.0), 1800),
            (seconds(0, None, 1.0), 10),
            (seconds(1, Some(120), 1.0), 120),
            (seconds(1, Some(0), 1.0), 10),
            (seconds(1, Some(21_600), 1.0), 21_600),
            (seconds(1, Some(1_000_000), 1.0), 86_400),
            (seconds(9, Some(1), 1.0), 2560),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_breaker_opens_after_a_row_of_failures() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            assert_eq!(breaker.failed(), None);
        }
        assert_eq!(breaker.failed(), Some(Duration::from_secs(5)));
        assert!(breaker.is_cautious());
        assert_eq!(breaker.failed(), Some(Duration::from_secs(10)));
        for _ in 0..100 {
            breaker.failed();
        }
        assert_eq!(breaker.failed(), Some(Duration::from_secs(300)));
        breaker.answered();
        assert!(!breaker.is_cautious());
        assert_eq!(breaker.failed(), None);
    }
}
