//! The routes, and the document that is made of them.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::operations::{
    activity, attribution_ids, conversions, destinations, keys, me, properties, reports, settings_log,
    test_events, tokens, users,
};
use super::{Api, docs, document};
use crate::platform::problem::Problem;

/// `/api/v1` and all below it.
pub fn router(api: Arc<Api>) -> Router {
    let (operations, found) = OpenApiRouter::new()
        .routes(routes!(me::show))
        .routes(routes!(me::change_password))
        .routes(routes!(me::sign_out_everywhere))
        .routes(routes!(properties::list, properties::create))
        .routes(routes!(properties::show, properties::change))
        .routes(routes!(attribution_ids::list, attribution_ids::create))
        .routes(routes!(attribution_ids::show, attribution_ids::change))
        .routes(routes!(attribution_ids::tracking))
        .routes(routes!(test_events::send))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::change))
        .routes(routes!(keys::revoke))
        .routes(routes!(activity::list))
        .routes(routes!(activity::show))
        .routes(routes!(destinations::list, destinations::create))
        .routes(routes!(
            destinations::show,
            destinations::change,
            destinations::remove
        ))
        .routes(routes!(destinations::pause))
        .routes(routes!(destinations::resume))
        .routes(routes!(destinations::test))
        .routes(routes!(destinations::ledger))
        .routes(routes!(destinations::deliveries))
        .routes(routes!(destinations::replay))
        .routes(routes!(conversions::list))
        .routes(routes!(conversions::show))
        .routes(routes!(conversions::deliveries))
        .routes(routes!(reports::campaigns))
        .routes(routes!(reports::campaigns_csv))
        .routes(routes!(reports::series))
        .routes(routes!(reports::overview))
        .routes(routes!(reports::unhealthy))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(settings_log::list))
        .routes(routes!(settings_log::of_users))
        .routes(routes!(users::list, users::invite))
        .routes(routes!(users::change, users::remove))
        .split_for_parts();
    let document = document::complete(found, &api.base_url);
    let page = docs::page(&document);
    let json = serde_json::to_string(&document).unwrap_or_default();
    let own = Router::new()
        .route("/openapi.json", get(async move || as_json(json.clone())))
        .route("/docs", get(async move || page.clone().into_response()))
        .route("/docs.css", get(docs::style));
    Router::new().nest(
        "/api/v1",
        operations
            .merge(own)
            .fallback(async || Problem::not_found())
            .method_not_allowed_fallback(not_allowed)
            .with_state(api),
    )
}

fn as_json(text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        // A page of another origin may render it: it tells nothing that is anybody's.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ];
    (headers, text).into_response()
}

/// `Allow` is told by the router itself.
async fn not_allowed(method: Method) -> Problem {
    Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed",
        format!("This path does not take {method}; see Allow."),
    )
}
