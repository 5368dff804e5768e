//! The lane of one destination: takes what is due, sends it in batches, settles. What one platform does holds up no other, for each has a
//! lane of its own, which ends when the destination is to be left alone. No transaction and no connection is held while a platform thinks.

mod batch;
mod hold;
mod later;
mod standing;
mod target;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::parcel::Parcel;
use super::platforms::Verdict;
use super::sender::{Sender, Token};
use super::sources;
use super::state::Reason;
use super::store::{self, Claimed, OfRefund};
use super::system::pause_by_itself;
use crate::destinations::{self, Destination};
use crate::domain::topic::Topic;
use crate::platform::clock::Clock;
use crate::platform::pace::{Pace, Turn};
use crate::platform::secrets::Sealer;
use batch::{Batch, batches, prepare};
use hold::{Hold, Trouble};
use target::Target;
use verdict::{Reading, untried};

pub use standing::Standing;
pub use target::{read, renamed};

/// Events in a worker's hands, at most.
const MOST_CLAIMED: usize = 1000;
/// Requests at the same time to a platform that takes few events in each.
const AT_ONCE: usize = 8;
/// Events in a request from which on one request at a time is enough.
const MANY: usize = 100;
/// How long a lane works while other destinations wait for a place.
const WHILE_OTHERS_WAIT: Duration = Duration::from_secs(2);

/// How long a destination is left alone whose settings this instance cannot read.
const UNREADABLE: Duration = Duration::from_secs(60);

/// When a platform is first asked what became of a request, and how often then.
const ASK_AFTER: TimeDelta = TimeDelta::minutes(30);

/// What all lanes share.
pub struct Context {
    /// Short statements only.
    pub pool: PgPool,
    /// Sends.
    pub sender: Sender,
    /// Opens personal data and credentials.
    pub sealer: Sealer,
    /// The time.
    pub clock: Clock,
    /// Lets webhooks go before lanes.
    pub pace: Pace,
    /// Lets webhooks go before fanning out.
    pub fan_out_pace: Pace,
    /// Told to stop: what is under way is finished, nothing more is begun.
    pub stop: CancellationToken,
}

impl Context {
    /// Waits for a turn; none when the service stops.
    pub async fn turn<'a>(&self, pace: &'a Pace) -> Option<Turn<'a>> {
        tokio::select! {
            turn = pace.turn() => Some(turn),
            () = self.stop.cancelled() => None,
        }
    }
}

/// One destination's lane.
pub struct Lane {
    context: Arc<Context>,
    property_id: Uuid,
    destination_id: Uuid,
    standing: Standing,
    /// Whether other destinations wait for a place.
    others_wait: Arc<AtomicBool>,
}

/// A lane that is over.
pub struct Ended {
    /// The tenant.
    pub property_id: Uuid,
    /// Where it led.
    pub destination_id: Uuid,
    /// For its next lane.
    pub standing: Standing,
    /// Whether it came to anything.
    pub worked: bool,
    /// Whether it has had its turn, and more may be due.
    pub had_its_turn: bool,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Nothing is due, or nothing may be sent.
    Idle,
    /// There may be more.
    Worked,
    /// Nothing that was sent was answered as it should be.
    Failed,
    /// The destination is to be left alone for a while.
    Rest,
}

impl Lane {
    /// A lane to a destination that stands so.
    pub fn new(
        context: Arc<Context>,
        (property_id, destination_id): (Uuid, Uuid),
        standing: Standing,
        others_wait: Arc<AtomicBool>,
    ) -> Self {
        Self {
            context,
            property_id,
            destination_id,
            standing,
            others_wait,
        }
    }

    /// Works until nothing is due, the destination is to be left alone, or the service stops; not for long while others wait for a place.
    pub async fn run(mut self) -> Ended {
        let (begun, mut worked, mut had_its_turn) = (Instant::now(), false, false);
        while !self.context.stop.is_cancelled() {
            match self.round().await {
                Ok(Round::Worked) => {
                    worked = true;
                    had_its_turn =
                        begun.elapsed() >= WHILE_OTHERS_WAIT && self.others_wait.load(Ordering::Relaxed);
                }
                Ok(Round::Idle) => break,
                Ok(Round::Failed | Round::Rest) => (worked, had_its_turn) = (true, true),
                Err(trouble) => {
                    tracing::warn!(error = %trouble, destination = %self.destination_id, "deliveries wait");
                    break;
                }
            }
            if had_its_turn {
                break;
            }
        }
        self.standing.used(self.context.clock.ticks());
        Ended {
            property_id: self.property_id,
            destination_id: self.destination_id,
            standing: self.standing,
            worked,
            had_its_turn,
        }
    }

