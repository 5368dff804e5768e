//! What the visitor said to the cookie banner, remembered in a cookie of the shop's own.

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::pages;

const COOKIE: &str = "shop_consent";

/// The visitor's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// None yet: neither yes nor no.
    Unknown,
    Granted,
    Denied,
}

impl Consent {
    /// The choice made on an earlier page.
    pub fn of(headers: &HeaderMap) -> Self {
        cookie(headers, COOKIE).map_or(Self::Unknown, |choice| Self::parse(&choice))
    }

    fn parse(choice: &str) -> Self {
        match choice {
            "granted" => Self::Granted,
            "denied" => Self::Denied,
            _ => Self::Unknown,
        }
    }

    /// As the page's script reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Granted => "granted",
            Self::Denied => "denied",
        }
    }

    pub fn is_known(self) -> bool {
        self != Self::Unknown
    }
}

#[derive(Deserialize)]
pub(super) struct Choice {
    choice: String,
}

/// `POST /shop/consent`
pub(super) async fn choose(form: Result<Form<Choice>, FormRejection>) -> Response {
    let consent = form.map_or(Consent::Unknown, |Form(form)| Consent::parse(&form.choice));
    if !consent.is_known() {
        return pages::refused(StatusCode::BAD_REQUEST);
    }
    // Half a year, as regulators advise. No script needs it: pages are told by the back end.
    let cookie = format!(
        "{COOKIE}={}; Path=/shop; Max-Age=15552000; SameSite=Lax; HttpOnly",
        consent.name()
    );
    ([(header::SET_COOKIE, cookie)], Redirect::to("/shop/")).into_response()
}

/// A cookie of the request.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE);
    let mut pairs = all
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        let line =
            HeaderValue::from_static("x_trdt_vid=no; _trdt_vid_=no;_trdt_vid=a%20b; shop_consent=maybe");
        headers.insert(header::COOKIE, line);
        assert_eq!(cookie(&headers, "_trdt_vid").as_deref(), Some("a b"));
        assert_eq!(Consent::of(&headers), Consent::Unknown);
        headers.append(header::COOKIE, HeaderValue::from_static("shop=1"));
        assert_eq!(cookie(&headers, "shop").as_deref(), Some("1"));
    }
}
