//! What a platform answered, and what it means. By the platform's own code where it has one: a status of 200 may be a failure.

use axum::http::HeaderMap;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

/// Longest wait that a platform may ask for.
const MOST_WAIT: TimeDelta = TimeDelta::hours(24);
/// Characters of a platform's own words, at most.
const MOST_DETAIL: usize = 300;

/// An answer, read to its end or to a bound.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, or the beginning of it.
    pub body: &'a [u8],
    /// Whether it went on beyond what was read.
    pub cut: bool,
    /// When it came.
    pub now: DateTime<Utc>,
}

/// One event that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which event of the request.
    pub index: usize,
    /// The platform's code.
    pub code: String,
    /// The platform's words, without anything that could be personal or secret.
    pub detail: Option<String>,
    /// Whether the same event may be taken later.
    pub retry: bool,
}

/// What a platform says of an event that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Which event of the request.
    pub index: usize,
    /// The platform's words, without anything that could be personal or secret.
    pub text: String,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Taken, but for the failures.
    Accepted {
        /// The platform's id of the request.
        request_id: Option<String>,
        /// With what to ask later what became of the events.
        later: Option<String>,
        /// Events that were not taken.
        failures: Vec<Failure>,
        /// What is said of those that were.
        remarks: Vec<Remark>,
    },
    /// Nothing was taken; the same request may be taken later.
    Retry {
        /// The platform's code.
        code: String,
        /// How long it asks to wait.
        after: Option<TimeDelta>,
    },
    /// Nothing was taken, with a code that is not documented: it may be a refusal. Tried again so often, and no more.
    Unclear {
        /// The platform's code.
        code: String,
        /// How long it asks to wait.
        after: Option<TimeDelta>,
    },
    /// Nothing was taken, for events of this topic are not taken yet. Those of other topics may go at once.
    NotYet {
        /// The platform's code.
        code: String,
        /// How long it takes.
        after: TimeDelta,
    },
    /// Nothing was taken, because of some events; the others may go again at once.
    Refused {
        /// The platform's code.
        code: String,
        /// The platform's words, without anything that could be personal or secret.
        detail: Option<String>,
        /// Which events; empty where the platform does not say: halve the request until they are found.
        culprits: Vec<Failure>,
    },
    /// Nothing was taken: the account may not send `user_data`. The same events may go without it.
    UserDataRefused {
        /// The platform's code.
        code: String,
    },
    /// Nothing was taken: the credentials are not accepted. The destination pauses.
    Credentials {
        /// The platform's code.
        code: String,
        /// Whether a fresh access token may help.
        refresh: bool,
    },
    /// Nothing was taken: settings or permissions are wrong. The destination pauses.
    Configuration {
        /// The platform's code.
        code: String,
        /// The platform's words, without anything that could be personal or secret.
        detail: Option<String>,
    },
}

/// What became of events, asked for later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Later {
    /// Not known yet: ask again.
    Processing,
    /// The platform is done.
    Done {
        /// What it says of the request as a whole.
        whole: Whole,
        /// Events that it counted.
        records: u64,
        /// Those that it did not use, by reason.
        errors: Vec<Count>,
        /// Those that it used, but with a remark.
        warnings: Vec<Count>,
    },
    /// It cannot be known.
    Unknown {
        /// The platform's code.
        code: String,
    },
    /// No answer now: ask again.
    Retry {
        /// How long it asks to wait.
        after: Option<TimeDelta>,
    },
    /// The credentials are not accepted.
    Credentials {
        /// The platform's code.
        code: String,
        /// Whether a fresh access token may help.
        refresh: bool,
    },
}

/// A platform's word on a whole request. It may come without any reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// All events were taken.
    Taken,
    /// Some were not.
    Partly,
    /// None was taken.
    Failed,
}

/// Events with one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The platform's code.
    pub reason: String,
    /// How many.
    pub events: u64,
    /// What to do about them.
    pub fate: Fate,
}

/// What an event's later reason means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was there before: delivered.
    Delivered,
    /// It may be taken later, with the same deduplication id.
    Retry {
        /// No longer than so after the event; none where that does not matter.
        within: Option<TimeDelta>,
    },
    /// It will not be taken.
    Failed,
}

