//! `trustdata destination`

use std::process::ExitCode;

use secrecy::SecretString;
use sqlx::PgConnection;
use uuid::Uuid;

use super::args::DestinationCommand;
use super::output::{self, Row, time, time_or_dash};
use super::{CliError, connect_current, stream};
use crate::destinations::{Destination, Topics, store};
use crate::domain::topic::Topic;
use crate::forwarding::platforms::Name;
use crate::forwarding::{Sender, Tried, Unfit, Wanted, new_destination, try_out};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::outbound::Outbound;
use crate::platform::secrets::{Sealer, key_of_database};
use crate::settings::{self, Actor, DestinationChange};
use crate::streams;

/// Bytes of a settings file, at most.
const MOST_SETTINGS: u64 = 64 * 1024;

impl Row for Destination {
    const HEAD: &'static [&'static str] = &[
        "id",
        "attribution_id",
        "platform",
        "name",
        "topics",
        "policy",
        "base_url",
        "created_at",
        "paused_at",
        "paused_reason",
    ];

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.destination_id.to_string(),
            self.attribution_id.to_string(),
            self.platform.clone(),
            self.name.clone(),
            self.topics.as_ref().map_or_else(|| "all".to_owned(), listed),
            self.policy.to_string(),
            or_dash(&self.base_url),
            time(self.created_at),
            time_or_dash(self.paused_at),
            or_dash(&self.paused_reason),
        ]
    }
}

fn listed(topics: &Topics) -> String {
    let told = |(topic, name): (&String, &Option<String>)| match name {
        Some(name) => format!("{topic}={name}"),
        None => topic.clone(),
    };
    topics.iter().map(told).collect::<Vec<_>>().join(",")
}

/// Does one of the destination commands.
pub(super) async fn run(config: &Config, command: DestinationCommand) -> Result<ExitCode, CliError> {
    if let DestinationCommand::Test {
        destination_id,
        topic,
        code,
        output,
    } = command
    {
        return test(config, destination_id, topic, code.as_deref(), output.form()).await;
    }
    change(config, command).await?;
    Ok(ExitCode::SUCCESS)
}

impl Row for Tried {
    const HEAD: &'static [&'static str] = &[
        "platform",
        "accepted",
        "http_status",
        "code",
        "detail",
        "request_id",
    ];

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.platform.clone(),
            self.accepted.to_string(),
            self.http_status
                .map_or_else(|| "-".to_owned(), |status| status.to_string()),
            or_dash(&self.code),
            or_dash(&self.detail),
            or_dash(&self.request_id),
        ]
    }
}

