//! What the pages of reports draw, add up and lead to, whatever they are asked for.

use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::users::Role;

use crate::dashboard::Person;
use crate::support::{TestApp, now};

/// The tenant's pages.
fn base(app: &TestApp) -> String {
    format!("/dashboard/properties/{}", app.property_id)
}

/// The part of a page from one text to the next of another.
fn part<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let after = page
        .split(from)
        .nth(1)
        .unwrap_or_else(|| panic!("no {from} in {page}"));
    after.split(to).next().unwrap()
}

#[sqlx::test]
async fn no_query_breaks_a_page(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let base = base(&app);
    let stream = format!("{base}/attribution-ids/{}", app.attribution_id);
    app.send("lead", &json!({ "conversion_id": "L-1" })).await;
    let odd = [
        "%2B262142-12-31",
        "-262143-01-01",
        "%2B262143-01-01",
        "0000-01-01",
        "1969-12-31",
        "9999-12-31",
        "2026-02-30",
        "2026-11-01",
        "%00",
        "%FF",
        "-1",
        "99999999999999999999",
        "NaN",
        "",
        "%27%22%3C",
        "(none)",
        "00000000-0000-0000-0000-000000000000",
        "AAAAAAAAAAAAAAAAAAAAAAA",
    ];
    let pages = [
        (format!("{base}/overview"), &["days", "from", "until"][..]),
        (
            format!("{base}/campaigns"),
            &["days", "from", "until", "model", "by", "stream", "models"],
        ),
        (
            format!("{base}/campaigns.csv"),
            &["days", "from", "until", "model", "by", "stream"],
        ),
        (
            format!("{base}/conversions"),
            &[
                "topic",
                "outcome",
                "campaign",
                "source",
                "medium",
                "model",
                "currency",
                "stream",
                "from",
                "until",
                "conversion_id",
                "after",
            ],
        ),
        (format!("{base}/log"), &["before"]),
        (format!("{base}/attribution-ids"), &["after", "said"]),
        (format!("{stream}/activity"), &["before"]),
    ];
    for (page, names) in pages {
        for name in names {
            for value in odd {
                let url = format!("{page}?{name}={value}");
                let status = viewer.get(&url).await.status.as_u16();
                assert!([200, 400, 404].contains(&status), "{url} {status}");
            }
        }
        if names.contains(&"from") {
            for (from, until) in [
                ("9999-12-31", "9999-12-31"),
                ("1970-01-01", "9999-12-31"),
                ("2026-02-02", "2026-01-01"),
            ] {
                let url = format!("{page}?from={from}&until={until}");
                assert_eq!(viewer.get(&url).await.status, 200, "{url}");
            }
        }
    }
    let refused = viewer
        .get(&format!("{base}/overview?from=2020-01-01&until=2026-01-01"))
        .await
        .text;
    assert!(refused.contains("At most 800 days") && refused.contains("aria-describedby=\"days-refused\""));
}

#[sqlx::test]
async fn charts_draw_what_there_is(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let base = base(&app);
    let overview = async || viewer.get(&format!("{base}/overview")).await.text;
    let campaigns = async || viewer.get(&format!("{base}/campaigns")).await.text;
    let chart = |page: &str, label: &str| {
        part(page, &format!("aria-label=\"{label}\"><h2>"), "</section>").to_owned()
    };
    assert!(chart(&overview().await, "Match rate").contains("Nothing in this time"));

    // Nobody is matched: that is 0 %, not nothing. A property of leads alone has its chart.
    app.send("lead", &json!({ "conversion_id": "L-1" })).await;
    let matched = chart(&overview().await, "Match rate");
    assert!(
        !matched.contains("Nothing in this time") && matched.contains("2026-11-01: 0 %"),
        "{matched}"
    );
    let leads = chart(&campaigns().await, "Conversions by day");
    assert!(
        leads.contains("2026-11-01: 1")
            && leads.contains("<th scope=\"row\">2026-11-01</th><td class=\"num\">1</td>"),
        "{leads}"
    );

    // More was given back than was earned: below zero.
    let refund =
        json!({ "conversion_id": "R-1", "purchase_id": "elsewhere", "value": 30, "currency": "EUR" });
    app.send("refund", &refund).await;
    for (page, label) in [
        (overview().await, "Net revenue, EUR"),
        (campaigns().await, "Net revenue by day, EUR"),
    ] {
        let drawn = chart(&page, label);
        assert!(drawn.contains("bar below") && drawn.contains("−30.00"), "{drawn}");
    }

    // The fifth currency is not drawn, and the page says so.
    for (n, currency) in ["USD", "GBP", "CHF", "JPY", "KWD"].into_iter().enumerate() {
        let sent = json!({ "conversion_id": format!("P-{n}"), "value": 100 - n, "currency": currency });
        assert_eq!(app.send("purchase", &sent).await.status, 200);
    }
    for page in [overview().await, campaigns().await] {
        let told = part(&page, "Not drawn, ", "</p>");
        assert!(
            told.contains("KWD") && told.contains("EUR") && !told.contains("USD"),
            "{told}"
        );
    }
}

