//! Fans conversions out into deliveries: a row for each destination, to be sent or not, with the reason.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::lane;
use super::plan::{A_WEEK, Facts, Planned, Rules, plan};
use super::platforms::{Name, Platform};
use super::state::{Reason, State};
use super::store::{self, NewDelivery, Pair};
use crate::destinations::outbox::{self, Outgoing};
use crate::destinations::{self, Destination};
use crate::platform::db::{self, Failure};
use crate::platform::secrets::Sealer;

/// What fanning out came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct FannedOut {
    /// Deliveries to be sent.
    pub queued: u64,
    /// Whether more may wait.
    pub more: bool,
}

/// Takes at most `most` conversions out of the outbox and plans their deliveries, in one transaction.
pub async fn fan_out(
    conn: &mut PgConnection,
    most: usize,
    sealer: &Sealer,
    now: DateTime<Utc>,
) -> Result<FannedOut, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let outgoing = outbox::store::take(&mut transaction, most as i64).await?;
    if outgoing.is_empty() {
        return Ok(FannedOut::default());
    }
    let queued = plan_all(&mut transaction, &outgoing, sealer, now).await?;
    transaction.commit().await?;
    Ok(FannedOut {
        queued,
        more: outgoing.len() == most,
    })
}

/// Plans the deliveries of all of them together; where one cannot be read, they are halved until that one is alone. It dies, and shows it;
/// the others go their way. How many are to be sent.
async fn plan_all(
    conn: &mut PgConnection,
    outgoing: &[Outgoing],
    sealer: &Sealer,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let mut savepoint = conn.begin().await?;
    let error = match plan_together(&mut savepoint, outgoing, sealer, now).await {
        Ok(queued) => {
            savepoint.commit().await?;
            return Ok(queued);
        }
        Err(error) => error,
    };
    savepoint.rollback().await?;
    if db::failure(&error) != Failure::BadRow {
        return Err(error);
    }
    let (left, right) = outgoing.split_at(outgoing.len() / 2);
    if let (Some(alone), true) = (right.first(), left.is_empty()) {
        tracing::error!(%error, event = %alone.event_id, "a conversion cannot be read, and is not forwarded");
        metrics::counter!("trustdata_unreadable_conversions_total").increment(1);
        let dead = |pair| NewDelivery {
            pair,
            state: State::Dead.as_str(),
            reason: Some(Reason::Unreadable.as_str()),
            // Once it can be read again it may be replayed, and its own age is looked at then.
            deliver_by: Some(now + A_WEEK),
        };
        let dead: Vec<NewDelivery> = pairs(alone).map(dead).collect();
        store::insert(conn, &dead, now).await?;
        count_unsent(dead.iter(), &HashMap::new());
        return Ok(0);
    }
    let queued = Box::pin(plan_all(conn, left, sealer, now)).await?;
    Ok(queued + Box::pin(plan_all(conn, right, sealer, now)).await?)
}

