//! Days that people ask for.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, Utc};

/// Of the years that databases and people agree about.
pub fn is_common(day: NaiveDate) -> bool {
    (1970..=9999).contains(&day.year())
}

/// A day's beginning, in UTC, as a date field sends it.
pub fn beginning(sent: &str) -> Option<DateTime<Utc>> {
    let day = sent.parse::<NaiveDate>().ok().filter(|day| is_common(*day))?;
    Some(day.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_our_time() {
        assert_eq!(
            beginning("2026-01-31").map(|at| at.to_rfc3339()),
            Some("2026-01-31T00:00:00+00:00".to_owned())
        );
        for odd in ["", "x", "2026-02-30", "-9999-01-01", "+10000-01-01", "1969-12-31"] {
            assert_eq!(beginning(odd), None, "{odd}");
        }
    }
}
