//! Properties.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::Api;
use crate::api::extract::{At, Created, Json, Sent, check_name, fault, invalid};
use crate::api::page::Page;
use crate::api::principal::{Anybody, OfProperty, Owner, Principal, Reader, Writer, unavailable, unknown};
use crate::platform::db;
use crate::platform::problem::Problem;
use crate::settings::{self, Actor, PropertyChange};
use crate::streams::{KEEP_DAYS, KEEP_PERSONAL_DAYS, Property, store};

/// The properties that can be looked at
#[utoipa::path(get, path = "/properties", tag = "Properties", responses((status = 200, body = Page<Property>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    Anybody(principal): Anybody,
) -> Result<Json<Page<Property>>, Problem> {
    let read = async { store::list_properties(&mut *api.pool.acquire().await?).await };
    let mut all = db::in_time(read).await.map_err(unavailable)?;
    if let Principal::Token(token) = principal {
        all.retain(|property| property.property_id == token.property_id);
    }
    Ok(Json(Page {
        data: all,
        next_cursor: None,
    }))
}

/// What a property is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProperty {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// Make a property; for owners
#[utoipa::path(post, path = "/properties", tag = "Properties", request_body = NewProperty, responses((status = 201, body = Property)))]
pub async fn create(
    State(api): State<Arc<Api>>,
    Owner(owner): Owner,
    Sent(new): Sent<NewProperty>,
) -> Result<Created<Property>, Problem> {
    let mut faults = Vec::new();
    check_name("name", &new.name, &mut faults);
    if !faults.is_empty() {
        return Err(invalid(faults));
    }
    let actor = Actor::User(owner.email);
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let made = settings::create_property(&mut conn, &actor, new.name, &api.clock).await;
    made.map(Created).map_err(unavailable)
}

/// A property
#[utoipa::path(get, path = "/properties/{id}", tag = "Properties", params(("id" = Uuid, Path), OfProperty), responses((status = 200, body = Property)))]
pub async fn show(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(id): At<Uuid>,
) -> Result<Json<Property>, Problem> {
    if id != reader.property_id {
        return Err(unknown("property"));
    }
    let read = async { store::find_property(&mut *api.pool.acquire().await?, id).await };
    let found = db::in_time(read).await.map_err(unavailable)?;
    found.map(Json).ok_or_else(|| unknown("property"))
}

/// What is to be changed; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// Whether consent that nobody told counts as granted.
    unknown_consent_granted: Option<bool>,
    /// Days that audit rows are kept.
    #[schema(minimum = 1, maximum = 3650)]
    keep_activity_days: Option<i16>,
    /// Days that personal data is kept after the last delivery; a visitor's address and browser, after the lookback.
    #[schema(minimum = 7, maximum = 3650)]
    keep_personal_days: Option<i16>,
    /// Days that sessions are kept after the lookback.
    #[schema(minimum = 1, maximum = 3650)]
    keep_sessions_days: Option<i16>,
}

/// Change a property
#[utoipa::path(patch, path = "/properties/{id}", tag = "Properties", params(("id" = Uuid, Path), OfProperty), request_body = Change, responses((status = 200, body = Property)))]
pub async fn change(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(id): At<Uuid>,
    Sent(change): Sent<Change>,
) -> Result<Json<Property>, Problem> {
    if id != writer.property_id {
        return Err(unknown("property"));
    }
    let mut faults = Vec::new();
    if let Some(name) = &change.name {
        check_name("name", name, &mut faults);
    }
    for (field, days, allowed) in [
        ("keep_activity_days", change.keep_activity_days, KEEP_DAYS),
        (
            "keep_personal_days",
            change.keep_personal_days,
            KEEP_PERSONAL_DAYS,
        ),
        ("keep_sessions_days", change.keep_sessions_days, KEEP_DAYS),
    ] {
        if days.is_some_and(|days| !allowed.contains(&days)) {
            let message = format!("must be {} to {}", allowed.start(), allowed.end());
            faults.push(fault(field, "out_of_range", &message));
        }
    }
    if !faults.is_empty() {
        return Err(invalid(faults));
    }
    let change = PropertyChange {
        name: change.name,
        unknown_consent_granted: change.unknown_consent_granted,
        keep_activity_days: change.keep_activity_days,
        keep_personal_days: change.keep_personal_days,
        keep_sessions_days: change.keep_sessions_days,
    };
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let changed = settings::change_property(&mut conn, &writer.principal.actor(), id, change, &api.clock)
        .await
        .map_err(unavailable)?;
    changed.map(Json).ok_or_else(|| unknown("property"))
}