#[sqlx::test]
async fn money_has_its_currency_s_digits_and_adds_up(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let base = base(&app);
    let sent = [
        ("purchase", "1", 1.234, "KWD", None),
        ("refund", "2", 0.5, "KWD", Some("1")),
        ("purchase", "3", 10.005, "EUR", None),
        ("refund", "4", 0.004, "EUR", Some("3")),
        ("purchase", "5", 1000.0, "JPY", None),
    ];
    for (topic, id, value, currency, of) in sent {
        let mut sent = json!({ "conversion_id": id, "value": value, "currency": currency });
        if let Some(of) = of {
            sent["purchase_id"] = json!(of);
        }
        assert_eq!(app.send(topic, &sent).await.status, 200);
    }
    let cells = |row: [&str; 3]| row.map(|text| format!("<td class=\"num\">{text}</td>")).concat();
    let campaigns = viewer.get(&format!("{base}/campaigns")).await.text;
    for row in [
        ["1.234", "0.500", "0.734"],
        ["10.01", "0.00", "10.01"],
        ["1\u{202f}000", "0", "1\u{202f}000"],
    ] {
        assert!(campaigns.contains(&cells(row)), "{row:?} {campaigns}");
    }
    let overview = viewer.get(&format!("{base}/overview")).await.text;
    for told in [
        "0.734",
        "1.234 less 0.500",
        "10.01 less 0.00",
        "1\u{202f}000 less 0",
    ] {
        assert!(overview.contains(told), "{told}");
    }
}

/// A row's link lists what the row has credit of: by its model, in its currency, of its days and stream.
#[sqlx::test]
async fn a_row_leads_to_its_conversions(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let base = base(&app);
    app.session(
        "v-1",
        12.0,
        "utm_source=google&utm_medium=cpc&utm_campaign=spring%26sale&gclid=x",
    )
    .await;
    app.session("v-1", 2.0, "utm_source=newsletter&utm_medium=email")
        .await;
    let send = async |topic: &str, id: &str, days_ago: i64, more: Value| {
        let mut sent = json!({ "conversion_id": id, "value": 5, "currency": "EUR", "visitor_id": "v-1",
            "event_time": (now() - chrono::TimeDelta::days(days_ago)).timestamp() });
        for (name, value) in more.as_object().unwrap() {
            sent[name] = value.clone();
        }
        assert_eq!(app.send(topic, &sent).await.status, 200);
    };
    send("purchase", "ORD-both", 0, json!({})).await;
    send("purchase", "ORD-usd", 0, json!({ "currency": "USD" })).await;
    send("purchase", "ORD-earlier", 9, json!({})).await;
    send("purchase", "ORD-nobody", 0, json!({ "visitor_id": "v-2" })).await;
    send("refund", "R-1", 0, json!({ "purchase_id": "ORD-both" })).await;
    let all = ["ORD-both", "ORD-usd", "ORD-earlier", "ORD-nobody", "R-1"];
    let links = async |query: &str| {
        let page = viewer.get(&format!("{base}/campaigns?{query}")).await.text;
        let table = part(&page, "<tbody>\n      \n", "</section>").to_owned();
        let links = table.split("href=\"").skip(1).map(|rest| {
            let (path, rest) = rest.split_once('"').unwrap();
            (part(rest, ">", "<").to_owned(), path.replace("&#38;", "&"))
        });
        links.collect::<Vec<_>>()
    };
    for (query, name, currency, found) in [
        (
            "model=first_click&days=7",
            "spring&#38;sale",
            "EUR",
            &["ORD-both"][..],
        ),
        (
            "model=first_click",
            "spring&#38;sale",
            "EUR",
            &["ORD-both", "ORD-earlier"],
        ),
        ("model=last_click", "spring&#38;sale", "EUR", &["ORD-earlier"]),
        ("model=linear&by=all&days=1", "paid_search", "USD", &["ORD-usd"]),
        (
            "model=last_click&from=2026-10-20&until=2026-10-25",
            "spring&#38;sale",
            "EUR",
            &["ORD-earlier"],
        ),
        ("days=7", "(none)", "EUR", &["ORD-both"]),
        ("days=7", "nobody", "EUR", &["ORD-nobody"]),
    ] {
        let links = links(query).await;
        let fits =
            |(told, path): &&(String, String)| told == name && path.contains(&format!("currency={currency}"));
        let (_, path) = links
            .iter()
            .find(fits)
            .unwrap_or_else(|| panic!("{query} {name}: {links:?}"));
        let list = viewer.get(path).await.text;
        for id in all {
            let told = list.contains(&format!("<bdi>{id}</bdi>"));
            assert_eq!(told, found.contains(&id), "{query} {name}: {id} at {path}");
        }
    }
    let other_stream = links(&format!("stream={}", app.attribution_id)).await;
    assert!(
        other_stream[0]
            .1
            .contains(&format!("stream={}", app.attribution_id))
    );
    assert!(links("by=channel").await.iter().all(|(name, _)| name == "nobody"));
    let overview = viewer.get(&format!("{base}/overview")).await.text;
    assert!(
        overview.contains("campaign=spring%26sale"),
        "names lead there, too"
    );
}

