//! What the pages of one attribution ID share.

use uuid::Uuid;

use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::platform::db;
use crate::streams::{Stream, store};

/// A tab of an attribution ID.
pub struct Tab {
    /// Where to.
    pub path: String,
    /// What it says.
    pub label: &'static str,
    /// Whether this is the page.
    pub current: bool,
}

/// The path of an attribution ID's pages.
pub fn path(stream: &Stream) -> String {
    format!(
        "/dashboard/properties/{}/attribution-ids/{}",
        stream.property_id, stream.attribution_id
    )
}

/// The tabs, one of them current.
pub fn tabs(stream: &Stream, current: &str) -> Vec<Tab> {
    let base = path(stream);
    [
        ("webhooks", "Webhooks"),
        ("tracking", "Tracking"),
        ("attribution", "Attribution"),
    ]
    .into_iter()
    .map(|(page, label)| Tab {
        path: format!("{base}/{page}"),
        label,
        current: page == current,
    })
    .collect()
}

/// The attribution ID of a property.
pub async fn find(dashboard: &Dashboard, property_id: Uuid, attribution_id: Uuid) -> Result<Stream, Failure> {
    let read = async { store::find_stream(&mut *dashboard.pool.acquire().await?, attribution_id).await };
    let found = db::in_time(read).await?;
    found
        .filter(|stream| stream.property_id == property_id)
        .ok_or(Failure::NotFound)
}
