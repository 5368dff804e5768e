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
use trustdata::users::Role;

use crate::api::{Program, token};
use crate::command_line::run;
use crate::dashboard::Person;
use crate::parcels::settings;
use crate::support::{LOCAL, TestApp, allow_local, now};

/// What the webhook is signed with.
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Where the visitor comes from, and the merchant's server does not.
const VISITORS_ADDRESS: &str = "203.0.113.77";
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
    view(app, visitor, ad, consent).await;
}

/// A page view behind the proxy, with cookies that the script tells and cookies that come by themselves.
async fn view(app: &TestApp, visitor: &str, query: &str, consent: Option<bool>) {
    let mut fields = json!({ "visitor_id": visitor, "page_location": format!("https://shop.example/?{query}"), "raw_user_agent": USER_AGENT,
        "browser_cookies": { "_fbp": "fb.1.1793440000000.1234567890", "_ga": "GA1.1.111.222", "_ga_ABC123": "GS2.1.s1793440000$o1$g1",
            "_ttp": "ttp-1", "session": "not theirs" } });
    if let Some(granted) = consent {
        fields["consent"] = json!({ "analytics": true, "advertising": granted });
    }
    let request = app
        .page()
        .header("x-forwarded-for", VISITORS_ADDRESS)
        // The site's own host: only there are cookies that come by themselves the site's.
        .header("host", "track.shop.example")
        .header("origin", "https://shop.example")
        .header(
            "cookie",
            "_rdt_uuid=1793440000000.r-1; _uetvid=u-1; _scid=s-1; basket=7",
        )
        .body(app.event("page_view", &fields).to_string());
    assert_eq!(crate::support::Answer::of(request).await.status, 200);
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
        assert!(
            !text.contains("127.0.0.1"),
            "{platform}: the merchant's address: {text}"
        );
        // Reddit gets a hash of it, Google and LinkedIn nothing.
        let told = !matches!(platform.as_str(), "google_data_manager" | "linkedin" | "reddit");
        assert_eq!(
            text.contains(VISITORS_ADDRESS),
            told && entry["method"] == "POST",
            "{platform}: {text}"
        );
        if entry["method"] == "POST" {
            assert!(text.contains(&order), "{platform} without the deduplication id");
            assert!(bodies.insert(platform, steady(&entry["body"], &order)).is_none());
        }
    }
    assert_eq!(bodies.len(), 10);
    same_as_golden(bodies);
}

/// What people and programs are shown of a conversion's deliveries, wherever they look.
async fn shown(app: &TestApp, program: &Program<'_>, sent: &Value) -> Vec<(&'static str, String)> {
    let conversion_id = sent["conversion_id"].as_str().unwrap();
    let event_id: uuid::Uuid =
        sqlx::query_scalar("select event_id from conversions where conversion_id = $1")
            .bind(conversion_id)
            .fetch_one(&app.pool)
            .await
            .unwrap();
    let api = program
        .get(&format!("/conversions/{event_id}/deliveries"))
        .await
        .body;
    let viewer = Person::signed_in(app, Role::Viewer).await;
    let page = format!("/dashboard/properties/{}/conversions/{event_id}", app.property_id);
    let page = viewer.get(&page).await.text;
    let args = ["delivery", "list", "--conversion", conversion_id, "--json"];
    let (pool, args) = (app.pool.clone(), args.map(str::to_owned));
    let listed = tokio::task::spawn_blocking(move || run(&pool, &args.each_ref().map(String::as_str), ""));
    let listed = String::from_utf8(listed.await.unwrap().stdout).unwrap();
    let request = app
        .http
        .post(format!("{}?dry_run=true", app.webhook("purchase")))
        .bearer_auth(&app.token)
        .json(sent);
    let dry_run = crate::support::Answer::of(request).await.body;
    vec![
        ("API", api.to_string()),
        ("page", page),
        ("command line", listed),
        ("dry run", dry_run.to_string()),
    ]
}

