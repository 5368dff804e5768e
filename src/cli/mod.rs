//! The command line: parse, do, say.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command answers on its terminal"
)]

mod args;
mod delivery;
pub mod demo;
mod destination;
mod doctor;
mod key;
mod migrate;
mod output;
mod property;
mod serve;
mod session;
mod settings_log;
mod stream;
mod stub_platforms;
mod token;
mod user;

use std::process::ExitCode;

use clap::Parser as _;
use sqlx::PgConnection;

use crate::platform::config::{self, Config};
use crate::platform::password::HashError;
use crate::platform::{db, secrets};
use args::{Args, Command};

/// Why a command failed. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Config(#[from] config::Invalid),
    #[error(
        "cannot reach the database at {place}: {cause}\n\
         Is it running? Set DATABASE_URL=postgres://user:password@host:5432/database; `trustdata doctor` checks the rest."
    )]
    Unreachable { place: String, cause: String },
    #[error("the database answered: {0}")]
    Refused(String),
    #[error("the connection to the database failed: {0}")]
    Connection(String),
    #[error("the database is not up to date ({0} migration(s) missing): run `trustdata migrate`")]
    Outdated(usize),
    #[error("cannot bring the database up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Seal(#[from] secrets::BadKey),
    #[error(transparent)]
    Start(#[from] crate::server::StartError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// What was asked for cannot be done; the text says what to do instead.
    #[error("{0}")]
    Refusal(String),
}

impl From<sqlx::Error> for CliError {
    fn from(error: sqlx::Error) -> Self {
        match cause(&error) {
            (true, message) => Self::Refused(message),
            (false, message) => Self::Connection(message),
        }
    }
}

/// Whether the database itself said it, and what. Only its message: the detail may quote a row.
fn cause(error: &sqlx::Error) -> (bool, String) {
    match error {
        sqlx::Error::Database(database) => (true, database.message().to_owned()),
        sqlx::Error::PoolTimedOut => (
            false,
            format!("no answer within {} ms", db::CONNECT_TIMEOUT.as_millis()),
        ),
        other => (false, other.to_string()),
    }
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::from)
        .and_then(|runtime| runtime.block_on(run(args)));
    match outcome {
        Ok(code) => code,
        // `trustdata key list | head -1` is no failure.
        Err(CliError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode, CliError> {
    let config = config::load(args.config.as_deref());
    // The doctor has something to say about a bad configuration, too.
    if let Command::Doctor(output) = &args.command {
        return doctor::run(config, output.form()).await;
    }
    let config = config?;
    match args.command {
        Command::Serve(listeners) => serve::run(listeners.apply(config)).await?,
        Command::Demo(listeners) => demo::run(listeners.apply(config)).await?,
        Command::Migrate => migrate::run(&config).await?,
        Command::Property(command) => property::run(&config, command).await?,
        Command::AttributionId(command) => stream::run(&config, command).await?,
        Command::Key(command) => key::run(&config, command).await?,
        Command::Destination(command) => return destination::run(&config, command).await,
        Command::Delivery(command) => return delivery::run(&config, command).await,
        Command::Session(command) => return session::run(&config, command).await,
        Command::User(command) => user::run(&config, command).await?,
        Command::ApiToken(command) => token::run(&config, command).await?,
        Command::Settings(command) => settings_log::run(&config, command).await?,
        Command::StubPlatforms(args) => {
            let record = args.record.as_deref();
            stub_platforms::run(&config, args.listen, record, args.webhook_secret).await?;
        }
        Command::Doctor(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// A connection to a database of any age.
async fn connect(config: &Config) -> Result<PgConnection, CliError> {
    let unreachable = |error: sqlx::Error| CliError::Unreachable {
        place: place(config),
        cause: cause(&error).1,
    };
    let options = db::options(&config.database).map_err(unreachable)?;
    db::connect(&options).await.map_err(unreachable)
}

/// A connection to a database that has the schema this program knows.
async fn connect_current(config: &Config) -> Result<PgConnection, CliError> {
    let mut conn = connect(config).await?;
    match db::missing_migrations(&mut conn).await?.len() {
        0 => Ok(conn),
        missing => Err(CliError::Outdated(missing)),
    }
}

/// Where the database is, without the password.
fn place(config: &Config) -> String {
    match db::options(&config.database) {
        Ok(options) => format!(
            "{}:{} (user {}, database {})",
            options.get_host(),
            options.get_port(),
            options.get_username(),
            options.get_database().unwrap_or("of the same name"),
        ),
        Err(_) => "an address that cannot be read".to_owned(),
    }
}
