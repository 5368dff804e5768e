//! Configuration: the embedded manual, a file, the environment, in that order; read once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};

/// The manual: every key, commented, with its default.
pub const DEFAULT: &str = include_str!("../../config/default.toml");

const GROUP_COMMIT_KEYS_OF_RECORDER: [&str; 5] = [
    "recorder.writers",
    "recorder.max_batch",
    "recorder.queue",
    "recorder.queue_bytes",
    "recorder.answer_within",
];
const GROUP_COMMIT_KEYS_OF_TRACKER: [&str; 5] = [
    "tracker.writers",
    "tracker.max_batch",
    "tracker.queue",
    "tracker.queue_bytes",
    "tracker.answer_within",
];

/// Beyond it an allowance would come back by less than a nanosecond a request.
const EVENTS_A_MINUTE: std::ops::RangeInclusive<u32> = 100..=1_000_000_000;

const ENV_PREFIX: &str = "TRUSTDATA__";

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listeners and connections.
    pub server: Server,
    /// Postgres.
    pub database: Database,
    /// Group commit of conversions.
    pub recorder: GroupCommit,
    /// Group commit of sessions.
    pub tracker: GroupCommit,
    /// Browser events.
    pub collect: Collect,
    /// Authentication.
    pub auth: Auth,
    /// The audit rows.
    pub activity: Activity,
    /// Conversions on their way to ad platforms.
    pub forwarding: Forwarding,
    /// Keys.
    pub secrets: Secrets,
    /// The log.
    pub log: Log,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct Server {
    pub listen: SocketAddr,
    pub internal_listen: SocketAddr,
    pub public_url: String,
    pub trusted_proxies: Vec<IpNet>,
    #[serde(deserialize_with = "duration")]
    pub shutdown_grace: Duration,
    pub max_connections: usize,
    #[serde(deserialize_with = "duration")]
    pub read_timeout: Duration,
}

impl Server {
    /// How the service is reached, without a slash at the end.
    pub fn base_url(&self) -> String {
        match self.public_url.trim_end_matches('/') {
            "" => format!("http://{}", self.listen),
            url => url.to_owned(),
        }
    }
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct Database {
    pub url: SecretString,
    pub max_connections: u32,
    pub background_connections: u32,
    pub migrate: bool,
}

/// `[recorder]` and `[tracker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct GroupCommit {
    pub writers: usize,
    pub max_batch: usize,
    pub queue: usize,
    pub queue_bytes: usize,
    #[serde(deserialize_with = "duration")]
    pub answer_within: Duration,
}

/// `[collect]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct Collect {
    pub requests_per_minute_per_address: std::num::NonZeroU32,
    pub requests_per_minute_per_attribution_id: std::num::NonZeroU32,
}

/// `[auth]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct Auth {
    pub failures_per_minute: std::num::NonZeroU32,
    pub sign_in_failures_per_minute: std::num::NonZeroU32,
    pub hashes_at_once: usize,
}

/// `[activity]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct Activity {
    pub refused_per_minute: u32,
}

/// `[forwarding]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct Forwarding {
    pub lanes: usize,
    pub allowed_private_networks: Vec<IpNet>,
    pub platforms: BTreeMap<String, Platform>,
}

/// `[forwarding.platforms.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct Platform {
    pub base_url: Option<String>,
    pub version: Option<String>,
    pub token_url: Option<String>,
}

/// `[secrets]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct Secrets {
    pub seal_key: SecretString,
    pub previous_seal_keys: Vec<SecretString>,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the manual")]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person's eyes.
    Text,
}

/// Why the configuration does not stand: one line a fault, each with key, source and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} fault(s):\n{}", .0.len(), .0.join("\n"))]
pub struct Invalid(pub Vec<String>);

