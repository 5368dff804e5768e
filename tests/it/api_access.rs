//! Nobody gets in: every operation of the document, by everybody who should not.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::platform::token::{Scheme, Token};
use trustdata::tokens::Scope;
use trustdata::users::Role;

use crate::access_support::Property;
use crate::api::{Program, token, token_of};
use crate::dashboard::{PASSWORD, Person};
use crate::support::{Answer, TestApp};

/// Every operation: method and path.
async fn operations(app: &TestApp) -> Vec<(Method, String)> {
    let document = Answer::of(app.http.get(app.url("/api/v1/openapi.json")))
        .await
        .body;
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for status in ["401", "404", "422", "429", "503"] {
                assert!(
                    operation["responses"][status].is_object(),
                    "{method} {path} {status}"
                );
            }
            found.push((method.to_uppercase().parse().unwrap(), path.clone()));
        }
    }
    assert!(found.len() >= 36, "{}", found.len());
    found
}

/// What a change sends; all that is asked of a path that does not take it is that it exists.
fn body(app: &TestApp, method: &Method, path: &str) -> Option<Value> {
    let name = || json!({ "name": "Taken over" });
    Some(match (method.as_str(), path) {
        ("POST", "/me/password") => json!({ "current": PASSWORD, "new": "another horse battery" }),
        ("POST", "/properties" | "/attribution-ids") | ("PATCH", "/properties/{id}") => name(),
        ("PATCH", "/attribution-ids/{attribution_id}") => json!({ "webhooks_enabled": false }),
        ("POST", "/attribution-ids/{attribution_id}/test-events") => {
            json!({ "topic": "lead", "payload": { "conversion_id": "1" } })
        }
        ("POST", "/attribution-ids/{attribution_id}/keys") => name(),
        ("PATCH", "/attribution-ids/{attribution_id}/keys/{key_id}") => json!({ "rate_limit": 2 }),
        ("POST", "/destinations") => json!({
            "attribution_id": app.attribution_id, "platform": "meta", "name": "Taken over",
            "settings": { "pixel_id": "1234567890", "access_token": "EAAB" },
        }),
        ("PATCH", "/destinations/{destination_id}") => name(),
        ("POST", "/destinations/{destination_id}/test") => json!({ "code": "TEST1" }),
        ("POST", "/destinations/{destination_id}/replay") => json!({}),
        ("POST", "/api-tokens") => json!({ "name": "x", "scope": "write" }),
        ("POST", "/users") => json!({ "email": "eve@shop.example", "role": "owner" }),
        ("PATCH", "/users/{user_id}") => json!({ "role": "owner" }),
        _ => return None,
    })
}

/// What people alone do, and so no token.
fn is_of_people(method: &Method, path: &str) -> bool {
    path.starts_with("/users")
        || (*method == Method::POST
            && (["/properties", "/api-tokens"].contains(&path) || path.starts_with("/me/")))
}

/// What everybody who is signed in may do about the own account.
fn is_of_oneself(path: &str) -> bool {
    path.starts_with("/me/")
}

