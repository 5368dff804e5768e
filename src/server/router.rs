//! Every route, and the layers around them all.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use super::health::{self, Health};
use super::observe;
use crate::api::{self, Api};
use crate::collect::{self, Collector};
use crate::dashboard::{self, Dashboard};
use crate::platform::problem::Problem;
use crate::webhook::{self, Webhook};

/// The public listener's routes; `also` are those that a command adds.
pub fn public(
    webhook: Arc<Webhook>,
    collector: Arc<Collector>,
    dashboard: Arc<Dashboard>,
    api: Arc<Api>,
    health: Health,
    also: Router,
) -> Router {
    let only_get = async || Problem::method_not_allowed(Method::GET);
    let checks = Router::new()
        .route("/healthz", get(health::live).fallback(only_get))
        .route("/readyz", get(health::ready).fallback(only_get))
        .with_state(health);
    layered(
        webhook::router(webhook)
            .merge(collect::router(collector))
            .merge(dashboard::router(dashboard))
            .merge(api::router(api))
            .merge(checks)
            .merge(also),
    )
}

/// The internal listener's routes.
pub fn internal(metrics: PrometheusHandle) -> Router {
    layered(Router::new().route("/metrics", get(async move || metrics.render())))
}

/// One layer around every route: each more would box and copy every request once more.
fn layered(routes: Router) -> Router {
    routes
        .fallback(async || Problem::not_found())
        .layer(from_fn(observe::observe))
}
