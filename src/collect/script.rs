//! `GET /t.js`, for pages of any origin.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::platform::asset::Asset;

const SOURCE: &str = include_str!("t.js");
/// An hour, and a day more while a newer one is fetched in the background.
const CACHING: HeaderValue = HeaderValue::from_static("public, max-age=3600, stale-while-revalidate=86400");

static SCRIPT: LazyLock<Asset> = LazyLock::new(|| Asset::new(SOURCE, "text/javascript; charset=utf-8"));

/// Compresses the script, so that no request has to wait for it.
pub fn prepare() {
    LazyLock::force(&SCRIPT);
}

/// The script, in the encoding that the client likes best, or the word that it has not changed.
pub fn answer(request: &HeaderMap) -> Response {
    let mut response = SCRIPT.answer(request, CACHING);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    // A page that isolates itself from other origins may load it too.
    headers.insert(
        header::HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    response
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// What a page has to fetch for it.
    #[test]
    fn it_is_small() {
        let sizes: Vec<(&str, usize)> = SCRIPT.sizes().collect();
        assert_eq!(sizes.len(), 3);
        for (encoding, size) in sizes {
            // Past the test runner, which keeps what passing tests print to itself.
            writeln!(std::io::stdout(), "t.js {encoding}: {size} bytes").unwrap();
            assert!(encoding == "plain" || size <= 4096, "{encoding}");
        }
    }
}
