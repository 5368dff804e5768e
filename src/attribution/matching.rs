//! Touches x window -> journey, or the reason for none.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::answers::Answers;
use crate::domain::touch::Touch;

/// What lies closer together can be one visit.
const VISIT: TimeDelta = TimeDelta::minutes(30);

/// What the look at a visitor's touches found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribution {
    /// The touches that take credit, oldest first; never empty.
    Matched(Vec<Touch>),
    /// None did.
    Unmatched(UnmatchedReason),
}

/// Why no touch takes credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnmatchedReason {
    /// The conversion names no visitor.
    NoVisitorId,
    /// No session of this visitor is known.
    UnknownVisitor,
    /// There are sessions, and none in the window.
    OutsideLookback {
        /// When the one nearest to the window began.
        nearest: DateTime<Utc>,
    },
}

impl Attribution {
    /// As in the API and in the database.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Matched(_) => "matched",
            Self::Unmatched(UnmatchedReason::NoVisitorId) => "no_visitor_id",
            Self::Unmatched(UnmatchedReason::UnknownVisitor) => "unknown_visitor",
            Self::Unmatched(UnmatchedReason::OutsideLookback { .. }) => "outside_lookback",
        }
    }

    /// When the session nearest to the window began, where there was one outside it and none in it.
    pub fn nearest_session_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Unmatched(UnmatchedReason::OutsideLookback { nearest }) => Some(*nearest),
            _ => None,
        }
    }

    /// Whether a touch takes credit that is no direct visit.
    pub fn is_by_touch(&self) -> bool {
        self.last_touch().is_some_and(|touch| !touch.direct)
    }

    /// The last touch: the one that last click credits.
    pub fn last_touch(&self) -> Option<&Touch> {
        match self {
            Self::Matched(journey) => journey.last(),
            Self::Unmatched(_) => None,
        }
    }
}

/// From when on a touch counts for a conversion at `event_time`: the beginning of that second, because senders round.
pub fn window_start(event_time: DateTime<Utc>, lookback: TimeDelta) -> DateTime<Utc> {
    let start = event_time - lookback;
    DateTime::from_timestamp(start.timestamp(), 0).unwrap_or(start)
}

/// The journey to a conversion at `event_time`, out of `touches` in any order. The window reaches from the click `lookback` back to
/// `event_time`, both ends in it, compared by whole seconds because senders round. Direct visits count only where there is nothing else,
/// and then the last one alone. What the visitor answered counts from all of them.
pub fn attribute(touches: Vec<Touch>, event_time: DateTime<Utc>, lookback: TimeDelta) -> Attribution {
    let age = |touch: &Touch| TimeDelta::seconds(event_time.timestamp() - touch.clicked_at.timestamp());
    let (mut inside, outside): (Vec<Touch>, Vec<Touch>) = touches
        .into_iter()
        .partition(|touch| (TimeDelta::zero()..=lookback).contains(&age(touch)));
    if inside.is_empty() {
        // Distance from the window, on either side of it.
        let distance = |touch: &Touch| {
            let age = age(touch);
            if age < TimeDelta::zero() {
                -age
            } else {
                age - lookback
            }
        };
        let nearest = outside
            .iter()
            .min_by_key(|touch| distance(touch))
            .map(|touch| touch.clicked_at);
        return Attribution::Unmatched(match nearest {
            Some(nearest) => UnmatchedReason::OutsideLookback { nearest },
            None => UnmatchedReason::UnknownVisitor,
        });
    }
    let mut answers = Answers::default();
    inside.iter().for_each(|touch| answers.take(touch.answers));
    inside.sort_by(|a, b| (a.clicked_at, &a.session_id).cmp(&(b.clicked_at, &b.session_id)));
    inside.dedup_by(are_one_visit);
    if inside.iter().any(|touch| !touch.direct) {
        inside.retain(|touch| !touch.direct);
    } else {
        inside.drain(..inside.len() - 1);
    }
    if let Some(credited) = inside.last_mut() {
        let consent = answers.consent();
        credited.consent_by_then = (consent != credited.answers.consent()).then_some(consent);
    }
    Attribution::Matched(inside)
}

