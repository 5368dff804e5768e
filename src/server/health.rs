//! `/healthz`: the process lives. `/readyz`: it can keep its promises, or what is missing.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use sqlx::PgPool;

use crate::conversions::Recorder;
use crate::platform::db;
use crate::sessions::tracking::Tracker;

const ANSWER_WITHIN: Duration = Duration::from_millis(800);

/// What readiness depends on.
#[derive(Clone)]
pub struct Health {
    /// Look-ups.
    pub pool: PgPool,
    /// Commits of conversions.
    pub recorder: Recorder,
    /// Commits of sessions.
    pub tracker: Tracker,
}

/// The process lives.
pub async fn live() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

/// Whether the service can keep its promises.
pub async fn ready(State(health): State<Health>) -> Response {
    let look = async { db::missing_migrations(&mut *health.pool.acquire().await?).await };
    let (database, migrations) = match tokio::time::timeout(ANSWER_WITHIN, look).await {
        Ok(Ok(missing)) if missing.is_empty() => ("ok".to_owned(), "ok".to_owned()),
        Ok(Ok(missing)) => (
            "ok".to_owned(),
            format!("{} missing: run `trustdata migrate`", missing.len()),
        ),
        Ok(Err(_)) | Err(_) => ("cannot be reached".to_owned(), "unknown".to_owned()),
    };
    let recorder = health
        .recorder
        .trouble()
        .or(health.tracker.trouble())
        .unwrap_or("ok");
    let ready = database == "ok" && migrations == "ok" && recorder == "ok";
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "status": if ready { "ok" } else { "unavailable" },
        "checks": { "database": database, "migrations": migrations, "recorder": recorder },
    });
    (status, Json(body)).into_response()
}
