//! One's own account.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Said, sign_in};
use crate::dashboard::Dashboard;
use crate::dashboard::extract::Query;
use crate::dashboard::failure::Failure;
use crate::dashboard::frame::{Frame, Place};
use crate::dashboard::guard::{Allowed, Posted, Session, Viewer};
use crate::dashboard::show::{go, html};
use crate::settings;
use crate::users::password;
use crate::users::sign_ins::Refusal;

#[derive(Template)]
#[template(path = "dashboard/templates/account.html")]
struct Page {
    frame: Frame,
    refused: Option<String>,
}

async fn shown(
    dashboard: &Dashboard,
    session: &Session,
    said: Option<&str>,
    refused: Option<String>,
) -> Result<Response, Failure> {
    let frame = Frame::new(dashboard, session, None, Place::Account).await?;
    Ok(html(&Page {
        frame: frame.saying(said),
        refused,
    }))
}

/// `GET /dashboard/account`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Allowed(session, _): Allowed<Viewer>,
    Query(said): Query<Said>,
) -> Result<Response, Failure> {
    shown(&dashboard, &session, said.word(), None).await
}

/// `POST /dashboard/account/password`
pub async fn change_password(
    State(dashboard): State<Arc<Dashboard>>,
    posted: Posted<Viewer>,
) -> Result<Response, Failure> {
    let (session, form) = (&posted.session, &posted.form);
    let new = form.exact("password");
    let refused = match password::check(new) {
        Err(unfit) => Some(unfit.to_string()),
        Ok(()) if new != form.exact("again") => Some("the two new passwords differ".to_owned()),
        Ok(()) => {
            let current = form.exact("current").to_owned();
            let proven = dashboard
                .sign_ins
                .confirm(&session.user, current, &session.token)
                .await;
            match proven {
                Ok(()) => None,
                Err(Refusal::Wrong) => Some("the current password is another one".to_owned()),
                Err(Refusal::TooMany { retry_after }) => {
                    Some(format!("too many tries: try again in {retry_after} seconds"))
                }
                Err(Refusal::Busy) => return Err(Failure::Busy),
                Err(Refusal::Unavailable(cause)) => return Err(Failure::Unavailable(cause)),
            }
        }
    };
    if refused.is_some() {
        return shown(&dashboard, session, None, refused).await;
    }
    let hash = dashboard.sign_ins.hash(new.to_owned()).await?;
    let mut conn = dashboard.pool.acquire().await?;
    settings::set_password(&mut conn, &session.user, &hash, &session.token, &dashboard.clock).await?;
    Ok(go("/dashboard/account?said=password"))
}

/// `POST /dashboard/account/sign-out-everywhere`
pub async fn sign_out_everywhere(
    State(dashboard): State<Arc<Dashboard>>,
    posted: Posted<Viewer>,
) -> Result<Response, Failure> {
    let mut conn = dashboard.pool.acquire().await?;
    settings::sign_out_everywhere(&mut conn, &posted.session.user, &dashboard.clock).await?;
    sign_in::signed_out(&dashboard)
}
