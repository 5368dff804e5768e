//! Who may see or do what. A handler that compiles is guarded: it takes the session from here, and there is no other way to one.

use std::error::Error as _;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::LengthLimitError;
use uuid::Uuid;

use super::Dashboard;
use super::failure::Failure;
use crate::platform::clock::Clock;
use crate::settings::Actor;
use crate::users::sign_ins::{Token, cookies};
use crate::users::{Role, User};

/// Of a form.
const FORM_TOKEN: &str = "csrf";
/// Of a form that makes something whose secret is shown once: the id of what it makes.
const ONCE: &str = "once";
/// Name of the cookie that remembers a property.
const LOOKED_AT: &str = "trustdata-property";
/// Bytes of a form from somebody who is signed in, at most: 60,000 characters of any script fit, escaped as forms are.
const MOST_BYTES: usize = 1024 * 1024;
/// Bytes of a form from anybody, at most.
pub const MOST_OF_STRANGERS: usize = 64 * 1024;

/// Somebody who is signed in.
#[derive(Clone)]
pub struct Session {
    /// Who.
    pub user: User,
    /// By what.
    pub token: Token,
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
        let session = session(head, dashboard, Asks::Visitor).await?;
        match session.user.role >= L::ROLE {
            true => Ok(Self(session, PhantomData)),
            false => Err(Failure::Forbidden),
        }
    }
}

/// A page that asks by itself, for anybody who is signed in. It is no visit: who has gone away is signed out in time.
pub struct Watching;

impl FromRequestParts<Arc<Dashboard>> for Watching {
    type Rejection = Failure;

    async fn from_request_parts(head: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        session(head, dashboard, Asks::Page).await.map(|_| Self)
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
        let form = read(&head, body, MOST_BYTES, dashboard).await?;
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

    /// The id of what the form makes, so that the same form sent twice makes one thing. It was told by the page, within a day.
    pub fn once(&self, clock: &Clock) -> Result<Uuid, Failure> {
        let id = Uuid::parse_str(self.text(ONCE)).ok();
        let told = id.and_then(|id| Some((id, id.get_timestamp()?.to_unix().0)));
        let now = clock.now().timestamp().unsigned_abs();
        match told {
            Some((id, at)) if (now.saturating_sub(86_400)..=now).contains(&at) => Ok(id),
            _ => Err(Failure::Forged),
        }
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
pub async fn read(head: &Parts, body: Body, most: usize, dashboard: &Dashboard) -> Result<Form, Failure> {
    if !from_here(&head.headers) {
        return Err(Failure::Forged);
    }
    let whole = axum::body::to_bytes(body, most);
    let content = match tokio::time::timeout(dashboard.read_timeout, whole).await {
        Ok(Ok(content)) => content,
        Ok(Err(error)) if error.source().is_some_and(|cause| cause.is::<LengthLimitError>()) => {
            return Err(Failure::TooLarge);
        }
        Ok(Err(_)) | Err(_) => return Err(Failure::NotWhole),
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

/// The property whose page was looked at last.
pub fn looked_at(headers: &HeaderMap) -> Option<Uuid> {
    cookies::values(headers, LOOKED_AT).find_map(|value| Uuid::try_parse(value).ok())
}

/// The cookie that remembers a property: pages of no property then keep its navigation.
pub fn looks_at(property_id: Uuid, dashboard: &Dashboard) -> Option<HeaderValue> {
    let secure = if dashboard.sign_ins.cookies().is_secure() {
        "; Secure"
    } else {
        ""
    };
    let text = format!("{LOOKED_AT}={property_id}; Path=/dashboard; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).ok()
}

/// Who asks for a page.
enum Asks {
    /// Somebody.
    Visitor,
    /// A page that is open already.
    Page,
}

async fn session(head: &Parts, dashboard: &Dashboard, asks: Asks) -> Result<Session, Failure> {
    let part = head.headers.contains_key("hx-request");
    let next = match head.method {
        Method::GET if !part => head.uri.path_and_query().map(ToString::to_string),
        _ => None,
    };
    let signed_out = || Failure::SignedOut {
        next: next.unwrap_or_default(),
        part,
    };
    let sign_ins = &dashboard.sign_ins;
    let Some(token) = sign_ins.cookies().session(&head.headers) else {
        return Err(signed_out());
    };
    let found = match asks {
        Asks::Visitor => sign_ins.find(&token).await?,
        Asks::Page => sign_ins.watch(&token).await?,
    };
    match found {
        Some(user) => Ok(Session {
            user,
            token,
            property: looked_at(&head.headers),
        }),
        None => Err(signed_out()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_form_makes_what_its_page_told() {
        let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let clock = Clock::fixed(at);
        let form = |id: String| Form(vec![(ONCE.to_owned(), id)]);
        let id = clock.new_id();
        assert_eq!(form(id.to_string()).once(&clock).unwrap(), id);
        for made_up in [String::new(), "x".to_owned(), Uuid::new_v4().to_string()] {
            assert!(form(made_up).once(&clock).is_err());
        }
        clock.advance(chrono::Duration::days(1) + chrono::Duration::seconds(2));
        assert!(form(id.to_string()).once(&clock).is_err());
    }

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
