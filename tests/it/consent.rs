//! What the visitor agreed to, in whichever visit, and what forwarding makes of it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::domain::consent::Consent;
use trustdata::domain::landing::Landing;
use trustdata::domain::tenant::Tenant;
use trustdata::forwarding;
use trustdata::sessions::tracking::apply;

use crate::forwarding::{Double, destination};
use crate::support::{Answer, TestApp, moment, now, purchase, sealer, until};

const AD: &str = "https://shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=abc";
const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// State and reason of the one delivery of a purchase that says nothing of consent.
async fn delivery_of(app: &TestApp, visitor: &str) -> (String, Option<String>) {
    let mut body = purchase("O-1");
    body["visitor_id"] = json!(visitor);
    body["user_data"] = json!({ "email": "jane@example.com" });
    let answer = app.send("purchase", &body).await;
    assert_eq!(answer.body["attribution"]["campaign"], "spring", "{answer:?}");
    let settled = "deliveries where settled_at is not null";
    until("the delivery is settled", async || app.count(settled).await == 1).await;
    sqlx::query_as("select state, reason from deliveries")
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

/// What a dry run says of it.
async fn foretold(app: &TestApp, visitor: &str) -> Value {
    let body = json!({ "conversion_id": "dry", "value": 1, "currency": "EUR", "visitor_id": visitor,
                       "user_data": { "email": "jane@example.com" } });
    let request = app
        .http
        .post(app.webhook("purchase") + "?dry_run=true")
        .bearer_auth(&app.token);
    let answer = Answer::of(request.json(&body)).await;
    answer.body["forwarding"][0].clone()
}

#[sqlx::test]
async fn a_yes_on_the_second_page_holds_for_the_ad_on_the_first(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |_| ()).await;
    let landed = app
        .tell(
            "page_view",
            json!({ "page_location": AD, "raw_user_agent": BROWSER }),
        )
        .await;
    let anonymous = &landed.body["visitor_id"];
    app.clock.advance(TimeDelta::minutes(1));
    let agreed = json!({ "analytics": true, "advertising": true });
    let link = json!({ "previous_visitor_id": anonymous, "new_visitor_id": "v-1", "visitor_id": "v-1", "consent": agreed,
                       "raw_user_agent": BROWSER });
    assert_eq!(app.tell("identity_link", link).await.status, 200);
    app.clock.advance(TimeDelta::minutes(1));
    assert_eq!(foretold(&app, "v-1").await["state"], "queued");
    assert_eq!(delivery_of(&app, "v-1").await, ("accepted".to_owned(), None));
    // The browser is known from the visit in which it was allowed to be kept.
    let sent = &double.got()[0]["data"][0];
    assert_eq!(sent["user_data"]["client_user_agent"], BROWSER, "{sent}");
}

#[sqlx::test]
async fn a_no_on_day_five_holds_for_the_ad_of_day_one(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    destination(&app, &double.url, |_| ()).await;
    let view = async |page: &str, advertising: bool| {
        let consent = json!({ "analytics": true, "advertising": advertising });
        let fields = json!({ "visitor_id": "v-1", "page_location": page, "consent": consent });
        assert_eq!(app.tell("page_view", fields).await.status, 200);
    };
    view(AD, true).await;
    app.clock.advance(TimeDelta::days(5));
    view("https://shop.example/", false).await;
    let dry = foretold(&app, "v-1").await;
    assert_eq!(
        (&dry["state"], &dry["reason"]),
        (&json!("suppressed"), &json!("consent_denied"))
    );
    let denied = ("suppressed".to_owned(), Some("consent_denied".to_owned()));
    assert_eq!(delivery_of(&app, "v-1").await, denied);
}

#[sqlx::test]
async fn a_conversion_of_a_session_that_was_merged_still_knows_it(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let view = async |seconds: i64, advertising: Option<bool>| {
        let tenant = Tenant {
            property_id: app.property_id,
            attribution_id: app.attribution_id,
        };
        let landing = Landing::parse("https://shop.example/", None).unwrap();
        let mut moment = moment(tenant, "v-1", now() + TimeDelta::seconds(seconds), landing);
        moment.consent = Consent {
            advertising,
            ..Consent::default()
        };
        let mut transaction = app.pool.begin().await.unwrap();
        apply(&mut transaction, &[&moment], &app.clock, &sealer())
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    };
    view(-3600, None).await;
    view(-1200, Some(true)).await;
    let mut body = purchase("O-1");
    body["visitor_id"] = json!("v-1");
    app.send("purchase", &body).await;
    // What came in between makes one visit of the two, under the id of the first.
    view(-2400, None).await;
    assert_eq!(app.count("sessions").await, 1);
    let (event_id, credited): (uuid::Uuid, String) =
        sqlx::query_as("select event_id, session_id from conversions")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(
        app.count(&format!("sessions where session_id = '{credited}'"))
            .await,
        0
    );
    let mut conn = app.pool.acquire().await.unwrap();
    let facts = forwarding::store::facts(&mut conn, &[(app.property_id, event_id)])
        .await
        .unwrap();
    let facts = &facts[&(app.property_id, event_id)];
    assert_eq!(facts.grounds.consent.advertising, Some(true));
    let found = "credits k cross join lateral session_of(k.property_id, k.session_id) s where s.session_id <> k.session_id";
    assert_eq!(app.count(found).await, 1);
}
