//! Pictures of the pages, for people to look at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fantoccini::Locator;
use serde_json::json;
use sqlx::PgPool;

use super::browser_support::Browser;
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