/// Asks under the dashboard's session.
async fn under(
    person: &Person,
    app: &TestApp,
    method: &Method,
    path: &str,
    csrf: Option<&str>,
    body: Option<&Value>,
) -> Answer {
    let mut request = app
        .http
        .request(method.clone(), app.url(&format!("/api/v1{path}")))
        .header("cookie", &person.cookie);
    if let Some(csrf) = csrf {
        request = request.header("x-csrf-token", csrf);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    Answer::of(request).await
}

#[sqlx::test]
async fn every_operation_by_tokens_that_do_not_open_it(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let property = Property::with_everything(&app).await;
    let revoked = token(&app, Scope::Write).await;
    sqlx::query("update api_tokens set revoked_at = now() where scope = 'write'")
        .execute(&pool)
        .await
        .unwrap();
    let reader = token(&app, Scope::Read).await;
    let expired = token_of(&app, app.property_id, Scope::Write, Some(0)).await;
    let foreign = token_of(&app, property.another, Scope::Write, None).await;
    let unknown = Token::generate(Scheme::Api).expose().to_owned();
    let webhook_key = app.token.clone();
    let before = property.settings().await;
    for (method, pattern) in operations(&app).await {
        let (path, body) = (property.at(&pattern), body(&app, &method, &pattern));
        let ask = async |token: &str, path: &str| {
            let program = Program {
                app: &app,
                token: token.to_owned(),
            };
            let answer = program.ask(method.clone(), path, body.as_ref()).await;
            (answer.status.as_u16(), answer.code().to_owned())
        };
        for (token, code) in [
            (&revoked, "revoked_token"),
            (&expired, "expired_token"),
            (&unknown, "invalid_token"),
            (&webhook_key, "invalid_token"),
        ] {
            // Each address fails a few times a minute only.
            app.clock.advance(chrono::TimeDelta::seconds(30));
            let refused = ask(token, &path).await;
            assert_eq!(refused, (401, code.to_owned()), "{method} {path}");
        }
        if is_of_people(&method, &pattern) || method != Method::GET {
            assert_eq!(ask(&reader, &path).await.0, 403, "{method} {path}");
        }
        // Real ids, of another property than the token's.
        let refusal = match is_of_people(&method, &pattern) {
            true => 403,
            false => 404,
        };
        if is_of_people(&method, &pattern) || pattern.contains('{') {
            assert_eq!(ask(&foreign, &path).await.0, refusal, "{method} {path}");
        }
        let named = format!("{path}?property_id={}", app.property_id);
        if pattern == "/api-tokens" {
            assert_eq!(ask(&foreign, &named).await.0, 404, "{method} {named}");
        } else if !["/me", "/properties", "/users-log"].contains(&pattern.as_str()) {
            assert_eq!(ask(&foreign, &named).await.0, refusal, "{method} {named}");
        }
    }
    assert_eq!(property.settings().await, before);
}

#[sqlx::test]
async fn every_operation_under_sessions_that_do_not_do(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let property = Property::with_everything(&app).await;
    let (viewer, editor) = (
        Person::signed_in(&app, Role::Viewer).await,
        Person::signed_in(&app, Role::Editor).await,
    );
    let (own, others) = (viewer.csrf().await, editor.csrf().await);
    let former = property.former().await;
    let nobody = Person::of(&app);
    let before = property.settings().await;
    for (method, pattern) in operations(&app).await {
        let sent = body(&app, &method, &pattern);
        let path = match pattern.starts_with("/properties/") {
            true => property.at(&pattern),
            false => format!("{}?property_id={}", property.at(&pattern), app.property_id),
        };
        let ask = async |person: &Person, csrf: Option<&str>| {
            let answer = under(person, &app, &method, &path, csrf, sent.as_ref()).await;
            (answer.status.as_u16(), answer.code().to_owned())
        };
        let missing = (401, "missing_credentials".to_owned());
        assert_eq!(ask(&nobody, None).await, missing, "{method} {path}");
        for person in &former {
            assert_eq!(ask(person, Some(&own)).await, missing, "{method} {path}");
        }
        if method != Method::GET {
            for forged in [None, Some(""), Some("x"), Some(own.as_str())] {
                let refused = ask(&editor, forged).await;
                assert_eq!(
                    refused,
                    (403, "forged_request".to_owned()),
                    "{method} {path} {forged:?}"
                );
            }
        }
        let owners = ["/users", "/users-log"];
        let is_of_owners = owners.iter().any(|of| pattern.starts_with(of));
        if (method != Method::GET && !is_of_oneself(&pattern)) || is_of_owners {
            let refused = ask(&viewer, Some(&own)).await;
            assert_eq!(refused, (403, "forbidden".to_owned()), "{method} {path}");
        }
        if is_of_owners || (method == Method::POST && pattern == "/properties") {
            assert_eq!(ask(&editor, Some(&others)).await.0, 403, "{method} {path}");
        }
    }
    assert_eq!(property.settings().await, before);
}

/// The bodies and ids that others were refused with are good ones: whoever may, does it with them.
#[sqlx::test]
async fn every_operation_by_somebody_who_may(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let property = Property::with_everything(&app).await;
    let owner = property.person("ann@shop.example").await;
    let csrf = owner.csrf().await;
    let mut all = operations(&app).await;
    // What ends something comes last, and the own session at the very end.
    all.sort_by_key(|(method, path)| {
        let ends = *method == Method::DELETE || path.ends_with("/revoke");
        (path.ends_with("/sign-out-everywhere"), ends)
    });
    let document = Answer::of(app.http.get(app.url("/api/v1/openapi.json")))
        .await
        .body;
    for (method, pattern) in all {
        let sent = body(&app, &method, &pattern);
        // The document tells of the same body.
        let told = &document["paths"][&pattern][method.as_str().to_lowercase()]["requestBody"];
        let told = &told["content"]["application/json"]["schema"]["$ref"];
        let told = told.as_str().unwrap_or_default().rsplit('/').next().unwrap();
        let told = &document["components"]["schemas"][told]["properties"];
        for field in sent.iter().flat_map(|sent| sent.as_object().unwrap().keys()) {
            assert!(
                told[field].is_object(),
                "{method} {pattern}: {field} is not in {told}"
            );
        }
        let path = match pattern.starts_with("/properties/") {
            true => property.at(&pattern),
            false => format!("{}?property_id={}", property.at(&pattern), app.property_id),
        };
        let done = under(&owner, &app, &method, &path, Some(&csrf), sent.as_ref()).await;
        assert!(done.status.is_success(), "{method} {path}: {done:?}");
    }
    assert_eq!(owner.get("/dashboard/account").await.status, 303);
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
    assert_eq!(me.body["csrf_token"], viewer.csrf().await);
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
    let renewed = ask(&owner, Method::POST, &format!("{path}/invitation"), &own, None).await;
    let link = |answer: &Answer| {
        answer.body["invitation"]
            .as_str()
            .unwrap()
            .replace(&app.url(""), "")
    };
    assert_eq!(owner.get(&link(&renewed)).await.status, 200);
    assert_eq!(owner.get(&link(&invited)).await.status, 404, "the one before");
    let role = Some(json!({ "role": "editor" }));
    assert_eq!(
        ask(&owner, Method::PATCH, &path, &own, role).await.body["role"],
        "editor"
    );
    assert_eq!(ask(&owner, Method::DELETE, &path, &own, None).await.status, 204);
    assert_eq!(ask(&owner, Method::DELETE, &path, &own, None).await.status, 404);

    let token = async |scope: &str| {
        let body = json!({ "name": "x", "scope": scope });
        ask(
            &editor,
            Method::POST,
            "/api-tokens",
            &editor.csrf().await,
            Some(body),
        )
        .await
    };
    assert_eq!(token("all").await.faults(), ["scope unknown_scope"]);
    let made = token("read").await;
    assert_eq!(
        (made.status.as_u16(), &made.body["created_by"]),
        (201, &json!("editor@shop.example"))
    );

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
    // Of several, the path is enough where it names one.
    for id in [&made.body["property_id"], &json!(app.property_id)] {
        let path = format!("/properties/{}", id.as_str().unwrap());
        let found = ask(&owner, Method::GET, &path, "", None).await;
        assert_eq!((found.status.as_u16(), &found.body["property_id"]), (200, id));
    }
    assert_eq!(
        ask(&owner, Method::GET, "/conversions", "", None).await.code(),
        "property_needed"
    );
    let first = ask(&owner, Method::GET, "/properties?limit=1", "", None).await;
    let next = first.body["next_cursor"].as_str().unwrap();
    let path = format!("/properties?limit=1&cursor={next}");
    let second = ask(&owner, Method::GET, &path, "", None).await;
    assert_ne!(first.body["data"][0], second.body["data"][0]);
    assert_eq!(second.body["next_cursor"], Value::Null);
    let users = ask(&owner, Method::GET, "/users?limit=2", "", None).await;
    assert!(users.body["data"].as_array().unwrap().len() == 2 && users.body["next_cursor"].is_string());

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
    // What each takes and answers, with its kind.
    for told in [
        "integer, 1 to 90",
        "string, 1 to 100 characters",
        "#schema-MadeToken",
        "id=\"schema-MadeToken\"",
        "<code>next_cursor</code>",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(!text.contains("<script") && !text.contains("http://cdn") && !text.contains("https://cdn"));
}
