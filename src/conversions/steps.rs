//! The steps that recording and previewing share.

use std::collections::HashMap;

use chrono::TimeDelta;
use sqlx::PgConnection;
use uuid::Uuid;

use super::outcome::{Outcome, Receipt};
use super::record::{Content, Draft, Identity};
use super::store::{self, First};
use crate::activity;
use crate::attribution::{Attribution, UnmatchedReason, attribute, window_start};
use crate::domain::conversion::{content_differs, with_user_data_of};
use crate::domain::text::shown;
use crate::platform::secrets::{self, Sealer};
use crate::sessions;
use crate::sessions::store::Wanted;

/// How long after a conversion its repeat may add to it: personal data is kept for longer than that, and what comes later would stay for ever.
const RICHER_WITHIN: TimeDelta = TimeDelta::days(6);

/// Fields named in which a repeat differs, at most; the rest are counted.
const MOST_NAMED: usize = 100;
/// Characters of their list in an audit row, at most.
const MOST_LISTED: usize = 500;

/// Looks each conversion's visitor up, all in one go, and attributes; in the order of `drafts`.
pub async fn attribute_all(
    conn: &mut PgConnection,
    drafts: &[&Draft],
) -> Result<Vec<Attribution>, sqlx::Error> {
    let lookback = |draft: &Draft| TimeDelta::days(i64::from(draft.origin.lookback_days));
    let (places, wanted): (Vec<usize>, Vec<Wanted<'_>>) = drafts
        .iter()
        .enumerate()
        .filter_map(|(place, draft)| {
            let visitor_id = draft.conversion.visitor_id.as_deref()?;
            let property_id = draft.origin.tenant.property_id;
            Some((
                place,
                Wanted {
                    property_id,
                    visitor_id,
                    event_time: draft.conversion.event_time,
                    window_start: window_start(draft.conversion.event_time, lookback(draft)),
                },
            ))
        })
        .unzip();
    let touches = sessions::store::touches(conn, &wanted).await?;
    let mut attributions = vec![Attribution::Unmatched(UnmatchedReason::NoVisitorId); drafts.len()];
    for (place, touches) in places.into_iter().zip(touches) {
        let draft = drafts[place];
        attributions[place] = attribute(touches, draft.conversion.event_time, lookback(draft));
    }
    Ok(attributions)
}

/// What was there already.
pub struct Repeats {
    /// The outcome of each of the drafts that was there, by its place among them.
    pub found: HashMap<usize, Outcome>,
    /// Those that know more of the customer than the first: tenant, our id of the first, place of the repeat.
    pub richer: Vec<(Uuid, Uuid, usize)>,
}

/// Finds those of `drafts` that were there already.
pub async fn find_repeats(
    conn: &mut PgConnection,
    drafts: &[&Draft],
    sealer: &Sealer,
) -> Result<Repeats, sqlx::Error> {
    let identities: Vec<Identity<'_>> = drafts.iter().map(|draft| draft.identity()).collect();
    let mut repeats = Repeats {
        found: HashMap::new(),
        richer: Vec::new(),
    };
    for first in store::find(conn, &identities).await? {
        let repeat = drafts[first.index];
        let differs = differs(&first.content(), &repeat.content(), sealer);
        if richer(&first, repeat, sealer).is_some() {
            let (property_id, event_id) = (first.property_id, first.receipt.event_id);
            repeats.richer.push((property_id, event_id, first.index));
        }
        let outcome = Outcome::Duplicate {
            first: first.receipt,
            differs,
        };
        repeats.found.insert(first.index, outcome);
    }
    Ok(repeats)
}

/// The first's personal data with the members of `user_data` that only its repeat has; none where it adds nothing. A repeat adds when it came
/// through the other door, where one door knows the customer and the other the browser; through the same door it is the same event once more.
fn richer(first: &First, repeat: &Draft, sealer: &Sealer) -> Option<String> {
    if first.via == repeat.origin.source.as_str() {
        return None;
    }
    let of_first = first.content().personal(sealer)?;
    let of_repeat = repeat.content().personal(sealer)?;
    with_user_data_of(&of_first, &of_repeat)
}

/// Adds to firsts what their repeats know more of the customer, as the firsts are now: another writer may have added to them meanwhile. Those
/// that became richer, tenant and our id.
pub async fn enrich(
    conn: &mut PgConnection,
    drafts: &[&Draft],
    richer: &[(Uuid, Uuid, usize)],
    sealer: &Sealer,
) -> Result<Vec<(Uuid, Uuid)>, sqlx::Error> {
    let Some(now) = drafts.iter().map(|draft| draft.origin.received_at).max() else {
        return Ok(Vec::new());
    };
    let mut ids: Vec<(Uuid, Uuid)> = richer
        .iter()
        .map(|(property, event, _)| (*property, *event))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let mut sealed = Vec::with_capacity(ids.len());
    for (property_id, event_id, personal_sealed) in
        store::hold_personal(conn, &ids, now - RICHER_WITHIN).await?
    {
        let first = Content {
            property_id,
            event_id,
            payload: "{}",
            personal_sealed: personal_sealed.as_deref(),
        };
        let Some(before) = first.personal(sealer) else {
            continue;
        };
        let repeats = richer.iter().filter(|(_, of, _)| *of == event_id);
        let merged = repeats.fold(None, |merged: Option<String>, (_, _, place)| {
            let known = merged.as_deref().unwrap_or(&before);
            let of_repeat = drafts[*place].content().personal(sealer);
            of_repeat
                .and_then(|more| with_user_data_of(known, &more))
                .or(merged)
        });
        let context = secrets::row(property_id, event_id.as_bytes());
        if let Some(merged) = merged {
            let merged = sealer.seal(merged.as_bytes(), &context);
            let merged = merged.map_err(|error| sqlx::Error::Encode(error.into()))?;
            sealed.push((property_id, event_id, merged));
        }
    }
    store::update_personal(conn, &sealed).await?;
    Ok(sealed
        .into_iter()
        .map(|(property, event, _)| (property, event))
        .collect())
}

/// Names of the fields in which a repeat differs from the first; where there are very many, the last entry says how many more. Personal
/// fields that retention has taken are past comparing.
pub fn differs(first: &Content<'_>, repeat: &Content<'_>, sealer: &Sealer) -> Vec<String> {
    let mut names = content_differs(first.payload, repeat.payload);
    if let (Some(of_first), Some(of_repeat)) = (first.personal(sealer), repeat.personal(sealer)) {
        names.extend(content_differs(&of_first, &of_repeat));
    }
    if names.len() > MOST_NAMED {
        let more = names.len() - MOST_NAMED;
        names.truncate(MOST_NAMED);
        names.push(format!("and {more} more"));
    }
    names
}

/// The audit row of a request whose events were settled.
pub fn completed(
    mut entry: activity::Entry,
    drafts: &[Draft],
    array: bool,
    outcomes: &[Outcome],
) -> activity::Entry {
    let receipts: Vec<&Receipt> = outcomes.iter().filter_map(Outcome::receipt).collect();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    entry.accepted = count(receipts.len());
    entry.rejected += count(outcomes.len() - receipts.len());
    entry.session_matched = Some(receipts.iter().any(|receipt| receipt.matched.is_matched()));
    entry.duplicate = !outcomes.is_empty()
        && outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Duplicate { .. }));
    if receipts.is_empty() {
        entry.status = activity::Status::ValidationError;
        entry.http_status = 422;
        entry.code = Some("validation_failed");
        entry.session_matched = None;
    }
    if let ([outcome], [draft], false) = (outcomes, drafts, array) {
        entry.conversion_id = Some(draft.conversion.conversion_id.clone());
        entry.event_id = outcome.receipt().map(|receipt| receipt.event_id);
        if let Outcome::Duplicate { differs, .. } = outcome
            && !differs.is_empty()
        {
            entry.differs = Some(shown(&differs.join(","), MOST_LISTED));
        }
    }
    entry
}
