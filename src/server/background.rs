//! Work that goes on beside the requests.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgPool;

use super::app::pool_gauges;
use crate::activity;
use crate::conversions::Recorder;
use crate::domain::tenant::Tenant;
use crate::platform::clock::Clock;
use crate::streams;

/// Deletes audit rows that are older than `days`, once an hour. Several instances may do it at once: the second finds nothing left.
pub async fn retention(pool: PgPool, clock: Clock, days: u16) {
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    loop {
        hourly.tick().await;
        let cutoff = clock.now() - TimeDelta::days(i64::from(days));
        let swept = async {
            let streams = streams::store::list_streams(&mut *pool.acquire().await?).await?;
            let tenants: Vec<Tenant> = streams.iter().map(streams::Stream::tenant).collect();
            activity::keep_short(&pool, &tenants, cutoff).await
        };
        match swept.await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "activity past its retention was deleted"),
            Err(error) => tracing::warn!(%error, "activity past its retention was not deleted"),
        }
    }
}

/// Keeps the gauges current.
pub async fn gauges(pool: PgPool, recorder: Recorder) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        metrics::gauge!("trustdata_recorder_queue_depth").set(recorder.depth() as f64);
        pool_gauges(&pool);
    }
}
