//! The benchmark's own database and what is in it.

use std::process::Command;

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};
use trustdata::platform::clock::Clock;
use trustdata::platform::token::{Scheme, Token};
use trustdata::platform::{config, db};
use trustdata::{keys, streams};
use uuid::Uuid;

const NAME: &str = "trustdata_bench";

/// A database that lives as long as the benchmark.
pub struct Scratch {
    /// Where it is.
    pub url: String,
    server: PgConnectOptions,
    pool: PgPool,
}

/// One property with its stream and key.
pub struct Tenant {
    pub property_id: Uuid,
    pub attribution_id: Uuid,
    pub key_id: Uuid,
    pub token: String,
}

/// Properties that share visitors `v-0` to `v-N`: `v-i` belongs to the property `i % all.len()`.
pub struct Tenants {
    pub all: Vec<Tenant>,
    visitors: std::sync::atomic::AtomicI64,
}

impl Tenants {
    /// How many visitors there are.
    pub fn visitors(&self) -> i64 {
        self.visitors.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Scratch {
    /// Makes it anew on the server of DATABASE_URL; one that an interrupted run left goes.
    pub async fn create() -> Self {
        let config = config::load(None).unwrap();
        let mut url: url::Url = config.database.url.expose_secret().parse().unwrap();
        let server: PgConnectOptions = url.as_str().parse().unwrap();
        url.set_path(NAME);
        let mut conn = server.connect().await.unwrap();
        run(&mut conn, format!("drop database if exists {NAME} with (force)")).await;
        run(&mut conn, format!("create database {NAME}")).await;
        let options: PgConnectOptions = url.as_str().parse().unwrap();
        // Filling takes longer than statements that sqlx calls slow.
        let options = options.log_statements(tracing::log::LevelFilter::Off);
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .connect_with(options)
            .await
            .unwrap();
        db::MIGRATIONS.run(&pool).await.unwrap();
        Self {
            url: url.into(),
            server,
            pool,
        }
    }

    /// Connections to it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Drops it.
    pub async fn drop_it(self) {
        self.pool.close().await;
        let mut conn = self.server.connect().await.unwrap();
        run(&mut conn, format!("drop database {NAME} with (force)")).await;
    }

    /// No conversions, and nothing left to write from before.
    pub async fn fresh(&self) {
        let mut conn = self.pool.acquire().await.unwrap();
        run(
            &mut conn,
            "truncate conversions, credits, credit_changes, report_days, report_hours, report_refunds, activity, awaited_visitors, outbox, deliveries".to_owned(),
        )
        .await;
        // Not everybody may; then the next cell pays for the last one.
        let _refused = sqlx::query("checkpoint").execute(&mut *conn).await;
    }

    /// New properties with a stream and a key each. Their hashes are real argon2id, with the smallest parameters that there are: a proof is
    /// made once a key, in the warm-up, and a PHC string says itself how it is to be verified.
    pub async fn tenants(&self, count: i64) -> Tenants {
        let clock = Clock::system();
        let argon2 = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(8, 1, 1, None).unwrap(),
        );
        let mut transaction = self.pool.begin().await.unwrap();
        let mut all = Vec::new();
        for n in 0..count {
            let created_at = clock.now();
            let property = streams::Property::new(format!("Shop {n}"), &clock);
            streams::store::insert_property(&mut transaction, &property)
                .await
                .unwrap();
            let stream = streams::Stream {
                attribution_id: clock.new_id(),
                property_id: property.property_id,
                name: "Website".to_owned(),
                webhooks_enabled: true,
                lookback_days: 30,
                created_at,
            };
            streams::store::insert_stream(&mut transaction, &stream)
                .await
                .unwrap();
            let token = Token::generate(Scheme::Webhook);
            let key = keys::Key {
                key_id: clock.new_id(),
                property_id: property.property_id,
                attribution_id: stream.attribution_id,
                name: "production".to_owned(),
                prefix: token.prefix().to_owned(),
                rate_limit: keys::MOST_RATE_LIMIT,
                created_at,
                expires_at: None,
                revoked_at: None,
                last_used_at: None,
            };
            let hash = argon2
                .hash_password(token.expose().as_bytes())
                .unwrap()
                .to_string();
            keys::store::insert(&mut transaction, &key, &hash).await.unwrap();
            all.push(Tenant {
                property_id: property.property_id,
                attribution_id: stream.attribution_id,
                key_id: key.key_id,
                token: token.expose().to_owned(),
            });
        }
        transaction.commit().await.unwrap();
        Tenants {
            all,
            visitors: 0.into(),
        }
    }

    /// Gives the properties so many sessions: visitors with two or three touches in turn, all within the lookback.
    pub async fn sessions(&self, tenants: &Tenants, count: i64) {
        let visitors = count * 2 / 5;
        let mut conn = self.pool.acquire().await.unwrap();
        // Many rows are loaded sooner without the index of visitors; session ids come in order, as the service makes them.
        let index: String =
            sqlx::query_scalar("select indexdef from pg_indexes where indexname = 'sessions_of_visitor'")
                .fetch_one(&mut *conn)
                .await
                .unwrap();
        run(&mut conn, "drop index sessions_of_visitor".to_owned()).await;
        sqlx::query(
            "insert into sessions (property_id, session_id, attribution_id, visitor_id, started_at, last_seen_at, direct, landing_url, source,
                 medium, campaign, campaign_id, ad_group_id, keyword_id, term, click_id, click_ids, consent)
             select t.property_id, '018f6b2e-7c00-7000-8000-' || lpad(to_hex(v * 4 + k), 12, '0'), t.attribution_id, 'v-' || v, at, at, false,
                 'https://shop.example/collections/running-shoes?utm_source=google&utm_medium=cpc&utm_campaign=spring-' || v % 40
                     || '&gclid=Cj0KCQjw' || lpad(to_hex(v * 4 + k), 32, 'x'),
                 'google', 'cpc', 'spring-' || v % 40, (20000000000 + v % 40)::text, '14' || v % 400, 'kwd-' || v % 4000, 'running shoes',
                 'gclid', jsonb_build_object('gclid', 'Cj0KCQjw' || lpad(to_hex(v * 4 + k), 32, 'x')), '{\"ad_storage\": true}'
             from generate_series(0, $1 - 1) v
             join unnest($2::uuid[], $3::uuid[]) with ordinality as t(property_id, attribution_id, n) on t.n - 1 = v % $4
             cross join lateral (select k, now() - make_interval(secs => 3600 + random() * 25 * 86400) as at
                                 from generate_series(1, 2 + v % 2) k) k",
        )
        .bind(visitors)
        .bind(tenants.all.iter().map(|tenant| tenant.property_id).collect::<Vec<_>>())
        .bind(tenants.all.iter().map(|tenant| tenant.attribution_id).collect::<Vec<_>>())
        .bind(tenants.all.len() as i64)
        .execute(&mut *conn)
        .await
        .unwrap();
        run(&mut conn, index).await;
        run(&mut conn, "vacuum (analyze) sessions".to_owned()).await;
        // What the filling left to be written belongs to no measurement, and a service that has run for a while finds its sessions in memory.
        let _refused = sqlx::query("checkpoint").execute(&mut *conn).await;
        Command::new("sync").status().unwrap();
        let load = "select pg_prewarm(relation) from unnest(array['sessions', 'sessions_of_visitor']::regclass[]) relation";
        for sql in ["create extension if not exists pg_prewarm", load] {
            let _refused = sqlx::query(sql).execute(&mut *conn).await;
        }
        tenants
            .visitors
            .store(visitors, std::sync::atomic::Ordering::Relaxed);
    }

    /// What all of this runs on.
    pub async fn machine(&self) -> String {
        let (postgres, _) = db::server_state(&mut self.pool.acquire().await.unwrap())
            .await
            .unwrap();
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default();
            line.split(':').nth(1).unwrap_or("unknown").trim().to_owned()
        };
        let nproc = Command::new("nproc")
            .output()
            .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
        format!(
            "Machine: {} cores, {} memory, {}; PostgreSQL {postgres}",
            nproc.unwrap_or_default(),
            field("/proc/meminfo", "MemTotal"),
            field("/proc/cpuinfo", "model name"),
        )
    }
}

async fn run(conn: &mut PgConnection, sql: String) {
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await.unwrap();
}
