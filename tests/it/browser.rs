//! From the ad to the credit, in a real browser: the script, the collector, the webhook and the match together.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use super::browser_support::{Browser, Site};
use super::support::*;

/// A visitor in the shop.
struct Visit {
    app: TestApp,
    browser: Browser,
}

impl Visit {
    async fn start(pool: PgPool) -> Self {
        Self {
            app: TestApp::start_with_shop(pool).await,
            browser: Browser::start().await,
        }
    }

    fn shop(&self, path: &str) -> String {
        format!("http://shop.test:{}/shop/{path}", self.app.address.port())
    }

    /// Opens a page, a minute after the last.
    async fn open(&self, path: &str) {
        self.app.clock.advance(TimeDelta::minutes(1));
        self.browser.goto(&self.shop(path)).await;
    }

    /// Clicks what leads to another page, a minute after the last.
    async fn follow(&self, selector: &str) {
        self.app.clock.advance(TimeDelta::minutes(1));
        let before = self.browser.page.current_url().await.unwrap();
        self.browser.click(selector).await;
        self.browser
            .wait_for(&format!("location.href != {:?}", before.as_str()))
            .await;
    }

    /// Says yes or no to the cookie banner, which remembers it.
    async fn choose(&self, choice: &str) {
        self.browser.click(&format!("button[value={choice}]")).await;
        let done = "performance.getEntriesByName(location.origin + '/shop/consent').length";
        self.browser.wait_for(done).await;
    }

    /// From a product's page to the thank-you page; gives the facts that it shows.
    async fn buy(&self) -> Value {
        self.follow("#buy").await;
        self.browser.visitor_id().await;
        self.follow("#order").await;
        let facts = "document.querySelector('#verdict') && Object.fromEntries([...document.querySelectorAll('[data-fact]')]\
                     .map(fact => [fact.dataset.fact, fact.textContent]))";
        self.browser.wait_for(facts).await
    }

    /// Waits until a session like this is on disk: an event's answer may still be under way when the page is there.
    async fn session_where(&self, condition: &str) -> Value {
        self.one(&format!("select to_jsonb(s) from sessions s where {condition}"))
            .await
    }

