//! The days that a page is about: so many up to today, or from one to another.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::frame::Link;
use crate::reports::{BadWindow, Window, is_common};

/// Windows that can be chosen, in days.
const PRESETS: [(u16, &str); 4] = [(1, "Today"), (7, "7 days"), (30, "30 days"), (90, "90 days")];
/// Days unless told otherwise.
const USUALLY: u16 = 30;

/// The days that a page is about.
pub struct Days {
    /// The days.
    pub window: Window,
    /// So many up to today; none: from one day to another.
    pub preset: Option<u16>,
    /// Why the dates that were sent are not taken.
    pub refused: Option<&'static str>,
}

impl Days {
    /// What is asked for: a number of days, or the first and the last one.
    pub fn of(days: &str, from: &str, until: &str, now: DateTime<Utc>) -> Self {
        let preset = |days: u16| Self {
            window: Window::last_days(days, now),
            preset: Some(days),
            refused: None,
        };
        if from.is_empty() && until.is_empty() {
            let is_one = |days: &u16| PRESETS.iter().any(|(one, _)| one == days);
            return preset(days.parse().ok().filter(is_one).unwrap_or(USUALLY));
        }
        match between(from, until, now.date_naive()) {
            Ok(window) => Self {
                window,
                preset: None,
                refused: None,
            },
            Err(why) => Self {
                refused: Some(why),
                ..preset(USUALLY)
            },
        }
    }

    /// The first day, for a date field.
    pub fn first(&self) -> String {
        self.window.from.to_string()
    }

    /// The last day, for a date field.
    pub fn last(&self) -> String {
        let last = self.window.until.pred_opt();
        last.unwrap_or(self.window.until).to_string()
    }

    /// How many they are.
    pub fn count(&self) -> i64 {
        (self.window.until - self.window.from).num_days()
    }

    /// The same days as a query.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        match self.preset {
            Some(days) => vec![("days", days.to_string())],
            None => vec![("from", self.first()), ("until", self.last())],
        }
    }

    /// Links to the numbers of days that can be chosen, with the rest of the query.
    pub fn presets(&self, rest: &[(&str, String)]) -> Vec<Link> {
        let link = |(days, label): (u16, &'static str)| Link {
            path: query(&[&[("days", days.to_string())], rest].concat()),
            label,
            current: self.preset == Some(days),
        };
        PRESETS.map(link).into()
    }
}

/// A query string, with its question mark.
pub fn query(pairs: &[(&str, String)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new("?".to_owned());
    for (name, value) in pairs {
        text.append_pair(name, value);
    }
    text.finish()
}

/// A day, as a date field sends it.
pub fn day(sent: &str) -> Option<NaiveDate> {
    sent.parse().ok().filter(|day| is_common(*day))
}

fn between(from: &str, until: &str, today: NaiveDate) -> Result<Window, &'static str> {
    let read = |sent: &str, otherwise: Option<NaiveDate>| match sent {
        "" => otherwise.ok_or("There are no such days."),
        sent => day(sent).ok_or("A day is a date of the years 1970 to 9999."),
    };
    let last = read(until, Some(today))?;
    let month_before = TimeDelta::days(i64::from(USUALLY) - 1);
    let first = read(from, last.checked_sub_signed(month_before))?;
    let until = last.succ_opt().unwrap_or(last);
    Window::new(first, until).map_err(|bad| match bad {
        BadWindow::Empty => "The last day must not be before the first one.",
        BadWindow::TooLong => "At most 800 days can be shown at once.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let now = DateTime::parse_from_rfc3339("2026-11-02T10:00:00Z")
            .unwrap()
            .to_utc();
        let table = [
            (["", "", ""], ("2026-10-04", "2026-11-02"), Some(30), false),
            (["7", "", ""], ("2026-10-27", "2026-11-02"), Some(7), false),
            (["8", "", ""], ("2026-10-04", "2026-11-02"), Some(30), false),
            (
                ["7", "2026-02-01", "2026-02-28"],
                ("2026-02-01", "2026-02-28"),
                None,
                false,
            ),
            (["", "2026-11-01", ""], ("2026-11-01", "2026-11-02"), None, false),
            (["", "", "2026-02-28"], ("2026-01-30", "2026-02-28"), None, false),
            (
                ["", "2026-02-02", "2026-02-01"],
                ("2026-10-04", "2026-11-02"),
                Some(30),
                true,
            ),
            (
                ["", "2020-01-01", "2026-01-01"],
                ("2026-10-04", "2026-11-02"),
                Some(30),
                true,
            ),
            (
                ["", "+262142-12-31", "+262142-12-31"],
                ("2026-10-04", "2026-11-02"),
                Some(30),
                true,
            ),
            (
                ["", "", "-262143-01-01"],
                ("2026-10-04", "2026-11-02"),
                Some(30),
                true,
            ),
            (
                ["", "9999-12-31", "9999-12-31"],
                ("9999-12-31", "9999-12-31"),
                None,
                false,
            ),
            (
                ["", "1970-01-01", "1970-01-01"],
                ("1970-01-01", "1970-01-01"),
                None,
                false,
            ),
            (["", "x", "\0"], ("2026-10-04", "2026-11-02"), Some(30), true),
        ];
        for ([days, from, until], (first, last), preset, refused) in table {
            let days = Days::of(days, from, until, now);
            assert_eq!((days.first(), days.last()), (first.to_owned(), last.to_owned()));
            assert_eq!(
                (days.preset, days.refused.is_some()),
                (preset, refused),
                "{first}"
            );
            let (again, pairs) = (days.query(), days.query());
            let field = |name| {
                pairs
                    .iter()
                    .find(|(one, _)| *one == name)
                    .map_or("", |(_, value)| value)
            };
            let same = Days::of(field("days"), field("from"), field("until"), now);
            assert_eq!((same.window, again), (days.window, same.query()));
        }
    }
}
