//! The browser script by itself: what it sends is looked at on the wire, at a server that stands in for the collector and for the site.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::browser_support::Browser;

const ID: &str = "0193a5d0-0000-7000-8000-000000000001";
/// What the stand-in answers to whom it does not know.
const ANONYMOUS: &str = "fp_00000000000000000000000000000000";

/// A request that came.
#[derive(Debug, Clone)]
struct Got {
    host: String,
    path: String,
    cookie: String,
    content_type: String,
    text: String,
    event: Value,
}

#[derive(Clone)]
struct Shared {
    page: String,
    got: Arc<Mutex<Vec<Got>>>,
    status: Arc<Mutex<StatusCode>>,
}

/// A site and a collector under one roof, on whatever host they are asked for.
struct Stage {
    port: u16,
    shared: Shared,
    _server: AbortOnDropHandle<()>,
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: header::HeaderName| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let cors = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, text(header::ORIGIN)),
        (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned()),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type".to_owned()),
    ];
    match (method, uri.path()) {
        (Method::GET, "/t.js") => {
            let script = include_str!("../../src/collect/t.js");
            ([(header::CONTENT_TYPE, "text/javascript")], script).into_response()
        }
        (Method::POST, path) => {
            let text_of_body = String::from_utf8(body.to_vec()).unwrap();
            shared.got.lock().unwrap().push(Got {
                host: text(header::HOST),
                path: path.to_owned(),
                cookie: text(header::COOKIE),
                content_type: text(header::CONTENT_TYPE),
                event: serde_json::from_str(&text_of_body).unwrap(),
                text: text_of_body,
            });
            let status = *shared.status.lock().unwrap();
            (status, cors, axum::Json(json!({ "visitor_id": ANONYMOUS }))).into_response()
        }
        (Method::OPTIONS, _) => (StatusCode::NO_CONTENT, cors).into_response(),
        _ => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], shared.page).into_response(),
    }
}

impl Stage {
    /// Serves pages with `head` before the script, which come to `init` with these options, and then push these commands.
    async fn start(head: &str, options: &str, commands: &str) -> Self {
        let page = format!(
            "<!doctype html><title>Shop</title>
             <script>
               window.errors = [];
               addEventListener('error', event => errors.push(String(event.message)));
               addEventListener('unhandledrejection', event => errors.push(String(event.reason)));
               {head}
             </script>
             <script>
               window.trustdata = window.trustdata || [];
               trustdata.push(['init', '{ID}', {options}]);
               {commands}
             </script>
             <script async src=\"/t.js\"></script>"
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            page,
            got: Arc::default(),
            status: Arc::new(Mutex::new(StatusCode::OK)),
        };
        let routes = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            port,
            shared,
            _server: AbortOnDropHandle::new(server),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://www.shop.test:{}{path}", self.port)
    }

    /// How it answers from now on.
    fn answers(&self, status: StatusCode) {
        *self.shared.status.lock().unwrap() = status;
    }

    fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }

    /// Names of the events that came, in order.
    fn names(&self) -> Vec<String> {
        let name = |got: Got| got.event["event_name"].as_str().unwrap().to_owned();
        self.got().into_iter().map(name).collect()
    }

    fn of(&self, name: &str) -> Vec<Got> {
        let of_name = |got: &Got| got.event["event_name"] == name;
        self.got().into_iter().filter(of_name).collect()
    }

    /// The event of this name, once so many of them have come.
    async fn nth(&self, name: &str, n: usize) -> Got {
        for _ in 0..1000 {
            if let Some(found) = self.of(name).get(n - 1) {
                return found.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never: {name} {n}; got {:#?}", self.names());
    }
}

/// Opens a page and waits until the script runs on it.
async fn open(browser: &Browser, url: &str) {
    browser.goto(url).await;
    browser.wait_for("window.trustdata && trustdata._loaded").await;
}

/// Nothing of the script's came up in the page.
async fn harmless(browser: &Browser) {
    assert_eq!(browser.run("return window.errors").await, json!([]));
}

#[tokio::test]
async fn no_id_leaves_the_device_without_consent() {
    let stage = Stage::start(
        "",
        "{ consent: { unknown: {}, denied: { analytics: false }, granted: { analytics: true } }[location.pathname.slice(1)] }",
        "trustdata.push(['setUserId', 'customer-7']);
         trustdata.push(['event', 'purchase', { conversion_id: 'O-1', value: 1, currency: 'EUR', user_id: 'customer-8', visitor_id: 'v-forged' }]);
         trustdata.push(['event', 'view_cart']);",
    )
    .await;
    let browser = Browser::start().await;
    let query =
        "?utm_campaign=spring&gclid=Click-1&email=jane@example.com&next=%2Fa%3Ftoken%3Dhush#!/otp=hush";
    for (times, consent) in ["unknown", "denied", "granted"].into_iter().enumerate() {
        open(&browser, &stage.url(&format!("/{consent}{query}"))).await;
        let purchase = stage.nth("purchase", times + 1).await;
        let cart = stage.nth("view_cart", times + 1).await;
        let view = stage.nth("page_view", times + 1).await;
        for got in [&purchase, &cart, &view] {
            let told = &got.event;
            let page = told["page_location"].as_str().unwrap();
            assert!(page.contains("utm_campaign=spring"), "{page}");
            assert!(
                !got.text.contains("jane") && !got.text.contains("hush"),
                "{}",
                got.text
            );
            assert!(!got.text.contains("v-forged"), "{}", got.text);
            assert!(got.content_type.starts_with("text/plain"), "no preflight");
            if consent == "granted" {
                assert_eq!(told["visitor_id"].as_str().unwrap().len(), 36, "{told}");
                assert!(page.contains("gclid=Click-1"), "{page}");
                continue;
            }
            for id in ["visitor_id", "user_id"] {
                assert_eq!(told.get(id), None, "{consent} {told}");
            }
            assert!(
                !got.text.contains("customer-") && !got.text.contains("Click-1"),
                "{}",
                got.text
            );
            assert_eq!(got.cookie, "", "{consent}");
        }
        if consent == "granted" {
            assert_eq!(
                purchase.event["user_id"], "customer-8",
                "the event's own comes first"
            );
            assert_eq!(cart.event["user_id"], "customer-7");
        } else {
            assert_eq!(
                browser.kept().await,
                json!({ "cookie": "", "local": {}, "session": {} }),
                "{consent}"
            );
        }
        harmless(&browser).await;
    }
}

#[tokio::test]
async fn without_consent_the_referrer_is_an_origin() {
    let stage = Stage::start("", "{}", "").await;
    let browser = Browser::start().await;
    open(
        &browser,
        &format!("http://news.test:{}/illness?reader=Jo", stage.port),
    )
    .await;
    let link = format!(
        "const a = document.createElement('a'); a.href = '{}'; a.referrerPolicy = 'unsafe-url'; a.click()",
        stage.url("/")
    );
    browser.run(&link).await;
    let view = stage.nth("page_view", 2).await;
    assert_eq!(
        view.event["page_referrer"],
        format!("http://news.test:{}", stage.port)
    );
}

#[tokio::test]
async fn a_cookie_that_holds_the_id_stays_as_the_server_set_it() {
    let stage = Stage::start(
        "",
        "{ consent: { analytics: true } }",
        "trustdata.push(['setUserId', 'customer 7']);",
    )
    .await;
    let browser = Browser::start().await;
    open(&browser, &stage.url("/")).await;
    let visitor = stage.nth("page_view", 1).await.event["visitor_id"]
        .as_str()
        .unwrap()
        .to_owned();
    // As a server sets them: a time that no script of ours would give.
    let clock = browser.run("return Math.floor(Date.now() / 1000)").await;
    let expires = clock.as_i64().unwrap() + 100 * 86_400;
    for (name, value) in [("_trdt_vid", visitor.as_str()), ("_trdt_uid", "customer%207")] {
        let cookie =
            json!({ "name": name, "value": value, "domain": ".shop.test", "path": "/", "expires": expires });
        let set = browser.developer("Network.setCookie", cookie).await;
        assert_eq!(set["success"], true, "{set}");
    }
    let cookies = async || {
        let all = browser.developer("Network.getCookies", json!({})).await;
        let mut all: Vec<(String, String, i64)> = all["cookies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cookie| {
                let text = |name: &str| cookie[name].as_str().unwrap().to_owned();
                (
                    text("name"),
                    text("value"),
                    cookie["expires"].as_f64().unwrap() as i64,
                )
            })
            .collect();
        all.sort();
        all
    };
    let as_set = [
        ("_trdt_uid".to_owned(), "customer%207".to_owned(), expires),
        ("_trdt_vid".to_owned(), visitor.clone(), expires),
    ];
    assert_eq!(cookies().await, as_set);
    // A consent platform says it again and again, and on every page.
    browser
        .run("for (let i = 0; i < 3; i++) { trustdata.consent({ analytics: true }); trustdata.setUserId('customer 7'); }")
        .await;
    assert_eq!(cookies().await, as_set);
    open(&browser, &stage.url("/next")).await;
    stage.nth("page_view", 2).await;
    assert_eq!(cookies().await, as_set);
    assert_eq!(
        browser.kept().await["local"],
        json!({ "_trdt_vid": visitor, "_trdt_uid": "customer 7" })
    );
    // Another user's is written, and one who signs out takes it along.
    browser.run("trustdata.setUserId('other')").await;
    assert_eq!(cookies().await[0].1, "other");
    browser.run("trustdata.setUserId(null)").await;
    assert_eq!(cookies().await, as_set[1..]);
}

#[tokio::test]
async fn page_views_follow_the_routes_of_the_site() {
    let stage = Stage::start("", "{}", "").await;
    let browser = Browser::start().await;
    open(&browser, &stage.url("/a?x=1")).await;
    let first = stage.nth("page_view", 1).await;
    assert_eq!(first.event["page_location"], stage.url("/a?x=1"));
    assert_eq!(first.event.get("page_title"), Some(&json!("Shop")));
    for (n, step, path) in [
        (2, "history.pushState({}, '', '/b')", "/b"),
        (3, "history.replaceState({}, '', '/c')", "/c"),
        (4, "history.back()", "/a?x=1"),
    ] {
        browser.run(step).await;
        let view = stage.nth("page_view", n).await;
        assert_eq!(view.event["page_location"], stage.url(path), "{step}");
    }
    // A hash, and the same page again, are no other page.
    browser.run("location.hash = 'top'; history.pushState({}, '', location.href); history.replaceState({}, '', '#x')").await;
    browser.run("setTimeout(() => trustdata.event('done'), 0)").await;
    stage.nth("done", 1).await;
    assert_eq!(stage.of("page_view").len(), 4);
    assert_eq!(
        stage.nth("page_view", 2).await.event["page_referrer"],
        format!("http://www.shop.test:{}", stage.port)
    );
    harmless(&browser).await;
}

#[tokio::test]
async fn a_site_may_send_its_own_page_views() {
    let stage = Stage::start("", "{ sendPageView: false }", "").await;
    let browser = Browser::start().await;
    open(&browser, &stage.url("/a")).await;
    browser
        .run("history.pushState({}, '', '/b'); setTimeout(() => trustdata.event('done'), 0)")
        .await;
    stage.nth("done", 1).await;
    assert_eq!(stage.names(), ["done"]);
    // Queued before the script, it is not sent a second time.
    let stage = Stage::start(
        "",
        "{}",
        "trustdata.push(['event', 'page_view', { page_title: 'Own' }]);",
    )
    .await;
    open(&browser, &stage.url("/a")).await;
    browser.run("setTimeout(() => trustdata.event('done'), 0)").await;
    stage.nth("done", 1).await;
    assert_eq!(stage.of("page_view").len(), 1);
    assert_eq!(stage.of("page_view")[0].event["page_title"], "Own");
}

#[tokio::test]
async fn ignored_domains_send_nothing() {
    let count = "window.sent = 0; const send = window.fetch; window.fetch = (...call) => { sent++; return send(...call); };";
    let options = "{ ignoreDomains: 'staging.test, WWW.shop.test' }";
    let stage = Stage::start(count, options, "trustdata.push(['event', 'early']);").await;
    let browser = Browser::start().await;
    open(&browser, &stage.url("/")).await;
    browser
        .run("trustdata.event('late'); trustdata.consent({ analytics: true }); trustdata.setUserId('u'); history.pushState({}, '', '/b')")
        .await;
    assert_eq!(browser.run("return window.sent").await, 0);
    assert_eq!(browser.kept().await["local"], json!({}));
    // Elsewhere it is heard.
    open(&browser, &format!("http://shop.test:{}/", stage.port)).await;
    stage.nth("early", 1).await;
    assert!(stage.got().iter().all(|got| got.host.starts_with("shop.test")));
}

#[tokio::test]
async fn events_go_where_they_are_told_to() {
    let options = "{ apiHost: location.protocol + '//collect.other.test:' + location.port, apiPath: '/in/events', consent: { analytics: true } }";
    let stage = Stage::start("", options, "").await;
    let browser = Browser::start().await;
    open(&browser, &stage.url("/")).await;
    let view = stage.nth("page_view", 1).await;
    assert_eq!(
        (view.host, view.path.as_str()),
        (format!("collect.other.test:{}", stage.port), "/in/events")
    );
    assert_eq!(view.cookie, "", "of another site");
    harmless(&browser).await;
}

#[tokio::test]
async fn what_waits_to_be_sent_again_leaves_with_the_page() {
    // By a beacon with consent, which carries cookies; without, by a request that outlives the page.
    for consent in ["{}", "{ consent: { analytics: true } }"] {
        let stage = Stage::start(
            "",
            &format!("Object.assign({{ sendPageView: false }}, {consent})"),
            "",
        )
        .await;
        let browser = Browser::start().await;
        open(&browser, &stage.url("/")).await;
        stage.answers(StatusCode::SERVICE_UNAVAILABLE);
        browser
            .run(
                "window.answered = 0; const send = window.fetch;
                  window.fetch = (...call) => send(...call).finally(() => setTimeout(() => answered++, 0));
                  trustdata.event('purchase', { conversion_id: 'O-1', value: 1, currency: 'EUR' })",
            )
            .await;
        let first = stage.nth("purchase", 1).await;
        browser.wait_for("window.answered").await;
        browser.goto("about:blank").await;
        let again = stage.nth("purchase", 2).await;
        assert_eq!(again.text, first.text, "{consent}");
    }
}

#[tokio::test]
async fn an_answer_that_refuses_is_final() {
    let stage = Stage::start("", "{ sendPageView: false }", "").await;
    let browser = Browser::start().await;
    open(&browser, &stage.url("/")).await;
    for status in [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::NOT_FOUND] {
        stage.answers(status);
        browser
            .run(
                "window.answered = 0; const send = window.real = window.real || window.fetch;
                  window.fetch = (...call) => send(...call).finally(() => setTimeout(() => answered++, 0));
                  trustdata.event('refused')",
            )
            .await;
        browser.wait_for("window.answered").await;
    }
    browser.goto("about:blank").await;
    stage.answers(StatusCode::OK);
    open(&browser, &stage.url("/")).await;
    browser.run("trustdata.event('done')").await;
    stage.nth("done", 1).await;
    assert_eq!(stage.names(), ["refused", "refused", "done"]);
}

#[tokio::test]
async fn an_identity_is_linked_once() {
    let stage = Stage::start(
        "",
        "location.pathname == '/next' ? { consent: { analytics: true } } : {}",
        "",
    )
    .await;
    let browser = Browser::start().await;
    open(&browser, &stage.url("/")).await;
    stage.nth("page_view", 1).await;
    assert_eq!(browser.visitor_id().await, ANONYMOUS);
    browser
        .run("trustdata.linkIdentity(); trustdata.consent({ analytics: true }, { interaction: true });
              trustdata.linkIdentity(); trustdata.push(['linkIdentity']); trustdata.consent({ analytics: true });
              trustdata.setUserId(42); trustdata.event('done')")
        .await;
    let done = stage.nth("done", 1).await;
    let link = stage.nth("identity_link", 1).await;
    let visitor = browser.visitor_id().await;
    assert_eq!(
        [
            &link.event["previous_visitor_id"],
            &link.event["new_visitor_id"],
            &link.event["visitor_id"],
            &link.event["reason"]
        ],
        [ANONYMOUS, &visitor, &visitor, "consent_upgrade"]
    );
    assert_eq!(link.event["consent"], json!({ "analytics": true }));
    assert_eq!(
        (&done.event["visitor_id"], &done.event["user_id"]),
        (&json!(visitor), &json!("42"))
    );
    // On the next page the visitor is known, and there is nothing to link.
    open(&browser, &stage.url("/next")).await;
    browser
        .run("trustdata.consent({ analytics: true }); trustdata.linkIdentity(); trustdata.event('over')")
        .await;
    stage.nth("over", 1).await;
    assert_eq!(stage.of("identity_link").len(), 1);
}

#[tokio::test]
async fn debugging_is_said_on_the_console() {
    let stage = Stage::start("", "{ sendPageView: false }", "").await;
    let browser = Browser::start().await;
    open(&browser, &stage.url("/")).await;
    browser.run("trustdata.event('quiet')").await;
    stage.nth("quiet", 1).await;
    assert_eq!(browser.console().await, Vec::<String>::new());
    browser
        .run("trustdata.debug(true); trustdata.event('loud')")
        .await;
    stage.nth("loud", 1).await;
    let said = browser.console().await.join("\n");
    assert!(said.contains("[trustdata]") && said.contains("loud"), "{said}");
}

#[tokio::test]
async fn commands_of_every_kind_of_queue_are_heard() {
    // As a tag manager makes it: a function that holds on to the array, before the script and after it.
    let head = "window.trustdata = []; const held = window.trustdata; window.createdQueue = (...items) => held.push(...items);";
    let stage = Stage::start(
        head,
        "{ sendPageView: false }",
        "createdQueue(['event', 'before']);",
    )
    .await;
    let browser = Browser::start().await;
    open(&browser, &stage.url("/")).await;
    browser.run("createdQueue(['event', 'after']); trustdata.push(['event', 'pushed']); trustdata.event('called')").await;
    for name in ["before", "after", "pushed", "called"] {
        stage.nth(name, 1).await;
    }
    // A second init, an unknown command and nonsense change nothing.
    browser.run("trustdata.init('other', {}); trustdata.push(['nonsense']); trustdata.push(); trustdata.push(null); trustdata.event('end')").await;
    assert_eq!(stage.nth("end", 1).await.event["attribution_id"], ID);
    harmless(&browser).await;
}

#[tokio::test]
async fn whatever_the_page_is_like_nothing_of_ours_comes_up_in_it() {
    let pages = [
        (
            "Object.defineProperty(window, 'crypto', { value: undefined })",
            true,
        ),
        (
            "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no storage'); } })",
            true,
        ),
        (
            "Object.defineProperty(document, 'cookie', { get() { throw new Error('no'); }, set() { throw new Error('no'); } })",
            true,
        ),
        (
            "Object.prototype.evil = () => 1; Array.prototype.worse = () => 2; Object.prototype.analytics = 'x'",
            true,
        ),
        (
            "navigator.sendBeacon = () => { throw new Error('no beacon'); }",
            true,
        ),
        ("Intl.DateTimeFormat = undefined", false),
        (
            "window.fetch = () => Promise.reject(new Error('no network'))",
            false,
        ),
        ("window.fetch = () => { throw new Error('no fetch'); }", false),
        ("window.fetch = undefined", false),
    ];
    let browser = Browser::start().await;
    for (head, heard) in pages {
        let commands =
            "trustdata.push(['setUserId', 'u-1']); trustdata.push(['event', 'purchase', window.props]);";
        let head = format!(
            "const odd = {{}}; odd.odd = odd; window.props = {{ conversion_id: 'O-1', value: 1, currency: 'EUR', odd }}; {head};"
        );
        let stage = Stage::start(&head, "{ consent: { analytics: true } }", commands).await;
        open(&browser, &stage.url("/")).await;
        if heard {
            let purchase = stage.nth("purchase", 1).await;
            assert_eq!(purchase.event["conversion_id"], "O-1", "{head}");
            assert_eq!(
                purchase.event.get("odd"),
                None,
                "what cannot be sent costs itself alone"
            );
        }
        let ran = browser
            .run("trustdata.event(); trustdata.event(7); trustdata.event('x', null); trustdata.event('y', 'text'); trustdata.consent(); trustdata.consent(null);
                  trustdata.setUserId(); trustdata.linkIdentity(); trustdata.getVisitorId(); trustdata.init(); history.pushState({}, '', '/b');
                  dispatchEvent(new Event('pagehide')); return true")
            .await;
        assert_eq!(ran, true, "{head}");
        // What came of it later would be there by then.
        browser
            .run("window.later = 0; setTimeout(() => { window.later = 1; }, 0)")
            .await;
        browser.wait_for("window.later").await;
        harmless(&browser).await;
    }
}
