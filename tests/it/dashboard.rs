//! Signing in, users, and what the pages change.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::PgPool;
use trustdata::audit::Actor;
use trustdata::platform::password::SlowHash;
use trustdata::settings;
use trustdata::users::{Role, User};

use crate::support::{TestApp, now};

pub const PASSWORD: &str = "correct horse battery";

/// An answer to a browser.
pub struct Page {
    pub status: StatusCode,
    pub location: String,
    pub cookie: String,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

/// Somebody with a browser.
pub struct Person {
    http: reqwest::Client,
    base: String,
    pub cookie: String,
}

impl Person {
    /// Nobody is signed in yet.
    pub fn of(app: &TestApp) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self {
            http: http.build().unwrap(),
            base: app.url(""),
            cookie: String::new(),
        }
    }

    /// A user of this role, who is signed in.
    pub async fn signed_in(app: &TestApp, role: Role) -> Self {
        let email = format!("{role}@shop.example");
        make_user(app, &email, role).await;
        let mut person = Self::of(app);
        let answer = person.sign_in(&email, PASSWORD).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        person
    }

    pub async fn ask(&self, method: Method, path: &str, form: Option<&[(&str, &str)]>) -> Page {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header("cookie", &self.cookie);
        if let Some(form) = form {
            request = request.form(form);
        }
        let answer = request.send().await.unwrap();
        let header = |name: &str| {
            let value = answer.headers().get(name);
            value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        Page {
            status: answer.status(),
            location: header("location"),
            cookie: header("set-cookie"),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Page {
        self.ask(Method::GET, path, None).await
    }

    /// Sends a form as a page of this session has it.
    pub async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = self.csrf().await;
        let mut form = vec![("csrf", csrf.as_str())];
        form.extend_from_slice(fields);
        self.ask(Method::POST, path, Some(&form)).await
    }

    pub async fn csrf(&self) -> String {
        let page = self.get("/dashboard/account").await;
        let after = page.text.split("name=\"csrf\" value=\"").nth(1);
        after.map_or(String::new(), |rest| rest.split('"').next().unwrap().to_owned())
    }

    pub async fn sign_in(&mut self, email: &str, password: &str) -> Page {
        let form = [("email", email), ("password", password)];
        let answer = self.ask(Method::POST, "/dashboard/sign-in", Some(&form)).await;
        if let Some((cookie, _)) = answer.cookie.split_once(';') {
            self.cookie = cookie.to_owned();
        }
        answer
    }
}

pub async fn make_user(app: &TestApp, email: &str, role: Role) -> User {
    let user = User {
        user_id: app.clock.new_id(),
        email: email.to_owned(),
        role,
        invited: false,
        created_at: now(),
    };
    let hash = SlowHash::new(1).hash(PASSWORD.to_owned()).await.unwrap();
    let mut conn = app.pool.acquire().await.unwrap();
    let made = settings::create_user(&mut conn, &Actor::System, &user, Some(&hash), &app.clock).await;
    assert!(made.unwrap());
    user
}

#[sqlx::test]
async fn signing_in_and_out(pool: PgPool) {
    let app = TestApp::start(pool).await;
    make_user(&app, "ann@shop.example", Role::Viewer).await;
    let mut person = Person::of(&app);
    let asked = person.get("/dashboard/account").await;
    assert_eq!(
        (asked.status.as_u16(), asked.location.as_str()),
        (303, "/dashboard/sign-in?next=%2Fdashboard%2Faccount")
    );

    let answer = person.sign_in("Ann@Shop.example", PASSWORD).await;
    assert_eq!(
        (answer.status.as_u16(), answer.location.as_str()),
        (303, "/dashboard")
    );
    assert!(
        answer.cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{}",
        answer.cookie
    );
    assert_eq!(person.get("/dashboard/account").await.status, 200);

    // Another sign-in is under another token, and ends the one before.
    let first = person.cookie.clone();
    person.sign_in("ann@shop.example", PASSWORD).await;
    assert_ne!(person.cookie, first);
    let second = std::mem::replace(&mut person.cookie, first);
    assert_eq!(person.get("/dashboard/account").await.status, 303);
    person.cookie = second;

    let stored: Vec<u8> = sqlx::query_scalar("select token_hash from sign_ins")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(!person.cookie.as_bytes().windows(32).any(|part| part == stored));

    let out = person.send("/dashboard/sign-out", &[]).await;
    assert!(out.cookie.contains("Max-Age=0"), "{}", out.cookie);
    assert_eq!(person.get("/dashboard/account").await.status, 303);
}

#[sqlx::test]
async fn behind_tls_the_cookie_is_for_tls_alone(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.server.public_url = "https://t.shop.example".to_owned();
    })
    .await;
    make_user(&app, "ann@shop.example", Role::Viewer).await;
    let mut person = Person::of(&app);
    let answer = person.sign_in("ann@shop.example", PASSWORD).await;
    assert!(
        answer.cookie.starts_with("__Host-trustdata="),
        "{}",
        answer.cookie
    );
    assert!(
        answer
            .cookie
            .ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
        "{}",
        answer.cookie
    );
    assert_eq!(person.get("/dashboard/account").await.status, 200);
}

