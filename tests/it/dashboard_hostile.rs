//! What outsiders may have written is text wherever it is shown.

use serde_json::json;
use sqlx::PgPool;
use trustdata::users::Role;

use crate::browser_support::Browser;
use crate::dashboard::{PASSWORD, Person, make_user};
use crate::support::TestApp;

/// Each tells by its number where it ran. The last character but three turns the direction of writing round.
const CONVERSION: &str = "<script>window.ran=1</script>\"'><img src=x onerror=window.ran=1>\u{202e}gnp";
const CAMPAIGN: &str = "</td><script>window.ran=2</script>\"'\u{202e}gnp";
const SOURCE: &str = "<svg onload=window.ran=3>&amp;'\"";
const TOPIC: &str = "<script>window.ran=4</script>\"'>";
const KEY: &str = "\"><script>window.ran=5</script>'";
const SITE: &str = "<b>bold</b> & \"quoted\" 'site'<script>window.ran=6</script>";
const TOKEN: &str = "'\"><script>window.ran=7</script>";
const PROPERTY: &str = "<i>Shop</i><script>window.ran=8</script>\"'";
const DESTINATION: &str = "<script>window.ran=9</script>\"'>";

/// As it is in a page.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '<' | '>' | '&' | '"' | '\'' => format!("&#{};", u32::from(c)),
            c => c.to_string(),
        })
        .collect()
}

