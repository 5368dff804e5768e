//! The lane of one destination: takes what is due, sends it in batches, settles. What one platform does holds up no other, for each has a
//! lane of its own. No transaction and no connection is held while a platform thinks.

mod batch;
mod later;
mod target;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::parcel::Parcel;
use super::platforms::{Later, Name, Verdict};
use super::retry::Breaker;
use super::sender::{Sender, Token};
use super::sources;
use super::state::{Reason, State};
use super::store::{self, Claimed, Settled};
use super::system::pause_by_itself;
use crate::destinations::{self, Destination};
use crate::domain::topic::Topic;
use crate::platform::clock::Clock;
use crate::platform::pace::{Pace, Turn};
use crate::platform::secrets::Sealer;
use batch::{Batch, batches, prepare};
use target::Target;
use verdict::{Handled, Reading, untried};

pub use target::{read, renamed};

/// How long a worker has what it claimed: many times what sending it can take.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// Events in a worker's hands, at most.
const MOST_CLAIMED: usize = 1000;
/// Requests at the same time to a platform that takes few events in each.
const AT_ONCE: usize = 8;
/// Events in a request from which on one request at a time is enough.
const MANY: usize = 100;

/// How long a destination is left alone whose settings this instance cannot read.
const UNREADABLE: Duration = Duration::from_secs(60);

/// When a platform is first asked what became of a request, and how often then.
const ASK_AFTER: TimeDelta = TimeDelta::minutes(30);
/// Deliveries that are asked about in one go, at most.
const MOST_ASKED: i64 = 2000;

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
    /// Lets webhooks go first.
    pub pace: Arc<Pace>,
    /// Told to stop: what is under way is finished, nothing more is begun.
    pub stop: CancellationToken,
}

impl Context {
    /// Waits for a turn; none when the service stops.
    pub async fn turn(&self) -> Option<Turn> {
        tokio::select! {
            turn = self.pace.turn() => Some(turn),
            () = self.stop.cancelled() => None,
        }
    }
}

/// One destination's lane.
pub struct Lane {
    context: Arc<Context>,
    property_id: Uuid,
    destination_id: Uuid,
    breaker: Breaker,
    token: Option<Token>,
    /// Settings and base URL that the token was granted for.
    granted_for: Option<(Vec<u8>, Option<String>)>,
}

/// What a round came to.
enum Round {
    /// Nothing is due, or nothing may be sent.
    Idle,
    /// There may be more.
    Worked,
    /// The platform does not work: to be left alone.
    Pause(Duration),
}

impl Lane {
    /// A lane that nothing has gone through yet.
    pub fn new(context: Arc<Context>, property_id: Uuid, destination_id: Uuid) -> Self {
        Self {
            context,
            property_id,
            destination_id,
            breaker: Breaker::default(),
            token: None,
            granted_for: None,
        }
    }

