//! Properties.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::extract::{Asked, Created, Json, Sent, check_name, fault, invalid};
use crate::api::page::{Page, Wanted};
use crate::api::principal::{Anybody, Named, Owner, Principal, Read, Write, unavailable, unknown};
use crate::platform::db;
use crate::platform::problem::Problem;
use crate::settings::{self, Actor, PropertyChange};
use crate::streams::{KEEP_DAYS, KEEP_PERSONAL_DAYS, Property, store};

/// The properties that can be looked at, oldest first
#[utoipa::path(get, path = "/properties", tag = "Properties", params(Wanted), responses((status = 200, body = Page<Property>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    anybody: Anybody,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<Property>>, Problem> {
    let (limit, after) = (wanted.limit()?, wanted.after_id()?);
    let read = async {
        let mut conn = api.pool.acquire().await?;
        match &anybody.principal {
            Principal::User(_) => store::properties_after(&mut conn, after, i64::from(limit) + 1).await,
            // The one that it opens, on the first page.
            Principal::Token(token) => {
                let own = store::find_property(&mut conn, token.property_id).await?;
                Ok(own
                    .into_iter()
                    .filter(|own| after.is_none_or(|after| own.property_id > after))
                    .collect())
            }
        }
    };
    let found = db::in_time(read).await.map_err(unavailable)?;
    Ok(Json(Page::of(found, limit, |property| [property.property_id])))
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
#[utoipa::path(get, path = "/properties/{id}", tag = "Properties", params(("id" = Uuid, Path)), responses((status = 200, body = Property)))]
pub async fn show(
    State(api): State<Arc<Api>>,
    Named(reader): Named<Read>,
) -> Result<Json<Property>, Problem> {
    let read = async { store::find_property(&mut *api.pool.acquire().await?, reader.property_id).await };
    let found = db::in_time(read).await.map_err(unavailable)?;
    found.map(Json).ok_or_else(|| unknown("property"))
}

/// What is to be changed; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = PropertyChange)]
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
#[utoipa::path(patch, path = "/properties/{id}", tag = "Properties", params(("id" = Uuid, Path)), request_body = Change, responses((status = 200, body = Property)))]
pub async fn change(
    State(api): State<Arc<Api>>,
    Named(writer): Named<Write>,
    Sent(change): Sent<Change>,
) -> Result<Json<Property>, Problem> {
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
    let (actor, id) = (writer.principal.actor(), writer.property_id);
    let changed = settings::change_property(&mut conn, &actor, id, change, &api.clock)
        .await
        .map_err(unavailable)?;
    changed.map(Json).ok_or_else(|| unknown("property"))
}
