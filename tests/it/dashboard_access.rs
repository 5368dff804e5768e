//! Nobody gets in: every route of the dashboard, by everybody who should not.

use reqwest::Method;
use sqlx::PgPool;
use trustdata::users::Role;
use uuid::Uuid;

use crate::access_support::Property;
use crate::dashboard::{PASSWORD, Person};
use crate::support::{Answer, TestApp};

const STREAM: &str = "/dashboard/properties/{property_id}/attribution-ids/{attribution_id}";

/// Path, method, and the least role; none: open to anybody.
fn routes() -> Vec<(String, Method, Option<Role>)> {
    let (get, post) = (Method::GET, Method::POST);
    let (viewer, editor, owner) = (Some(Role::Viewer), Some(Role::Editor), Some(Role::Owner));
    let plain = [
        ("/", get.clone(), None),
        ("/dashboard", get.clone(), viewer),
        ("/dashboard/sign-in", get.clone(), None),
        ("/dashboard/sign-in", post.clone(), None),
        ("/dashboard/sign-out", post.clone(), viewer),
        ("/dashboard/invitation/{token}", get.clone(), None),
        ("/dashboard/invitation/{token}", post.clone(), None),
        ("/dashboard/account", get.clone(), viewer),
        ("/dashboard/account/password", post.clone(), viewer),
        ("/dashboard/account/sign-out-everywhere", post.clone(), viewer),
        ("/dashboard/users", get.clone(), owner),
        ("/dashboard/users", post.clone(), owner),
        ("/dashboard/users/{user_id}/role", post.clone(), owner),
        ("/dashboard/users/{user_id}/invitation", post.clone(), owner),
        ("/dashboard/users/{user_id}/remove", post.clone(), owner),
        ("/dashboard/properties", get.clone(), viewer),
        ("/dashboard/properties", post.clone(), owner),
        (
            "/dashboard/properties/{property_id}/settings",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/settings/name",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/settings/unknown-consent",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/settings/retention",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/api-tokens",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/api-tokens",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/api-tokens/{token_id}/revoke",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/attribution-ids",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/attribution-ids",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/overview",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/conversions",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/conversions/{event_id}",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/campaigns",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/campaigns.csv",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/destinations",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/destinations",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/destinations/{destination_id}",
            get.clone(),
            viewer,
        ),
        (
            "/dashboard/properties/{property_id}/destinations/{destination_id}/change",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/destinations/{destination_id}/settings",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/destinations/{destination_id}/replay",
            post.clone(),
            editor,
        ),
        (
            "/dashboard/properties/{property_id}/destinations/{destination_id}/test",
            post.clone(),
            editor,
        ),
        ("/dashboard/properties/{property_id}/log", get.clone(), viewer),
        ("/dashboard/log", get.clone(), owner),
        ("/dashboard/{*rest}", get.clone(), None),
        ("/dashboard/assets/{hash}/{name}", get.clone(), None),
    ];
    let of_stream = [
        ("", get.clone(), viewer),
        ("/webhooks", get.clone(), viewer),
        ("/webhooks/enabled", post.clone(), editor),
        ("/webhooks/keys", post.clone(), editor),
        ("/webhooks/keys/{key_id}/revoke", post.clone(), editor),
        ("/webhooks/keys/{key_id}/rate-limit", post.clone(), editor),
        ("/webhooks/test", post.clone(), editor),
        ("/activity/live", get.clone(), viewer),
        ("/activity", get.clone(), viewer),
        ("/activity/{activity_id}", get.clone(), viewer),
        ("/tracking", get.clone(), viewer),
        ("/attribution", get, viewer),
        ("/attribution/lookback", post.clone(), editor),
        ("/attribution/name", post, editor),
    ];
    plain
        .into_iter()
        .map(|(path, method, least)| (path.to_owned(), method, least))
        .chain(
            of_stream
                .into_iter()
                .map(|(path, method, least)| (format!("{STREAM}{path}"), method, least)),
        )
        .collect()
}

