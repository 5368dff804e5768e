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

/// Who signs in for the pictures.
async fn sign_in(app: &TestApp, browser: &Browser) {
    browser.goto(&app.url("/dashboard/sign-in")).await;
    browser.keys("#email", "ann@shop.example").await;
    browser.keys("#password", &format!("{PASSWORD}\u{e007}")).await;
    browser.wait_for("document.querySelector('.side')").await;
}

#[sqlx::test]
#[ignore = "makes pictures and checks little: make screenshots"]
async fn of_the_dashboard_without_data(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = Browser::start().await;
    make_user(&app, "ann@shop.example", Role::Owner).await;
    let signed_out = [
        ("sign-in", "/dashboard/sign-in".to_owned()),
        ("missing", "/dashboard/no/such/page".to_owned()),
    ];
    pictures(&app, &browser, &signed_out).await;
    sign_in(&app, &browser).await;
    let base = format!("/dashboard/properties/{}", app.property_id);
    let stream = format!("{base}/attribution-ids/{}", app.attribution_id);
    let nothing = [
        ("empty-overview", format!("{base}/overview")),
        ("empty-conversions", format!("{base}/conversions")),
        ("empty-campaigns", format!("{base}/campaigns")),
        ("empty-destinations", format!("{base}/destinations")),
        ("empty-webhooks", format!("{stream}/webhooks")),
        ("empty-activity", format!("{stream}/activity")),
        ("empty-tracking", format!("{stream}/tracking")),
        ("empty-log", format!("{base}/log")),
        ("api", "/api/v1/docs".to_owned()),
    ];
    pictures(&app, &browser, &nothing).await;
    sqlx::query("truncate webhook_keys, streams, properties cascade")
        .execute(&app.pool)
        .await
        .unwrap();
    pictures(&app, &browser, &[("first", "/dashboard".to_owned())]).await;
}

