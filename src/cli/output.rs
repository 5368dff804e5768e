//! The one way that commands print.

use std::io::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::CliError;

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// People.
    Text,
    /// Programs.
    Json,
}

/// What can be printed: as JSON by its fields, as text by its cells.
pub(super) trait Row: Serialize {
    /// Names of the cells.
    const HEAD: &'static [&'static str];
    /// As many as the head.
    fn cells(&self) -> Vec<String>;
}

/// Prints one thing: an object, or a line a field.
pub(super) fn one<T: Row>(form: Form, row: &T) -> Result<(), CliError> {
    match form {
        Form::Json => json(row),
        Form::Text => {
            let width = T::HEAD.iter().map(|name| name.len()).max().unwrap_or(0);
            let lines = T::HEAD.iter().zip(row.cells());
            say(&lines
                .map(|(name, cell)| format!("{name:<width$}  {}", shown(&cell)))
                .collect::<Vec<_>>()
                .join("\n"))
        }
    }
}

/// Prints a list: an array, or an aligned table.
pub(super) fn list<T: Row>(form: Form, rows: &[T]) -> Result<(), CliError> {
    match form {
        Form::Json => json(&rows),
        Form::Text => say(&table(
            T::HEAD,
            rows.iter()
                .map(|row| row.cells().iter().map(|cell| shown(cell)).collect())
                .collect(),
        )),
    }
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|&name| name.to_owned()).collect()];
    lines.extend(rows);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A line or more on standard output.
pub(super) fn say(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// A remark for the person at the terminal; programs read standard output only.
pub(super) fn remark(text: &str) {
    eprintln!("{text}");
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), CliError> {
    say(&serde_json::to_string_pretty(value)?)
}

/// A time as text.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A time that may be missing.
pub(super) fn time_or_dash(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".to_owned(), time)
}

/// Nothing that a terminal would obey.
fn shown(cell: &str) -> String {
    cell.replace(char::is_control, " ")
}
