//! From configuration to a running service, and to its end.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::app::App;
use super::listen::{Limits, serve};
use super::router;
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::{outbound, secrets, telemetry};

/// Why the service does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No database, or not the one that is needed.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// No key to seal with.
    #[error(transparent)]
    Key(#[from] secrets::BadKey),
    /// The address is taken or not this machine's.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// No TLS on this machine.
    #[error(transparent)]
    Outbound(#[from] outbound::NoClient),
    /// Metrics were started twice in one process.
    #[error("cannot start the metrics: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// No signals on this machine.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    /// A task that must live has died.
    #[error("a background task ended, and the service with it: see the log")]
    TaskDied,
}

/// Serves until SIGTERM or SIGINT; the schema is up to date. `also` are further routes of the public listener.
pub async fn run(config: Config, also: Router) -> Result<(), StartError> {
    let _log = telemetry::start_log(&config.log);
    let metrics = telemetry::start_metrics()?;
    let bind = async |address: SocketAddr| {
        TcpListener::bind(address)
            .await
            .map_err(|error| StartError::Listen(address, error))
    };
    let (public, internal) = (
        bind(config.server.listen).await?,
        bind(config.server.internal_listen).await?,
    );
    let mut app = App::start_with(&config, Clock::system(), also).await?;
    let upkeep = metrics.clone();
    app.endless.spawn(async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });

    // Before anybody is told that the service runs: a stop that comes at once is a stop like any other.
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    // One word for all: listeners take no more, lanes claim no more, pages that are kept current end.
    let stop = app.stop.clone();
    let grace = config.server.shutdown_grace;
    let limits = Limits {
        connections: config.server.max_connections,
        head: config.server.read_timeout,
        // The rest is kept for what the requests leave behind: settling and writing.
        grace: grace.mul_f32(0.75),
    };
    let mut listeners = JoinSet::new();
    listeners.spawn(serve(public, app.public.clone(), limits, stop.clone()));
    listeners.spawn(serve(
        internal,
        router::internal(metrics),
        Limits {
            connections: 64,
            ..limits
        },
        stop.clone(),
    ));
    tracing::info!(listen = %config.server.listen, internal = %config.server.internal_listen, "serving");
    let died = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        _ = app.endless.join_next() => true,
        _ = app.writers.0.join_next() => true,
        _ = app.draining.join_next() => true,
    };
    tracing::info!("stopping: no new connections, requests in flight are answered");
    let over = Instant::now() + grace;
    stop.cancel();
    while listeners.join_next().await.is_some() {}
    // A connection that was cut off may still hold a queue open: what it waits for is settled or given up.
    if tokio::time::timeout_at(over, app.finish()).await.is_err() {
        tracing::warn!("background work was cut off");
    }
    tracing::info!("stopped");
    if died { Err(StartError::TaskDied) } else { Ok(()) }
}
