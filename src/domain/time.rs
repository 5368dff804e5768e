//! When a conversion happened, as the sender says.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;

use super::json::{self, Kind};

/// How far ahead of our clock a sender's may be.
pub const MOST_AHEAD: TimeDelta = TimeDelta::minutes(10);
/// How old a conversion may be when it is sent.
pub const MOST_BACK: TimeDelta = TimeDelta::days(90);

/// Why a value is no time of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTime {
    /// Neither an integer nor a string.
    WrongType,
    /// No time at all.
    NotATime,
    /// It says milliseconds where seconds are asked for.
    Milliseconds,
    /// More than [`MOST_AHEAD`].
    InTheFuture,
    /// More than [`MOST_BACK`].
    TooOld,
}

impl BadTime {
    /// Code and message of the fault.
    pub fn spec(self) -> (&'static str, &'static str) {
        match self {
            Self::WrongType => ("wrong_type", "must be Unix seconds or an RFC 3339 string"),
            Self::NotATime => (
                "not_a_time",
                "must be Unix seconds or an RFC 3339 time such as 2026-11-01T10:00:00Z",
            ),
            Self::Milliseconds => ("not_a_time", "looks like milliseconds: must be Unix seconds"),
            Self::InTheFuture => ("in_the_future", "must be at most 10 minutes ahead"),
            Self::TooOld => ("too_old", "must be at most 90 days back"),
        }
    }
}

/// Reads `event_time`: Unix seconds or RFC 3339, near enough to `now`.
pub fn parse_event_time(raw: &RawValue, now: DateTime<Utc>) -> Result<DateTime<Utc>, BadTime> {
    let at = match Kind::of(raw) {
        Kind::Number => from_seconds(raw.get())?,
        Kind::String => {
            let text = json::string(raw).ok_or(BadTime::NotATime)?;
            match text.bytes().all(|byte| byte.is_ascii_digit()) {
                true => from_seconds(&text)?,
                false => DateTime::parse_from_rfc3339(&text)
                    .map_err(|_| BadTime::NotATime)?
                    .to_utc(),
            }
        }
        _ => return Err(BadTime::WrongType),
    };
    if at > now + MOST_AHEAD {
        return Err(BadTime::InTheFuture);
    }
    if at < now - MOST_BACK {
        return Err(BadTime::TooOld);
    }
    Ok(at)
}

fn from_seconds(text: &str) -> Result<DateTime<Utc>, BadTime> {
    let seconds: i64 = text.parse().map_err(|_| BadTime::NotATime)?;
    // Seconds reach 13 digits in the year 33658; milliseconds did in 2001.
    if (1_000_000_000_000..100_000_000_000_000).contains(&seconds) {
        return Err(BadTime::Milliseconds);
    }
    DateTime::from_timestamp(seconds, 0).ok_or(BadTime::NotATime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now = DateTime::parse_from_rfc3339("2026-11-01T10:00:00Z")
            .unwrap()
            .to_utc();
        let parse = |text: &str| {
            parse_event_time(&RawValue::from_string(text.to_owned()).unwrap(), now).map(|at| at.to_rfc3339())
        };
        let good = [
            ("1793527200", "2026-11-01T10:00:00+00:00"),
            ("\"1793527200\"", "2026-11-01T10:00:00+00:00"),
            ("\"2026-11-01T11:10:00+01:00\"", "2026-11-01T10:10:00+00:00"),
            ("\"2026-08-03T10:00:00Z\"", "2026-08-03T10:00:00+00:00"),
        ];
        for (text, expected) in good {
            assert_eq!(parse(text), Ok(expected.to_owned()), "{text}");
        }
        let bad = [
            ("true", BadTime::WrongType),
            ("{}", BadTime::WrongType),
            ("1.5", BadTime::NotATime),
            ("1e400", BadTime::NotATime),
            ("\"yesterday\"", BadTime::NotATime),
            ("\"2026-13-01T10:00:00Z\"", BadTime::NotATime),
            ("\"2026-11-01\"", BadTime::NotATime),
            ("1793527200000", BadTime::Milliseconds),
            ("99999999999999999999", BadTime::NotATime),
            ("9223372036854775807", BadTime::NotATime),
            ("\"2026-11-01T10:10:01Z\"", BadTime::InTheFuture),
            ("\"2026-08-03T09:59:59Z\"", BadTime::TooOld),
            ("0", BadTime::TooOld),
            ("-1", BadTime::TooOld),
        ];
        for (text, expected) in bad {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
