//! Who asks, and for which property. A handler that compiles is guarded: it takes one of these, and there is no other way to a property.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::Api;
use super::extract::{At, query};
use crate::platform::client_ip::limited_as;
use crate::platform::db;
use crate::platform::last_noted::Note;
use crate::platform::problem::Problem;
use crate::platform::token::{Scheme, Token};
use crate::settings::Actor;
use crate::streams::store;
use crate::tokens::{self, ApiToken, Scope, hash};
use crate::users::sign_ins;
use crate::users::{Role, User};

/// Carries the form token of the dashboard's session.
const CSRF: &str = "x-csrf-token";

/// Who asks.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A program, by its token: of one property.
    Token(ApiToken),
    /// A user of the dashboard: of all.
    User(User),
}

impl Principal {
    /// For the settings' log.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Token(token) => Actor::Token(token.prefix.clone()),
            Self::User(user) => Actor::User(user.email.clone()),
        }
    }

    fn may_write(&self) -> bool {
        match self {
            Self::Token(token) => token.scope >= Scope::Write,
            Self::User(user) => user.role >= Role::Editor,
        }
    }
}

/// Which property is meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfProperty {
    /// The property. A token's own when it is left out; a user has to name one where there are several.
    pub property_id: Option<Uuid>,
}

/// What is needed to do something with a property.
pub trait Need: Send + Sync + 'static {
    /// Whether it changes something.
    const WRITE: bool;
}

/// Looking.
pub struct Read;
/// Changing.
pub struct Write;

impl Need for Read {
    const WRITE: bool = false;
}

impl Need for Write {
    const WRITE: bool = true;
}

/// Somebody who may do it, and the property that is meant.
pub struct Allowed<N> {
    /// Who.
    pub principal: Principal,
    /// The property.
    pub property_id: Uuid,
    need: PhantomData<N>,
}

/// May look.
pub type Reader = Allowed<Read>;
/// May change.
pub type Writer = Allowed<Write>;

impl<N: Need> FromRequestParts<Arc<Api>> for Allowed<N> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let principal = able::<N>(head, api).await?;
        let named: OfProperty = query(head)?;
        let property_id = property(&principal, named.property_id, api).await?;
        Ok(Self {
            principal,
            property_id,
            need: PhantomData,
        })
    }
}

/// Somebody who may do it, and the property that the path names.
pub struct Named<N>(pub Allowed<N>);

impl<N: Need> FromRequestParts<Arc<Api>> for Named<N> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let principal = able::<N>(head, api).await?;
        let named = At::<Uuid>::from_request_parts(head, api).await;
        let At(id) = named.map_err(|_| unknown("property"))?;
        let property_id = property(&principal, Some(id), api).await?;
        Ok(Self(Allowed {
            principal,
            property_id,
            need: PhantomData,
        }))
    }
}

async fn able<N: Need>(head: &Parts, api: &Api) -> Result<Principal, Problem> {
    let principal = principal(head, api).await?;
    match N::WRITE && !principal.may_write() {
        true => Err(forbidden()),
        false => Ok(principal),
    }
}

/// Somebody, whoever it is.
pub struct Anybody {
    /// Who.
    pub principal: Principal,
    /// What a change under the session carries, where there is one.
    pub csrf_token: Option<String>,
}

impl FromRequestParts<Arc<Api>> for Anybody {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let principal = principal(head, api).await?;
        let csrf_token = match principal {
            Principal::Token(_) => None,
            Principal::User(_) => session(head, api).map(|token| token.form_token()),
        };
        Ok(Self {
            principal,
            csrf_token,
        })
    }
}

/// A user who may manage users. Tokens are of one property, and users are of none.
pub struct Owner(pub User);

impl FromRequestParts<Arc<Api>> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        match principal(head, api).await? {
            Principal::User(user) if user.role >= Role::Owner => Ok(Self(user)),
            _ => Err(forbidden()),
        }
    }
}

/// A user under the dashboard's session: for the user's own account.
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// By what.
    pub token: sign_ins::Token,
}

impl FromRequestParts<Arc<Api>> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        match principal(head, api).await? {
            Principal::Token(_) => Err(forbidden()),
            Principal::User(user) => Ok(Self {
                user,
                token: session(head, api).ok_or_else(missing)?,
            }),
        }
    }
}

