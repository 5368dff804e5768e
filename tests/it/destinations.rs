//! Destinations as people set them: where they may lead, how they are changed, their books, and what is sent again.

use base64::Engine as _;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::audit::{Entry, store};
use trustdata::destinations::seal_settings;
use trustdata::forwarding;
use trustdata::forwarding::listing::Span;
use trustdata::platform::clock::Clock;
use trustdata::platform::config;
use trustdata::platform::secrets::{Sealer, key_of_database};
use trustdata::server::App;
use trustdata::tokens::Scope;
use trustdata::users::Role;
use uuid::Uuid;

use crate::api::{Program, token};
use crate::command_line::{json_of, run};
use crate::dashboard::Person;
use crate::end_to_end::Stubs;
use crate::forwarding::{Double, becomes, consented, destination, found, until_known};
use crate::support::{TestApp, allow_local, config_for, now, until};

const PRIVATE: [&str; 7] = [
    "http://127.0.0.1:9090",
    "http://169.254.169.254/latest",
    "http://2130706433",
    "http://[::1]:9090",
    "http://[::ffff:10.0.0.1]",
    "http://localhost:9090",
    "https://db.localhost",
];
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn writer(app: &TestApp) -> Program<'_> {
    Program {
        app,
        token: token(app, Scope::Write).await,
    }
}

fn meta(app: &TestApp, access_token: &str, base_url: &str) -> Value {
    json!({ "attribution_id": app.attribution_id, "platform": "meta", "name": "Meta", "policy": "all",
        "settings": { "pixel_id": "1234567890", "access_token": access_token }, "base_url": base_url })
}

async fn made(program: &Program<'_>, new: Value) -> String {
    let made = program.post("/destinations", new).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["id"].as_str().unwrap().to_owned();
    until_known(program.app, id.parse().unwrap()).await;
    id
}

/// Actions of the property's log, the newest first.
async fn log(app: &TestApp) -> Vec<Entry> {
    let mut conn = app.pool.acquire().await.unwrap();
    store::list(&mut conn, app.property_id, None, 100).await.unwrap()
}

#[sqlx::test]
async fn who_has_not_the_machine_names_no_private_address(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let program = writer(&app).await;
    let editor = Person::signed_in(&app, Role::Editor).await;
    let pages = format!("/dashboard/properties/{}/destinations", app.property_id);
    let stream = app.attribution_id.to_string();
    let public = made(&program, meta(&app, "t", "https://graph.example/meta")).await;
    for url in PRIVATE {
        let refused = program.post("/destinations", meta(&app, "t", url)).await;
        assert_eq!(refused.faults(), ["base_url address_not_public"], "{url}");
        let change = json!({ "base_url": url });
        let path = format!("/destinations/{public}");
        let refused = program.ask(Method::PATCH, &path, Some(&change)).await;
        assert_eq!(refused.faults(), ["base_url address_not_public"], "{url}");
        let settings = json!({ "url": url, "secret": WEBHOOK_SECRET });
        let webhook =
            json!({ "attribution_id": stream, "platform": "webhook", "name": "W", "settings": settings });
        let refused = program.post("/destinations", webhook).await;
        assert_eq!(refused.faults(), ["settings.url address_not_public"], "{url}");

        let form = |base_url: &'static str| {
            [
                ("platform", "meta"),
                ("name", "Meta"),
                ("attribution_id", stream.as_str()),
                ("settings", r#"{"pixel_id":"1","access_token":"t"}"#),
                ("policy", "all"),
                ("base_url", base_url),
            ]
        };
        for path in [pages.clone(), format!("{pages}/{public}/settings")] {
            let page = editor.send(&path, &form(url)).await;
            let told = page.text.contains("must lead to a public address");
            assert!(page.status == 200 && told, "{path} {url}");
        }
    }
    assert_eq!(app.count("destinations").await, 1);

    // On the command line a base URL may be anywhere; where a webhook goes is in its settings, and those anybody may set.
    let settings = r#"{"pixel_id":"1","access_token":"t"}"#;
    let create = |platform: &'static str, base_url: &'static str| {
        let mut args = vec![
            "destination",
            "create",
            "--json",
            "--name",
            "C",
            "--settings",
            "-",
            "--attribution-id",
        ];
        args.extend([stream.as_str(), "--platform", platform]);
        if !base_url.is_empty() {
            args.extend(["--base-url", base_url]);
        }
        args
    };
    let local = json_of(&run(&pool, &create("meta", PRIVATE[0]), settings));
    let local: Uuid = local["id"].as_str().unwrap().parse().unwrap();
    assert!(found(&app, local).await.base_url_anywhere);
    let webhook = json!({ "url": PRIVATE[0], "secret": WEBHOOK_SECRET }).to_string();
    let refused = run(&pool, &create("webhook", ""), &webhook);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        told.contains("settings.url: must lead to a public address"),
        "{told}"
    );
    // Who changes something else leaves it as it is; who names another address, names a public one.
    let path = format!("/destinations/{local}");
    let same = json!({ "name": "D", "base_url": PRIVATE[0] });
    let renamed = program.ask(Method::PATCH, &path, Some(&same)).await;
    assert_eq!(
        (renamed.status.as_u16(), &renamed.body["name"]),
        (200, &json!("D"))
    );
    assert!(found(&app, local).await.base_url_anywhere);
    let moved = json!({ "base_url": "https://graph.example" });
    assert_eq!(program.ask(Method::PATCH, &path, Some(&moved)).await.status, 200);
    assert!(!found(&app, local).await.base_url_anywhere);
}

