//! The service, as a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A running service; it dies with this value.
pub struct Service {
    pub address: SocketAddr,
    child: Child,
}

/// Resident memory, as the kernel writes it.
pub struct Memory {
    pub now: String,
    pub peak: String,
}

impl Service {
    /// Starts the release binary and waits until it is ready.
    pub async fn start(database_url: &str, settings: &[(&str, &str)]) -> Self {
        let (address, internal) = (free_address(), free_address());
        let child = Command::new(env!("CARGO_BIN_EXE_trustdata"))
            .arg("serve")
            .env("TRUSTDATA__SERVER__LISTEN", address.to_string())
            .env("TRUSTDATA__SERVER__INTERNAL_LISTEN", internal.to_string())
            .env("TRUSTDATA__DATABASE__URL", database_url)
            .env("TRUSTDATA__LOG__LEVEL", "info")
            // A proof in the making counts as a failure, and 1,000 keys are proven at once here.
            .env("TRUSTDATA__AUTH__FAILURES_PER_MINUTE", "1000000")
            // All browsers are this machine here.
            .env("TRUSTDATA__COLLECT__REQUESTS_PER_MINUTE_PER_ADDRESS", "100000000")
            .env(
                "TRUSTDATA__COLLECT__REQUESTS_PER_MINUTE_PER_ATTRIBUTION_ID",
                "100000000",
            )
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut service = Self { address, child };
        for _ in 0..300 {
            if service.is_ready().await {
                return service;
            }
            if let Some(status) = service.child.try_wait().unwrap() {
                panic!("the service ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the service is not ready after 15 s");
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address).await else {
            return false;
        };
        let mut answer = Vec::new();
        let request = b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
        let read = async {
            stream.write_all(request).await?;
            stream.read_to_end(&mut answer).await
        };
        read.await.is_ok() && answer.starts_with(b"HTTP/1.1 200")
    }

    /// What it holds now, and held at most.
    pub fn memory(&self) -> Memory {
        let status = self
            .child
            .id()
            .and_then(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok())
            .unwrap_or_default();
        let field = |name: &str| {
            let kib = status.lines().find_map(|line| {
                line.strip_prefix(name)?
                    .split_whitespace()
                    .next()?
                    .parse::<f64>()
                    .ok()
            });
            kib.map_or("unknown".to_owned(), |kib| format!("{:.1} MiB", kib / 1024.0))
        };
        Memory {
            now: field("VmRSS:"),
            peak: field("VmHWM:"),
        }
    }

    /// Ends it.
    pub async fn stop(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
