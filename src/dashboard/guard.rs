//! Who may see or do what. A handler that compiles is guarded: it takes the session from here, and there is no other way to one.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use uuid::Uuid;

use super::Dashboard;
use super::failure::Failure;
use crate::settings::Actor;
use crate::users::sign_ins::{COOKIES, Token};
use crate::users::{Role, User};

/// Of a form.
const FORM_TOKEN: &str = "csrf";
/// Name of the cookie that remembers a property.
const LOOKED_AT: &str = "trustdata-property";
/// Bytes of a form, at most.
const MOST_BYTES: usize = 64 * 1024;
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Somebody who is signed in.
#[derive(Clone)]
pub struct Session {
    /// Who.
    pub user: User,
    /// By what.
    pub token: Token,
    /// From where.
    pub client: IpAddr,
    /// The property whose page was looked at last, as the browser says: there may be none such.
    pub property: Option<Uuid>,
}

impl Session {
    /// For the settings' log.
    pub fn actor(&self) -> Actor {
        Actor::User(self.user.email.clone())
    }
}

/// The least role that will do.
pub trait Least: Send + Sync + 'static {
    /// The role.
    const ROLE: Role;
}

/// Anybody who is signed in.
pub struct Viewer;
/// Who may change settings.
pub struct Editor;
/// Who may manage users.
pub struct Owner;

impl Least for Viewer {
    const ROLE: Role = Role::Viewer;
}

impl Least for Editor {
    const ROLE: Role = Role::Editor;
}

impl Least for Owner {
    const ROLE: Role = Role::Owner;
}

/// A page for those who have the role.
pub struct Allowed<L>(pub Session, pub PhantomData<L>);

impl<L: Least> FromRequestParts<Arc<Dashboard>> for Allowed<L> {
    type Rejection = Failure;

    async fn from_request_parts(head: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        let session = session(head, dashboard).await?;
        match session.user.role >= L::ROLE {
            true => Ok(Self(session, PhantomData)),
            false => Err(Failure::Forbidden),
        }
    }
}

/// A form that a page of the sender's own session sent, by somebody who has the role.
pub struct Posted<L> {
    /// Who.
    pub session: Session,
    /// What.
    pub form: Form,
    least: PhantomData<L>,
}

impl<L: Least> FromRequest<Arc<Dashboard>> for Posted<L> {
    type Rejection = Failure;

    async fn from_request(request: Request, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        let (mut head, body) = request.into_parts();
        let Allowed(session, least) = Allowed::<L>::from_request_parts(&mut head, dashboard).await?;
        let form = read(&head, body).await?;
        match session.token.is_form_token(form.text(FORM_TOKEN)) {
            true => Ok(Self { session, form, least }),
            false => Err(Failure::Forged),
        }
    }
}

/// The fields of a form, as text.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// A field; empty when it was not sent.
    pub fn text(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value.trim())
    }

    /// A field as it was sent, spaces and all: a password.
    pub fn exact(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value)
    }
}

/// Reads a form, whoever sent it: for signing in, where there is no session yet.
pub async fn read(head: &Parts, body: Body) -> Result<Form, Failure> {
    if !from_here(&head.headers) {
        return Err(Failure::Forged);
    }
    let whole = tokio::time::timeout(READ_WITHIN, axum::body::to_bytes(body, MOST_BYTES)).await;
    let Ok(Ok(content)) = whole else {
        return Err(Failure::BadForm(
            "The form is too large, or did not arrive whole. Go back and send it again.",
        ));
    };
    let pairs = url::form_urlencoded::parse(&content);
    Ok(Form(
        pairs
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
    ))
}

/// Whether a browser says that a page of this very origin sent it. What is no browser says nothing, and has no cookie to misuse.
fn from_here(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match text(header::HeaderName::from_static("sec-fetch-site")) {
        Some(site) => site == "same-origin" || site == "none",
        None => match (text(header::ORIGIN), text(header::HOST)) {
            (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, from)| from == host),
            (Some(_), None) => false,
            (None, _) => true,
        },
    }
}

/// The session's token, if a cookie has one.
pub fn token(headers: &HeaderMap, dashboard: &Dashboard) -> Option<Token> {
    let wanted = cookie_name(dashboard);
    cookies(headers).find_map(|(name, value)| Token::parse(value).filter(|_| name == wanted))
}

/// The property whose page was looked at last.
pub fn looked_at(headers: &HeaderMap) -> Option<Uuid> {
    cookies(headers).find_map(|(name, value)| Uuid::try_parse(value).ok().filter(|_| name == LOOKED_AT))
}

/// The cookie that remembers a property: pages of no property then keep its navigation.
pub fn looks_at(property_id: Uuid, dashboard: &Dashboard) -> Option<HeaderValue> {
    let secure = if dashboard.is_secure() { "; Secure" } else { "" };
    let text = format!("{LOOKED_AT}={property_id}; Path=/dashboard; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).ok()
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

fn cookie_name(dashboard: &Dashboard) -> &'static str {
    let [secure, plain] = COOKIES;
    if dashboard.is_secure() { secure } else { plain }
}

/// The cookie that keeps a token, until the browser is closed; without a token, the one that ends it.
pub fn cookie(token: Option<&Token>, dashboard: &Dashboard) -> Result<HeaderValue, Failure> {
    let (value, age) = match token {
        Some(token) => (token.expose(), ""),
        None => (String::new(), "; Max-Age=0"),
    };
    let secure = if dashboard.is_secure() { "; Secure" } else { "" };
    let text = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}",
        cookie_name(dashboard)
    );
    HeaderValue::from_str(&text).map_err(|error| Failure::Internal(error.to_string()))
}

async fn session(head: &Parts, dashboard: &Dashboard) -> Result<Session, Failure> {
    let part = head.headers.contains_key("hx-request");
    let next = match head.method {
        Method::GET if !part => head.uri.path_and_query().map(ToString::to_string),
        _ => None,
    };
    let signed_out = || Failure::SignedOut {
        next: next.unwrap_or_default(),
        part,
    };
    let Some(token) = token(&head.headers, dashboard) else {
        return Err(signed_out());
    };
    match dashboard.sign_ins.find(&token).await? {
        Some(user) => Ok(Session {
            user,
            token,
            client: dashboard.proxies.client_of(head),
            property: looked_at(&head.headers),
        }),
        None => Err(signed_out()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_other_origins_are_told_apart() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| {
                    (
                        header::HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect::<HeaderMap>()
        };
        for (pairs, fits) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("origin", "https://a.example"), ("host", "a.example")], true),
            (&[("origin", "https://b.example"), ("host", "a.example")], false),
            (&[("origin", "null"), ("host", "a.example")], false),
            (&[("origin", "https://a.example")], false),
            (&[("host", "a.example")], true),
        ] {
            assert_eq!(from_here(&headers(pairs)), fits, "{pairs:?}");
        }
    }
}
