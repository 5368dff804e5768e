//! Webhook keys of an attribution ID.

use std::sync::Arc;

use axum::extract::State;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::stream;
use crate::api::Api;
use crate::api::extract::{Asked, At, Created, Json, Sent, check_name, fault, invalid};
use crate::api::page::{Page, Wanted};
use crate::api::principal::{OfProperty, Reader, Writer, unavailable, unknown};
use crate::keys::{DEFAULT_RATE_LIMIT, Key, MOST_RATE_LIMIT, store};
use crate::platform::db;
use crate::platform::problem::Problem;
use crate::settings;

const MOST_DAYS: i64 = 36_500;

/// Keys of an attribution ID, newest first
#[utoipa::path(get, path = "/attribution-ids/{attribution_id}/keys", tag = "Webhook keys", params(("attribution_id" = Uuid, Path), OfProperty, Wanted), responses((status = 200, body = Page<Key>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(attribution_id): At<Uuid>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<Key>>, Problem> {
    let (limit, before) = (wanted.limit()?, wanted.after_id()?);
    let stream = stream(&api, reader.property_id, attribution_id).await?;
    let read = async {
        let mut conn = api.pool.acquire().await?;
        store::of_stream(&mut conn, stream.tenant(), before, i64::from(limit) + 1).await
    };
    let found = db::in_time(read).await.map_err(unavailable)?;
    Ok(Json(Page::of(found, limit, |key| [key.key_id])))
}

/// What a key is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewKey)]
pub struct New {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Requests a minute; 60 when left out.
    #[schema(minimum = 1, maximum = 100_000_000)]
    rate_limit: Option<i32>,
    /// Days after which it stops working; never when left out.
    #[schema(minimum = 1, maximum = 36_500)]
    expires_in_days: Option<i64>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeKey)]
pub struct Made {
    /// As it is listed.
    #[serde(flatten)]
    key: Key,
    /// The whole key: it is shown here, and never again.
    token: String,
}

fn rate_limit_fits(limit: i32) -> bool {
    (1..=MOST_RATE_LIMIT).contains(&limit)
}

/// Make a key
#[utoipa::path(post, path = "/attribution-ids/{attribution_id}/keys", tag = "Webhook keys", params(("attribution_id" = Uuid, Path), OfProperty), request_body = New, responses((status = 201, body = Made)))]
pub async fn create(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(attribution_id): At<Uuid>,
    Sent(new): Sent<New>,
) -> Result<Created<Made>, Problem> {
    let mut faults = Vec::new();
    check_name("name", &new.name, &mut faults);
    let limit = new.rate_limit.unwrap_or(DEFAULT_RATE_LIMIT);
    if !rate_limit_fits(limit) {
        faults.push(fault("rate_limit", "out_of_range", "must be 1 to 100,000,000"));
    }
    if new
        .expires_in_days
        .is_some_and(|days| !(1..=MOST_DAYS).contains(&days))
    {
        faults.push(fault("expires_in_days", "out_of_range", "must be 1 to 36,500"));
    }
    if !faults.is_empty() {
        return Err(invalid(faults));
    }
    let stream = stream(&api, writer.property_id, attribution_id).await?;
    let expires_at = new
        .expires_in_days
        .map(|days| api.clock.now() + TimeDelta::days(days));
    let new = settings::new_key(&stream, new.name, limit, expires_at, &api.hash, &api.clock)
        .await
        .map_err(|error| Problem::internal().caused_by(error))?;
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    settings::create_key(&mut conn, &writer.principal.actor(), &new, &api.clock)
        .await
        .map_err(unavailable)?;
    Ok(Created(Made {
        token: new.token.expose().to_owned(),
        key: new.key,
    }))
}

/// What is to be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyChange)]
pub struct Change {
    /// Requests a minute.
    #[schema(minimum = 1, maximum = 100_000_000)]
    rate_limit: i32,
}

async fn found(api: &Api, property_id: Uuid, attribution_id: Uuid, key_id: Uuid) -> Result<(), Problem> {
    let read = async { store::find(&mut *api.pool.acquire().await?, property_id, key_id).await };
    let key = db::in_time(read).await.map_err(unavailable)?;
    key.filter(|key| key.attribution_id == attribution_id)
        .map(drop)
        .ok_or_else(|| unknown("key"))
}

/// Change a key's limit, at once
#[utoipa::path(patch, path = "/attribution-ids/{attribution_id}/keys/{key_id}", tag = "Webhook keys", params(("attribution_id" = Uuid, Path), ("key_id" = Uuid, Path), OfProperty), request_body = Change, responses((status = 200, body = Key)))]
pub async fn change(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At((attribution_id, key_id)): At<(Uuid, Uuid)>,
    Sent(change): Sent<Change>,
) -> Result<Json<Key>, Problem> {
    if !rate_limit_fits(change.rate_limit) {
        return Err(invalid(vec![fault(
            "rate_limit",
            "out_of_range",
            "must be 1 to 100,000,000",
        )]));
    }
    found(&api, writer.property_id, attribution_id, key_id).await?;
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let (actor, property_id) = (writer.principal.actor(), writer.property_id);
    let changed = settings::set_rate_limit(
        &mut conn,
        &actor,
        property_id,
        key_id,
        change.rate_limit,
        &api.clock,
    )
    .await
    .map_err(unavailable)?;
    changed.map(Json).ok_or_else(|| unknown("key"))
}

/// Revoke a key, at once and for good
#[utoipa::path(post, path = "/attribution-ids/{attribution_id}/keys/{key_id}/revoke", tag = "Webhook keys", params(("attribution_id" = Uuid, Path), ("key_id" = Uuid, Path), OfProperty), responses((status = 200, body = Key)))]
pub async fn revoke(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At((attribution_id, key_id)): At<(Uuid, Uuid)>,
) -> Result<Json<Key>, Problem> {
    found(&api, writer.property_id, attribution_id, key_id).await?;
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let actor = writer.principal.actor();
    let revoked = settings::revoke_key(&mut conn, &actor, writer.property_id, key_id, &api.clock)
        .await
        .map_err(unavailable)?;
    revoked.map(Json).ok_or_else(|| unknown("key"))
}
