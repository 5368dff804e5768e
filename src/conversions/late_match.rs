//! Late matches: a conversion that found no session, or a direct visit alone, is looked at again when its visitor has a new one, or turns out to
//! have another id.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::store::{self, Journey, Waiting};
use crate::activity;
use crate::attribution::{Attribution, attribute, window_start};
use crate::destinations::outbox::{self, Outgoing};
use crate::domain::tenant::Tenant;
use crate::sessions;
use crate::sessions::awaited::Awaited;
use crate::sessions::store::Wanted;

/// Conversions in one transaction, at most.
const BATCH: i64 = 200;

/// What a second look came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looked {
    /// Conversions that got their match.
    pub matched: u64,
    /// Whether more may be due.
    pub more: bool,
}

/// Looks at the conversions that are due, a batch of them in one transaction. What another instance looks at meanwhile is left to it.
pub async fn look_again(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Looked, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let due = sessions::awaited::store::claim(&mut transaction, now, BATCH).await?;
    if due.is_empty() {
        return Ok(Looked::default());
    }
    let ids: Vec<(Uuid, Uuid)> = due
        .iter()
        .map(|due| (due.tenant.property_id, due.event_id))
        .collect();
    let found = store::find_waiting(&mut transaction, &ids).await?;
    let visitors: HashMap<Uuid, &str> = due
        .iter()
        .map(|due| (due.event_id, due.visitor_id.as_str()))
        .collect();
    let wanted: Vec<Wanted<'_>> = found.iter().map(|one| wanted(one, &visitors)).collect();
    let touches = sessions::store::touches(&mut transaction, &wanted).await?;
    let looks: Vec<(&Waiting, Attribution)> = found
        .iter()
        .zip(touches)
        .map(|(one, touches)| (one, attribute(touches, one.event_time, lookback(one))))
        .collect();

    // A direct visit gives way to a touch, and to nothing else.
    let looked: Vec<(&Waiting, &Attribution)> = looks
        .iter()
        .filter(|(one, found)| !one.direct || found.is_by_touch())
        .map(|(one, found)| (*one, found))
        .collect();
    store::update_matches(&mut transaction, &looked, now).await?;
    let journeys: Vec<Journey<'_>> = looked
        .iter()
        .filter_map(|(one, found)| journey(one, found))
        .collect();
    store::insert_credits(&mut transaction, &journeys).await?;
    store::insert_changes(&mut transaction, &journeys).await?;

    let without_touch: HashMap<Uuid, bool> = looks
        .iter()
        .map(|(one, found)| (one.event_id, !found.is_by_touch()))
        .collect();
    // One that is not among them got its touch, or was deleted, before.
    let waits =
        |due: &&Awaited| now < due.waits_until && without_touch.get(&due.event_id).copied().unwrap_or(false);
    let (waiting, settled): (Vec<&Awaited>, Vec<&Awaited>) = due.iter().partition(waits);
    sessions::awaited::store::wait_on(&mut transaction, &waiting).await?;
    sessions::awaited::store::delete(&mut transaction, &settled).await?;
    let matched: HashSet<Uuid> = journeys.iter().map(|journey| journey.event_id).collect();
    let rows: Vec<(Tenant, Uuid)> = due
        .iter()
        .filter(|due| matched.contains(&due.event_id))
        .filter_map(|due| Some((due.tenant, due.activity_id?)))
        .collect();
    activity::store::matched_late(&mut transaction, &rows, now).await?;
    let outgoing: Vec<Outgoing> = journeys.iter().map(|journey| outgoing(journey, now)).collect();
    outbox::store::insert(&mut transaction, &outgoing).await?;
    transaction.commit().await?;
    Ok(Looked {
        matched: journeys.len() as u64,
        more: due.len() as i64 == BATCH,
    })
}

/// What was suppressed is planned anew: the session brings a match, consent, and what platforms know the visitor by.
fn outgoing(journey: &Journey<'_>, now: DateTime<Utc>) -> Outgoing {
    Outgoing {
        property_id: journey.property_id,
        event_id: journey.event_id,
        destination_ids: Vec::new(),
        again: true,
        created_at: now,
    }
}

fn lookback(one: &Waiting) -> chrono::TimeDelta {
    chrono::TimeDelta::days(i64::from(one.lookback_days))
}

fn wanted<'a>(one: &Waiting, visitors: &HashMap<Uuid, &'a str>) -> Wanted<'a> {
    Wanted {
        property_id: one.property_id,
        visitor_id: visitors.get(&one.event_id).copied().unwrap_or_default(),
        event_time: one.event_time,
        window_start: window_start(one.event_time, lookback(one)),
    }
}

fn journey<'a>(one: &Waiting, found: &'a Attribution) -> Option<Journey<'a>> {
    match found {
        Attribution::Matched(touches) => Some(Journey {
            property_id: one.property_id,
            event_id: one.event_id,
            event_time: one.event_time,
            version: one.next_version,
            touches,
        }),
        Attribution::Unmatched(_) => None,
    }
}
