//! The lane of one destination: takes what is due, sends it in batches, settles. What one platform does holds up no other, for each has a
//! lane of its own. No transaction and no connection is held while a platform thinks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::Pace;
use super::parcel::{Parcel, UserData};
use super::platforms::{Endpoint, Event, Fate, Later, Name, Platform, Unsendable, Verdict};
use super::retry::{self, Breaker};
use super::sender::{Sender, Token};
use super::sources;
use super::state::{Reason, State};
use super::store::{self, Claimed, Settled, Told};
use crate::destinations::{self, Destination, Topics};
use crate::domain::topic::Topic;
use crate::platform::clock::Clock;
use crate::platform::secrets::{self, Sealer};

/// How long a worker has what it claimed: many times what sending it can take.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// Events in a worker's hands, at most.
const MOST_CLAIMED: usize = 1000;
/// Requests at the same time to a platform that takes few events in each.
const AT_ONCE: usize = 8;
/// Events in a request from which on one request at a time is enough.
const MANY: usize = 100;

/// How long a refund waits for its purchase to be taken.
const UNTIL_THE_PURCHASE_IS_THERE: TimeDelta = TimeDelta::minutes(1);
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
    pub pace: Pace,
    /// Told to stop: what is under way is finished, nothing more is begun.
    pub stop: CancellationToken,
}

