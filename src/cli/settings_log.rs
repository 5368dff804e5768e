//! `trustdata settings`

use super::args::SettingsCommand;
use super::output::{self, Row, time};
use super::{CliError, connect_current};
use crate::audit::{Entry, INSTALLATION, store};
use crate::platform::config::Config;

impl Row for Entry {
    const HEAD: &'static [&'static str] = &["at", "actor", "action", "object", "object_id", "change"];

    fn cells(&self) -> Vec<String> {
        vec![
            time(self.at),
            self.actor.clone(),
            self.action.clone(),
            self.object_name.clone(),
            self.object_id.clone(),
            self.change
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
        ]
    }
}

/// Shows the settings' log.
pub(super) async fn run(config: &Config, command: SettingsCommand) -> Result<(), CliError> {
    let SettingsCommand::Log {
        property,
        limit,
        output,
    } = command;
    let mut conn = connect_current(config).await?;
    let entries = store::list(&mut conn, property.unwrap_or(INSTALLATION), None, limit).await?;
    output::list(output.form(), &entries)
}
