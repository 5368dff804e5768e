//! The log and the metrics.

use std::io::{BufWriter, Stdout, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::config::{Log, LogFormat};

/// Bytes that are written at once.
const BLOCK: usize = 64 * 1024;
/// How long a line may wait for others.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Standard output in blocks: a system call a line costs more than all else that logging does. A warning goes out at once, with all that
/// came before it.
#[derive(Clone)]
struct Lines(Arc<Mutex<BufWriter<Stdout>>>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, BufWriter<Stdout>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) {
        // Nobody is left to be told that the log is gone.
        let _gone = self.lock().flush();
    }
}

/// The way of one event into the log.
struct Line<'a> {
    lines: &'a Lines,
    urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let mut out = self.lines.lock();
        out.write_all(line)?;
        if self.urgent {
            out.flush()?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.lines.lock().flush()
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

/// Keeps the log flowing; with its end, everything is written.
pub struct LogGuard {
    lines: Lines,
    stop: Option<Sender<()>>,
    flusher: Option<JoinHandle<()>>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(flusher) = self.flusher.take() {
            let _panicked = flusher.join();
        }
        self.lines.flush();
    }
}

/// Starts the log on standard output. Hold the guard to the end.
pub fn start_log(settings: &Log) -> LogGuard {
    let lines = Lines(Arc::new(Mutex::new(BufWriter::with_capacity(
        BLOCK,
        std::io::stdout(),
    ))));
    let (stop, stopped) = channel();
    let ticking = lines.clone();
    let flusher = std::thread::spawn(move || {
        while stopped.recv_timeout(FLUSH_EVERY) == Err(RecvTimeoutError::Timeout) {
            ticking.flush();
        }
    });
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
    LogGuard {
        lines,
        stop: Some(stop),
        flusher: Some(flusher),
    }
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