/// One destination's lane.
pub struct Lane {
    context: Arc<Context>,
    property_id: Uuid,
    destination_id: Uuid,
    breaker: Breaker,
    token: Option<Token>,
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

/// The destination as it is set now.
struct Target {
    destination: Destination,
    name: Name,
    platform: Box<dyn Platform>,
    endpoint: Endpoint,
}

/// A request's events, on their way.
struct Batch {
    events: Vec<Event>,
    /// Identifiers were left out, because the account may not send them.
    without_user_data: bool,
    /// The access token was renewed for it.
    renewed: bool,
}

/// What the answer to a batch makes of it.
#[derive(Default)]
struct Handled {
    settled: Vec<Settled>,
    again: Vec<Batch>,
    /// The platform does not work.
    failed: bool,
    /// Nothing can be sent until somebody mends it.
    broken: Option<String>,
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
        }
    }

    /// Works until nothing is due, or the service stops.
    pub async fn run(mut self) {
        while !self.context.stop.is_cancelled() {
            self.context.pace.step(&self.context.stop).await;
            let wait = match self.round().await {
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

    async fn round(&mut self) -> Result<Round, sqlx::Error> {
        let Some(target) = self.target().await? else {
            return Ok(Round::Idle);
        };
        let asked = self.ask_later(&target).await?;
        let limits = target.name.spec().limits;
        let at_once = if limits.events >= MANY { 1 } else { AT_ONCE };
        let most = match self.breaker.is_cautious() {
            true => 1,
            false => (limits.events * at_once * 4).min(MOST_CLAIMED),
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
            for (batch, (status, verdict)) in taken.into_iter().zip(verdicts) {
                let mut handled = self.handle(&target, batch, verdict, &claimed, &parcels);
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
                self.pause(&reason).await?;
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

    /// The destination, if anything may be sent to it.
    async fn target(&self) -> Result<Option<Target>, sqlx::Error> {
        let mut conn = self.context.pool.acquire().await?;
        let found = destinations::store::find(&mut conn, &[(self.property_id, self.destination_id)]).await?;
        let Some(destination) = found.into_iter().next() else {
            return Ok(None);
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
            return Ok(None);
        }
        drop(conn);
        if destination.paused_at.is_some() {
            return Ok(None);
        }
        let Some((name, platform)) = read(&destination, &self.context.sealer) else {
            self.pause(
                "its settings cannot be read: is the key in secrets.seal_key the one that sealed them?",
            )
            .await?;
            return Ok(None);
        };
        let endpoint = self
            .context
            .sender
            .endpoint(name, destination.base_url.as_deref());
        Ok(Some(Target {
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
            let told = self::told(told, later, event_ids.len(), now);
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
            let settings_decide = target.destination.base_url.is_none();
            context.sender.send(
                platform,
                endpoint,
                settings_decide,
                access_token,
                &batch.events,
                now,
            )
        });
        let verdicts = join_all(sending).await;
        self.token = token;
        verdicts
    }

    /// What an answer means for each event of a batch.
    fn handle(
        &self,
        target: &Target,
        batch: Batch,
        verdict: Verdict,
        claimed: &HashMap<Uuid, Claimed>,
        parcels: &HashMap<Uuid, Parcel>,
    ) -> Handled {
        let now = self.context.clock.now();
        let mut handled = Handled::default();
        let settle = |event: &Event, state: State| self.settled(event, state, now);
        let again = |event: &Event, after: Option<TimeDelta>, code: &str| {
            let attempts = claimed.get(&event.event_id).map_or(1, |claimed| claimed.attempts);
            let asked = after.and_then(|after| after.to_std().ok());
            Settled {
                due_at: Some(now + retry::wait(attempts, asked, rand::random())),
                code: Some(code.to_owned()),
                ..settle(event, State::Queued)
            }
        };
        match verdict {
            Verdict::Accepted {
                request_id,
                later,
                failures,
            } => {
                let failures: HashMap<usize, _> = failures
                    .into_iter()
                    .map(|failure| (failure.index, failure))
                    .collect();
                let taken = if target.name == Name::Ga4 {
                    State::Sent
                } else {
                    State::Accepted
                };
                for (index, event) in batch.events.iter().enumerate() {
                    handled.settled.push(match failures.get(&index) {
                        None => Settled {
                            request_id: request_id.clone(),
                            due_at: later.is_some().then(|| now + ASK_AFTER),
                            later: later.clone(),
                            ..settle(event, taken)
                        },
                        Some(failure) if failure.retry => again(event, None, &failure.code),
                        Some(failure) => Settled {
                            reason: Some(Reason::Refused.as_str()),
                            code: Some(failure.code.clone()),
                            answer: failure.detail.clone(),
                            ..settle(event, State::Dead)
                        },
                    });
                }
            }
            Verdict::Retry { code, after } => {
                handled.failed = true;
                handled.settled = batch
                    .events
                    .iter()
                    .map(|event| again(event, after, &code))
                    .collect();
            }
            Verdict::Refused {
                code,
                detail,
                culprits,
            } => {
                let dead = |event: &Event, code: &str, detail: &Option<String>| Settled {
                    reason: Some(Reason::Refused.as_str()),
                    code: Some(code.to_owned()),
                    answer: detail.clone(),
                    ..settle(event, State::Dead)
                };
                if culprits.is_empty() && batch.events.len() > 1 {
                    // Nobody says which one it is: halve, until it is alone.
                    let mut events = batch.events;
                    let right = events.split_off(events.len() / 2);
                    for events in [events, right] {
                        handled.again.push(Batch {
                            events,
                            without_user_data: batch.without_user_data,
                            renewed: false,
                        });
                    }
                    return handled;
                }
                let culprits: HashMap<usize, _> = culprits
                    .into_iter()
                    .map(|failure| (failure.index, failure))
                    .collect();
                let mut innocent = Vec::new();
                for (index, event) in batch.events.into_iter().enumerate() {
                    match culprits.get(&index) {
                        Some(culprit) if culprit.retry => {
                            handled.settled.push(again(&event, None, &culprit.code))
                        }
                        Some(culprit) => handled.settled.push(dead(&event, &culprit.code, &culprit.detail)),
                        None if culprits.is_empty() => handled.settled.push(dead(&event, &code, &detail)),
                        None => innocent.push(event),
                    }
                }
                if !innocent.is_empty() {
                    handled.again.push(Batch {
                        events: innocent,
                        without_user_data: batch.without_user_data,
                        renewed: false,
                    });
                }
            }
            Verdict::UserDataRefused { code } => {
                let mut events = Vec::new();
                for event in &batch.events {
                    let stripped = match batch.without_user_data {
                        true => None,
                        false => parcels
                            .get(&event.event_id)
                            .and_then(|parcel| without_user_data(target, parcel, now)),
                    };
                    match stripped {
                        Some(event) => events.push(event),
                        None => handled.settled.push(Settled {
                            reason: Some(Reason::Refused.as_str()),
                            code: Some(code.clone()),
                            ..settle(event, State::Dead)
                        }),
                    }
                }
                if !events.is_empty() {
                    handled.again.push(Batch {
                        events,
                        without_user_data: true,
                        renewed: batch.renewed,
                    });
                }
            }
            Verdict::Credentials { refresh: true, .. } if !batch.renewed => handled.again.push(Batch {
                renewed: true,
                ..batch
            }),
            Verdict::Credentials { code, .. } => {
                handled.settled = batch
                    .events
                    .iter()
                    .map(|event| self.untried(event, now))
                    .collect();
                handled.broken = Some(format!("the platform does not accept the credentials: {code}"));
            }
            Verdict::Configuration { code, detail } => {
                handled.settled = batch
                    .events
                    .iter()
                    .map(|event| self.untried(event, now))
                    .collect();
                let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                handled.broken = Some(format!("the platform refuses the settings: {code}{detail}"));
            }
        }
        handled
    }

    fn settled(&self, event: &Event, state: State, now: DateTime<Utc>) -> Settled {
        let context = secrets::row(self.property_id, event.event_id.as_bytes());
        Settled {
            sent_at: Some(now),
            // A payload that cannot be kept is no reason to lose what became of it.
            payload: self.context.sealer.seal(event.json().as_bytes(), &context).ok(),
            notes: event
                .notes
                .iter()
                .map(|note| format!("{}: {}", note.field, note.code))
                .collect(),
            ..Settled::new(event.event_id, state)
        }
    }

    /// Back into the queue, as if it had not been tried.
    fn untried(&self, event: &Event, now: DateTime<Utc>) -> Settled {
        Settled {
            due_at: Some(now),
            untried: true,
            ..Settled::new(event.event_id, State::Queued)
        }
    }

    /// Gives back what was claimed and not sent.
    async fn release(&self, target: &Target, lease: Uuid, batches: Vec<Batch>) -> Result<(), sqlx::Error> {
        let now = self.context.clock.now();
        let events = batches.iter().flat_map(|batch| &batch.events);
        self.settle(
            target,
            lease,
            events.map(|event| self.untried(event, now)).collect(),
        )
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

    async fn pause(&self, reason: &str) -> Result<(), sqlx::Error> {
        tracing::error!(destination = %self.destination_id, reason, "a destination was paused");
        let mut conn = self.context.pool.acquire().await?;
        let now = self.context.clock.now();
        destinations::store::pause(&mut conn, self.property_id, self.destination_id, now, reason).await?;
        Ok(())
    }
}

/// The platform with a destination's settings; none where they cannot be read.
pub fn read(destination: &Destination, sealer: &Sealer) -> Option<(Name, Box<dyn Platform>)> {
    let name: Name = destination.platform.parse().ok()?;
    let settings = destination.settings(sealer).ok()?;
    let settings = serde_json::from_str(settings.expose_secret()).ok()?;
    Some((name, name.read(&settings).ok()?))
}

/// What of the claimed can be sent, and what became of the rest.
fn prepare(
    target: &Target,
    claimed: &HashMap<Uuid, Claimed>,
    parcels: &HashMap<Uuid, Parcel>,
    purchases: &HashMap<Uuid, Option<String>>,
    now: DateTime<Utc>,
) -> (Vec<Event>, Vec<Settled>) {
    let (mut events, mut settled) = (Vec::new(), Vec::new());
    // The oldest conversion first: ids are in the order of time.
    let mut ids: Vec<&Claimed> = claimed.values().collect();
    ids.sort_unstable_by_key(|claimed| claimed.event_id);
    for one in ids {
        let not_sent = |state, reason| Settled {
            reason: Some(reason),
            untried: true,
            ..Settled::new(one.event_id, state)
        };
        let Some(parcel) = parcels.get(&one.event_id) else {
            settled.push(not_sent(State::Dead, Reason::Unreadable.as_str()));
            continue;
        };
        if one.deliver_by <= now {
            settled.push(not_sent(State::Expired, Reason::TooOld.as_str()));
            continue;
        }
        // A refund restates what its purchase said: before that it would be taken for a purchase itself.
        let purchase = purchases.get(&one.event_id).and_then(Option::as_deref);
        if target.name == Name::GoogleDataManager && parcel.topic == Topic::Refund {
            match purchase {
                Some("accepted" | "processed") => {}
                Some("queued") => {
                    settled.push(Settled {
                        due_at: Some(now + UNTIL_THE_PURCHASE_IS_THERE),
                        untried: true,
                        ..Settled::new(one.event_id, State::Queued)
                    });
                    continue;
                }
                _ => {
                    settled.push(not_sent(State::Suppressed, Reason::PurchaseNotDelivered.as_str()));
                    continue;
                }
            }
        }
        match target
            .platform
            .prepare_as(parcel, renamed(&target.destination.topics, parcel), now)
        {
            Ok(event) => events.push(event),
            Err(Unsendable { code: "too_old", .. }) => {
                settled.push(not_sent(State::Expired, Reason::TooOld.as_str()))
            }
            Err(Unsendable { code, reason }) => settled.push(Settled {
                answer: Some(reason),
                ..not_sent(State::Suppressed, code)
            }),
        }
    }
    (events, settled)
}

/// What a platform's later word means for a request's events. It counts, and names none: where not all fared alike, they stay accepted, with
/// its reasons.
fn told(said: Later, later: String, events: usize, now: DateTime<Utc>) -> Told {
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

/// The event name that the destination is set to send in place of the platform's own.
pub fn renamed<'a>(topics: &'a Option<Topics>, parcel: &Parcel) -> Option<&'a str> {
    topics.as_ref()?.get(parcel.topic.as_str())?.as_deref()
}

fn without_user_data(target: &Target, parcel: &Parcel, now: DateTime<Utc>) -> Option<Event> {
    let mut parcel = parcel.clone();
    parcel.user_data = UserData::default();
    parcel.user_id = None;
    target
        .platform
        .prepare_as(&parcel, renamed(&target.destination.topics, &parcel), now)
        .ok()
}

/// Events in requests of at most so many, and so many bytes.
fn batches(events: Vec<Event>, most: usize, bytes: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    // Some bytes are left to the envelope.
    let room = bytes.saturating_sub(4096);
    let mut used = 0;
    for event in events {
        let size = event.json().len() + 1;
        match batches.last_mut() {
            Some(batch) if batch.events.len() < most && used + size <= room => {
                used += size;
                batch.events.push(event);
            }
            _ => {
                used = size;
                batches.push(Batch {
                    events: vec![event],
                    without_user_data: false,
                    renewed: false,
                });
            }
        }
    }
    // Taken from the end.
    batches.reverse();
    batches
}
