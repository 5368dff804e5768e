//! Styles, scripts, icon. Each has its content's hash in its name, and is kept for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use super::failure::Failure;
use crate::platform::asset::Asset;

const CACHING: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file and its name.
struct File {
    name: &'static str,
    asset: Asset,
}

static FILES: LazyLock<[File; 5]> = LazyLock::new(|| {
    let file = |name, source, kind| File {
        name,
        asset: Asset::new(source, kind),
    };
    [
        file("dashboard.css", include_str!("assets/dashboard.css"), STYLE),
        file("dashboard.js", include_str!("assets/dashboard.js"), SCRIPT),
        file("htmx.js", include_str!("assets/htmx-2.0.11.min.js"), SCRIPT),
        file("sse.js", include_str!("assets/htmx-sse-2.2.4.min.js"), SCRIPT),
        file("icon.svg", include_str!("assets/icon.svg"), "image/svg+xml"),
    ]
});

/// Where a file is.
pub fn path(name: &str) -> String {
    let found = FILES.iter().find(|file| file.name == name);
    let hash = found.map_or("missing", |file| file.asset.hash());
    format!("/dashboard/assets/{hash}/{name}")
}

/// `GET /dashboard/assets/{hash}/{name}`
pub async fn serve(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    match FILES
        .iter()
        .find(|file| file.name == name && file.asset.hash() == hash)
    {
        Some(file) => file.asset.answer(&headers, CACHING),
        None => Failure::NotFound.into_response(),
    }
}
