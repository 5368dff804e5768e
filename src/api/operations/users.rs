//! Users of the dashboard; for owners.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::Api;
use crate::api::extract::{Asked, At, Created, Json, Sent, fault, invalid};
use crate::api::page::{Page, Wanted};
use crate::api::principal::{Owner, unavailable, unknown};
use crate::platform::db;
use crate::platform::problem::Problem;
use crate::settings::{self, Actor, NotChanged};
use crate::users::sign_ins::Token;
use crate::users::{Role, User, is_email, store};

/// Users, oldest first
#[utoipa::path(get, path = "/users", tag = "Users", params(Wanted), responses((status = 200, body = Page<User>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    Owner(_): Owner,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<User>>, Problem> {
    let (limit, after) = (wanted.limit()?, wanted.after_id()?);
    let read = async {
        let mut conn = api.pool.acquire().await?;
        store::list(&mut conn, after, i64::from(limit) + 1).await
    };
    let found = db::in_time(read).await.map_err(unavailable)?;
    Ok(Json(Page::of(found, limit, |user| [user.user_id])))
}

/// Who is invited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
pub struct New {
    /// The address to sign in with.
    #[schema(max_length = 254, format = "email")]
    email: String,
    /// What the user may do.
    #[schema(value_type = Role)]
    role: String,
}

/// Somebody who has a link to set a password by.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invited {
    /// As it is listed.
    #[serde(flatten)]
    user: User,
    /// The link to set a password by, once and within 72 hours: it is shown here, and never again.
    invitation: String,
}

fn role(sent: &str) -> Result<Role, Problem> {
    let role = sent.parse::<Role>();
    role.map_err(|unknown| invalid(vec![fault("role", "unknown_role", unknown.to_string())]))
}

/// Invite a user
#[utoipa::path(post, path = "/users", tag = "Users", request_body = New, responses((status = 201, body = Invited)))]
pub async fn invite(
    State(api): State<Arc<Api>>,
    Owner(owner): Owner,
    Sent(new): Sent<New>,
) -> Result<Created<Invited>, Problem> {
    let role = role(&new.role)?;
    if !is_email(&new.email) {
        return Err(invalid(vec![fault(
            "email",
            "not_an_address",
            "must be an email address",
        )]));
    }
    let user = User {
        user_id: api.clock.new_id(),
        email: new.email,
        role,
        invited: true,
        created_at: api.clock.now(),
    };
    let actor = Actor::User(owner.email);
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let invited = settings::invite_user(&mut conn, &actor, &user, &api.clock).await;
    match invited.map_err(unavailable)? {
        Some(token) => Ok(Created(with_link(&api, user, &token))),
        None => Err(Problem::new(
            StatusCode::CONFLICT,
            "user_exists",
            "There already",
            "There is a user with this address.",
        )),
    }
}

fn with_link(api: &Api, user: User, token: &Token) -> Invited {
    Invited {
        user,
        invitation: format!("{}/dashboard/invitation/{}", api.base_url, token.expose()),
    }
}

/// Make a new link to set a password by, in place of earlier ones
#[utoipa::path(post, path = "/users/{user_id}/invitation", tag = "Users", params(("user_id" = Uuid, Path)), responses((status = 201, body = Invited)))]
pub async fn renew_invitation(
    State(api): State<Arc<Api>>,
    Owner(owner): Owner,
    At(user_id): At<Uuid>,
) -> Result<Created<Invited>, Problem> {
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let actor = Actor::User(owner.email);
    let renewed = settings::renew_invitation(&mut conn, &actor, user_id, &api.clock).await;
    let (user, token) = renewed.map_err(unavailable)?.ok_or_else(|| unknown("user"))?;
    Ok(Created(with_link(&api, user, &token)))
}

/// What is to be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RoleChange)]
pub struct Change {
    /// What the user may do.
    #[schema(value_type = Role)]
    role: String,
}

/// Change a user's role; who may do less has to sign in again, and loses the API tokens that an editor may make
#[utoipa::path(patch, path = "/users/{user_id}", tag = "Users", params(("user_id" = Uuid, Path)), request_body = Change, responses((status = 200, body = User)))]
pub async fn change(
    State(api): State<Arc<Api>>,
    Owner(owner): Owner,
    At(user_id): At<Uuid>,
    Sent(change): Sent<Change>,
) -> Result<Json<User>, Problem> {
    let role = role(&change.role)?;
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let actor = Actor::User(owner.email);
    let changed = settings::set_role(&mut conn, &actor, user_id, role, &api.clock).await;
    changed.map(Json).map_err(refusal)
}

/// Remove a user, with all sign-ins and API tokens
#[utoipa::path(delete, path = "/users/{user_id}", tag = "Users", params(("user_id" = Uuid, Path)), responses((status = 204)))]
pub async fn remove(
    State(api): State<Arc<Api>>,
    Owner(owner): Owner,
    At(user_id): At<Uuid>,
) -> Result<StatusCode, Problem> {
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let actor = Actor::User(owner.email);
    let removed = settings::remove_user(&mut conn, &actor, user_id, &api.clock).await;
    removed.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

fn refusal(not: NotChanged) -> Problem {
    match not {
        NotChanged::LastOwner => Problem::new(
            StatusCode::CONFLICT,
            "last_owner",
            "The only owner",
            "Nobody could manage users any more.",
        ),
        NotChanged::Unknown => unknown("user"),
        NotChanged::Database(error) => unavailable(error),
    }
}
