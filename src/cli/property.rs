//! `trustdata property`

use super::args::PropertyCommand;
use super::output::{self, Row, time};
use super::{CliError, connect_current};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::streams::{Property, store};

impl Row for Property {
    const HEAD: &'static [&'static str] = &["property_id", "name", "created_at"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.property_id.to_string(),
            self.name.clone(),
            time(self.created_at),
        ]
    }
}

/// Does one of the property commands.
pub(super) async fn run(config: &Config, command: PropertyCommand) -> Result<(), CliError> {
    let mut conn = connect_current(config).await?;
    match command {
        PropertyCommand::Create { name, output } => {
            let property = new(name, &Clock::system());
            store::insert_property(&mut conn, &property).await?;
            output::one(output.form(), &property)
        }
        PropertyCommand::List { output } => {
            output::list(output.form(), &store::list_properties(&mut conn).await?)
        }
    }
}

/// A property that is not stored yet.
pub(super) fn new(name: String, clock: &Clock) -> Property {
    Property {
        property_id: clock.new_id(),
        name,
        created_at: clock.now(),
    }
}
