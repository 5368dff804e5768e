//! Names each request, finishes its error answer, counts it, and writes its one log line. A panic is an error answer like any other.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::platform::marks::{Recorded, RefusedAs};
use crate::platform::problem::Problem;
use crate::platform::request_id::{HEADER, RequestId, sane};

pub async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = sane(request.headers()).unwrap_or_else(new_id);
    let method = request.method().clone();
    // The template, never the path: what a stranger writes there may be personal.
    let route = request.extensions().get::<MatchedPath>().cloned();
    // A request shares nothing with the next one but what is made to be shared.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = answer.await.unwrap_or_else(|panic| panicked(&*panic));

    let problem = response.extensions_mut().remove::<Problem>();
    let refused = response.extensions().get::<RefusedAs>().map(|refused| refused.0);
    let recorded = response.extensions().get::<Recorded>().copied();
    if let Some(problem) = &problem {
        let (added, _) = response.into_parts();
        response = problem.render(&id);
        for (name, value) in &added.headers {
            if !response.headers().contains_key(name) && is_of_door(name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    response.headers_mut().insert(HEADER, id.0.clone());

    let status = response.status().as_u16();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let code = problem
        .as_ref()
        .map(|problem| problem.code)
        .or(refused)
        .unwrap_or("ok");
    let elapsed = started.elapsed();
    metrics::counter!("trustdata_http_requests_total", "route" => route.to_owned(), "status" => status.to_string(), "code" => code)
        .increment(1);
    metrics::histogram!("trustdata_http_request_seconds").record(elapsed.as_secs_f64());
    let (accepted, duplicates) = recorded.map_or((0, 0), |recorded| (recorded.accepted, recorded.duplicates));
    if accepted > 0 {
        metrics::counter!("trustdata_conversions_total", "outcome" => "recorded")
            .increment((accepted - duplicates) as u64);
        metrics::counter!("trustdata_conversions_total", "outcome" => "duplicate")
            .increment(duplicates as u64);
    }
    let (method, micros) = (
        method.as_str(),
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
    );
    let cause = problem.as_ref().and_then(Problem::cause).unwrap_or_default();
    match status {
        500.. => tracing::error!(
            request_id = id.as_str(),
            method,
            route,
            status,
            code,
            micros,
            cause,
            "request"
        ),
        _ => tracing::info!(
            request_id = id.as_str(),
            method,
            route,
            status,
            code,
            micros,
            accepted,
            duplicates,
            "request"
        ),
    }
    response
}

/// Headers that a door adds to each of its answers, whatever they are.
fn is_of_door(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("ratelimit") || name.starts_with("access-control-") || name == "vary"
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Problem::internal()
        .caused_by(format_args!("panic: {}", text.unwrap_or_default()))
        .into_response()
}

fn new_id() -> RequestId {
    // The thread's generator: `Uuid::new_v4` would ask the kernel each time.
    let id = uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .to_string();
    RequestId(HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown")))
}
