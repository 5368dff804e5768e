//! Forwarding to the stubs, which are a process of their own: how much is delivered, what it costs the webhook, and whether a platform that
//! hangs delays the others.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use uuid::Uuid;

use super::load::{Load, Measured, What};
use super::scratch::{Scratch, Tenants};
use super::service::{Service, free_address};
use super::table::{Row, Table};

/// Deliveries that wait before the first one is sent.
const WAITING: i64 = 1_000_000;
/// Destinations of the throughput cells.
const DESTINATIONS: usize = 3;
/// Conversions a second where waiting times are measured.
const RATE: u32 = 50;
/// Destinations that work, beside one that hangs and one that fails.
const GOOD: usize = 8;

/// The stubs; they end with this value.
struct Stubs {
    address: SocketAddr,
    child: std::process::Child,
}

impl Drop for Stubs {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Stubs {
    async fn start() -> Self {
        let address = free_address();
        let child = Command::new(env!("CARGO_BIN_EXE_trustdata"))
            .args(["stub-platforms", "--listen", &address.to_string()])
            .env("TRUSTDATA__LOG__LEVEL", "error")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stubs = Self { address, child };
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return stubs;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the stubs do not listen");
    }

    /// Tells one of them how to fail, until it is told otherwise.
    async fn tell(&self, platform: &str, mode: &str) {
        let told = serde_json::json!({ "platform": platform, "mode": mode, "times": 0, "seconds": 3600 });
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new().post(format!("http://{}/_control", self.address));
        assert!(request.json(&told).send().await.unwrap().status().is_success());
    }
}

/// Platforms with settings that they take; the first ones batch.
const PLATFORMS: [(&str, &str); 4] = [
    ("meta", r#"{"pixel_id":"1234567890","access_token":"t"}"#),
    ("reddit", r#"{"pixel_id":"a2_abcdef","token":"t"}"#),
    ("pinterest", r#"{"ad_account_id":"549755885175","token":"t"}"#),
    (
        "snapchat",
        r#"{"pixel_id":"0f1e2d3c-aaaa-bbbb-cccc-0123456789ab","token":"t"}"#,
    ),
];

/// Makes a destination as an operator does.
fn destination(scratch: &Scratch, stubs: &Stubs, attribution_id: Uuid, (platform, settings): (&str, &str)) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trustdata"))
        .args([
            "destination",
            "create",
            "--platform",
            platform,
            "--name",
            platform,
        ])
        .args([
            "--attribution-id",
            &attribution_id.to_string(),
            "--settings",
            "-",
            "--policy",
            "all",
        ])
        .args(["--base-url", &format!("http://{}/{platform}", stubs.address)])
        .env("DATABASE_URL", &scratch.url)
        .env("TRUSTDATA__DATABASE__URL", &scratch.url)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(settings.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

async fn run_sql(pool: &PgPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.unwrap();
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// Runs the cells.
pub async fn run(scratch: &Scratch, tenants: &Tenants, time: Duration, table: &mut Table) {
    let stubs = Stubs::start().await;
    let attribution_id = tenants.all[0].attribution_id;
    throughput(scratch, tenants, time, &stubs, table).await;
    deliveries(scratch, tenants, &stubs, table).await;
    run_sql(scratch.pool(), "delete from destinations").await;
    for n in 0..GOOD {
        destination(scratch, &stubs, attribution_id, PLATFORMS[n % 2]);
    }
    // One never answers, the other one always fails.
    stubs.tell("pinterest", "timeout").await;
    stubs.tell("snapchat", "server_error").await;
    let (mut alone, mut beside) = ((f64::NAN, f64::INFINITY), (f64::NAN, f64::INFINITY));
    // Interleaved, so that a slow minute of the machine hits both; the best of three is taken.
    for _ in 0..3 {
        run_sql(
            scratch.pool(),
            "delete from destinations where platform in ('pinterest', 'snapchat')",
        )
        .await;
        keep_faster(&mut alone, waiting_time(scratch, tenants, time).await);
        destination(scratch, &stubs, attribution_id, PLATFORMS[2]);
        destination(scratch, &stubs, attribution_id, PLATFORMS[3]);
        keep_faster(&mut beside, waiting_time(scratch, tenants, time).await);
    }
    let note = format!("8 destinations, {RATE} conversions/s; median and 95th percentile");
    table.push(Row::times("commit to acceptance", alone.0, alone.1, &note));
    let note = "the same 8 beside one that hangs and one that fails; median and 95th percentile";
    table.push(Row::times("commit to acceptance", beside.0, beside.1, note));
    table.ratio(
        "p95 from commit to acceptance beside failing platforms / without",
        beside.1 / alone.1,
    );
    run_sql(scratch.pool(), "delete from destinations").await;
}

/// Webhooks with destinations that are being sent to, and without any.
async fn throughput(scratch: &Scratch, tenants: &Tenants, time: Duration, stubs: &Stubs, table: &mut Table) {
    let (mut without, mut with): (Option<Measured>, Option<Measured>) = (None, None);
    let mut meanwhile = String::new();
    // Interleaved, so that a slow minute of the machine hits both; the better of two is taken.
    for _ in 0..2 {
        run_sql(scratch.pool(), "delete from destinations").await;
        keep_better(&mut without, closed(scratch, tenants, time).await.0);
        for platform in PLATFORMS.iter().cycle().take(DESTINATIONS) {
            destination(scratch, stubs, tenants.all[0].attribution_id, *platform);
        }
        let (measured, forwarded) = closed(scratch, tenants, time).await;
        if keep_better(&mut with, measured) {
            meanwhile = forwarded;
        }
    }
    let (Some(without), Some(with)) = (without, with) else {
        return;
    };
    table.add("webhooks without destinations", &without, "256 connections");
    table.add(
        "webhooks with three destinations",
        &with,
        &format!("256 connections; {meanwhile}"),
    );
    table.ratio(
        "webhooks with three destinations / without",
        with.rate() / without.rate(),
    );
}

fn keep_faster(best: &mut (f64, f64), run: (f64, f64)) {
    if run.1 < best.1 {
        *best = run;
    }
}

/// Whether the run is better.
fn keep_better(best: &mut Option<Measured>, run: Measured) -> bool {
    let better = best.as_ref().is_none_or(|best| run.rate() > best.rate());
    if better {
        *best = Some(run);
    }
    better
}

/// Webhooks as fast as they are answered, and what was forwarded until the last one was.
async fn closed(scratch: &Scratch, tenants: &Tenants, time: Duration) -> (Measured, String) {
    scratch.fresh().await;
    let mut service = Service::start(&scratch.url, &[]).await;
    let begin = Instant::now();
    let measured = load(&service, 256, 1, None, time).run(tenants).await;
    let seconds = begin.elapsed().as_secs_f64();
    let (recorded, waiting, accepted): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from conversions), (select count(*) from outbox),
             (select count(*) from deliveries where state = 'accepted')",
    )
    .fetch_one(scratch.pool())
    .await
    .unwrap();
    service.stop().await;
    let forwarded = format!(
        "meanwhile {:.0} conversions/s were fanned out, and {:.0} deliveries/s accepted",
        (recorded - waiting) as f64 / seconds,
        accepted as f64 / seconds
    );
    (measured, forwarded)
}

fn load(service: &Service, connections: usize, events: usize, rate: Option<u32>, time: Duration) -> Load {
    Load {
        address: service.address,
        what: What::Consented,
        connections,
        events,
        rate,
        warm_up: Duration::from_secs(1),
        time,
    }
}

/// A million deliveries wait for paused destinations, and are then sent.
async fn deliveries(scratch: &Scratch, tenants: &Tenants, stubs: &Stubs, table: &mut Table) {
    let pool = scratch.pool();
    run_sql(pool, "delete from destinations").await;
    for platform in PLATFORMS.iter().take(DESTINATIONS) {
        destination(scratch, stubs, tenants.all[0].attribution_id, *platform);
    }
    run_sql(
        pool,
        "update destinations set paused_at = now(), paused_reason = 'bench'",
    )
    .await;
    scratch.fresh().await;
    let mut service = Service::start(&scratch.url, &[]).await;
    let few = {
        load(&service, 8, 100, None, Duration::from_secs(1))
            .run(tenants)
            .await;
        service.memory().now
    };
    while count(pool, "select count(*) from conversions").await * (DESTINATIONS as i64) < WAITING {
        load(&service, 8, 100, None, Duration::from_secs(3))
            .run(tenants)
            .await;
    }
    while count(pool, "select count(*) from outbox").await > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let waiting = count(pool, "select count(*) from deliveries where state = 'queued'").await;
    let many = service.memory();
    run_sql(
        pool,
        "update destinations set paused_at = null, paused_reason = null",
    )
    .await;
    let done = "select count(*) from deliveries where state <> 'queued'";
    while count(pool, done).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (begin, from) = (Instant::now(), count(pool, done).await);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let took = begin.elapsed();
    // In one statement: more are settled between one and the next.
    let (to, accepted): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where state = 'accepted') from deliveries where state <> 'queued'",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    let rate = (to - from) as f64 / took.as_secs_f64();
    let note =
        format!("{waiting} waiting for 3 platforms, in batches; {accepted} of {to} settled were accepted");
    table.push(Row::rate_only("deliveries", rate, &note));
    let sending = service.memory();
    table.line(format!(
        "RSS with a few thousand deliveries waiting: {few}; with {waiting}: {}; after sending for {} s: {} (peak {})",
        many.now,
        took.as_secs(),
        sending.now,
        sending.peak
    ));
    service.stop().await;
    scratch.fresh().await;
}

/// Median and 95th percentile of the time from a conversion's commit to its acceptance by a platform, in milliseconds.
async fn waiting_time(scratch: &Scratch, tenants: &Tenants, time: Duration) -> (f64, f64) {
    scratch.fresh().await;
    let mut service = Service::start(&scratch.url, &[]).await;
    load(&service, 16, 1, Some(RATE), time).run(tenants).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    service.stop().await;
    let times: (f64, f64) = sqlx::query_as(
        "select percentile_cont(0.5) within group (order by took), percentile_cont(0.95) within group (order by took) from (
             select (extract(epoch from x.settled_at - c.received_at) * 1000)::float8 as took
             from deliveries x join conversions c using (property_id, event_id) where x.state = 'accepted') t",
    )
    .fetch_one(scratch.pool())
    .await
    .unwrap();
    times
}
