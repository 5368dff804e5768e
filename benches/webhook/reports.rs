//! Reports over a million conversions: alone, and beside webhooks that are being sent.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use trustdata::platform::clock::Clock;
use trustdata::platform::config;
use trustdata::platform::secrets::Sealer;
use trustdata::reports::campaigns::{self, Dimension};
use trustdata::reports::{Model, Window, conversions, overview, rollup};
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
    for _ in 0..5 {
        keep_better(&mut without, webhooks(scratch, tenants, time, None).await);
        let reader = Reader::start(&scratch.url, property_id);
        keep_better(&mut with, webhooks(scratch, tenants, time, Some(&reader)).await);
        for ((_, all), (_, more)) in times.iter_mut().zip(reader.stop()) {
            all.extend(more);
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
async fn webhooks(scratch: &Scratch, tenants: &Tenants, time: Duration, reader: Option<&Reader>) -> Measured {
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
    if let Some(reader) = reader {
        reader.begin.cancel();
    }
    let measured = load.run(tenants).await;
    service.stop().await;
    measured
}

/// Somebody who reads one page after the other, on a thread of its own: what it does must not keep the sender of webhooks from sending.
struct Reader {
    begin: CancellationToken,
    over: CancellationToken,
    thread: std::thread::JoinHandle<Vec<(Page, Vec<f64>)>>,
}

impl Reader {
    fn start(url: &str, property_id: Uuid) -> Self {
        let (begin, over) = (CancellationToken::new(), CancellationToken::new());
        let read = {
            let (url, begin, over) = (url.to_owned(), begin.clone(), over.clone());
            async move {
                let mut conn = PgConnection::connect(&url).await.unwrap();
                let mut times = Page::ALL.map(|page| (page, Vec::new()));
                begin.cancelled().await;
                while !over.is_cancelled() {
                    for (page, times) in &mut times {
                        times.push(page.read(&mut conn, property_id).await);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                times.to_vec()
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let thread = std::thread::spawn(move || runtime.block_on(read));
        Self { begin, over, thread }
    }

    fn stop(self) -> Vec<(Page, Vec<f64>)> {
        self.over.cancel();
        self.thread.join().unwrap()
    }
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