    async fn round(&mut self) -> Result<Round, Trouble> {
        let context = Arc::clone(&self.context);
        let target = match self.target().await? {
            Ok(target) => target,
            Err(round) => {
                self.standing = Standing::default();
                if round == Round::Rest {
                    self.standing.rest(context.clock.ticks(), UNREADABLE);
                }
                return Ok(round);
            }
        };
        self.standing.notice(&target.destination);
        let limits = target.name.spec().limits;
        let at_once = if limits.events >= MANY { 1 } else { AT_ONCE };
        // One event that finds out whether the platform works again waits for no turn.
        let (turn, most) = match self.standing.breaker.is_cautious() {
            true => (None, 1),
            false => match context.turn(&context.pace).await {
                Some(turn) => {
                    let most = turn.of((limits.events * at_once * 4).min(MOST_CLAIMED));
                    (Some(turn), most)
                }
                None => return Ok(Round::Idle),
            },
        };
        let ids = (self.property_id, self.destination_id);
        let Some((mut hold, claimed)) = Hold::claim(&context, ids, &target, most).await? else {
            drop(turn);
            let asked = self.ask_later(&target).await?;
            return Ok(if asked { Round::Worked } else { Round::Idle });
        };
        let sent = self.send_all(&target, &mut hold, claimed, at_once, turn).await;
        match &sent {
            Ok(Round::Worked) => {
                self.ask_later(&target).await?;
            }
            Ok(_) => {}
            Err(_) => hold.let_go().await,
        }
        sent
    }

    /// Sends what was claimed, so many requests at a time.
    async fn send_all(
        &mut self,
        target: &Target,
        hold: &mut Hold<'_>,
        claimed: Vec<Claimed>,
        at_once: usize,
        turn: Option<Turn<'_>>,
    ) -> Result<Round, Trouble> {
        let context = Arc::clone(&self.context);
        let (parcels, purchases) = self.load(target, &claimed).await?;
        let claimed: HashMap<Uuid, Claimed> = claimed
            .into_iter()
            .map(|claimed| (claimed.event_id, claimed))
            .collect();
        let (events, settled) = prepare(target, &claimed, &parcels, &purchases, context.clock.now());
        drop(turn);
        hold.settle(&settled).await?;
        let limits = target.name.spec().limits;
        let mut waiting = batches(events, limits.events, limits.bytes);
        let mut first = true;
        while !waiting.is_empty() {
            if !first && !self.may_go_on().await? {
                break;
            }
            first = false;
            hold.outlast_a_request().await?;
            let taken = waiting.split_off(waiting.len().saturating_sub(at_once));
            let verdicts = self.send(target, &taken).await;
            let reading = Reading {
                target,
                claimed: &claimed,
                parcels: &parcels,
                sealer: &context.sealer,
                now: context.clock.now(),
            };
            let handled = reading.handle_all(taken.into_iter().zip(verdicts));
            hold.settle(&handled.settled).await?;
            waiting.extend(handled.again);
            if let Some(reason) = handled.broken {
                self.release(hold, waiting).await?;
                self.pause(&target.destination, &reason).await?;
                self.standing = Standing::default();
                return Ok(Round::Idle);
            }
            let open = match handled.worked {
                true => {
                    self.standing.breaker.answered();
                    None
                }
                false => self.standing.breaker.failed(),
            };
            let asked = handled.rest.and_then(|rest| rest.to_std().ok());
            if let Some(rest) = open.max(asked) {
                self.release(hold, waiting).await?;
                self.standing.rest(context.clock.ticks(), rest);
                return Ok(Round::Rest);
            }
            if !handled.worked {
                self.release(hold, waiting).await?;
                return Ok(Round::Failed);
            }
        }
        self.release(hold, waiting).await?;
        Ok(Round::Worked)
    }

    /// Whether one more request may be sent: the service goes on, and nobody has paused the destination or taken it away.
    async fn may_go_on(&self) -> Result<bool, sqlx::Error> {
        if self.context.stop.is_cancelled() {
            return Ok(false);
        }
        let mut conn = self.context.pool.acquire().await?;
        store::is_in_use(&mut conn, self.property_id, self.destination_id).await
    }

