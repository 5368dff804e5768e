//! `X-Request-Id`: the caller's own when it is sane, else a new one.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header's name.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id under which a request is answered and logged.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

impl RequestId {
    /// The id as text; it is visible ASCII by construction.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// The caller's id: 1 to 128 of `A-Z a-z 0-9 _ . : -`, sent once.
pub fn sane(headers: &HeaderMap) -> Option<RequestId> {
    let mut sent = headers.get_all(HEADER).iter();
    let value = sent.next()?;
    let fits = (1..=128).contains(&value.len())
        && value
            .as_bytes()
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(b))
        && sent.next().is_none();
    fits.then(|| RequestId(value.clone()))
}
