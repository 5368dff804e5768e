//! `trustdata session import`

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::args::SessionCommand;
use super::output::{self, Form, Row};
use super::{CliError, connect_current};
use crate::domain::faults::Fault;
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::db;
use crate::platform::secrets::{self, Sealer};
use crate::sessions::store::AlreadyThere;
use crate::sessions::{Session, awaited, import, store};
use crate::{retention, streams};

/// Bytes of a line, at most.
const MOST_LINE: usize = 64 * 1024;
/// Sessions in one statement.
const BATCH: usize = 1000;
/// Bad lines that are named; all are counted.
const MOST_NAMED: u64 = 50;
/// Attribution IDs that are remembered.
const MOST_REMEMBERED: usize = 10_000;
/// Attempts at a statement that met another import.
const ATTEMPTS: u32 = 5;

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Summary {
    imported: u64,
    already_there: u64,
    bad: u64,
    errors: Vec<BadLine>,
}

/// One fault of a line.
#[derive(Debug, Serialize)]
struct BadLine {
    line: u64,
    field: String,
    code: &'static str,
    message: String,
}

impl Row for Summary {
    const HEAD: &'static [&'static str] = &["imported", "already there", "bad"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.imported.to_string(),
            self.already_there.to_string(),
            self.bad.to_string(),
        ]
    }
}

