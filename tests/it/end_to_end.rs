//! From the shop's checkout to the stubs of all platforms.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;
use trustdata::destinations::store;
use trustdata::domain::topic::Topic;
use trustdata::forwarding::platforms::Name;
use trustdata::forwarding::{NotTried, Sender, try_out};
use trustdata::platform::clock::Clock;
use trustdata::platform::outbound::Outbound;
use trustdata::platform::secrets::{Sealer, key_of_database};
use trustdata::stubs::{self, Options};
use trustdata::tokens::Scope;

use crate::api::{Program, token};
use crate::parcels::settings;
use crate::support::{LOCAL, TestApp, allow_local, now};

/// What the webhook is signed with.
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36";

/// The stubs on a port of their own.
pub struct Stubs {
    pub url: String,
    record: PathBuf,
    _server: AbortOnDropHandle<()>,
}

impl Stubs {
    pub async fn start() -> Self {
        let record = std::env::temp_dir().join(format!("trustdata-stubs-{}", uuid::Uuid::new_v4()));
        let options = Options {
            clock: Clock::fixed(now()),
            record: Some(&record),
            webhook_key: WEBHOOK_SECRET.parse().unwrap(),
        };
        let routes = stubs::router(options).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            url,
            record,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// Requests that were recorded, but for those for access tokens.
    fn recorded(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.record).unwrap_or_default();
        let entries = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let is_event = |entry: &Value| !entry["path"].as_str().unwrap().ends_with("token");
        entries.filter(is_event).collect()
    }
}

impl Drop for Stubs {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.record);
    }
}

/// A destination on every platform.
async fn destinations(program: &Program<'_>, stubs: &Stubs) {
    for name in Name::ALL {
        let made = program
            .post(
                "/destinations",
                json!({ "attribution_id": program.app.attribution_id, "platform": name.as_str(), "name": name.as_str(),
                    "settings": settings(name), "base_url": format!("{}/{name}", stubs.url) }),
            )
            .await;
        assert_eq!(made.status, 201, "{name} {made:?}");
    }
    // Caches hear of it by a notification.
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// A visit by an ad, as the script tells it.
async fn visit(app: &TestApp, visitor: &str, consent: Option<bool>) {
    let ad = "utm_source=google&utm_medium=cpc&utm_campaign=summer_sale&gclid=Cj0KCQ-1&fbclid=IwAR-1&ttclid=E.C.P-1\
              &msclkid=5f3c1d2e3f405162738495a6b7c8d9e0&li_fat_id=8a1b&epik=dj0yJnU9&ScCid=a1b2&rdt_cid=r-1";
    let mut fields = json!({ "visitor_id": visitor, "page_location": format!("https://shop.example/?{ad}"),
        "raw_user_agent": USER_AGENT, "browser_cookies": { "_fbp": "fb.1.1793440000000.1234567890", "_ga": "GA1.1.111.222" } });
    if let Some(granted) = consent {
        fields["consent"] = json!({ "analytics": true, "advertising": granted });
    }
    assert_eq!(app.tell("page_view", fields).await.status, 200);
}

/// Buys at the shop; the order's id.
async fn buy(app: &TestApp, visitor: &str) -> String {
    let form = [
        ("product", "tote"),
        ("quantity", "2"),
        ("visitor_id", visitor),
        ("email", "Jane.Doe@Example.com"),
    ];
    let answer = app
        .http
        .post(app.url("/shop/orders"))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    answer.url().path().rsplit('/').next().unwrap().to_owned()
}

/// State and reason at each destination, once nothing is on its way any more.
async fn settled(app: &TestApp, conversion_id: &str) -> BTreeMap<String, (String, Option<String>)> {
    let mut found = Vec::new();
    for _ in 0..750 {
        found = sqlx::query_as::<_, (String, String, Option<String>)>(
            "select t.platform, d.state, d.reason from deliveries d join conversions c using (property_id, event_id)
             join destinations t using (property_id, destination_id) where c.conversion_id = $1",
        )
        .bind(conversion_id)
        .fetch_all(&app.pool)
        .await
        .unwrap();
        if found.len() == 10 && found.iter().all(|(_, state, _)| state != "queued") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    found
        .into_iter()
        .map(|(platform, state, reason)| (platform, (state, reason)))
        .collect()
}

/// The same but for what differs from run to run.
fn steady(value: &Value, order: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(order, "ORDER")),
        Value::Array(items) => items.iter().map(|item| steady(item, order)).collect(),
        Value::Object(members) => members
            .iter()
            .map(
                |(name, value)| match uuid::Uuid::try_parse(value.as_str().unwrap_or_default()) {
                    Ok(_) if name == "event_id" => (name.clone(), "EVENT".into()),
                    _ => (name.clone(), steady(value, order)),
                },
            )
            .collect(),
        other => other.clone(),
    }
}

