//! How far behind forwarding is, for the metrics.

use std::time::Duration;

use super::lane::Context;
use super::store;
use crate::destinations::outbox;

/// How often the gauges are set.
const EVERY: Duration = Duration::from_secs(5);

/// Keeps the gauges current until the service stops.
pub async fn keep(context: &Context) {
    while !context.stop.is_cancelled() {
        if let Err(error) = set(context).await {
            tracing::warn!(%error, "the gauges of forwarding are not current");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = context.stop.cancelled() => {}
        }
    }
}

async fn set(context: &Context) -> Result<(), sqlx::Error> {
    let now = context.clock.now();
    let mut conn = context.pool.acquire().await?;
    let waiting = outbox::store::depth(&mut conn).await?;
    let due = store::due(&mut conn, now).await?;
    drop(conn);
    let late = due.oldest.map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0));
    metrics::gauge!("trustdata_outbox_conversions").set(waiting as f64);
    metrics::gauge!("trustdata_delivery_oldest_due_seconds").set(late);
    metrics::gauge!("trustdata_destinations_paused").set(due.paused as f64);
    Ok(())
}