/// Imports a file.
pub(super) async fn run(config: &Config, command: SessionCommand) -> Result<ExitCode, CliError> {
    let SessionCommand::Import { file, output } = command;
    let (mut input, size) = open(&file)?;
    let mut conn = connect_current(config).await?;
    let of_database = secrets::key_of_database(&mut conn, Clock::system().now()).await?;
    let mut import = Import {
        conn,
        sealer: Sealer::new(&config.secrets, Some(of_database))?,
        properties: HashMap::new(),
        waiting: Vec::with_capacity(BATCH),
        line: 0,
        stored_to: 0,
        summary: Summary::default(),
        bar: progress(size),
    };
    let done = import.all(input.as_mut()).await;
    import.bar.finish_and_clear();
    done?;
    let summary = import.summary;
    match output.form() {
        Form::Json => output::one(Form::Json, &summary)?,
        Form::Text => output::say(&format!(
            "imported {}, already there {}, bad {}",
            summary.imported, summary.already_there, summary.bad
        ))?,
    }
    Ok(if summary.bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The input, and its bytes where that is known.
fn open(file: &Path) -> Result<(Box<dyn BufRead>, Option<u64>), CliError> {
    if file == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let unreadable = |error: io::Error| CliError::Refusal(format!("cannot read {}: {error}", file.display()));
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let about = opened.metadata().map_err(unreadable)?;
    if about.is_dir() {
        return Err(CliError::Refusal(format!("{} is a directory", file.display())));
    }
    Ok((
        Box::new(BufReader::with_capacity(MOST_LINE, opened)),
        about.is_file().then_some(about.len()),
    ))
}

/// A bar on standard error, seen only where that is a terminal.
fn progress(size: Option<u64>) -> ProgressBar {
    let template = match size {
        Some(_) => "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}",
        None => "{spinner} {bytes} {bytes_per_sec}",
    };
    let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// An import under way.
struct Import {
    conn: PgConnection,
    sealer: Sealer,
    /// The property of each attribution ID; none where there is no such ID.
    properties: HashMap<Uuid, Option<Uuid>>,
    waiting: Vec<(Uuid, Session)>,
    /// The line that is being read, from 1.
    line: u64,
    /// Up to this line, everything good is stored.
    stored_to: u64,
    summary: Summary,
    bar: ProgressBar,
}

impl Import {
    async fn all(&mut self, input: &mut dyn BufRead) -> Result<(), CliError> {
        let mut line = Vec::new();
        loop {
            let taken = read_line(input, &mut line).map_err(|error| self.stopped(&error.to_string()))?;
            if taken == 0 {
                break;
            }
            self.line += 1;
            self.take(&line).await?;
            if self.waiting.len() >= BATCH {
                self.store().await?;
            }
            self.bar.inc(taken as u64);
        }
        self.store().await
    }

    /// Puts a line's session to those that wait, or names what is wrong with it.
    async fn take(&mut self, line: &[u8]) -> Result<(), CliError> {
        let session = match parse(line, self.line == 1) {
            Ok(None) => return Ok(()),
            Ok(Some(session)) => session,
            Err(faults) => {
                self.bad(faults);
                return Ok(());
            }
        };
        match self.property(session.attribution_id).await? {
            Some(property_id) => self.waiting.push((property_id, session)),
            None => self.bad(vec![fault(
                "attribution_id",
                "unknown_attribution_id",
                "is not known here",
            )]),
        }
        Ok(())
    }

    async fn property(&mut self, attribution_id: Uuid) -> Result<Option<Uuid>, CliError> {
        if let Some(known) = self.properties.get(&attribution_id) {
            return Ok(*known);
        }
        let found = streams::store::find_stream(&mut self.conn, attribution_id).await;
        let found = found.map_err(|error| self.stopped(&CliError::from(error).to_string()))?;
        let property_id = found.map(|stream| stream.property_id);
        if self.properties.len() >= MOST_REMEMBERED {
            self.properties.clear();
        }
        self.properties.insert(attribution_id, property_id);
        Ok(property_id)
    }

    /// Stores what waits.
    async fn store(&mut self) -> Result<(), CliError> {
        let mut attempt = 1;
        let new = loop {
            match store_all(&mut self.conn, &self.waiting, &self.sealer).await {
                Ok(new) => break new,
                // Two imports of the same sessions may have waited for each other.
                Err(error) if db::failure(&error) == db::Failure::Conflict && attempt < ATTEMPTS => {
                    attempt += 1
                }
                Err(error) => return Err(self.stopped(&CliError::from(error).to_string())),
            }
        };
        self.summary.imported += new;
        self.summary.already_there += (self.waiting.len() as u64).saturating_sub(new);
        self.waiting.clear();
        self.stored_to = self.line;
        Ok(())
    }

    fn bad(&mut self, faults: Vec<Fault>) {
        self.summary.bad += 1;
        if self.summary.bad > MOST_NAMED {
            return;
        }
        for Fault { field, code, message } in faults {
            let place = if field.is_empty() {
                String::new()
            } else {
                format!("{field}: ")
            };
            let text = format!("line {}: {place}{message}", self.line);
            self.bar.suspend(|| output::remark(&text));
            self.summary.errors.push(BadLine {
                line: self.line,
                field,
                code,
                message,
            });
        }
        if self.summary.bad == MOST_NAMED {
            self.bar
                .suspend(|| output::remark("further bad lines are counted, not named"));
        }
    }

    fn stopped(&self, cause: &str) -> CliError {
        CliError::Refusal(format!(
            "stopped: {cause}\nEverything up to line {} is stored ({} imported, {} already there, {} bad). \
             Running it again is safe: nothing is stored twice.",
            self.stored_to, self.summary.imported, self.summary.already_there, self.summary.bad
        ))
    }
}

/// Stores sessions, wakes the conversions that wait for one of their visitors, and has retention look at them, in one transaction. How many were new.
async fn store_all(
    conn: &mut PgConnection,
    sessions: &[(Uuid, Session)],
    sealer: &Sealer,
) -> Result<u64, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let new = store::insert(&mut transaction, sessions, AlreadyThere::Stays, sealer).await?;
    let mut visitors: Vec<(Uuid, &str)> = sessions
        .iter()
        .map(|(property_id, session)| (*property_id, session.visitor_id.as_str()))
        .collect();
    visitors.sort_unstable();
    visitors.dedup();
    awaited::store::arrived(&mut transaction, &visitors).await?;
    let mut firsts: BTreeMap<Uuid, DateTime<Utc>> = BTreeMap::new();
    for (property_id, session) in sessions {
        let first = firsts.entry(*property_id).or_insert(session.started_at);
        *first = session.started_at.min(*first);
    }
    retention::stored_late(&mut transaction, &firsts).await?;
    transaction.commit().await?;
    Ok(new)
}

/// The session of a line; none where it is blank.
fn parse(line: &[u8], first: bool) -> Result<Option<Session>, Vec<Fault>> {
    let line = line
        .strip_suffix(b"\n")
        .map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if line.len() > MOST_LINE {
        return Err(vec![fault("", "line_too_long", "must not be longer than 64 KiB")]);
    }
    let text = std::str::from_utf8(line).map_err(|_| vec![fault("", "not_utf8", "must be UTF-8")])?;
    // Some editors begin a file with a byte order mark.
    let text = if first {
        text.strip_prefix('\u{feff}').unwrap_or(text)
    } else {
        text
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    import::parse_line(text).map(Some)
}

fn fault(field: &str, code: &'static str, message: &str) -> Fault {
    Fault {
        field: field.to_owned(),
        code,
        message: message.to_owned(),
    }
}

/// Reads to the end of the line and keeps no more of it than shows that it is too long. The bytes read; 0 at the end.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    let mut taken = 0;
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            return Ok(taken);
        }
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(chunk.len(), |at| at + 1);
        // Room for a carriage return and the line feed.
        let room = (MOST_LINE + 2).saturating_sub(line.len());
        line.extend(chunk.iter().take(used.min(room)));
        input.consume(used);
        taken += used;
        if end.is_some() {
            return Ok(taken);
        }
    }
}
