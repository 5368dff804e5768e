//! Pictures of the pages, for people to look at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fantoccini::Locator;
use serde_json::json;
use sqlx::PgPool;
use trustdata::users::Role;

use super::browser_support::Browser;
use super::dashboard::{PASSWORD, Person, make_user};
use super::support::*;

#[sqlx::test]
#[ignore = "makes pictures and checks little: make screenshots"]
async fn of_the_shop(pool: PgPool) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let (app, browser) = (TestApp::start_with_shop(pool).await, Browser::start().await);
    let page = |path: &str| format!("http://shop.test:{}/shop/{path}", app.address.port());
    let ad = "utm_source=google&utm_medium=cpc&utm_campaign=summer_sale&gclid=1";
    app.session("picture", 2.0, ad).await;
    let order = async |form: &'static str| {
        let order = app.http.post(app.url("/shop/orders")).body(form);
        let order = order.header("content-type", "application/x-www-form-urlencoded");
        let path = order.send().await.unwrap().url().path().to_owned();
        page(path.strip_prefix("/shop/").unwrap())
    };
    let matched = order("product=tote&quantity=2&visitor_id=picture").await;
    let unmatched = order("product=weekender&quantity=1").await;
    let pages = [
        ("home", page("")),
        ("bags", page("#bags")),
        ("product", page("products/weekender")),
        ("checkout", page("checkout?product=tote&quantity=2")),
        ("matched", matched),
        ("unmatched", unmatched),
        ("missing", page("no/such/page")),
    ];
    for (size, width, height, phone) in [("desktop", 1280, 800, false), ("phone", 390, 844, true)] {
        for scheme in ["light", "dark"] {
            let metrics =
                json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
            browser
                .developer("Emulation.setDeviceMetricsOverride", metrics)
                .await;
            let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
            browser.developer("Emulation.setEmulatedMedia", media).await;
            for (name, url) in &pages {
                browser.goto(url).await;
                // The home page with the banner; the others as after a choice.
                if *name != "home" {
                    let later = browser.page.find(Locator::Css("#consent-later")).await.unwrap();
                    later.click().await.unwrap();
                }
                let overflow = browser
                    .run("return document.documentElement.scrollWidth - innerWidth")
                    .await;
                assert!(
                    overflow.as_i64().unwrap() <= 0,
                    "{name} {size} is too wide by {overflow}"
                );
                let picture = json!({ "format": "png", "captureBeyondViewport": *name != "home" });
                let picture = browser.developer("Page.captureScreenshot", picture).await;
                let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
                std::fs::write(folder.join(format!("shop-{name}-{size}-{scheme}.png")), picture).unwrap();
            }
        }
    }
    println!("pictures are in {}", folder.display());
}

