//! Pages of what came in: conversions, campaigns, overview, destinations.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::json;
use sqlx::PgPool;
use trustdata::users::Role;

use crate::dashboard::Person;
use crate::forwarding::Double;
use crate::support::{TestApp, allow_local};

#[sqlx::test]
async fn a_conversion_is_explained(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let base = format!("/dashboard/properties/{}", app.property_id);
    let ad = "utm_source=google&utm_medium=cpc&utm_campaign=spring_sale&gclid=x";
    app.session("v-1", 12.0, ad).await;
    app.session(
        "v-1",
        2.0,
        "utm_source=newsletter&utm_medium=email&utm_campaign=weekend",
    )
    .await;
    app.session("v-2", 40.0, "utm_source=bing&utm_campaign=late")
        .await;
    let send = async |sent: serde_json::Value| {
        let answer = app.send("purchase", &sent).await;
        let event_id = answer.body["event_id"].as_str().unwrap().to_owned();
        viewer.get(&format!("{base}/conversions/{event_id}")).await.text
    };
    let page = send(
        json!({ "conversion_id": "ORD-1", "value": 100, "currency": "EUR", "visitor_id": "v-1",
        "user_data": { "email": "jane.doe@example.com", "phone": "+4915112345678" } }),
    )
    .await;
    for told in [
        "spring_sale",
        "weekend",
        "Matched",
        "100.00 EUR",
        "12 d 0 h before",
        "j***@e***",
    ] {
        assert!(page.contains(told), "{told}");
    }
    assert!(!page.contains("jane.doe") && !page.contains("15112345678"));

    let page =
        send(json!({ "conversion_id": "ORD-2", "value": 7, "currency": "USD", "visitor_id": "v-2" })).await;
    for told in [
        "Not matched",
        "What would have matched",
        "45 days",
        "late, clicked",
    ] {
        assert!(page.contains(told), "{told}");
    }

    for (query, found, missing) in [
        ("", "ORD-1", "ORD-9"),
        ("?outcome=unmatched", "ORD-2", "ORD-1"),
        ("?campaign=weekend", "ORD-1", "ORD-2"),
        ("?conversion_id=ORD-2", ">ORD-2<", ">ORD-1<"),
        ("?topic=lead", "Nothing fits", "ORD-1"),
        ("?from=2020-01-01&until=2020-01-02", "Nothing fits", "ORD-1"),
        ("?from=nonsense&after=x&topic=%00", "ORD-1", "Nothing fits"),
    ] {
        let list = viewer.get(&format!("{base}/conversions{query}")).await.text;
        assert!(list.contains(found) && !list.contains(missing), "{query}");
    }
}

#[sqlx::test]
async fn campaigns_and_overview_keep_currencies_apart(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let base = format!("/dashboard/properties/{}", app.property_id);
    let ad = "utm_source=google&utm_medium=cpc&utm_campaign=spring_sale&gclid=x";
    app.session("v-1", 12.0, ad).await;
    app.session(
        "v-1",
        2.0,
        "utm_source=newsletter&utm_medium=email&utm_campaign=%3Dcmd()",
    )
    .await;
    for (id, value, currency) in [("1", 100, "EUR"), ("2", 50, "EUR"), ("3", 70, "USD")] {
        let sent = json!({ "conversion_id": id, "value": value, "currency": currency, "visitor_id": "v-1" });
        assert_eq!(app.send("purchase", &sent).await.status, 200);
    }
    let refund = json!({ "conversion_id": "R-1", "purchase_id": "1", "value": 30, "currency": "EUR" });
    assert_eq!(app.send("refund", &refund).await.status, 200);
    let page = viewer
        .get(&format!("{base}/campaigns?model=first_click"))
        .await
        .text;
    assert!(page.contains("spring_sale") && page.contains("120.00") && page.contains("70.00"));
    assert!(
        !page.contains("190.00") && !page.contains("220.00"),
        "never added up"
    );
    let side = viewer
        .get(&format!("{base}/campaigns?models=all&by=all"))
        .await
        .text;
    assert!(side.contains("Position based") && side.contains("Time decay"));
    let csv = viewer
        .get(&format!("{base}/campaigns.csv?model=last_click"))
        .await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert!(csv.text.contains("'=cmd()"), "{}", csv.text);
    let overview = viewer.get(&format!("{base}/overview")).await.text;
    assert!(overview.contains("120.00") && overview.contains("70.00"));
    assert!(overview.contains("Net revenue, EUR") && overview.contains("<rect class=\"bar\""));
    for odd in [
        "?days=x&model=%00&by=%27&stream=1",
        "?days=90&models=all&by=source_medium",
    ] {
        assert_eq!(
            viewer.get(&format!("{base}/campaigns{odd}")).await.status,
            200,
            "{odd}"
        );
    }
}

