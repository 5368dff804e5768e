//! Keeps the lanes going: fans out what was written, and gives each destination with something due a lane of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use uuid::Uuid;

use super::fan_out::fan_out;
use super::lane::{Context, Lane};
use super::store;
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
        run_lanes(&context, &planned, most_lanes),
    );
}

async fn fan_out_all(context: &Context, bell: &Bell, planned: &Notify) {
    while !context.stop.is_cancelled() {
        let Some(turn) = context.turn().await else {
            return;
        };
        let fan = async {
            let mut conn = context.pool.acquire().await?;
            fan_out(&mut conn, turn.of(AT_ONCE), &context.sealer, context.clock.now()).await
        };
        match fan.await {
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

async fn run_lanes(context: &Arc<Context>, planned: &Notify, most_lanes: usize) {
    let mut lanes = JoinSet::new();
    let mut running: HashMap<Uuid, Id> = HashMap::new();
    while !context.stop.is_cancelled() {
        let look = async {
            let mut conn = context.pool.acquire().await?;
            store::with_something_due(&mut conn, context.clock.now(), most_lanes as i64).await
        };
        match look.await {
            Ok(due) => {
                for (property_id, destination_id) in due {
                    if lanes.len() < most_lanes && !running.contains_key(&destination_id) {
                        let lane = Lane::new(Arc::clone(context), property_id, destination_id);
                        running.insert(destination_id, lanes.spawn(lane.run()).id());
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "deliveries that are due were not looked for"),
        }
        metrics::gauge!("trustdata_delivery_lanes").set(lanes.len() as f64);
        tokio::select! {
            () = planned.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = context.stop.cancelled() => {}
            Some(ended) = lanes.join_next_with_id() => forget(&mut running, ended),
        }
        while let Some(ended) = lanes.try_join_next_with_id() {
            forget(&mut running, ended);
        }
    }
    while let Some(ended) = lanes.join_next_with_id().await {
        forget(&mut running, ended);
    }
}

fn forget(running: &mut HashMap<Uuid, Id>, ended: Result<(Id, ()), tokio::task::JoinError>) {
    let id = match ended {
        Ok((id, ())) => id,
        Err(error) => {
            tracing::error!(%error, "a lane ended badly");
            error.id()
        }
    };
    running.retain(|_, lane| *lane != id);
}
