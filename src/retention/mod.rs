//! What is past its time goes: property by property, in small parts, on whichever instance comes first. Conversions, their credit, and what
//! became of their deliveries stay.

mod personal;
mod store;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use crate::platform::pace::Pace;
use crate::sessions::old;
use crate::streams::{self, Kept, Stream};
use crate::{activity, forwarding};

/// Rows in one transaction: short locks, and room for others in between.
const PART: i64 = 1000;

/// Goes through all properties, and past what fails. The rows that went, or the last failure.
pub async fn sweep(pool: &PgPool, pace: &Pace, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let mut sum = Sum::default();
    let mut after = Uuid::nil();
    loop {
        let page = streams::store::next_kept(&mut *pool.acquire().await?, after).await?;
        let Some(last) = page.last() else {
            return sum.failed.map_or(Ok(sum.rows), Err);
        };
        after = last.property_id;
        for kept in &page {
            let times = Times::of(kept, now);
            for kind in [
                Kind::Personal,
                Kind::Payloads,
                Kind::Clients,
                Kind::Sessions,
                Kind::Links,
            ] {
                sum.delete(pool, pace, &times, kind).await;
            }
            activity(pool, pace, &times, &mut sum).await?;
        }
    }
}

/// Audit rows, stream by stream.
async fn activity(pool: &PgPool, pace: &Pace, times: &Times, sum: &mut Sum) -> Result<(), sqlx::Error> {
    let mut after: Option<Stream> = None;
    loop {
        let mut conn = pool.acquire().await?;
        let page = streams::store::streams_of(&mut conn, times.property_id, after.as_ref(), PART).await?;
        drop(conn);
        for stream in &page {
            sum.delete(pool, pace, times, Kind::Activity(stream.attribution_id))
                .await;
        }
        after = page.into_iter().next_back();
        if after.is_none() {
            return Ok(());
        }
    }
}

/// What goes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The personal part of conversions.
    Personal,
    /// What was sent to platforms.
    Payloads,
    /// Addresses, browsers and cookies of sessions.
    Clients,
    /// Sessions.
    Sessions,
    /// Links between ids of a visitor.
    Links,
    /// Audit rows of a stream.
    Activity(Uuid),
}

/// From before when it goes, in one property.
struct Times {
    property_id: Uuid,
    now: DateTime<Utc>,
    personal: DateTime<Utc>,
    clients: DateTime<Utc>,
    sessions: DateTime<Utc>,
    activity: DateTime<Utc>,
}

impl Times {
    fn of(kept: &Kept, now: DateTime<Utc>) -> Self {
        let ago = |days: i16| now - TimeDelta::days(i64::from(days));
        let lookback = TimeDelta::days(i64::from(kept.longest_lookback_days));
        Self {
            property_id: kept.property_id,
            now,
            personal: ago(kept.keep_personal_days),
            clients: ago(kept.keep_personal_days) - lookback,
            sessions: ago(kept.keep_sessions_days) - lookback,
            activity: ago(kept.keep_activity_days),
        }
    }
}

/// What one part of the work came to.
struct Part {
    /// Rows that went.
    rows: u64,
    /// Whether there may be more.
    more: bool,
}

impl Part {
    /// Of work that deletes all that it looks at.
    fn of(rows: u64) -> Self {
        Self {
            rows,
            more: rows >= PART.unsigned_abs(),
        }
    }
}

/// What the sweep came to.
#[derive(Default)]
struct Sum {
    rows: u64,
    failed: Option<sqlx::Error>,
}

impl Sum {
    /// Deletes all of a kind, part by part, until one fails.
    async fn delete(&mut self, pool: &PgPool, pace: &Pace, times: &Times, kind: Kind) {
        let mut more = true;
        while more {
            let turn = pace.turn().await;
            let done = part(pool, times, kind).await;
            drop(turn);
            match done {
                Ok(part) => {
                    self.rows += part.rows;
                    more = part.more;
                }
                Err(error) => {
                    self.failed = Some(error);
                    more = false;
                }
            }
        }
    }
}

async fn part(pool: &PgPool, times: &Times, kind: Kind) -> Result<Part, sqlx::Error> {
    let (property_id, conn) = (times.property_id, &mut *pool.acquire().await?);
    let rows = match kind {
        Kind::Personal => return personal::forget(conn, property_id, times.personal, times.now).await,
        Kind::Clients => return strip(conn, property_id, times.clients).await,
        Kind::Payloads => {
            forwarding::payloads::store::delete_before(conn, property_id, times.personal, PART).await?
        }
        Kind::Sessions => old::store::delete_before(conn, property_id, times.sessions, PART).await?,
        Kind::Links => old::store::delete_links_before(conn, property_id, times.sessions, PART).await?,
        Kind::Activity(attribution_id) => {
            activity::store::delete_before(conn, property_id, attribution_id, times.activity, PART).await?
        }
    };
    Ok(Part::of(rows))
}

/// Sessions were stored that began at these times at the earliest, and their visitors' addresses with them: the next sweep goes through them
/// too, though it had come past their times.
pub async fn stored_late(
    conn: &mut PgConnection,
    firsts: &BTreeMap<Uuid, DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    store::clients_from(conn, firsts).await
}

/// Takes address, browser and cookies off the next sessions from before `end`.
async fn strip(conn: &mut PgConnection, property_id: Uuid, end: DateTime<Utc>) -> Result<Part, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let progress = store::lock(&mut transaction, property_id).await?;
    let stripped = old::store::strip(&mut transaction, property_id, &progress.clients, end, PART).await?;
    if let Some(through) = &stripped.through {
        store::clients_through(&mut transaction, property_id, through).await?;
    }
    transaction.commit().await?;
    Ok(Part {
        rows: stripped.stripped,
        more: stripped.looked_at >= PART.unsigned_abs(),
    })
}