#[sqlx::test]
async fn who_has_no_account_is_not_told_apart(pool: PgPool) {
    let app = TestApp::start(pool).await;
    make_user(&app, "ann@shop.example", Role::Viewer).await;
    let mut person = Person::of(&app);
    let wrong = person.sign_in("ann@shop.example", "some other password").await;
    let unknown = person.sign_in("bob@shop.example", "some other password").await;
    assert_eq!(
        (wrong.status, unknown.status),
        (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED)
    );
    assert_eq!(
        wrong.text.replace("ann@", "bob@"),
        unknown.text,
        "the same page but for what was typed"
    );
    for odd in [
        "",
        "a\0b@shop.example",
        &"x".repeat(5000),
        "<script>alert(1)</script>@x.example",
    ] {
        let answer = person.sign_in(odd, PASSWORD).await;
        assert_eq!(answer.status, 401, "{odd:?}");
        assert!(!answer.text.contains("<script>alert"));
    }
}

#[sqlx::test]
async fn failures_are_limited_by_address_and_by_account(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.auth.failures_per_minute = NonZeroU32::new(3).unwrap();
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    make_user(&app, "ann@shop.example", Role::Viewer).await;
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let from = async |address: String, email: &str, password: &str| {
        let form = [("email", email), ("password", password)];
        let request = http.post(app.url("/dashboard/sign-in")).form(&form);
        let answer = request.header("x-forwarded-for", address).send().await.unwrap();
        answer.status().as_u16()
    };
    // One account, from everywhere.
    for n in 0..3 {
        assert_eq!(from(format!("192.0.2.{n}"), "ann@shop.example", "x").await, 401);
    }
    assert_eq!(
        from("192.0.2.9".to_owned(), "ANN@shop.example", PASSWORD).await,
        429
    );
    // Every account, from one address.
    for n in 0..3 {
        let email = format!("nobody-{n}@shop.example");
        assert_eq!(from("198.51.100.1".to_owned(), &email, "x").await, 401);
    }
    assert_eq!(
        from("198.51.100.1".to_owned(), "carl@shop.example", "x").await,
        429
    );
    app.clock.advance(TimeDelta::minutes(1));
    assert_eq!(
        from("192.0.2.9".to_owned(), "ann@shop.example", PASSWORD).await,
        303
    );
}

#[sqlx::test]
async fn sign_ins_end_by_themselves(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let person = Person::signed_in(&app, Role::Viewer).await;
    // Busy every ten hours: it lives on, until a week is over.
    for _ in 0..16 {
        assert_eq!(person.get("/dashboard/account").await.status, 200);
        app.clock.advance(TimeDelta::hours(10));
    }
    app.clock.advance(TimeDelta::hours(9));
    assert_eq!(person.get("/dashboard/account").await.status, 303);

    let mut idle = Person::of(&app);
    idle.sign_in("viewer@shop.example", PASSWORD).await;
    app.clock.advance(TimeDelta::hours(12));
    assert_eq!(idle.get("/dashboard/account").await.status, 303);
}

#[sqlx::test]
async fn a_new_password_signs_out_everybody_else(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let here = Person::signed_in(&app, Role::Viewer).await;
    let mut there = Person::of(&app);
    there.sign_in("viewer@shop.example", PASSWORD).await;
    let change = |current: &'static str, new: &'static str, again: &'static str| {
        [("current", current), ("password", new), ("again", again)]
    };
    for (fields, refused) in [
        (
            change("wrong password", "another long one", "another long one"),
            "is another one",
        ),
        (change(PASSWORD, "short", "short"), "at least 12"),
        (change(PASSWORD, "another long one", "another long two"), "differ"),
    ] {
        let answer = here.send("/dashboard/account/password", &fields).await;
        assert!(answer.text.contains(refused), "{refused}");
    }
    let fields = change(PASSWORD, "another long one", "another long one");
    let answer = here.send("/dashboard/account/password", &fields).await;
    assert_eq!(answer.location, "/dashboard/account?said=password");
    assert_eq!(here.get("/dashboard/account").await.status, 200);
    assert_eq!(there.get("/dashboard/account").await.status, 303);
    assert_eq!(there.sign_in("viewer@shop.example", PASSWORD).await.status, 401);
    assert_eq!(
        there
            .sign_in("viewer@shop.example", "another long one")
            .await
            .status,
        303
    );

    here.send("/dashboard/account/sign-out-everywhere", &[]).await;
    assert_eq!(here.get("/dashboard/account").await.status, 303);
    assert_eq!(there.get("/dashboard/account").await.status, 303);
}

