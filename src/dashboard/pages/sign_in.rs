//! Signing in and out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::dashboard::Dashboard;
use crate::dashboard::extract::Query;
use crate::dashboard::failure::Failure;
use crate::dashboard::guard::{self, Posted, Viewer};
use crate::dashboard::show::{Plain, go, html};
use crate::platform::marks::RefusedAs;
use crate::users::sign_ins::Refusal;

#[derive(Template)]
#[template(path = "dashboard/templates/sign_in.html")]
struct Page<'a> {
    plain: Plain,
    next: &'a str,
    email: &'a str,
    refused: Option<String>,
}

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Next {
    next: String,
}

/// A path of the dashboard, never another site.
fn local(next: &str) -> &str {
    let fits = next == "/dashboard" || next.starts_with("/dashboard/");
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if fits && plain { next } else { "/dashboard" }
}

/// `GET /dashboard/sign-in`
pub async fn page(Query(query): Query<Next>) -> Response {
    html(&Page {
        plain: Plain::new(),
        next: local(&query.next),
        email: "",
        refused: None,
    })
}

/// `POST /dashboard/sign-in`
pub async fn sign_in(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let form = guard::read(&head, body, guard::MOST_OF_STRANGERS, &dashboard).await?;
    let (email, next) = (form.text("email"), local(form.text("next")));
    let client = dashboard.proxies.client_of(&head);
    let password = form.exact("password").to_owned();
    let mut answer = go(next);
    let signed_in = dashboard
        .sign_ins
        .sign_in(email, password, client, &head.headers, answer.headers_mut());
    let (status, code, refused, retry_after) = match signed_in.await {
        Ok(()) => return Ok(answer),
        Err(Refusal::Unavailable(cause)) => return Err(Failure::Unavailable(cause)),
        Err(Refusal::Busy) => return Err(Failure::Busy),
        Err(Refusal::Wrong) => (
            StatusCode::UNAUTHORIZED,
            "wrong_password",
            "No account has this address and this password.".to_owned(),
            None,
        ),
        Err(Refusal::TooMany { retry_after }) => (
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!("Too many tries. Try again in {retry_after} seconds."),
            Some(retry_after),
        ),
    };
    let page = Page {
        plain: Plain::new(),
        next,
        email,
        refused: Some(refused),
    };
    let mut response = (status, html(&page)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response.extensions_mut().insert(RefusedAs(code));
    Ok(response)
}

/// `POST /dashboard/sign-out`
pub async fn sign_out(
    State(dashboard): State<Arc<Dashboard>>,
    posted: Posted<Viewer>,
) -> Result<Response, Failure> {
    dashboard.sign_ins.end(&posted.session.token).await?;
    signed_out(&dashboard)
}

/// To the page for signing in, without the cookie.
pub(super) fn signed_out(dashboard: &Dashboard) -> Result<Response, Failure> {
    let mut response = go("/dashboard/sign-in");
    let ended = dashboard.sign_ins.cookies().end(response.headers_mut());
    ended.map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_dashboard_come_next() {
        for good in ["/dashboard", "/dashboard/users?a=b"] {
            assert_eq!(local(good), good);
        }
        for bad in [
            "",
            "//evil.example",
            "/dashboards",
            "https://evil.example/dashboard",
            "/dashboard/\r\nx: y",
            "/dashboard\\@evil",
        ] {
            assert_eq!(local(bad), "/dashboard");
        }
    }
}