#[sqlx::test]
async fn a_purchase_of_the_shop_arrives_at_every_platform(pool: PgPool) {
    let app = TestApp::start_with_shop(pool).await;
    let stubs = Stubs::start().await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Write).await,
    };
    destinations(&program, &stubs).await;
    visit(&app, "visitor-1", Some(true)).await;
    let order = buy(&app, "visitor-1").await;
    let states = settled(&app, &order).await;
    assert_eq!(states.len(), 10, "{states:?}");
    for (platform, (state, reason)) in &states {
        let taken = ["accepted", "sent", "processed"].contains(&state.as_str());
        assert!(taken && reason.is_none(), "{platform}: {state} {reason:?}");
    }
    // Each platform got it once, and its stub, which knows the reference and not the sender, found nothing to complain of.
    let mut bodies: Map<String, Value> = Map::new();
    for entry in stubs.recorded() {
        let platform = entry["platform"].as_str().unwrap().to_owned();
        assert_eq!(entry["verdict"], "accepted", "{entry}");
        assert_eq!(entry["faults"], json!([]), "{entry}");
        let text = entry["body"].to_string();
        assert!(
            !text.to_lowercase().contains("jane"),
            "{platform} in clear: {text}"
        );
        if entry["method"] == "POST" {
            assert!(text.contains(&order), "{platform} without the deduplication id");
            assert!(bodies.insert(platform, steady(&entry["body"], &order)).is_none());
        }
    }
    assert_eq!(bodies.len(), 10);
    same_as_golden(bodies);
}

/// The bodies were read by a person against the platforms' references.
fn same_as_golden(bodies: Map<String, Value>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(root.join("tests/golden/shop.json")).unwrap_or_default();
    let golden: Value = serde_json::from_str(&golden).unwrap_or_default();
    let bodies = Value::Object(bodies);
    if golden != bodies {
        std::fs::create_dir_all(root.join("target/golden")).unwrap();
        let text = serde_json::to_string_pretty(&bodies).unwrap() + "\n";
        std::fs::write(root.join("target/golden/shop.json"), text).unwrap();
        panic!("other bodies than tests/golden/shop.json: see target/golden/shop.json");
    }
}

#[sqlx::test]
async fn without_consent_it_arrives_nowhere_and_each_suppression_shows(pool: PgPool) {
    let app = TestApp::start_with_shop(pool).await;
    let stubs = Stubs::start().await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Write).await,
    };
    destinations(&program, &stubs).await;
    visit(&app, "refuses", Some(false)).await;
    app.session(
        "unasked",
        1.0,
        "utm_source=google&utm_campaign=x&gclid=y&fbclid=z",
    )
    .await;
    for (visitor, expected) in [("refuses", "consent_denied"), ("unasked", "consent_unknown")] {
        let order = buy(&app, visitor).await;
        let states = settled(&app, &order).await;
        assert_eq!(states.len(), 10, "{visitor}");
        for (platform, (state, reason)) in states {
            assert_eq!(
                (state.as_str(), reason.as_deref()),
                ("suppressed", Some(expected)),
                "{visitor} {platform}"
            );
        }
    }
    assert_eq!(stubs.recorded(), Vec::<Value>::new());

    // The property answers for it itself, and its log tells who said so.
    let path = format!("/properties/{}", app.property_id);
    let opt_in = json!({ "unknown_consent_granted": true });
    let changed = program.ask(Method::PATCH, &path, Some(&opt_in)).await;
    assert_eq!(changed.body["unknown_consent_granted"], true);
    let order = buy(&app, "unasked").await;
    let states = settled(&app, &order).await;
    let (state, reason) = &states["meta"];
    assert_eq!((state.as_str(), reason), ("accepted", &None));
    let refused = buy(&app, "refuses").await;
    for (platform, (state, _)) in settled(&app, &refused).await {
        assert_eq!(state, "suppressed", "{platform}: a no stays a no");
    }
    let log = program.get("/settings-log").await.body["data"].clone();
    assert_eq!(log[0]["action"], "property.unknown_consent_granted");
}

