//! What a lane has in its hands, under a lease: nobody else sends it until the lease is over, and nobody notes what became of it but who has it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Connection as _;
use tokio::time::Instant;
use uuid::Uuid;

use super::Context;
use super::target::Target;
use crate::forwarding::platforms::Name;
use crate::forwarding::retry;
use crate::forwarding::state::State;
use crate::forwarding::store::{self, Claimed, Room, Settled};
use crate::platform::db::{self, Failure};

/// How long a lease lasts: several times what one request can take.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// With less than this left, it is made longer before the next request.
const LITTLE: TimeDelta = TimeDelta::minutes(2);
/// Bytes of the conversions in a lane's hands, at most, but for a single one: 8 MiB.
const MOST_BYTES: i64 = 8 * 1024 * 1024;
/// Between two attempts to note what became of something.
const NEXT_ATTEMPT: Duration = Duration::from_millis(100);
const NEXT_ATTEMPT_LONGEST: Duration = Duration::from_secs(5);

/// Why a lane lets go of what it has.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No database.
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
    /// The lease was over, and somebody else has some of it.
    #[error("{0} of them are in other hands: their lease was over")]
    Lost(u64),
}

/// Deliveries of one destination in a lane's hands.
pub struct Hold<'a> {
    context: &'a Context,
    property_id: Uuid,
    destination_id: Uuid,
    platform: Name,
    /// Whether refunds wait for what is taken.
    restates: bool,
    lease: Uuid,
    until: DateTime<Utc>,
    /// What is not settled yet.
    open: u64,
    /// Of a single one, how often it was tried.
    attempts: Option<i32>,
}

/// A change of what is held.
enum Change<'a> {
    Settle(&'a [Settled]),
    MoveEnd(DateTime<Utc>),
}

impl<'a> Hold<'a> {
    /// Claims up to `most` of what is due; none, where nothing is.
    pub async fn claim(
        context: &'a Context,
        (property_id, destination_id): (Uuid, Uuid),
        target: &Target,
        most: usize,
    ) -> Result<Option<(Self, Vec<Claimed>)>, sqlx::Error> {
        let (now, lease) = (context.clock.now(), context.clock.new_id());
        let until = now + LEASE;
        let room = Room {
            events: most as i64,
            bytes: MOST_BYTES,
        };
        let mut conn = context.pool.acquire().await?;
        let claimed = store::claim(&mut conn, property_id, destination_id, lease, (now, until), room).await?;
        let attempts = match claimed.as_slice() {
            [] => return Ok(None),
            [one] => Some(one.attempts),
            _ => None,
        };
        let hold = Self {
            context,
            property_id,
            destination_id,
            platform: target.name,
            restates: target.platform.restates(),
            lease,
            until,
            open: claimed.len() as u64,
            attempts,
        };
        Ok(Some((hold, claimed)))
    }

    /// Makes sure that one more request can be sent and settled.
    pub async fn outlast_a_request(&mut self) -> Result<(), Trouble> {
        let now = self.context.clock.now();
        if self.until - now >= LITTLE {
            return Ok(());
        }
        let longer = now + LEASE;
        let (kept, at_once) = self.insist(Change::MoveEnd(longer)).await?;
        // Of an attempt before that was made and not heard of, all are kept already.
        if kept < self.open && at_once {
            return Err(self.lost(self.open - kept));
        }
        self.until = longer;
        Ok(())
    }

    /// Notes what became of some, and does not give up before the lease is over: what a platform took and nobody noted is sent again.
    pub async fn settle(&mut self, settled: &[Settled]) -> Result<(), Trouble> {
        if settled.is_empty() {
            return Ok(());
        }
        let expected = settled.len() as u64;
        let (found, at_once) = match self.insist(Change::Settle(settled)).await {
            Err(error) if db::failure(&error) == Failure::BadRow => (self.settle_bare(settled).await?, true),
            done => done?,
        };
        self.open = self.open.saturating_sub(expected);
        for state in State::ALL {
            let count = settled.iter().filter(|settled| settled.state == state).count();
            if count > 0 {
                let platform = self.platform.as_str();
                metrics::counter!("trustdata_deliveries_total", "platform" => platform, "state" => state.as_str())
                    .increment(count as u64);
            }
        }
        match found < expected && at_once {
            true => Err(self.lost(expected - found)),
            false => Ok(()),
        }
    }

