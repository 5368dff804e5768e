//! Who changed which setting.

use std::sync::Arc;

use axum::extract::State;

use crate::api::Api;
use crate::api::extract::{Asked, Json};
use crate::api::page::{Page, Wanted};
use crate::api::principal::{OfProperty, Owner, Reader, unavailable};
use crate::audit::{Entry, INSTALLATION, store};
use crate::platform::db;
use crate::platform::problem::Problem;
use uuid::Uuid;

async fn entries(api: &Api, whose: Uuid, wanted: &Wanted) -> Result<Json<Page<Entry>>, Problem> {
    let (limit, before) = (wanted.limit()?, wanted.after_id()?);
    let read = async {
        let mut conn = api.pool.acquire().await?;
        store::list(&mut conn, whose, before, i64::from(limit) + 1).await
    };
    let found = db::in_time(read).await.map_err(unavailable)?;
    Ok(Json(Page::of(found, limit, |entry| [entry.entry_id])))
}

/// Changes of the property's settings, newest first
#[utoipa::path(get, path = "/settings-log", tag = "Settings log", params(OfProperty, Wanted), responses((status = 200, body = Page<Entry>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<Entry>>, Problem> {
    entries(&api, reader.property_id, &wanted).await
}

/// Changes of users, newest first; for owners
#[utoipa::path(get, path = "/users-log", tag = "Settings log", params(Wanted), responses((status = 200, body = Page<Entry>)))]
pub async fn of_users(
    State(api): State<Arc<Api>>,
    Owner(_): Owner,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<Entry>>, Problem> {
    entries(&api, INSTALLATION, &wanted).await
}