#[sqlx::test]
#[ignore = "makes pictures and checks little: make screenshots"]
async fn of_the_dashboard(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let base = format!("/dashboard/properties/{}", app.property_id);
    let stream = format!("{base}/attribution-ids/{}", app.attribution_id);
    let browser = Browser::start().await;
    make_user(&app, "ann@shop.example", Role::Owner).await;
    make_user(
        &app,
        "viewer-with-a-long-address@marketing.shop.example",
        Role::Viewer,
    )
    .await;
    let person = Person::signed_in(&app, Role::Editor).await;
    let matched = shop(&app, &person).await;
    let id = async |query: &'static str| -> uuid::Uuid {
        sqlx::query_scalar(query).fetch_one(&app.pool).await.unwrap()
    };
    let direct = id("select event_id from conversions where conversion_id = 'ORD-direct'").await;
    let off = id(
        "select event_id from conversions where match_reason = 'outside_lookback' and nearest_session_at < event_time limit 1",
    )
    .await;
    let nobody = id("select event_id from conversions where match_reason = 'unknown_visitor' limit 1").await;
    let request = id("select activity_id from activity where status <> 'success' limit 1").await;
    let destination = id("select destination_id from destinations").await;
    sign_in(&app, &browser).await;
    let pages = [
        ("overview", format!("{base}/overview")),
        ("overview-today", format!("{base}/overview?days=1")),
        (
            "overview-refused",
            format!("{base}/overview?from=2020-01-01&until=2026-01-01"),
        ),
        ("conversions", format!("{base}/conversions")),
        (
            "conversions-filtered",
            format!("{base}/conversions?campaign=summer_sale&model=linear&from=2026-10-01"),
        ),
        ("conversion", format!("{base}/conversions/{matched}")),
        ("conversion-direct", format!("{base}/conversions/{direct}")),
        ("conversion-off", format!("{base}/conversions/{off}")),
        ("conversion-nobody", format!("{base}/conversions/{nobody}")),
        ("campaigns", format!("{base}/campaigns")),
        (
            "campaigns-models",
            format!("{base}/campaigns?models=all&by=source_medium"),
        ),
        ("campaigns-all", format!("{base}/campaigns?by=all&days=90")),
        ("destinations", format!("{base}/destinations")),
        (
            "destination",
            format!("{base}/destinations/{destination}?books=1"),
        ),
        ("attribution-ids", format!("{base}/attribution-ids")),
        ("webhooks", format!("{stream}/webhooks?said=enabled")),
        ("activity", format!("{stream}/activity")),
        ("request", format!("{stream}/activity/{request}")),
        ("tracking", format!("{stream}/tracking")),
        ("attribution", format!("{stream}/attribution")),
        ("log", format!("{base}/log")),
        ("users", "/dashboard/users".to_owned()),
        ("account", "/dashboard/account".to_owned()),
    ];
    pictures(&app, &browser, &pages).await;

    // What is open: forms, tables of charts, the detail of a request.
    let webhooks = app.url(&format!("{stream}/webhooks"));
    let opened = [
        ("webhooks-open", webhooks.clone()),
        ("destinations-open", app.url(&format!("{base}/destinations"))),
        ("users-open", app.url("/dashboard/users")),
        (
            "attribution-ids-open",
            app.url(&format!("{base}/attribution-ids")),
        ),
        ("campaigns-open", app.url(&format!("{base}/campaigns"))),
    ];
    for (name, url) in opened {
        browser.goto(&url).await;
        browser
            .run("document.querySelectorAll('main details').forEach(function (one) { one.open = true; })")
            .await;
        if name == "webhooks-open" {
            browser.click("#activity a").await;
            browser.wait_for("document.querySelector('#detail h2')").await;
        }
        all_sizes(&browser, name).await;
    }

    // What forms answer.
    browser.goto(&webhooks).await;
    browser.click("#generate summary").await;
    browser.keys("#key-name", "Production back end").await;
    browser.click("#generate .row button").await;
    browser.wait_for("document.querySelector('#fresh-key')").await;
    all_sizes(&browser, "key-fresh").await;
    for (name, payload) in [
        (
            "test-event-matched",
            r#"{"conversion_id":"T-1","value":5,"currency":"EUR","visitor_id":"v-1","colour":"red"}"#,
        ),
        ("test-event-refused", r#"{"value":-5,"currency":"EURO"}"#),
    ] {
        browser.goto(&webhooks).await;
        browser.run("document.querySelector('#payload').value = ''").await;
        browser.keys("#payload", payload).await;
        browser.click("#test button").await;
        browser.wait_for("document.querySelector('#tested')").await;
        all_sizes(&browser, name).await;
    }
    browser.goto(&app.url("/dashboard/users")).await;
    browser.click("#invite summary").await;
    browser.keys("#email", "bo@shop.example").await;
    browser.click("#invite .row button").await;
    let link = browser.text("#invitation").await;
    all_sizes(&browser, "users-invited").await;
    browser.goto(&link).await;
    all_sizes(&browser, "invitation").await;
    browser.goto(&app.url(&format!("{stream}/attribution"))).await;
    browser
        .run("const field = document.querySelector('#lookback'); field.max = ''; field.value = 91")
        .await;
    browser.click(".inline button").await;
    browser
        .wait_for("/cannot be done/.test(document.body.textContent)")
        .await;
    all_sizes(&browser, "refused-422").await;
    browser.goto(&app.url("/dashboard/account")).await;
    browser
        .run("document.querySelectorAll('[name=csrf]').forEach(function (field) { field.value = 'x'; })")
        .await;
    browser.click("button.danger").await;
    browser
        .wait_for("/out of date/.test(document.body.textContent)")
        .await;
    all_sizes(&browser, "refused-403").await;

    // Ten thousand of each.
    many(&app).await;
    let pages = [
        ("many-overview", format!("{base}/overview")),
        ("many-conversions", format!("{base}/conversions")),
        ("many-campaigns", format!("{base}/campaigns?by=all")),
        ("many-activity", format!("{stream}/activity")),
        ("many-rare", format!("{base}/conversions?campaign=nothing")),
    ];
    pictures(&app, &browser, &pages).await;
}

