//! `trustdata demo`: a small shop to try everything on.

pub mod shop;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, PgConnection};
use url::Url;
use uuid::Uuid;

use super::{CliError, connect, migrate, output, user};
use crate::keys::DEFAULT_RATE_LIMIT;
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::password::{HashError, SlowHash};
use crate::platform::secrets::{self, Sealer};
use crate::sessions::store::AlreadyThere;
use crate::sessions::{self, Session, import};
use crate::settings::{self, Actor, NewKey};
use crate::streams::{self, Stream};
use crate::users::Role;
use shop::Shop;

const PROPERTY: &str = "Demo shop";
const STREAM: &str = "Demo shop website";
const KEY: &str = "demo";
const EMAIL: &str = "demo@shop.example";

/// Visitor, hours ago, page and query on https://shop.example, referrer.
const VISITS: [(&str, i64, &str, &str); 11] = [
    (
        "demo-visitor-1",
        70,
        "/summer?utm_source=google&utm_medium=cpc&utm_campaign=summer_sale&gclid=Cj0KCQdemo1",
        "https://www.google.com/",
    ),
    (
        "demo-visitor-1",
        290,
        "/?utm_source=newsletter&utm_medium=email&utm_campaign=july_news",
        "",
    ),
    ("demo-visitor-1", 5, "/cart", ""),
    (
        "demo-visitor-2",
        200,
        "/shoes?utm_source=facebook&utm_medium=paid_social&utm_campaign=new_arrivals&fbclid=IwARdemo2",
        "https://www.facebook.com/",
    ),
    (
        "demo-visitor-2",
        26,
        "/shoes/red?utm_source=google&utm_medium=cpc&utm_campaign=brand&gclid=Cj0KCQdemo2",
        "https://www.google.com/",
    ),
    (
        "demo-visitor-3",
        440,
        "/summer?utm_source=bing&utm_medium=cpc&utm_campaign=summer_sale&msclkid=5f3cdemo3",
        "https://www.bing.com/",
    ),
    (
        "demo-visitor-4",
        120,
        "/sale?utm_source=tiktok&utm_medium=paid_social&utm_campaign=clips&ttclid=E.C.Pdemo4",
        "https://www.tiktok.com/",
    ),
    ("demo-visitor-4", 100, "/sale", "https://www.google.com/"),
    (
        "demo-visitor-4",
        12,
        "/sale/bags?utm_source=newsletter&utm_medium=email&utm_campaign=weekend",
        "",
    ),
    (
        "demo-visitor-5",
        48,
        "/blog/how-to-pack",
        "https://travel.example/ten-best-bags",
    ),
    ("demo-visitor-6", 3, "/", ""),
];

/// What the reader is told.
struct Opened {
    stream: Stream,
    key: String,
    /// Of the user made just now.
    password: Option<String>,
}

/// Makes or finds the shop, says how to try it, and serves.
pub(super) async fn run(config: Config) -> Result<(), CliError> {
    migrate::migrate(&config).await?;
    let mut conn = connect(&config).await?;
    let shop = match existing(&mut conn).await? {
        Some(stream) => reopen(&mut conn, stream).await?,
        None => open(&mut conn, &config).await?,
    };
    drop(conn);
    output::say(&welcome(&shop, &config))?;
    let refused =
        |error: &dyn std::fmt::Display| CliError::Refusal(format!("the shop cannot be opened: {error}"));
    let service = own_address(config.server.listen).map_err(|error| refused(&error))?;
    let pages = Shop::new(&service, shop.stream.attribution_id, shop.key.into());
    let pages = pages.map_err(|error| refused(&error))?;
    Ok(crate::server::run(config, pages.routes()).await?)
}

/// Where the service finds itself. Not `public_url`: the proxy that it names need not be there in a demo.
fn own_address(mut listen: SocketAddr) -> Result<Url, url::ParseError> {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Url::parse(&format!("http://{listen}"))
}

/// The demo's stream, none in an empty database; an error in a database that has something else.
async fn existing(conn: &mut PgConnection) -> Result<Option<Stream>, CliError> {
    let properties = streams::store::list_properties(conn).await?;
    if properties.is_empty() {
        return Ok(None);
    }
    let Some(shop) = properties.iter().find(|property| property.name == PROPERTY) else {
        return Err(CliError::Refusal(format!(
            "this database has {} property(ies) already, and none is the demo's: the demo fills only an empty database.\n\
             Set DATABASE_URL to an empty one, or run `trustdata serve`.",
            properties.len()
        )));
    };
    let streams = streams::store::list_streams(conn).await?;
    let found = streams
        .into_iter()
        .find(|stream| stream.property_id == shop.property_id);
    let missing = || {
        CliError::Refusal(format!(
            "the property \"{PROPERTY}\" has no attribution ID: the demo did not make it"
        ))
    };
    found.map(Some).ok_or_else(missing)
}

