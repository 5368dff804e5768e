//! The set-up as it is documented, in a real Chromium.

use serde_json::json;
use sqlx::PgPool;
use trustdata::users::Role;

use crate::browser_support::Browser;
use crate::dashboard::{PASSWORD, make_user};
use crate::support::{TestApp, until};

#[sqlx::test]
async fn from_the_first_sign_in_to_a_key_that_is_revoked(pool: PgPool) {
    let app = TestApp::start(pool).await;
    make_user(&app, "ann@shop.example", Role::Owner).await;
    let browser = Browser::start().await;
    browser.goto(&app.url("/")).await;
    // By keyboard alone.
    browser.keys("#email", "ann@shop.example").await;
    browser.keys("#password", &format!("{PASSWORD}\u{e007}")).await;
    browser.click("nav a[href$=attribution-ids]").await;

    browser.click("#create summary").await;
    browser.keys("#create #name", "Web shop\u{e007}").await;
    browser.wait_for("document.querySelector('#state-title')").await;
    assert!(browser.text("#state-title").await.contains("Disabled"));
    browser.click("button[name=enabled][value=true]").await;
    browser
        .wait_for("document.querySelector('#state-title .good')")
        .await;

    browser.click("#generate summary").await;
    browser.keys("#key-name", "Back end").await;
    browser.click("#generate .row button").await;
    let key = browser.text("#fresh-key").await;
    let curl = browser.text("#fresh-curl").await;
    assert!(
        curl.contains(&key) && curl.contains(&app.address.to_string()),
        "{curl}"
    );
    browser.click("[data-copy=fresh-key]").await;
    browser
        .wait_for("/Copied|Ctrl/.test(document.querySelector('[data-copy=fresh-key]').textContent)")
        .await;
    browser
        .wait_for("document.querySelector('#aloud').textContent")
        .await;

    // The command as it stands there, by whoever pastes it.
    let webhook = curl.split('\'').nth(1).unwrap().to_owned();
    let send = async |id: &str| {
        // The newest first: at one and the same moment there is no such order.
        app.clock.advance(chrono::TimeDelta::milliseconds(1));
        let body = json!({ "conversion_id": id, "value": 99, "currency": "USD" }).to_string();
        let request = app.http.post(&webhook).bearer_auth(&key).body(body);
        let answer = request
            .header("content-type", "application/json")
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    };
    browser.run("window.notReloaded = true").await;
    assert_eq!(send("ORD-1").await, 200);
    browser
        .wait_for("/ORD-1/.test(document.querySelector('#activity').textContent)")
        .await;
    assert_eq!(browser.run("return window.notReloaded").await, true);
    browser.click("#activity a").await;
    browser
        .wait_for("/Answered\\s*200/.test(document.querySelector('#detail').textContent)")
        .await;
    // What stays, stays as it is: the focus is where it was when more comes in.
    browser.run("document.querySelector('#activity a').focus()").await;
    browser.run("window.focused = document.activeElement").await;
    assert_eq!(send("ORD-1b").await, 200);
    browser
        .wait_for("/ORD-1b/.test(document.querySelector('#activity').textContent)")
        .await;
    assert_eq!(
        browser
            .run("return document.activeElement === window.focused")
            .await,
        true
    );
    // Paused, nothing moves, until it goes on.
    browser.click("#pause").await;
    assert_eq!(send("ORD-1c").await, 200);
    browser
        .run("window.came = 0; document.querySelector('#activity').addEventListener('htmx:sseBeforeMessage', function () { window.came += 1; })")
        .await;
    assert_eq!(send("ORD-1d").await, 200);
    browser.wait_for("window.came").await;
    assert!(!browser.text("#activity").await.contains("ORD-1d"));
    browser.click("#pause").await;
    browser
        .wait_for("/ORD-1d/.test(document.querySelector('#activity').textContent)")
        .await;

    // A limit of two: it begins full.
    browser.goto(&page_of(&browser).await).await;
    browser
        .run("document.querySelector('[name=rate_limit]').value = 2")
        .await;
    browser.click(".inline button").await;
    browser
        .wait_for("/holds at once/.test(document.querySelector('.note').textContent)")
        .await;
    browser.wait_for("document.querySelector('#activity td')").await;
    // The webhook hears of it a moment later; until then a thousand a minute are allowed.
    until("the limit holds", async || send("ORD-2").await == 429).await;
    browser
        .wait_for("/rate_limited/.test(document.querySelector('#activity').textContent)")
        .await;

    browser.click("[id^=revoke-] summary").await;
    browser.click("[id^=revoke-][open] button.danger").await;
    browser
        .wait_for("/is revoked/.test(document.querySelector('.note').textContent)")
        .await;
    until("the key is revoked", async || send("ORD-5").await == 401).await;
    browser
        .wait_for("/auth_error/.test(document.querySelector('#activity').textContent)")
        .await;
    assert_eq!(browser.console().await, Vec::<String>::new());
}

/// The same without scripts: every change is a form, and every detail a link.
#[sqlx::test]
async fn without_a_script(pool: PgPool) {
    let app = TestApp::start(pool).await;
    make_user(&app, "ann@shop.example", Role::Owner).await;
    let browser = Browser::start().await;
    let off = json!({ "value": true });
    browser
        .developer("Emulation.setScriptExecutionDisabled", off)
        .await;
    browser.goto(&app.url("/")).await;
    browser.keys("#email", "ann@shop.example").await;
    browser.keys("#password", &format!("{PASSWORD}\u{e007}")).await;
    browser.click("nav a[href$=attribution-ids]").await;
    browser.click("#create summary").await;
    browser.keys("#create #name", "Web shop\u{e007}").await;
    browser.click("button[name=enabled][value=true]").await;
    browser.click("#generate summary").await;
    browser.keys("#key-name", "Back end").await;
    browser.click("#generate .row button").await;
    let key = browser.text("#fresh-key").await;
    let webhook = browser.text("#endpoint").await.replace("{topic}", "lead");
    let send = async || {
        let request = app
            .http
            .post(&webhook)
            .bearer_auth(&key)
            .body(r#"{"conversion_id":"L-1"}"#);
        let answer = request
            .header("content-type", "application/json")
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    };
    assert_eq!(send().await, 200);
    browser.goto(&page_of(&browser).await).await;
    browser.click("#activity a").await;
    browser.click("main a[href$=webhooks]").await;
    browser.click("[id^=revoke-] summary").await;
    browser.click("[id^=revoke-][open] button.danger").await;
    assert!(browser.text(".note").await.contains("is revoked"));
    until("the key is revoked", async || send().await == 401).await;
    browser.click("#disable summary").await;
    browser.click("#disable button").await;
    assert!(browser.text(".note").await.contains("are disabled"));
}

async fn page_of(browser: &Browser) -> String {
    let url = browser.page.current_url().await.unwrap();
    let path = url.path().trim_end_matches("/keys").to_owned();
    url.join(&path).unwrap().to_string()
}