/// Reads the configuration.
pub fn load(file: Option<&Path>) -> Result<Config, Invalid> {
    let mut figment = Figment::from(Toml::string(DEFAULT));
    if let Some(file) = file {
        if !file.is_file() {
            return Err(Invalid(vec![format!(
                "  --config {}: no such file",
                file.display()
            )]));
        }
        figment = figment.merge(Toml::file_exact(file));
    }
    // An empty DATABASE_URL is what compose files and CI make of an unset one.
    figment = figment
        .merge(Env::raw().only(&["DATABASE_URL"]).filter_map(|key| {
            Env::var(key.as_str())
                .is_some_and(|url| !url.trim().is_empty())
                .then(|| "database.url".into())
        }))
        .merge(Env::prefixed(ENV_PREFIX).split("__"));
    let config: Config = figment
        .extract()
        .map_err(|errors| Invalid(errors.into_iter().map(tell).collect()))?;
    let faults = check(&config, &figment);
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(Invalid(faults))
    }
}

/// What holds where nothing else is said, whatever tests of the environment do to it meanwhile.
#[cfg(test)]
pub fn built_in() -> Config {
    Figment::from(Toml::string(DEFAULT)).extract().unwrap()
}

/// A line about a value that has the wrong type. The value itself stays out: it may be a secret.
fn tell(error: figment::Error) -> String {
    use figment::error::Kind;
    let what = match &error.kind {
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => format!("expected {expected}"),
        Kind::UnknownField(_, known) => format!("no such setting; there are: {}", known.join(", ")),
        Kind::UnknownVariant(_, known) => format!("expected one of: {}", known.join(", ")),
        Kind::MissingField(name) => format!("the setting `{name}` is missing"),
        Kind::Message(text) => without_source(text),
        Kind::Unsupported(_) | Kind::UnsupportedKey(..) => "a type that no setting has".to_owned(),
        other => other.to_string(),
    };
    // For an unknown setting figment's path ends at the section; its name is in the kind.
    let mut path = error.path.clone();
    if let Kind::UnknownField(name, _) = &error.kind
        && path.last() != Some(name)
    {
        path.push(name.clone());
    }
    let key = path.join(".");
    let what = match key.as_str() {
        "server.listen" | "server.internal_listen" => {
            "expected an address and a port, such as 127.0.0.1:8080".to_owned()
        }
        "server.trusted_proxies" => "expected a list of address ranges, such as [\"10.0.0.0/8\"]".to_owned(),
        _ => what,
    };
    let source = source(error.metadata.as_ref(), &key);
    match key.as_str() {
        "" => format!("  {source}: {what}"),
        key => format!("  {key} ({source}): {what}"),
    }
}

/// What TOML's parser says and where, without the line that it quotes:
/// ```text
/// TOML parse error at line 2, column 19
///   |
/// 2 | url = "postgres://user:pass"word@host/database"
///   |                            ^
/// expected newline, `#`
/// ```
fn without_source(text: &str) -> String {
    let mut lines = text.lines();
    match lines.next() {
        Some(place) if place.starts_with("TOML parse error at ") => {
            let what: Vec<&str> = lines.skip(3).collect();
            format!("{place}: {}", what.join(", "))
        }
        _ => text.to_owned(),
    }
}

fn source(metadata: Option<&figment::Metadata>, key: &str) -> String {
    match metadata {
        Some(found) if found.name.contains("DATABASE_URL") => "environment variable DATABASE_URL".to_owned(),
        Some(found) if found.name.contains("environment") => {
            format!(
                "environment variable {ENV_PREFIX}{}",
                key.to_uppercase().replace('.', "__")
            )
        }
        Some(found) => match &found.source {
            Some(place) => format!("file {place}"),
            None => "built-in default".to_owned(),
        },
        None => "unknown source".to_owned(),
    }
}