/// Another run: keeps everything and makes a fresh key, for the earlier ones cannot be shown again.
async fn reopen(conn: &mut PgConnection, stream: Stream) -> Result<Opened, CliError> {
    let clock = Clock::system();
    let fresh = new_key(&stream, &clock).await?;
    settings::create_key(conn, &Actor::CommandLine, &fresh, &clock).await?;
    Ok(Opened {
        stream,
        key: fresh.token.expose().to_owned(),
        password: None,
    })
}

/// The first run: everything, or nothing.
async fn open(conn: &mut PgConnection, config: &Config) -> Result<Opened, CliError> {
    let clock = Clock::system();
    let password = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 15]>());
    let password_hash = SlowHash::new(1).hash(password.clone()).await?;

    let mut transaction = conn.begin().await?;
    let actor = &Actor::CommandLine;
    let property = settings::create_property(&mut transaction, actor, PROPERTY.to_owned(), &clock).await?;
    let mut stream = Stream::new(property.property_id, STREAM.to_owned(), &clock);
    stream.webhooks_enabled = true;
    settings::create_stream(&mut transaction, actor, &stream, &clock).await?;
    let sessions = visits(&stream, clock.now())?;
    let of_database = secrets::key_of_database(&mut transaction, clock.now()).await?;
    let sealer = Sealer::new(&config.secrets, Some(of_database))?;
    sessions::store::insert(&mut transaction, &sessions, AlreadyThere::Stays, &sealer).await?;
    let fresh = new_key(&stream, &clock).await?;
    settings::create_key(&mut transaction, actor, &fresh, &clock).await?;
    let user = user::new(EMAIL.to_owned(), Role::Owner, &clock);
    let made = settings::create_user(&mut transaction, actor, &user, Some(&password_hash), &clock).await?;
    transaction.commit().await?;
    Ok(Opened {
        stream,
        key: fresh.token.expose().to_owned(),
        password: made.then_some(password),
    })
}

async fn new_key(stream: &Stream, clock: &Clock) -> Result<NewKey, HashError> {
    let hash = SlowHash::new(1);
    settings::new_key(stream, KEY.to_owned(), DEFAULT_RATE_LIMIT, None, &hash, clock).await
}

/// The visits, read from lines as `session import` reads them.
fn visits(stream: &Stream, now: DateTime<Utc>) -> Result<Vec<(Uuid, Session)>, CliError> {
    VISITS
        .iter()
        .map(|(visitor_id, hours_ago, page, referrer)| {
            let line = serde_json::json!({
                "attribution_id": stream.attribution_id,
                "visitor_id": visitor_id,
                "started_at": (now - TimeDelta::hours(*hours_ago)).to_rfc3339(),
                "landing_url": format!("https://shop.example{page}"),
                "referrer": (!referrer.is_empty()).then_some(referrer),
            });
            import::parse_line(&line.to_string())
                .map(|session| (stream.property_id, session))
                .map_err(|faults| {
                    CliError::Refusal(format!("the demo's visit to {page} cannot be read: {faults:?}"))
                })
        })
        .collect()
}

fn welcome(shop: &Opened, config: &Config) -> String {
    let base = config.server.base_url();
    let internal = config.server.internal_listen;
    let webhook = format!("{base}/webhooks/custom/{}/purchase", shop.stream.attribution_id);
    let opened = if shop.stream.webhooks_enabled {
        String::new()
    } else {
        format!(
            "\nIts webhooks are disabled; to enable them: trustdata attribution-id enable-webhooks {}\n",
            shop.stream.attribution_id
        )
    };
    let sign_in = match &shop.password {
        Some(password) => format!("{EMAIL}, password {password}   (not shown again)"),
        None => format!(
            "{EMAIL}, kept with its password; another user: trustdata user create --email you@shop.example"
        ),
    };
    format!(
        "Shop {base}/shop/\n\
         Come in by an ad, say yes to the cookies, and buy a bag: the last page shows which ad gets the credit.\n\n\
         {PROPERTY}: attribution ID {id}\n{opened}\n\
         Send a purchase (demo-visitor-1 clicked an ad for it):\n\n{send}\n\n\
         The same as a dry run, which stores nothing:\n\n{dry}\n\n\
         User      {sign_in}; the dashboard: {base}/\n\
         Health    {base}/healthz and {base}/readyz\n\
         Metrics   http://{internal}/metrics\n",
        id = shop.stream.attribution_id,
        send = curl(&webhook, &shop.key),
        dry = curl(&format!("{webhook}?dry_run=true"), &shop.key),
    )
}

fn curl(url: &str, key: &str) -> String {
    let body =
        r#"{"conversion_id":"ORD-12345","value":99.00,"currency":"USD","visitor_id":"demo-visitor-1"}"#;
    format!(
        "curl -sS '{url}' \\\n  -H 'Authorization: Bearer {key}' \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"
    )
}
