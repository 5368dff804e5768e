//! Nobody gets in: every operation of the document, by everybody who should not.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::platform::token::{Scheme, Token};
use trustdata::tokens::Scope;
use trustdata::users::Role;
use uuid::Uuid;

use crate::api::{Program, token, token_of};
use crate::dashboard::{PASSWORD, Person};
use crate::support::{Answer, TestApp};

/// Every operation: method and path, its ids filled in.
async fn operations(app: &TestApp) -> Vec<(Method, String)> {
    let document = Answer::of(app.http.get(app.url("/api/v1/openapi.json")))
        .await
        .body;
    assert_eq!(document["openapi"], "3.1.0");
    let other = Uuid::from_u128(7).to_string();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for status in ["401", "404", "422", "429", "503"] {
                assert!(
                    operation["responses"][status].is_object(),
                    "{method} {path} {status}"
                );
            }
            let path = path
                .replace("{id}", &app.property_id.to_string())
                .replace("{attribution_id}", &app.attribution_id.to_string())
                .replace("{key_id}", &app.key_id.to_string());
            let path = path
                .split('/')
                .map(|part| {
                    if part.starts_with('{') {
                        other.as_str()
                    } else {
                        part
                    }
                })
                .collect::<Vec<_>>()
                .join("/");
            found.push((method.to_uppercase().parse().unwrap(), path));
        }
    }
    assert!(found.len() >= 35, "{}", found.len());
    found
}

/// What people alone do, and so no token.
fn is_of_people(method: &Method, path: &str) -> bool {
    path.starts_with("/users")
        || (*method == Method::POST && (path == "/properties" || path.starts_with("/me/")))
}

#[sqlx::test]
async fn every_operation_by_everybody_who_should_not(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let another = Uuid::from_u128(9);
    sqlx::query("insert into properties (property_id, name, created_at) values ($1, 'Another', now())")
        .bind(another)
        .execute(&pool)
        .await
        .unwrap();
    let revoked = token(&app, Scope::Write).await;
    sqlx::query("update api_tokens set revoked_at = now()")
        .execute(&pool)
        .await
        .unwrap();
    let reader = token(&app, Scope::Read).await;
    let expired = token_of(&app, app.property_id, Scope::Write, Some(0)).await;
    let foreign = token_of(&app, another, Scope::Write, None).await;
    let unknown = Token::generate(Scheme::Api).expose().to_owned();
    let webhook_key = app.token.clone();
    let ask = async |token: &str, method: &Method, path: &str| {
        let program = Program {
            app: &app,
            token: token.to_owned(),
        };
        let body = (*method != Method::GET).then(|| json!({}));
        let answer = program.ask(method.clone(), path, body.as_ref()).await;
        (answer.status.as_u16(), answer.code().to_owned())
    };
    for (method, path) in operations(&app).await {
        for (token, code) in [
            (&revoked, "revoked_token"),
            (&expired, "expired_token"),
            (&unknown, "invalid_token"),
            (&webhook_key, "invalid_token"),
        ] {
            // Each address fails a few times a minute only.
            app.clock.advance(chrono::TimeDelta::seconds(30));
            assert_eq!(
                ask(token, &method, &path).await,
                (401, code.to_owned()),
                "{method} {path}"
            );
        }
        let request = app
            .http
            .request(method.clone(), app.url(&format!("/api/v1{path}")));
        let nobody = Answer::of(request).await;
        assert_eq!(
            (nobody.status.as_u16(), nobody.code()),
            (401, "missing_credentials"),
            "{path}"
        );
        if is_of_people(&method, &path) {
            assert_eq!(ask(&reader, &method, &path).await.0, 403, "{method} {path}");
            assert_eq!(ask(&foreign, &method, &path).await.0, 403, "{method} {path}");
        } else if method != Method::GET {
            assert_eq!(ask(&reader, &method, &path).await.0, 403, "{method} {path}");
        }
        if path.contains(&app.attribution_id.to_string()) || path.contains(&app.property_id.to_string()) {
            let status = ask(&foreign, &method, &path).await.0;
            assert!(
                status == 404 || status == 422,
                "{method} {path} of another property: {status}"
            );
        }
    }
    let named = format!("/attribution-ids?property_id={}", app.property_id);
    assert_eq!(ask(&foreign, &Method::GET, &named).await.0, 404);
    let (status, _) = ask(
        &foreign,
        &Method::GET,
        &format!("/attribution-ids/{}", app.attribution_id),
    )
    .await;
    assert_eq!(status, 404);
}

#[sqlx::test]
async fn failed_tokens_are_limited_by_address(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.auth.failures_per_minute = std::num::NonZeroU32::new(2).unwrap();
    })
    .await;
    let good = token(&app, Scope::Read).await;
    let statuses = async |token: &str| {
        let request = app.http.get(app.url("/api/v1/me")).bearer_auth(token);
        Answer::of(request).await.status.as_u16()
    };
    assert_eq!(statuses(&good).await, 200);
    assert_eq!(
        [statuses("x").await, statuses("x").await, statuses("x").await],
        [401, 401, 429]
    );
    assert_eq!(statuses(&good).await, 429);
}

