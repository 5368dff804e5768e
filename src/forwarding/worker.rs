//! Keeps the lanes going: fans out what was written, and gives each destination with something due a lane of its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::fan_out::fan_out;
use super::lane::{Context, Ended, Lane, Standing};
use super::{gauges, store};
use crate::destinations::outbox::Bell;

/// How often is looked for what another instance wrote, and for what is due again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Conversions that are fanned out in one transaction, at most.
const AT_ONCE: usize = 500;

/// Fans out, and runs lanes, at most `most_lanes` at a time; ends when the service stops and what was under way is settled.
pub async fn run(context: Arc<Context>, bell: Bell, most_lanes: usize) {
    let planned = Notify::new();
    tokio::join!(
        fan_out_all(&context, &bell, &planned),
        Lanes::new(Arc::clone(&context), most_lanes).run(&planned),
        gauges::keep(&context),
    );
}

async fn fan_out_all(context: &Context, bell: &Bell, planned: &Notify) {
    while !context.stop.is_cancelled() {
        let Some(turn) = context.turn(&context.fan_out_pace).await else {
            return;
        };
        let fan = async {
            let mut conn = context.pool.acquire().await?;
            fan_out(&mut conn, turn.of(AT_ONCE), &context.sealer, context.clock.now()).await
        };
        let fanned = fan.await;
        drop(turn);
        match fanned {
            Ok(fanned) => {
                if fanned.queued > 0 {
                    planned.notify_one();
                }
                if fanned.more {
                    continue;
                }
            }
            Err(error) => tracing::warn!(%error, "conversions were not fanned out to their destinations"),
        }
        tokio::select! {
            () = bell.heard() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = context.stop.cancelled() => {}
        }
    }
}

/// The lanes that run, and what is known of destinations that have none now.
struct Lanes {
    context: Arc<Context>,
    most: usize,
    running: JoinSet<Ended>,
    places: HashMap<Id, Place>,
    /// By destination, with its property.
    standings: HashMap<Uuid, (Uuid, Standing)>,
    /// Had something due, and a lane found nothing to do: not to be looked at before the next tick.
    in_vain: HashSet<Uuid>,
    /// Had their turn since all the others that wait had theirs.
    served: HashSet<Uuid>,
    others_wait: Arc<AtomicBool>,
}

/// A running lane's.
struct Place {
    destination_id: Uuid,
    /// Whether it failed when it was last asked.
    failing: bool,
}

impl Lanes {
    fn new(context: Arc<Context>, most: usize) -> Self {
        Self {
            context,
            most,
            running: JoinSet::new(),
            places: HashMap::new(),
            standings: HashMap::new(),
            in_vain: HashSet::new(),
            served: HashSet::new(),
            others_wait: Arc::default(),
        }
    }

    async fn run(mut self, planned: &Notify) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.context.stop.is_cancelled() {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "deliveries that are due were not looked for");
            }
            metrics::gauge!("trustdata_delivery_lanes").set(self.running.len() as f64);
            let context = Arc::clone(&self.context);
            tokio::select! {
                () = planned.notified() => {}
                _ = tick.tick() => self.in_vain.clear(),
                () = context.stop.cancelled() => {}
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
            }
            while let Some(ended) = self.running.try_join_next_with_id() {
                self.ended(ended);
            }
        }
        while let Some(ended) = self.running.join_next_with_id().await {
            self.ended(ended);
        }
    }

    /// Gives free places to destinations with something due: to those whose oldest has waited longest, and to none again before all others
    /// that wait had their turn.
    async fn look(&mut self) -> Result<(), sqlx::Error> {
        let context = Arc::clone(&self.context);
        let mut conn = context.pool.acquire().await?;
        self.forget(&mut conn).await?;
        loop {
            let free = self.most.saturating_sub(self.running.len());
            let most = free + 1 + self.served.len();
            let now = context.clock.now();
            let mut due = store::with_something_due(&mut conn, now, &self.passed_over(), most as i64).await?;
            self.others_wait.store(due.len() > free, Ordering::Relaxed);
            // Within each part the order stays.
            due.sort_by_key(|(_, destination_id)| self.served.contains(destination_id));
            if due
                .iter()
                .take(free)
                .any(|(_, destination_id)| self.served.contains(destination_id))
            {
                self.served.clear();
            }
            let mut too_many_failing = false;
            for destination in due.into_iter().take(free) {
                match self.is_failing(destination.1) && !self.has_place_for_failing() {
                    true => too_many_failing = true,
                    false => self.start(destination),
                }
            }
            // From now on they are passed over, and others found.
            if !too_many_failing {
                return Ok(());
            }
        }
    }

    /// Forgets what is of no use any more. Who pauses a destination that is left alone, and resumes it, wants it tried at once.
    async fn forget(&mut self, conn: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
        let ticks = self.context.clock.ticks();
        self.standings
            .retain(|_, (_, standing)| standing.is_worth_keeping(ticks));
        let resting: Vec<(Uuid, Uuid)> = self
            .standings
            .iter()
            .filter(|(_, (_, standing))| standing.is_resting(ticks))
            .map(|(destination_id, (property_id, _))| (*property_id, *destination_id))
            .collect();
        if !resting.is_empty() {
            for destination_id in store::out_of_use(conn, &resting).await? {
                self.standings.remove(&destination_id);
            }
        }
        Ok(())
    }

    /// Destinations that get no lane now, whatever is due.
    fn passed_over(&self) -> Vec<Uuid> {
        let ticks = self.context.clock.ticks();
        let for_failing = self.has_place_for_failing();
        let left_alone = self.standings.iter().filter(|(_, (_, standing))| {
            standing.is_resting(ticks) || standing.breaker.is_failing() && !for_failing
        });
        self.places
            .values()
            .map(|place| place.destination_id)
            .chain(left_alone.map(|(destination_id, _)| *destination_id))
            .chain(self.in_vain.iter().copied())
            .collect()
    }

    fn is_failing(&self, destination_id: Uuid) -> bool {
        let known = self.standings.get(&destination_id);
        known.is_some_and(|(_, standing)| standing.breaker.is_failing())
    }

    /// Destinations that fail may make a lane wait long: they get half of the places, so that there always are some for the others.
    fn has_place_for_failing(&self) -> bool {
        let failing = self.places.values().filter(|place| place.failing).count();
        failing < self.most.div_ceil(2)
    }

    fn start(&mut self, (property_id, destination_id): (Uuid, Uuid)) {
        let failing = self.is_failing(destination_id);
        let known = self.standings.remove(&destination_id);
        let lane = Lane::new(
            Arc::clone(&self.context),
            (property_id, destination_id),
            known.map(|(_, standing)| standing).unwrap_or_default(),
            Arc::clone(&self.others_wait),
        );
        let place = Place {
            destination_id,
            failing,
        };
        self.places.insert(self.running.spawn(lane.run()).id(), place);
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, Some(ended)),
            Err(error) => {
                tracing::error!(%error, "a lane ended badly");
                (error.id(), None)
            }
        };
        let Some(place) = self.places.remove(&id) else {
            return;
        };
        if ended.as_ref().is_none_or(|ended| !ended.worked) {
            self.in_vain.insert(place.destination_id);
        }
        if let Some(ended) = ended {
            if ended.had_its_turn {
                self.served.insert(ended.destination_id);
            }
            self.standings
                .insert(ended.destination_id, (ended.property_id, ended.standing));
        }
    }
}
