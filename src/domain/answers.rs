//! What a visitor answered when asked for consent, over time.

use chrono::{DateTime, Utc};

use super::consent::Consent;

/// The newest answer to each question, and when it was given: by whole seconds, as browsers tell the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers([Option<Answer>; 4]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    /// Unix seconds.
    at: i64,
    granted: bool,
}

/// When each answer was given, in Unix seconds, in the order of [`FLAGS`](super::consent::FLAGS).
pub type Times = [Option<i64>; 4];

impl Answers {
    /// Answers that were all given at one time.
    pub fn given(consent: Consent, at: DateTime<Utc>) -> Self {
        Self::stored(consent, at, None)
    }

    /// As they are stored: times only where not all are from `at`.
    pub fn stored(consent: Consent, at: DateTime<Utc>, times: Option<Times>) -> Self {
        let mut answers = flags(consent).map(|flag| {
            flag.map(|granted| Answer {
                at: at.timestamp(),
                granted,
            })
        });
        for (answer, time) in answers.iter_mut().zip(times.into_iter().flatten()) {
            if let (Some(answer), Some(time)) = (answer, time) {
                answer.at = time;
            }
        }
        Self(answers)
    }

    /// Takes over what is newer in others. Of two answers of one second a no stands: a withdrawal is never lost.
    pub fn take(&mut self, others: Self) {
        for (answer, other) in self.0.iter_mut().zip(others.0) {
            let (Some(known), Some(new)) = (&answer, &other) else {
                *answer = answer.or(other);
                continue;
            };
            if (new.at, !new.granted) > (known.at, !known.granted) {
                *answer = other;
            }
        }
    }

    /// What they come to.
    pub fn consent(&self) -> Consent {
        let [analytics, advertising, preferences, sale_of_data] =
            self.0.map(|answer| answer.map(|answer| answer.granted));
        Consent {
            analytics,
            advertising,
            preferences,
            sale_of_data,
        }
    }

    /// When the newest was given.
    pub fn newest(&self) -> Option<DateTime<Utc>> {
        let newest = self.0.iter().flatten().map(|answer| answer.at).max()?;
        DateTime::from_timestamp(newest, 0)
    }

    /// When each was given; none where all were at one time.
    pub fn times(&self) -> Option<Times> {
        let mut times = self.0.iter().flatten().map(|answer| answer.at);
        let first = times.next()?;
        let differ = times.any(|at| at != first);
        differ.then(|| self.0.map(|answer| answer.map(|answer| answer.at)))
    }
}

/// In the order of [`FLAGS`](super::consent::FLAGS).
fn flags(consent: Consent) -> [Option<bool>; 4] {
    [
        consent.analytics,
        consent.advertising,
        consent.preferences,
        consent.sale_of_data,
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn advertising(granted: bool, seconds: i64) -> Answers {
        let consent = Consent {
            advertising: Some(granted),
            ..Consent::default()
        };
        Answers::given(consent, at(seconds))
    }

    #[test]
    fn the_newest_answer_to_each_question() {
        let mut answers = advertising(true, 10);
        answers.take(Answers::given(Consent::default(), at(30)));
        assert_eq!(
            answers,
            advertising(true, 10),
            "who says nothing takes nothing back"
        );
        let measured = Consent {
            analytics: Some(true),
            ..Consent::default()
        };
        answers.take(Answers::given(measured, at(30)));
        assert_eq!(answers.times(), Some([Some(30), Some(10), None, None]));
        assert_eq!(answers.newest(), Some(at(30)));
        answers.take(advertising(false, 20));
        answers.take(advertising(true, 15));
        assert_eq!(answers.consent().advertising, Some(false));
        answers.take(advertising(true, 20));
        assert_eq!(
            answers.consent().advertising,
            Some(false),
            "of one second a no stands"
        );
        let stored = Answers::stored(answers.consent(), at(30), answers.times());
        assert_eq!(stored, answers);
        assert_eq!(advertising(true, 1).times(), None);
        assert_eq!(
            (Answers::default().times(), Answers::default().newest()),
            (None, None)
        );
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(
            mut told in proptest::collection::vec((0i64..4, proptest::array::uniform4(proptest::option::of(any::<bool>()))), 0..8),
        ) {
            let all = |told: &[(i64, [Option<bool>; 4])]| {
                let mut all = Answers::default();
                for (seconds, [analytics, advertising, preferences, sale_of_data]) in told.iter().copied() {
                    let consent = Consent { analytics, advertising, preferences, sale_of_data };
                    all.take(Answers::given(consent, at(seconds)));
                }
                all
            };
            let forwards = all(&told);
            told.reverse();
            prop_assert_eq!(forwards, all(&told));
        }
    }
}
