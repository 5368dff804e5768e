//! Tokens of this API.

use std::sync::Arc;

use axum::extract::State;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::Api;
use crate::api::extract::{Asked, At, Created, Json, Sent, check_name, fault, invalid};
use crate::api::page::{Page, Wanted};
use crate::api::principal::{OfProperty, Principal, Reader, Writer, forbidden, unavailable, unknown};
use crate::platform::db;
use crate::platform::problem::Problem;
use crate::settings::{self, NewToken, TokenNotMade};
use crate::tokens::{ApiToken, Scope, store};

const MOST_DAYS: i64 = 36_500;

/// Tokens of the property, newest first
#[utoipa::path(get, path = "/api-tokens", tag = "API tokens", params(OfProperty, Wanted), responses((status = 200, body = Page<ApiToken>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<ApiToken>>, Problem> {
    let (limit, before) = (wanted.limit()?, wanted.after_id()?);
    let read = async {
        let mut conn = api.pool.acquire().await?;
        store::list(&mut conn, reader.property_id, before, i64::from(limit) + 1).await
    };
    let found = db::in_time(read).await.map_err(unavailable)?;
    Ok(Json(Page::of(found, limit, |token| [token.token_id])))
}

/// What a token is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewToken)]
pub struct New {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it may do: `read`, or `write` (read and change).
    #[schema(value_type = Scope)]
    scope: String,
    /// Days after which it stops working; never when left out.
    #[schema(minimum = 1, maximum = 36_500)]
    expires_in_days: Option<i64>,
}

/// A token that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeToken {
    /// As it is listed.
    #[serde(flatten)]
    listed: ApiToken,
    /// The whole token: it is shown here, and never again.
    token: String,
}

/// Make a token, under the dashboard's session: tokens make none, or one that was leaked would outlive what is done about it
#[utoipa::path(post, path = "/api-tokens", tag = "API tokens", params(OfProperty), request_body = New, responses((status = 201, body = MadeToken)))]
pub async fn create(
    State(api): State<Arc<Api>>,
    writer: Writer,
    Sent(new): Sent<New>,
) -> Result<Created<MadeToken>, Problem> {
    let Principal::User(user) = &writer.principal else {
        return Err(forbidden());
    };
    let mut faults = Vec::new();
    check_name("name", &new.name, &mut faults);
    let scope = new.scope.parse::<Scope>();
    if let Err(unknown) = &scope {
        faults.push(fault("scope", "unknown_scope", unknown.to_string()));
    }
    if new
        .expires_in_days
        .is_some_and(|days| !(1..=MOST_DAYS).contains(&days))
    {
        faults.push(fault("expires_in_days", "out_of_range", "must be 1 to 36,500"));
    }
    let (Ok(scope), true) = (scope, faults.is_empty()) else {
        return Err(invalid(faults));
    };
    let expires_at = new
        .expires_in_days
        .map(|days| api.clock.now() + TimeDelta::days(days));
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let actor = writer.principal.actor();
    let new = NewToken {
        token_id: api.clock.new_id(),
        property_id: writer.property_id,
        name: new.name,
        scope,
        expires_at,
        user_id: Some(user.user_id),
    };
    match settings::create_token(&mut conn, &actor, new, &api.clock).await {
        Ok((listed, token)) => Ok(Created(MadeToken {
            listed,
            token: token.expose().to_owned(),
        })),
        Err(TokenNotMade::NoRight) => Err(forbidden()),
        Err(TokenNotMade::Database(error)) => Err(unavailable(error)),
        Err(not @ TokenNotMade::Before) => Err(Problem::internal().caused_by(format!("{not:?}"))),
    }
}

/// Revoke a token, at once and for good
#[utoipa::path(post, path = "/api-tokens/{token_id}/revoke", tag = "API tokens", params(("token_id" = Uuid, Path), OfProperty), responses((status = 200, body = ApiToken)))]
pub async fn revoke(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(token_id): At<Uuid>,
) -> Result<Json<ApiToken>, Problem> {
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let actor = writer.principal.actor();
    let revoked = settings::revoke_token(&mut conn, &actor, writer.property_id, token_id, &api.clock)
        .await
        .map_err(unavailable)?;
    revoked.map(Json).ok_or_else(|| unknown("token"))
}
