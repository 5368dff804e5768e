//! Everything by the command line against a Postgres of the test's own, which is killed under load.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Load, Process, free_port, signal};

/// A private server in a folder of its own; removed with it.
struct PrivatePostgres {
    folder: PathBuf,
    url: String,
}

impl PrivatePostgres {
    fn script(folder: &Path, action: &[&str]) -> std::process::Output {
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres"))
            .args(action)
            .env("TRUSTDATA_PG_DIR", folder)
            .env_remove("DATABASE_URL")
            .stderr(Stdio::null())
            .output()
            .unwrap()
    }

    /// Starts it; none where no server is installed, which is not for a test to change.
    fn start(folder: PathBuf) -> Option<Self> {
        if !Self::script(&folder, &["bindir"]).status.success() {
            return None;
        }
        let output = Self::script(&folder, &["url", "demo"]);
        assert!(output.status.success());
        Some(Self {
            folder,
            url: String::from_utf8(output.stdout).unwrap().trim().to_owned(),
        })
    }

    /// SIGKILL to the postmaster and to all that it started, as when the machine's memory runs out.
    fn kill(&self) {
        let pid_file = self.folder.join("demo/data/postmaster.pid");
        let pid = std::fs::read_to_string(pid_file)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned();
        signal("KILL", &pid);
    }

    fn start_again(&self) {
        let output = Self::script(&self.folder, &["url", "demo"]);
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), self.url);
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        Self::script(&self.folder, &["remove", "demo"]);
        let _leftovers = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs a command of the binary; its JSON.
fn trustdata(database: &str, args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_trustdata"))
        .args(args)
        .env("TRUSTDATA__DATABASE__URL", database)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_costs_nothing_that_was_acknowledged() {
    let folder = PathBuf::from(format!(
        "/var/tmp/trustdata-test-{}",
        uuid::Uuid::new_v4().simple()
    ));
    let Some(postgres) = PrivatePostgres::start(folder) else {
        eprintln!("no PostgreSQL server is installed here: not run");
        return;
    };
    let database = postgres.url.as_str();
    trustdata(database, &["migrate"]);
    let stream = trustdata(
        database,
        &["attribution-id", "create", "--name", "Shop", "--json"],
    );
    let id = stream["attribution_id"].as_str().unwrap();
    trustdata(database, &["attribution-id", "enable-webhooks", id, "--json"]);
    let key = trustdata(
        database,
        &[
            "key",
            "create",
            "--attribution-id",
            id,
            "--name",
            "k",
            "--rate-limit",
            "1000000",
            "--json",
        ],
    );
    let token = key["key"].as_str().unwrap().to_owned();

    let port = free_port().await;
    let service = Process::start(database, port, free_port().await).await;
    let load = Load::start(
        &format!("http://127.0.0.1:{port}/webhooks/custom/{id}/purchase"),
        &token,
    );
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        postgres.kill();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        postgres.start_again();
        service.wait_until_ready().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let told = load.stop().await;
    let acknowledged = told.acknowledged;
    assert_eq!((told.unanswered, told.odd.as_slice()), (0, [].as_slice()));
    assert!(
        told.refused > 0 && acknowledged.len() > 100,
        "{} refused, {} acknowledged",
        told.refused,
        acknowledged.len()
    );
    // The promise is a second; the rest is for a machine that is busy with other tests.
    assert!(
        told.slowest_refusal < Duration::from_secs(3),
        "a 503 took {:?}",
        told.slowest_refusal
    );
    let pool = sqlx::PgPool::connect(database).await.unwrap();
    let stored: Vec<String> = sqlx::query_scalar("select conversion_id from conversions")
        .fetch_all(&pool)
        .await
        .unwrap();
    let once: HashSet<&String> = stored.iter().collect();
    assert_eq!(once.len(), stored.len());
    assert!(
        acknowledged.iter().all(|id| once.contains(id)),
        "an acknowledged conversion is not stored"
    );
    pool.close().await;
}
