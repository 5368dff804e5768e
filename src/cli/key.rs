//! `trustdata key`

use chrono::TimeDelta;
use serde::Serialize;
use uuid::Uuid;

use super::args::KeyCommand;
use super::output::{self, Row, time, time_or_dash};
use super::{CliError, connect_current, stream};
use crate::keys::{Key, Token, store};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::password::SlowHash;
use crate::streams::{self, Stream};

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

/// A key that is not stored yet.
pub(super) struct Fresh {
    /// Its row.
    pub(super) key: Key,
    /// The secret.
    pub(super) token: Token,
    /// What is stored of the secret.
    pub(super) hash: String,
}

/// Does one of the key commands.
pub(super) async fn run(config: &Config, command: KeyCommand) -> Result<(), CliError> {
    let mut conn = connect_current(config).await?;
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
            let mut fresh = generate(&stream, name, rate_limit, &Clock::system()).await?;
            fresh.key.expires_at = expires_in_days.map(|days| fresh.key.created_at + TimeDelta::days(days));
            store::insert(&mut conn, &fresh.key, &fresh.hash).await?;
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
            let key = store::revoke(&mut conn, key_id, Clock::system().now()).await?;
            output::one(output.form(), &known(key, key_id)?)
        }
        KeyCommand::SetRateLimit {
            key_id,
            rate_limit,
            output,
        } => {
            let key = store::set_rate_limit(&mut conn, key_id, rate_limit).await?;
            output::one(output.form(), &known(key, key_id)?)
        }
    }
}

/// A new key of a stream, without an end.
pub(super) async fn generate(
    stream: &Stream,
    name: String,
    rate_limit: i32,
    clock: &Clock,
) -> Result<Fresh, CliError> {
    let token = Token::generate();
    let hash = SlowHash::new(1).hash(token.expose().to_owned()).await?;
    let key = Key {
        key_id: clock.new_id(),
        property_id: stream.property_id,
        attribution_id: stream.attribution_id,
        name,
        prefix: token.prefix().to_owned(),
        rate_limit,
        created_at: clock.now(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    Ok(Fresh { key, token, hash })
}

fn known(key: Option<Key>, key_id: Uuid) -> Result<Key, CliError> {
    key.ok_or_else(|| {
        CliError::Refusal(format!(
            "there is no key {key_id}; `trustdata key list` shows those that there are"
        ))
    })
}
