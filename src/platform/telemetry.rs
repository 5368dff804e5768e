//! The log and the metrics.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::config::{Log, LogFormat};

/// Bytes that are worth a write at once.
const BLOCK: usize = 64 * 1024;
/// Bytes that may wait for a reader of standard output that is slow, or has stopped.
const MOST_WAITING: usize = 1024 * 1024;
/// How long a line may wait for others.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// How long the end waits for a reader.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Lines on their way to standard output, in blocks: a system call a line costs more than all else that logging does. One thread writes,
/// and it alone waits for the reader: a line that finds no room is counted instead. A warning goes out at once, with all that came before.
#[derive(Clone, Default)]
struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines that found no room since this was last told.
    dropped: u64,
    /// Not to wait for others.
    urgent: bool,
    /// No line comes any more.
    ending: bool,
    /// All is written.
    ended: bool,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was room.
    fn add(&self, line: &[u8], urgent: bool) -> bool {
        let mut waiting = self.lock();
        let fits = waiting.bytes.len() + line.len() <= MOST_WAITING;
        if fits {
            waiting.bytes.extend_from_slice(line);
        } else {
            waiting.dropped += 1;
        }
        if !waiting.urgent && (urgent || waiting.bytes.len() >= BLOCK) {
            waiting.urgent = true;
            self.0.changed.notify_all();
        }
        fits
    }

    /// Writes until the end, and then what is left.
    fn write_all(&self, out: &mut impl Write) {
        let mut block = Vec::with_capacity(BLOCK);
        loop {
            let idle = |waiting: &mut Waiting| !waiting.urgent && !waiting.ending;
            let waited = self.0.changed.wait_timeout_while(self.lock(), FLUSH_EVERY, idle);
            let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
            waiting.urgent = false;
            std::mem::swap(&mut waiting.bytes, &mut block);
            let dropped = std::mem::take(&mut waiting.dropped);
            waiting.ended = waiting.ending && block.is_empty() && dropped == 0;
            if waiting.ended {
                self.0.changed.notify_all();
                return;
            }
            drop(waiting);
            if dropped > 0 {
                // Where they would have been: behind the block, before what comes next.
                tracing::warn!(
                    lines = dropped,
                    "lines of the log were dropped: it is not read in time"
                );
            }
            // Nobody is left to be told that the log is gone.
            let _gone = out.write_all(&block).and_then(|()| out.flush());
            block.clear();
        }
    }

    /// Waits until all is written, or nobody reads.
    fn end(&self) {
        let mut waiting = self.lock();
        waiting.ending = true;
        self.0.changed.notify_all();
        let _stalled = self
            .0
            .changed
            .wait_timeout_while(waiting, END_WITHIN, |waiting| !waiting.ended);
    }
}

/// The way of one event into the log.
struct Line<'a> {
    lines: &'a Lines,
    urgent: bool,
}

impl Write for Line<'_> {
    /// A whole line, as the formatter hands it over.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if !self.lines.add(line, self.urgent) {
            metrics::counter!("trustdata_log_lines_dropped_total").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            lines: self,
            urgent: true,
        }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        Line {
            lines: self,
            urgent: *event.level() <= Level::WARN,
        }
    }
}

/// Keeps the log flowing; with its end, everything is written that is read.
pub struct LogGuard(Lines);

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Starts the log on standard output. Hold the guard to the end.
pub fn start_log(settings: &Log) -> LogGuard {
    let lines = Lines::default();
    let writing = lines.clone();
    // Not joined: it may wait for a reader for ever.
    std::thread::spawn(move || writing.write_all(&mut std::io::stdout()));
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines.clone());
    // A second start in one process (tests) keeps the first.
    let _already = match settings.format {
        LogFormat::Json => format
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
        LogFormat::Text => format
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stdout()))
            .try_init(),
    };
    LogGuard(lines)
}

/// Starts the metrics; the handle renders them.
pub fn start_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    const SECONDS: [f64; 13] = [
        0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    ];
    const EVENTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), &EVENTS)?
        .install_recorder()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A pipe whose reader takes nothing until it is told to.
    struct Pipe(std::sync::mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _reader_is_gone = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_no_time() {
        let (read, reader) = std::sync::mpsc::channel();
        let out = Arc::new(Mutex::new(Vec::new()));
        let (lines, mut pipe) = (Lines::default(), Pipe(reader, Arc::clone(&out)));
        let writing = lines.clone();
        let thread = std::thread::spawn(move || writing.write_all(&mut pipe));
        let line = [b'x'; 1024];
        let added = (0..3 * MOST_WAITING / 1024)
            .filter(|_| lines.add(&line, false))
            .count();
        // What waits, and what the thread holds.
        assert!(
            (MOST_WAITING / 1024..=2 * MOST_WAITING / 1024).contains(&added),
            "{added}"
        );
        let started = Instant::now();
        lines.end();
        assert!(started.elapsed() < END_WITHIN * 3);
        drop(read);
        thread.join().unwrap();
        assert_eq!(out.lock().unwrap().len(), added * 1024);
    }

    #[test]
    fn the_end_waits_for_the_last_line() {
        let (read, reader) = std::sync::mpsc::channel();
        drop(read);
        let out = Arc::new(Mutex::new(Vec::new()));
        let (lines, mut pipe) = (Lines::default(), Pipe(reader, Arc::clone(&out)));
        let writing = lines.clone();
        std::thread::spawn(move || writing.write_all(&mut pipe));
        lines.add(b"last\n", false);
        lines.end();
        assert_eq!(*out.lock().unwrap(), b"last\n");
    }
}
