//! The visitor's cookie, which shop pages and back ends read too.

use axum::http::{HeaderMap, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::site::Site;
use crate::domain::text;

const NAME: &str = "_trdt_vid";
/// Characters of a visitor's id.
const MOST: usize = 256;
/// Seconds: the 400 days that browsers allow.
const MAX_AGE: u32 = 34_560_000;
/// What the script's `encodeURIComponent` leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Name and value of each cookie that a request carries.
pub fn all(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| std::str::from_utf8(line.as_bytes()).ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// The visitor's id, where the cookie holds one.
pub fn visitor(headers: &HeaderMap) -> Option<String> {
    let (_, value) = all(headers).find(|(name, _)| *name == NAME)?;
    let id = percent_decode_str(value).decode_utf8().ok()?;
    text::check(&id, MOST).ok()?;
    Some(id.into_owned())
}

/// Sets the visitor's id for the whole site; a script's own cookie would last 7 days in some browsers.
pub fn set(visitor_id: &str, site: &Site) -> Option<HeaderValue> {
    let value = utf8_percent_encode(visitor_id, ENCODED);
    let mut cookie = format!("{NAME}={value}; Path=/; Max-Age={MAX_AGE}; SameSite=Lax");
    if let Some(domain) = &site.domain {
        cookie.push_str("; Domain=");
        cookie.push_str(domain);
    }
    if site.secure {
        cookie.push_str("; Secure");
    }
    HeaderValue::from_str(&cookie).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cookie: &[u8]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_bytes(cookie).unwrap());
        visitor(&headers)
    }

    #[test]
    fn any_id_comes_back() {
        let site = Site {
            domain: Some("shop.example".to_owned()),
            secure: true,
        };
        for id in ["v-1", "it's \"q\"; Domain=evil", "注文", "a=b,c%41"] {
            let set = set(id, &site).unwrap();
            let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            assert_eq!(read(format!("a=b;{pair} ; c").as_bytes()).as_deref(), Some(id));
        }
        let local = Site {
            domain: None,
            secure: false,
        };
        assert_eq!(
            set("v-1", &local).unwrap(),
            "_trdt_vid=v-1; Path=/; Max-Age=34560000; SameSite=Lax"
        );
    }

    #[test]
    fn what_is_no_id_is_none() {
        let long = format!("_trdt_vid={}", "x".repeat(257));
        for cookie in [
            b"".as_slice(),
            b"_trdt_vid",
            b"_trdt_vid=",
            b"_trdt_vid=%ff",
            b"_trdt_vid=a%0Ab",
            b"_trdt_vid=%00",
            b"_trdt_vid=\xff",
            b"x_trdt_vid=1",
            long.as_bytes(),
        ] {
            assert_eq!(read(cookie), None, "{cookie:?}");
        }
    }
}
