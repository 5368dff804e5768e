//! Tokens of the admin API.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use uuid::Uuid;

use super::attribution_ids::{name, refuse_unknown};
use super::webhooks::{expires_at, state_and_end};
use super::{Before, Said};
use crate::dashboard::Dashboard;
use crate::dashboard::extract::{Path, Query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Editor, Posted, Session, Viewer};
use crate::dashboard::show::{day, go, html, time_or};
use crate::platform::db;
use crate::settings::{self, NewToken, TokenNotMade};
use crate::tokens::{ApiToken, Scope, store};

/// Tokens of a page.
const MOST: usize = 50;

/// A token in the table.
struct Row {
    token: ApiToken,
    created: String,
    last_used: String,
    /// In force, or why it is not.
    state: &'static str,
    ends: String,
}

/// A token that was just made, and is shown once.
struct Fresh {
    name: String,
    token: String,
    writes: bool,
    curl: String,
}

#[derive(Template)]
#[template(path = "dashboard/templates/api_tokens.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    /// Whether it is not the first page.
    later: bool,
    older: Option<Uuid>,
    fresh: Option<Fresh>,
    /// The id of the token that the form makes.
    once: Uuid,
}

/// `GET .../api-tokens`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Path(property_id): Path<Uuid>,
    Query(from): Query<Before>,
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    let said = said.word();
    shown(&dashboard, &session, property_id, from.before, said, None).await
}

async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    property_id: Uuid,
    before: Option<Uuid>,
    said: Option<&str>,
    fresh: Option<Fresh>,
) -> Result<Response, Failure> {
    let frame = Frame::new(dashboard, session, Some(property_id), Place::ApiTokens).await?;
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::list(&mut conn, property_id, before, MOST as i64 + 1).await
    };
    let mut tokens = db::in_time(read).await?;
    let more = tokens.len() > MOST;
    tokens.truncate(MOST);
    let row = |token: ApiToken| {
        let (state, ends) = state_and_end(token.revoked_at, token.expires_at, dashboard.clock.now());
        Row {
            created: day(token.created_at),
            last_used: time_or(token.last_used_at, "never"),
            state,
            ends,
            token,
        }
    };
    Ok(html(&Page {
        frame: frame.saying(said),
        later: before.is_some(),
        older: tokens.last().map(|token| token.token_id).filter(|_| more),
        rows: tokens.into_iter().map(row).collect(),
        fresh,
        once: dashboard.clock.new_id(),
    }))
}

/// `POST .../api-tokens`
pub async fn create(
    State(dashboard): State<Arc<Dashboard>>,
    Path(property_id): Path<Uuid>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let (session, form, clock) = (&posted.session, &posted.form, &dashboard.clock);
    let scope = form.text("scope").parse::<Scope>();
    let new = NewToken {
        token_id: form.once(clock)?,
        property_id,
        name: name(form.text("name"))?,
        scope: scope.map_err(|_| Failure::BadForm("The scope must be read or write."))?,
        expires_at: expires_at(form, clock)?,
        user_id: Some(session.user.user_id),
    };
    let mut conn = dashboard.pool.acquire().await?;
    refuse_unknown(&mut conn, property_id).await?;
    let made = settings::create_token(&mut conn, &session.actor(), new, clock).await;
    drop(conn);
    let (listed, token) = match made {
        Ok(made) => made,
        Err(TokenNotMade::Before) => return Ok(go(&at(property_id, "made_before"))),
        Err(TokenNotMade::NoRight) => return Err(Failure::Forbidden),
        Err(TokenNotMade::Database(error)) => return Err(error.into()),
    };
    let token = token.expose().to_owned();
    let fresh = Fresh {
        curl: format!(
            "curl -sS '{}/api/v1/me' \\\n  -H 'Authorization: Bearer {token}'",
            dashboard.base_url
        ),
        writes: listed.scope >= Scope::Write,
        name: listed.name,
        token,
    };
    shown(&dashboard, session, property_id, None, None, Some(fresh)).await
}

/// `POST .../api-tokens/{token_id}/revoke`
pub async fn revoke(
    State(dashboard): State<Arc<Dashboard>>,
    Path((property_id, token_id)): Path<(Uuid, Uuid)>,
    posted: Posted<Editor>,
) -> Result<Response, Failure> {
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let revoked = settings::revoke_token(&mut conn, &actor, property_id, token_id, &dashboard.clock).await?;
    revoked.ok_or(Failure::NotFound)?;
    Ok(go(&at(property_id, "token_revoked")))
}

fn at(property_id: Uuid, said: &str) -> String {
    format!("/dashboard/properties/{property_id}/api-tokens?said={said}")
}