/// The visitor's address and browser, and whatever else platforms get in clear, is for them alone.
#[sqlx::test]
async fn nobody_is_shown_what_tells_of_the_visitor(pool: PgPool) {
    let app = TestApp::start_with_shop(pool).await;
    let stubs = Stubs::start().await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Write).await,
    };
    destinations(&program, &stubs).await;
    // Nothing that LinkedIn could know the visitor by, but for the name.
    view(&app, "visitor-1", "utm_source=x&gclid=Cj0KCQ-1", Some(true)).await;
    let sent = json!({ "conversion_id": "ORD-9", "value": 5, "currency": "EUR", "visitor_id": "visitor-1",
        "user_data": { "first_name": "Zqfanny", "last_name": "Zqlewald",
            "address": { "street": "Zqstreet 1", "city": "Zqville", "region": "NY", "postal_code": "99887", "country": "US" } } });
    assert_eq!(app.send("purchase", &sent).await.status, 200);
    let states = settled(&app, "ORD-9").await;
    assert!(
        states
            .values()
            .all(|(state, _)| state == "accepted" || state == "sent"),
        "{states:?}"
    );
    let clear = [
        VISITORS_ADDRESS,
        "Chrome/140",
        "Zqfanny",
        "Zqlewald",
        "Zqstreet",
        "zqville",
        "99887",
    ];
    let got = json!(stubs.recorded()).to_string().to_lowercase();
    for text in clear {
        // The street goes nowhere but as a hash.
        assert_eq!(
            got.contains(&text.to_lowercase()),
            text != "Zqstreet",
            "{text} is sent"
        );
    }
    for (place, text) in shown(&app, &program, &sent).await {
        assert!(
            text.contains("ORD-9") && text.contains("[MASKED]"),
            "{place}: {text}"
        );
        for secret in clear {
            assert!(
                !text.to_lowercase().contains(&secret.to_lowercase()),
                "{place} shows {secret}: {text}"
            );
        }
    }
}

/// A name that the platform cannot take is refused when the destination is made, and not when its conversions are lost.
#[sqlx::test]
async fn event_names_that_a_platform_does_not_take_are_refused(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let program = Program {
        app: &app,
        token: token(&app, Scope::Write).await,
    };
    let made = async |name: Name, topics: Value| {
        let asked = json!({ "attribution_id": app.attribution_id, "platform": name.as_str(), "name": name.as_str(),
            "settings": settings(name), "topics": topics });
        program.post("/destinations", asked).await
    };
    for (name, bad) in [
        (Name::GoogleDataManager, "anything"),
        (Name::LinkedIn, "anything"),
        (Name::Ga4, "session_start"),
        (Name::Pinterest, "Enquiry"),
        (Name::Snapchat, "Enquiry"),
    ] {
        let answer = made(name, json!(["purchase", format!("lead={bad}")])).await;
        assert_eq!(answer.status, 422, "{name} {answer:?}");
        assert_eq!(answer.body["errors"][0]["field"], "topics.lead", "{answer:?}");
        let fits = made(name, json!(["purchase", "lead"])).await;
        assert_eq!(fits.status, 201, "{name} {fits:?}");
    }
    let answer = made(Name::Meta, json!(["refund=Refund"])).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["errors"][0]["code"]),
        (422, &json!("unsupported_topic")),
        "a name makes no refund of it"
    );
    for (name, asked, kept) in [
        (Name::Meta, "Enquiry", "Enquiry"),
        (Name::Pinterest, "Page_Visit", "page_visit"),
        (Name::Snapchat, "custom_event_3", "CUSTOM_EVENT_3"),
        (Name::Reddit, "view_content", "VIEW_CONTENT"),
        (Name::Ga4, "quote-sent", "quote_sent"),
    ] {
        let answer = made(name, json!([format!("lead={asked}")])).await;
        assert_eq!(answer.status, 201, "{name} {answer:?}");
        assert_eq!(
            answer.body["topics"]["lead"], kept,
            "{name}: as the platform spells it"
        );
    }
    let args = [
        "destination",
        "create",
        "--platform",
        "linkedin",
        "--name",
        "x",
        "--topic",
        "lead=Lead",
        "--settings",
        "-",
    ];
    let mut args = args.map(str::to_owned).to_vec();
    args.extend(["--attribution-id".to_owned(), app.attribution_id.to_string()]);
    let pool = app.pool.clone();
    let refused = tokio::task::spawn_blocking(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(&pool, &args, &settings(Name::LinkedIn).to_string())
    });
    let refused = refused.await.unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("topics.lead: LinkedIn takes no event names"),
        "{said}"
    );
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
