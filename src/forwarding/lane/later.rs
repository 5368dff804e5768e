//! What a platform says later of a request that it took without a word on its events.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::target::Target;
use super::{ASK_AFTER, Lane};
use crate::forwarding::platforms::{Fate, Later, Whole};
use crate::forwarding::sender::Token;
use crate::forwarding::state::{Reason, State};
use crate::forwarding::store::{self, Asked, Told};

/// How long a lane has what it is to ask about.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// Requests that are asked about between two rounds of sending, at most.
const MOST_ASKED: i64 = 20;
/// How long nobody is asked once asking failed.
const ASK_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(5);
/// When events that may be taken later are sent again: what they wait for takes hours.
const SEND_AGAIN_AFTER: TimeDelta = TimeDelta::hours(6);

impl Lane {
    /// Asks what became of some requests that the platform took without a word on their events; whether there were any to ask about. The first
    /// that gets no answer ends it: sending does not wait for a platform that does not say.
    pub(super) async fn ask_later(&mut self, target: &Target) -> Result<bool, sqlx::Error> {
        let context = Arc::clone(&self.context);
        let now = context.clock.now();
        if !self.standing.may_be_asked(context.clock.ticks()) {
            return Ok(false);
        }
        let until = now + LEASE;
        let mut conn = context.pool.acquire().await?;
        let (property_id, destination_id) = (self.property_id, self.destination_id);
        let requests =
            store::claim_later(&mut conn, property_id, destination_id, (now, until), MOST_ASKED).await?;
        drop(conn);
        let asked = !requests.is_empty();
        for request in requests {
            // What is not asked now is due again when the lease is over.
            if context.stop.is_cancelled() || context.clock.now() >= until {
                break;
            }
            let said = self.ask(target, &request.later, now).await;
            let answered = !matches!(said, Later::Retry { .. } | Later::Credentials { .. });
            let mut conn = context.pool.acquire().await?;
            for told in told(said, request, now) {
                store::settle_later(&mut conn, property_id, destination_id, &told, now).await?;
                if told.later.is_none() {
                    metrics::counter!("trustdata_deliveries_total", "platform" => target.name.as_str(), "state" => told.state.as_str())
                        .increment(told.event_ids.len() as u64);
                }
            }
            if !answered {
                let wait = ASK_AGAIN_AFTER.to_std().unwrap_or_default();
                self.standing.ask_no_more(context.clock.ticks(), wait);
                break;
            }
        }
        Ok(asked)
    }

    /// Asks about one request.
    async fn ask(&mut self, target: &Target, later: &str, now: DateTime<Utc>) -> Later {
        let sender = &self.context.sender;
        let (platform, endpoint) = (target.platform.as_ref(), &target.endpoint);
        let token = match sender
            .token(platform, endpoint, self.standing.token.take(), now)
            .await
        {
            Ok(token) => token,
            // What was to be sent will find out, and say so.
            Err((token, _)) => {
                self.standing.token = token;
                return Later::Retry { after: None };
            }
        };
        let access_token = token.as_ref().and_then(Token::access_token);
        let said = sender.ask(platform, endpoint, access_token, later, now).await;
        self.standing.token = match said {
            Later::Credentials { refresh: true, .. } => token.map(Token::used_up),
            _ => token,
        };
        said
    }
}