/// The link in an owner's page.
fn link(page: &Page) -> String {
    let after = page
        .text
        .split("/dashboard/invitation/")
        .nth(1)
        .expect(&page.text);
    let token = after.split('<').next().unwrap();
    format!("/dashboard/invitation/{token}")
}

#[sqlx::test]
async fn users_are_invited_and_removed(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    let invite = [("email", "bo@shop.example"), ("role", "viewer")];
    let invited = owner.send("/dashboard/users", &invite).await;
    let path = link(&invited);
    assert!(
        owner
            .send("/dashboard/users", &invite)
            .await
            .text
            .contains("already")
    );

    let mut bo = Person::of(&app);
    assert_eq!(
        bo.sign_in("bo@shop.example", "").await.status,
        401,
        "no password yet"
    );
    let set = [("password", PASSWORD), ("again", PASSWORD)];
    let accepted = bo.ask(Method::POST, &path, Some(&set)).await;
    assert_eq!(accepted.location, "/dashboard/sign-in");
    assert_eq!(
        bo.ask(Method::POST, &path, Some(&set)).await.status,
        404,
        "works once"
    );
    assert_eq!(bo.sign_in("bo@shop.example", PASSWORD).await.status, 303);
    assert_eq!(bo.get("/dashboard/users").await.status, 403);

    let ids: Vec<(String, uuid::Uuid)> = sqlx::query_as("select email, user_id from users")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    let id = |email: &str| ids.iter().find(|(other, _)| other == email).unwrap().1;
    let (own, other) = (id("owner@shop.example"), id("bo@shop.example"));
    let promote = [("role", "owner")];
    owner
        .send(&format!("/dashboard/users/{other}/role"), &promote)
        .await;
    assert_eq!(bo.get("/dashboard/users").await.status, 200);
    let demote = [("role", "viewer")];
    owner
        .send(&format!("/dashboard/users/{other}/role"), &demote)
        .await;
    assert_eq!(
        bo.get("/dashboard/account").await.status,
        303,
        "who may do less signs in again"
    );

    let last = owner.send(&format!("/dashboard/users/{own}/role"), &demote).await;
    assert_eq!(last.status, 422);
    assert!(last.text.contains("only owner"));
    assert_eq!(
        owner
            .send(&format!("/dashboard/users/{own}/remove"), &[])
            .await
            .status,
        422
    );

    bo.sign_in("bo@shop.example", PASSWORD).await;
    let again = owner
        .send(&format!("/dashboard/users/{other}/invitation"), &[])
        .await;
    let path = link(&again);
    owner.send(&format!("/dashboard/users/{other}/remove"), &[]).await;
    assert_eq!(bo.get("/dashboard/account").await.status, 303);
    assert_eq!(bo.get(&path).await.status, 404);
    let log = owner.get("/dashboard/log").await.text;
    for told in [
        "user: invited",
        "user: role changed",
        "viewer → owner",
        "user: removed",
        "bo@shop.example",
    ] {
        assert!(log.contains(told), "{told}");
    }
}

#[sqlx::test]
async fn an_invitation_ends_after_three_days(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    let invite = [("email", "bo@shop.example"), ("role", "editor")];
    let path = link(&owner.send("/dashboard/users", &invite).await);
    app.clock.advance(TimeDelta::hours(71));
    assert_eq!(owner.get(&path).await.status, 200);
    app.clock.advance(TimeDelta::hours(1));
    assert_eq!(owner.get(&path).await.status, 404);
}

