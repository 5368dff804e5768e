//! The log is for whoever reads it, and costs nothing when nobody does.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::PgPool;

use crate::support::config_for;
use crate::support::free_port;

#[sqlx::test]
async fn a_log_that_nobody_reads_stops_no_request(pool: PgPool) {
    let config = config_for(&pool.connect_options());
    let (port, internal) = (free_port().await, free_port().await);
    let mut service = Command::new(env!("CARGO_BIN_EXE_trustdata"))
        .arg("serve")
        .env(
            "TRUSTDATA__DATABASE__URL",
            secrecy::ExposeSecret::expose_secret(&config.database.url),
        )
        .env("TRUSTDATA__SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .env(
            "TRUSTDATA__SERVER__INTERNAL_LISTEN",
            format!("127.0.0.1:{internal}"),
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(service.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
    }

    // More than pipe and buffers hold: a line has some 350 bytes.
    let http = reqwest::Client::new();
    let health = format!("http://127.0.0.1:{port}/healthz");
    let senders = (0..8).map(|_| {
        let (http, health) = (http.clone(), health.clone());
        tokio::spawn(async move {
            for _ in 0..1000 {
                let request = http.get(&health).header("x-request-id", "x".repeat(128));
                let answer = request.timeout(Duration::from_secs(10)).send().await;
                assert_eq!(answer.unwrap().status(), 200);
            }
        })
    });
    for sender in futures_util::future::join_all(senders).await {
        sender.unwrap();
    }
    let metrics = http.get(format!("http://127.0.0.1:{internal}/metrics"));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("trustdata_log_lines_dropped_total"), "{metrics}");

    // Once somebody reads again, the log says what it lacks.
    let told = tokio::task::spawn_blocking(move || {
        let found = (&mut log)
            .lines()
            .map(Result::unwrap)
            .find(|line| line.contains("were dropped"));
        (found, log)
    });
    let (told, _log) = told.await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&told.unwrap()).unwrap();
    assert!(told["lines"].as_u64().unwrap() > 0, "{told}");
    service.kill().unwrap();
    service.wait().unwrap();
}
