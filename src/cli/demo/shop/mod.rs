//! The demo's shop: a merchant's web site with TrustData's script on its pages and a back end that calls the webhook. It knows the service
//! as a merchant does, by HTTP alone.

mod catalog;
mod consent;
mod order;
mod pages;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use moka::sync::Cache;
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use crate::platform::outbound::{NoClient, Outbound};
use crate::platform::problem::Problem;

/// A form of the shop is some hundred bytes.
const BODY_BYTES: usize = 16 * 1024;
/// The last orders, for their pages: this is a demo, not a ledger.
const ORDERS_KEPT: u64 = 1_000;
const ORDER_AGE: Duration = Duration::from_secs(3_600);

/// Only what lies on this host, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The shop, and what its back end needs to report orders.
pub struct Shop {
    attribution_id: Uuid,
    webhook: Url,
    key: SecretString,
    outbound: Outbound,
    orders: Cache<String, Arc<order::Order>>,
}

impl Shop {
    /// A shop that reports its purchases to the service at `service`, an origin such as `http://127.0.0.1:8080`.
    pub fn new(service: &Url, attribution_id: Uuid, key: SecretString) -> Result<Self, NoClient> {
        let mut webhook = service.clone();
        webhook.set_path(&format!("/webhooks/custom/{attribution_id}/purchase"));
        Ok(Self {
            attribution_id,
            webhook,
            key,
            outbound: Outbound::new(&[])?,
            orders: Cache::builder()
                .max_capacity(ORDERS_KEPT)
                .time_to_live(ORDER_AGE)
                .build(),
        })
    }

    /// Its pages, under `/shop/`.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/shop", only_get(get(pages::to_home)))
            .route("/shop/", only_get(get(pages::home)))
            .route("/shop/products/{product}", only_get(get(pages::product)))
            .route("/shop/checkout", only_get(get(pages::checkout)))
            .route("/shop/orders", only_post(post(order::take)))
            .route("/shop/orders/{order}", only_get(get(pages::order)))
            .route("/shop/consent", only_post(post(consent::choose)))
            .route("/shop/{*file}", only_get(get(pages::file)))
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .layer(map_response(guarded))
            .with_state(Arc::new(self))
    }
}

fn only_get<S: Clone + Send + Sync + 'static>(routes: MethodRouter<S>) -> MethodRouter<S> {
    routes.fallback(async || Problem::method_not_allowed(Method::GET))
}

fn only_post<S: Clone + Send + Sync + 'static>(routes: MethodRouter<S>) -> MethodRouter<S> {
    routes.fallback(async || Problem::method_not_allowed(Method::POST))
}

async fn guarded(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
        // Pages differ by the visitor's choice, and files by the build.
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