    /// Where the database refuses what a platform said, what counts is noted without it.
    async fn settle_bare(&self, settled: &[Settled]) -> Result<u64, sqlx::Error> {
        tracing::error!(destination = %self.destination_id, "answers that cannot be stored: deliveries are settled without them");
        let bare = |settled: &Settled| Settled {
            reason: settled.reason,
            due_at: settled.due_at,
            sent_at: settled.sent_at,
            untried: settled.untried,
            http_status: settled.http_status,
            ..Settled::new(settled.event_id, settled.state)
        };
        let bare: Vec<Settled> = settled.iter().map(bare).collect();
        Ok(self.insist(Change::Settle(&bare)).await?.0)
    }

    /// Lets go of all that is not settled. The try counts, and the next claim is a smaller one: should one of them be at fault, it soon is
    /// alone, and then it waits as if the platform had failed.
    pub async fn let_go(self) {
        let now = self.context.clock.now();
        let wait = self.attempts.map_or(TimeDelta::zero(), |attempts| {
            retry::wait(attempts, None, rand::random())
        });
        if let Err(error) = self.insist(Change::MoveEnd(now + wait)).await {
            tracing::warn!(%error, destination = %self.destination_id, "deliveries wait until their lease is over");
        }
    }

    fn lost(&self, count: u64) -> Trouble {
        metrics::counter!("trustdata_delivery_leases_lost_total", "platform" => self.platform.as_str())
            .increment(count);
        Trouble::Lost(count)
    }

    /// Changes what is held, again and again until the lease is over; how many rows, and whether the first attempt did it. Of a later one the
    /// number says little: an attempt that was not answered may have been made.
    async fn insist(&self, change: Change<'_>) -> Result<(u64, bool), sqlx::Error> {
        let begun = Instant::now();
        let (mut at_once, mut wait) = (true, NEXT_ATTEMPT);
        loop {
            let error = match self.attempt(&change).await {
                Ok(rows) => return Ok((rows, at_once)),
                Err(error) => error,
            };
            let over = self.until <= self.context.clock.now()
                || LEASE.to_std().is_ok_and(|lease| begun.elapsed() >= lease);
            if over || db::failure(&error) == Failure::BadRow {
                return Err(error);
            }
            if at_once {
                tracing::warn!(%error, destination = %self.destination_id, "what became of deliveries is not noted yet: trying again");
            }
            at_once = false;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(NEXT_ATTEMPT_LONGEST);
        }
    }

    async fn attempt(&self, change: &Change<'_>) -> Result<u64, sqlx::Error> {
        let mut conn = self.context.pool.acquire().await?;
        let (property_id, destination_id) = (self.property_id, self.destination_id);
        match change {
            Change::Settle(settled) => {
                let now = self.context.clock.now();
                let mut transaction = conn.begin().await?;
                let rows = store::settle(
                    &mut transaction,
                    property_id,
                    destination_id,
                    self.lease,
                    settled,
                    now,
                )
                .await?;
                if self.restates {
                    let taken = settled.iter().filter(|settled| settled.state == State::Accepted);
                    let taken: Vec<Uuid> = taken.map(|settled| settled.event_id).collect();
                    store::wake_refunds(&mut transaction, property_id, destination_id, &taken, now).await?;
                }
                transaction.commit().await?;
                Ok(rows)
            }
            Change::MoveEnd(to) => {
                let ends = (self.until, *to);
                store::move_end(&mut conn, property_id, destination_id, self.lease, ends).await
            }
        }
    }
}