    async fn one(&self, query: &str) -> Value {
        for _ in 0..500 {
            let found: Option<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
                .fetch_optional(&self.app.pool)
                .await
                .unwrap();
            if let Some(found) = found {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("never: {query}");
    }

    /// The one credit of the one order: campaign, source, click id, share by last click.
    async fn last_click(&self) -> (Option<String>, Option<String>, Option<String>) {
        sqlx::query_as("select campaign, source, click_id from credits where last_click = 1000000")
            .fetch_one(&self.app.pool)
            .await
            .unwrap()
    }

    /// The address of an ad, without going there.
    async fn ad(&self, name: &str) -> String {
        let home = self.app.http.get(self.app.url("/shop/")).send();
        let home = home.await.unwrap().text().await.unwrap();
        let link = home
            .split("<a href=\"")
            .find(|link| link.contains(&format!("data-ad=\"{name}\"")));
        let path = link.unwrap().split('"').next().unwrap();
        path.strip_prefix("/shop/").unwrap().replace("&#38;", "&")
    }

    /// Waits until the device is empty: what left with a yes may still be answered, and the answer's cookie is taken away again.
    async fn nothing_kept(&self) {
        self.browser
            .wait_for("!document.cookie && !localStorage.length && !sessionStorage.length")
            .await;
    }

    /// No error, and nothing that a policy forbade.
    async fn quiet(&self) {
        assert_eq!(self.browser.console().await, Vec::<String>::new());
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[sqlx::test]
async fn an_ad_a_yes_and_a_purchase(pool: PgPool) {
    let visit = Visit::start(pool).await;
    visit.open("").await;
    visit.choose("granted").await;
    visit.follow("[data-ad=search]").await;
    visit.session_where("campaign = 'summer_sale'").await;
    let visitor = visit.browser.visitor_id().await;
    let facts = visit.buy().await;

    assert_eq!(facts["session_matched"], "true", "{facts}");
    assert_eq!(
        [
            &facts["campaign"],
            &facts["source"],
            &facts["medium"],
            &facts["click_id"]
        ],
        ["summer_sale", "google", "cpc", "gclid"]
    );
    let order = visit.browser.text("#order-id").await;
    let stored: (String, String, String) =
        sqlx::query_as("select conversion_id, visitor_id, match_reason from conversions")
            .fetch_one(&visit.app.pool)
            .await
            .unwrap();
    assert_eq!(stored, (order, visitor, "matched".to_owned()));
    assert_eq!(
        visit.last_click().await,
        (some("summer_sale"), some("google"), some("gclid"))
    );
    visit.quiet().await;
}

#[sqlx::test]
async fn a_yes_that_comes_late_still_finds_the_ad(pool: PgPool) {
    let visit = Visit::start(pool).await;
    visit.open(&visit.ad("social").await).await;
    let anonymous = visit.browser.visitor_id().await;
    assert!(anonymous.starts_with("fp_"), "{anonymous}");
    let landing = visit.session_where("campaign = 'new_arrivals'").await;
    assert_eq!(landing["visitor_id"], anonymous);
    assert_eq!(
        visit.browser.kept().await,
        json!({ "cookie": "", "local": {}, "session": {} })
    );

    visit.open("products/rucksack").await;
    assert_eq!(
        visit.browser.visitor_id().await,
        anonymous,
        "the same visitor on the same day"
    );
    visit.choose("granted").await;
    let visitor = visit.browser.visitor_id().await;
    assert!(!visitor.starts_with("fp_"), "{visitor}");
    let link = visit.one("select to_jsonb(l) from visitor_links l").await;
    assert_eq!(
        [&link["from_visitor"], &link["to_visitor"]],
        [&anonymous, &visitor]
    );

    let facts = visit.buy().await;
    assert_eq!(
        [&facts["session_matched"], &facts["campaign"]],
        ["true", "new_arrivals"],
        "{facts}"
    );
    let stored = visit.one("select to_jsonb(c) from conversions c").await;
    assert_eq!(stored["visitor_id"], visitor);
    assert_eq!(visit.last_click().await.0, some("new_arrivals"));
    visit.quiet().await;
}

#[sqlx::test]
async fn a_no_leaves_nothing_behind(pool: PgPool) {
    let visit = Visit::start(pool).await;
    let ad = visit.shop(&visit.ad("search").await);
    // From a page whose address says more than the shop may know.
    let link = format!(r#"<title>News</title><a id="ad" href="{ad}" referrerpolicy="unsafe-url">Ad</a>"#);
    let news = Site::start(link, "default-src 'none'".to_owned()).await;
    let from = format!("http://news.test:{}", news.port);
    visit.browser.goto(&format!("{from}/illness/of?reader=Jo")).await;
    visit.follow("#ad").await;
    visit.choose("denied").await;
    let facts = visit.buy().await;
    assert!(
        visit.browser.text("h1").await.contains("Thank you"),
        "the shop sells all the same"
    );
    assert_eq!(
        facts["session_matched"], "true",
        "by the id of the day, which the device does not keep: {facts}"
    );

    assert_eq!(
        visit.browser.kept().await,
        json!({ "cookie": "", "local": {}, "session": {} })
    );
    let cookies = visit.browser.page.get_all_cookies().await.unwrap();
    let names: Vec<&str> = cookies.iter().map(|cookie| cookie.name()).collect();
    assert_eq!(names, ["shop_consent"], "the no itself is all that is kept");

    let sessions: Vec<Value> = sqlx::query_scalar("select to_jsonb(s) from sessions s")
        .fetch_all(&visit.app.pool)
        .await
        .unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:#?}");
    let session = &sessions[0];
    assert!(session["visitor_id"].as_str().unwrap().starts_with("fp_"));
    assert_eq!(session["campaign"], "summer_sale");
    assert_eq!(session["referrer"].as_str().unwrap().trim_end_matches('/'), from);
    assert_eq!(
        session["client_sealed"],
        Value::Null,
        "neither address nor user agent"
    );
    assert!(
        session["browser_ids"].as_object().is_none_or(Map::is_empty),
        "no cookie of an ad platform"
    );
    let click = ad.split("gclid=").nth(1).unwrap();
    let (session, stored) = (
        session.to_string(),
        visit.one("select to_jsonb(c) from conversions c").await,
    );
    assert!(
        !session.contains(click) && !session.contains("reader") && !session.contains("127.0.0.1"),
        "{session}"
    );
    assert!(
        stored["visitor_id"].as_str().unwrap().starts_with("fp_"),
        "{stored}"
    );
    assert_eq!(visit.app.count("visitor_links").await, 0);
    visit.quiet().await;
}

#[sqlx::test]
async fn a_yes_taken_back_empties_the_device(pool: PgPool) {
    let visit = Visit::start(pool).await;
    visit.open("").await;
    visit.choose("granted").await;
    let visitor = visit.browser.visitor_id().await;
    let kept = visit.browser.kept().await;
    assert_eq!(kept["local"], json!({ "_trdt_vid": visitor }));
    assert!(kept["cookie"].as_str().unwrap().contains(&visitor), "{kept}");

    visit.open("products/tote").await;
    visit.browser.click("#consent-open").await;
    visit.choose("denied").await;
    visit.nothing_kept().await;
    // The next page begins with the no, and does not ask again.
    visit.open("").await;
    assert!(visit.browser.visitor_id().await.starts_with("fp_"));
    assert_eq!(
        visit
            .browser
            .run("return document.getElementById('consent').hidden")
            .await,
        true
    );
    visit.nothing_kept().await;
    visit.quiet().await;
}

#[sqlx::test]
async fn an_answer_under_way_does_not_outlive_the_yes(pool: PgPool) {
    let visit = Visit::start(pool).await;
    visit.open("").await;
    visit.choose("granted").await;
    visit.browser.visitor_id().await;
    // An event leaves with the yes, and is held up on its way.
    visit
        .browser
        .run(
            "const send = window.fetch;
             window.fetch = async (...request) => {
               await new Promise(go => { window.release = go; });
               const answer = await send(...request);
               window.answered = document.cookie;
               return answer;
             };
             trustdata.event('view_cart', {});
             window.fetch = send;
             trustdata.consent({ analytics: false });",
        )
        .await;
    visit.browser.run("release()").await;
    visit
        .browser
        .wait_for("typeof window.answered === 'string'")
        .await;
    visit.nothing_kept().await;
    let came_back = visit.browser.run("return window.answered").await;
    assert!(came_back.as_str().unwrap().contains("_trdt_vid="), "{came_back}");
    visit.quiet().await;
}

#[sqlx::test]
async fn who_comes_back_directly_credits_the_ad(pool: PgPool) {
    let visit = Visit::start(pool).await;
    visit.open(&visit.ad("search").await).await;
    visit.choose("granted").await;
    let visitor = visit.browser.visitor_id().await;
    visit.session_where("campaign = 'summer_sale'").await;
    visit.one("select to_jsonb(l) from visitor_links l").await;

    visit.app.clock.advance(TimeDelta::days(5));
    visit.open("products/weekender").await;
    assert_eq!(visit.browser.visitor_id().await, visitor);
    let direct = visit.session_where("direct").await;
    assert_eq!(direct["visitor_id"], visitor);
    let facts = visit.buy().await;
    assert_eq!(
        [&facts["session_matched"], &facts["campaign"]],
        ["true", "summer_sale"],
        "{facts}"
    );
    assert_eq!(visit.last_click().await.0, some("summer_sale"));
    visit.quiet().await;
}

/// A page as a merchant writes it: the snippet inline, the script from `tracker`, and a policy that names only these two.
fn page(head: &str, snippet: &str, tracker: &str) -> (String, String) {
    let allowed: Vec<String> = [head, snippet]
        .iter()
        .map(|script| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script))))
        .collect();
    let html = format!(
        "<!doctype html><title>Shop</title><script>{head}</script><script>{snippet}</script>\
         <script async src=\"{tracker}/t.js\"></script>"
    );
    let policy = format!(
        "default-src 'none'; script-src {tracker} {}; connect-src {tracker}",
        allowed.join(" ")
    );
    (html, policy)
}

fn snippet(attribution_id: impl std::fmt::Display, options: &str) -> String {
    format!("window.trustdata=window.trustdata||[];trustdata.push(['init','{attribution_id}',{options}]);")
}

#[sqlx::test]
async fn another_sites_strict_policy_is_enough(pool: PgPool) {
    let (app, browser) = (TestApp::start(pool).await, Browser::start().await);
    let visit = Visit { app, browser };
    let tracker = format!("http://track.other.test:{}", visit.app.address.port());
    let snippet = snippet(
        visit.app.attribution_id,
        "location.search.includes('yes')?{consent:{analytics:true}}:{}",
    );
    let (html, policy) = page("", &snippet, &tracker);
    let site = Site::start(html, policy).await;
    let shop = format!("http://shop.test:{}", site.port);

    visit
        .browser
        .goto(&format!("{shop}/?utm_source=a&utm_campaign=unknown"))
        .await;
    let anonymous = visit.browser.visitor_id().await;
    assert!(
        anonymous.starts_with("fp_"),
        "the id that the server returned: {anonymous}"
    );
    visit.session_where("campaign = 'unknown'").await;
    visit.quiet().await;

    visit
        .browser
        .goto(&format!("{shop}/?utm_source=a&utm_campaign=granted&yes"))
        .await;
    let visitor = visit.browser.visitor_id().await;
    let stored = visit.session_where("campaign = 'granted'").await;
    assert_eq!(stored["visitor_id"], visitor);
    let cookies = visit.browser.page.get_all_cookies().await.unwrap();
    assert!(
        cookies
            .iter()
            .all(|cookie| cookie.domain() != Some("track.other.test")),
        "no third party's cookie"
    );
    visit.quiet().await;
}

#[sqlx::test]
async fn on_the_sites_own_host_the_server_sets_the_cookie(pool: PgPool) {
    let (app, browser) = (TestApp::start(pool).await, Browser::start().await);
    let visit = Visit { app, browser };
    let tracker = format!("http://track.shop.test:{}", visit.app.address.port());
    // No script of the page can write a cookie: what is there is the server's.
    let no_writing = "const own=Object.getOwnPropertyDescriptor(Document.prototype,'cookie');\
                      Object.defineProperty(document,'cookie',{get:()=>own.get.call(document),set(){}});";
    let snippet = snippet(visit.app.attribution_id, "{consent:{analytics:true}}");
    let (html, policy) = page(no_writing, &snippet, &tracker);
    let site = Site::start(html, policy).await;

    visit
        .browser
        .goto(&format!("http://www.shop.test:{}/", site.port))
        .await;
    let visitor = visit.browser.visitor_id().await;
    let cookie = visit.browser.wait_for("document.cookie").await;
    assert_eq!(cookie, format!("_trdt_vid={visitor}"), "readable by the page");
    let cookie = visit.browser.page.get_named_cookie("_trdt_vid").await.unwrap();
    assert_eq!(cookie.domain().unwrap().trim_start_matches('.'), "shop.test");
    let expires = cookie.expires_datetime().unwrap().unix_timestamp() - wall_clock();
    assert!(
        (399 * 86_400..=400 * 86_400 + 60).contains(&expires),
        "{expires} s"
    );
    visit.quiet().await;
}

/// What the script tells of cookies: those that ad platforms set, with a yes to advertising.
#[sqlx::test]
async fn cookies_of_ad_platforms_are_told_with_a_yes_and_no_others(pool: PgPool) {
    let visit = Visit::start(pool).await;
    visit.open("").await;
    visit.browser.visitor_id().await;
    visit
        .browser
        .run(
            "const cookies = ['_fbp=fb.1.2.3', 'x_ga=1', '_ga=GA1.1.2.3', '_ga_ABC123=GS2.1.s1$o1', 'note=_fbc=4', 'my-_ttp=5', '_uetvid=6',
                '_rdt_uuid=7.8', 'li_fat_id=9', '_gat=10'];
             cookies.forEach(cookie => { document.cookie = cookie + '; path=/' });
             window.told = {};
             const send = fetch;
             window.fetch = async (url, options) => {
                 const answer = await send(url, options), event = JSON.parse(options.body);
                 told[event.event_name] = event;
                 return answer;
             };
             trustdata.consent({ analytics: true, advertising: false });
             trustdata.event('refused');",
        )
        .await;
    // All of that is answered, and so on disk, before the visitor says otherwise.
    let refused = visit.browser.wait_for("told.identity_link && told.refused").await;
    assert!(refused["browser_cookies"].is_null(), "{refused}");
    // Of two answers within one second the no would stand.
    visit.app.clock.advance(TimeDelta::seconds(1));
    visit
        .browser
        .run("trustdata.consent({ advertising: true }); trustdata.event('agreed')")
        .await;
    assert_eq!(
        visit.browser.wait_for("told.agreed?.browser_cookies").await,
        json!({ "_fbp": "fb.1.2.3", "_ga": "GA1.1.2.3", "_ga_ABC123": "GS2.1.s1$o1", "_uetvid": "6", "_rdt_uuid": "7.8", "li_fat_id": "9" })
    );
    let kept = visit.session_where("browser_ids ->> '_uetvid' = '6'").await;
    assert_eq!(kept["browser_ids"].as_object().unwrap().len(), 6, "{kept}");
    visit.quiet().await;
}

/// The browser's clock is the machine's.
fn wall_clock() -> i64 {
    let output = std::process::Command::new("date").arg("+%s").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
