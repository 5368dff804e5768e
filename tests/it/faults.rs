//! The database goes away and comes back; the service is killed. What was answered 200 is stored, exactly once.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use trustdata::platform::clock::Clock;
use trustdata::platform::config::Config;
use trustdata::server::App;

use crate::support::{Answer, TestApp, config_for, listen, now, purchase};

/// A way to the database that can be cut.
struct Wire {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    cut: Arc<std::sync::Mutex<CancellationToken>>,
}

impl Wire {
    async fn to(database: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(AtomicBool::new(true));
        let cut = Arc::new(std::sync::Mutex::new(CancellationToken::new()));
        let (is_open, token) = (Arc::clone(&open), Arc::clone(&cut));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if !is_open.load(Ordering::SeqCst) {
                    continue;
                }
                let token = token.lock().unwrap().clone();
                let database = database.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(database).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        () = token.cancelled() => {}
                    }
                });
            }
        });
        Self { address, open, cut }
    }

    fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
        let mut token = self.cut.lock().unwrap();
        token.cancel();
        *token = CancellationToken::new();
    }

    fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

/// A way to the test's database, and the configuration of a service that takes it.
async fn wired(pool: &PgPool) -> (Wire, Config) {
    let mut config = config_for(&pool.connect_options());
    let mut url: url::Url = secrecy::ExposeSecret::expose_secret(&config.database.url)
        .parse()
        .unwrap();
    let wire = Wire::to(format!(
        "{}:{}",
        url.host_str().unwrap(),
        url.port().unwrap_or(5432)
    ))
    .await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(wire.address.port())).unwrap();
    config.database.url = url.to_string().into();
    (wire, config)
}

#[sqlx::test]
async fn a_database_that_is_cut_off_is_found_again(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let (wire, config) = wired(&pool).await;
    let behind = App::start(&config, Clock::fixed(now())).await.unwrap();
    let address = listen(&behind).await;
    let webhook = format!("http://{address}/webhooks/custom/{}/purchase", app.attribution_id);
    let send = async |id: &str| {
        let request = app
            .http
            .post(&webhook)
            .bearer_auth(&app.token)
            .header("content-type", "application/json");
        Answer::of(request.body(purchase(id).to_string())).await
    };
    let ready = async || {
        app.http
            .get(format!("http://{address}/readyz"))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(send("before").await.status, 200);
    assert_eq!(ready().await, 200);

    wire.cut();
    for i in 0..5 {
        let started = Instant::now();
        let answer = send(&format!("during-{i}")).await;
        assert_eq!(
            (
                answer.status.as_u16(),
                answer.code(),
                answer.header("retry-after")
            ),
            (503, "unavailable", "1")
        );
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "503 took {:?}",
            started.elapsed()
        );
    }
    assert_eq!(ready().await, 503);

    wire.mend();
    let mut answer = send("after").await;
    for _ in 0..100 {
        if answer.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = send("after").await;
    }
    assert_eq!(answer.status, 200);
    assert_eq!(ready().await, 200);
    let stored: Vec<String> =
        sqlx::query_scalar("select conversion_id from conversions order by conversion_id desc")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(stored, ["before", "after"]);
}

/// What changes while nobody listens holds once somebody does, though the old state was loaded in between.
#[sqlx::test]
async fn a_key_revoked_while_nobody_listened_is_revoked(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let (wire, config) = wired(&pool).await;
    let behind = App::start(&config, Clock::fixed(now())).await.unwrap();
    let address = listen(&behind).await;
    let webhook = format!("http://{address}/webhooks/custom/{}/lead", app.attribution_id);
    let send = async || {
        let request = app
            .http
            .post(&webhook)
            .bearer_auth(&app.token)
            .header("content-type", "application/json");
        Answer::of(request.body(purchase("1").to_string())).await
    };
    wire.cut();
    // The first attempt to listen again has failed by now, and the next one is a moment away.
    tokio::time::sleep(Duration::from_millis(600)).await;
    wire.mend();
    let mut answer = send().await;
    for _ in 0..20 {
        if answer.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = send().await;
    }
    assert_eq!(answer.status, 200);
    trustdata::keys::store::revoke(&mut pool.acquire().await.unwrap(), app.key_id, now())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(send().await.code(), "revoked_key");
}

