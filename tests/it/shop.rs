//! The demo's shop, as a browser without scripts sees it.

use reqwest::StatusCode;
use reqwest::redirect::Policy;
use sqlx::PgPool;

use super::support::*;

async fn page(app: &TestApp, path: &str) -> (StatusCode, String) {
    let response = app.http.get(app.url(path)).send().await.unwrap();
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(
        response.headers().contains_key("x-request-id"),
        "inside the one layer"
    );
    (response.status(), response.text().await.unwrap())
}

fn order(app: &TestApp, form: &'static str) -> reqwest::RequestBuilder {
    app.http
        .post(app.url("/shop/orders"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
}

#[sqlx::test]
async fn an_order_is_reported_and_its_answer_shown(pool: PgPool) {
    let app = TestApp::start_with_shop(pool).await;
    app.session(
        "v1",
        2.0,
        "utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=1",
    )
    .await;
    let answer = order(&app, "product=tote&quantity=2&visitor_id=v1&email=a%40b.example");
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200, "redirected to the order's page");
    let path = answer.url().path().to_owned();
    let text = answer.text().await.unwrap();
    assert!(text.contains("The campaign spring gets the credit"), "{text}");
    let stored: (String, rust_decimal::Decimal) =
        sqlx::query_as("select conversion_id, value from conversions where visitor_id = 'v1'")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(format!("/shop/orders/{}", stored.0), path);
    assert_eq!(stored.1.to_string(), "98.00");
    // A reload orders nothing.
    assert_eq!(page(&app, &path).await.0, 200);
    assert_eq!(app.count("conversions").await, 1);
    assert!(!text.contains(&app.token) && !text.contains("a@b.example"));
}

#[sqlx::test]
async fn an_order_without_a_script_takes_the_visitor_from_the_cookie(pool: PgPool) {
    let app = TestApp::start_with_shop(pool).await;
    app.session("v 2", 1.0, "utm_source=a&utm_campaign=letters").await;
    let with = order(&app, "product=tote&quantity=1&visitor_id=").header("cookie", "a=b; _trdt_vid=v%202");
    let text = with.send().await.unwrap().text().await.unwrap();
    assert!(text.contains("letters"), "{text}");
    let without = order(&app, "product=tote&quantity=1").send().await.unwrap();
    assert!(without.text().await.unwrap().contains("without a visitor id"));
}

#[sqlx::test]
async fn hostile_input_is_text_and_nothing_else(pool: PgPool) {
    let app = TestApp::start_with_shop(pool).await;
    let evil = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22'";
    for path in [
        format!("/shop/products/{evil}"),
        format!("/shop/orders/{evil}"),
        format!("/shop/checkout?product={evil}&quantity={evil}"),
    ] {
        let (status, text) = page(&app, &path).await;
        assert_eq!(status, 404, "{path}");
        assert!(
            !text.contains("<script>alert") && text.contains("&#60;script&#62;alert"),
            "{text}"
        );
    }
    for path in ["/shop/%ff", "/shop/products/%ff", "/shop/a/b"] {
        assert_eq!(page(&app, path).await.0, 404, "{path}");
    }
    let (status, text) = page(&app, "/shop/checkout?product=tote&quantity=-5").await;
    assert!(status == 200 && text.contains("$49.00"));

    for form in [
        "",
        "product=tote",
        "product=tote&quantity=10",
        "product=yacht&quantity=1",
        "%ff=%",
    ] {
        let answer = Answer::of(order(&app, form)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (422, "bad_form"),
            "{form}"
        );
    }
    let json = app.http.post(app.url("/shop/orders")).json(&());
    assert_eq!(Answer::of(json).await.status, 415);
    let huge = order(&app, "").body("x".repeat(100_000));
    assert_eq!(Answer::of(huge).await.status, 413);
    assert_eq!(app.count("conversions").await, 0);

    // The webhook refuses the id: the shop says so, and the order stands.
    let refused = order(&app, "product=tote&quantity=1&visitor_id=%00%3Cb%3E")
        .send()
        .await
        .unwrap();
    let text = refused.text().await.unwrap();
    assert!(
        text.contains("Refused") && text.contains("validation_failed"),
        "{text}"
    );
}

#[sqlx::test]
async fn the_choice_is_remembered_without_a_script(pool: PgPool) {
    let app = TestApp::start_with_shop(pool).await;
    let http = reqwest::Client::builder()
        .redirect(Policy::none())
        .build()
        .unwrap();
    let choose = |choice: &str| {
        http.post(app.url("/shop/consent"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("choice={choice}"))
            .send()
    };
    let answer = choose("denied").await.unwrap();
    assert_eq!(answer.status(), 303);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(
        cookie.starts_with("shop_consent=denied; Path=/shop;") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    let home = app
        .http
        .get(app.url("/shop/"))
        .header("cookie", "shop_consent=denied");
    let home = home.send().await.unwrap().text().await.unwrap();
    assert!(home.contains(r#"data-consent="denied""#), "{home}");
    assert!(page(&app, "/shop/").await.1.contains(r#"data-consent="unknown""#));
    assert_eq!(choose("maybe").await.unwrap().status(), 400);
}

#[sqlx::test]
async fn the_shop_is_the_demos_alone(pool: PgPool) {
    let plain = TestApp::start(pool).await;
    let answer = Answer::of(plain.http.get(plain.url("/shop/"))).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"));
}
