//! `trustdata stub-platforms`

use std::net::SocketAddr;
use std::path::Path;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CliError, output};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::telemetry;
use crate::server::{Limits, listen};
use crate::stubs::{self, Options, WebhookKey};

/// Serves the stubs until it is told to stop. Needs no database.
pub(super) async fn run(
    config: &Config,
    address: SocketAddr,
    record: Option<&Path>,
    webhook_key: WebhookKey,
) -> Result<(), CliError> {
    let _log = telemetry::start_log(&config.log);
    let failed = |error: std::io::Error| CliError::Refusal(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let options = Options {
        clock: Clock::system(),
        record,
        webhook_key,
    };
    let routes = stubs::router(options)
        .await
        .map_err(|error| CliError::Refusal(format!("cannot write the record: {error}")))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let limits = Limits {
        connections: config.server.max_connections,
        head: config.server.read_timeout,
        grace: config.server.shutdown_grace,
    };
    let serving = listen(listener, routes, limits, stop.clone());
    tokio::pin!(serving);
    output::say(&welcome(address))?;
    tokio::select! {
        () = &mut serving => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    serving.await;
    Ok(())
}

fn welcome(address: SocketAddr) -> String {
    let bases: Vec<String> = stubs::names()
        .map(|name| format!("  http://{address}/{name}"))
        .collect();
    format!(
        "Stubs of the ad platforms; base URLs of destinations:\n{}\n\nTell one to fail:\n  \
         curl -sS http://{address}/_control -d '{{\"platform\":\"meta\",\"mode\":\"rate_limited\",\"times\":3}}'\n\
         See the last requests:\n  curl -sS http://{address}/_requests",
        bases.join("\n")
    )
}