/// What types alone do not say.
fn check(config: &Config, figment: &Figment) -> Vec<String> {
    let rules = [
        (
            "server.shutdown_grace",
            config.server.shutdown_grace <= Duration::from_secs(600),
            "at most 10 minutes",
        ),
        (
            "server.read_timeout",
            in_seconds(config.server.read_timeout, 1, 300),
            "1 second to 5 minutes",
        ),
        (
            "server.max_connections",
            (1..=1_000_000).contains(&config.server.max_connections),
            "1 to 1,000,000",
        ),
        (
            "server.public_url",
            config.server.public_url.is_empty() || is_origin(&config.server.public_url),
            "an http(s) URL without a path, or nothing",
        ),
        (
            "database.url",
            config
                .database
                .url
                .expose_secret()
                .parse::<sqlx::postgres::PgConnectOptions>()
                .is_ok(),
            "a URL such as postgres://user:password@host:5432/database",
        ),
        (
            "database.max_connections",
            (2..=1000).contains(&config.database.max_connections),
            "2 to 1,000",
        ),
        (
            "database.background_connections",
            (2..=1000).contains(&config.database.background_connections),
            "2 to 1,000",
        ),
        (
            "collect.requests_per_minute_per_address",
            EVENTS_A_MINUTE.contains(&config.collect.requests_per_minute_per_address.get()),
            "100 (one array body) to 1,000,000,000",
        ),
        (
            "collect.requests_per_minute_per_attribution_id",
            EVENTS_A_MINUTE.contains(&config.collect.requests_per_minute_per_attribution_id.get()),
            "100 (one array body) to 1,000,000,000",
        ),
        (
            "auth.hashes_at_once",
            (1..=64).contains(&config.auth.hashes_at_once),
            "1 to 64",
        ),
        (
            "activity.refused_per_minute",
            config.activity.refused_per_minute >= 1,
            "1 or more",
        ),
        (
            "forwarding.lanes",
            (1..=10_000).contains(&config.forwarding.lanes),
            "1 to 10,000",
        ),
        (
            "secrets.seal_key",
            super::secrets::is_key_or_empty(&config.secrets.seal_key),
            "32 bytes in base64, e.g. from `openssl rand -base64 32`",
        ),
        (
            "secrets.previous_seal_keys",
            config
                .secrets
                .previous_seal_keys
                .iter()
                .all(super::secrets::is_key_or_empty),
            "a list of keys, each 32 bytes in base64",
        ),
        (
            "log.level",
            tracing_subscriber::EnvFilter::try_new(&config.log.level).is_ok(),
            "a filter such as \"info\" or \"warn,trustdata=debug\"",
        ),
    ];
    let group_commits = [
        group_commit_rules(&config.recorder, GROUP_COMMIT_KEYS_OF_RECORDER),
        group_commit_rules(&config.tracker, GROUP_COMMIT_KEYS_OF_TRACKER),
    ];
    rules
        .into_iter()
        .chain(group_commits.into_iter().flatten())
        .filter(|(_, holds, _)| !holds)
        .map(|(key, _, expected)| {
            format!(
                "  {key} ({}): expected {expected}",
                source(figment.find_metadata(key), key)
            )
        })
        .collect()
}

/// The rules of one queue and its writers, whose keys are named in this order: writers, max_batch, queue, queue_bytes, answer_within.
fn group_commit_rules(
    settings: &GroupCommit,
    [writers, max_batch, queue, queue_bytes, answer_within]: [&'static str; 5],
) -> [(&'static str, bool, &'static str); 5] {
    [
        (writers, (1..=64).contains(&settings.writers), "1 to 64"),
        (max_batch, (1..=2000).contains(&settings.max_batch), "1 to 2,000"),
        (
            queue,
            (1000..=1_000_000).contains(&settings.queue),
            "1,000 (one array body) to 1,000,000",
        ),
        (
            queue_bytes,
            (4 << 20..=1 << 36).contains(&settings.queue_bytes),
            "4194304 (4 MiB: one array body and what is kept with it) to 68719476736 (64 GiB)",
        ),
        (
            answer_within,
            (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&settings.answer_within),
            "10 ms to 60 s",
        ),
    ]
}

fn in_seconds(value: Duration, least: u64, most: u64) -> bool {
    (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&value)
}

fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
    })
}

