//! The five models of credit, and the window of a report.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// Days that a report may reach over.
pub const MOST_DAYS: i64 = 800;

/// How credit is shared over a journey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// All to the last touch.
    LastClick,
    /// All to the first touch.
    FirstClick,
    /// Equal shares.
    Linear,
    /// Halving with every 7 days before the conversion.
    TimeDecay,
    /// 40 % first, 40 % last, 20 % over the middle.
    PositionBased,
}

impl Model {
    /// All of them, in the order of the sums.
    pub const ALL: [Self; 5] = [
        Self::LastClick,
        Self::FirstClick,
        Self::Linear,
        Self::TimeDecay,
        Self::PositionBased,
    ];

    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LastClick => "last_click",
            Self::FirstClick => "first_click",
            Self::Linear => "linear",
            Self::TimeDecay => "time_decay",
            Self::PositionBased => "position_based",
        }
    }

    /// Its place in the sums.
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// No such model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the models are last_click, first_click, linear, time_decay and position_based")]
pub struct UnknownModel;

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(text: &str) -> Result<Self, UnknownModel> {
        Self::ALL
            .into_iter()
            .find(|model| model.as_str() == text)
            .ok_or(UnknownModel)
    }
}

/// Whether a day is of the years that databases and people agree about. Others cannot be counted with.
pub fn is_common(day: NaiveDate) -> bool {
    (1970..=9999).contains(&day.year())
}

/// Whole days in UTC, the last one not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Window {
    /// The first day.
    pub from: NaiveDate,
    /// The day after the last.
    pub until: NaiveDate,
}

/// Why two days make no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadWindow {
    /// It ends before it begins, or has no day in it.
    #[error("`until` must be a later day than `from`; it is not in the report itself")]
    Empty,
    /// It is longer than [`MOST_DAYS`].
    #[error("a report reaches over at most 800 days")]
    TooLong,
}

impl Window {
    /// From one day to another, which is not in it.
    pub fn new(from: NaiveDate, until: NaiveDate) -> Result<Self, BadWindow> {
        match (until - from).num_days() {
            ..1 => Err(BadWindow::Empty),
            1..=MOST_DAYS => Ok(Self { from, until }),
            _ => Err(BadWindow::TooLong),
        }
    }

    /// The last `days` up to the day of `now`, that one too.
    pub fn last_days(days: u16, now: DateTime<Utc>) -> Self {
        let days = i64::from(days).clamp(1, MOST_DAYS);
        let today = now.date_naive();
        let until = today.succ_opt().unwrap_or(today);
        let from = until.checked_sub_signed(TimeDelta::days(days)).unwrap_or(today);
        Self { from, until }
    }

    /// Whether a day is in it.
    pub fn contains(&self, day: NaiveDate) -> bool {
        (self.from..self.until).contains(&day)
    }

    /// Its first moment, and the one after its last.
    pub fn moments(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        (midnight(self.from), midnight(self.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(
            Window::new(day("2026-11-02"), day("2026-11-02")),
            Err(BadWindow::Empty)
        );
        assert_eq!(
            Window::new(day("2020-01-01"), day("2026-11-02")),
            Err(BadWindow::TooLong)
        );
        let now = day("2026-11-02").and_hms_opt(10, 0, 0).unwrap().and_utc();
        let window = Window::last_days(30, now);
        assert_eq!(
            (window.from, window.until),
            (day("2026-10-04"), day("2026-11-03"))
        );
        assert!(window.contains(day("2026-11-02")) && !window.contains(day("2026-11-03")));
    }

    #[test]
    fn the_order_of_models_is_that_of_the_sums() {
        for (place, model) in Model::ALL.into_iter().enumerate() {
            assert_eq!(model.index(), place);
            assert_eq!(model.as_str().parse(), Ok(model));
        }
        assert_eq!("last".parse::<Model>(), Err(UnknownModel));
    }
}