    /// Works until nothing is due, or the service stops.
    pub async fn run(mut self) {
        while !self.context.stop.is_cancelled() {
            let Some(turn) = self.context.turn().await else {
                return;
            };
            let wait = match self.round(turn).await {
                Ok(Round::Worked) => continue,
                Ok(Round::Idle) => return,
                Ok(Round::Pause(wait)) => wait,
                Err(error) => {
                    tracing::warn!(%error, destination = %self.destination_id, "deliveries wait: the database does not answer");
                    return;
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.context.stop.cancelled() => return,
            }
        }
    }

    async fn round(&mut self, turn: Turn) -> Result<Round, sqlx::Error> {
        let target = match self.target().await? {
            Ok(target) => target,
            Err(round) => return Ok(round),
        };
        self.notice_changes(&target.destination);
        let asked = self.ask_later(&target).await?;
        let limits = target.name.spec().limits;
        let at_once = if limits.events >= MANY { 1 } else { AT_ONCE };
        let most = match self.breaker.is_cautious() {
            true => 1,
            false => turn.of((limits.events * at_once * 4).min(MOST_CLAIMED)),
        };
        let (now, lease) = (self.context.clock.now(), self.context.clock.new_id());
        let mut conn = self.context.pool.acquire().await?;
        let claimed = store::claim(
            &mut conn,
            self.property_id,
            self.destination_id,
            lease,
            (now, now + LEASE),
            most as i64,
        )
        .await?;
        if claimed.is_empty() {
            return Ok(if asked { Round::Worked } else { Round::Idle });
        }
        let ids: Vec<Uuid> = claimed.iter().map(|claimed| claimed.event_id).collect();
        let parcels = sources::parcels(&mut conn, self.property_id, &ids, &self.context.sealer).await?;
        let purchases = self.purchases(&mut conn, &target, &parcels).await?;
        drop(conn);
        let parcels: HashMap<Uuid, Parcel> = parcels
            .into_iter()
            .map(|parcel| (parcel.event_id, parcel))
            .collect();
        let claimed: HashMap<Uuid, Claimed> = claimed
            .into_iter()
            .map(|claimed| (claimed.event_id, claimed))
            .collect();

        let (events, settled) = prepare(&target, &claimed, &parcels, &purchases, now);
        self.settle(&target, lease, settled).await?;
        let mut waiting = batches(events, limits.events, limits.bytes);
        let mut failed = false;
        while !waiting.is_empty() {
            let taken = waiting.split_off(waiting.len().saturating_sub(at_once));
            if self.context.stop.is_cancelled() {
                waiting.extend(taken);
                break;
            }
            let verdicts = self.send(&target, &taken).await;
            let mut broken = None;
            let reading = Reading {
                target: &target,
                claimed: &claimed,
                parcels: &parcels,
                sealer: &self.context.sealer,
                now: self.context.clock.now(),
            };
            let handled: Vec<(Option<i16>, Handled)> = taken
                .into_iter()
                .zip(verdicts)
                .map(|(batch, (status, verdict))| (status, reading.handle(batch, verdict)))
                .collect();
            for (status, mut handled) in handled {
                for settled in &mut handled.settled {
                    settled.http_status = status;
                }
                self.settle(&target, lease, handled.settled).await?;
                waiting.extend(handled.again);
                failed |= handled.failed;
                broken = broken.or(handled.broken);
            }
            if let Some(reason) = broken {
                self.release(&target, lease, waiting).await?;
                self.pause(&target.destination, &reason).await?;
                return Ok(Round::Idle);
            }
            if failed {
                break;
            }
        }
        self.release(&target, lease, waiting).await?;
        if !failed {
            self.breaker.answered();
            return Ok(Round::Worked);
        }
        Ok(self.breaker.failed().map_or(Round::Worked, Round::Pause))
    }

    /// What became of the purchases of refunds, for platforms that a refund tells nothing without its purchase.
    async fn purchases(
        &self,
        conn: &mut sqlx::PgConnection,
        target: &Target,
        parcels: &[Parcel],
    ) -> Result<HashMap<Uuid, Option<String>>, sqlx::Error> {
        let refunds: Vec<Uuid> = parcels
            .iter()
            .filter(|parcel| parcel.topic == Topic::Refund)
            .map(|parcel| parcel.event_id)
            .collect();
        match target.name == Name::GoogleDataManager && !refunds.is_empty() {
            true => store::states_of_purchases(conn, self.property_id, self.destination_id, &refunds).await,
            false => Ok(HashMap::new()),
        }
    }

    /// Whoever changes the credentials, or the place, wants them used at once: a token that was granted for others is dropped.
    fn notice_changes(&mut self, destination: &Destination) {
        let now = (destination.settings_sealed.clone(), destination.base_url.clone());
        if self.granted_for.as_ref() != Some(&now) {
            self.token = None;
            self.granted_for = Some(now);
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
            return Ok(Err(Round::Pause(UNREADABLE)));
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

    /// Asks what became of requests that the platform took without a word on their events; whether there were any to ask about.
    async fn ask_later(&mut self, target: &Target) -> Result<bool, sqlx::Error> {
        let now = self.context.clock.now();
        let mut conn = self.context.pool.acquire().await?;
        let requests = store::claim_later(
            &mut conn,
            self.property_id,
            self.destination_id,
            (now, now + LEASE),
            MOST_ASKED,
        )
        .await?;
        drop(conn);
        let asked = !requests.is_empty();
        for (later, event_ids) in requests {
            let context = Arc::clone(&self.context);
            let (platform, endpoint) = (target.platform.as_ref(), &target.endpoint);
            let told = match context
                .sender
                .token(platform, endpoint, self.token.take(), now)
                .await
            {
                Ok(token) => {
                    let told = context
                        .sender
                        .ask(
                            platform,
                            endpoint,
                            token.as_ref().and_then(Token::access_token),
                            &later,
                            now,
                        )
                        .await;
                    self.token = token;
                    told
                }
                // What was to be sent will find out, and say so.
                Err((token, _)) => {
                    self.token = token;
                    Later::Retry { after: None }
                }
            };
            if matches!(told, Later::Credentials { refresh: true, .. }) {
                self.token = self.token.take().map(Token::used_up);
            }
            let told = later::told(told, later, event_ids.len(), now);
            let mut conn = context.pool.acquire().await?;
            store::settle_later(
                &mut conn,
                self.property_id,
                self.destination_id,
                &event_ids,
                &told,
                now,
            )
            .await?;
        }
        Ok(asked)
    }

    /// Sends the batches at the same time: of each the answer's status, where there was one, and the verdict.
    async fn send(&mut self, target: &Target, batches: &[Batch]) -> Vec<(Option<i16>, Verdict)> {
        let context = Arc::clone(&self.context);
        let now = context.clock.now();
        if batches.iter().any(|batch| batch.renewed)
            || self.token.as_ref().is_some_and(|token| token.is_over(now))
        {
            self.token = self.token.take().map(Token::used_up);
        }
        let (platform, endpoint) = (target.platform.as_ref(), &target.endpoint);
        let renewed = context
            .sender
            .token(platform, endpoint, self.token.take(), now)
            .await;
        let token = match renewed {
            Ok(token) => token,
            Err((token, verdict)) => {
                self.token = token;
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
        self.token = token;
        verdicts
    }

    /// Gives back what was claimed and not sent.
    async fn release(&self, target: &Target, lease: Uuid, batches: Vec<Batch>) -> Result<(), sqlx::Error> {
        let now = self.context.clock.now();
        let events = batches.iter().flat_map(|batch| &batch.events);
        self.settle(target, lease, events.map(|event| untried(event, now)).collect())
            .await
    }

    async fn settle(&self, target: &Target, lease: Uuid, settled: Vec<Settled>) -> Result<(), sqlx::Error> {
        if settled.is_empty() {
            return Ok(());
        }
        let mut conn = self.context.pool.acquire().await?;
        let now = self.context.clock.now();
        store::settle(
            &mut conn,
            self.property_id,
            self.destination_id,
            lease,
            &settled,
            now,
        )
        .await?;
        for state in State::ALL {
            let count = settled.iter().filter(|settled| settled.state == state).count();
            if count > 0 {
                metrics::counter!("trustdata_deliveries_total", "platform" => target.name.as_str(), "state" => state.as_str())
                    .increment(count as u64);
            }
        }
        Ok(())
    }

    async fn pause(&self, destination: &Destination, reason: &str) -> Result<(), sqlx::Error> {
        tracing::error!(destination = %self.destination_id, reason, "a destination was paused");
        let mut conn = self.context.pool.acquire().await?;
        pause_by_itself(&mut conn, destination, reason, &self.context.clock).await
    }
}