impl Verdict {
    /// Taken whole.
    pub(super) fn accepted(request_id: Option<&str>) -> Self {
        Self::Accepted {
            request_id: request_id.map(str::to_owned),
            later: None,
            failures: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// The same, with what the platform says of the events that it took.
    pub(super) fn remarking(mut self, said: impl IntoIterator<Item = Remark>) -> Self {
        if let Self::Accepted { remarks, .. } = &mut self {
            remarks.extend(said);
        }
        self
    }

    /// Come again.
    pub(super) fn retry(code: impl Into<String>, after: Option<TimeDelta>) -> Self {
        Self::Retry {
            code: code.into(),
            after,
        }
    }

    /// Come again, or never.
    pub(super) fn unclear(code: impl Into<String>, after: Option<TimeDelta>) -> Self {
        Self::Unclear {
            code: code.into(),
            after,
        }
    }

    /// Refused whole. Where there was one event, it was that one.
    pub(super) fn refused(events: usize, code: impl Into<String>, detail: Option<String>) -> Self {
        let code = code.into();
        let culprits = match events {
            1 => vec![Failure {
                index: 0,
                code: code.clone(),
                detail: detail.clone(),
                retry: false,
            }],
            _ => Vec::new(),
        };
        Self::Refused {
            code,
            detail,
            culprits,
        }
    }

    /// Refused whole because of these; where none of them is in the request, nobody knows because of which.
    pub(super) fn refused_for(
        events: usize,
        code: impl Into<String>,
        detail: Option<String>,
        culprits: Vec<Failure>,
    ) -> Self {
        let culprits = once_each(culprits, events);
        if culprits.is_empty() {
            return Self::refused(events, code, detail);
        }
        Self::Refused {
            code: code.into(),
            detail,
            culprits,
        }
    }

    /// Taken but for these.
    pub(super) fn partly(events: usize, request_id: Option<&str>, failures: Vec<Failure>) -> Self {
        Self::Accepted {
            request_id: request_id.map(str::to_owned),
            later: None,
            failures: once_each(failures, events),
            remarks: Vec::new(),
        }
    }

    /// The platform counts fewer events than there were, and does not say which are missing. Those that it names have failed; the others are
    /// sent again in smaller requests, until the missing ones are alone. Those that it took before it tells by their deduplication ids.
    pub(super) fn incomplete(events: usize, named: Vec<Failure>) -> Self {
        let detail = "fewer events were taken than were sent".to_owned();
        Self::refused_for(events, "incomplete", Some(detail), named)
    }

    pub(super) fn credentials(code: impl Into<String>, refresh: bool) -> Self {
        Self::Credentials {
            code: code.into(),
            refresh,
        }
    }

    pub(super) fn configuration(code: impl Into<String>, detail: Option<String>) -> Self {
        Self::Configuration {
            code: code.into(),
            detail,
        }
    }
}

/// One failure an event, the first; none for events that are not in the request.
fn once_each(mut failures: Vec<Failure>, events: usize) -> Vec<Failure> {
    failures.retain(|failure| failure.index < events);
    failures.sort_by_key(|failure| failure.index);
    failures.dedup_by_key(|failure| failure.index);
    failures
}

/// Of rows that an answer should have and has not: nobody said that these were taken, so they are sent again.
pub(super) fn untold(rows: usize, events: usize) -> impl Iterator<Item = Failure> {
    (rows..events).map(unsaid)
}

/// An event of which the answer does not say what became of it.
pub(super) fn unsaid(index: usize) -> Failure {
    Failure {
        index,
        code: "not_told".to_owned(),
        detail: None,
        retry: true,
    }
}

/// The same remark on every event of a request.
pub(super) fn on_all(events: usize, text: Option<String>) -> impl Iterator<Item = Remark> {
    let remark = move |index| {
        let text = text.clone()?;
        Some(Remark { index, text })
    };
    (0..events).filter_map(remark)
}

impl Answer<'_> {
    /// The body as JSON; none, where it is none. Of one that was cut only the beginning is there: none.
    pub(super) fn json(&self) -> Option<Value> {
        if self.cut {
            return None;
        }
        serde_json::from_slice(self.body).ok()
    }

    /// A success without a body that can be read: where the answer grew too long, its status speaks for it; else nobody said anything.
    pub(super) fn success_unread(&self, code: String) -> Verdict {
        match self.cut {
            true => Verdict::accepted(None),
            false => Verdict::retry(code, self.retry_after()),
        }
    }

    /// Whether the status says that all is well.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the status says where the body says nothing.
    pub(super) fn by_status(&self, events: usize, detail: Option<String>) -> Verdict {
        let code = self.http_code();
        match self.status {
            200..300 => Verdict::accepted(None),
            401 => Verdict::credentials(code, false),
            403 | 404 | 405 | 410 | 300..400 => Verdict::configuration(code, detail),
            408 | 425 | 429 | 500.. => Verdict::retry(code, self.retry_after()),
            400..500 => Verdict::refused(events, code, detail),
            _ => Verdict::retry(code, None),
        }
    }

    /// The status as a code.
    pub(super) fn http_code(&self) -> String {
        format!("http_{}", self.status)
    }

    /// How long the platform asks to wait: seconds, or a date.
    pub(super) fn retry_after(&self) -> Option<TimeDelta> {
        let text = self.headers.get("retry-after")?.to_str().ok()?.trim();
        let wait = match text.parse::<i64>() {
            Ok(seconds) => TimeDelta::try_seconds(seconds)?,
            Err(_) => DateTime::parse_from_rfc2822(text).ok()?.to_utc() - self.now,
        };
        Some(wait.clamp(TimeDelta::zero(), MOST_WAIT))
    }
}

/// A platform's words for people, cut, and without what may have come from the event or from the settings: addresses, numbers, hashes, tokens.
pub(super) fn words(text: &str) -> Option<String> {
    let kept: Vec<&str> = text
        .split_whitespace()
        .map(|word| if is_telling(word) { "…" } else { word })
        .collect();
    let kept: String = kept
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(MOST_DETAIL)
        .collect();
    (!kept.is_empty()).then_some(kept)
}

fn is_telling(word: &str) -> bool {
    let run =
        |most: usize, of: fn(char) -> bool| word.split(|c| !of(c)).any(|part| part.chars().count() >= most);
    word.contains('@')
        || word.contains("%40")
        || word.contains("://")
        || run(6, |c| c.is_ascii_digit())
        || word.chars().filter(char::is_ascii_digit).count() >= 9
        || run(24, |c| c.is_ascii_alphanumeric())
}

/// The numbers that stand in `text` right after `mark`.
pub(super) fn indexes_after(text: &str, mark: &str) -> Vec<usize> {
    text.split(mark)
        .skip(1)
        .filter_map(|rest| {
            let rest = rest.trim_start();
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<'a>(headers: &'a HeaderMap, status: u16) -> Answer<'a> {
        Answer {
            status,
            headers,
            body: b"",
            cut: false,
            now: DateTime::parse_from_rfc3339("2026-11-01T10:00:00Z")
                .unwrap()
                .to_utc(),
        }
    }

    #[test]
    fn waits() {
        for (text, seconds) in [
            ("30", Some(30)),
            (" 5 ", Some(5)),
            ("-5", Some(0)),
            ("99999999", Some(86_400)),
            ("Sun, 01 Nov 2026 10:02:00 GMT", Some(120)),
            ("Sun, 01 Nov 2026 09:00:00 GMT", Some(0)),
            ("soon", None),
            ("9223372036854775807", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            let wait = answer(&headers, 429).retry_after();
            assert_eq!(wait, seconds.map(TimeDelta::seconds), "{text}");
        }
        assert_eq!(answer(&HeaderMap::new(), 429).retry_after(), None);
    }

    #[test]
    fn words_tell_nothing() {
        let told = "bad em jane@example.com for +15551234567 555-123-4567 at https://x.example/?a=b with EAABsbCS1iHgBAKZCqZBZAZC3ZB \
                    in Batch.0.properties.contents.0.content_id";
        let kept = words(told).unwrap();
        assert_eq!(
            kept,
            "bad em … for … … at … with … in Batch.0.properties.contents.0.content_id"
        );
        assert_eq!(words(" \n "), None);
        assert!(words(&"a b ".repeat(1000)).unwrap().chars().count() <= MOST_DETAIL);
    }

    #[test]
    fn indexes() {
        assert_eq!(
            indexes_after("Index: 0, ERROR Index: 12, ERROR", "Index:"),
            [0, 12]
        );
        assert_eq!(indexes_after("events.events[3].consent", "events["), [3]);
        assert!(indexes_after("events[x]", "events[").is_empty());
        assert!(indexes_after("events[99999999999999999999999]", "events[").is_empty());
    }

    #[test]
    fn failures_are_of_this_request() {
        let failure = |index| Failure {
            index,
            code: "x".to_owned(),
            detail: None,
            retry: false,
        };
        let Verdict::Refused { culprits, .. } =
            Verdict::refused_for(3, "x", None, vec![failure(2), failure(9), failure(0), failure(2)])
        else {
            panic!("refused");
        };
        assert_eq!(
            culprits.iter().map(|failure| failure.index).collect::<Vec<_>>(),
            [0, 2]
        );
        let Verdict::Refused { culprits, .. } = Verdict::refused_for(1, "x", None, vec![failure(9)]) else {
            panic!("refused");
        };
        assert_eq!(culprits.len(), 1, "the only event there is");
    }
}