/// Whether two neighbours are one click, told twice: by the id of the day, and by the visitor's own id after the consent that came within the
/// visit. Then the own one, whose click ids are known, takes the click's time and stays as `earlier`.
fn are_one_visit(later: &mut Touch, earlier: &mut Touch) -> bool {
    let names = |touch: &Touch| {
        let Touch {
            source,
            medium,
            campaign,
            campaign_id,
            click_id,
            ..
        } = touch.clone();
        (source, medium, campaign, campaign_id, click_id)
    };
    let gap = later.clicked_at.timestamp() - earlier.clicked_at.timestamp();
    let same = later.anonymous != earlier.anonymous
        && gap < VISIT.num_seconds()
        && !later.direct
        && names(later) == names(earlier);
    if same && earlier.anonymous {
        let clicked_at = earlier.clicked_at;
        std::mem::swap(later, earlier);
        earlier.clicked_at = clicked_at;
    }
    same
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::consent::Consent;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn touch(id: &str, seconds: i64, direct: bool) -> Touch {
        Touch {
            session_id: id.to_owned(),
            clicked_at: at(seconds),
            direct,
            source: None,
            medium: None,
            campaign: None,
            campaign_id: None,
            click_id: None,
            anonymous: false,
            answers: Answers::default(),
            consent_by_then: None,
        }
    }

    #[test]
    fn a_click_told_before_and_after_consent_is_one() {
        let ad = |id: &str, seconds: i64, anonymous: bool, campaign: &str| Touch {
            campaign: Some(campaign.to_owned()),
            anonymous,
            ..touch(id, seconds, false)
        };
        // Each as id, time, whether anonymous, campaign -> ids and times of the journey.
        type Row = (
            &'static [(&'static str, i64, bool, &'static str)],
            &'static [(&'static str, i64)],
        );
        let table: &[Row] = &[
            (
                &[("fp", -100, true, "a"), ("own", -90, false, "a")],
                &[("own", -100)],
            ),
            (
                &[("own", -100, false, "a"), ("fp", -100, true, "a")],
                &[("own", -100)],
            ),
            (
                &[("fp", -100, true, "a"), ("own", -90, false, "b")],
                &[("fp", -100), ("own", -90)],
            ),
            (
                &[("fp", -4000, true, "a"), ("own", -90, false, "a")],
                &[("fp", -4000), ("own", -90)],
            ),
            (
                &[("one", -100, false, "a"), ("two", -90, false, "a")],
                &[("one", -100), ("two", -90)],
            ),
        ];
        for (touches, expected) in table {
            let touches = touches
                .iter()
                .map(|(id, at, anonymous, name)| ad(id, *at, *anonymous, name));
            let Attribution::Matched(journey) = attribute(touches.collect(), at(0), TimeDelta::days(30))
            else {
                panic!("{expected:?}");
            };
            let journey: Vec<_> = journey
                .iter()
                .map(|touch| (touch.session_id.as_str(), touch.clicked_at))
                .collect();
            let expected: Vec<_> = expected.iter().map(|(id, seconds)| (*id, at(*seconds))).collect();
            assert_eq!(journey, expected);
        }
    }

    /// Ids of the journey, or the reason.
    fn outcome(touches: &[(&str, i64, bool)]) -> String {
        let touches = touches
            .iter()
            .map(|(id, seconds, direct)| touch(id, *seconds, *direct))
            .collect();
        match attribute(touches, at(0), TimeDelta::days(30)) {
            Attribution::Matched(journey) => journey
                .iter()
                .map(|touch| touch.session_id.as_str())
                .collect::<Vec<_>>()
                .join(" "),
            unmatched => unmatched.reason().to_owned(),
        }
    }

    #[test]
    fn windows_to_the_second() {
        type Visit = (&'static str, i64, bool);
        let table: &[(&[Visit], &str)] = &[
            (&[], "unknown_visitor"),
            (&[("a", 0, false)], "a"),
            (&[("a", 1, false)], "outside_lookback"),
            (&[("a", -30 * DAY, false)], "a"),
            (&[("a", -30 * DAY - 1, false)], "outside_lookback"),
            (&[("a", -5 * DAY, false), ("d", -DAY, true)], "a"),
            (&[("d", -2 * DAY, true), ("e", -DAY, true)], "e"),
            (&[("a", -31 * DAY, false), ("d", -DAY, true)], "d"),
            (
                &[("c", -DAY, false), ("a", -9 * DAY, false), ("b", -2 * DAY, false)],
                "a b c",
            ),
            (&[("b", -DAY, false), ("a", -DAY, false)], "a b"),
        ];
        for (touches, expected) in table {
            assert_eq!(outcome(touches), *expected, "{touches:?}");
        }
    }

    #[test]
    fn the_newest_answer_of_any_visit_counts() {
        let advertising = |granted: Option<bool>| Consent {
            advertising: granted,
            ..Consent::default()
        };
        let visit = |id: &str, seconds: i64, direct: bool, answer: Option<bool>| Touch {
            answers: Answers::given(advertising(answer), at(seconds)),
            ..touch(id, seconds, direct)
        };
        // Each as time, whether direct, answer -> what is known by then, where the credited visit does not say it.
        type Row = (&'static [(i64, bool, Option<bool>)], Option<Option<bool>>);
        let table: &[Row] = &[
            (&[(-9, false, None)], None),
            (&[(-9, false, Some(true))], None),
            (&[(-9, false, None), (-5, true, Some(true))], Some(Some(true))),
            (
                &[(-9 * DAY, false, Some(true)), (-DAY, true, Some(false))],
                Some(Some(false)),
            ),
            (
                &[(-9 * DAY, false, Some(false)), (-DAY, true, Some(true))],
                Some(Some(true)),
            ),
            (&[(-9 * DAY, true, Some(false)), (-DAY, false, Some(true))], None),
            (&[(-40 * DAY, true, Some(false)), (-DAY, false, None)], None),
            (&[(-DAY, false, None), (DAY, true, Some(true))], None),
        ];
        for (visits, expected) in table {
            let touches = visits.iter().enumerate();
            let touches = touches.map(|(place, (seconds, direct, answer))| {
                visit(&place.to_string(), *seconds, *direct, *answer)
            });
            let found = attribute(touches.collect(), at(0), TimeDelta::days(30));
            let told = found.last_touch().unwrap().consent_by_then;
            assert_eq!(told, expected.map(advertising), "{visits:?}");
        }
    }

    #[test]
    fn a_click_within_the_second_of_the_event_counts() {
        let mut click = touch("a", 0, false);
        click.clicked_at += TimeDelta::milliseconds(999);
        assert_eq!(
            attribute(vec![click], at(0), TimeDelta::days(30)).reason(),
            "matched"
        );
    }

    #[test]
    fn the_nearest_is_measured_from_the_window() {
        let touches = vec![
            touch("far", -45 * DAY, false),
            touch("near", -31 * DAY, true),
            touch("after", 2 * DAY, false),
        ];
        let expected = UnmatchedReason::OutsideLookback {
            nearest: at(-31 * DAY),
        };
        assert_eq!(
            attribute(touches, at(0), TimeDelta::days(30)),
            Attribution::Unmatched(expected)
        );
    }

    /// The rules once more, slow and obvious.
    fn oracle(touches: &[(i64, bool)], lookback: i64) -> Vec<usize> {
        let inside = |i: &usize| touches[*i].0 <= 0 && -touches[*i].0 <= lookback;
        let all: Vec<usize> = (0..touches.len()).filter(inside).collect();
        let mut paid: Vec<usize> = all.iter().copied().filter(|i| !touches[*i].1).collect();
        if paid.is_empty() {
            paid = all
                .iter()
                .copied()
                .max_by_key(|i| (touches[*i].0, *i))
                .into_iter()
                .collect();
        }
        paid.sort_by_key(|i| (touches[*i].0, *i));
        paid
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(
            touches in proptest::collection::vec((-40 * DAY..5 * DAY, any::<bool>()), 0..12),
            days in 1i64..=90,
        ) {
            let journey = touches.iter().enumerate().map(|(i, (t, direct))| touch(&format!("{i:03}"), *t, *direct)).collect();
            let expected = oracle(&touches, days * DAY);
            match attribute(journey, at(0), TimeDelta::days(days)) {
                Attribution::Matched(journey) => {
                    let ids: Vec<usize> = journey.iter().map(|touch| touch.session_id.parse().unwrap()).collect();
                    prop_assert_eq!(ids, expected);
                }
                Attribution::Unmatched(reason) => {
                    prop_assert!(expected.is_empty());
                    prop_assert_eq!(reason == UnmatchedReason::UnknownVisitor, touches.is_empty());
                }
            }
        }
    }
}
