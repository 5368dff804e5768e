//! `trustdata doctor`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde::Serialize;
use sqlx::PgConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::output::{self, Form, Row};
use super::{CliError, connect, place};
use crate::platform::clock::Clock;
use crate::platform::config::{Config, Invalid};
use crate::platform::db;

/// Milliseconds between here and the database that deserve a warning.
const CLOCK_WARNS: i64 = 2_000;
/// Milliseconds that spoil matches and expiries.
const CLOCK_FAILS: i64 = 60_000;
/// How long the service may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of its answer that are looked at.
const MOST_ANSWER: u64 = 4096;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum State {
    #[serde(rename = "ok")]
    Good,
    #[serde(rename = "warn")]
    Warn,
    #[serde(rename = "fail")]
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    detail: String,
}

impl Row for Check {
    const HEAD: &'static [&'static str] = &["state", "check", "detail"];

    fn cells(&self) -> Vec<String> {
        vec![self.word().to_owned(), self.check.to_owned(), self.detail.clone()]
    }
}

impl Check {
    fn new(check: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self {
            check,
            state,
            detail: detail.into(),
        }
    }

    fn word(&self) -> &'static str {
        match self.state {
            State::Good => "ok",
            State::Warn => "warn",
            State::Fail => "FAIL",
        }
    }
}

/// Checks everything that can be checked from here.
pub(super) async fn run(config: Result<Config, Invalid>, form: Form) -> Result<ExitCode, CliError> {
    let checks = match config {
        Ok(config) => all(&config).await,
        Err(invalid) => vec![Check::new("configuration", State::Fail, invalid.to_string())],
    };
    match form {
        Form::Json => output::list(Form::Json, &checks)?,
        Form::Text => {
            for check in &checks {
                output::say(&format!("{:<4} {}: {}", check.word(), check.check, check.detail))?;
            }
        }
    }
    let failed = checks.iter().any(|check| check.state == State::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn all(config: &Config) -> Vec<Check> {
    let mut checks = vec![configuration(config)];
    checks.extend(database(config).await);
    checks.push(seal_key(config));
    checks.push(workers(config.server.listen).await);
    checks
}

fn configuration(config: &Config) -> Check {
    let server = &config.server;
    let detail = format!(
        "webhooks on {}, metrics on {}, reached as {}",
        server.listen,
        server.internal_listen,
        server.base_url()
    );
    Check::new("configuration", State::Good, detail)
}

/// The database, and what only it can tell.
async fn database(config: &Config) -> Vec<Check> {
    let mut conn = match connect(config).await {
        Ok(conn) => conn,
        Err(error) => return vec![Check::new("database", State::Fail, error.to_string())],
    };
    let mut checks = version_and_clock(&mut conn, config).await;
    checks.push(migrations(&mut conn, config).await);
    checks
}

async fn version_and_clock(conn: &mut PgConnection, config: &Config) -> Vec<Check> {
    let clock = Clock::system();
    let asked = clock.now();
    let (version, theirs) = match db::server_state(conn).await {
        Ok(state) => state,
        Err(error) => {
            return vec![Check::new(
                "database",
                State::Fail,
                CliError::from(error).to_string(),
            )];
        }
    };
    // Half the round trip: when the database read its clock.
    let ours = asked + (clock.now() - asked) / 2;
    let off = (theirs - ours).num_milliseconds();
    vec![
        Check::new(
            "database",
            State::Good,
            format!("Postgres {version} at {}", place(config)),
        ),
        clock_check(off),
    ]
}

fn clock_check(off: i64) -> Check {
    let apart = format!(
        "the database is {} ms {}",
        off.abs(),
        if off < 0 { "behind" } else { "ahead" }
    );
    let mend = "let NTP set the time of both machines";
    match off.abs() {
        CLOCK_FAILS.. => Check::new("clock", State::Fail, format!("{apart}: {mend}")),
        CLOCK_WARNS.. => Check::new("clock", State::Warn, format!("{apart}: {mend}")),
        _ => Check::new("clock", State::Good, apart),
    }
}

async fn migrations(conn: &mut PgConnection, config: &Config) -> Check {
    match db::missing_migrations(conn).await {
        Err(error) => Check::new("migrations", State::Fail, CliError::from(error).to_string()),
        Ok(missing) if missing.is_empty() => Check::new("migrations", State::Good, "all applied"),
        Ok(missing) if config.database.migrate => {
            let detail = format!(
                "{} missing: run `trustdata migrate`, or start `trustdata serve`, which does",
                missing.len()
            );
            Check::new("migrations", State::Warn, detail)
        }
        Ok(missing) => Check::new(
            "migrations",
            State::Fail,
            format!("{} missing: run `trustdata migrate`", missing.len()),
        ),
    }
}

fn seal_key(config: &Config) -> Check {
    if config.secrets.seal_key.expose_secret().is_empty() {
        let detail = "none configured: the database's own guards a stolen column, not a stolen database; \
                      set TRUSTDATA__SECRETS__SEAL_KEY to the output of `openssl rand -base64 32`";
        return Check::new("seal key", State::Warn, detail);
    }
    Check::new("seal key", State::Good, "configured")
}

/// Whether a service listens there, and is ready.
async fn workers(listen: SocketAddr) -> Check {
    let address = reachable(listen);
    let answer = match tokio::time::timeout(ANSWER_WITHIN, get_readyz(address)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            let detail = format!("not running: nothing listens on {address}; start `trustdata serve`");
            return Check::new("workers", State::Warn, detail);
        }
        Ok(Err(error)) => {
            return Check::new(
                "workers",
                State::Fail,
                format!("no answer from http://{address}/readyz: {error}"),
            );
        }
        Err(_) => {
            return Check::new(
                "workers",
                State::Fail,
                format!("no answer from http://{address}/readyz within 1 s"),
            );
        }
    };
    let status = answer.split_whitespace().nth(1).unwrap_or("no status");
    let body = answer
        .split_once("\r\n\r\n")
        .map_or("", |(_, body)| body)
        .replace(char::is_control, " ");
    match status {
        "200" => Check::new(
            "workers",
            State::Good,
            format!("http://{address}/readyz says ready"),
        ),
        other => Check::new(
            "workers",
            State::Fail,
            format!("http://{address}/readyz answers {other}: {}", body.trim()),
        ),
    }
}

/// Where a listener on every address is reached from its own machine.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    listen
}

async fn get_readyz(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
