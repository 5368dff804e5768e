//! What screen readers, keyboards and browsers without scripts need of every page.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::PgPool;
use trustdata::users::Role;

use crate::dashboard::Person;
use crate::support::TestApp;

/// A start tag.
struct Tag<'a> {
    name: &'a str,
    text: &'a str,
}

impl<'a> Tag<'a> {
    fn attribute(&self, name: &str) -> Option<&'a str> {
        let after = self.text.split(&format!(" {name}=\"")).nth(1)?;
        after.split('"').next()
    }

    fn has(&self, name: &str) -> bool {
        self.text.contains(&format!(" {name}"))
    }
}

/// The start tags of a page; no text of ours has a bare `<`.
fn tags(page: &str) -> Vec<Tag<'_>> {
    let parts = page.split('<').skip(1).filter_map(|part| part.split('>').next());
    let starts = parts.filter(|text| text.starts_with(|first: char| first.is_ascii_alphabetic()));
    let tag = |text| Tag {
        name: str::split(text, |end: char| !end.is_ascii_alphanumeric())
            .next()
            .unwrap(),
        text,
    };
    starts.map(tag).collect()
}

fn check(path: &str, page: &str) {
    let tags = tags(page);
    let of = |name: &'static str| tags.iter().filter(move |tag| tag.name == name);
    assert_eq!(of("h1").count(), 1, "{path}: one heading of all");
    assert_eq!(of("main").count(), 1, "{path}");
    assert_eq!(of("dialog").count(), 0, "{path}: only scripts open dialogs");
    assert!(!page.contains("<th></th>"), "{path}: an empty heading");
    let mut ids = BTreeSet::new();
    for id in tags.iter().filter_map(|tag| tag.attribute("id")) {
        assert!(ids.insert(id), "{path}: {id} twice");
    }
    let labelled: BTreeSet<&str> = of("label").filter_map(|tag| tag.attribute("for")).collect();
    for tag in &tags {
        for name in ["aria-describedby", "aria-labelledby"] {
            for id in tag.attribute(name).unwrap_or_default().split_whitespace() {
                assert!(ids.contains(id), "{path}: {name} {id}");
            }
        }
        let field =
            ["input", "select", "textarea"].contains(&tag.name) && tag.attribute("type") != Some("hidden");
        let named = tag.has("aria-label") || tag.attribute("id").is_some_and(|id| labelled.contains(id));
        assert!(!field || named, "{path}: <{}> has no label", tag.text);
        if tag.attribute("class") == Some("scroll") {
            let reached = tag.attribute("tabindex") == Some("0") && tag.attribute("role") == Some("region");
            assert!(reached && tag.has("aria-label"), "{path}: <{}>", tag.text);
        }
        assert!(
            !tag.has("hx-get") || tag.has("href"),
            "{path}: <{}> needs a script",
            tag.text
        );
    }
    for table in page.split("<table>").skip(1) {
        let head = table.split("</thead>").next().unwrap();
        assert!(
            head.contains("<th scope=\"col\""),
            "{path}: a table without headings"
        );
    }
    let charts = of("svg")
        .filter(|tag| tag.attribute("class") == Some("chart"))
        .count();
    assert_eq!(
        charts,
        page.matches("class=\"values\"").count(),
        "{path}: each chart has its table"
    );
}

#[sqlx::test]
async fn of_every_page(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    let base = format!("/dashboard/properties/{}", app.property_id);
    let stream = format!("{base}/attribution-ids/{}", app.attribution_id);
    let paths = [
        format!("{base}/overview"),
        format!("{base}/overview?from=2026-02-02&until=2026-02-01"),
        format!("{base}/conversions"),
        format!("{base}/campaigns"),
        format!("{base}/campaigns?models=all&by=all&from=x"),
        format!("{base}/destinations"),
        format!("{base}/attribution-ids"),
        format!("{base}/log"),
        format!("{stream}/webhooks"),
        format!("{stream}/activity"),
        format!("{stream}/tracking"),
        format!("{stream}/attribution"),
        "/dashboard/users".to_owned(),
        "/dashboard/log".to_owned(),
        "/dashboard/account".to_owned(),
        "/dashboard/sign-in".to_owned(),
        "/dashboard/nothing".to_owned(),
    ];
    for path in &paths {
        check(path, &owner.get(path).await.text);
    }
    app.session("v-1", 3.0, "utm_source=google&utm_campaign=spring&gclid=x")
        .await;
    app.session("v-2", 40.0, "utm_source=bing&utm_campaign=late")
        .await;
    let mut ids = Vec::new();
    for visitor in ["v-1", "v-2", "nobody"] {
        let sent = json!({ "conversion_id": visitor, "value": 7, "currency": "EUR", "visitor_id": visitor });
        let answer = app.send("purchase", &sent).await;
        ids.push(answer.body["event_id"].as_str().unwrap().to_owned());
    }
    app.send("purchase", &json!({})).await;
    app.activity(4).await;
    let destination = [
        ("platform", "meta"),
        ("name", "Meta"),
        ("attribution_id", &app.attribution_id.to_string()),
        ("settings", r#"{"pixel_id":"1234567890","access_token":"x"}"#),
        ("policy", "matched"),
    ];
    owner.send(&format!("{base}/destinations"), &destination).await;
    let of = async |query: &'static str| -> uuid::Uuid {
        sqlx::query_scalar(query).fetch_one(&app.pool).await.unwrap()
    };
    let destination = of("select destination_id from destinations").await;
    let request = of("select activity_id from activity where status <> 'success'").await;
    let mut more = vec![
        format!("{base}/destinations/{destination}?books=1"),
        format!("{stream}/activity/{request}"),
    ];
    more.extend(ids.iter().map(|id| format!("{base}/conversions/{id}")));
    for path in paths.iter().chain(&more) {
        check(path, &owner.get(path).await.text);
    }
    // What forms answer.
    let invited = [("email", "bo@shop.example"), ("role", "viewer")];
    for (path, fields) in [
        ("/dashboard/users".to_owned(), &invited[..]),
        ("/dashboard/users".to_owned(), &invited[..]),
        ("/dashboard/account/password".to_owned(), &[("password", "short")]),
        (
            format!("{stream}/webhooks/keys"),
            &[("name", "Key"), ("rate_limit", "60")],
        ),
        (
            format!("{stream}/webhooks/test"),
            &[("topic", "purchase"), ("payload", "{}")],
        ),
        (
            format!("{stream}/attribution/lookback"),
            &[("lookback_days", "91")],
        ),
        (
            format!("{base}/destinations"),
            &[("platform", "meta"), ("name", "Meta")],
        ),
    ] {
        check(&path, &owner.send(&path, fields).await.text);
    }
    // A part of the page where htmx asks for it.
    let part = app.http.get(app.url(&more[1])).header("cookie", &owner.cookie);
    let part = part
        .header("hx-request", "true")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(part.contains("validation_failed") && !part.contains("<html"));
}
