//! The service put together: state, routes, background tasks.

use std::sync::Arc;

use axum::Router;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::run::StartError;
use super::{background, health, router, settings_listener};
use crate::activity;
use crate::api::Api;
use crate::collect::{self, Collector};
use crate::conversions::{Previewer, Recorder};
use crate::dashboard::Dashboard;
use crate::destinations::Destinations;
use crate::destinations::outbox::Bell;
use crate::forwarding;
use crate::keys::{self, Allowances, Authenticator};
use crate::platform::client_ip::TrustedProxies;
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::daily_salts::DailySalts;
use crate::platform::db;
use crate::platform::group_commit::Writers;
use crate::platform::last_noted::LastNoted;
use crate::platform::outbound::Outbound;
use crate::platform::pace::Pace;
use crate::platform::password::SlowHash;
use crate::platform::rate;
use crate::platform::secrets::{Sealer, key_of_database};
use crate::reports::Reader;
use crate::sessions::tracking::Tracker;
use crate::streams::{self, Streams};
use crate::tokens;
use crate::trials::Trials;
use crate::users::sign_ins::SignIns;
use crate::webhook::Webhook;

/// A service that is ready to be listened to.
pub struct App {
    /// Webhooks and health.
    pub public: Router,
    /// The writers of recorder and tracker: they end when the routers are gone and all is settled.
    pub writers: Writers,
    /// Tasks that end by themselves once nothing is left to write.
    pub draining: JoinSet<()>,
    /// Tells those, and what never ends by itself, that they are to end.
    pub stop: CancellationToken,
    /// Tasks that run until they are stopped.
    pub endless: JoinSet<()>,
}

