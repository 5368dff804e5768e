//! A journey as a picture: on an axis of time, from the beginning of the lookback to the conversion.

use chrono::{DateTime, TimeDelta, Utc};

/// Where the axis begins and ends across, in percent: marks at its ends need room.
const LEFT: f64 = 4.0;
const RIGHT: f64 = 96.0;
/// Where the axis is, and how much higher a mark lies that would hide the one before it.
const AXIS: f64 = 84.0;
const HIGHER: f64 = 24.0;
/// Marks nearer than this hide each other, in percent: a phone's screen is 350 points wide.
const NEAR: f64 = 6.5;
/// Levels that marks lie on.
const LEVELS: usize = 3;
/// Marks of the scale, at most.
const MOST_TICKS: i64 = 6;

/// What a mark stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A click on something.
    Click,
    /// A visit by itself.
    Direct,
    /// A visit that does not count.
    Outside,
}

impl Kind {
    /// As in the styles.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Direct => "direct",
            Self::Outside => "outside",
        }
    }
}

/// Something on the way.
pub struct Moment {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub kind: Kind,
    /// What, in words.
    pub title: String,
}

/// A mark on the axis.
pub struct Mark {
    /// Place across, in percent.
    pub x: String,
    /// Place down.
    pub y: String,
    /// What it stands for.
    pub kind: Kind,
    /// Its number in the list.
    pub number: usize,
    /// What it stands for, in words.
    pub title: String,
}

/// A mark of the scale.
pub struct Tick {
    /// Place across, in percent.
    pub x: String,
    /// How long before the conversion.
    pub label: String,
}

/// The picture.
pub struct Timeline {
    /// Marks, the earliest first.
    pub marks: Vec<Mark>,
    /// The scale.
    pub ticks: Vec<Tick>,
    /// Where the lookback begins, in percent.
    pub window: String,
    /// Where the conversion is, in percent.
    pub end: String,
    /// Where the axis is.
    pub axis: String,
}

impl Timeline {
    /// Draws moments up to `end`, the earliest first; what lies behind it is left out.
    pub fn of(moments: Vec<Moment>, window_start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        let moments: Vec<Moment> = moments.into_iter().filter(|moment| moment.at <= end).collect();
        let first = moments.iter().map(|moment| moment.at).chain([window_start]).min();
        let start = first.unwrap_or(window_start).min(end);
        let span = (end - start).num_seconds().max(1) as f64;
        let place = |at: DateTime<Utc>| LEFT + (RIGHT - LEFT) * ((at - start).num_seconds() as f64 / span);
        let (mut marks, mut before, mut level) = (Vec::new(), f64::NEG_INFINITY, 0);
        for (index, moment) in moments.into_iter().enumerate() {
            let x = place(moment.at);
            level = if x - before < NEAR {
                (level + 1) % LEVELS
            } else {
                0
            };
            // The conversion's own mark is on the axis.
            if level == 0 && RIGHT - x < NEAR {
                level = 1;
            }
            before = x;
            marks.push(Mark {
                x: format!("{x:.2}"),
                y: format!("{:.0}", AXIS - level as f64 * HIGHER),
                kind: moment.kind,
                number: index + 1,
                title: moment.title,
            });
        }
        Self {
            marks,
            ticks: ticks(end - start, |ago| format!("{:.2}", place(end - ago))),
            window: format!("{:.2}", place(window_start)),
            end: format!("{RIGHT:.2}"),
            axis: format!("{AXIS:.0}"),
        }
    }
}

/// Whole days back from the end, not more than can be read; hours where days would be too few.
fn ticks(span: TimeDelta, place: impl Fn(TimeDelta) -> String) -> Vec<Tick> {
    let (unit, in_span): (fn(i64) -> TimeDelta, i64) = match span.num_days() {
        0..2 => (TimeDelta::hours, span.num_hours()),
        days => (TimeDelta::days, days),
    };
    let name = if span.num_days() < 2 { "h" } else { "d" };
    let steps = [1, 2, 5, 10, 15, 30, 60, 90, 180, 365];
    let step = steps.into_iter().find(|step| in_span / step <= MOST_TICKS);
    let step = step.unwrap_or(in_span / MOST_TICKS + 1);
    (1..=in_span / step)
        .map(|nth| Tick {
            x: place(unit(nth * step)),
            label: format!("−{}\u{202f}{name}", nth * step),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(days_before: &[f64], lookback: i64) -> Timeline {
        let end = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let moment = |days: &f64| Moment {
            at: end - TimeDelta::seconds((days * 86_400.0) as i64),
            kind: Kind::Click,
            title: String::new(),
        };
        let moments = days_before.iter().map(moment).collect();
        Timeline::of(moments, end - TimeDelta::days(lookback), end)
    }

    #[test]
    fn places_are_in_proportion() {
        let picture = drawn(&[30.0, 15.0, 14.9, 0.1], 30);
        let places: Vec<(&str, &str)> = picture.marks.iter().map(|mark| (&*mark.x, &*mark.y)).collect();
        assert_eq!(
            places,
            [("4.00", "84"), ("50.00", "84"), ("50.31", "60"), ("95.69", "60")]
        );
        assert_eq!((picture.window.as_str(), picture.end.as_str()), ("4.00", "96.00"));
        let ticks: Vec<&str> = picture.ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(
            ticks,
            [
                "−5\u{202f}d",
                "−10\u{202f}d",
                "−15\u{202f}d",
                "−20\u{202f}d",
                "−25\u{202f}d",
                "−30\u{202f}d"
            ]
        );
    }

    #[test]
    fn a_visit_before_the_lookback_widens_the_axis() {
        let picture = drawn(&[60.0], 30);
        assert_eq!(
            (picture.marks[0].x.as_str(), picture.window.as_str()),
            ("4.00", "50.00")
        );
    }

    #[test]
    fn odd_times() {
        assert!(drawn(&[-1.0], 1).marks.is_empty());
        assert_eq!(drawn(&[0.0], 0).marks.len(), 1);
        assert_eq!(drawn(&[], 1).ticks.len(), 4, "hours");
        assert!(drawn(&[100_000.0], 30).ticks.len() <= 6);
    }
}
