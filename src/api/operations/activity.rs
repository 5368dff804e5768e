//! Requests to the webhook.

use std::sync::Arc;

use axum::extract::State;
use uuid::Uuid;

use super::stream;
use crate::activity::{Logged, store};
use crate::api::Api;
use crate::api::extract::{Asked, At, Json};
use crate::api::page::{Page, Wanted};
use crate::api::principal::{OfProperty, Reader, unavailable, unknown};
use crate::platform::db;
use crate::platform::problem::Problem;

/// Requests to an attribution ID's webhook, newest first
#[utoipa::path(get, path = "/attribution-ids/{attribution_id}/activity", tag = "Activity", params(("attribution_id" = Uuid, Path), OfProperty, Wanted), responses((status = 200, body = Page<Logged>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(attribution_id): At<Uuid>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<Logged>>, Problem> {
    let (limit, before) = (wanted.limit()?, wanted.after_id()?);
    let stream = stream(&api, reader.property_id, attribution_id).await?;
    let read = async {
        let mut conn = api.pool.acquire().await?;
        store::list(&mut conn, stream.tenant(), before, i64::from(limit) + 1).await
    };
    let found = db::in_time(read).await.map_err(unavailable)?;
    Ok(Json(Page::of(found, limit, |logged| [logged.activity_id])))
}

/// A request to the webhook
#[utoipa::path(get, path = "/attribution-ids/{attribution_id}/activity/{activity_id}", tag = "Activity", params(("attribution_id" = Uuid, Path), ("activity_id" = Uuid, Path), OfProperty), responses((status = 200, body = Logged)))]
pub async fn show(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At((attribution_id, activity_id)): At<(Uuid, Uuid)>,
) -> Result<Json<Logged>, Problem> {
    let stream = stream(&api, reader.property_id, attribution_id).await?;
    let read = async {
        let mut conn = api.pool.acquire().await?;
        store::find(&mut conn, stream.tenant(), activity_id).await
    };
    let found = db::in_time(read).await.map_err(unavailable)?;
    found.map(Json).ok_or_else(|| unknown("request"))
}
