//! A file for each kind of thing.

pub mod activity;
pub mod attribution_ids;
pub mod conversions;
pub mod destinations;
pub mod keys;
pub mod me;
pub mod properties;
pub mod reports;
pub mod settings_log;
pub mod test_events;
pub mod tokens;
pub mod users;

use crate::api::Api;
use crate::api::principal::{unavailable, unknown};
use crate::platform::db;
use crate::platform::problem::Problem;
use crate::reports::Reading;
use crate::streams::{Stream, store};
use uuid::Uuid;

/// The attribution ID, if it is the property's.
async fn stream(api: &Api, property_id: Uuid, attribution_id: Uuid) -> Result<Stream, Problem> {
    let read = async { store::find_stream(&mut *api.pool.acquire().await?, attribution_id).await };
    let found = db::in_time(read).await.map_err(unavailable)?;
    found
        .filter(|stream| stream.property_id == property_id)
        .ok_or_else(|| unknown("attribution ID"))
}

/// A connection for a report.
async fn reading(api: &Api) -> Result<Reading, Problem> {
    api.reports.turn().await.map_err(unavailable)
}