/// Not for this token, or this user.
pub fn forbidden() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "Not allowed",
        "The token's scope, or the user's role, does not allow this.",
    )
}

fn unauthorized(code: &'static str, detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, "Not authenticated", detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

async fn property(principal: &Principal, named: Option<Uuid>, api: &Api) -> Result<Uuid, Problem> {
    match (principal, named) {
        (Principal::Token(token), None) => Ok(token.property_id),
        (Principal::Token(token), Some(named)) if token.property_id == named => Ok(named),
        (Principal::Token(_), Some(_)) => Err(unknown("property")),
        (Principal::User(_), Some(named)) => {
            let read = async { store::property_exists(&mut *api.pool.acquire().await?, named).await };
            match db::in_time(read).await.map_err(unavailable)? {
                true => Ok(named),
                false => Err(unknown("property")),
            }
        }
        (Principal::User(_), None) => {
            // A second one says that there are several.
            let read = async { store::properties_after(&mut *api.pool.acquire().await?, None, 2).await };
            match db::in_time(read).await.map_err(unavailable)?.as_slice() {
                [] => Err(unknown("property")),
                [only] => Ok(only.property_id),
                _ => Err(Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "property_needed",
                    "Which property?",
                    "There are several properties: name one by the query parameter property_id.",
                )),
            }
        }
    }
}

/// There is no such thing, or none of this property.
pub fn unknown(what: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "Not found",
        format!("There is no such {what}."),
    )
}

/// The database does not answer.
pub fn unavailable(error: sqlx::Error) -> Problem {
    Problem::unavailable("The database cannot be reached. Nothing was changed.").caused_by(error)
}

async fn principal(head: &Parts, api: &Api) -> Result<Principal, Problem> {
    match head.headers.contains_key(header::AUTHORIZATION) {
        true => token(head, api).await.map(Principal::Token),
        false => user(head, api).await.map(Principal::User),
    }
}

async fn token(head: &Parts, api: &Api) -> Result<ApiToken, Problem> {
    let client = limited_as(api.proxies.client_of(head));
    let failures = api.failures.of(client, api.failures_per_minute);
    let limited = |retry_after| {
        let detail = "Too many failed attempts from this address.".to_owned();
        Problem::rate_limited(detail, retry_after)
    };
    failures.look().map_err(|none| limited(none.retry_after))?;
    let found = match bearer(&head.headers) {
        Some(token) => {
            let hash = hash(&token);
            let read = async { tokens::store::find_by_hash(&mut *api.pool.acquire().await?, &hash).await };
            db::in_time(read).await.map_err(unavailable)?
        }
        None => None,
    };
    let now = api.clock.now();
    let refused = match found {
        None => (
            "invalid_token",
            "This is no API token: one is td_live_ and 38 letters and digits.",
        ),
        Some(token) if token.revoked_at.is_some() => ("revoked_token", "This token was revoked."),
        Some(token) if token.expires_at.is_some_and(|end| end <= now) => {
            ("expired_token", "This token has expired.")
        }
        Some(token) => {
            api.last_used.note(Note {
                property_id: token.property_id,
                id: token.token_id,
                at: now,
            });
            return Ok(token);
        }
    };
    failures.take().map_err(|none| limited(none.retry_after))?;
    Err(unauthorized(refused.0, refused.1))
}

fn bearer(headers: &HeaderMap) -> Option<Token> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Token::parse(Scheme::Api, token).ok()
}

fn missing() -> Problem {
    unauthorized(
        "missing_credentials",
        "Send `Authorization: Bearer td_live_...`, or the cookie of the dashboard's session.",
    )
}

fn session(head: &Parts, api: &Api) -> Option<sign_ins::Token> {
    api.sign_ins.cookies().session(&head.headers)
}

async fn user(head: &Parts, api: &Api) -> Result<User, Problem> {
    let token = session(head, api).ok_or_else(missing)?;
    let user = api.sign_ins.find(&token).await.map_err(unavailable)?;
    let user = user.ok_or_else(missing)?;
    if matches!(head.method, Method::GET | Method::HEAD) {
        return Ok(user);
    }
    let sent = head.headers.get(CSRF).and_then(|value| value.to_str().ok());
    match sent.is_some_and(|sent| token.is_form_token(sent)) {
        true => Ok(user),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forged_request",
            "Not sent by the dashboard",
            "A change under the dashboard's session needs its token in X-CSRF-Token.",
        )),
    }
}