/// Writes them wherever somebody can, and says which pages show which.
async fn written(app: &TestApp, owner: &Person) -> Vec<(String, Vec<&'static str>)> {
    let base = format!("/dashboard/properties/{}", app.property_id);
    let list = format!("{base}/attribution-ids");
    let own = format!("{list}/{}", app.attribution_id);
    owner
        .send(&format!("{base}/settings/name"), &[("name", PROPERTY)])
        .await;
    owner
        .send(&format!("{own}/attribution/name"), &[("name", SITE)])
        .await;
    let key = [("name", KEY), ("rate_limit", "60")];
    let made = owner.send(&format!("{own}/webhooks/keys"), &key).await;
    assert!(made.text.contains(&escaped(KEY)), "{}", made.text);
    let key = made.text.split("id=\"fresh-key\">").nth(1).unwrap();
    let key = key.split('<').next().unwrap();
    let token = [("name", TOKEN), ("scope", "read")];
    assert_eq!(
        owner.send(&format!("{base}/api-tokens"), &token).await.status,
        200
    );
    let attribution_id = app.attribution_id.to_string();
    let destination = [
        ("platform", "meta"),
        ("name", DESTINATION),
        ("attribution_id", attribution_id.as_str()),
        ("settings", r#"{"pixel_id":"1234567890","access_token":"x"}"#),
        ("policy", "matched"),
    ];
    assert_eq!(
        owner
            .send(&format!("{base}/destinations"), &destination)
            .await
            .status,
        303
    );

    let click = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("utm_campaign", CAMPAIGN)
        .append_pair("utm_source", SOURCE)
        .append_pair("utm_medium", "cpc")
        .append_pair("q", CONVERSION)
        .finish();
    app.session("v-1", 3.0, &click).await;
    let sent = json!({ "conversion_id": CONVERSION, "value": 5, "currency": "EUR", "visitor_id": "v-1" });
    let answer = app.send("purchase", &sent).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let event_id = answer.body["event_id"].as_str().unwrap().to_owned();
    let topic: String = TOPIC.bytes().map(|byte| format!("%{byte:02X}")).collect();
    app.clock.advance(chrono::Duration::seconds(1));
    let request = app.http.post(app.webhook(&topic)).bearer_auth(key);
    let refused = request
        .header("content-type", "application/json")
        .body("{}")
        .send()
        .await;
    assert_eq!(refused.unwrap().status(), 422);
    app.activity(2).await;
    let one = async |status: &str| -> uuid::Uuid {
        sqlx::query_scalar("select activity_id from activity where status = $1")
            .bind(status)
            .fetch_one(&app.pool)
            .await
            .unwrap()
    };
    let (taken, refused) = (one("success").await, one("validation_error").await);
    let property = [PROPERTY];
    let with = |more: &[&'static str]| [&property[..], more].concat();
    vec![
        ("/dashboard/properties".to_owned(), with(&[])),
        (format!("{base}/settings"), with(&[])),
        (format!("{base}/overview"), with(&[CAMPAIGN, SOURCE])),
        (format!("{base}/conversions"), with(&[CONVERSION, CAMPAIGN])),
        (
            format!("{base}/conversions/{event_id}"),
            with(&[CONVERSION, CAMPAIGN, SOURCE, DESTINATION]),
        ),
        (format!("{base}/campaigns?by=all"), with(&[CAMPAIGN, SOURCE])),
        (format!("{base}/destinations"), with(&[DESTINATION])),
        (list, with(&[SITE])),
        (format!("{own}/webhooks"), with(&[SITE, KEY, TOPIC, CONVERSION])),
        (format!("{own}/activity"), with(&[SITE, KEY, TOPIC, CONVERSION])),
        (format!("{own}/activity/{taken}"), vec![CONVERSION]),
        (format!("{own}/activity/{refused}"), vec![TOPIC, KEY]),
        (format!("{own}/tracking"), with(&[SITE])),
        (format!("{own}/attribution"), with(&[SITE])),
        (format!("{base}/api-tokens"), with(&[TOKEN])),
        (
            format!("{base}/log"),
            with(&[KEY, SITE, TOKEN, PROPERTY, DESTINATION]),
        ),
    ]
}

#[sqlx::test]
async fn hostile_texts_are_text(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    for (path, texts) in written(&app, &owner).await {
        let page = owner.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        for text in texts {
            let shown = escaped(text);
            assert!(page.text.contains(&shown), "{path} lacks {shown}: {}", page.text);
        }
        for bad in [
            "<script>window",
            "<img src=x",
            "<svg onload",
            "<b>bold",
            "<i>Shop",
            "\"><script>",
        ] {
            assert!(!page.text.contains(bad), "{path} has {bad}");
        }
    }
    for odd in [
        "/dashboard/sign-in?next=%22%3E%3Cscript%3E",
        "/dashboard?said=%3Cscript%3Ewindow",
    ] {
        assert!(!owner.get(odd).await.text.contains("<script>window"), "{odd}");
    }
}

/// In a browser, which would run what is no text.
#[sqlx::test]
async fn hostile_texts_run_nowhere(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    let pages = written(&app, &owner).await;
    make_user(&app, "ann@shop.example", Role::Owner).await;
    let browser = Browser::start().await;
    browser.goto(&app.url("/dashboard/sign-in")).await;
    browser.keys("#email", "ann@shop.example").await;
    browser.keys("#password", &format!("{PASSWORD}\u{e007}")).await;
    browser.wait_for("document.querySelector('nav')").await;
    // What is no page of its own is loaded into one.
    for (path, texts) in pages.into_iter().filter(|(_, texts)| texts.contains(&PROPERTY)) {
        browser.goto(&app.url(&path)).await;
        browser.wait_for("document.readyState === 'complete'").await;
        if path.ends_with("/webhooks") {
            browser.click("#activity a").await;
            browser
                .wait_for("document.querySelector('#detail').textContent.includes('Answered')")
                .await;
        }
        let shown = browser
            .run("return document.documentElement.textContent + [...document.querySelectorAll('[value]')].map(e => e.value).join(' ')")
            .await;
        for text in texts {
            assert!(shown.as_str().unwrap().contains(text), "{path} lacks {text}");
        }
        assert_eq!(
            browser.run("return window.ran === undefined").await,
            true,
            "{path}"
        );
    }
    // A script that the policy alone had stopped would be told of here.
    assert_eq!(browser.console().await, Vec::<String>::new());
}
