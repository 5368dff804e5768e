//! Users: who may sign in, and what each may do.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use super::Said;
use crate::dashboard::Dashboard;
use crate::dashboard::extract::{Path, Query};
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Owner, Posted, Session};
use crate::dashboard::show::{day, go, html};
use crate::platform::db;
use crate::settings::{self, NotChanged};
use crate::users::sign_ins::Token;
use crate::users::{Role, User, is_email, store};

/// Users of a page.
const MOST: usize = 100;

/// A user in the table.
struct Row {
    user: User,
    created: String,
    own: bool,
}

/// A link that was just made, and is shown once.
struct Invitation {
    email: String,
    link: String,
}

/// What came of a form.
#[derive(Default)]
struct Done {
    invitation: Option<Invitation>,
    refused: Option<&'static str>,
}

/// From where on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct After {
    after: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "dashboard/templates/users.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<Uuid>,
    roles: [Role; 3],
    invitation: Option<Invitation>,
    refused: Option<&'static str>,
}

async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    after: Option<Uuid>,
    said: Option<&str>,
    done: Done,
) -> Result<Response, Failure> {
    let frame = Frame::new(dashboard, session, None, Place::Users).await?;
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::list(&mut conn, after, MOST as i64 + 1).await
    };
    let mut users = db::in_time(read).await?;
    let more = users.len() > MOST;
    users.truncate(MOST);
    let row = |user: User| Row {
        created: day(user.created_at),
        own: user.user_id == session.user.user_id,
        user,
    };
    Ok(html(&Page {
        frame: frame.saying(said),
        next: users.last().map(|user| user.user_id).filter(|_| more),
        rows: users.into_iter().map(row).collect(),
        roles: [Role::Viewer, Role::Editor, Role::Owner],
        invitation: done.invitation,
        refused: done.refused,
    }))
}

/// `GET /dashboard/users`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Owner>,
    Query(from): Query<After>,
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    shown(&dashboard, &session, from.after, said.word(), Done::default()).await
}

/// `POST /dashboard/users`
pub async fn invite(
    State(dashboard): State<Arc<Dashboard>>,
    posted: Posted<Owner>,
) -> Result<Response, Failure> {
    let (session, form) = (&posted.session, &posted.form);
    let role: Role = form
        .text("role")
        .parse()
        .map_err(|_| Failure::BadForm("The role must be owner, editor or viewer."))?;
    let email = form.text("email");
    if !is_email(email) {
        return refused(&dashboard, session, "That is no email address.").await;
    }
    let user = User {
        user_id: dashboard.clock.new_id(),
        email: email.to_owned(),
        role,
        invited: true,
        created_at: dashboard.clock.now(),
    };
    let mut conn = dashboard.pool.acquire().await?;
    let invited = settings::invite_user(&mut conn, &session.actor(), &user, &dashboard.clock).await?;
    drop(conn);
    match invited {
        Some(token) => with_link(&dashboard, session, user, &token).await,
        None => refused(&dashboard, session, "There is a user with this address already.").await,
    }
}

async fn refused(dashboard: &Dashboard, session: &Session, why: &'static str) -> Result<Response, Failure> {
    let done = Done {
        refused: Some(why),
        ..Done::default()
    };
    shown(dashboard, session, None, None, done).await
}

/// `POST /dashboard/users/{user_id}/invitation`
pub async fn invite_again(
    State(dashboard): State<Arc<Dashboard>>,
    Path(user_id): Path<Uuid>,
    posted: Posted<Owner>,
) -> Result<Response, Failure> {
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let renewed = settings::renew_invitation(&mut conn, &actor, user_id, &dashboard.clock).await?;
    drop(conn);
    let (user, token) = renewed.ok_or(Failure::NotFound)?;
    with_link(&dashboard, &posted.session, user, &token).await
}

async fn with_link(
    dashboard: &Dashboard,
    session: &Session,
    user: User,
    token: &Token,
) -> Result<Response, Failure> {
    let invitation = Invitation {
        email: user.email,
        link: format!("{}/dashboard/invitation/{}", dashboard.base_url, token.expose()),
    };
    let done = Done {
        invitation: Some(invitation),
        ..Done::default()
    };
    shown(dashboard, session, None, None, done).await
}

/// `POST /dashboard/users/{user_id}/role`
pub async fn set_role(
    State(dashboard): State<Arc<Dashboard>>,
    Path(user_id): Path<Uuid>,
    posted: Posted<Owner>,
) -> Result<Response, Failure> {
    let role: Role = posted
        .form
        .text("role")
        .parse()
        .map_err(|_| Failure::BadForm("The role must be owner, editor or viewer."))?;
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let changed = settings::set_role(&mut conn, &actor, user_id, role, &dashboard.clock).await;
    changed.map_err(refusal)?;
    Ok(go("/dashboard/users?said=role"))
}

/// `POST /dashboard/users/{user_id}/remove`
pub async fn remove(
    State(dashboard): State<Arc<Dashboard>>,
    Path(user_id): Path<Uuid>,
    posted: Posted<Owner>,
) -> Result<Response, Failure> {
    let mut conn = dashboard.pool.acquire().await?;
    let actor = posted.session.actor();
    let removed = settings::remove_user(&mut conn, &actor, user_id, &dashboard.clock).await;
    removed.map_err(refusal)?;
    Ok(go("/dashboard/users?said=removed"))
}

fn refusal(not: NotChanged) -> Failure {
    match not {
        NotChanged::LastOwner => {
            Failure::BadForm("This is the only owner: nobody could manage users any more.")
        }
        NotChanged::Unknown => Failure::NotFound,
        NotChanged::Database(error) => error.into(),
    }
}
