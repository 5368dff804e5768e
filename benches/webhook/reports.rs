//! Reports over a million conversions: alone, and beside webhooks that are being sent. Then whole pages, by HTTP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use trustdata::platform::clock::Clock;
use trustdata::platform::password::SlowHash;
use trustdata::platform::secrets::Sealer;
use trustdata::platform::{config, db};
use trustdata::reports::campaigns::{self, Dimension};
use trustdata::reports::{Model, Window, conversions, overview, rollup};
use trustdata::settings::{self, Actor};
use trustdata::users::{Role, User};
use uuid::Uuid;

use super::load::{Load, Measured, What};
use super::scratch::{Scratch, Tenants};
use super::service::Service;
use super::table::{Row, Table};

/// Conversions; three of four are matched, with four touches each.
const CONVERSIONS: i64 = 1_000_000;
/// Days that they are spread over.
const DAYS: u16 = 90;
/// Times that each report is read.
const READ: usize = 5;
/// Webhooks a second beside the reports.
const RATE: u32 = 1000;
/// Who looks at pages.
const EMAIL: &str = "bench@shop.example";
const PASSWORD: &str = "correct horse battery";
/// Between one page and the next that a reader asks for.
const PAUSE: Duration = Duration::from_millis(250);

/// Fills, sums, and measures.
pub async fn run(scratch: &Scratch, tenants: &Tenants, time: Duration, table: &mut Table) {
    scratch.fresh().await;
    let property_id = tenants.all[0].property_id;
    let mut conn = scratch.pool().acquire().await.unwrap();
    fill(&mut conn, property_id, tenants.all[0].attribution_id).await;
    sum(&mut conn, property_id, table).await;
    let raw = raw(&mut conn, property_id).await;
    table.push(Row::rate_only(
        "campaign report without sums, for comparison",
        1000.0 / raw,
        &format!("one join of the raw rows, one model: {raw:.0} ms"),
    ));
    for page in Page::ALL {
        let mut times = Vec::new();
        for _ in 0..READ {
            times.push(page.read(&mut conn, property_id).await);
        }
        table.push(row(page.name(), &mut times, "alone"));
    }

    // Interleaved, so that a slow minute of the machine hits both; the best of five is taken.
    drop(conn);
    let (mut without, mut with): (Option<Measured>, Option<Measured>) = (None, None);
    let mut times: Vec<(Page, Vec<f64>)> = Page::ALL.map(|page| (page, Vec::new())).to_vec();
    let mut seen: Vec<(String, Vec<f64>)> = Vec::new();
    for _ in 0..5 {
        keep_better(
            &mut without,
            webhooks::<()>(scratch, tenants, time, |_| None).await.0,
        );
        let library = |_| Some(Reader::start(of_library(scratch.url.clone(), property_id)));
        let (measured, read) = webhooks(scratch, tenants, time, library).await;
        keep_better(&mut with, measured);
        for ((_, all), (_, more)) in times.iter_mut().zip(read.into_iter().flatten()) {
            all.extend(more);
        }
    }
    // What people wait for: whole pages, by HTTP.
    let paths = visitor(scratch.pool(), property_id).await;
    for _ in 0..2 {
        let pages = |address| Some(Reader::start(of_pages(address, paths.clone())));
        let (_, read) = webhooks(scratch, tenants, time, pages).await;
        let read = read.into_iter().flatten();
        match seen.is_empty() {
            true => seen.extend(read),
            false => seen
                .iter_mut()
                .zip(read)
                .for_each(|((_, all), (_, more))| all.extend(more)),
        }
    }
    let note = format!("open loop of {RATE} requests/s, 64 connections, from the intended send time");
    let (Some(without), Some(with)) = (without, with) else {
        return;
    };
    table.add("webhooks without reports", &without, &note);
    table.add("webhooks beside reports", &with, "a page every 250 ms");
    for (page, times) in &mut times {
        table.push(row(page.name(), times, "beside webhooks"));
    }
    for (page, times) in &mut seen {
        table.push(row(&format!("page: {page}"), times, "by HTTP, beside webhooks"));
    }
    table.ratio(
        "p99 of webhooks beside reports / without",
        with.percentile(99) / without.percentile(99),
    );
}