async fn test(
    config: &Config,
    destination_id: Uuid,
    topic: Topic,
    code: Option<&str>,
    form: output::Form,
) -> Result<ExitCode, CliError> {
    let mut conn = connect_current(config).await?;
    let clock = Clock::system();
    let property_id = property_of(&mut conn, destination_id).await?;
    let found = store::find(&mut conn, &[(property_id, destination_id)])
        .await?
        .pop();
    let destination = found.ok_or_else(|| unknown(destination_id))?;
    let sealer = Sealer::new(
        &config.secrets,
        Some(key_of_database(&mut conn, clock.now()).await?),
    )?;
    drop(conn);
    let refusal = |error: &dyn std::fmt::Display| CliError::Refusal(error.to_string());
    let outbound =
        Outbound::new(&config.forwarding.allowed_private_networks).map_err(|error| refusal(&error))?;
    let sender = Sender::new(outbound, config.forwarding.platforms.clone());
    let tried = try_out(destination, topic, code, &sender, &sealer, clock.now()).await;
    let tried = tried.map_err(|error| refusal(&error))?;
    output::one(form, &tried)?;
    Ok(match tried.accepted {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn change(config: &Config, command: DestinationCommand) -> Result<(), CliError> {
    let mut conn = connect_current(config).await?;
    let clock = Clock::system();
    match command {
        DestinationCommand::Create {
            attribution_id,
            platform,
            name,
            settings,
            base_url,
            topics,
            policy,
            output,
        } => {
            let found = streams::store::find_stream(&mut conn, attribution_id).await?;
            let stream = stream::known(found, attribution_id)?;
            let settings = read_settings(&settings)?;
            let of_database = key_of_database(&mut conn, clock.now()).await?;
            let sealer = Sealer::new(&config.secrets, Some(of_database))?;
            let wanted = Wanted {
                platform,
                name,
                settings,
                base_url,
                topics: topics.into_iter().collect(),
                policy,
            };
            let destination = new_destination(stream.tenant(), wanted, &sealer, &clock)
                .map_err(|unfit| refusal(platform, unfit))?;
            settings::create_destination(&mut conn, &Actor::CommandLine, &destination, &clock).await?;
            output::one(output.form(), &destination)
        }
        DestinationCommand::List {
            attribution_id,
            output,
        } => {
            let mut destinations = Vec::new();
            for stream in streams::store::list_streams(&mut conn).await? {
                if attribution_id.is_none_or(|id| stream.attribution_id == id) {
                    destinations.extend(store::list(&mut conn, stream.tenant()).await?);
                }
            }
            output::list(output.form(), &destinations)
        }
        // Done already.
        DestinationCommand::Test { .. } => Ok(()),
        DestinationCommand::Pause {
            destination_id,
            output,
        } => {
            let after = changed(&mut conn, destination_id, DestinationChange::Pause, &clock).await?;
            output::one(output.form(), &after)
        }
        DestinationCommand::Resume {
            destination_id,
            output,
        } => {
            let after = changed(&mut conn, destination_id, DestinationChange::Resume, &clock).await?;
            output::one(output.form(), &after)
        }
        DestinationCommand::Remove {
            destination_id,
            output,
        } => {
            let removed = changed(&mut conn, destination_id, DestinationChange::Remove, &clock).await?;
            output::one(output.form(), &removed)
        }
    }
}

/// The destination afterwards; one that was removed, as it was.
async fn changed(
    conn: &mut PgConnection,
    destination_id: Uuid,
    change: DestinationChange,
    clock: &Clock,
) -> Result<Destination, CliError> {
    let property_id = property_of(conn, destination_id).await?;
    let actor = Actor::CommandLine;
    let changed =
        settings::change_destination(conn, &actor, property_id, destination_id, change, clock).await?;
    changed.ok_or_else(|| unknown(destination_id))
}

/// The property of a destination that is there.
pub(super) async fn property_of(conn: &mut PgConnection, destination_id: Uuid) -> Result<Uuid, CliError> {
    let found = store::property_of(conn, destination_id).await?;
    found.ok_or_else(|| unknown(destination_id))
}

fn unknown(destination_id: Uuid) -> CliError {
    CliError::Refusal(format!(
        "there is no destination {destination_id}; `trustdata destination list` shows those that there are"
    ))
}

/// The file's text, or standard input's.
fn read_settings(file: &std::path::Path) -> Result<SecretString, CliError> {
    use std::io::Read as _;
    let mut text = String::new();
    match file.to_str() {
        Some("-") => std::io::stdin().take(MOST_SETTINGS).read_to_string(&mut text)?,
        _ => std::fs::File::open(file)
            .map_err(|error| CliError::Refusal(format!("cannot read {}: {error}", file.display())))?
            .take(MOST_SETTINGS)
            .read_to_string(&mut text)?,
    };
    Ok(text.into())
}

fn refusal(platform: Name, unfit: Unfit) -> CliError {
    CliError::Refusal(match unfit {
        Unfit::Seal(error) => error.to_string(),
        Unfit::Settings(faults) => {
            let lines = faults
                .iter()
                .map(|fault| format!("  {}: {}", fault.field, fault.message));
            format!(
                "these are no settings of {platform}:\n{}",
                lines.collect::<Vec<_>>().join("\n")
            )
        }
    })
}
