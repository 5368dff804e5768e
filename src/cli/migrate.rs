//! `trustdata migrate`

use super::{CliError, connect, output};
use crate::platform::config::Config;
use crate::platform::db;

/// Migrates and says what was done.
pub(super) async fn run(config: &Config) -> Result<(), CliError> {
    let applied = migrate(config).await?;
    if applied.is_empty() {
        return output::say("The database is up to date.");
    }
    let versions: Vec<String> = applied.iter().map(i64::to_string).collect();
    output::say(&format!(
        "Applied {} migration(s): {}.",
        applied.len(),
        versions.join(", ")
    ))
}

/// Brings the schema up to date; the versions that were missing. Several at once wait for each other.
pub(crate) async fn migrate(config: &Config) -> Result<Vec<i64>, CliError> {
    let mut conn = connect(config).await?;
    let missing = db::missing_migrations(&mut conn).await?;
    db::migrate(&mut conn).await?;
    Ok(missing)
}