async fn plan_together(
    conn: &mut PgConnection,
    outgoing: &[Outgoing],
    sealer: &Sealer,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let events: Vec<(Uuid, Uuid)> = outgoing
        .iter()
        .map(|out| (out.property_id, out.event_id))
        .collect();
    // What is known now may decide otherwise on what was suppressed: on those that got their match late, and on refunds that were here before
    // their purchase.
    let mut again: Vec<(Uuid, Uuid)> = outgoing
        .iter()
        .filter(|out| out.again)
        .map(|out| (out.property_id, out.event_id))
        .collect();
    again.extend(store::refunds_of(conn, &events).await?);
    let anew = match again.is_empty() {
        true => Vec::new(),
        false => store::suppressed(conn, &again).await?,
    };
    let fresh: Vec<Pair> = outgoing.iter().flat_map(pairs).collect();
    let mut events: Vec<(Uuid, Uuid)> = fresh
        .iter()
        .chain(&anew)
        .map(|pair| (pair.property_id, pair.event_id))
        .collect();
    let mut wanted: Vec<(Uuid, Uuid)> = fresh
        .iter()
        .chain(&anew)
        .map(|pair| (pair.property_id, pair.destination_id))
        .collect();
    for ids in [&mut events, &mut wanted] {
        ids.sort_unstable();
        ids.dedup();
    }
    let facts = store::facts(conn, &events).await?;
    let found = destinations::store::find(conn, &wanted).await?;
    let found: HashMap<Uuid, Target> = found
        .into_iter()
        .map(|d| (d.destination_id, Target::new(d, sealer)))
        .collect();

    let planned = |pairs: &[Pair]| -> Vec<NewDelivery> {
        let planned = |pair: &Pair| {
            let facts = facts.get(&(pair.property_id, pair.event_id))?;
            Some(delivery(*pair, facts, found.get(&pair.destination_id), now))
        };
        pairs.iter().filter_map(planned).collect()
    };
    let (fresh, anew) = (planned(&fresh), planned(&anew));
    store::insert(conn, &fresh, now).await?;
    store::replan(conn, &anew, now).await?;
    count_unsent(fresh.iter().chain(&anew), &found);
    let queued = fresh
        .iter()
        .chain(&anew)
        .filter(|delivery| delivery.state == State::Queued.as_str());
    Ok(queued.count() as u64)
}

/// Counts what is not to be sent: no lane ever sees it.
fn count_unsent<'a>(planned: impl Iterator<Item = &'a NewDelivery>, found: &HashMap<Uuid, Target>) {
    for delivery in planned.filter(|delivery| delivery.state != State::Queued.as_str()) {
        let target = found.get(&delivery.pair.destination_id);
        let platform = target.and_then(|target| target.platform.as_ref());
        let platform = platform.map_or("unknown", |(name, _)| name.as_str());
        metrics::counter!("trustdata_deliveries_total", "platform" => platform, "state" => delivery.state)
            .increment(1);
    }
}

fn pairs(out: &Outgoing) -> impl Iterator<Item = Pair> {
    out.destination_ids.iter().map(|destination_id| Pair {
        property_id: out.property_id,
        event_id: out.event_id,
        destination_id: *destination_id,
    })
}

fn delivery(pair: Pair, facts: &Facts, target: Option<&Target>, now: DateTime<Utc>) -> NewDelivery {
    let (state, reason, deliver_by) = match planned(facts, target, now) {
        Planned::Queued { deliver_by } => (State::Queued, None, Some(deliver_by)),
        Planned::Suppressed(reason) => (State::Suppressed, Some(reason), None),
        Planned::Expired => (State::Expired, Some(Reason::TooOld), None),
    };
    NewDelivery {
        pair,
        state: state.as_str(),
        reason: reason.map(Reason::as_str),
        deliver_by,
    }
}

/// A destination as it is set now.
pub struct Target {
    /// The destination.
    pub destination: Destination,
    /// None where its settings cannot be read: what is queued for it waits until they can.
    pub platform: Option<(Name, Box<dyn Platform>)>,
}

impl Target {
    /// Opens the destination's settings.
    pub fn new(destination: Destination, sealer: &Sealer) -> Self {
        let platform = lane::read(&destination, sealer);
        Self {
            destination,
            platform,
        }
    }
}

/// The plan for a destination.
pub fn planned(facts: &Facts, target: Option<&Target>, now: DateTime<Utc>) -> Planned {
    let Some(Target {
        destination,
        platform,
    }) = target
    else {
        return Planned::Suppressed(Reason::DestinationRemoved);
    };
    let name: Option<Name> = destination.platform.parse().ok();
    let supported = platform.as_ref().is_none_or(|(_, platform)| {
        platform
            .event_name(facts.topic, facts.event_name.as_deref())
            .is_ok()
    });
    let rules = Rules {
        removed: destination.removed_at.is_some(),
        supported,
        topics: destination.topics.as_ref(),
        policy: destination.policy,
        click_ids: name.map_or(&[], |name| name.spec().click_ids),
        max_age: match platform {
            Some((_, platform)) => platform.max_age(),
            None => name.and_then(|name| name.spec().limits.max_age),
        },
    };
    plan(facts, rules, now)
}