/// A route that is not in the table would be guarded by nobody's look.
#[test]
fn the_table_has_every_route() {
    let source = include_str!("../../src/dashboard/router.rs");
    let source: String = source.split_whitespace().collect();
    let mut found: Vec<String> = Vec::new();
    for part in source.split(".route(").skip(1) {
        let (prefix, part) = match part.strip_prefix("&at(") {
            Some(rest) => (STREAM, rest),
            None => ("", part),
        };
        found.push(format!("{prefix}{}", part.split('"').nth(1).unwrap()));
    }
    let mut told: Vec<String> = routes().into_iter().map(|(path, ..)| path).collect();
    told.sort();
    told.dedup();
    found.sort();
    assert_eq!(found, told);
}

fn at(property: &Property<'_>, path: &str) -> String {
    property
        .at(path)
        .replace("{token}", "x")
        .replace("{hash}", "x")
        .replace("{name}", "x")
        .replace("{*rest}", "x")
}

/// What a form sends.
fn fields(app: &TestApp, path: &str) -> Vec<(&'static str, String)> {
    let rest = path.trim_start_matches(STREAM);
    let rest = rest.trim_start_matches("/dashboard/properties/{property_id}");
    let fields: &[(&'static str, &str)] = match rest {
        "/dashboard/account/password" => &[
            ("current", PASSWORD),
            ("password", "another horse battery"),
            ("again", "another horse battery"),
        ],
        "/dashboard/users" => &[("email", "eve@shop.example"), ("role", "owner")],
        "/dashboard/users/{user_id}/role" => &[("role", "owner")],
        "/dashboard/properties" | "/settings/name" | "/attribution-ids" | "/attribution/name" => {
            &[("name", "Taken over")]
        }
        "/settings/unknown-consent" => &[("granted", "true")],
        "/settings/retention" => &[
            ("keep_activity_days", "1"),
            ("keep_personal_days", "7"),
            ("keep_sessions_days", "1"),
        ],
        "/api-tokens" => &[("name", "Taken over"), ("scope", "write")],
        "/webhooks/enabled" => &[("enabled", "false")],
        "/webhooks/keys" => &[("name", "Taken over"), ("rate_limit", "1000")],
        "/webhooks/keys/{key_id}/rate-limit" => &[("rate_limit", "2")],
        "/webhooks/test" => &[("topic", "lead"), ("payload", r#"{"conversion_id":"1"}"#)],
        "/attribution/lookback" => &[("lookback_days", "1")],
        "/destinations" => &[
            ("platform", "meta"),
            ("name", "Taken over"),
            ("settings", r#"{"pixel_id":"1234567890","access_token":"EAAB"}"#),
            ("policy", "matched"),
        ],
        "/destinations/{destination_id}/settings" => &[("name", "Taken over"), ("policy", "matched")],
        "/destinations/{destination_id}/change" => &[("change", "pause")],
        "/destinations/{destination_id}/replay" => &[("do", "replay")],
        "/destinations/{destination_id}/test" => &[("topic", "purchase"), ("code", "TEST1")],
        _ => &[],
    };
    let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let stream = ("attribution_id", app.attribution_id.to_string());
    fields.chain([stream]).collect()
}

fn borrowed<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

#[sqlx::test]
async fn each_role_gets_what_is_its_own(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let property = Property::with_everything(&app).await;
    let (viewer, editor, owner) = (
        Person::signed_in(&app, Role::Viewer).await,
        Person::signed_in(&app, Role::Editor).await,
        property.person("ann@shop.example").await,
    );
    let [gone, late] = property.former().await;
    let outsiders = [(&Person::of(&app), "nobody"), (&gone, "gone"), (&late, "late")];
    let others = nobody_s_token();
    let before = property.settings().await;
    for (path, method, least) in routes() {
        let Some(least) = least else { continue };
        let (url, fields) = (at(&property, &path), fields(&app, &path));
        let form = borrowed(&fields);
        let ask = async |person: &Person, url: &str| match method {
            Method::GET => person.get(url).await.status.as_u16(),
            _ => person.send(url, &form).await.status.as_u16(),
        };
        for (outsider, who) in outsiders {
            let sent = (method == Method::POST).then_some(form.as_slice());
            let answer = outsider.ask(method.clone(), &url, sent).await;
            assert_eq!(answer.status, 303, "{method} {path} by {who}");
            assert!(answer.location.starts_with("/dashboard/sign-in"), "{path}");
        }
        for (person, role) in [
            (&viewer, Role::Viewer),
            (&editor, Role::Editor),
            (&owner, Role::Owner),
        ] {
            if method == Method::POST {
                // Whatever the role: a form without the session's token, with none, and with another's.
                for csrf in ["", "x", &others] {
                    let mut forged = vec![("csrf", csrf)];
                    forged.extend_from_slice(&form);
                    let answer = person.ask(method.clone(), &url, Some(&forged)).await;
                    assert_eq!(answer.status, 403, "{method} {path} {role} forged");
                }
            }
            if role < least {
                assert_eq!(ask(person, &url).await, 403, "{method} {path} as {role}");
            }
        }
        // Real ids, under another property; and a property that is none.
        let below = path.starts_with("/dashboard/properties/{property_id}/");
        for elsewhere in [property.another, Uuid::from_u128(7)] {
            let url = url.replace(&app.property_id.to_string(), &elsewhere.to_string());
            let there = elsewhere == property.another;
            if below && (path.matches('{').count() > 1 || !there) {
                let (asked, most) = (ask(&owner, &url).await, if path == STREAM { 303 } else { 404 });
                assert_eq!(asked, most, "{method} {url}");
            }
        }
    }
    assert_eq!(property.settings().await, before);
}

/// What others were refused with is good: whoever may, does it with that.
#[sqlx::test]
async fn every_route_for_somebody_who_may(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let property = Property::with_everything(&app).await;
    let owner = property.person("ann@shop.example").await;
    let mut all = routes();
    all.retain(|(path, _, least)| least.is_some() && !path.ends_with("/live"));
    let ends = |path: &str| path.ends_with("/revoke") || path.ends_with("/remove");
    all.sort_by_key(|(path, ..)| (path.contains("sign-out"), ends(path)));
    for (path, method, _) in all {
        if path.ends_with("sign-out-everywhere") {
            continue;
        }
        let (url, fields) = (at(&property, &path), fields(&app, &path));
        let before = property.settings().await;
        let answer = match method {
            Method::GET => owner.get(&url).await,
            _ => owner.send(&url, &borrowed(&fields)).await,
        };
        assert!(answer.status.as_u16() < 400, "{method} {path}: {}", answer.text);
        let changes = method == Method::POST && !path.ends_with("/replay") && !path.contains("/test");
        assert_eq!(property.settings().await != before, changes, "{method} {path}");
    }
}

/// A token that is well made, and of nobody.
fn nobody_s_token() -> String {
    trustdata::users::sign_ins::Token::generate().form_token()
}

/// Forms and the operations of the API that do the same; none, with the reason, where a browser alone needs it.
const TWINS: [(&str, Result<&str, &str>); 32] = [
    (
        "/dashboard/sign-in",
        Err("a session is a browser's; a program has a token"),
    ),
    ("/dashboard/sign-out", Err("it ends the browser's session")),
    (
        "/dashboard/invitation/{token}",
        Err("whoever opens the link has no session yet"),
    ),
    ("/dashboard/account/password", Ok("POST /me/password")),
    (
        "/dashboard/account/sign-out-everywhere",
        Ok("POST /me/sign-out-everywhere"),
    ),
    ("/dashboard/users", Ok("POST /users")),
    ("/dashboard/users/{user_id}/role", Ok("PATCH /users/{user_id}")),
    (
        "/dashboard/users/{user_id}/invitation",
        Ok("POST /users/{user_id}/invitation"),
    ),
    ("/dashboard/users/{user_id}/remove", Ok("DELETE /users/{user_id}")),
    ("/dashboard/properties", Ok("POST /properties")),
    (
        "/dashboard/properties/{property_id}/settings/name",
        Ok("PATCH /properties/{id}"),
    ),
    (
        "/dashboard/properties/{property_id}/settings/unknown-consent",
        Ok("PATCH /properties/{id}"),
    ),
    (
        "/dashboard/properties/{property_id}/settings/retention",
        Ok("PATCH /properties/{id}"),
    ),
    (
        "/dashboard/properties/{property_id}/api-tokens",
        Ok("POST /api-tokens"),
    ),
    (
        "/dashboard/properties/{property_id}/api-tokens/{token_id}/revoke",
        Ok("POST /api-tokens/{token_id}/revoke"),
    ),
    (
        "/dashboard/properties/{property_id}/attribution-ids",
        Ok("POST /attribution-ids"),
    ),
    (
        "/dashboard/properties/{property_id}/destinations",
        Ok("POST /destinations"),
    ),
    (
        "/dashboard/properties/{property_id}/destinations/{destination_id}/change",
        Ok("POST /destinations/{destination_id}/pause"),
    ),
    (
        "/dashboard/properties/{property_id}/destinations/{destination_id}/change",
        Ok("POST /destinations/{destination_id}/resume"),
    ),
    (
        "/dashboard/properties/{property_id}/destinations/{destination_id}/change",
        Ok("DELETE /destinations/{destination_id}"),
    ),
    (
        "/dashboard/properties/{property_id}/destinations/{destination_id}/settings",
        Ok("PATCH /destinations/{destination_id}"),
    ),
    (
        "/dashboard/properties/{property_id}/destinations/{destination_id}/replay",
        Ok("POST /destinations/{destination_id}/replay"),
    ),
    (
        "/dashboard/properties/{property_id}/destinations/{destination_id}/test",
        Ok("POST /destinations/{destination_id}/test"),
    ),
    (
        "{stream}/webhooks/enabled",
        Ok("PATCH /attribution-ids/{attribution_id}"),
    ),
    (
        "{stream}/webhooks/keys",
        Ok("POST /attribution-ids/{attribution_id}/keys"),
    ),
    (
        "{stream}/webhooks/keys/{key_id}/revoke",
        Ok("POST /attribution-ids/{attribution_id}/keys/{key_id}/revoke"),
    ),
    (
        "{stream}/webhooks/keys/{key_id}/rate-limit",
        Ok("PATCH /attribution-ids/{attribution_id}/keys/{key_id}"),
    ),
    (
        "{stream}/webhooks/test",
        Ok("POST /attribution-ids/{attribution_id}/test-events"),
    ),
    (
        "{stream}/attribution/lookback",
        Ok("PATCH /attribution-ids/{attribution_id}"),
    ),
    (
        "{stream}/attribution/name",
        Ok("PATCH /attribution-ids/{attribution_id}"),
    ),
    (
        "{stream}/tracking",
        Ok("GET /attribution-ids/{attribution_id}/tracking"),
    ),
    (
        "{stream}/activity",
        Ok("GET /attribution-ids/{attribution_id}/activity"),
    ),
];

#[sqlx::test]
async fn what_a_form_does_an_operation_does_too_and_the_other_way_round(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let document = Answer::of(app.http.get(app.url("/api/v1/openapi.json")))
        .await
        .body;
    let told: Vec<(String, Result<&str, &str>)> = TWINS
        .iter()
        .map(|(path, twin)| (path.replace("{stream}", STREAM), *twin))
        .collect();
    for (path, method, _) in routes() {
        let is_told = told.iter().any(|(form, _)| *form == path);
        assert!(method != Method::POST || is_told, "{path} has no twin");
    }
    for (path, twin) in &told {
        assert!(
            routes().iter().any(|(route, ..)| route == path),
            "{path} is no route"
        );
        if let Ok(twin) = twin {
            let (method, operation) = twin.split_once(' ').unwrap();
            let found = &document["paths"][operation][method.to_lowercase()];
            assert!(found.is_object(), "{path}: {twin} is no operation");
        }
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|method| *method != "get") {
            let operation = format!("{} {path}", method.to_uppercase());
            let is_told = told.iter().any(|(_, twin)| *twin == Ok(operation.as_str()));
            assert!(is_told, "{operation} is on no page");
        }
    }
}

#[sqlx::test]
async fn a_form_of_another_site_is_refused(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let property = Property::with_everything(&app).await;
    let editor = Person::signed_in(&app, Role::Editor).await;
    let csrf = editor.csrf().await;
    let url = app.url(&at(&property, &format!("{STREAM}/webhooks/enabled")));
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
    ] {
        let form = [("csrf", csrf.as_str()), ("enabled", "false")];
        let request = app
            .http
            .post(&url)
            .header("cookie", &editor.cookie)
            .header(name, value);
        let answer = request.form(&form).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    let request = app
        .http
        .post(app.url("/dashboard/sign-in"))
        .header("sec-fetch-site", "cross-site");
    let answer = request
        .form(&[("email", "a"), ("password", "b")])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
}

/// Whoever mistypes an address gets a page.
#[sqlx::test]
async fn odd_addresses_have_a_page(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let property = Property::with_everything(&app).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    for (path, method, _) in routes() {
        if method != Method::GET || !path.contains("_id}") {
            continue;
        }
        for odd in ["x", "%00", "%FF"] {
            let first = path.find('{').unwrap();
            let end = path[first..].find('}').unwrap() + first;
            let url = at(&property, &format!("{}{odd}{}", &path[..first], &path[end + 1..]));
            let page = owner.get(&url).await;
            assert_eq!(page.status, 404, "{url}");
            assert!(
                page.text.contains("There is no such page"),
                "{url}: {}",
                page.text
            );
        }
    }
    let log = at(&property, "/dashboard/properties/{property_id}/log?before=x");
    let page = owner.get(&log).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("cannot be read") && page.text.contains("To the dashboard"));
    assert_eq!(owner.get("/dashboard/nothing").await.status, 404);

    // A key under another attribution ID of the same property.
    let streams = at(&property, "/dashboard/properties/{property_id}/attribution-ids");
    let made = owner.send(&streams, &[("name", "Second site")]).await.location;
    let page = made.split('?').next().unwrap();
    for (what, fields) in [("revoke", ("x", "x")), ("rate-limit", ("rate_limit", "2"))] {
        let url = format!("{page}/keys/{}/{what}", app.key_id);
        assert_eq!(owner.send(&url, &[fields]).await.status, 404, "{what}");
    }
    let untouched: (i32, bool) = sqlx::query_as("select rate_limit, revoked_at is null from webhook_keys")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(untouched, (1_000_000, true));
}

#[sqlx::test]
async fn every_page_is_guarded_by_its_headers(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let property = Property::with_everything(&app).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    for (path, method, _) in routes() {
        if method != Method::GET || path.ends_with("/live") || path.contains("/assets/") || path == "/" {
            continue;
        }
        let page = owner.get(&at(&property, &path)).await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(page.headers["cache-control"], "no-store", "{path}");
        assert_eq!(page.headers["x-content-type-options"], "nosniff", "{path}");
        for inline in ["<style", "style=\"", "onclick=", "javascript:", "<script>"] {
            let shown = page.text.replace("&#60;script&#62;", "");
            assert!(!shown.contains(inline), "{path} has {inline}");
        }
    }
}
