//! Users: who may sign in, and what each may do.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use uuid::Uuid;

use super::Said;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Owner, Posted, Session};
use crate::dashboard::show::{day, go, html};
use crate::platform::db;
use crate::settings::{self, NotChanged};
use crate::users::{Role, User, is_email, store};

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

#[derive(Template)]
#[template(path = "dashboard/templates/users.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    roles: [Role; 3],
    invitation: Option<Invitation>,
    refused: Option<&'static str>,
}

async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    said: Option<&str>,
    invitation: Option<Invitation>,
    refused: Option<&'static str>,
) -> Result<Response, Failure> {
    let frame = Frame::new(dashboard, session, None, Place::Users).await?;
    let users = db::in_time(async { store::list(&mut *dashboard.pool.acquire().await?).await }).await?;
    let row = |user: User| Row {
        created: day(user.created_at),
        own: user.user_id == session.user.user_id,
        user,
    };
    Ok(html(&Page {
        frame: frame.saying(said),
        rows: users.into_iter().map(row).collect(),
        roles: [Role::Viewer, Role::Editor, Role::Owner],
        invitation,
        refused,
    }))
}

/// `GET /dashboard/users`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Owner>,
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    shown(&dashboard, &session, said.word(), None, None).await
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
        let refused = "That is no email address.";
        return shown(&dashboard, session, None, None, Some(refused)).await;
    }
    let user = User {
        user_id: dashboard.clock.new_id(),
        email: email.to_owned(),
        role,
        invited: true,
        created_at: dashboard.clock.now(),
    };
    let mut conn = dashboard.pool.acquire().await?;
    if !settings::create_user(&mut conn, &session.actor(), &user, None, &dashboard.clock).await? {
        let refused = "There is a user with this address already.";
        return shown(&dashboard, session, None, None, Some(refused)).await;
    }
    drop(conn);
    with_link(&dashboard, session, user).await
}

/// `POST /dashboard/users/{user_id}/invitation`
pub async fn invite_again(
    State(dashboard): State<Arc<Dashboard>>,
    Path(user_id): Path<Uuid>,
    posted: Posted<Owner>,
) -> Result<Response, Failure> {
    let read = async { store::find(&mut *dashboard.pool.acquire().await?, user_id).await };
    let user = db::in_time(read).await?.ok_or(Failure::NotFound)?;
    with_link(&dashboard, &posted.session, user).await
}

async fn with_link(dashboard: &Dashboard, session: &Session, user: User) -> Result<Response, Failure> {
    let mut conn = dashboard.pool.acquire().await?;
    let token = settings::invite_user(&mut conn, &session.actor(), &user, &dashboard.clock).await?;
    drop(conn);
    let invitation = Invitation {
        email: user.email,
        link: format!("{}/dashboard/invitation/{}", dashboard.base_url, token.expose()),
    };
    shown(dashboard, session, None, Some(invitation), None).await
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
