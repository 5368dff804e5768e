//! The first password, by a link that an owner handed over.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::response::Response;

use crate::dashboard::Dashboard;
use crate::dashboard::extract::Path;
use crate::dashboard::failure::Failure;
use crate::dashboard::guard;
use crate::dashboard::show::{Plain, go, html};
use crate::platform::db;
use crate::settings;
use crate::users::sign_ins::Token;
use crate::users::{User, password, store};

#[derive(Template)]
#[template(path = "dashboard/templates/invitation.html")]
struct Page {
    plain: Plain,
    email: String,
    refused: Option<String>,
}

async fn invited(dashboard: &Dashboard, token: &str) -> Result<(Token, User), Failure> {
    let token = Token::parse(token).ok_or(Failure::NotFound)?;
    let read = async {
        let mut conn = dashboard.pool.acquire().await?;
        store::invited(&mut conn, &token.hash(), dashboard.clock.now()).await
    };
    let user = db::in_time(read).await?.ok_or(Failure::NotFound)?;
    Ok((token, user))
}

/// `GET /dashboard/invitation/{token}`
pub async fn page(
    State(dashboard): State<Arc<Dashboard>>,
    Path(token): Path<String>,
) -> Result<Response, Failure> {
    let (_, user) = invited(&dashboard, &token).await?;
    Ok(html(&Page {
        plain: Plain::new(),
        email: user.email,
        refused: None,
    }))
}

/// `POST /dashboard/invitation/{token}`
pub async fn accept(
    State(dashboard): State<Arc<Dashboard>>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let form = guard::read(&head, body, guard::MOST_OF_STRANGERS, &dashboard).await?;
    let (token, user) = invited(&dashboard, &token).await?;
    let new = form.exact("password");
    let unfit = match password::check(new) {
        Err(unfit) => Some(unfit.to_string()),
        Ok(()) if new != form.exact("again") => Some("the two passwords differ".to_owned()),
        Ok(()) => None,
    };
    if unfit.is_some() {
        return Ok(html(&Page {
            plain: Plain::new(),
            email: user.email,
            refused: unfit,
        }));
    }
    let hash = dashboard.sign_ins.hash(new.to_owned()).await?;
    let mut conn = dashboard.pool.acquire().await?;
    let accepted = settings::accept_invitation(&mut conn, &token, &hash, &dashboard.clock).await?;
    accepted.ok_or(Failure::NotFound)?;
    Ok(go("/dashboard/sign-in"))
}
