//! Signing in, users, and what the pages change.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::PgPool;
use trustdata::audit::Actor;
use trustdata::platform::clock::Clock;
use trustdata::platform::password::SlowHash;
use trustdata::settings;
use trustdata::users::{Role, User};

use crate::support::{Process, TestApp, config_for, free_port, now};

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
    clock: Clock,
    pub cookie: String,
}

impl Person {
    /// Nobody is signed in yet.
    pub fn of(app: &TestApp) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self {
            http: http.build().unwrap(),
            base: app.url(""),
            clock: app.clock.clone(),
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
        let (csrf, once) = (self.csrf().await, self.clock.new_id().to_string());
        let mut form = vec![("csrf", csrf.as_str()), ("once", once.as_str())];
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
    make_user_in(&app.pool, &app.clock, email, role).await
}

async fn make_user_in(pool: &PgPool, clock: &Clock, email: &str, role: Role) -> User {
    let user = User {
        user_id: clock.new_id(),
        email: email.to_owned(),
        role,
        invited: false,
        created_at: now(),
    };
    let hash = SlowHash::new(1).hash(PASSWORD.to_owned()).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    let made = settings::create_user(&mut conn, &Actor::System, &user, Some(&hash), clock).await;
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
    // One rule for pages and API, and the document tells it.
    let me = async |cookie: &str| {
        let request = app.http.get(app.url("/api/v1/me")).header("cookie", cookie);
        request.send().await.unwrap().status().as_u16()
    };
    let plain = person.cookie.replace("__Host-", "");
    assert_eq!((me(&person.cookie).await, me(&plain).await), (200, 401));
    let document = app.http.get(app.url("/api/v1/openapi.json"));
    let document = document.send().await.unwrap().text().await.unwrap();
    assert!(document.contains(r#""name":"__Host-trustdata""#));
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

/// It takes as long, because it is the same work: each try that is let in computes one hash.
#[sqlx::test]
async fn an_unknown_account_costs_a_hash_as_a_known_one_does(pool: PgPool) {
    let database = config_for(&pool.connect_options()).database.url;
    let (port, internal) = (free_port().await, free_port().await);
    let _service = Process::start(database.expose_secret(), port, internal).await;
    make_user_in(&pool, &Clock::system(), "ann@shop.example", Role::Viewer).await;
    let http = reqwest::Client::new();
    let hashes = async || -> u64 {
        let metrics = http.get(format!("http://127.0.0.1:{internal}/metrics"));
        let metrics = metrics.send().await.unwrap().text().await.unwrap();
        let count = metrics
            .lines()
            .find_map(|line| line.strip_prefix("trustdata_argon2_runs_total "));
        count.expect(&metrics).parse().unwrap()
    };
    for email in ["ann@shop.example", "nobody@shop.example", "", "a\0b@shop.example"] {
        let before = hashes().await;
        let form = [("email", email), ("password", "some other password")];
        let request = http
            .post(format!("http://127.0.0.1:{port}/dashboard/sign-in"))
            .form(&form);
        assert_eq!(request.send().await.unwrap().status(), 401);
        assert_eq!(hashes().await - before, 1, "{email:?}");
    }
}

#[sqlx::test]
async fn failures_are_limited_by_address_and_by_account(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| {
        config.auth.sign_in_failures_per_minute = NonZeroU32::new(3).unwrap();
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    make_user(&app, "ann@shop.example", Role::Viewer).await;
    let mut known = Known::of(&app).await;
    let from = async |address: &str, email: &str, password: &str| {
        let answer = attempt(&app, address, email, password, "").await;
        let wait = answer
            .headers()
            .get("retry-after")
            .map(|wait| wait.to_str().unwrap().to_owned());
        (answer.status().as_u16(), wait)
    };
    let late = (429, Some("20".to_owned()));
    // One account, from everywhere.
    for n in 0..3 {
        assert_eq!(
            from(&format!("192.0.2.{n}"), "ann@shop.example", "x").await,
            (401, None)
        );
    }
    assert_eq!(from("192.0.2.9", "ANN@shop.example", PASSWORD).await, late);
    // Every account, from one address.
    for n in 0..3 {
        let email = format!("nobody-{n}@shop.example");
        assert_eq!(from("198.51.100.1", &email, "x").await, (401, None));
    }
    assert_eq!(from("198.51.100.1", "carl@shop.example", "x").await, late);
    // Strangers do not lock her out of the browser that she uses, whatever its address is.
    assert_eq!(known.sign_in("198.51.100.1", PASSWORD).await, 303);
    for _ in 0..3 {
        assert_eq!(known.sign_in("192.0.2.9", "x").await, 401);
    }
    assert_eq!(known.sign_in("192.0.2.9", PASSWORD).await, 429);
    // It is of no use with another account.
    let other = attempt(&app, "198.51.100.1", "bo@shop.example", PASSWORD, &known.cookie).await;
    assert_eq!(other.status(), 429);
    app.clock.advance(TimeDelta::minutes(1));
    assert_eq!(from("192.0.2.9", "ann@shop.example", PASSWORD).await, (303, None));
}

async fn attempt(
    app: &TestApp,
    address: &str,
    email: &str,
    password: &str,
    cookie: &str,
) -> reqwest::Response {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let form = [("email", email), ("password", password)];
    let request = http
        .build()
        .unwrap()
        .post(app.url("/dashboard/sign-in"))
        .form(&form);
    let request = request
        .header("x-forwarded-for", address)
        .header("cookie", cookie);
    request.send().await.unwrap()
}

/// A browser in which Ann has signed in before.
struct Known<'a> {
    app: &'a TestApp,
    cookie: String,
}

impl<'a> Known<'a> {
    async fn of(app: &'a TestApp) -> Self {
        let answer = attempt(app, "203.0.113.1", "ann@shop.example", PASSWORD, "").await;
        let cookies = answer.headers().get_all("set-cookie").iter();
        let known = cookies
            .map(|cookie| cookie.to_str().unwrap())
            .find(|cookie| cookie.starts_with("trustdata-browser="));
        let (cookie, rest) = known.unwrap().split_once(';').unwrap();
        assert_eq!(rest, " Path=/; HttpOnly; SameSite=Lax; Max-Age=34560000");
        Self {
            app,
            cookie: cookie.to_owned(),
        }
    }

    async fn sign_in(&mut self, address: &str, password: &str) -> u16 {
        let answer = attempt(self.app, address, "ann@shop.example", password, &self.cookie).await;
        answer.status().as_u16()
    }
}

/// However many people sign in, a key that nobody has used yet is proven in its own turn.
#[sqlx::test]
async fn a_rush_of_sign_ins_delays_no_key(pool: PgPool) {
    const RUSH: usize = 60;
    let app = TestApp::start_with(pool, |config| {
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let (told, mut answers) = tokio::sync::mpsc::channel(RUSH);
    for n in 0..RUSH {
        let (told, url) = (told.clone(), app.url("/dashboard/sign-in"));
        let http = app.http.clone();
        tokio::spawn(async move {
            let email = format!("nobody-{n}@shop.example");
            let form = [("email", email.as_str()), ("password", "x")];
            let request = http
                .post(url)
                .form(&form)
                .header("x-forwarded-for", format!("192.0.2.{n}"));
            let status = request.send().await.unwrap().status().as_u16();
            told.send(status).await.unwrap();
        });
    }
    drop(told);
    // All of them are on their way once a few were answered.
    for _ in 0..5 {
        assert!(answers.recv().await.is_some());
    }
    let sent = json!({ "conversion_id": "1", "value": 5, "currency": "EUR" });
    assert_eq!(app.send("purchase", &sent).await.status, 200);
    let answered = 5 + std::iter::from_fn(|| answers.try_recv().ok()).count();
    assert!(answered < RUSH, "the key waited for everybody who signed in");
    while let Some(status) = answers.recv().await {
        assert!([401, 503].contains(&status), "{status}");
    }
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

/// What asks by itself keeps nobody signed in.
#[sqlx::test]
async fn a_page_left_open_is_no_visit(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let person = Person::signed_in(&app, Role::Viewer).await;
    let live = format!(
        "/dashboard/properties/{}/attribution-ids/{}/activity/live",
        app.property_id, app.attribution_id
    );
    let listen = async || {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let request = http
            .build()
            .unwrap()
            .get(app.url(&live))
            .header("cookie", &person.cookie);
        request.send().await.unwrap().status().as_u16()
    };
    for _ in 0..12 {
        assert_eq!(listen().await, 200);
        app.clock.advance(TimeDelta::hours(1));
    }
    assert_eq!(listen().await, 303);
    assert_eq!(person.get("/dashboard/account").await.status, 303);
}

/// Whoever finds a link that was handed over cannot use it once its user has reason to think of safety.
#[sqlx::test]
async fn a_link_ends_with_what_makes_one_sign_in_again(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    let bo = make_user(&app, "bo@shop.example", Role::Editor).await;
    let new_link = async || {
        let page = owner
            .send(&format!("/dashboard/users/{}/invitation", bo.user_id), &[])
            .await;
        let path = link(&page);
        assert_eq!(owner.get(&path).await.status, 200);
        path
    };
    let mut person = Person::of(&app);
    person.sign_in("bo@shop.example", PASSWORD).await;

    let path = new_link().await;
    let new = "another long one";
    let fields = [("current", PASSWORD), ("password", new), ("again", new)];
    person.send("/dashboard/account/password", &fields).await;
    assert_eq!(owner.get(&path).await.status, 404, "a new password");

    let path = new_link().await;
    person.send("/dashboard/account/sign-out-everywhere", &[]).await;
    assert_eq!(owner.get(&path).await.status, 404, "signed out everywhere");

    let path = new_link().await;
    let role = format!("/dashboard/users/{}/role", bo.user_id);
    owner.send(&role, &[("role", "owner")]).await;
    assert_eq!(owner.get(&path).await.status, 404, "another role");
    let set = [("password", "stolen from here"), ("again", "stolen from here")];
    assert_eq!(person.ask(Method::POST, &path, Some(&set)).await.status, 404);
    assert_eq!(person.sign_in("bo@shop.example", new).await.status, 303);
}

#[sqlx::test]
async fn an_owner_who_cannot_sign_in_is_not_the_other_owner(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    let invite = [("email", "bo@shop.example"), ("role", "owner")];
    let path = link(&owner.send("/dashboard/users", &invite).await);
    let own: uuid::Uuid = sqlx::query_scalar("select user_id from users where email = 'owner@shop.example'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let (role, remove) = (
        format!("/dashboard/users/{own}/role"),
        format!("/dashboard/users/{own}/remove"),
    );
    for (path, fields) in [(&role, &[("role", "viewer")][..]), (&remove, &[])] {
        let refused = owner.send(path, fields).await;
        assert_eq!(refused.status, 422);
        assert!(refused.text.contains("only owner"));
    }
    let set = [("password", PASSWORD), ("again", PASSWORD)];
    owner.ask(Method::POST, &path, Some(&set)).await;
    assert_eq!(owner.send(&role, &[("role", "viewer")]).await.status, 303);
}

#[sqlx::test]
async fn tokens_end_with_the_right_to_make_them(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    let bo = make_user(&app, "bo@shop.example", Role::Editor).await;
    let list = format!("/dashboard/properties/{}/api-tokens", app.property_id);
    let mut person = Person::of(&app);
    let works = async |token: &str| {
        let request = app.http.get(app.url("/api/v1/me")).bearer_auth(token);
        let answer = request.send().await.unwrap();
        answer.status() == 200
    };
    let role = format!("/dashboard/users/{}/role", bo.user_id);
    let remove = format!("/dashboard/users/{}/remove", bo.user_id);
    let of_the_owner = fresh(
        &owner.send(&list, &[("name", "mine"), ("scope", "read")]).await,
        "fresh-token",
    );
    for (path, fields) in [(&role, &[("role", "viewer")][..]), (&remove, &[])] {
        owner.send(&role, &[("role", "editor")]).await;
        person.sign_in("bo@shop.example", PASSWORD).await;
        let made = person
            .send(&list, &[("name", "Report"), ("scope", "write")])
            .await;
        let token = fresh(&made, "fresh-token");
        assert!(works(&token).await);
        let shown = owner.get(&list).await.text;
        assert!(
            shown.contains("bo@shop.example") && !shown.contains(&token),
            "made by, and shown once"
        );
        owner.send(path, fields).await;
        assert!(!works(&token).await, "{path}");
    }
    assert!(works(&of_the_owner).await);
    let log = owner
        .get(&format!("/dashboard/properties/{}/log", app.property_id))
        .await
        .text;
    assert_eq!(log.matches("api token: revoked").count(), 2);
}

/// A secret that the page shows once.
fn fresh(page: &Page, id: &str) -> String {
    let after = page
        .text
        .split(&format!("id=\"{id}\">"))
        .nth(1)
        .expect(&page.text);
    after.split('<').next().unwrap().to_owned()
}

/// The same form sent again, as a browser does when the page is loaded anew, makes nothing again.
#[sqlx::test]
async fn a_form_sent_twice_makes_one_thing(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let editor = Person::signed_in(&app, Role::Editor).await;
    let of_property = format!("/dashboard/properties/{}", app.property_id);
    let webhooks = format!("{of_property}/attribution-ids/{}/webhooks", app.attribution_id);
    for (page, form, table, more) in [
        (
            webhooks.clone(),
            format!("{webhooks}/keys"),
            "webhook_keys",
            ("rate_limit", "60"),
        ),
        (
            format!("{of_property}/api-tokens"),
            format!("{of_property}/api-tokens"),
            "api_tokens",
            ("scope", "read"),
        ),
    ] {
        let shown = editor.get(&page).await.text;
        let hidden = |name: &str| {
            let after = shown.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap();
            after.split('"').next().unwrap().to_owned()
        };
        let (csrf, once) = (hidden("csrf"), hidden("once"));
        let fields = [
            ("csrf", csrf.as_str()),
            ("once", once.as_str()),
            ("name", "Once"),
            more,
        ];
        let before = app.count(table).await;
        let first = editor.ask(Method::POST, &form, Some(&fields)).await;
        assert!(
            first.status == 200 && first.text.contains("not shown again"),
            "{}",
            first.text
        );
        let again = editor.ask(Method::POST, &form, Some(&fields)).await;
        assert_eq!(again.location, format!("{page}?said=made_before"));
        assert!(editor.get(&again.location).await.text.contains("made already"));
        assert_eq!(app.count(table).await, before + 1);
    }
}

#[sqlx::test]
async fn properties_are_made_renamed_and_answer_for_consent(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    let made = owner.send("/dashboard/properties", &[("name", "Shop <B>")]).await;
    let base = made.location.split("/attribution-ids").next().unwrap().to_owned();
    assert!(base.starts_with("/dashboard/properties/") && !base.contains(&app.property_id.to_string()));
    let all = owner.get("/dashboard/properties").await.text;
    assert!(all.contains("Shop &#60;B&#62;") && all.contains(&app.property_id.to_string()));
    let settings = format!("{base}/settings");
    owner
        .send(&format!("{settings}/name"), &[("name", "Shop C")])
        .await;
    assert!(owner.get(&settings).await.text.contains("<h1>Shop C</h1>"));
    const SHOWN: &str = "Unknown consent counts as granted</a>";
    assert!(!owner.get(&format!("{base}/overview")).await.text.contains(SHOWN));
    let consent = format!("{settings}/unknown-consent");
    assert_eq!(owner.send(&consent, &[("granted", "perhaps")]).await.status, 422);
    owner.send(&consent, &[("granted", "true")]).await;
    for page in [
        "overview",
        "conversions",
        "campaigns",
        "destinations",
        "settings",
        "log",
    ] {
        assert!(
            owner.get(&format!("{base}/{page}")).await.text.contains(SHOWN),
            "{page}"
        );
    }
    owner.send(&consent, &[("granted", "false")]).await;
    assert!(!owner.get(&settings).await.text.contains(SHOWN));
    let kept = |personal: &'static str| {
        [
            ("keep_activity_days", "10"),
            ("keep_personal_days", personal),
            ("keep_sessions_days", "20"),
        ]
    };
    let retention = format!("{settings}/retention");
    assert_eq!(owner.send(&retention, &kept("6")).await.status, 422);
    owner.send(&retention, &kept("8")).await;
    assert!(
        owner
            .get(&settings)
            .await
            .text
            .contains("max=\"3650\" required value=\"8\"")
    );
    let log = owner.get(&format!("{base}/log")).await.text;
    for told in [
        "retention set",
        "renamed",
        "unknown consent granted",
        "unknown consent denied",
    ] {
        assert!(log.contains(told), "{told}");
    }
}

/// However many there are, a page has some of them, and leads to the others.
#[sqlx::test]
async fn long_lists_go_on(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let owner = Person::signed_in(&app, Role::Owner).await;
    for sql in [
        "insert into properties (property_id, name, created_at)
         select ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Property ' || n, now() from generate_series(1, 120) n",
        "insert into users (user_id, email, role, created_at)
         select ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'user-' || n || '@shop.example', 'viewer', now()
         from generate_series(1, 120) n",
        "insert into webhook_keys (property_id, key_id, attribution_id, name, prefix, hash, created_at)
         select property_id, ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, attribution_id, 'Key ' || n, 'td_wh_x', 'x', now()
         from generate_series(1, 120) n, streams",
    ] {
        sqlx::query(sql).execute(&app.pool).await.unwrap();
    }
    let webhooks = format!(
        "/dashboard/properties/{}/attribution-ids/{}/webhooks",
        app.property_id, app.attribution_id
    );
    for (path, word, each) in [
        ("/dashboard/properties".to_owned(), "Property ", 50),
        ("/dashboard/users".to_owned(), "user-", 100),
        (webhooks, "Key ", 50),
    ] {
        let (mut seen, mut query) = (std::collections::BTreeSet::new(), String::new());
        loop {
            let page = owner.get(&format!("{path}{query}")).await.text;
            let (_, table) = page.split_once("<tbody>").unwrap();
            let table = table.split("</tbody>").next().unwrap();
            assert!(table.matches("<tr>").count() <= each, "{path}");
            let numbers = table.split(word).skip(1).filter_map(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u32>().ok()
            });
            seen.extend(numbers);
            let after_table = page.split_once("</tbody>").unwrap().1;
            match after_table
                .split_once("<p><a href=\"?")
                .filter(|(before, _)| !before.contains("</section>"))
            {
                Some((_, rest)) => query = format!("?{}", rest.split('"').next().unwrap()),
                None => break,
            }
        }
        assert_eq!(seen, (1..=120).collect(), "{path}");
    }
    // Nor does every page carry them all.
    let account = owner.get("/dashboard/account").await.text;
    assert_eq!(
        account.matches("/overview\"").count(),
        20 + 1,
        "the first ones, and the page of the property itself"
    );
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
    let rows = app.activity(4).await;
    assert!(rows.iter().all(|row| row["dry_run"] == true), "{rows:?}");
    let mut told: Vec<(&str, i64)> = rows
        .iter()
        .map(|row| {
            (
                row["status"].as_str().unwrap(),
                row["http_status"].as_i64().unwrap(),
            )
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("success", 200),
            ("success", 200),
            ("validation_error", 400),
            ("validation_error", 422)
        ]
    );
    // As much as the field takes, in a script whose letters are long in a form.
    let long = format!(r#"{{"conversion_id":"1","note":"{}"}}"#, "語".repeat(59_000));
    assert!(test(&long).await.contains("<code>value</code>"));
    let too_long = editor
        .send(&page, &[("topic", "lead"), ("payload", &"語".repeat(200_000))])
        .await;
    assert_eq!(too_long.status, 413);
    assert!(too_long.text.contains("more than the form may have"));
}