const SECRET: &str = r#"{"pixel_id":"1234567890","access_token":"EAAB-very-secret"}"#;

#[sqlx::test]
async fn destinations_are_made_paused_and_removed(pool: PgPool) {
    let app = TestApp::start_with(pool, allow_local).await;
    let double = Double::start().await;
    let editor = Person::signed_in(&app, Role::Editor).await;
    let base = format!("/dashboard/properties/{}/destinations", app.property_id);
    let stream = app.attribution_id.to_string();
    let make = async |settings: &str, topics: &str| {
        let fields = [
            ("platform", "meta"),
            ("name", "Meta <b>"),
            ("attribution_id", stream.as_str()),
            ("settings", settings),
            ("topics", topics),
            ("policy", "matched"),
            ("base_url", double.url.as_str()),
        ];
        editor.send(&base, &fields).await
    };
    for (settings, topics, told) in [
        (r#"{"pixel_id":"1234567890"}"#, "", "access_token"),
        ("{", "", "are no JSON"),
        (SECRET, "purchase nonsense", "topics"),
    ] {
        let page = make(settings, topics).await;
        assert!(page.status == 200 && page.text.contains(told), "{told}");
        assert!(!page.text.contains("very-secret"));
    }
    assert_eq!(app.count("destinations").await, 0);
    assert_eq!(make(SECRET, "purchase lead=enquiry").await.status, 303);
    let id: uuid::Uuid = sqlx::query_scalar("select destination_id from destinations")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let one = format!("{base}/{id}");
    let page = editor.get(&format!("{one}?books=1")).await.text;
    assert!(page.contains("lead as enquiry") && page.contains("Meta &#60;b&#62;"));
    assert!(!page.contains("very-secret"));
    let test = async |code: &str| {
        let fields = [("topic", "purchase"), ("code", code)];
        editor.send(&format!("{one}/test"), &fields).await
    };
    let untried = test("").await.text;
    assert!(untried.contains("Nothing was sent: "), "{untried}");
    assert!(
        test("TEST1")
            .await
            .text
            .contains("takes it.</strong> It answered 200")
    );
    double.answers(|_| {
        let refused = json!({ "error": { "code": 100, "message": "No such <b>pixel</b>" } });
        (StatusCode::BAD_REQUEST, axum::Json(refused)).into_response()
    });
    let refused = test("TEST1").await.text;
    assert!(refused.contains("does not take it.</strong> It answered 400") && !refused.contains("<b>pixel"));
    assert_eq!(test(&"x".repeat(201)).await.status, 422);
    editor
        .send(&format!("{one}/change"), &[("change", "pause")])
        .await;
    assert!(editor.get(&one).await.text.contains("paused by hand"));
    editor
        .send(&format!("{one}/change"), &[("change", "resume")])
        .await;
    let count = [("do", "count"), ("code", "x")];
    let counted = editor.send(&format!("{one}/replay"), &count).await;
    assert!(counted.text.contains("0 dead deliveries with code x"));
    let bad = editor.send(&format!("{one}/replay"), &[("since", "x")]).await;
    assert_eq!(bad.status, 422);
    editor
        .send(&format!("{one}/change"), &[("change", "remove")])
        .await;
    let gone = editor.get(&one).await.text;
    assert!(
        gone.contains(">removed</span>") && !gone.contains("/change\""),
        "{gone}"
    );
    let again = editor
        .send(&format!("{one}/change"), &[("change", "resume")])
        .await;
    assert_eq!(again.status, 404);
    let log = format!("/dashboard/properties/{}/log", app.property_id);
    let log = editor.get(&log).await.text;
    for verb in ["created", "paused", "resumed", "removed"] {
        assert!(log.contains(&format!("destination: {verb}")), "{verb}");
    }
    assert!(!log.contains("very-secret"));
}