    /// What the claimed are made of, and what became of the purchases of refunds.
    async fn load(
        &self,
        target: &Target,
        claimed: &[Claimed],
    ) -> Result<(HashMap<Uuid, Parcel>, HashMap<Uuid, OfRefund>), sqlx::Error> {
        let mut conn = self.context.pool.acquire().await?;
        let ids: Vec<Uuid> = claimed.iter().map(|claimed| claimed.event_id).collect();
        let restated = target.platform.restates();
        let parcels =
            sources::parcels(&mut conn, self.property_id, &ids, restated, &self.context.sealer).await?;
        let purchases = self.purchases(&mut conn, target, &parcels).await?;
        let parcels = parcels
            .into_iter()
            .map(|parcel| (parcel.event_id, parcel))
            .collect();
        Ok((parcels, purchases))
    }

    /// What became of the purchases of refunds, for platforms that a refund tells nothing without its purchase.
    async fn purchases(
        &self,
        conn: &mut sqlx::PgConnection,
        target: &Target,
        parcels: &[Parcel],
    ) -> Result<HashMap<Uuid, OfRefund>, sqlx::Error> {
        let refunds: Vec<Uuid> = parcels
            .iter()
            .filter(|parcel| parcel.topic == Topic::Refund)
            .map(|parcel| parcel.event_id)
            .collect();
        match target.platform.restates() && !refunds.is_empty() {
            true => store::purchases_of(conn, self.property_id, self.destination_id, &refunds).await,
            false => Ok(HashMap::new()),
        }
    }

    /// The destination, if anything may be sent to it; or else what the round comes to.
    async fn target(&self) -> Result<Result<Target, Round>, sqlx::Error> {
        let mut conn = self.context.pool.acquire().await?;
        let found = destinations::store::find(&mut conn, &[(self.property_id, self.destination_id)]).await?;
        let Some(destination) = found.into_iter().next() else {
            return Ok(Err(Round::Idle));
        };
        if destination.removed_at.is_some() {
            let now = self.context.clock.now();
            while store::suppress_queued(
                &mut conn,
                self.property_id,
                self.destination_id,
                Reason::DestinationRemoved.as_str(),
                now,
            )
            .await?
                > 0
            {}
            while store::forget_later(&mut conn, self.property_id, self.destination_id).await? > 0 {}
            return Ok(Err(Round::Idle));
        }
        drop(conn);
        if destination.paused_at.is_some() {
            return Ok(Err(Round::Idle));
        }
        // Another instance may have the key that this one lacks: nothing is wrong with the destination.
        let Some((name, platform)) = read(&destination, &self.context.sealer) else {
            tracing::error!(
                destination = %self.destination_id,
                "deliveries wait: the destination's settings cannot be read here; is the key that sealed them in secrets?"
            );
            return Ok(Err(Round::Rest));
        };
        let endpoint =
            self.context
                .sender
                .endpoint(name, destination.base_url.as_deref(), destination.reach());
        Ok(Ok(Target {
            destination,
            name,
            platform,
            endpoint,
        }))
    }

    /// Sends the batches at the same time: of each the answer's status, where there was one, and the verdict.
    async fn send(&mut self, target: &Target, batches: &[Batch]) -> Vec<(Option<i16>, Verdict)> {
        let context = Arc::clone(&self.context);
        let now = context.clock.now();
        if batches.iter().any(|batch| batch.renewed)
            || self
                .standing
                .token
                .as_ref()
                .is_some_and(|token| token.is_over(now))
        {
            self.standing.token = self.standing.token.take().map(Token::used_up);
        }
        let (platform, endpoint) = (target.platform.as_ref(), &target.endpoint);
        let renewed = context
            .sender
            .token(platform, endpoint, self.standing.token.take(), now)
            .await;
        let token = match renewed {
            Ok(token) => token,
            Err((token, verdict)) => {
                self.standing.token = token;
                return batches.iter().map(|_| (None, verdict.clone())).collect();
            }
        };
        let access_token = token.as_ref().and_then(Token::access_token);
        let sending = batches.iter().map(|batch| {
            context
                .sender
                .send(platform, endpoint, access_token, &batch.events, now)
        });
        let verdicts = join_all(sending).await;
        self.standing.token = token;
        verdicts
    }

    /// Gives back what was claimed and not sent.
    async fn release(&self, hold: &mut Hold<'_>, batches: Vec<Batch>) -> Result<(), Trouble> {
        let now = self.context.clock.now();
        let events = batches.iter().flat_map(|batch| &batch.events);
        let untried: Vec<_> = events.map(|event| untried(event, now)).collect();
        hold.settle(&untried).await
    }

    async fn pause(&self, destination: &Destination, reason: &str) -> Result<(), sqlx::Error> {
        tracing::error!(destination = %self.destination_id, reason, "a destination was paused");
        let mut conn = self.context.pool.acquire().await?;
        pause_by_itself(&mut conn, destination, reason, &self.context.clock).await
    }
}
