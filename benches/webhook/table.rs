//! What was measured, as Markdown.

use std::fmt;

use super::load::Measured;

/// One line of the table.
pub struct Row {
    case: String,
    rate: f64,
    latency: Option<(f64, f64)>,
    note: String,
}

impl Row {
    /// A case by the median of its times, in milliseconds, with the worst of them in place of the 99th percentile.
    pub fn times(case: &str, median: f64, worst: f64, note: &str) -> Self {
        Self {
            case: case.to_owned(),
            rate: 1000.0 / median,
            latency: Some((median, worst)),
            note: note.to_owned(),
        }
    }

    /// A case without latencies.
    pub fn rate_only(case: &str, rate: f64, note: &str) -> Self {
        Self {
            case: case.to_owned(),
            rate,
            latency: None,
            note: note.to_owned(),
        }
    }
}

/// The table, and the lines below it.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    below: Vec<String>,
}

impl Table {
    /// A measured case; what went wrong is said in the note.
    pub fn add(&mut self, case: impl Into<String>, measured: &Measured, note: &str) {
        let errors = match &measured.first_error {
            Some(first) => format!("; **{} errors**, the first: `{first}`", measured.errors),
            None => String::new(),
        };
        self.push(Row {
            case: case.into(),
            rate: measured.rate(),
            latency: Some((measured.percentile(50), measured.percentile(99))),
            note: format!("{note}{errors}"),
        });
    }

    /// A row; it is told on stderr at once.
    pub fn push(&mut self, row: Row) {
        eprintln!("{row}");
        self.rows.push(row);
    }

    /// A ratio of two rates.
    pub fn ratio(&mut self, name: &str, ratio: f64) {
        self.line(format!("{name}: {ratio:.2}"));
    }

    /// A line below the table.
    pub fn line(&mut self, line: String) {
        self.below.push(line);
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = match self.latency {
            Some((p50, p99)) => (format!("{p50:.2}"), format!("{p99:.2}")),
            None => ("–".to_owned(), "–".to_owned()),
        };
        write!(
            f,
            "| {} | {:.0} | {p50} | {p99} | {} |",
            self.case, self.rate, self.note
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| case | events/s | p50 ms | p99 ms | note |\n|---|---:|---:|---:|---|"
        )?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        writeln!(f)?;
        for line in &self.below {
            writeln!(f, "- {line}")?;
        }
        Ok(())
    }
}
