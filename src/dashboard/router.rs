//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use uuid::Uuid;

use super::failure::Failure;
use super::pages::{
    account, activity, attribution_ids, campaigns, conversion, conversions, destination, destinations,
    invitation, log, overview, sign_in, test_event, tracking, users, webhooks,
};
use super::{Dashboard, assets, guard};
use crate::platform::problem::Problem;

/// Only what lies on this host, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// `/dashboard` and all below it; `/` leads there.
pub fn router(dashboard: Arc<Dashboard>) -> Router {
    let of_stream = "/dashboard/properties/{property_id}/attribution-ids/{attribution_id}";
    let at = |rest: &str| format!("{of_stream}{rest}");
    Router::new()
        .route(
            "/",
            get(async || Redirect::to("/dashboard"))
                .fallback(async || Problem::method_not_allowed(Method::GET)),
        )
        .route("/dashboard", get(attribution_ids::first))
        .route("/dashboard/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/dashboard/sign-out", post(sign_in::sign_out))
        .route(
            "/dashboard/invitation/{token}",
            get(invitation::page).post(invitation::accept),
        )
        .route("/dashboard/account", get(account::page))
        .route("/dashboard/account/password", post(account::change_password))
        .route(
            "/dashboard/account/sign-out-everywhere",
            post(account::sign_out_everywhere),
        )
        .route("/dashboard/users", get(users::page).post(users::invite))
        .route("/dashboard/users/{user_id}/role", post(users::set_role))
        .route("/dashboard/users/{user_id}/invitation", post(users::invite_again))
        .route("/dashboard/users/{user_id}/remove", post(users::remove))
        .route("/dashboard/properties", post(attribution_ids::create_property))
        .route(
            "/dashboard/properties/{property_id}/attribution-ids",
            get(attribution_ids::page).post(attribution_ids::create),
        )
        .route(&at(""), get(webhooks::first))
        .route(&at("/webhooks"), get(webhooks::page))
        .route(&at("/webhooks/enabled"), post(webhooks::set_enabled))
        .route(&at("/webhooks/keys"), post(webhooks::create_key))
        .route(&at("/webhooks/keys/{key_id}/revoke"), post(webhooks::revoke_key))
        .route(
            &at("/webhooks/keys/{key_id}/rate-limit"),
            post(webhooks::set_rate_limit),
        )
        .route(&at("/webhooks/test"), post(test_event::send))
        .route(&at("/activity/live"), get(activity::live))
        .route(&at("/activity"), get(activity::older))
        .route(&at("/activity/{activity_id}"), get(activity::detail))
        .route(&at("/tracking"), get(tracking::page))
        .route(&at("/attribution"), get(attribution_ids::attribution))
        .route(&at("/attribution/lookback"), post(attribution_ids::set_lookback))
        .route(&at("/attribution/name"), post(attribution_ids::rename))
        .route(
            "/dashboard/properties/{property_id}/overview",
            get(overview::page),
        )
        .route(
            "/dashboard/properties/{property_id}/conversions",
            get(conversions::page),
        )
        .route(
            "/dashboard/properties/{property_id}/conversions/{event_id}",
            get(conversion::page),
        )
        .route(
            "/dashboard/properties/{property_id}/campaigns",
            get(campaigns::page),
        )
        .route(
            "/dashboard/properties/{property_id}/campaigns.csv",
            get(campaigns::csv),
        )
        .route(
            "/dashboard/properties/{property_id}/destinations",
            get(destinations::page).post(destinations::create),
        )
        .route(
            "/dashboard/properties/{property_id}/destinations/{destination_id}",
            get(destination::one),
        )
        .route(
            "/dashboard/properties/{property_id}/destinations/{destination_id}/change",
            post(destination::change),
        )
        .route(
            "/dashboard/properties/{property_id}/destinations/{destination_id}/settings",
            post(destination::set),
        )
        .route(
            "/dashboard/properties/{property_id}/destinations/{destination_id}/replay",
            post(destination::replay),
        )
        .route(
            "/dashboard/properties/{property_id}/destinations/{destination_id}/test",
            post(destination::test),
        )
        .route("/dashboard/properties/{property_id}/log", get(log::page))
        .route("/dashboard/log", get(log::of_installation))
        .route("/dashboard/{*rest}", get(async || Failure::NotFound))
        .method_not_allowed_fallback(async || Failure::NotFound.into_response())
        .layer(from_fn_with_state(Arc::clone(&dashboard), guarded))
        .route("/dashboard/assets/{hash}/{name}", get(assets::serve))
        .with_state(dashboard)
}

/// The property that a path is of.
fn property_of(path: &str) -> Option<Uuid> {
    let rest = path.strip_prefix("/dashboard/properties/")?;
    Uuid::try_parse(rest.split('/').next()?).ok()
}

/// Pages are for those who asked, are kept by nobody, and load nothing from elsewhere. A property that was shown is remembered.
async fn guarded(State(dashboard): State<Arc<Dashboard>>, request: Request, next: Next) -> Response {
    let shown =
        property_of(request.uri().path()).filter(|id| guard::looked_at(request.headers()) != Some(*id));
    let mut response = next.run(request).await;
    if let Some(cookie) = shown.and_then(|id| guard::looks_at(id, &dashboard))
        && response.status().is_success()
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