#[sqlx::test]
async fn a_destination_is_tried_out_and_nothing_counts(pool: PgPool) {
    let app = TestApp::start_with(pool, allow_local).await;
    let stubs = Stubs::start().await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Write).await,
    };
    destinations(&program, &stubs).await;
    let mut conn = app.pool.acquire().await.unwrap();
    let key = key_of_database(&mut conn, now()).await.unwrap();
    let config = trustdata::platform::config::load(None).unwrap();
    let sealer = Sealer::new(&config.secrets, Some(key)).unwrap();
    let sender = Sender::new(Outbound::new(&[LOCAL.parse().unwrap()]).unwrap(), BTreeMap::new());
    let all = store::all(&mut conn, app.property_id, None, false).await.unwrap();
    let mut modes = BTreeMap::new();
    for destination in all {
        let (platform, at) = (destination.platform.clone(), now());
        let mut told = Vec::new();
        for code in [None, Some("TEST1")] {
            let tried = try_out(destination.clone(), Topic::Purchase, code, &sender, &sealer, at).await;
            told.push(match tried {
                Ok(tried) if tried.accepted => "taken".to_owned(),
                Ok(tried) => format!("{tried:?}"),
                Err(NotTried::NoTrial(no)) => format!("{no:?}"),
                Err(other) => other.to_string(),
            });
        }
        modes.insert(platform, told.join(", "));
    }
    let taken = "taken, taken".to_owned();
    let expected = Name::ALL.map(|name| {
        let told = match name {
            Name::TikTok | Name::Reddit => "NeedsCode, taken".to_owned(),
            Name::Microsoft | Name::LinkedIn => "NotOffered, NotOffered".to_owned(),
            _ => taken.clone(),
        };
        (name.as_str().to_owned(), told)
    });
    assert_eq!(modes, BTreeMap::from(expected));
    // Each says of itself that it is a test.
    for entry in stubs.recorded() {
        let (body, path) = (&entry["body"], entry["path"].as_str().unwrap());
        let marked = match entry["platform"].as_str().unwrap() {
            "meta" | "tiktok" => body["test_event_code"].is_string(),
            "reddit" => body["data"]["test_id"] == "TEST1",
            "google_data_manager" => body["validateOnly"] == true,
            "ga4" => path.contains("debug"),
            "snapchat" => path.ends_with("validate"),
            "webhook" => body["type"] == "test",
            // Its query is not recorded.
            "pinterest" => path.ends_with("events"),
            _ => false,
        };
        assert!(marked, "{entry}");
        assert_eq!(entry["verdict"], "accepted", "{entry}");
    }

    // What the platform says of bad credentials is told.
    let control = json!({ "platform": "meta", "mode": "token_expired" });
    let set = app.http.post(format!("{}/_control", stubs.url)).json(&control);
    assert_eq!(set.send().await.unwrap().status(), 200);
    let all = store::all(&mut conn, app.property_id, None, false).await.unwrap();
    let meta = all.into_iter().find(|one| one.platform == "meta").unwrap();
    let refused = try_out(meta, Topic::Purchase, None, &sender, &sealer, now())
        .await
        .unwrap();
    assert!(!refused.accepted && refused.code.unwrap().starts_with("190"));
}
