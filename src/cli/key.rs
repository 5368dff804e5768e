//! `trustdata key`

use chrono::TimeDelta;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::args::KeyCommand;
use super::output::{self, Row, time, time_or_dash};
use super::{CliError, connect_current, stream};
use crate::keys::{Key, store};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::password::SlowHash;
use crate::settings::{self, Actor};
use crate::streams;

impl Row for Key {
    const HEAD: &'static [&'static str] = &[
        "id",
        "attribution_id",
        "name",
        "prefix",
        "rate_limit",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.key_id.to_string(),
            self.attribution_id.to_string(),
            self.name.clone(),
            self.prefix.clone(),
            self.rate_limit.to_string(),
            time(self.created_at),
            time_or_dash(self.expires_at),
            time_or_dash(self.revoked_at),
            time_or_dash(self.last_used_at),
        ]
    }
}

/// What `create` prints: the only time that the key is seen.
#[derive(Serialize)]
struct Created {
    id: Uuid,
    prefix: String,
    key: String,
}

impl Row for Created {
    const HEAD: &'static [&'static str] = &["id", "prefix", "key"];

    fn cells(&self) -> Vec<String> {
        vec![self.id.to_string(), self.prefix.clone(), self.key.clone()]
    }
}

/// Does one of the key commands.
pub(super) async fn run(config: &Config, command: KeyCommand) -> Result<(), CliError> {
    let mut conn = connect_current(config).await?;
    let clock = Clock::system();
    match command {
        KeyCommand::Create {
            attribution_id,
            name,
            rate_limit,
            expires_in_days,
            output,
        } => {
            let found = streams::store::find_stream(&mut conn, attribution_id).await?;
            let stream = stream::known(found, attribution_id)?;
            let expires_at = expires_in_days.map(|days| clock.now() + TimeDelta::days(days));
            let fresh =
                settings::new_key(&stream, name, rate_limit, expires_at, &SlowHash::new(1), &clock).await?;
            settings::create_key(&mut conn, &Actor::CommandLine, &fresh, &clock).await?;
            let created = Created {
                id: fresh.key.key_id,
                prefix: fresh.key.prefix,
                key: fresh.token.expose().to_owned(),
            };
            output::one(output.form(), &created)?;
            if output.form() == output::Form::Text {
                output::remark("\nKeep the key now: it will not be shown again.");
            }
            Ok(())
        }
        KeyCommand::List {
            attribution_id,
            output,
        } => output::list(output.form(), &store::list(&mut conn, attribution_id).await?),
        KeyCommand::Revoke { key_id, output } => {
            let property_id = property_of(&mut conn, key_id).await?;
            let key =
                settings::revoke_key(&mut conn, &Actor::CommandLine, property_id, key_id, &clock).await?;
            output::one(output.form(), &known(key, key_id)?)
        }
        KeyCommand::SetRateLimit {
            key_id,
            rate_limit,
            output,
        } => {
            let property_id = property_of(&mut conn, key_id).await?;
            let actor = Actor::CommandLine;
            let key =
                settings::set_rate_limit(&mut conn, &actor, property_id, key_id, rate_limit, &clock).await?;
            output::one(output.form(), &known(key, key_id)?)
        }
    }
}

async fn property_of(conn: &mut PgConnection, key_id: Uuid) -> Result<Uuid, CliError> {
    let found = store::property_of(conn, key_id).await?;
    found.ok_or_else(|| unknown(key_id))
}

fn known(key: Option<Key>, key_id: Uuid) -> Result<Key, CliError> {
    key.ok_or_else(|| unknown(key_id))
}

fn unknown(key_id: Uuid) -> CliError {
    CliError::Refusal(format!(
        "there is no key {key_id}; `trustdata key list` shows those that there are"
    ))
}
