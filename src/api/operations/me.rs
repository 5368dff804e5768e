//! Who asks; a user's own account.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::Api;
use crate::api::extract::{Json, Sent, fault, invalid};
use crate::api::principal::{Anybody, Principal, SignedIn, unavailable};
use crate::platform::problem::Problem;
use crate::settings;
use crate::users::password;
use crate::users::sign_ins::Refusal;

const BUSY: &str = "Many passwords are being checked at this moment. Nothing was changed.";

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// `token` or `user`.
    kind: &'static str,
    /// The token's name, or the user's email address.
    name: String,
    /// `read`, `write`; `viewer`, `editor`, `owner`.
    role: String,
    /// The one property that a token opens.
    property_id: Option<Uuid>,
    /// What each change under the dashboard's session has to carry as `X-CSRF-Token`; null for a token, which needs none.
    csrf_token: Option<String>,
}

/// Who asks
#[utoipa::path(get, path = "/me", tag = "Access", responses((status = 200, body = Me)))]
pub async fn show(anybody: Anybody) -> Json<Me> {
    let csrf_token = anybody.csrf_token;
    Json(match anybody.principal {
        Principal::Token(token) => Me {
            kind: "token",
            name: token.name,
            role: token.scope.to_string(),
            property_id: Some(token.property_id),
            csrf_token,
        },
        Principal::User(user) => Me {
            kind: "user",
            name: user.email,
            role: user.role.to_string(),
            property_id: None,
            csrf_token,
        },
    })
}

/// A user's own password, to be replaced.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The one that holds.
    current: String,
    /// The one that is to hold.
    #[schema(min_length = 12, max_length = 1024)]
    new: String,
}

/// Change one's own password, under the dashboard's session; other sessions of the user end
#[utoipa::path(post, path = "/me/password", tag = "Access", request_body = NewPassword, responses((status = 204)))]
pub async fn change_password(
    State(api): State<Arc<Api>>,
    signed_in: SignedIn,
    Sent(sent): Sent<NewPassword>,
) -> Result<StatusCode, Problem> {
    password::check(&sent.new)
        .map_err(|unfit| invalid(vec![fault("new", "unfit_password", unfit.to_string())]))?;
    let SignedIn { user, token } = signed_in;
    match api.sign_ins.confirm(&user, sent.current, &token).await {
        Ok(()) => {}
        Err(Refusal::Wrong) => {
            let wrong = fault("current", "wrong_password", "the current password is another one");
            return Err(invalid(vec![wrong]));
        }
        Err(Refusal::TooMany { retry_after }) => {
            return Err(Problem::rate_limited("Too many tries.".to_owned(), retry_after));
        }
        Err(Refusal::Busy) => return Err(Problem::unavailable(BUSY)),
        Err(Refusal::Unavailable(cause)) => {
            return Err(Problem::unavailable("Nothing was changed.").caused_by(cause));
        }
    }
    let hash = api.sign_ins.hash(sent.new).await;
    let hash = hash.map_err(|error| Problem::unavailable(BUSY).caused_by(error))?;
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    settings::set_password(&mut conn, &user, &hash, &token, &api.clock)
        .await
        .map_err(unavailable)?;
    Ok(StatusCode::NO_CONTENT)
}

/// End all sessions of one's own, this one too
#[utoipa::path(post, path = "/me/sign-out-everywhere", tag = "Access", responses((status = 204)))]
pub async fn sign_out_everywhere(
    State(api): State<Arc<Api>>,
    signed_in: SignedIn,
) -> Result<StatusCode, Problem> {
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    settings::sign_out_everywhere(&mut conn, &signed_in.user, &api.clock)
        .await
        .map_err(unavailable)?;
    Ok(StatusCode::NO_CONTENT)
}
