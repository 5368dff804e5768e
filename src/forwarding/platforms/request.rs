//! A request to a platform: everything but the sending.

use std::fmt;

use axum::http::Method;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use url::form_urlencoded;

use super::Name;
use crate::platform::outbound::Reach;

/// Bytes of a platform's answer that are read: a row for each event of a request, with its faults and warnings.
const MOST_ANSWER: usize = 4 << 20;

/// Where a platform is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host and whatever path comes before the platform's own.
    pub base_url: String,
    /// Version of the API.
    pub version: String,
    /// Where access tokens are renewed.
    pub token_url: Option<String>,
    /// Which addresses both may lead to.
    pub reach: Reach,
}

impl Endpoint {
    /// Where the platform says it is.
    pub fn of(name: Name) -> Self {
        let spec = name.spec();
        Self {
            base_url: spec.base_url.to_owned(),
            version: spec.version.to_owned(),
            token_url: spec.token_url.map(str::to_owned),
            reach: match spec.base_url {
                // Where the settings say it is.
                "" => Reach::Public,
                _ => Reach::Anywhere,
            },
        }
    }

    /// The base without a slash at its end.
    pub(super) fn base(&self) -> &str {
        self.base_url.trim_end_matches('/')
    }
}

/// What a request needs besides settings and events.
#[derive(Clone, Copy)]
pub struct Sending<'a> {
    /// Where to.
    pub endpoint: &'a Endpoint,
    /// A fresh access token, for platforms with [`Platform::oauth`](super::Platform::oauth).
    pub access_token: Option<&'a SecretString>,
    /// When it is sent: part of some signatures.
    pub now: DateTime<Utc>,
}

/// A header's value.
#[derive(Clone)]
pub enum Header {
    /// May be shown.
    Plain(String),
    /// Must not be shown.
    Secret(SecretString),
}

impl Header {
    /// Whether it must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    /// The value, to be sent.
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(text) => text.expose_secret(),
        }
    }
}

/// A request. URL and body may hold credentials: neither is shown.
#[derive(Clone)]
pub struct Request {
    /// GET or POST.
    pub method: Method,
    /// The whole URL. Never log it: some platforms want their token in the query.
    pub url: SecretString,
    /// Names and values.
    pub headers: Vec<(&'static str, Header)>,
    /// The body; empty for GET.
    pub body: SecretString,
    /// Bytes of the answer that are read.
    pub most_answer: usize,
}

impl Request {
    /// A POST of JSON.
    pub(super) fn json(url: String, body: String) -> Self {
        Self {
            method: Method::POST,
            url: SecretString::from(url),
            headers: vec![("content-type", Header::Plain("application/json".to_owned()))],
            body: SecretString::from(body),
            most_answer: MOST_ANSWER,
        }
    }

    /// A POST of a form.
    pub(super) fn form(url: &str, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let kind = "application/x-www-form-urlencoded".to_owned();
        Self {
            method: Method::POST,
            url: SecretString::from(url.to_owned()),
            headers: vec![("content-type", Header::Plain(kind))],
            body: SecretString::from(body),
            most_answer: MOST_ANSWER,
        }
    }

    /// A GET.
    pub(super) fn get(url: String) -> Self {
        Self {
            method: Method::GET,
            url: SecretString::from(url),
            headers: Vec::new(),
            body: SecretString::default(),
            most_answer: MOST_ANSWER,
        }
    }

    /// The same with one more member of the body, or of the object within it that is named.
    pub(super) fn with(
        mut self,
        within: Option<&str>,
        name: &str,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        let mut body: serde_json::Value = serde_json::from_str(self.body.expose_secret()).unwrap_or_default();
        let object = match within {
            Some(within) => &mut body[within],
            None => &mut body,
        };
        object[name] = value.into();
        self.body = SecretString::from(body.to_string());
        self
    }

    /// The same to another path.
    pub(super) fn to(mut self, path: &str, other: &str) -> Self {
        self.url = SecretString::from(self.url.expose_secret().replacen(path, other, 1));
        self
    }

    /// The same, of whose answer no more than so many bytes are read.
    pub(super) fn answered_within(mut self, bytes: usize) -> Self {
        self.most_answer = bytes;
        self
    }

    /// Adds a header that may be shown.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Header::Plain(value.into())));
        self
    }

    /// Adds a header that must not be shown.
    pub(super) fn secret(mut self, name: &'static str, value: &SecretString) -> Self {
        self.headers.push((name, Header::Secret(value.clone())));
        self
    }

    /// Adds `Authorization: Bearer`.
    pub(super) fn bearer(mut self, token: &SecretString) -> Self {
        let value = SecretString::from(format!("Bearer {}", token.expose_secret()));
        self.headers.push(("authorization", Header::Secret(value)));
        self
    }

    /// Adds `Authorization: Bearer` where there is a token.
    pub(super) fn bearer_of(self, token: Option<&SecretString>) -> Self {
        match token {
            Some(token) => self.bearer(token),
            None => self,
        }
    }

    /// Where it goes, without the query: may be shown.
    pub fn shown_url(&self) -> &str {
        self.url.expose_secret().split('?').next().unwrap_or_default()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.shown_url())
    }
}

/// A URL with a query.
pub(super) fn with_query(url: String, pairs: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{url}?{query}")
}
