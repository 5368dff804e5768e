//! `trustdata property`

use super::args::{PropertyCommand, UnknownConsent};
use super::output::{self, Row, time};
use super::{CliError, connect_current};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::settings::{self, Actor, PropertyChange};
use crate::streams::{Property, store};

impl Row for Property {
    const HEAD: &'static [&'static str] = &["property_id", "name", "unknown_consent", "keeps", "created_at"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.property_id.to_string(),
            self.name.clone(),
            if self.unknown_consent_granted {
                "granted"
            } else {
                "denied"
            }
            .to_owned(),
            format!(
                "activity {} d, personal {} d, sessions {} d",
                self.keep_activity_days, self.keep_personal_days, self.keep_sessions_days
            ),
            time(self.created_at),
        ]
    }
}

/// Does one of the property commands.
pub(super) async fn run(config: &Config, command: PropertyCommand) -> Result<(), CliError> {
    let mut conn = connect_current(config).await?;
    match command {
        PropertyCommand::Create { name, output } => {
            let actor = Actor::CommandLine;
            let property = settings::create_property(&mut conn, &actor, name, &Clock::system()).await?;
            output::one(output.form(), &property)
        }
        PropertyCommand::List { output } => {
            output::list(output.form(), &store::list_properties(&mut conn).await?)
        }
        PropertyCommand::Set {
            property_id,
            name,
            unknown_consent,
            keep_activity_days,
            keep_personal_days,
            keep_sessions_days,
            output,
        } => {
            let change = PropertyChange {
                name,
                unknown_consent_granted: unknown_consent.map(|sent| sent == UnknownConsent::Granted),
                keep_activity_days,
                keep_personal_days,
                keep_sessions_days,
            };
            let clock = Clock::system();
            let changed =
                settings::change_property(&mut conn, &Actor::CommandLine, property_id, change, &clock)
                    .await?;
            let changed = changed.ok_or_else(|| {
                CliError::Refusal(format!(
                    "there is no property {property_id}; `trustdata property list` shows those that there are"
                ))
            });
            output::one(output.form(), &changed?)
        }
    }
}
