//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};

use super::handler::Received;
use super::{Collector, cors, script};
use crate::platform::problem::Problem;

/// `/t.js` and `/api/events`.
pub fn router(collector: Arc<Collector>) -> Router {
    // Compressed before the first visitor asks.
    script::prepare();
    let only_get = async || {
        Problem::method_not_allowed(Method::GET).header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
    };
    Router::new()
        .route("/t.js", get(serve_script).fallback(only_get))
        .route("/api/events", any(receive))
        .with_state(collector)
}

async fn serve_script(headers: HeaderMap) -> Response {
    script::answer(&headers)
}

/// Each answer, whatever it is, can be read by the page that asked.
async fn receive(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut response = match head.method {
        Method::POST => Received::new(&collector, &head).answer(body).await,
        Method::OPTIONS => preflight(),
        _ => Problem::method_not_allowed(Method::POST)
            .header(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"))
            .into_response(),
    };
    cors::allow(&head.headers, response.headers_mut());
    response
}

fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors::allow_next(response.headers_mut());
    response
}