/// The walk of the set-up, by forms alone.
#[sqlx::test]
async fn settings_are_changed_and_logged(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let editor = Person::signed_in(&app, Role::Editor).await;
    let list = format!("/dashboard/properties/{}/attribution-ids", app.property_id);
    let made = editor.send(&list, &[("name", "Second site")]).await;
    let page = made.location.split('?').next().unwrap().to_owned();
    assert!(editor.get(&page).await.text.contains("Disabled"));
    editor
        .send(&format!("{page}/enabled"), &[("enabled", "true")])
        .await;
    let key = [("name", "Back end"), ("rate_limit", "2"), ("expires_in_days", "")];
    let shown = editor.send(&format!("{page}/keys"), &key).await.text;
    let token = shown
        .split("id=\"fresh-key\">")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    assert!(!editor.get(&page).await.text.contains(token), "shown once");

    let attribution_id = page.split('/').nth(5).unwrap();
    let webhook = app.url(&format!("/webhooks/custom/{attribution_id}/lead"));
    let send = async |id: &str| {
        let body = json!({ "conversion_id": id }).to_string();
        let request = app.http.post(&webhook).bearer_auth(token).body(body);
        let answer = request
            .header("content-type", "application/json")
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    };
    assert_eq!(
        [send("1").await, send("2").await, send("3").await],
        [200, 200, 429]
    );

    let stream = page.trim_end_matches("/webhooks");
    editor
        .send(
            &format!("{stream}/attribution/lookback"),
            &[("lookback_days", "45")],
        )
        .await;
    editor
        .send(&format!("{stream}/attribution/name"), &[("name", "Shop B")])
        .await;
    for (path, fields) in [
        ("attribution/lookback", [("lookback_days", "91")]),
        ("attribution/name", [("name", "")]),
        ("webhooks/enabled", [("enabled", "perhaps")]),
    ] {
        assert_eq!(
            editor.send(&format!("{stream}/{path}"), &fields).await.status,
            422,
            "{path}"
        );
    }
    let log = editor
        .get(&format!("/dashboard/properties/{}/log", app.property_id))
        .await
        .text;
    for told in [
        "attribution id: created",
        "attribution id: webhooks enabled",
        "webhook key: created",
        "30 → 45",
        "Second site → Shop B",
        "editor@shop.example",
    ] {
        assert!(log.contains(told), "{told}");
    }
    assert!(!log.contains(token));
}

#[sqlx::test]
async fn a_test_event_tells_what_would_come_of_it(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.session("v-1", 3.0, "utm_source=google&utm_campaign=spring&gclid=x")
        .await;
    let editor = Person::signed_in(&app, Role::Editor).await;
    let page = format!(
        "/dashboard/properties/{}/attribution-ids/{}/webhooks/test",
        app.property_id, app.attribution_id
    );
    let test = async |payload: &str| {
        let fields = [("topic", "purchase"), ("payload", payload)];
        editor.send(&page, &fields).await.text
    };
    let payload = r#"{"conversion_id":"1","value":5,"currency":"EUR","visitor_id":"v-1"}"#;
    assert!(test(payload).await.contains("campaign spring"));
    let unknown = test(r#"{"conversion_id":"1","value":5,"currency":"EUR","visitor_id":"nobody"}"#).await;
    assert!(unknown.contains("No session was ever tracked"));
    let bad = test(r#"{"value":-5,"currency":"EUR<b>"}"#).await;
    assert!(bad.contains("<code>conversion_id</code>") && bad.contains("<code>value</code>"));
    assert!(!bad.contains("EUR<b>"));
    assert!(test("{").await.contains("must be JSON"));
    assert_eq!(app.count("conversions").await, 0);
    let rows = app.activity(2).await;
    assert!(rows.iter().all(|row| row["dry_run"] == true), "{rows:?}");
}

/// What outsiders may have written is text wherever it is shown.
#[sqlx::test]
async fn hostile_texts_are_text(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}gnp";
    let list = format!("/dashboard/properties/{}/attribution-ids", app.property_id);
    let made = owner.send(&list, &[("name", "<b>bold</b> & \"quoted\"")]).await;
    let page = made.location.split('?').next().unwrap().to_owned();
    let key = [("name", "<script>alert(2)</script>"), ("rate_limit", "60")];
    owner.send(&format!("{page}/keys"), &key).await;
    let topic = "%3Cscript%3Ealert(3)%3C%2Fscript%3E";
    let request = app.http.post(app.webhook(topic)).bearer_auth(&app.token);
    let sent = request
        .header("content-type", "application/json")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 422);
    app.send("lead", &json!({ "conversion_id": hostile })).await;
    app.activity(2).await;
    let own = format!("{list}/{}", app.attribution_id);
    let newest: uuid::Uuid = sqlx::query_scalar("select activity_id from activity order by 1 desc limit 1")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    for path in [
        list.clone(),
        page.clone(),
        format!("{own}/webhooks"),
        format!("{own}/activity"),
        format!("{own}/activity/{newest}"),
        format!("/dashboard/properties/{}/log", app.property_id),
        "/dashboard/sign-in?next=%22%3E%3Cscript%3E".to_owned(),
    ] {
        let page = owner.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        for bad in ["<script>alert", "<img src=x", "<b>bold", "\"><script>"] {
            assert!(!page.text.contains(bad), "{path} has {bad}");
        }
    }
}
