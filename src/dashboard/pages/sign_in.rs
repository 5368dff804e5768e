//! Signing in and out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::dashboard::Dashboard;
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
    let form = guard::read(&head, body).await?;
    let (email, next) = (form.text("email"), local(form.text("next")));
    let client = dashboard.proxies.client_of(&head);
    let former = guard::token(&head.headers, &dashboard);
    let password = form.exact("password").to_owned();
    let (status, code, refused) = match dashboard
        .sign_ins
        .sign_in(email, password, client, former.as_ref())
        .await
    {
        Ok((token, _)) => {
            let mut response = go(next);
            let cookie = guard::cookie(Some(&token), &dashboard)?;
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            return Ok(response);
        }
        Err(Refusal::Unavailable(cause)) => return Err(Failure::Unavailable(cause)),
        Err(Refusal::Wrong) => (
            StatusCode::UNAUTHORIZED,
            "wrong_password",
            "No account has this address and this password.".to_owned(),
        ),
        Err(Refusal::TooMany { retry_after }) => (
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!("Too many tries. Try again in {retry_after} seconds."),
        ),
    };
    let page = Page {
        plain: Plain::new(),
        next,
        email,
        refused: Some(refused),
    };
    let mut response = (status, html(&page)).into_response();
    response.extensions_mut().insert(RefusedAs(code));
    Ok(response)
}

/// `POST /dashboard/sign-out`
pub async fn sign_out(
    State(dashboard): State<Arc<Dashboard>>,
    posted: Posted<Viewer>,
) -> Result<Response, Failure> {
    dashboard.sign_ins.end(&posted.session.token).await?;
    let mut response = go("/dashboard/sign-in");
    let cookie = guard::cookie(None, &dashboard)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
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
