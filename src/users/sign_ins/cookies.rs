//! The cookies of a sign-in: one rule for their names, whoever reads them.

use axum::http::header::{InvalidHeaderValue, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, header};

use super::Token;

/// Of the session and of the browser, without TLS and behind it: there the prefix makes browsers refuse the cookie from anywhere else.
const PLAIN: [&str; 2] = ["trustdata", "trustdata-browser"];
const SECURE: [&str; 2] = ["__Host-trustdata", "__Host-trustdata-browser"];
/// Seconds that a browser is known for: the most that browsers keep a cookie.
const KNOWN_FOR: u32 = 400 * 86_400;

/// Names, reads and writes them.
#[derive(Debug, Clone, Copy)]
pub struct Cookies {
    secure: bool,
}

impl Cookies {
    /// For a service that browsers reach by TLS, or else without.
    pub fn new(secure: bool) -> Self {
        Self { secure }
    }

    /// Whether browsers send them by TLS alone.
    pub fn is_secure(self) -> bool {
        self.secure
    }

    fn names(self) -> [&'static str; 2] {
        if self.secure { SECURE } else { PLAIN }
    }

    /// The name of the session's cookie.
    pub fn session_name(self) -> &'static str {
        self.names()[0]
    }

    /// The session's token, if a cookie has one.
    pub fn session(self, headers: &HeaderMap) -> Option<Token> {
        values(headers, self.names()[0]).find_map(Token::parse)
    }

    /// What the cookie of a known browser says.
    pub(super) fn browser(self, headers: &HeaderMap) -> Option<&str> {
        values(headers, self.names()[1]).next()
    }

    /// Keeps a session until the browser is closed, and lets the browser be known.
    pub(super) fn set(
        self,
        token: &Token,
        browser: &str,
        headers: &mut HeaderMap,
    ) -> Result<(), InvalidHeaderValue> {
        let [session, known] = self.names();
        for text in [
            self.text(session, &token.expose(), ""),
            self.text(known, browser, &format!("; Max-Age={KNOWN_FOR}")),
        ] {
            headers.append(SET_COOKIE, HeaderValue::from_str(&text)?);
        }
        Ok(())
    }

    /// Ends the session in the browser, which stays known.
    pub fn end(self, headers: &mut HeaderMap) -> Result<(), InvalidHeaderValue> {
        let text = self.text(self.session_name(), "", "; Max-Age=0");
        headers.append(SET_COOKIE, HeaderValue::from_str(&text)?);
        Ok(())
    }

    fn text(self, name: &str, value: &str, age: &str) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}")
    }
}

/// Values of the cookies of a name.
pub fn values<'a>(headers: &'a HeaderMap, wanted: &'static str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(name, _)| *name == wanted)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_tls_no_other_cookie_is_taken() {
        let token = Token::generate().expose();
        let headers = |name: &str| {
            let mut headers = HeaderMap::new();
            let text = format!("a=b; {name}={token}; c=d");
            headers.insert(header::COOKIE, HeaderValue::from_str(&text).unwrap());
            headers
        };
        for (secure, own, other) in [
            (true, "__Host-trustdata", "trustdata"),
            (false, "trustdata", "__Host-trustdata"),
        ] {
            let cookies = Cookies::new(secure);
            assert_eq!(cookies.session_name(), own);
            assert!(
                cookies
                    .session(&headers(own))
                    .is_some_and(|read| read.expose() == token)
            );
            assert!(cookies.session(&headers(other)).is_none());
        }
    }
}
