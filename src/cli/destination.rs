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
use crate::forwarding::{
    Changes, Sender, Tried, Unfit, Wanted, changed_destination, new_destination, try_out,
};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::outbound::{Outbound, Reach};
use crate::platform::secrets::{Sealer, key_of_database};
use crate::settings::{self, Actor, DestinationChange};
use crate::streams;

/// Whoever has this machine may send to any address.
const REACH: Reach = Reach::Anywhere;
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
        "removed_at",
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
            time_or_dash(self.removed_at),
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
    let destination = found(&mut conn, destination_id).await?;
    let sealer = sealer(config, &mut conn, &clock).await?;
    drop(conn);
    let sender = sender(config)?;
    let refusal = |error: &dyn std::fmt::Display| CliError::Refusal(error.to_string());
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
            let sealer = sealer(config, &mut conn, &clock).await?;
            let wanted = Wanted {
                platform,
                name,
                settings,
                base_url,
                topics: topics.into_iter().collect(),
                policy,
            };
            let sender = sender(config)?;
            let made = new_destination(stream.tenant(), wanted, REACH, &sender, &sealer, &clock);
            let destination = made.map_err(refusal)?;
            settings::create_destination(&mut conn, &Actor::CommandLine, &destination, &clock).await?;
            output::one(output.form(), &destination)
        }
        DestinationCommand::Set {
            destination_id,
            name,
            settings,
            base_url,
            own_address,
            topics,
            all_topics,
            policy,
            output,
        } => {
            let before = found(&mut conn, destination_id).await?;
            let changes = Changes {
                name,
                settings: settings.as_deref().map(read_settings).transpose()?,
                base_url: (own_address || base_url.is_some()).then_some(base_url),
                topics: (all_topics || !topics.is_empty()).then(|| topics.into_iter().collect()),
                policy,
            };
            let (sender, sealer) = (sender(config)?, sealer(config, &mut conn, &clock).await?);
            let edit = changed_destination(&before, changes, REACH, &sender, &sealer).map_err(refusal)?;
            let (actor, property_id) = (Actor::CommandLine, before.property_id);
            let edited =
                settings::edit_destination(&mut conn, &actor, property_id, destination_id, edit, &clock);
            let after = edited.await?.ok_or_else(|| unknown(destination_id))?;
            output::one(output.form(), &after)
        }
        DestinationCommand::List {
            attribution_id,
            removed,
            output,
        } => {
            let mut destinations = Vec::new();
            for tenant in stream::tenants(&mut conn, attribution_id).await? {
                let attribution_id = Some(tenant.attribution_id);
                destinations
                    .extend(store::all(&mut conn, tenant.property_id, attribution_id, removed).await?);
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

/// The property of a destination, one that was taken away too.
async fn property_of(conn: &mut PgConnection, destination_id: Uuid) -> Result<Uuid, CliError> {
    let found = store::property_of(conn, destination_id).await?;
    found.ok_or_else(|| unknown(destination_id))
}

/// A destination, one that was taken away too.
pub(super) async fn ever_there(
    conn: &mut PgConnection,
    destination_id: Uuid,
) -> Result<Destination, CliError> {
    let property_id = property_of(conn, destination_id).await?;
    let mut found = store::find(conn, &[(property_id, destination_id)]).await?;
    found.pop().ok_or_else(|| unknown(destination_id))
}

/// A destination that is there.
pub(super) async fn found(conn: &mut PgConnection, destination_id: Uuid) -> Result<Destination, CliError> {
    let destination = ever_there(conn, destination_id).await?;
    match destination.removed_at {
        None => Ok(destination),
        Some(_) => Err(unknown(destination_id)),
    }
}

async fn sealer(config: &Config, conn: &mut PgConnection, clock: &Clock) -> Result<Sealer, CliError> {
    let of_database = key_of_database(conn, clock.now()).await?;
    Ok(Sealer::new(&config.secrets, Some(of_database))?)
}

fn sender(config: &Config) -> Result<Sender, CliError> {
    let outbound = Outbound::new(&config.forwarding.allowed_private_networks)
        .map_err(|error| CliError::Refusal(error.to_string()))?;
    Ok(Sender::new(outbound, config.forwarding.platforms.clone()))
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

fn refusal(unfit: Unfit) -> CliError {
    CliError::Refusal(match unfit {
        Unfit::Seal(error) => error.to_string(),
        Unfit::Faults(faults) => {
            let lines = faults
                .iter()
                .map(|fault| format!("  {}: {}", fault.field, fault.message));
            format!(
                "this is no destination:\n{}",
                lines.collect::<Vec<_>>().join("\n")
            )
        }
    })
}