fn keep_better(best: &mut Option<Measured>, load: Measured) {
    if best
        .as_ref()
        .is_none_or(|best| load.percentile(99) < best.percentile(99))
    {
        *best = Some(load);
    }
}

/// Sends webhooks; a reader reads while they are measured.
async fn webhooks<T>(
    scratch: &Scratch,
    tenants: &Tenants,
    time: Duration,
    reader: impl FnOnce(SocketAddr) -> Option<Reader<T>>,
) -> (Measured, Option<Vec<T>>)
where
    T: Send + 'static,
{
    let mut service = Service::start(&scratch.url, &[]).await;
    let load = Load {
        address: service.address,
        what: What::Purchase,
        connections: 64,
        events: 1,
        rate: Some(RATE),
        warm_up: Duration::from_secs(2),
        time,
    };
    let reader = reader(service.address);
    let measured = load.run(tenants).await;
    let read = reader.map(Reader::stop);
    service.stop().await;
    (measured, read)
}

/// Somebody who reads one page after the other, on a thread of its own: what it does must not keep the sender of webhooks from sending.
struct Reader<T> {
    over: CancellationToken,
    thread: std::thread::JoinHandle<Vec<T>>,
}

impl<T: Send + 'static> Reader<T> {
    fn start(read: impl AsyncFnOnce(CancellationToken) -> Vec<T> + Send + 'static) -> Self {
        let over = CancellationToken::new();
        let until = over.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let thread = std::thread::spawn(move || runtime.block_on(read(until)));
        Self { over, thread }
    }

    fn stop(self) -> Vec<T> {
        self.over.cancel();
        self.thread.join().unwrap()
    }
}

/// Reads reports as the library has them.
fn of_library(
    url: String,
    property_id: Uuid,
) -> impl AsyncFnOnce(CancellationToken) -> Vec<(Page, Vec<f64>)> + Send + 'static {
    async move |over| {
        // As the service's connections are: they have settings of their own.
        let mut config = config::load(None).unwrap();
        config.database.url = url.into();
        let mut conn = db::connect(&db::options(&config.database).unwrap())
            .await
            .unwrap();
        let mut times = Page::ALL.map(|page| (page, Vec::new()));
        while !over.is_cancelled() {
            for (page, times) in &mut times {
                times.push(page.read(&mut conn, property_id).await);
                tokio::time::sleep(PAUSE).await;
            }
        }
        times.to_vec()
    }
}

/// Signs in and reads pages, as a browser does.
fn of_pages(
    address: SocketAddr,
    paths: Vec<(String, String)>,
) -> impl AsyncFnOnce(CancellationToken) -> Vec<(String, Vec<f64>)> + Send + 'static {
    async move |over| {
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = http.build().unwrap();
        let sign_in = http.post(format!("http://{address}/dashboard/sign-in"));
        let sign_in = sign_in.form(&[("email", EMAIL), ("password", PASSWORD)]);
        let answer = sign_in.send().await.unwrap();
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap();
        let mut times: Vec<_> = paths.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
        while !over.is_cancelled() {
            for ((_, path), (_, times)) in paths.iter().zip(&mut times) {
                let started = Instant::now();
                let request = http
                    .get(format!("http://{address}{path}"))
                    .header("cookie", cookie);
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), 200, "{path}");
                drop(answer.bytes().await.unwrap());
                times.push(started.elapsed().as_secs_f64() * 1000.0);
                tokio::time::sleep(PAUSE).await;
            }
        }
        times
    }
}

