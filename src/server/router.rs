//! Every route, and the layers around them all.

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;

use super::health::{self, Health};
use super::observe;
use crate::platform::problem::Problem;
use crate::webhook::{self, Webhook};

/// The public listener's routes.
pub fn public(webhook: Webhook, health: Health) -> Router {
    let only_get = async || Problem::method_not_allowed(Method::GET);
    let checks = Router::new()
        .route("/healthz", get(health::live).fallback(only_get))
        .route("/readyz", get(health::ready).fallback(only_get))
        .with_state(health);
    layered(webhook::router(webhook).merge(checks))
}

/// The internal listener's routes.
pub fn internal(metrics: PrometheusHandle) -> Router {
    layered(Router::new().route("/metrics", get(async move || metrics.render())))
}

/// The layers around every route, outermost first: `observe` names the request, finishes error answers, and writes the one log line, so it
/// must see everything; within it, a panic becomes an error answer that is finished and logged like any other.
fn layered(routes: Router) -> Router {
    let panics = CatchPanicLayer::custom(|panic: Box<dyn std::any::Any + Send>| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let problem = Problem::internal().caused_by(format!("panic: {text}"));
        axum::response::IntoResponse::into_response(problem)
    });
    routes
        .fallback(async || Problem::not_found())
        .layer(panics)
        .layer(from_fn(observe::observe))
}
