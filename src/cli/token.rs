//! `trustdata api-token`

use chrono::TimeDelta;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::args::TokenCommand;
use super::output::{self, Row, time, time_or_dash};
use super::{CliError, connect_current};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::settings::{self, Actor, NewToken, TokenNotMade};
use crate::streams;
use crate::tokens::{ApiToken, store};

/// Tokens that are listed, at most.
const MOST: i64 = 1000;

impl Row for ApiToken {
    const HEAD: &'static [&'static str] = &[
        "id",
        "name",
        "prefix",
        "scope",
        "created_at",
        "created_by",
        "expires_at",
        "last_used_at",
        "revoked_at",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.token_id.to_string(),
            self.name.clone(),
            self.prefix.clone(),
            self.scope.to_string(),
            time(self.created_at),
            self.created_by.clone(),
            time_or_dash(self.expires_at),
            time_or_dash(self.last_used_at),
            time_or_dash(self.revoked_at),
        ]
    }
}

/// What `create` answers: the one place that shows the token.
#[derive(Serialize)]
struct Created {
    id: Uuid,
    prefix: String,
    token: String,
}

impl Row for Created {
    const HEAD: &'static [&'static str] = &["id", "prefix", "token"];

    fn cells(&self) -> Vec<String> {
        vec![self.id.to_string(), self.prefix.clone(), self.token.clone()]
    }
}

/// Makes, lists or revokes tokens.
pub(super) async fn run(config: &Config, command: TokenCommand) -> Result<(), CliError> {
    let mut conn = connect_current(config).await?;
    let (actor, clock) = (Actor::CommandLine, Clock::system());
    match command {
        TokenCommand::Create {
            property,
            name,
            scope,
            expires_in_days,
            output,
        } => {
            let property_id = property_or_only(&mut conn, property).await?;
            let expires_at = expires_in_days.map(|days| clock.now() + TimeDelta::days(days));
            let new = NewToken {
                token_id: clock.new_id(),
                property_id,
                name,
                scope,
                expires_at,
                user_id: None,
            };
            let made = settings::create_token(&mut conn, &actor, new, &clock).await;
            let (token, secret) = made.map_err(|not| match not {
                TokenNotMade::Database(error) => error.into(),
                TokenNotMade::Before | TokenNotMade::NoRight => {
                    CliError::Refusal("the token was not made: try again".to_owned())
                }
            })?;
            let created = Created {
                id: token.token_id,
                prefix: token.prefix,
                token: secret.expose().to_owned(),
            };
            output::one(output.form(), &created)?;
            if output.form() == output::Form::Text {
                output::remark("\nKeep the token now: it will not be shown again.");
            }
            Ok(())
        }
        TokenCommand::List { property, output } => {
            let property_id = property_or_only(&mut conn, property).await?;
            output::list(
                output.form(),
                &store::list(&mut conn, property_id, None, MOST).await?,
            )
        }
        TokenCommand::Revoke { token_id, output } => {
            let unknown = || {
                CliError::Refusal(format!(
                    "there is no token {token_id}; `trustdata api-token list` shows those that there are"
                ))
            };
            let property_id = store::property_of(&mut conn, token_id)
                .await?
                .ok_or_else(unknown)?;
            let revoked = settings::revoke_token(&mut conn, &actor, property_id, token_id, &clock).await?;
            output::one(output.form(), &revoked.ok_or_else(unknown)?)
        }
    }
}

/// The property that is named, or the only one.
async fn property_or_only(conn: &mut PgConnection, named: Option<Uuid>) -> Result<Uuid, CliError> {
    let properties = streams::store::list_properties(conn).await?;
    let refused = |text: String| Err(CliError::Refusal(text));
    match (named, properties.as_slice()) {
        (Some(id), all) if all.iter().any(|one| one.property_id == id) => Ok(id),
        (Some(id), _) => refused(format!(
            "there is no property {id}; `trustdata property list` shows those that there are"
        )),
        (None, [only]) => Ok(only.property_id),
        (None, []) => {
            refused("there is no property yet: `trustdata property create --name N` makes one".to_owned())
        }
        (None, several) => refused(format!(
            "there are {} properties: name one by --property; `trustdata property list` shows them",
            several.len()
        )),
    }
}