/// A shop's month, with long names; one of its conversions that was matched.
async fn shop(app: &TestApp, person: &Person) -> uuid::Uuid {
    let base = format!("/dashboard/properties/{}", app.property_id);
    let long = "An attribution ID whose name is as long as anybody may make it, which is one hundred characters: now";
    person
        .send(&format!("{base}/attribution-ids"), &[("name", long)])
        .await;
    let keys = format!("{base}/attribution-ids/{}/webhooks/keys", app.attribution_id);
    person.send(&keys, &[("name", long), ("rate_limit", "60")]).await;
    let stream = app.attribution_id.to_string();
    let destination = [
        ("platform", "meta"),
        ("name", "Meta"),
        ("attribution_id", stream.as_str()),
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
        let newsletter = "utm_source=newsletter&utm_medium=email&utm_campaign=weekend";
        app.session(&visitor, days, newsletter).await;
        app.session(&visitor, days - 0.1, "utm_source=bing&utm_medium=cpc&msclkid=1")
            .await;
        let time = now().timestamp() - i64::from(n) * 30_000;
        let sent = json!({ "conversion_id": format!("ORD-{n}"), "value": 20 + n, "currency": if n % 4 == 0 { "USD" } else { "EUR" },
            "visitor_id": if n % 5 == 0 { "nobody".to_owned() } else { visitor }, "event_time": time,
            "user_id": "jane@shop.example", "user_data": { "email": "jane@shop.example" } });
        app.clock.advance(chrono::TimeDelta::milliseconds(1));
        app.send("purchase", &sent).await;
    }
    app.session("v-direct", 2.0, "").await;
    app.session("v-off", 47.0, "utm_source=bing&utm_campaign=late&utm_medium=cpc")
        .await;
    let long_id = "an-order-id-that-is-as-long-as-it-may-be-".repeat(4)[..128].to_owned();
    for (topic, id, visitor, value, currency) in [
        ("purchase", "ORD-direct", "v-direct", 12_345_678.9, "KWD"),
        ("purchase", &long_id, "v-off", 1000.0, "JPY"),
        ("refund", "R-1", "v-1", 900.0, "EUR"),
        ("lead", "L-1", "v-2", 0.0, "EUR"),
    ] {
        let sent = json!({ "conversion_id": id, "value": value, "currency": currency, "visitor_id": visitor, "purchase_id": "ORD-1" });
        app.send(topic, &sent).await;
    }
    app.send("lead", &json!({ "value": -1 })).await;
    app.send("purchase", &json!({ "conversion_id": "ORD-1" })).await;
    app.activity(66).await;
    sqlx::query_scalar(
        "select event_id from conversions where match_reason = 'matched' and conversion_id = 'ORD-2'",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap()
}

/// Ten thousand conversions of many campaigns, and as many requests.
async fn many(app: &TestApp) {
    let (property, stream, now) = (app.property_id, app.attribution_id, app.clock.now());
    let id = "(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid";
    let of = format!(
        "from (select n, '{now}'::timestamptz - make_interval(mins => n * 4) as at from generate_series(1, 10000) n) x"
    );
    let script = format!(
        "insert into conversions (property_id, event_id, attribution_id, topic, conversion_id, event_time, received_at, value, currency,
             visitor_id, match_reason, session_id, lookback_days, payload, source)
         select '{property}', {id}, '{stream}', 'purchase', 'M-' || n, at, at, n * 7.77, (array['EUR', 'USD', 'GBP', 'CHF', 'JPY', 'KWD'])[1 + n % 6],
             'v', 'matched', 's', 30, '{{}}', 'webhook' {of};
         insert into credits (property_id, event_id, version, position, session_id, clicked_at, direct, source, medium, campaign, last_click,
             first_click, linear, time_decay, position_based)
         select '{property}', {id}, 1, 1, 's', at, false, (array['google', 'bing', 'tiktok'])[1 + n % 3], 'cpc', 'campaign-' || n % 300,
             1000000, 1000000, 1000000, 1000000, 1000000 {of};
         insert into activity (property_id, attribution_id, activity_id, at, status, topic, http_status, code, requests)
         select '{property}', '{stream}', {id}, at, case n % 7 when 0 then 'auth_error' else 'rate_limited' end, 'purchase', 429, 'rate_limited',
             1 + n % 50 {of}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&app.pool)
        .await
        .unwrap();
    let mut conn = app.pool.acquire().await.unwrap();
    let mut transaction = sqlx::Connection::begin(&mut *conn).await.unwrap();
    trustdata::reports::rollup::rebuild(&mut transaction, property)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    trustdata::reports::rollup::roll_all(&app.pool, &trustdata::platform::pace::Pace::free())
        .await
        .unwrap();
}

/// Pictures of pages.
async fn pictures(app: &TestApp, browser: &Browser, pages: &[(&str, String)]) {
    for (name, path) in pages {
        browser.goto(&app.url(path)).await;
        all_sizes(browser, name).await;
    }
}

/// Pictures of what is open: light and dark, desktop and phone; no page is wider than the screen.
async fn all_sizes(browser: &Browser, name: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    for (size, width, height, phone) in [("desktop", 1280, 800, false), ("phone", 390, 844, true)] {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        browser
            .developer("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let wide = browser.run("return document.documentElement.scrollWidth").await;
        // A phone's own idea of its width grows with the page.
        assert!(wide.as_i64().unwrap() <= width, "{name} {size} is {wide} wide");
        for scheme in ["light", "dark"] {
            let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
            browser.developer("Emulation.setEmulatedMedia", media).await;
            let picture = json!({ "format": "png", "captureBeyondViewport": true });
            let picture = browser.developer("Page.captureScreenshot", picture).await;
            let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
            let file = format!("dashboard-{name}-{size}-{scheme}.png");
            std::fs::write(folder.join(file), picture).unwrap();
        }
    }
}