/// What a platform's later word means for a request's events. It counts, and names none: where not all fared alike, they stay accepted, with
/// its reasons.
fn told(said: Later, asked: Asked, now: DateTime<Utc>) -> Vec<Told> {
    let Asked { later, events } = asked;
    let all = || events.iter().map(|(event_id, _)| *event_id).collect();
    let known = |event_ids: Vec<Uuid>, state, reason: Option<Reason>, code| Told {
        event_ids,
        state,
        reason: reason.map(Reason::as_str),
        code,
        later: None,
        due_at: None,
    };
    let ask_again = |after: TimeDelta| {
        vec![Told {
            later: Some(later.clone()),
            due_at: Some(now + after),
            ..known(all(), State::Accepted, None, None)
        }]
    };
    let (whole, records, errors) = match said {
        Later::Processing => return ask_again(ASK_AFTER),
        Later::Retry { after } => return ask_again(after.unwrap_or(ASK_AFTER).max(ASK_AGAIN_AFTER)),
        Later::Credentials { .. } => return ask_again(ASK_AFTER),
        Later::Unknown { code } => return vec![known(all(), State::Accepted, None, Some(code))],
        Later::Done {
            whole,
            records,
            errors,
            ..
        } => (whole, records, errors),
    };
    let mut reasons: Vec<String> = errors
        .iter()
        .map(|count| format!("{} x{}", count.reason, count.events))
        .collect();
    if reasons.is_empty() && whole != Whole::Taken {
        reasons.push(
            if whole == Whole::Failed {
                "FAILED"
            } else {
                "PARTIAL_SUCCESS"
            }
            .to_owned(),
        );
    }
    let code = (!reasons.is_empty()).then(|| reasons.join(", "));
    // Where none was taken, all have the fates that are named; else as many as are counted.
    let total = records.max(events.len() as u64);
    let counted: u64 = errors.iter().map(|count| count.events).sum();
    let everyone = whole == Whole::Failed || counted >= total;
    let all_are = |is: fn(Fate) -> bool| everyone && errors.iter().all(|count| is(count.fate));
    let delivered = errors.iter().all(|count| count.fate == Fate::Delivered);
    let none_is_missing = match whole {
        Whole::Taken => true,
        Whole::Partly => !errors.is_empty(),
        Whole::Failed => counted >= total,
    };
    if delivered && none_is_missing {
        return vec![known(all(), State::Processed, None, code)];
    }
    if !errors.is_empty() && all_are(|fate| matches!(fate, Fate::Retry { .. })) {
        let again = now + SEND_AGAIN_AFTER;
        let within = errors.iter().filter_map(|count| match count.fate {
            Fate::Retry { within } => within,
            _ => None,
        });
        let within = within.min();
        let (again_ids, given_up): (Vec<_>, Vec<_>) = events
            .iter()
            .partition(|(_, event_time)| within.is_none_or(|within| again <= *event_time + within));
        let ids =
            |events: Vec<&(Uuid, DateTime<Utc>)>| events.into_iter().map(|(event_id, _)| *event_id).collect();
        let queued = Told {
            due_at: Some(again),
            ..known(ids(again_ids), State::Queued, None, code.clone())
        };
        let dead = known(ids(given_up), State::Dead, Some(Reason::Refused), code);
        return [queued, dead]
            .into_iter()
            .filter(|told| !told.event_ids.is_empty())
            .collect();
    }
    match all_are(|fate| fate == Fate::Failed) {
        true => vec![known(all(), State::Dead, Some(Reason::Refused), code)],
        false => vec![known(all(), State::Accepted, None, code)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forwarding::platforms::Count;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    /// Three events, which happened so many hours ago.
    fn asked(hours: [i64; 3]) -> Asked {
        Asked {
            later: "r-1".to_owned(),
            events: (1..)
                .zip(hours)
                .map(|(n, hours)| (Uuid::from_u128(n), now() - TimeDelta::hours(hours)))
                .collect(),
        }
    }

    /// Reason, events, fate.
    type Counted = (&'static str, u64, Fate);

    fn done(whole: Whole, errors: &[Counted]) -> Later {
        let count = |(reason, events, fate): &Counted| Count {
            reason: (*reason).to_owned(),
            events: *events,
            fate: *fate,
        };
        Later::Done {
            whole,
            records: 3,
            errors: errors.iter().map(count).collect(),
            warnings: Vec::new(),
        }
    }

    const NOT_FOUND: Fate = Fate::Retry {
        within: Some(TimeDelta::hours(24)),
    };

    #[test]
    fn what_is_said_of_the_whole_holds_where_no_reason_is_given() {
        let failed = ("EVENT_TOO_OLD", Fate::Failed);
        let there = ("DUPLICATE_TRANSACTION_ID", Fate::Delivered);
        let table: [(Whole, &[Counted], State, Option<&str>); 11] = [
            (Whole::Taken, &[], State::Processed, None),
            (Whole::Partly, &[], State::Accepted, Some("PARTIAL_SUCCESS")),
            (Whole::Failed, &[], State::Dead, Some("FAILED")),
            (
                Whole::Partly,
                &[(failed.0, 1, failed.1)],
                State::Accepted,
                Some("EVENT_TOO_OLD x1"),
            ),
            (
                Whole::Partly,
                &[(failed.0, 3, failed.1)],
                State::Dead,
                Some("EVENT_TOO_OLD x3"),
            ),
            (
                Whole::Failed,
                &[(failed.0, 1, failed.1)],
                State::Dead,
                Some("EVENT_TOO_OLD x1"),
            ),
            (
                Whole::Taken,
                &[(there.0, 1, there.1)],
                State::Processed,
                Some("DUPLICATE_TRANSACTION_ID x1"),
            ),
            (
                Whole::Partly,
                &[(there.0, 1, there.1)],
                State::Processed,
                Some("DUPLICATE_TRANSACTION_ID x1"),
            ),
            (
                Whole::Failed,
                &[(there.0, 3, there.1)],
                State::Processed,
                Some("DUPLICATE_TRANSACTION_ID x3"),
            ),
            (
                Whole::Failed,
                &[(there.0, 1, there.1)],
                State::Accepted,
                Some("DUPLICATE_TRANSACTION_ID x1"),
            ),
            (
                Whole::Failed,
                &[(there.0, 1, there.1), (failed.0, 2, failed.1)],
                State::Accepted,
                Some("DUPLICATE_TRANSACTION_ID x1, EVENT_TOO_OLD x2"),
            ),
        ];
        for (whole, errors, state, code) in table {
            let told = told(done(whole, errors), asked([1, 1, 1]), now());
            assert_eq!(told.len(), 1, "{whole:?} {errors:?}");
            let told = &told[0];
            assert_eq!(
                (told.state, told.code.as_deref()),
                (state, code),
                "{whole:?} {errors:?}"
            );
            assert_eq!((told.event_ids.len(), &told.later), (3, &None));
        }
    }

    #[test]
    fn a_click_that_is_not_known_yet_is_tried_again_within_a_day_and_hours_apart() {
        let said = done(Whole::Failed, &[("CLICK_NOT_FOUND", 3, NOT_FOUND)]);
        let told = told(said, asked([1, 17, 19]), now());
        let states: Vec<_> = told
            .iter()
            .map(|told| (told.state, told.event_ids.len(), told.due_at, told.reason))
            .collect();
        let again = now() + TimeDelta::hours(6);
        assert_eq!(
            states,
            [
                (State::Queued, 2, Some(again), None),
                (State::Dead, 1, None, Some("refused"))
            ]
        );
        // What has no such limit is tried until the platform takes it no more.
        let said = done(
            Whole::Failed,
            &[("INTERNAL_ERROR", 3, Fate::Retry { within: None })],
        );
        let told = super::told(said, asked([1, 50, 500]), now());
        assert_eq!(
            (told.len(), told[0].state, told[0].event_ids.len()),
            (1, State::Queued, 3)
        );
        // Who of them is meant, nobody says.
        let said = done(Whole::Partly, &[("CLICK_NOT_FOUND", 1, NOT_FOUND)]);
        let told = super::told(said, asked([1, 1, 1]), now());
        assert_eq!((told.len(), told[0].state), (1, State::Accepted));
    }

    #[test]
    fn no_word_is_asked_for_again() {
        for said in [
            Later::Processing,
            Later::Retry { after: None },
            Later::Credentials {
                code: "401".to_owned(),
                refresh: true,
            },
        ] {
            let told = told(said, asked([1, 1, 1]), now());
            assert_eq!(told.len(), 1);
            assert_eq!(
                (told[0].state, told[0].later.as_deref()),
                (State::Accepted, Some("r-1"))
            );
            assert_eq!(told[0].due_at, Some(now() + ASK_AFTER));
        }
    }
}
