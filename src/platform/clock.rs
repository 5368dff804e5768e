//! Time and time-ordered ids, handed in so that tests set them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, SubsecRound as _, TimeZone as _, Utc};
use uuid::Uuid;

/// Moments that people may name, in seconds since the epoch, to the end of the year 9999: Postgres and we know other times each.
pub const MOMENTS: std::ops::RangeInclusive<i64> = 0..=253_402_300_799;

/// Where the time comes from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System {
        started: Instant,
    },
    /// Microseconds since the epoch.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(Source::System {
            started: Instant::now(),
        })
    }

    /// A clock that stands at `at` until [`Clock::advance`] moves it.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(at.timestamp_micros()))))
    }

    /// Moves a fixed clock; the system's goes by itself.
    pub fn advance(&self, by: chrono::Duration) {
        if let Source::Fixed(micros) = &self.0 {
            micros.fetch_add(by.num_microseconds().unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// The time of day in UTC, to the microsecond that Postgres keeps.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System { .. } => Utc::now().trunc_subsecs(6),
            Source::Fixed(micros) => match Utc.timestamp_micros(micros.load(Ordering::SeqCst)).single() {
                Some(at) => at,
                None => DateTime::UNIX_EPOCH,
            },
        }
    }

    /// Nanoseconds that only go forward, for the rate limits.
    pub fn ticks(&self) -> u64 {
        match &self.0 {
            Source::System { started } => u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Source::Fixed(micros) => {
                let micros = u64::try_from(micros.load(Ordering::SeqCst)).unwrap_or(0);
                micros.saturating_mul(1000)
            }
        }
    }

    /// A new UUIDv7.
    pub fn new_id(&self) -> Uuid {
        id_at(self.now(), &rand::random())
    }
}

/// A UUIDv7 of `at` that orders by the microsecond (RFC 9562, 6.2 method 3); the rest is `random`.
pub fn id_at(at: DateTime<Utc>, random: &[u8; 8]) -> Uuid {
    let micros = u64::try_from(at.timestamp_micros()).unwrap_or(0);
    let fraction = u16::try_from((micros % 1000) * 4096 / 1000).unwrap_or(0);
    let mut tail = [0u8; 10];
    tail[..2].copy_from_slice(&fraction.to_be_bytes());
    tail[2..].copy_from_slice(random);
    uuid::Builder::from_unix_timestamp_millis(micros / 1000, &tail).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_order_by_the_microsecond() {
        let at = Utc.timestamp_micros(1_790_000_000_123_456).unwrap();
        let earlier = id_at(at, &[0xff; 8]);
        let later = id_at(at + chrono::Duration::microseconds(1), &[0; 8]);
        assert!(earlier < later);
        assert_eq!(earlier.get_version_num(), 7);
    }
}