/// A number of seconds, or text: "500ms", "20s", "2m", "1h".
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sent {
        Seconds(u64),
        Text(String),
    }
    let expected =
        || serde::de::Error::custom("expected seconds, or text such as \"500ms\", \"20s\" or \"2m\"");
    match Sent::deserialize(deserializer).map_err(|_| expected())? {
        Sent::Seconds(seconds) => Ok(Duration::from_secs(seconds)),
        Sent::Text(text) => parse_duration(&text).ok_or_else(expected),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [
            ("500ms", Some(500)),
            ("20s", Some(20_000)),
            ("7", Some(7000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("", None),
            ("5 parsecs", None),
            ("99999999999999999999s", None),
        ];
        for (text, millis) in table {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn the_manual_is_a_valid_configuration() {
        let config: Config = Figment::from(Toml::string(DEFAULT)).extract().unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.server.internal_listen.to_string(), "127.0.0.1:9090");
        assert_eq!(config.server.shutdown_grace, Duration::from_secs(20));
        assert!(check(&config, &Figment::from(Toml::string(DEFAULT))).is_empty());
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's Jail asks for its error")]
    fn faults_name_key_source_and_expectation() {
        figment::Jail::expect_with(|jail| {
            jail.create_file("t.toml", "[recorder]\nwriters = 0\n[server]\nlistne = \"x\"\n")?;
            let error = load(Some(Path::new("t.toml"))).unwrap_err().to_string();
            assert!(error.contains("server.listne (file"), "{error}");
            jail.create_file("t.toml", "[recorder]\nwriters = 0\n")?;
            jail.set_env("TRUSTDATA__ACTIVITY__REFUSED_PER_MINUTE", "0");
            let error = load(Some(Path::new("t.toml"))).unwrap_err().to_string();
            assert!(error.contains("recorder.writers (file"), "{error}");
            assert!(error.contains("t.toml"), "{error}");
            assert!(
                error.contains(
                    "activity.refused_per_minute (environment variable TRUSTDATA__ACTIVITY__REFUSED_PER_MINUTE)"
                ),
                "{error}"
            );
            jail.set_env("TRUSTDATA__COLLECT__REQUESTS_PER_MINUTE_PER_ADDRESS", "99");
            let error = load(None).unwrap_err().to_string();
            assert!(
                error.contains("collect.requests_per_minute_per_address (environment"),
                "{error}"
            );
            jail.set_env("TRUSTDATA__RECORDER__QUEUE_BYTES", "1048576");
            let error = load(None).unwrap_err().to_string();
            assert!(error.contains("recorder.queue_bytes (environment"), "{error}");
            jail.set_env("TRUSTDATA__SERVER__LISTEN", "nonsense");
            let error = load(None).unwrap_err().to_string();
            assert!(
                error.contains(
                    "server.listen (environment variable TRUSTDATA__SERVER__LISTEN): expected an address"
                ),
                "{error}"
            );
            Ok(())
        });
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's Jail asks for its error")]
    fn no_fault_quotes_a_value() {
        figment::Jail::expect_with(|jail| {
            for (content, expected) in [
                (
                    "[database]\nurl = \"postgres://u:hush\"w@h/db\"\n",
                    "line 2, column 26: ",
                ),
                ("[database]\nurl = postgres://u:hush@h/db\n", "line 2, column 7: "),
                (
                    "[database]\nurl = \"postgres://u:hush\\q@h/db\"\n",
                    "line 2, column ",
                ),
                ("[database]\nmigrate = \"hush\"\n", "expected a boolean"),
                ("[secrets]\nseal_key = [\"hush\"]\n", "expected a string"),
                ("[server]\nlisten = \"hush\"\n", "server.listen"),
                ("[server]\nread_timeout = \"hush\"\n", "expected seconds"),
                (
                    "[server]\ntrusted_proxies = [\"hush\"]\n",
                    "server.trusted_proxies",
                ),
            ] {
                jail.create_file("t.toml", content)?;
                let error = load(Some(Path::new("t.toml"))).unwrap_err().to_string();
                assert!(error.contains(expected) && error.contains("t.toml"), "{error}");
                assert!(!error.contains("hush"), "{error}");
            }
            Ok(())
        });
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's Jail asks for its error")]
    fn the_environment_wins_and_database_url_is_honoured() {
        figment::Jail::expect_with(|jail| {
            jail.set_env("DATABASE_URL", "postgres://a@b/c");
            jail.set_env("TRUSTDATA__SERVER__SHUTDOWN_GRACE", "3");
            let config = load(None).unwrap();
            assert_eq!(config.database.url.expose_secret(), "postgres://a@b/c");
            assert_eq!(config.server.shutdown_grace, Duration::from_secs(3));
            jail.set_env("TRUSTDATA__DATABASE__URL", "postgres://d@e/f");
            assert_eq!(
                load(None).unwrap().database.url.expose_secret(),
                "postgres://d@e/f"
            );
            Ok(())
        });
    }
}
