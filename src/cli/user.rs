//! `trustdata user`

use std::io::BufRead as _;

use super::args::UserCommand;
use super::output::{self, Row, time};
use super::{CliError, connect_current};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::password::SlowHash;
use crate::settings::{self, Actor};
use crate::users::{Role, User, password, store};

/// Users that are read at once.
const PAGE: i64 = 500;

impl Row for User {
    const HEAD: &'static [&'static str] = &["id", "email", "role", "created_at"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.user_id.to_string(),
            self.email.clone(),
            self.role.to_string(),
            time(self.created_at),
        ]
    }
}

/// Makes or lists users.
pub(super) async fn run(config: &Config, command: UserCommand) -> Result<(), CliError> {
    match command {
        UserCommand::Create {
            email,
            role,
            password_stdin,
            output,
        } => create(config, email, role, password_stdin, output.form()).await,
        UserCommand::List { output } => {
            let mut conn = connect_current(config).await?;
            let mut users: Vec<User> = Vec::new();
            loop {
                let after = users.last().map(|user| user.user_id);
                let page = store::list(&mut conn, after, PAGE).await?;
                if page.is_empty() {
                    return output::list(output.form(), &users);
                }
                users.extend(page);
            }
        }
    }
}

async fn create(
    config: &Config,
    email: String,
    role: Role,
    password_stdin: bool,
    form: output::Form,
) -> Result<(), CliError> {
    // First, so that nobody types a password in vain.
    drop(connect_current(config).await?);
    let password = if password_stdin { from_stdin()? } else { ask()? };
    password::check(&password).map_err(|unfit| CliError::Refusal(unfit.to_string()))?;
    let hash = SlowHash::new(1).hash(password).await?;
    let clock = Clock::system();
    let user = new(email, role, &clock);
    // Anew: a person types slower than some proxies wait.
    let mut conn = connect_current(config).await?;
    if !settings::create_user(&mut conn, &Actor::CommandLine, &user, Some(&hash), &clock).await? {
        return Err(CliError::Refusal(format!(
            "there is a user {} already",
            user.email
        )));
    }
    output::one(form, &user)
}

/// A user who is not stored yet.
pub(super) fn new(email: String, role: Role, clock: &Clock) -> User {
    User {
        user_id: clock.new_id(),
        email,
        role,
        invited: false,
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