/// Makes somebody who may sign in; the pages to be looked at, by name and path.
async fn visitor(pool: &PgPool, property_id: Uuid) -> Vec<(String, String)> {
    let clock = Clock::system();
    let mut conn = pool.acquire().await.unwrap();
    let user = User {
        user_id: clock.new_id(),
        email: EMAIL.to_owned(),
        role: Role::Viewer,
        invited: false,
        created_at: clock.now(),
    };
    let hash = SlowHash::new(1).hash(PASSWORD.to_owned()).await.unwrap();
    let made = settings::create_user(&mut conn, &Actor::System, &user, Some(&hash), &clock).await;
    assert!(made.unwrap());
    let event_id: Uuid = sqlx::query_scalar(
        "select event_id from conversions where property_id = $1 and match_reason = 'matched' order by event_id desc limit 1",
    )
    .bind(property_id)
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    let at = |page: &str| format!("/dashboard/properties/{property_id}/{page}");
    let paths = [
        ("overview, 30 days", at("overview")),
        ("campaigns, 90 days", at("campaigns?days=90")),
        (
            "campaigns, five models side by side",
            at("campaigns?days=90&models=all&by=all"),
        ),
        ("conversions", at("conversions")),
        ("one conversion", at(&format!("conversions/{event_id}"))),
    ];
    paths.map(|(name, path)| (name.to_owned(), path)).to_vec()
}

/// The median and the worst, in milliseconds.
fn row(case: &str, times: &mut [f64], note: &str) -> Row {
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
    let worst = times.last().copied().unwrap_or(f64::NAN);
    Row::times(
        case,
        median,
        worst,
        &format!("{note}; median and worst of {}", times.len()),
    )
}

/// What is read.
#[derive(Debug, Clone, Copy)]
enum Page {
    Campaigns,
    Models,
    Series,
    List,
    ListOfCampaign,
    Overview,
}

impl Page {
    const ALL: [Self; 6] = [
        Self::Campaigns,
        Self::Models,
        Self::Series,
        Self::List,
        Self::ListOfCampaign,
        Self::Overview,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Campaigns => "campaign report, 90 days",
            Self::Models => "five models by all dimensions, 90 days",
            Self::Series => "a campaign by the day, 90 days",
            Self::List => "conversions, a page of 100",
            Self::ListOfCampaign => "conversions of a rare campaign, a page",
            Self::Overview => "overview, 30 days",
        }
    }

    /// Reads it; in milliseconds.
    async fn read(self, conn: &mut PgConnection, property_id: Uuid) -> f64 {
        let now = Clock::system().now();
        let window = Window::last_days(DAYS + 1, now);
        let query = campaigns::Query::new(property_id, window);
        let mut filter = conversions::Filter::new(property_id);
        let started = Instant::now();
        match self {
            Self::Campaigns => {
                let report = campaigns::report(conn, &query).await.unwrap();
                assert!(report.rows.len() > 40, "{}", report.rows.len());
            }
            Self::Models => {
                let query = query.group_by(&Dimension::ALL).models(&Model::ALL);
                drop(campaigns::report(conn, &query).await.unwrap());
            }
            Self::Series => {
                let mut query = query;
                query.filter.campaign = Some("spring-3".to_owned());
                drop(campaigns::series(conn, &query).await.unwrap());
            }
            Self::List => {
                let page = conversions::list(conn, &filter, None, 100).await.unwrap();
                assert_eq!(page.conversions.len(), 100);
            }
            Self::ListOfCampaign => {
                filter.campaign = Some("nothing".to_owned());
                drop(conversions::list(conn, &filter, None, 100).await.unwrap());
            }
            Self::Overview => {
                let query = overview::Query {
                    property_id,
                    attribution_id: None,
                    window: Window::last_days(30, now),
                    step: overview::Step::Day,
                    model: Model::LastClick,
                };
                drop(overview::overview(conn, &query, now).await.unwrap());
                let secrets = config::load(None).unwrap().secrets;
                let sealer = Sealer::new(&secrets, Some([0; 32])).unwrap();
                drop(
                    overview::unhealthy(conn, property_id, &sealer, now)
                        .await
                        .unwrap(),
                );
            }
        }
        started.elapsed().as_secs_f64() * 1000.0
    }
}