#[sqlx::test]
async fn the_dashboards_session_holds_here_too(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let ask = async |person: &Person, method: Method, path: &str, csrf: &str, body: Option<Value>| {
        let mut request = app
            .http
            .request(method, app.url(&format!("/api/v1{path}")))
            .header("cookie", &person.cookie);
        if !csrf.is_empty() {
            request = request.header("x-csrf-token", csrf);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request).await
    };
    let name = || Some(json!({ "name": "x" }));
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let me = ask(&viewer, Method::GET, "/me", "", None).await;
    assert_eq!(
        (&me.body["kind"], &me.body["role"]),
        (&json!("user"), &json!("viewer"))
    );
    assert_eq!(
        ask(&viewer, Method::GET, "/attribution-ids", "", None)
            .await
            .status,
        200
    );
    let csrf = viewer.csrf().await;
    assert_eq!(
        ask(&viewer, Method::POST, "/attribution-ids", &csrf, name())
            .await
            .status,
        403
    );

    let editor = Person::signed_in(&app, Role::Editor).await;
    for forged in ["", "x", &csrf] {
        let refused = ask(&editor, Method::POST, "/attribution-ids", forged, name()).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (403, "forged_request"),
            "{forged}"
        );
    }
    let own = editor.csrf().await;
    assert_eq!(
        ask(&editor, Method::POST, "/attribution-ids", &own, name())
            .await
            .status,
        201
    );
    assert_eq!(ask(&editor, Method::GET, "/users", "", None).await.status, 403);

    let owner = Person::signed_in(&app, Role::Owner).await;
    let own = owner.csrf().await;
    let users = ask(&owner, Method::GET, "/users", "", None).await;
    assert_eq!(users.body["data"].as_array().unwrap().len(), 3);
    let invite = json!({ "email": "bo@shop.example", "role": "viewer" });
    let invited = ask(&owner, Method::POST, "/users", &own, Some(invite.clone())).await;
    assert!(
        invited.body["invitation"]
            .as_str()
            .unwrap()
            .contains("/dashboard/invitation/")
    );
    assert_eq!(
        ask(&owner, Method::POST, "/users", &own, Some(invite))
            .await
            .status,
        409
    );
    let path = format!("/users/{}", invited.body["id"].as_str().unwrap());
    let role = Some(json!({ "role": "editor" }));
    assert_eq!(
        ask(&owner, Method::PATCH, &path, &own, role).await.body["role"],
        "editor"
    );
    assert_eq!(ask(&owner, Method::DELETE, &path, &own, None).await.status, 204);
    assert_eq!(ask(&owner, Method::DELETE, &path, &own, None).await.status, 404);

    let shop = Some(json!({ "name": "Shop B" }));
    let refused = ask(
        &editor,
        Method::POST,
        "/properties",
        &editor.csrf().await,
        shop.clone(),
    )
    .await;
    assert_eq!(refused.status, 403);
    let made = ask(&owner, Method::POST, "/properties", &own, shop).await;
    assert_eq!(
        (made.status.as_u16(), &made.body["name"]),
        (201, &json!("Shop B"))
    );

    app.clock.advance(chrono::TimeDelta::hours(13));
    assert_eq!(ask(&owner, Method::GET, "/me", "", None).await.status, 401);
}

#[sqlx::test]
async fn a_user_changes_the_password_and_signs_out_everywhere(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let here = Person::signed_in(&app, Role::Viewer).await;
    let mut there = Person::of(&app);
    assert_eq!(there.sign_in("viewer@shop.example", PASSWORD).await.status, 303);
    let post = async |path: &str, body: Value| {
        let request = app
            .http
            .post(app.url(&format!("/api/v1/me/{path}")))
            .header("cookie", &here.cookie)
            .header("x-csrf-token", here.csrf().await);
        Answer::of(request.json(&body)).await
    };
    let signed_in = async |person: &Person| {
        let request = app
            .http
            .get(app.url("/api/v1/me"))
            .header("cookie", &person.cookie);
        Answer::of(request).await.status == 200
    };
    let new = "another horse battery";
    let short = post("password", json!({ "current": PASSWORD, "new": "short" })).await;
    assert_eq!(short.faults(), ["new unfit_password"]);
    let wrong = post("password", json!({ "current": "x", "new": new })).await;
    assert_eq!(wrong.faults(), ["current wrong_password"]);
    assert!(signed_in(&there).await);
    let changed = post("password", json!({ "current": PASSWORD, "new": new })).await;
    assert_eq!(changed.status, 204, "{changed:?}");
    assert!(signed_in(&here).await && !signed_in(&there).await);
    assert_eq!(there.sign_in("viewer@shop.example", PASSWORD).await.status, 401);
    assert_eq!(there.sign_in("viewer@shop.example", new).await.status, 303);
    assert_eq!(post("sign-out-everywhere", json!({})).await.status, 204);
    assert!(!signed_in(&here).await && !signed_in(&there).await);
}

#[sqlx::test]
async fn the_document_and_its_page_are_for_everybody(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let page = app.http.get(app.url("/api/v1/docs")).send().await.unwrap();
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("script"),
        "{policy}"
    );
    let text = page.text().await.unwrap();
    for (_, path) in operations(&app)
        .await
        .into_iter()
        .filter(|(_, path)| path.matches('/').count() == 1)
    {
        assert!(text.contains(&format!("/api/v1{path}")), "{path}");
    }
    assert!(!text.contains("<script") && !text.contains("http://cdn") && !text.contains("https://cdn"));
}
