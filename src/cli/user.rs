//! `trustdata user`

use std::io::BufRead as _;

use super::args::UserCommand;
use super::output::{self, Row, time};
use super::{CliError, connect_current};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::password::SlowHash;
use crate::users::{User, store};

/// Characters of a password, at least.
const LEAST_PASSWORD: usize = 12;
/// Bytes of a password, at most.
const MOST_PASSWORD: usize = 1024;

impl Row for User {
    const HEAD: &'static [&'static str] = &["id", "email", "created_at"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.user_id.to_string(),
            self.email.clone(),
            time(self.created_at),
        ]
    }
}

/// Makes a user.
pub(super) async fn run(config: &Config, command: UserCommand) -> Result<(), CliError> {
    let UserCommand::Create {
        email,
        password_stdin,
        output,
    } = command;
    // First, so that nobody types a password in vain.
    drop(connect_current(config).await?);
    let password = if password_stdin { from_stdin()? } else { ask()? };
    let hash = SlowHash::new(1).hash(fit(password)?).await?;
    let user = new(email, &Clock::system());
    // Anew: a person types slower than some proxies wait.
    let mut conn = connect_current(config).await?;
    if !store::insert(&mut conn, &user, &hash).await? {
        return Err(CliError::Refusal(format!(
            "there is a user {} already",
            user.email
        )));
    }
    output::one(output.form(), &user)
}

/// A user who is not stored yet.
pub(super) fn new(email: String, clock: &Clock) -> User {
    User {
        user_id: clock.new_id(),
        email,
        created_at: clock.now(),
    }
}

fn from_stdin() -> Result<String, CliError> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask() -> Result<String, CliError> {
    let no_terminal = |error| {
        CliError::Refusal(format!(
            "cannot ask for the password ({error}): use --password-stdin"
        ))
    };
    let first = rpassword::prompt_password("Password: ").map_err(no_terminal)?;
    let again = rpassword::prompt_password("Password again: ").map_err(no_terminal)?;
    if first == again {
        Ok(first)
    } else {
        Err(CliError::Refusal("the two passwords differ".to_owned()))
    }
}

fn fit(password: String) -> Result<String, CliError> {
    if password.chars().count() < LEAST_PASSWORD {
        return Err(CliError::Refusal(format!(
            "the password must have at least {LEAST_PASSWORD} characters"
        )));
    }
    if password.len() > MOST_PASSWORD {
        return Err(CliError::Refusal(format!(
            "the password must have at most {MOST_PASSWORD} bytes"
        )));
    }
    Ok(password)
}