/// Works all of it into the sums.
async fn sum(conn: &mut PgConnection, property_id: Uuid, table: &mut Table) {
    let mut transaction = conn.begin().await.unwrap();
    rollup::rebuild(&mut transaction, property_id).await.unwrap();
    transaction.commit().await.unwrap();
    let started = Instant::now();
    let mut events = 0;
    loop {
        let rolled = rollup::roll(conn, property_id, rollup::BATCH).await.unwrap();
        events += rolled.events;
        if !rolled.more {
            break;
        }
    }
    let rate = events as f64 / started.elapsed().as_secs_f64();
    run_sql(conn, "vacuum (analyze) report_days, report_hours, credit_changes").await;
    table.push(Row::rate_only(
        "conversions worked into the sums",
        rate,
        "1 M conversions, 3 M rows of credit; nothing else running",
    ));
}

/// What the report would take without sums, in milliseconds.
async fn raw(conn: &mut PgConnection, property_id: Uuid) -> f64 {
    let started = Instant::now();
    sqlx::query(
        "select k.campaign, c.currency, sum(k.linear), sum(c.value * k.linear), count(distinct c.event_id)
         from conversions c
         left join credits k on k.property_id = c.property_id and k.event_id = c.event_id
           and k.version = (select max(version) from credits m where m.property_id = c.property_id and m.event_id = c.event_id)
         where c.property_id = $1 group by 1, 2",
    )
    .bind(property_id)
    .fetch_all(conn)
    .await
    .unwrap();
    started.elapsed().as_secs_f64() * 1000.0
}

/// Conversions over the days, oldest first, with ids of their times as the service makes them.
async fn fill(conn: &mut PgConnection, property_id: Uuid, attribution_id: Uuid) {
    sqlx::query(
        "insert into conversions (property_id, event_id, attribution_id, topic, conversion_id, purchase_id, event_time, received_at, value,
             currency, visitor_id, match_reason, session_id, lookback_days, payload, source)
         select $1, (left(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 8) || '-'
                 || right(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
             $2, topic, 'B-' || n, case when topic = 'refund' then 'B-' || n - 1000 end, at, at, (n % 20000) / 100.0,
             (array['USD', 'USD', 'USD', 'EUR', 'GBP'])[1 + n % 5], 'v-' || n % 40000,
             case when n % 4 = 0 then 'unknown_visitor' else 'matched' end, case when n % 4 > 0 then 's-' || n end, 30,
             '{\"products\":[{\"item_id\":\"SKU-1\",\"item_name\":\"Trail shoe\",\"price\":99.0,\"quantity\":1}],\"consent\":{\"advertising\":true}}',
             'webhook'
         from (select n, now() - make_interval(secs => ($3 - n) * 86400.0 * $4 / $3) as at,
                   case n % 20 when 7 then 'refund' when 13 then 'lead' else 'purchase' end as topic
               from generate_series(1, $3) n) numbered",
    )
    .bind(property_id)
    .bind(attribution_id)
    .bind(CONVERSIONS)
    .bind(i32::from(DAYS))
    .execute(&mut *conn)
    .await
    .unwrap();
    sqlx::query(
        "insert into credits (property_id, event_id, version, position, session_id, clicked_at, direct, source, medium, campaign, click_id,
             last_click, first_click, linear, time_decay, position_based)
         select c.property_id, c.event_id, 1, k, 's-' || k, c.event_time - make_interval(days => 5 - k), false,
             (array['google', 'facebook', 'bing', 'tiktok'])[1 + number % 4], 'cpc', 'spring-' || number % 40, 'gclid',
             case when k = 4 then 1000000 else 0 end, case when k = 1 then 1000000 else 0 end, 250000, k * 100000,
             case when k in (1, 4) then 400000 else 100000 end
         from (select property_id, event_id, event_time, substr(conversion_id, 3)::bigint as n from conversions
               where property_id = $1 and match_reason = 'matched') c
         cross join generate_series(1, 4) k
         cross join lateral (select (c.n * 7 + k * 13) % 1000 as number) x",
    )
    .bind(property_id)
    .execute(&mut *conn)
    .await
    .unwrap();
    run_sql(conn, "vacuum (analyze) conversions, credits").await;
    // Not everybody may; then the first cell pays for it.
    let _refused = sqlx::query("checkpoint").execute(conn).await;
}

async fn run_sql(conn: &mut PgConnection, sql: &'static str) {
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await.unwrap();
}
