//! Work that goes on beside the requests.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::MissedTickBehavior;

use super::app::pool_gauges;
use crate::conversions::{self, Recorder};
use crate::platform::clock::Clock;
use crate::platform::daily_salts::DailySalts;
use crate::platform::pace::Pace;
use crate::reports;
use crate::retention;
use crate::sessions::tracking::Tracker;

/// Deletes what is past its time, once an hour. Several instances may do it at once: the second finds nothing left.
pub async fn retention(pool: PgPool, clock: Clock, pace: Pace, salts: Arc<DailySalts>) {
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    loop {
        hourly.tick().await;
        match retention::sweep(&pool, &pace, clock.now()).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "what is past its retention was deleted"),
            Err(error) => tracing::warn!(%error, "what is past its retention was not all deleted"),
        }
        if let Err(error) = salts.forget_old().await {
            tracing::warn!(%error, "salts of days past were not deleted");
        }
    }
}

/// Looks again at conversions without a session whose visitor has a new one; all that are due, each second.
pub async fn late_matches(pool: PgPool, clock: Clock) {
    let matches = metrics::counter!("trustdata_late_matches_total");
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut more = true;
        while more {
            let look = async { conversions::look_again(&mut *pool.acquire().await?, clock.now()).await };
            match look.await {
                Ok(looked) => {
                    matches.increment(looked.matched);
                    more = looked.more;
                }
                Err(error) => {
                    tracing::warn!(%error, "conversions without a session were not looked at again");
                    more = false;
                }
            }
        }
    }
}

/// Works what was recorded into the sums of the reports; all of it, each second.
pub async fn report_sums(pool: PgPool, pace: Pace) {
    let summed = metrics::counter!("trustdata_report_events_total");
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match reports::rollup::roll_all(&pool, &pace).await {
            Ok(events) => summed.increment(events),
            Err(error) => tracing::warn!(%error, "what was recorded is not all in the sums of the reports"),
        }
    }
}

/// Keeps the gauges current.
pub async fn gauges(pool: PgPool, recorder: Recorder, tracker: Tracker) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        recorder.gauge();
        tracker.gauge();
        pool_gauges(&pool);
    }
}