#[sqlx::test]
#[ignore = "makes pictures and checks little: make screenshots"]
async fn of_the_dashboard(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let base = format!("/dashboard/properties/{}", app.property_id);
    let long = "An attribution ID whose name is as long as anybody may make it, which is one hundred characters: now";
    let (empty, full) = (Browser::start().await, Browser::start().await);
    let sign_in = async |browser: &Browser, email: &str| {
        browser.goto(&app.url("/dashboard/sign-in")).await;
        let field = browser.page.find(Locator::Css("#email")).await.unwrap();
        field.send_keys(email).await.unwrap();
        let field = browser.page.find(Locator::Css("#password")).await.unwrap();
        field.send_keys(&format!("{PASSWORD}\u{e007}")).await.unwrap();
        browser.wait_for("document.querySelector('.side')").await;
    };
    make_user(&app, "ann@shop.example", Role::Owner).await;
    sign_in(&empty, "ann@shop.example").await;
    let stream = format!("{base}/attribution-ids/{}", app.attribution_id);
    let nothing = [
        ("empty-overview", format!("{base}/overview")),
        ("empty-conversions", format!("{base}/conversions")),
        ("empty-campaigns", format!("{base}/campaigns")),
        ("empty-destinations", format!("{base}/destinations")),
        ("empty-webhooks", format!("{stream}/webhooks")),
        ("empty-tracking", format!("{stream}/tracking")),
    ];
    pictures(&app, &empty, &nothing).await;

    make_user(
        &app,
        "viewer-with-a-long-address@marketing.shop.example",
        Role::Viewer,
    )
    .await;
    let person = Person::signed_in(&app, Role::Editor).await;
    person
        .send(&format!("{base}/attribution-ids"), &[("name", long)])
        .await;
    person
        .send(
            &format!("{stream}/webhooks/keys"),
            &[("name", long), ("rate_limit", "60")],
        )
        .await;
    person
        .send(
            &format!("{base}/api-tokens"),
            &[("name", long), ("scope", "write")],
        )
        .await;
    let destination = [
        ("platform", "meta"),
        ("name", "Meta"),
        ("attribution_id", &app.attribution_id.to_string()),
        ("settings", r#"{"pixel_id":"1234567890","access_token":"x"}"#),
        ("policy", "matched"),
    ];
    person.send(&format!("{base}/destinations"), &destination).await;
    for n in 0..60_i32 {
        let visitor = format!("v-{n}");
        let campaign = [
            "summer_sale",
            "brand",
            "a_campaign_with_a_very_long_name_that_somebody_generated_2026_11_q4",
        ];
        let days = f64::from(n % 20) + 1.0;
        let query = format!(
            "utm_source=google&utm_medium=cpc&utm_campaign={}&gclid=x",
            campaign[n as usize % 3]
        );
        app.session(&visitor, days + 3.0, &query).await;
        app.session(
            &visitor,
            days,
            "utm_source=newsletter&utm_medium=email&utm_campaign=weekend",
        )
        .await;
        let time = now().timestamp() - i64::from(n) * 30_000;
        let sent = json!({ "conversion_id": format!("ORD-{n}"), "value": 20 + n, "currency": if n % 4 == 0 { "USD" } else { "EUR" },
            "visitor_id": if n % 5 == 0 { "nobody".to_owned() } else { visitor }, "event_time": time,
            "user_data": { "email": "jane@shop.example" } });
        app.send("purchase", &sent).await;
    }
    app.send("lead", &json!({ "value": -1 })).await;
    app.send("purchase", &json!({ "conversion_id": "ORD-1" })).await;
    app.activity(62).await;
    let event: uuid::Uuid = sqlx::query_scalar(
        "select event_id from conversions where match_reason = 'matched' order by conversion_id limit 1",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    let destination: uuid::Uuid = sqlx::query_scalar("select destination_id from destinations")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let signed_out = [
        ("sign-in", "/dashboard/sign-in".to_owned()),
        ("missing", "/dashboard/no/such/page".to_owned()),
    ];
    pictures(&app, &full, &signed_out).await;
    sign_in(&full, "ann@shop.example").await;
    let pages = [
        ("overview", format!("{base}/overview")),
        ("conversions", format!("{base}/conversions")),
        ("conversion", format!("{base}/conversions/{event}")),
        ("campaigns", format!("{base}/campaigns")),
        (
            "campaigns-models",
            format!("{base}/campaigns?models=all&by=source_medium"),
        ),
        ("destinations", format!("{base}/destinations")),
        (
            "destination",
            format!("{base}/destinations/{destination}?books=1"),
        ),
        ("attribution-ids", format!("{base}/attribution-ids")),
        ("webhooks", format!("{stream}/webhooks?said=enabled")),
        ("tracking", format!("{stream}/tracking")),
        ("attribution", format!("{stream}/attribution")),
        ("api-tokens", format!("{base}/api-tokens")),
        ("property", format!("{base}/settings")),
        ("properties", "/dashboard/properties".to_owned()),
        ("log", format!("{base}/log")),
        ("users", "/dashboard/users".to_owned()),
        ("account", "/dashboard/account".to_owned()),
    ];
    pictures(&app, &full, &pages).await;
}

/// Light and dark, desktop and phone; no page is wider than the screen.
async fn pictures(app: &TestApp, browser: &Browser, pages: &[(&str, String)]) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    for (size, width, height, phone) in [("desktop", 1280, 800, false), ("phone", 390, 844, true)] {
        for scheme in ["light", "dark"] {
            let metrics =
                json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
            browser
                .developer("Emulation.setDeviceMetricsOverride", metrics)
                .await;
            let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
            browser.developer("Emulation.setEmulatedMedia", media).await;
            for (name, path) in pages {
                browser.goto(&app.url(path)).await;
                let overflow = browser
                    .run("return document.documentElement.scrollWidth - innerWidth")
                    .await;
                assert!(
                    overflow.as_i64().unwrap() <= 0,
                    "{name} {size} is too wide by {overflow}"
                );
                let picture = json!({ "format": "png", "captureBeyondViewport": true });
                let picture = browser.developer("Page.captureScreenshot", picture).await;
                let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
                let file = format!("dashboard-{name}-{size}-{scheme}.png");
                std::fs::write(folder.join(file), picture).unwrap();
            }
        }
    }
}
