//! The way to Postgres: connect options, the pool for look-ups, migrations.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::config;

/// The schema's history, embedded.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a connection attempt may take before the database counts as away.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long work in the background waits for a connection of its pool.
const BACKGROUND_TURN: Duration = Duration::from_secs(10);

/// How long a look-up may take, connection and all, before the database counts as away: a sender waits for it.
pub const LOOK_UP_WITHIN: Duration = Duration::from_millis(900);

/// Where the database is, and how this service behaves there.
pub fn options(database: &config::Database) -> Result<PgConnectOptions, sqlx::Error> {
    use secrecy::ExposeSecret as _;
    let options: PgConnectOptions = database.url.expose_secret().parse()?;
    Ok(options
        .application_name("trustdata")
        // A statement that outlives its request helps nobody; reports and imports set their own.
        .options([
            ("statement_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "10s"),
            ("timezone", "UTC"),
            // Every statement finds its rows by an index, also where statistics are missing or old and the planner would guess otherwise. Many
            // look-ups in one are laterals with a `limit` or an `offset 0`, which the planner does not turn into a join of all the tenant's rows.
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("enable_material", "off"),
            // What has no other plan costs so much by the above that Postgres would compile it first.
            ("jit", "off"),
        ])
        .log_statements(tracing::log::LevelFilter::Trace)
        .log_slow_statements(tracing::log::LevelFilter::Off, Duration::ZERO))
}

/// The pool for what requests need, but for the recorder and the tracker, which own their connections.
pub fn pool(database: &config::Database) -> Result<PgPool, sqlx::Error> {
    pool_of(database, database.max_connections, CONNECT_TIMEOUT)
}

/// The pool for work that no request waits for, so that it never holds what a request needs.
pub fn background_pool(database: &config::Database) -> Result<PgPool, sqlx::Error> {
    pool_of(database, database.background_connections, BACKGROUND_TURN)
}

fn pool_of(database: &config::Database, connections: u32, turn: Duration) -> Result<PgPool, sqlx::Error> {
    Ok(PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(turn)
        // A look-up that was given up leaves its connection in the middle of an answer, which may never come: a connection that does not
        // find back in time is replaced, or else it would hold its place in the pool for as long as TCP hopes.
        .after_release(|conn, _| Box::pin(async move { Ok(answers(conn).await) }))
        .connect_lazy_with(options(database)?))
}

/// A connection of its own, or an error within [`CONNECT_TIMEOUT`].
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    tokio::time::timeout(CONNECT_TIMEOUT, options.connect())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Whether the other end of a connection is there, found out within [`CONNECT_TIMEOUT`].
pub async fn answers(conn: &mut PgConnection) -> bool {
    let ping = tokio::time::timeout(CONNECT_TIMEOUT, conn.ping()).await;
    ping.is_ok_and(|answer| answer.is_ok())
}

/// What a look-up finds, or an error within [`LOOK_UP_WITHIN`].
pub async fn in_time<T>(look_up: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(LOOK_UP_WITHIN, look_up)
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// What a database answered, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The row can never be stored, or read, as it is.
    BadRow,
    /// The same again may go through.
    Conflict,
    /// No database, or none that answers.
    Away,
}

/// Sorts an error by what can be done about it.
pub fn failure(error: &sqlx::Error) -> Failure {
    let state = match error {
        sqlx::Error::Database(database) => database.code().unwrap_or(Cow::Borrowed("")),
        // An argument that cannot be encoded never will be, and so it is with a value that cannot be read.
        sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
            return Failure::BadRow;
        }
        // A row that was there a moment ago.
        sqlx::Error::RowNotFound => return Failure::Conflict,
        _ => return Failure::Away,
    };
    match state.as_bytes() {
        // serialization_failure, deadlock_detected
        b"40001" | b"40P01" => Failure::Conflict,
        // data exception, integrity constraint violation, program limit exceeded
        [b'2', b'2' | b'3', ..] | [b'5', b'4', ..] => Failure::BadRow,
        _ => Failure::Away,
    }
}

/// Brings the schema up to date; several at once wait for each other.
pub async fn migrate(conn: &mut PgConnection) -> Result<(), sqlx::migrate::MigrateError> {
    // An index on a big table takes its time, and so does waiting for another instance that builds it.
    sqlx::query("set statement_timeout = 0")
        .execute(&mut *conn)
        .await?;
    MIGRATIONS.run(conn).await
}

/// Migrations that are embedded but not applied, by version.
pub async fn missing_migrations(conn: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let known = sqlx::query_scalar::<_, Option<String>>("select to_regclass('_sqlx_migrations')::text")
        .fetch_one(&mut *conn)
        .await?;
    let applied: Vec<i64> = match known {
        None => Vec::new(),
        Some(_) => {
            sqlx::query_scalar("select version from _sqlx_migrations where success")
                .fetch_all(&mut *conn)
                .await?
        }
    };
    Ok(MIGRATIONS
        .iter()
        .map(|m| m.version)
        .filter(|version| !applied.contains(version))
        .collect())
}

/// The server's version, and its time of day.
pub async fn server_state(
    conn: &mut PgConnection,
) -> Result<(String, chrono::DateTime<chrono::Utc>), sqlx::Error> {
    sqlx::query_as("select current_setting('server_version'), clock_timestamp()")
        .fetch_one(conn)
        .await
}
