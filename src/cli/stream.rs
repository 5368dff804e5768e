//! `trustdata attribution-id`

use serde::Serialize;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::args::StreamCommand;
use super::output::{self, Row, time};
use super::{CliError, connect_current};
use crate::domain::tenant::Tenant;
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::settings::{self, Actor, StreamChange};
use crate::streams::{Stream, store};

/// Name of the property that is made when there is none.
const DEFAULT_PROPERTY: &str = "Default property";

impl Row for Stream {
    const HEAD: &'static [&'static str] = &[
        "attribution_id",
        "property_id",
        "name",
        "webhooks",
        "lookback_days",
        "created_at",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.attribution_id.to_string(),
            self.property_id.to_string(),
            self.name.clone(),
            if self.webhooks_enabled {
                "enabled"
            } else {
                "disabled"
            }
            .to_owned(),
            self.lookback_days.to_string(),
            time(self.created_at),
        ]
    }
}

/// What `create` prints.
#[derive(Serialize)]
struct Created {
    attribution_id: Uuid,
    property_id: Uuid,
    name: String,
}

impl Row for Created {
    const HEAD: &'static [&'static str] = &["attribution_id", "property_id", "name"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.attribution_id.to_string(),
            self.property_id.to_string(),
            self.name.clone(),
        ]
    }
}

/// Does one of the attribution-id commands.
pub(super) async fn run(config: &Config, command: StreamCommand) -> Result<(), CliError> {
    let mut conn = connect_current(config).await?;
    match command {
        StreamCommand::Create {
            name,
            property,
            output,
        } => {
            let Stream {
                attribution_id,
                property_id,
                name,
                ..
            } = create(&mut conn, name, property).await?;
            output::one(
                output.form(),
                &Created {
                    attribution_id,
                    property_id,
                    name,
                },
            )
        }
        StreamCommand::List { output } => output::list(output.form(), &store::list_streams(&mut conn).await?),
        StreamCommand::EnableWebhooks {
            attribution_id,
            output,
        } => {
            let change = StreamChange {
                webhooks_enabled: Some(true),
                ..StreamChange::default()
            };
            output::one(output.form(), &changed(&mut conn, attribution_id, change).await?)
        }
        StreamCommand::DisableWebhooks {
            attribution_id,
            output,
        } => {
            let change = StreamChange {
                webhooks_enabled: Some(false),
                ..StreamChange::default()
            };
            output::one(output.form(), &changed(&mut conn, attribution_id, change).await?)
        }
        StreamCommand::Set {
            attribution_id,
            lookback_days,
            output,
        } => {
            let change = StreamChange {
                lookback_days: Some(lookback_days),
                ..StreamChange::default()
            };
            output::one(output.form(), &changed(&mut conn, attribution_id, change).await?)
        }
    }
}

/// The stream, or an error that says where to look.
pub(super) fn known(stream: Option<Stream>, attribution_id: Uuid) -> Result<Stream, CliError> {
    stream.ok_or_else(|| {
        CliError::Refusal(format!(
            "there is no attribution ID {attribution_id}; `trustdata attribution-id list` shows those that there are"
        ))
    })
}

/// The streams that a command is about: one, or all.
pub(super) async fn tenants(
    conn: &mut PgConnection,
    attribution_id: Option<Uuid>,
) -> Result<Vec<Tenant>, CliError> {
    let streams = match attribution_id {
        Some(id) => vec![known(store::find_stream(conn, id).await?, id)?],
        None => store::list_streams(conn).await?,
    };
    Ok(streams.iter().map(Stream::tenant).collect())
}

async fn changed(
    conn: &mut PgConnection,
    attribution_id: Uuid,
    change: StreamChange,
) -> Result<Stream, CliError> {
    let clock = Clock::system();
    let stream = settings::change_stream(conn, &Actor::CommandLine, attribution_id, change, &clock).await?;
    known(stream, attribution_id)
}

async fn create(conn: &mut PgConnection, name: String, property: Option<Uuid>) -> Result<Stream, CliError> {
    let clock = Clock::system();
    let mut transaction = conn.begin().await?;
    let property_id = match property {
        Some(id) => named_property(&mut transaction, id).await?,
        None => only_property(&mut transaction, &clock).await?,
    };
    let stream = Stream::new(property_id, name, &clock);
    settings::create_stream(&mut transaction, &Actor::CommandLine, &stream, &clock).await?;
    transaction.commit().await?;
    Ok(stream)
}

async fn named_property(conn: &mut PgConnection, property_id: Uuid) -> Result<Uuid, CliError> {
    if store::property_exists(conn, property_id).await? {
        return Ok(property_id);
    }
    Err(CliError::Refusal(format!(
        "there is no property {property_id}; `trustdata property list` shows those that there are"
    )))
}

/// The one property that there is, made when there is none.
async fn only_property(conn: &mut PgConnection, clock: &Clock) -> Result<Uuid, CliError> {
    let properties = store::list_properties(conn).await?;
    match properties.as_slice() {
        [] => {
            let name = DEFAULT_PROPERTY.to_owned();
            let made = settings::create_property(conn, &Actor::CommandLine, name, clock).await?;
            Ok(made.property_id)
        }
        [only] => Ok(only.property_id),
        several => {
            let lines: Vec<String> = several
                .iter()
                .take(20)
                .map(|one| format!("  --property {}   {}", one.property_id, one.name))
                .collect();
            Err(CliError::Refusal(format!(
                "there are {} properties: name the one that the attribution ID belongs to\n{}",
                several.len(),
                lines.join("\n")
            )))
        }
    }
}