/// The service as a process of its own.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL, as the test means it; an error says that it has ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub fn spawn(database: &str, port: u16, internal: u16) -> Process {
    Process(
        Command::new(env!("CARGO_BIN_EXE_trustdata"))
            .arg("serve")
            .env("TRUSTDATA__DATABASE__URL", database)
            .env("TRUSTDATA__SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .env(
                "TRUSTDATA__SERVER__INTERNAL_LISTEN",
                format!("127.0.0.1:{internal}"),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap(),
    )
}

pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[sqlx::test]
async fn ten_kills_under_load_lose_nothing_that_was_acknowledged(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let database =
        secrecy::ExposeSecret::expose_secret(&config_for(&pool.connect_options()).database.url).to_owned();
    let (port, internal) = (free_port().await, free_port().await);
    let webhook = format!(
        "http://127.0.0.1:{port}/webhooks/custom/{}/purchase",
        app.attribution_id
    );
    let over = CancellationToken::new();
    let senders: Vec<_> = (0..16)
        .map(|sender| {
            let (http, webhook, token, over) =
                (app.http.clone(), webhook.clone(), app.token.clone(), over.clone());
            tokio::spawn(async move {
                let (mut acknowledged, mut n) = (Vec::new(), 0);
                while !over.is_cancelled() {
                    let id = format!("{sender}-{n}");
                    n += 1;
                    let request = http
                        .post(&webhook)
                        .bearer_auth(&token)
                        .header("content-type", "application/json");
                    match request
                        .body(purchase(&id).to_string())
                        .timeout(Duration::from_secs(5))
                        .send()
                        .await
                    {
                        Ok(answer) if answer.status() == 200 => acknowledged.push(id),
                        _ => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
                acknowledged
            })
        })
        .collect();
    for _ in 0..10 {
        let process = spawn(&database, port, internal);
        for _ in 0..500 {
            let live = app
                .http
                .get(format!("http://127.0.0.1:{port}/readyz"))
                .send()
                .await;
            if live.is_ok_and(|live| live.status() == 200) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(process);
    }
    over.cancel();
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.extend(sender.await.unwrap());
    }
    let stored: Vec<String> = sqlx::query_scalar("select conversion_id from conversions")
        .fetch_all(&pool)
        .await
        .unwrap();
    let stored_once: std::collections::HashSet<&String> = stored.iter().collect();
    assert_eq!(stored_once.len(), stored.len(), "stored twice");
    assert!(
        acknowledged.len() > 100,
        "the load reached the service: {}",
        acknowledged.len()
    );
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|id| !stored_once.contains(id))
        .collect();
    assert!(
        lost.is_empty(),
        "acknowledged {}, lost {lost:?}",
        acknowledged.len()
    );
    // Each has the audit row that was committed with it.
    let audited: i64 =
        sqlx::query_scalar("select count(distinct conversion_id) from activity where not duplicate")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(usize::try_from(audited).unwrap(), stored.len());
}

#[sqlx::test]
async fn sigterm_ends_cleanly(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let database =
        secrecy::ExposeSecret::expose_secret(&config_for(&pool.connect_options()).database.url).to_owned();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_trustdata"))
        .arg("serve")
        .env("TRUSTDATA__DATABASE__URL", database)
        .env(
            "TRUSTDATA__SERVER__LISTEN",
            format!("127.0.0.1:{}", free_port().await),
        )
        .env(
            "TRUSTDATA__SERVER__INTERNAL_LISTEN",
            format!("127.0.0.1:{}", free_port().await),
        )
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("serving") {
            break;
        }
    }
    let pid = child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.code(), Some(0));
    drop(app);
}
