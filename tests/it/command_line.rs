//! The commands, as an operator runs them.

use std::process::{Command, Output};

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{TestApp, config_for, until};

pub fn run(pool: &PgPool, args: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let config = config_for(&pool.connect_options());
    let mut child = Command::new(env!("CARGO_BIN_EXE_trustdata"))
        .args(args)
        .env(
            "TRUSTDATA__DATABASE__URL",
            secrecy::ExposeSecret::expose_secret(&config.database.url),
        )
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended already.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs a command whose configuration file says this; its standard error.
fn refused(args: &[&str], file: &str, pool: &PgPool) -> String {
    let path = tempfile();
    std::fs::write(&path, file).unwrap();
    let mut args = args.to_vec();
    args.extend(["--config", path.to_str().unwrap()]);
    let output = run(pool, &args, "");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

fn tempfile() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("trustdata-{}.toml", uuid::Uuid::new_v4()))
}

pub fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[sqlx::test]
async fn imported_sessions_wake_the_conversions_that_wait_for_them(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let lead = json!({ "conversion_id": "1", "visitor_id": "v1" });
    assert_eq!(app.send("lead", &lead).await.body["session_matched"], false);
    let line = json!({ "attribution_id": app.attribution_id, "visitor_id": "v1", "started_at": "2026-10-30T10:00:00Z",
                       "landing_url": "https://shop.example/?utm_source=google&utm_campaign=spring" });
    let done = run(&pool, &["session", "import", "-"], &line.to_string());
    assert!(done.status.success(), "{done:?}");
    until("it is matched", async || app.count("awaited_visitors").await == 0).await;
    assert_eq!(
        app.send("lead", &lead).await.body["attribution"]["campaign"],
        "spring"
    );
}

#[sqlx::test]
async fn imported_sessions_are_matched_and_never_there_twice(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let line = |visitor: &str| {
        json!({ "attribution_id": app.attribution_id, "visitor_id": visitor, "started_at": "2026-10-30T10:00:00Z",
            "landing_url": "https://shop.example/?utm_source=google&utm_campaign=spring&email=jane@example.com",
            "ip": "203.0.113.7", "user_agent": "Mozilla/5.0" })
        .to_string()
    };
    let good: String = (0..2500).map(|i| line(&format!("v{i}")) + "\n").collect();
    let input = format!("{good}{{\"visitor_id\":\"\"}}\n\nnonsense\n");
    let first = run(&pool, &["session", "import", "-", "--json"], &input);
    assert_eq!(first.status.code(), Some(1), "{first:?}");
    let told = json_of(&first);
    assert_eq!(
        [&told["imported"], &told["already_there"], &told["bad"]],
        [&json!(2500), &json!(0), &json!(2)]
    );
    assert_eq!(told["errors"][0]["line"], 2501);
    let nonsense = told["errors"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&nonsense["line"], &nonsense["message"]),
        (&json!(2503), &json!("is no JSON: a syntax error at column 2"))
    );
    let again = json_of(&run(&pool, &["session", "import", "-", "--json"], &good));
    assert_eq!(
        [&again["imported"], &again["already_there"], &again["bad"]],
        [&json!(0), &json!(2500), &json!(0)]
    );
    let answer = app
        .send("lead", &json!({ "conversion_id": "1", "visitor_id": "v2499" }))
        .await;
    assert_eq!(answer.body["attribution"]["campaign"], "spring");
    let stored: String =
        sqlx::query_scalar("select string_agg(s::text, '') from (select * from sessions limit 50) s")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!(!stored.contains("jane") && !stored.contains("203.0.113.7") && !stored.contains("Mozilla"));
}

#[sqlx::test]
async fn keys_streams_and_users(pool: PgPool) {
    let made = json_of(&run(
        &pool,
        &["attribution-id", "create", "--name", "Shop", "--json"],
        "",
    ));
    let id = made["attribution_id"].as_str().unwrap();
    let mut fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["attribution_id", "name", "property_id"]);
    let key = json_of(&run(
        &pool,
        &["key", "create", "--attribution-id", id, "--name", "k", "--json"],
        "",
    ));
    assert!(
        key["key"]
            .as_str()
            .unwrap()
            .starts_with(key["prefix"].as_str().unwrap())
    );
    let listed = run(&pool, &["key", "list", "--json"], "");
    assert!(!String::from_utf8_lossy(&listed.stdout).contains(key["key"].as_str().unwrap()));
    assert_eq!(json_of(&listed)[0]["rate_limit"], 60);
    let key_id = key["id"].as_str().unwrap();
    assert_eq!(
        json_of(&run(&pool, &["key", "set-rate-limit", key_id, "7", "--json"], ""))["rate_limit"],
        7
    );
    assert!(json_of(&run(&pool, &["key", "revoke", key_id, "--json"], ""))["revoked_at"].is_string());
    let set = run(
        &pool,
        &["attribution-id", "set", id, "--lookback-days", "45", "--json"],
        "",
    );
    assert_eq!(json_of(&set)["lookback_days"], 45);
    assert_eq!(
        run(&pool, &["attribution-id", "set", id, "--lookback-days", "91"], "")
            .status
            .code(),
        Some(2)
    );
    let user = [
        "user",
        "create",
        "--email",
        "a@example.com",
        "--password-stdin",
        "--json",
    ];
    assert_eq!(
        json_of(&run(&pool, &user, "a long enough password\n"))["email"],
        "a@example.com"
    );
    assert_eq!(
        run(&pool, &user, "a long enough password\n").status.code(),
        Some(1)
    );
    let doctor = json_of(&run(&pool, &["doctor", "--json"], ""));
    assert!(
        doctor
            .as_array()
            .unwrap()
            .iter()
            .any(|check| check["check"] == "migrations" && check["state"] == "ok")
    );
}

#[sqlx::test(migrations = false)]
async fn a_database_without_a_schema_is_named_as_such(pool: PgPool) {
    let told = refused(&["serve"], "[database]\nmigrate = false\n", &pool);
    assert!(
        told.contains("run `trustdata migrate`") && !told.contains("relation"),
        "{told}"
    );
    let told = refused(&["key", "list"], "", &pool);
    assert!(told.contains("run `trustdata migrate`"), "{told}");
}

#[sqlx::test(migrations = false)]
async fn a_broken_configuration_is_not_quoted(pool: PgPool) {
    let broken = "[database]\nurl = \"postgres://u:hush\"w@h/db\"\n";
    let told = refused(&["serve"], broken, &pool);
    assert!(
        told.contains("line 2, column 26") && !told.contains("hush"),
        "{told}"
    );
    let told = refused(&["doctor", "--json"], broken, &pool);
    assert!(
        told.contains("\"state\": \"fail\"") && !told.contains("hush"),
        "{told}"
    );
}