#[sqlx::test]
async fn what_leads_to_a_private_address_all_the_same_is_not_sent(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    // As if a public name had led there since.
    let id = destination(&app, &double.url, |one| one.base_url_anywhere = false).await;
    let program = writer(&app).await;
    let trial = json!({ "code": "TEST1" });
    let tried = program.post(&format!("/destinations/{id}/test"), trial).await;
    assert_eq!(
        (&tried.body["accepted"], &tried.body["code"]),
        (&json!(false), &json!("address_not_public")),
        "{tried:?}"
    );
    app.session("v-1", 1.0, "utm_source=x").await;
    app.send("purchase", &consented("o-1", "v-1")).await;
    until("it is paused", async || found(&app, id).await.paused_at.is_some()).await;
    let reason = found(&app, id).await.paused_reason.unwrap();
    assert!(reason.contains("address_not_public"), "{reason}");
    becomes(&app, "o-1", &[("queued", None)]).await;
    assert!(double.event_ids().is_empty());
    let entry = log(&app).await.swap_remove(0);
    assert_eq!(
        (entry.actor_kind.as_str(), entry.action.as_str()),
        ("system", "destination.paused")
    );
    assert_eq!(entry.change.unwrap()["reason"], reason);
}

#[sqlx::test]
async fn credentials_are_mended_and_nothing_is_lost(pool: PgPool) {
    let app = TestApp::start_with(pool.clone(), allow_local).await;
    let stubs = Stubs::start().await;
    let program = writer(&app).await;
    let id = made(&program, meta(&app, "expired-1", &format!("{}/meta", stubs.url))).await;
    let uuid: Uuid = id.parse().unwrap();
    app.session("v-1", 1.0, "utm_source=x").await;
    app.send("purchase", &consented("o-1", "v-1")).await;
    until("it is paused", async || {
        found(&app, uuid).await.paused_at.is_some()
    })
    .await;
    let reason = found(&app, uuid).await.paused_reason.unwrap();
    assert!(reason.contains("190"), "{reason}");
    app.send("purchase", &consented("o-2", "v-1")).await;
    becomes(&app, "o-2", &[("queued", None)]).await;

    let path = format!("/destinations/{id}");
    let change = |settings: Value| json!({ "settings": settings });
    let lacking = change(json!({ "access_token": "very-secret" }));
    let refused = program.ask(Method::PATCH, &path, Some(&lacking)).await;
    assert_eq!(refused.faults(), ["settings.pixel_id required"], "replaced whole");
    let mended = change(json!({ "pixel_id": "1234567890", "access_token": "very-secret" }));
    let answer = program.ask(Method::PATCH, &path, Some(&mended)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!answer.body.to_string().contains("very-secret"));
    assert!(
        answer.body["paused_at"].is_string(),
        "it goes on when it is told to"
    );
    program.post(&format!("{path}/resume"), json!({})).await;
    for order in ["o-1", "o-2"] {
        becomes(&app, order, &[("accepted", None)]).await;
    }

    // The command line does the same, and nothing at all is refused.
    let settings = r#"{"pixel_id":"1234567890","access_token":"very-secret-2"}"#;
    let set = [
        "destination",
        "set",
        id.as_str(),
        "--settings",
        "-",
        "--topic",
        "purchase",
        "--own-address",
        "--json",
    ];
    let output = run(&pool, &set, settings);
    let after = json_of(&output);
    assert_eq!(
        (&after["topics"], &after["base_url"]),
        (&json!({ "purchase": null }), &Value::Null)
    );
    assert_eq!(run(&pool, &set[..3], "").status.code(), Some(2));
    assert_eq!(found(&app, uuid).await.platform, "meta");
    let log = log(&app).await;
    let mut told: Vec<(&str, &Value)> = log
        .iter()
        .filter(|entry| entry.action == "destination.changed")
        .map(|entry| (entry.actor_kind.as_str(), entry.change.as_ref().unwrap()))
        .collect();
    // The command line's clock is the machine's.
    told.sort_by_key(|(actor, _)| *actor);
    assert_eq!(
        told,
        [
            (
                "command_line",
                &json!({ "fields": ["settings", "base_url", "topics"] })
            ),
            ("token", &json!({ "fields": ["settings"] }))
        ]
    );
    let everything = format!("{log:?}");
    assert!(
        !everything.contains("very-secret")
            && !String::from_utf8(output.stdout).unwrap().contains("very-secret")
    );
}