#[sqlx::test]
async fn conversions_are_found_by_the_time_that_is_shown(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let list = format!("{}/conversions", base(&app));
    // Sent today, and happened a month ago.
    let sent =
        json!({ "conversion_id": "L-1", "event_time": (now() - chrono::TimeDelta::days(30)).timestamp() });
    app.send("lead", &sent).await;
    for (query, told) in [
        ("from=2026-10-02&until=2026-10-02", true),
        ("from=2026-10-03", false),
        ("until=2026-10-01", false),
        ("until=2026-10-02", true),
        ("currency=%28none%29", true),
        ("currency=EUR", false),
        ("topic=conversions", true),
    ] {
        let page = viewer.get(&format!("{list}?{query}")).await.text;
        assert_eq!(page.contains("<bdi>L-1</bdi>"), told, "{query}");
    }
}

#[sqlx::test]
async fn a_journey_is_a_picture_and_a_list(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    app.session("v-1", 15.0, "utm_source=google&utm_campaign=spring&gclid=x")
        .await;
    app.session("v-2", 40.0, "utm_source=bing&utm_campaign=late")
        .await;
    app.session("v-3", 3.0, "").await;
    let page = async |id: &str, visitor: &str| {
        let sent = json!({ "conversion_id": id, "value": 1, "currency": "EUR", "visitor_id": visitor, "user_id": "jane.doe@example.com" });
        let answer = app.send("purchase", &sent).await;
        let id = answer.body["event_id"].as_str().unwrap().to_owned();
        viewer.get(&format!("{}/conversions/{id}", base(&app))).await.text
    };
    let matched = page("1", "v-1").await;
    // In the middle of a lookback of thirty days.
    assert!(
        matched.contains("<svg class=\"mark click\" x=\"50.00%\""),
        "{matched}"
    );
    assert!(matched.contains("<li class=\"click\">"));
    assert!(page("2", "v-3").await.contains("<svg class=\"mark direct\""));
    let off = page("3", "v-2").await;
    assert!(
        off.contains("<svg class=\"mark outside\" x=\"4.00%\"") && off.contains("x1=\"27.00%\""),
        "{off}"
    );
    for page in [matched, off] {
        assert!(!page.contains("jane.doe") && page.contains("j***@e***.com"));
    }
}

#[sqlx::test]
async fn a_property_stays_chosen(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let mut owner = Person::signed_in(&app, Role::Owner).await;
    owner.send("/dashboard/properties", &[("name", "Another")]).await;
    let other: uuid::Uuid = sqlx::query_scalar("select property_id from properties where name = 'Another'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let shown = owner
        .get(&format!("/dashboard/properties/{other}/overview"))
        .await;
    assert!(
        shown
            .cookie
            .ends_with("; Path=/dashboard; HttpOnly; SameSite=Lax"),
        "{}",
        shown.cookie
    );
    let signed_in = owner.cookie.clone();
    owner.cookie = format!("{signed_in}; {}", shown.cookie.split(';').next().unwrap());
    let settings = format!("/dashboard/properties/{other}/attribution-ids");
    for path in ["/dashboard/account", "/dashboard/users", "/dashboard/log"] {
        let page = owner.get(path).await;
        assert!(page.text.contains(&settings), "{path}");
        assert_eq!(page.cookie, "", "{path}");
    }
    let first = owner.get("/dashboard").await.location;
    assert_eq!(first, format!("/dashboard/properties/{other}/overview"));
    // One that is no longer there is forgotten, and none that is not there is remembered.
    owner.cookie = format!("{signed_in}; trustdata-property={}", uuid::Uuid::from_u128(7));
    assert!(
        owner
            .get("/dashboard/account")
            .await
            .text
            .contains(&app.property_id.to_string())
    );
    let missing = format!("/dashboard/properties/{}/overview", uuid::Uuid::from_u128(7));
    owner.cookie = signed_in;
    let missing = owner.get(&missing).await;
    assert_eq!((missing.status.as_u16(), missing.cookie.as_str()), (404, ""));
}
