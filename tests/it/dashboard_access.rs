//! Nobody gets in: every route of the dashboard, by everybody who should not.

use reqwest::Method;
use sqlx::PgPool;
use trustdata::users::Role;
use uuid::Uuid;

use crate::dashboard::Person;
use crate::support::TestApp;

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
        ("/dashboard/properties", post.clone(), owner),
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

fn at(app: &TestApp, path: &str) -> String {
    let other = Uuid::from_u128(7).to_string();
    path.replace("{property_id}", &app.property_id.to_string())
        .replace("{attribution_id}", &app.attribution_id.to_string())
        .replace("{key_id}", &app.key_id.to_string())
        .replace("{user_id}", &other)
        .replace("{activity_id}", &other)
        .replace("{event_id}", &other)
        .replace("{destination_id}", &other)
        .replace("{token}", "x")
        .replace("{hash}", "x")
        .replace("{name}", "x")
        .replace("{*rest}", "x")
}

#[sqlx::test]
async fn each_role_gets_what_is_its_own(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let settings = async || -> Vec<String> {
        sqlx::query_scalar(
            "select to_jsonb(t)::text from (select webhooks_enabled, lookback_days, name from streams) t
             union all select to_jsonb(k)::text from (select rate_limit, revoked_at from webhook_keys) k
             union all select count(*)::text from properties union all select string_agg(role, ',' order by role) from users",
        )
        .fetch_all(&pool)
        .await
        .unwrap()
    };
    let nobody = Person::of(&app);
    let (viewer, editor) = (
        Person::signed_in(&app, Role::Viewer).await,
        Person::signed_in(&app, Role::Editor).await,
    );
    let before = settings().await;
    for (path, method, least) in routes() {
        let Some(least) = least else { continue };
        let url = at(&app, &path);
        let form: Option<&[(&str, &str)]> =
            (method == Method::POST).then_some(&[("name", "x"), ("enabled", "false")]);
        let answer = nobody.ask(method.clone(), &url, form).await;
        assert_eq!(answer.status, 303, "{method} {path} without a session");
        assert!(answer.location.starts_with("/dashboard/sign-in"), "{path}");
        for (person, role) in [(&viewer, Role::Viewer), (&editor, Role::Editor)] {
            if method == Method::POST {
                // Whatever the role: a form without the session's token, with none, and with another's.
                let other = nobody_s_token();
                for csrf in ["", "x", &other] {
                    let answer = person
                        .ask(
                            method.clone(),
                            &url,
                            Some(&[("csrf", csrf), ("enabled", "false")]),
                        )
                        .await;
                    assert_eq!(answer.status, 403, "{method} {path} {role} forged");
                }
            }
            if role < least {
                let answer = match method {
                    Method::GET => person.get(&url).await,
                    _ => person.send(&url, &[("enabled", "false"), ("name", "x")]).await,
                };
                assert_eq!(answer.status, 403, "{method} {path} as {role}");
            }
        }
    }
    assert_eq!(settings().await, before);
}

/// A token that is well made, and of nobody.
fn nobody_s_token() -> String {
    trustdata::users::sign_ins::Token::generate().form_token()
}

#[sqlx::test]
async fn a_form_of_another_site_is_refused(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let editor = Person::signed_in(&app, Role::Editor).await;
    let csrf = editor.csrf().await;
    let url = app.url(&at(&app, &format!("{STREAM}/webhooks/enabled")));
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

#[sqlx::test]
async fn things_of_another_property_are_not_found(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    owner.send("/dashboard/properties", &[("name", "Another")]).await;
    let other: Uuid = sqlx::query_scalar("select property_id from properties where name = 'Another'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let stream = format!(
        "/dashboard/properties/{other}/attribution-ids/{}",
        app.attribution_id
    );
    for path in [
        "/webhooks",
        "/activity",
        "/tracking",
        "/attribution",
        "/activity/live",
    ] {
        assert_eq!(owner.get(&format!("{stream}{path}")).await.status, 404, "{path}");
    }
    let revoke = format!("{stream}/webhooks/keys/{}/revoke", app.key_id);
    assert_eq!(owner.send(&revoke, &[]).await.status, 404);
    assert_eq!(
        owner
            .send(&format!("{stream}/webhooks/enabled"), &[("enabled", "false")])
            .await
            .status,
        404
    );
    for odd in [
        "/dashboard/properties/x/log",
        "/dashboard/properties/%00/log",
        "/dashboard/nothing",
    ] {
        let status = owner.get(odd).await.status.as_u16();
        assert!([400, 404].contains(&status), "{odd} {status}");
    }
}

#[sqlx::test]
async fn every_page_is_guarded_by_its_headers(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    for (path, method, _) in routes() {
        if method != Method::GET || path.ends_with("/live") || path.contains("/assets/") || path == "/" {
            continue;
        }
        let page = owner.get(&at(&app, &path)).await;
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