#[sqlx::test]
async fn an_instance_without_the_key_leaves_the_destination_to_one_that_has_it(pool: PgPool) {
    let (app, double) = (TestApp::start(pool.clone()).await, Double::start().await);
    let mut config = config_for(&pool.connect_options());
    config.secrets.seal_key = base64::engine::general_purpose::STANDARD.encode([1; 32]).into();
    let of_database = key_of_database(&mut pool.acquire().await.unwrap(), now())
        .await
        .unwrap();
    let sealer = Sealer::new(&config.secrets, Some(of_database)).unwrap();
    let id = destination(&app, &double.url, |one| {
        let settings = json!({ "pixel_id": "1", "access_token": "t" }).to_string().into();
        one.settings_sealed = seal_settings(&settings, one.property_id, one.destination_id, &sealer).unwrap();
    })
    .await;
    app.session("v-1", 1.0, "utm_source=x").await;
    app.send("purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("queued", None)]).await;
    let other = App::start(&config, Clock::fixed(now() + TimeDelta::seconds(1)))
        .await
        .unwrap();
    becomes(&app, "o-1", &[("accepted", None)]).await;
    assert!(found(&app, id).await.paused_at.is_none());
    let program = writer(&app).await;
    let unhealthy = program.get("/reports/unhealthy").await;
    let troubles = unhealthy.body["data"].as_array().unwrap();
    assert!(
        troubles
            .iter()
            .any(|one| one["trouble"] == "destination_unreadable"),
        "{unhealthy:?}"
    );
    other.finish().await;
}

#[sqlx::test]
async fn books_that_do_not_balance_show_it(pool: PgPool) {
    let (app, double) = (TestApp::start(pool.clone()).await, Double::start().await);
    let id = destination(&app, &double.url, |_| ()).await;
    app.session("v-1", 1.0, "utm_source=x").await;
    for order in ["o-1", "o-2", "o-3"] {
        app.send("purchase", &consented(order, "v-1")).await;
        becomes(&app, order, &[("accepted", None)]).await;
    }
    let program = writer(&app).await;
    let path = format!("/destinations/{id}/ledger");
    let books = async |query: &str| program.get(&format!("{path}{query}")).await.body;
    let counts = |books: &Value| {
        [
            "promised",
            "accepted",
            "total",
            "difference",
            "balanced",
            "complete",
        ]
        .map(|field| books[field].clone())
    };
    let all = [json!(3), json!(3), json!(3), json!(0), json!(true), json!(true)];
    assert_eq!(counts(&books("").await), all);
    let (hour, day) = (now() + TimeDelta::hours(1), now() - TimeDelta::days(1));
    let span = |name: &str, at: chrono::DateTime<chrono::Utc>| {
        format!("?{name}={}", at.format("%Y-%m-%dT%H:%M:%SZ"))
    };
    assert_eq!(counts(&books(&span("until", hour)).await), all);
    for empty in [span("until", day), span("since", hour)] {
        assert_eq!(books(&empty).await["promised"], 0, "{empty}");
    }
    assert_eq!(
        program
            .get(&format!("{path}?since=0001-01-01T00:00:00Z"))
            .await
            .status,
        422
    );

    sqlx::query("delete from deliveries where event_id = (select event_id from conversions where conversion_id = 'o-2')")
        .execute(&pool)
        .await
        .unwrap();
    let lost = [json!(3), json!(2), json!(2), json!(1), json!(false), json!(true)];
    assert_eq!(counts(&books("").await), lost);
    let ledger = run(
        &pool,
        &["delivery", "ledger", "--destination", &id.to_string(), "--json"],
        "",
    );
    assert_eq!(
        (ledger.status.code(), counts(&json_of(&ledger)[0])),
        (Some(1), lost)
    );
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let page = format!(
        "/dashboard/properties/{}/destinations/{id}?books=1",
        app.property_id
    );
    assert!(viewer.get(&page).await.text.contains("They do not balance"));

    // What still waits to be planned is in the books; and where there is more than can be looked at, they say so.
    sqlx::query(
        "insert into outbox (property_id, event_id, destination_ids, created_at)
         select property_id, event_id, destination_ids, received_at from conversions where conversion_id = 'o-2'",
    )
    .execute(&pool)
    .await
    .unwrap();
    becomes(&app, "o-2", &[("accepted", None)]).await;
    assert_eq!(counts(&books("").await), all);
    let one = found(&app, id).await;
    let mut conn = pool.acquire().await.unwrap();
    let newest = forwarding::store::ledger(&mut conn, &one, Span::default(), 2)
        .await
        .unwrap();
    assert_eq!(
        (newest.promised, newest.complete, newest.balanced),
        (2, false, true)
    );
    assert!(newest.since.is_some());

    // One that was taken away stays in them, and a conversion that came before it was made never was.
    program
        .ask(Method::DELETE, &format!("/destinations/{id}"), None)
        .await;
    assert_eq!(counts(&books("").await), all);
    let later = destination(&app, &double.url, |_| ()).await;
    let of_later = program.get(&format!("/destinations/{later}/ledger")).await.body;
    assert_eq!(
        (&of_later["promised"], &of_later["balanced"]),
        (&json!(0), &json!(true))
    );
}

/// Ended deliveries: conversion, state, code, hours since, days until it is too old.
async fn ended(app: &TestApp, id: Uuid, rows: &[(&str, &str, &str, i64, i64)]) {
    for (order, state, code, hours, days) in rows {
        sqlx::query(
            "update deliveries set state = $3, code = $4, settled_at = $5, deliver_by = $6, reason = 'refused'
             where destination_id = $1 and event_id = (select event_id from conversions where conversion_id = $2)",
        )
        .bind(id)
        .bind(order)
        .bind(state)
        .bind(code)
        .bind(now() - TimeDelta::hours(*hours))
        .bind(now() + TimeDelta::days(*days))
        .execute(&app.pool)
        .await
        .unwrap();
    }
}

#[sqlx::test]
async fn what_ended_badly_is_sent_again_by_filter(pool: PgPool) {
    let (app, double) = (TestApp::start(pool.clone()).await, Double::start().await);
    let id = destination(&app, &double.url, |_| ()).await;
    app.session("v-1", 1.0, "utm_source=x").await;
    let rows = [
        ("o-1", "dead", "100", 1, 5),
        ("o-2", "dead", "100", 5, 5),
        ("o-3", "dead", "200", 5, 5),
        ("o-4", "dead", "100", 5, -1),
        ("o-5", "expired", "", 5, -1),
    ];
    for (order, ..) in rows {
        app.send("purchase", &consented(order, "v-1")).await;
        becomes(&app, order, &[("accepted", None)]).await;
    }
    ended(&app, id, &rows).await;
    let program = writer(&app).await;
    let path = format!("/destinations/{id}/replay");
    let ask = async |filter: Value| {
        let answer = program.post(&path, filter).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["count"].as_i64().unwrap()
    };
    let (four, six) = (now() - TimeDelta::hours(4), now() - TimeDelta::hours(6));
    for (filter, count) in [
        (json!({}), 3),
        (json!({ "code": "100" }), 2),
        (json!({ "code": "300" }), 0),
        (json!({ "since": four }), 1),
        (json!({ "until": four }), 2),
        (json!({ "since": six, "until": four, "code": "200" }), 1),
        (json!({ "until": six }), 0),
        // Past Meta's seven days nothing is taken up again.
        (json!({ "state": "expired" }), 0),
    ] {
        let mut dry = filter.clone();
        dry["dry_run"] = json!(true);
        assert_eq!(ask(dry).await, count, "{filter}");
    }
    let odd = program.post(&path, json!({ "state": "accepted" })).await;
    assert_eq!(odd.faults(), ["state unknown_state"]);
    let sent = double.event_ids().len();
    assert_eq!(
        (sent, log(&app).await.len()),
        (5, 1),
        "counting sends nothing, and is no entry"
    );

    assert_eq!(
        ask(json!({ "since": six, "until": four, "code": "100" })).await,
        1
    );
    becomes(&app, "o-2", &[("accepted", None)]).await;
    assert_eq!(double.event_ids()[sent..], ["o-2"]);
    let replay = ["delivery", "replay", "--state", "dead", "--json", "--destination"];
    let until = four.to_rfc3339();
    let args = |more: &[&str]| {
        let mut args: Vec<String> = replay.iter().map(|arg| (*arg).to_owned()).collect();
        args.push(id.to_string());
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args
    };
    let cli = |more: &[&str]| {
        let args = args(more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        json_of(&run(&pool, &args, ""))["count"].clone()
    };
    // The command line's clock is the machine's.
    sqlx::query("update deliveries set deliver_by = greatest(now(), $1) + interval '1 day' where state = 'dead' and deliver_by > $1")
        .bind(now())
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(cli(&["--until", &until, "--dry-run"]), 1);
    assert_eq!(cli(&["--code", "100", "--until", &until, "--dry-run"]), 0);
    let editor = Person::signed_in(&app, Role::Editor).await;
    let page = format!("/dashboard/properties/{}/destinations/{id}", app.property_id);
    let count = [("do", "count"), ("state", "dead"), ("code", "200")];
    let counted = editor.send(&format!("{page}/replay"), &count).await.text;
    assert!(counted.contains("1 dead deliveries with code 200"), "{counted}");
    let again = [("do", "replay"), ("state", "dead"), ("code", "200")];
    // Entries of one microsecond have no order.
    app.clock.advance(TimeDelta::microseconds(1));
    assert_eq!(editor.send(&format!("{page}/replay"), &again).await.status, 303);
    becomes(&app, "o-3", &[("accepted", None)]).await;
    let log = log(&app).await;
    let told: Vec<(&str, &Value)> = log
        .iter()
        .filter(|entry| entry.action == "destination.replayed")
        .map(|entry| (entry.actor_kind.as_str(), entry.change.as_ref().unwrap()))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        (told[0].0, &told[0].1["code"], &told[0].1["deliveries"]),
        ("user", &json!("200"), &json!(1))
    );
    assert_eq!((told[1].0, &told[1].1["until"]), ("token", &json!(four)));
}

#[sqlx::test]
async fn a_webhook_without_a_maximum_age_gets_expired_ones_again(pool: PgPool) {
    let (app, double) = (TestApp::start(pool).await, Double::start().await);
    let id = destination(&app, &double.url, |one| {
        one.platform = "webhook".to_owned();
        let secrets = config::load(None).unwrap().secrets;
        let settings = json!({ "url": "https://hooks.shop.example/x", "secret": WEBHOOK_SECRET });
        let sealer = Sealer::new(&secrets, Some([0; 32])).unwrap();
        one.settings_sealed = seal_settings(
            &settings.to_string().into(),
            one.property_id,
            one.destination_id,
            &sealer,
        )
        .unwrap();
    })
    .await;
    let program = writer(&app).await;
    // Sealed by a key that this service has not: set anew, it is read.
    let settings = json!({ "settings": { "url": "https://hooks.shop.example/x", "secret": WEBHOOK_SECRET } });
    let set = program
        .ask(Method::PATCH, &format!("/destinations/{id}"), Some(&settings))
        .await;
    assert_eq!(set.status, 200, "{set:?}");
    app.session("v-1", 1.0, "utm_source=x").await;
    app.send("purchase", &consented("o-1", "v-1")).await;
    becomes(&app, "o-1", &[("accepted", None)]).await;
    ended(&app, id, &[("o-1", "expired", "503", 5, -1)]).await;
    let again = program
        .post(
            &format!("/destinations/{id}/replay"),
            json!({ "state": "expired" }),
        )
        .await;
    assert_eq!(
        again.body,
        json!({ "state": "expired", "count": 1, "dry_run": false })
    );
    becomes(&app, "o-1", &[("accepted", None)]).await;
}

#[sqlx::test]
async fn lists_go_on_where_they_stopped(pool: PgPool) {
    let (app, double) = (TestApp::start(pool.clone()).await, Double::start().await);
    let mut ids = Vec::new();
    for n in 0..3 {
        app.clock.advance(TimeDelta::milliseconds(1));
        let id = destination(&app, &double.url, |one| one.name = format!("d-{n}")).await;
        ids.push(id.to_string());
    }
    let program = writer(&app).await;
    let listed = async |query: &str| {
        let page = program.get(&format!("/destinations{query}")).await.body;
        let ids = page["data"].as_array().unwrap().iter();
        let ids: Vec<String> = ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (ids, page["next_cursor"].as_str().map(str::to_owned))
    };
    let (first, cursor) = listed("?limit=2").await;
    assert_eq!(first, ids[..2]);
    let rest = listed(&format!("?limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(rest, (ids[2..].to_vec(), None));
    program
        .ask(Method::DELETE, &format!("/destinations/{}", ids[0]), None)
        .await;
    assert_eq!(listed("").await.0, ids[1..]);
    assert_eq!(listed("?removed=true").await.0, ids);
    let gone = program.get(&format!("/destinations/{}", ids[0])).await;
    assert!(gone.body["removed_at"].is_string(), "{gone:?}");
    for path in ["pause", "resume", "test", "replay"] {
        let refused = program
            .post(&format!("/destinations/{}/{path}", ids[0]), json!({}))
            .await;
        assert_eq!(refused.status, 404, "{path}");
    }
    let all = json_of(&run(&pool, &["destination", "list", "--json"], ""));
    let removed = json_of(&run(&pool, &["destination", "list", "--removed", "--json"], ""));
    assert_eq!(
        (all.as_array().unwrap().len(), removed.as_array().unwrap().len()),
        (2, 3)
    );
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let pages = format!("/dashboard/properties/{}/destinations", app.property_id);
    assert!(!viewer.get(&pages).await.text.contains("d-0"));
    assert!(
        viewer
            .get(&format!("{pages}?removed=1"))
            .await
            .text
            .contains("d-0")
    );
    let page = viewer.get(&format!("{pages}?after={}", ids[1])).await.text;
    assert!(page.contains("d-2") && !page.contains("d-1"));
}

#[sqlx::test]
async fn deliveries_are_told_by_conversion_and_by_state(pool: PgPool) {
    let (app, double) = (TestApp::start(pool.clone()).await, Double::start().await);
    let id = destination(&app, &double.url, |_| ()).await;
    app.session("v-1", 1.0, "utm_source=x").await;
    let first = app.send("purchase", &consented("o-1", "v-1")).await;
    let event_id = first.body["event_id"].as_str().unwrap().to_owned();
    becomes(&app, "o-1", &[("accepted", None)]).await;
    // Another sender's word for its conversion is this one's id.
    app.send("lead", &consented(&event_id, "nobody")).await;
    becomes(&app, &event_id, &[("suppressed", Some("not_matched"))]).await;
    let viewer = Person::signed_in(&app, Role::Viewer).await;
    let base = format!("/dashboard/properties/{}", app.property_id);
    let page = viewer.get(&format!("{base}/conversions/{event_id}")).await.text;
    assert!(
        page.contains("accepted") && !page.contains("not matched"),
        "{page}"
    );
    let program = writer(&app).await;
    let told = program.get(&format!("/conversions/{event_id}/deliveries")).await;
    assert_eq!(told.body["data"].as_array().unwrap().len(), 1, "{told:?}");

    for n in 0..25 {
        app.send("purchase", &consented(&format!("p-{n:02}"), "v-1"))
            .await;
        becomes(&app, &format!("p-{n:02}"), &[("accepted", None)]).await;
    }
    let one = format!("{base}/destinations/{id}");
    let newest = viewer.get(&format!("{one}?state=accepted")).await.text;
    assert!(newest.contains("p-24") && newest.contains("p-05") && !newest.contains("p-04"));
    let next = newest.split("href=\"?state=accepted").nth(1).unwrap();
    let next = next
        .split('"')
        .next()
        .unwrap()
        .replace("&#38;", "&")
        .replace("&amp;", "&");
    let older = viewer.get(&format!("{one}?state=accepted{next}")).await.text;
    assert!(older.contains("p-04") && older.contains("o-1") && !older.contains("p-05"));
    assert!(!older.contains("Older ones"));
    let dead = viewer.get(&format!("{one}?state=nonsense&after=x")).await;
    assert!(dead.status == 200 && dead.text.contains("None is dead"));

    let listed = json_of(&run(
        &pool,
        &["delivery", "list", "--conversion", "o-1", "--json"],
        "",
    ));
    let delivery = &listed[0];
    for (field, value) in [
        ("conversion_id", json!("o-1")),
        ("destination", json!("meta")),
        ("destination_id", json!(id)),
        ("platform", json!("meta")),
        ("state", json!("accepted")),
        ("reason", Value::Null),
        ("attempts", json!(1)),
    ] {
        assert_eq!(delivery[field], value, "{field}");
    }
    for time in ["id", "created_at", "sent_at", "settled_at"] {
        assert!(delivery[time].is_string(), "{time}: {delivery}");
    }
    assert!(delivery["due_at"].is_null() && delivery["deliver_by"].is_string());
}

#[sqlx::test]
async fn a_refused_form_keeps_what_was_typed_but_for_secrets(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let editor = Person::signed_in(&app, Role::Editor).await;
    let pages = format!("/dashboard/properties/{}", app.property_id);
    editor
        .send(&format!("{pages}/attribution-ids"), &[("name", "Second")])
        .await;
    let second: Uuid = sqlx::query_scalar("select attribution_id from streams where name = 'Second'")
        .fetch_one(&pool)
        .await
        .unwrap();
    let stream = second.to_string();
    let form = |settings: &'static str| {
        [
            ("platform", "ga4"),
            ("name", "GA four"),
            ("attribution_id", stream.as_str()),
            ("settings", settings),
            ("topics", "purchase"),
            ("policy", "own_click"),
            ("base_url", "https://ga.example"),
        ]
    };
    let page = editor
        .send(
            &format!("{pages}/destinations"),
            &form(r#"{"api_secret":"very-secret"}"#),
        )
        .await
        .text;
    for kept in [
        "<details class=\"ask\" id=\"create\" open>",
        "settings.measurement_id",
        "value=\"ga4\" selected",
        "value=\"GA four\"",
        &format!("value=\"{stream}\" selected"),
        "value=\"purchase\"",
        "<option selected>own_click",
        "value=\"https://ga.example\"",
    ] {
        assert!(page.contains(kept), "{kept}");
    }
    assert!(!page.contains("very-secret"));
    let good = r#"{"measurement_id":"G-ABC123","api_secret":"very-secret"}"#;
    let made = editor.send(&format!("{pages}/destinations"), &form(good)).await;
    assert_eq!(made.status, 303);
    let (id, of): (Uuid, Uuid) = sqlx::query_as("select destination_id, attribution_id from destinations")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(of, second);

    // The same of a change; what is typed over nothing leaves the settings as they are.
    let one = format!("{pages}/destinations/{id}");
    let before = found(&app, id).await.settings_sealed;
    let change = |settings: &'static str, policy: &'static str| {
        [
            ("name", "GA"),
            ("settings", settings),
            ("topics", "lead=lead_form,"),
            ("policy", policy),
            ("base_url", ""),
        ]
    };
    let refused = editor
        .send(&format!("{one}/settings"), &change("{", "all"))
        .await
        .text;
    assert!(refused.contains("id=\"edit\" open>") && refused.contains("value=\"GA\""));
    assert!(refused.contains("<option selected>all") && refused.contains("are no JSON"));
    assert_eq!(found(&app, id).await.name, "GA four");
    assert_eq!(
        editor
            .send(&format!("{one}/settings"), &change("", "all"))
            .await
            .status,
        303
    );
    let after = found(&app, id).await;
    assert_eq!((after.name.as_str(), after.base_url.as_ref()), ("GA", None));
    assert_eq!(after.settings_sealed, before);
    assert_eq!(after.topics.unwrap()["lead"].as_deref(), Some("lead_form"));
    let page = editor.get(&one).await.text;
    assert!(
        page.contains("value=\"lead=lead_form\""),
        "what the form says can be sent again"
    );
    let log = editor.get(&format!("{pages}/log")).await.text;
    assert!(log.contains("fields: name, base_url, topics, policy"), "{log}");
}

#[sqlx::test]
async fn the_document_has_it_all(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let program = writer(&app).await;
    let document = program.get("/openapi.json").await.body;
    let at = |pointer: &str| document.pointer(pointer).cloned().unwrap_or_default();
    let body = |path: &str, method: &str| {
        at(&format!(
            "/paths/{}/{method}/requestBody/content/application~1json/schema",
            path.replace('/', "~1")
        ))
    };
    for (path, method, fields) in [
        (
            "/destinations",
            "post",
            &["attribution_id", "base_url", "settings"][..],
        ),
        (
            "/destinations/{destination_id}",
            "patch",
            &["base_url", "name", "policy", "settings", "topics"],
        ),
        (
            "/destinations/{destination_id}/replay",
            "post",
            &["code", "dry_run", "since", "state", "until"],
        ),
    ] {
        let schema = body(path, method);
        let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let schema = at(&format!("/components/schemas/{name}"));
        for field in fields {
            assert!(
                schema["properties"][field].is_object(),
                "{method} {path}: {field} in {schema}"
            );
        }
    }
    for (path, names) in [
        (
            "/destinations",
            &["limit", "cursor", "removed", "attribution_id"][..],
        ),
        ("/destinations/{destination_id}/ledger", &["since", "until"]),
    ] {
        let parameters = at(&format!("/paths/{}/get/parameters", path.replace('/', "~1")));
        let parameters = parameters.to_string();
        for name in names {
            assert!(
                parameters.contains(&format!("\"name\":\"{name}\"")),
                "{path}: {name}"
            );
        }
    }
    let ledger = at("/components/schemas/Ledger/properties");
    assert!(
        ledger["balanced"].is_object() && ledger["promised"].is_object(),
        "{ledger}"
    );
    let trouble = at("/components/schemas/Trouble");
    assert!(
        trouble.to_string().contains("destination_unreadable"),
        "{trouble}"
    );
}
