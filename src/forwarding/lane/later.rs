//! What a platform says later of a request that it took without a word on its events.

use chrono::{DateTime, TimeDelta, Utc};

use super::ASK_AFTER;
use crate::forwarding::platforms::{Fate, Later};
use crate::forwarding::retry;
use crate::forwarding::state::{Reason, State};
use crate::forwarding::store::Told;

/// What a platform's later word means for a request's events. It counts, and names none: where not all fared alike, they stay accepted, with
/// its reasons.
pub fn told(said: Later, later: String, events: usize, now: DateTime<Utc>) -> Told {
    let ask_again = |after: TimeDelta| Told {
        state: State::Accepted,
        reason: None,
        code: None,
        later: Some(later.clone()),
        due_at: Some(now + after),
    };
    let known = |state, reason, code| Told {
        state,
        reason,
        code,
        later: None,
        due_at: None,
    };
    match said {
        Later::Processing => ask_again(ASK_AFTER),
        Later::Retry { after } => ask_again(after.unwrap_or(ASK_AFTER).max(TimeDelta::minutes(1))),
        Later::Credentials { .. } => ask_again(ASK_AFTER),
        Later::Unknown { code } => known(State::Accepted, None, Some(code)),
        Later::Done { errors, .. } if errors.iter().all(|count| count.fate == Fate::Delivered) => known(
            State::Processed,
            None,
            errors.first().map(|count| count.reason.clone()),
        ),
        Later::Done { errors, .. } => {
            let reasons: Vec<String> = errors
                .iter()
                .map(|count| format!("{} x{}", count.reason, count.events))
                .collect();
            let code = Some(reasons.join(", "));
            let all = |fate| {
                let counted: u64 = errors
                    .iter()
                    .filter(|count| count.fate == fate)
                    .map(|count| count.events)
                    .sum();
                counted >= events as u64
            };
            if all(Fate::Failed) {
                known(State::Dead, Some(Reason::Refused.as_str()), code)
            } else if all(Fate::Retry) {
                Told {
                    due_at: Some(now + retry::wait(6, None, rand::random())),
                    ..known(State::Queued, None, code)
                }
            } else {
                known(State::Accepted, None, code)
            }
        }
    }
}