impl App {
    /// Puts the service together over a database whose schema is up to date.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self, StartError> {
        Self::start_with(config, clock, Router::new()).await
    }

    /// Puts it together with further routes beside its own, inside the layer that is around them all.
    pub async fn start_with(config: &Config, clock: Clock, also: Router) -> Result<Self, StartError> {
        let pool = db::pool(&config.database)?;
        let options = db::options(&config.database)?;
        let of_database = key_of_database(&mut *pool.acquire().await?, clock.now()).await?;
        let sealer = Sealer::new(&config.secrets, Some(of_database))?;
        let hash = SlowHash::new(config.auth.hashes_at_once);
        let streams = Arc::new(Streams::new(pool.clone()));
        let authenticator = Arc::new(Authenticator::new(
            pool.clone(),
            clock.clone(),
            hash.clone(),
            config.auth.failures_per_minute,
        ));

        let salts = Arc::new(DailySalts::new(pool.clone(), clock.clone()));

        let (mut draining, mut endless) = (JoinSet::new(), JoinSet::new());
        let bell = Bell::default();
        let destinations = Arc::new(Destinations::new(pool.clone()));
        let mut writers = Writers(JoinSet::new());
        let recorder = Recorder::start(&config.recorder, &options, &sealer, &bell, &mut writers);
        let tracker = Tracker::start(&config.tracker, &options, &sealer, &clock, &mut writers);
        let (filer, filing) = activity::start_filer(pool.clone(), config.activity.refused_per_minute);
        let (last_used, noting) = LastNoted::start::<keys::store::LastUsed>(pool.clone());
        let (last_seen, seeing) = LastNoted::start::<streams::store::LastSeen>(pool.clone());
        draining.spawn(filing);
        draining.spawn(noting);
        draining.spawn(seeing);
        let listening = settings_listener::start(
            pool.clone(),
            Arc::clone(&streams),
            Arc::clone(&authenticator),
            Arc::clone(&destinations),
        )
        .await?;
        endless.spawn(listening);
        let background = db::background_pool(&config.database)?;
        let pace = || {
            let waiting = recorder.depth();
            Pace::behind(move || waiting.events())
        };
        endless.spawn(background::retention(
            background.clone(),
            clock.clone(),
            pace(),
            Arc::clone(&salts),
        ));
        endless.spawn(background::late_matches(background.clone(), clock.clone()));
        endless.spawn(background::report_sums(background.clone(), pace()));
        endless.spawn(background::gauges(
            pool.clone(),
            recorder.clone(),
            tracker.clone(),
        ));

        let stop = CancellationToken::new();
        let sender = forwarding::Sender::new(
            Outbound::new(&config.forwarding.allowed_private_networks)?,
            config.forwarding.platforms.clone(),
        );
        let context = forwarding::Context {
            pool: background.clone(),
            sender: sender.clone(),
            sealer: sealer.clone(),
            clock: clock.clone(),
            pace: pace(),
            fan_out_pace: pace(),
            stop: stop.clone(),
        };
        draining.spawn(forwarding::run(Arc::new(context), bell, config.forwarding.lanes));

        let health = health::Health {
            pool: pool.clone(),
            recorder: recorder.clone(),
            tracker: tracker.clone(),
        };
        let proxies = TrustedProxies::new(config.server.trusted_proxies.clone());
        let collector = Collector {
            streams: Arc::clone(&streams),
            limits: collect::Limits::new(&config.collect, clock.clone()),
            salts,
            tracker,
            last_seen,
            destinations: Arc::clone(&destinations),
            recorder: recorder.clone(),
            sealer: sealer.clone(),
            clock: clock.clone(),
            proxies: proxies.clone(),
            read_timeout: config.server.read_timeout,
        };
        let trials = Trials {
            previewer: Previewer::new(pool.clone(), sealer.clone()),
            forwarding: forwarding::Previewer::new(pool.clone(), sealer.clone(), clock.clone()),
            destinations: Arc::clone(&destinations),
            filer: filer.clone(),
            sealer: sealer.clone(),
            clock: clock.clone(),
        };
        let failures = config.auth.failures_per_minute;
        let reports = Reader::new(background.clone());
        let sign_ins = Arc::new(SignIns::new(pool.clone(), clock.clone(), hash.clone(), failures));
        let (api_last_used, noting_api) = LastNoted::start::<tokens::store::LastUsed>(pool.clone());
        draining.spawn(noting_api);
        let api = Api {
            pool: pool.clone(),
            reports: reports.clone(),
            clock: clock.clone(),
            sign_ins: Arc::clone(&sign_ins),
            hash: hash.clone(),
            sealer: sealer.clone(),
            proxies: proxies.clone(),
            base_url: config.server.base_url(),
            trials: trials.clone(),
            sender: sender.clone(),
            last_used: api_last_used,
            failures: rate::Allowances::new(clock.clone()),
            failures_per_minute: failures,
        };
        let dashboard = Dashboard {
            sign_ins,
            hash,
            base_url: config.server.base_url(),
            trials,
            sender,
            sealer: sealer.clone(),
            proxies: proxies.clone(),
            clock: clock.clone(),
            pool: pool.clone(),
            stop: stop.clone(),
            live: Dashboard::live_places(),
            reports: reports.clone(),
        };
        let webhook = Webhook {
            streams,
            authenticator,
            allowances: Arc::new(Allowances::new(clock.clone())),
            last_used,
            destinations,
            recorder,
            previewer: Previewer::new(pool.clone(), sealer.clone()),
            forwarding: forwarding::Previewer::new(pool, sealer.clone(), clock.clone()),
            filer,
            sealer,
            clock,
            proxies,
            read_timeout: config.server.read_timeout,
        };
        Ok(Self {
            public: router::public(
                Arc::new(webhook),
                Arc::new(collector),
                Arc::new(dashboard),
                Arc::new(api),
                health,
                also,
            ),
            writers,
            draining,
            stop,
            endless,
        })
    }

    /// Ends the background work once no request is left: everything that was taken is settled and written.
    pub async fn finish(self) {
        let Self {
            public,
            writers: Writers(mut writers),
            mut draining,
            stop,
            mut endless,
        } = self;
        stop.cancel();
        // The endless tasks and the routes hold the last ends of the queues.
        endless.shutdown().await;
        drop(public);
        while writers.join_next().await.is_some() {}
        while draining.join_next().await.is_some() {}
    }
}

/// The pool's state, for the metrics.
pub(super) fn pool_gauges(pool: &PgPool) {
    metrics::gauge!("trustdata_pool_connections", "state" => "open").set(f64::from(pool.size()));
    metrics::gauge!("trustdata_pool_connections", "state" => "idle").set(pool.num_idle() as f64);
}
