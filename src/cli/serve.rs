//! `trustdata serve`

use super::{CliError, connect_current, migrate};
use crate::platform::config::Config;

/// Serves until it is told to stop.
pub(super) async fn run(config: Config) -> Result<(), CliError> {
    if config.database.migrate {
        migrate::migrate(&config).await?;
    } else {
        drop(connect_current(&config).await?);
    }
    Ok(crate::server::run(config, axum::Router::new()).await?)
}
