//! Browser events: what they make of visitors, sessions and conversions.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use trustdata::platform::config;
use trustdata::platform::secrets::{Sealer, key_of_database, row};

use crate::support::{Answer, TestApp, now, purchase};

const AD: &str = "https://shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=abc";
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// All sessions, oldest first.
async fn sessions(app: &TestApp) -> Vec<Value> {
    sqlx::query_scalar("select to_jsonb(s) from sessions s order by started_at, visitor_id")
        .fetch_all(&app.pool)
        .await
        .unwrap()
}

fn visitor(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["visitor_id"].as_str().unwrap().to_owned()
}

#[sqlx::test]
async fn a_page_view_then_a_webhook_is_a_match(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let answer = app
        .tell(
            "page_view",
            json!({ "page_location": AD, "consent": { "analytics": true } }),
        )
        .await;
    let visitor = visitor(&answer);
    assert_eq!(uuid::Uuid::parse_str(&visitor).unwrap().get_version_num(), 4);
    assert_eq!(answer.body, json!({ "visitor_id": visitor }));
    assert_eq!(answer.header("content-type"), "application/json");
    app.clock.advance(TimeDelta::minutes(5));
    let mut body = purchase("O-1");
    body["visitor_id"] = json!(visitor);
    let answer = app.send("purchase", &body).await;
    let attribution = &answer.body["attribution"];
    assert_eq!(attribution["reason"], "matched", "{answer:?}");
    assert_eq!(
        [&attribution["campaign"], &attribution["click_id"]],
        [&json!("spring"), &json!("gclid")]
    );
}

#[sqlx::test]
async fn webhooks_need_not_be_enabled(pool: PgPool) {
    let app = TestApp::start(pool).await;
    sqlx::query("update streams set webhooks_enabled = false")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(app.tell("login", json!({})).await.status, 200);
}

#[sqlx::test]
async fn events_make_one_session(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let told = |minute: i64| json!({ "visitor_id": "v-1", "event_time": now().timestamp() - 3600 + minute * 60, "page_referrer": "" });
    app.tell("page_view", told(0)).await;
    app.tell("view_item", told(5)).await;
    app.tell("page_view", told(10)).await;
    let sessions = sessions(&app).await;
    assert_eq!(sessions.len(), 1);
    assert_eq!(
        [
            &sessions[0]["page_views"],
            &sessions[0]["direct"],
            &sessions[0]["visitor_id"]
        ],
        [&json!(2), &json!(true), &json!("v-1")]
    );
}

#[sqlx::test]
async fn what_is_kept_is_what_the_visitor_agreed_to(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let fields = |visitor: &str, analytics: Value, advertising: Value| {
        json!({ "visitor_id": visitor, "page_location": AD, "page_referrer": "https://news.example/a?b=c", "raw_user_agent": CHROME,
                "consent": { "analytics": analytics, "advertising": advertising },
                "browser_cookies": { "_fbp": "fb.1.2", "_ga": 5, "x": "y" } })
    };
    let send = async |fields: Value| {
        let request = app
            .page()
            .header("host", "t.shop.example")
            .header("origin", "https://shop.example")
            .header("cookie", "_fbc=fb.1.3; _fbp=other; session=secret");
        visitor(&Answer::of(request.body(app.event("page_view", &fields).to_string())).await)
    };
    assert_eq!(send(fields("a", json!(true), json!(true))).await, "a");
    assert_eq!(send(fields("b", json!(true), json!(false))).await, "b");
    assert_eq!(send(fields("c", json!(null), json!(null))).await, "c");
    assert!(
        send(fields("d", json!(false), json!(null)))
            .await
            .starts_with("fp_")
    );
    let sessions = sessions(&app).await;
    let of = |visitor: &str| {
        sessions
            .iter()
            .find(|session| session["visitor_id"].as_str().unwrap().starts_with(visitor))
            .unwrap()
    };
    assert_eq!(
        of("a")["browser_ids"],
        json!({ "_fbp": "fb.1.2", "_fbc": "fb.1.3" })
    );
    assert_eq!(of("b")["browser_ids"], json!({}));
    for (visitor, sealed, click_ids) in [
        ("a", true, json!({ "gclid": "abc" })),
        ("b", true, json!({ "gclid": "abc" })),
        ("c", false, json!({})),
        ("fp_", false, json!({})),
    ] {
        let session = of(visitor);
        assert_eq!(!session["client_sealed"].is_null(), sealed, "{visitor}");
        assert_eq!(session["click_ids"], click_ids, "{visitor}");
        assert_eq!(
            [&session["campaign"], &session["source"], &session["device"]],
            [&json!("spring"), &json!("google"), &json!("desktop")],
            "{visitor}"
        );
    }
    assert_eq!(of("c")["referrer"], "https://news.example");
    assert!(!of("c").to_string().contains("abc"), "{}", of("c"));
}

#[sqlx::test]
async fn an_id_of_ours_lasts_a_day(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let told = || json!({ "raw_user_agent": CHROME });
    let first = visitor(&app.tell("page_view", told()).await);
    assert!(first.starts_with("fp_") && first.len() == 35, "{first}");
    app.clock.advance(TimeDelta::hours(13));
    assert_eq!(visitor(&app.tell("page_view", told()).await), first);
    let other =
        json!({ "raw_user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0" });
    assert_ne!(visitor(&app.tell("page_view", other).await), first);
    app.clock.advance(TimeDelta::hours(2));
    assert_ne!(visitor(&app.tell("page_view", told()).await), first);
    app.clock.advance(TimeDelta::days(2));
    visitor(&app.tell("page_view", told()).await);
    let days: Vec<String> = sqlx::query_scalar("select day::text from daily_salts order by day")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    // No salt of a day before yesterday is left.
    assert_eq!(days, ["2026-11-04"]);
}

#[sqlx::test]
async fn two_instances_make_the_same_id(pool: PgPool) {
    let one = TestApp::start(pool.clone()).await;
    let other = TestApp::start(pool).await;
    let event = one.event("login", &json!({})).to_string();
    let first = visitor(&Answer::of(one.page().body(event.clone())).await);
    assert_eq!(visitor(&Answer::of(other.page().body(event)).await), first);
}

#[sqlx::test]
async fn consent_makes_one_visitor_of_two_ids(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let anonymous = visitor(&app.tell("page_view", json!({ "page_location": AD })).await);
    app.clock.advance(TimeDelta::minutes(1));
    let link = json!({ "previous_visitor_id": anonymous, "new_visitor_id": "v-1", "visitor_id": "v-1", "reason": "consent_upgrade",
                       "consent": { "analytics": true } });
    assert_eq!(visitor(&app.tell("identity_link", link).await), "v-1");
    let mut body = purchase("O-1");
    body["visitor_id"] = json!("v-1");
    let answer = app.send("purchase", &body).await;
    assert_eq!(answer.body["attribution"]["campaign"], "spring", "{answer:?}");
    for (previous, new) in [("v-1", "v-2"), ("v-1", "fp_1"), ("fp_1", "fp_2"), ("", "v-1")] {
        let link = json!({ "previous_visitor_id": previous, "new_visitor_id": new });
        let answer = app.tell("identity_link", link).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (422, "validation_failed"),
            "{previous} {new}"
        );
    }
    assert_eq!(app.count("visitor_links").await, 1);
}

#[sqlx::test]
async fn a_browser_and_a_back_end_tell_of_one_purchase(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let consent = json!({ "analytics": true });
    let told = |id: &str| {
        let mut told = purchase(id);
        told["visitor_id"] = json!("v-1");
        told["consent"] = consent.clone();
        told["user_data"] = json!({ "email": "jane@example.com" });
        told
    };
    let page = |id: &str| {
        let mut page = told(id);
        page["page_location"] = json!(AD);
        page["event_time"] = json!(now().timestamp());
        page["lib"] = json!("trustdata.js");
        page["screen_resolution"] = json!("1920x1080");
        page
    };
    assert_eq!(visitor(&app.tell("purchase", page("O-1")).await), "v-1");
    let repeat = app.send("purchase", &told("O-1")).await;
    assert_eq!(repeat.body["duplicate"], true, "{repeat:?}");
    assert_eq!(repeat.body["differs"], Value::Null, "{repeat:?}");
    // The page view that came with it is what it is credited to.
    assert_eq!(repeat.body["attribution"]["campaign"], "spring");
    let first = app.send("purchase", &told("O-2")).await;
    assert_eq!(first.body["duplicate"], false);
    assert_eq!(visitor(&app.tell("purchase", page("O-2")).await), "v-1");
    let kept: Vec<Value> = sqlx::query_scalar("select to_jsonb(c) from conversions c order by conversion_id")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(
        [&kept[0]["source"], &kept[1]["source"]],
        [&json!("sdk"), &json!("webhook")]
    );
    let payload = kept[0]["payload"].to_string();
    assert!(
        !payload.contains("jane") && !payload.contains("1920"),
        "{payload}"
    );
}

/// The customer's data of the one conversion, opened.
async fn personal(app: &TestApp) -> Value {
    let (event_id, sealed): (uuid::Uuid, Vec<u8>) =
        sqlx::query_as("select event_id, personal_sealed from conversions")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    let mut conn = app.pool.acquire().await.unwrap();
    let key = key_of_database(&mut conn, now()).await.unwrap();
    let sealer = Sealer::new(&config::load(None).unwrap().secrets, Some(key)).unwrap();
    let clear = sealer.open(&sealed, &row(app.property_id, event_id.as_bytes()));
    serde_json::from_slice(&clear.unwrap()).unwrap()
}

#[sqlx::test]
async fn each_door_adds_what_it_knows_of_the_customer(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let with = |user_data: Value| {
        let mut told = purchase("O-1");
        told["visitor_id"] = json!("v-1");
        told["user_data"] = user_data;
        told
    };
    let first = with(json!({ "email": "a@b.example", "address": { "city": "Bonn" } }));
    app.send("purchase", &first).await;
    let page = with(
        json!({ "email": "other@b.example", "phone": "+4922812345", "address": { "city": "Kiel", "country": "DE" } }),
    );
    app.tell("purchase", page).await;
    // The same door again adds nothing.
    app.send("purchase", &with(json!({ "first_name": "Jane" }))).await;
    let merged = json!({ "email": "a@b.example", "phone": "+4922812345", "address": { "city": "Bonn", "country": "DE" } });
    assert_eq!(personal(&app).await["user_data"], merged);
    // Nor does one that comes when personal data may be past its time.
    app.clock.advance(TimeDelta::days(7));
    app.tell("purchase", with(json!({ "last_name": "Doe" }))).await;
    assert_eq!(personal(&app).await["user_data"], merged);
}

#[sqlx::test]
async fn what_became_richer_is_planned_anew(pool: PgPool) {
    // The worker takes such rows at once: what was there is written down beside.
    for statement in [
        "create table planned_anew (event_id uuid)",
        "create function write_down() returns trigger language plpgsql as
         $$ begin insert into planned_anew values (new.event_id); return null; end $$",
        "create trigger write_down after insert on outbox for each row when (new.again) execute function write_down()",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let app = TestApp::start(pool).await;
    let with = |user_data: Value| {
        let mut told = purchase("O-1");
        told["user_data"] = user_data;
        told
    };
    app.send("purchase", &with(json!({}))).await;
    app.tell("purchase", with(json!({ "email": "a@b.example" })))
        .await;
    assert_eq!(
        app.count("planned_anew join conversions using (event_id)").await,
        1
    );
    // What adds nothing plans nothing.
    app.tell("purchase", with(json!({ "email": "other@b.example" })))
        .await;
    app.send("purchase", &with(json!({ "phone": "+4922812345" })))
        .await;
    assert_eq!(app.count("planned_anew").await, 1);
}

#[sqlx::test]
async fn what_comes_at_once_from_many_is_all_kept(pool: PgPool) {
    let one = TestApp::start(pool.clone()).await;
    one.send("purchase", &purchase("O-1")).await;
    let other = TestApp::start(pool).await;
    let known = [
        ("email", json!("a@b.example")),
        ("phone", json!("+4922812345")),
        ("first_name", json!("Jane")),
        ("last_name", json!("Doe")),
        ("address", json!({ "city": "Bonn" })),
        ("address", json!({ "country": "DE" })),
        ("address", json!({ "street": "Am Hof 1" })),
        ("address", json!({ "postal_code": "53113" })),
    ];
    let page = |place: usize, (name, value): &(&str, Value)| {
        let mut told = purchase("O-1");
        told["user_data"] = json!({ *name: value });
        // Two instances, with writers of their own.
        let app = if place.is_multiple_of(2) { &one } else { &other };
        Answer::of(app.page().body(one.event("purchase", &told).to_string()))
    };
    let all = known.iter().enumerate().map(|(place, told)| page(place, told));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let kept = &personal(&one).await["user_data"];
    for (name, value) in &known {
        match value.as_object() {
            Some(address) => {
                for (part, value) in address {
                    assert_eq!(&kept[name][part], value, "{kept}");
                }
            }
            None => assert_eq!(&kept[name], value, "{kept}"),
        }
    }
}

#[sqlx::test]
async fn an_id_of_ours_is_nobodys_to_claim(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let claimed = format!("fp_{}", "0".repeat(32));
    let told = |consent: Value| json!({ "visitor_id": claimed, "consent": consent });
    let made = visitor(&app.tell("page_view", told(json!({}))).await);
    assert!(made.starts_with("fp_") && made != claimed, "{made}");
    let recognised = visitor(&app.tell("page_view", told(json!({ "analytics": true }))).await);
    assert!(!recognised.starts_with("fp_"), "{recognised}");
}

#[sqlx::test]
async fn cookies_of_ad_platforms_are_the_sites_own_alone(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let consent = json!({ "analytics": true, "advertising": true });
    for (visitor, host) in [("v-1", "t.shop.example"), ("v-2", "t.other.example")] {
        let event = app.event("page_view", &json!({ "visitor_id": visitor, "consent": consent }));
        let request = app
            .page()
            .header("host", host)
            .header("origin", "https://www.shop.example")
            .header("cookie", "_fbp=fb.1.2");
        assert_eq!(Answer::of(request.body(event.to_string())).await.status, 200);
    }
    let kept: Vec<Value> = sqlx::query_scalar("select browser_ids from sessions order by visitor_id")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(kept, [json!({ "_fbp": "fb.1.2" }), json!({})]);
}

#[sqlx::test]
async fn a_web_pixel_in_a_sandbox_is_heard(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let asked = app
        .http
        .request(reqwest::Method::OPTIONS, app.url("/api/events"))
        .header("origin", "null")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let asked = Answer::of(asked).await;
    assert_eq!(
        (asked.status.as_u16(), asked.header("access-control-allow-origin")),
        (204, "null")
    );
    let consent =
        json!({ "analytics": true, "advertising": true, "preferences": true, "sale_of_data": true });
    let mut event = app.event(
        "purchase",
        &json!({ "conversion_id": "O-1", "value": 99.0, "currency": "USD", "consent": consent }),
    );
    event["page_location"] = json!(AD);
    event["visitor_id"] = json!("v-1");
    let told = app
        .http
        .post(app.url("/api/events"))
        .header("origin", "null")
        .header("cookie", "_trdt_vid=another; _fbp=fb.1.2")
        .json(&event);
    let told = Answer::of(told).await;
    assert_eq!(visitor(&told), "v-1");
    assert_eq!(told.header("access-control-allow-origin"), "null");
    assert_eq!(told.header("set-cookie"), "", "a sandbox is of no site");
    let credited: (String, String) =
        sqlx::query_as("select campaign, conversion_id from credits join conversions using (event_id)")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(credited, ("spring".to_owned(), "O-1".to_owned()));
}

#[sqlx::test]
async fn each_name_makes_its_kind(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let with = |id: &str| json!({ "conversion_id": id, "visitor_id": "v-1" });
    let mut refund = with("R-1");
    refund["value"] = json!(5);
    refund["currency"] = json!("EUR");
    app.tell("refund", refund).await;
    app.tell("sign_up", with("S-1")).await;
    app.tell("generate_lead", with("L-1")).await;
    app.tell("begin_checkout", with("B-1")).await;
    app.tell("add_to_cart", json!({ "visitor_id": "v-1" })).await;
    let kept: Vec<(String, Option<String>)> =
        sqlx::query_as("select topic, event_name from conversions order by topic")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    let named = |topic: &str, name: Option<&str>| (topic.to_owned(), name.map(str::to_owned));
    assert_eq!(
        kept,
        [
            named("custom", Some("begin_checkout")),
            named("lead", None),
            named("refund", None),
            named("signup", None)
        ]
    );
    for order in ["purchase", "refund"] {
        let answer = app
            .tell(
                order,
                json!({ "value": 5, "currency": "EUR", "visitor_id": "v-1" }),
            )
            .await;
        assert_eq!(answer.faults(), ["conversion_id required"]);
    }
}

#[sqlx::test]
async fn a_lead_that_is_sent_again_is_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let lead = |at: i64| json!({ "visitor_id": "v-1", "event_time": at });
    for at in [
        now().timestamp() - 5,
        now().timestamp() - 5,
        now().timestamp() - 3,
    ] {
        assert_eq!(app.tell("generate_lead", lead(at)).await.status, 200);
    }
    // A clock that lies says the same again too.
    for _ in 0..2 {
        app.clock.advance(TimeDelta::seconds(2));
        assert_eq!(app.tell("generate_lead", lead(7)).await.status, 200);
    }
    assert_eq!(app.count("conversions").await, 3);
}

#[sqlx::test]
async fn clocks_that_lie_are_not_believed(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let decade = 315_360_000;
    for (visitor, event_time) in [
        ("ahead", json!(now().timestamp() + decade)),
        ("behind", json!(now().timestamp() - decade)),
        ("odd", json!({ "a": 1 })),
        ("hour", json!(now().timestamp() - 3600)),
    ] {
        let answer = app
            .tell(
                "page_view",
                json!({ "visitor_id": visitor, "event_time": event_time }),
            )
            .await;
        assert_eq!(answer.status, 200, "{visitor}");
    }
    let at: Vec<(String, i64)> = sqlx::query_as(
        "select visitor_id, extract(epoch from started_at)::bigint from sessions order by visitor_id",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let expected = [("ahead", 0), ("behind", 0), ("hour", -3600), ("odd", 0)]
        .map(|(visitor, offset)| (visitor.to_owned(), now().timestamp() + offset));
    assert_eq!(at, expected);
}

#[sqlx::test]
async fn arrays(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let mut other = app.event("login", &json!({}));
    other["attribution_id"] = json!(uuid::Uuid::new_v4());
    let consent = json!({ "analytics": true });
    let body = json!([
        { "event_name": "login" },
        app.event("page_view", &json!({ "consent": consent, "page_location": AD })),
        other,
        app.event("purchase", &json!({ "consent": consent, "conversion_id": "O-1", "value": 1, "currency": "EUR" })),
        app.event("purchase", &json!({ "value": 1 })),
    ]);
    let answer = Answer::of(app.page().body(body.to_string())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        [&answer.body["accepted"], &answer.body["rejected"]],
        [&json!(2), &json!(3)]
    );
    let results = answer.body["results"].as_array().unwrap();
    let codes: Vec<(&str, &Value)> = results
        .iter()
        .map(|result| (result["status"].as_str().unwrap(), &result["errors"][0]["code"]))
        .collect();
    assert_eq!(
        codes,
        [
            ("validation_error", &json!("required")),
            ("success", &Value::Null),
            ("validation_error", &json!("another_attribution_id")),
            ("success", &Value::Null),
            ("validation_error", &json!("required")),
        ]
    );
    // One visitor, though neither event told an id.
    let sessions = sessions(&app).await;
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0]["visitor_id"], answer.body["visitor_id"]);
    let campaign: String = sqlx::query_scalar("select campaign from credits")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(campaign, "spring");

    let none = Answer::of(app.page().body(json!([{}, 5]).to_string())).await;
    assert_eq!(none.status, 422);
    assert_eq!(
        [&none.body["accepted"], &none.body["rejected"]],
        [&json!(0), &json!(2)]
    );
    for (count, code) in [(0, "events empty"), (101, "events too_many")] {
        let events = vec![app.event("login", &json!({})); count];
        let answer = Answer::of(app.page().body(json!(events).to_string())).await;
        assert_eq!(answer.faults(), [code]);
    }
    let unknown = json!([{ "event_name": "login", "attribution_id": uuid::Uuid::new_v4() }]);
    let answer = Answer::of(app.page().body(unknown.to_string())).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (404, "unknown_attribution_id")
    );
}

#[sqlx::test]
async fn a_crawlers_visit_is_answered_and_not_kept(pool: PgPool) {
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _here = metrics::set_default_local_recorder(&metrics);
    let app = TestApp::start(pool).await;
    let googlebot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    let send = async |name: &str, header: &str, by_script: Option<&str>| {
        let fields = json!({ "consent": { "analytics": true }, "visitor_id": "v-1", "raw_user_agent": by_script,
                             "conversion_id": "O-1", "value": 1, "currency": "EUR" });
        let request = app
            .page()
            .header("user-agent", header)
            .header("host", "t.shop.example")
            .header("origin", "https://shop.example");
        let answer = Answer::of(request.body(app.event(name, &fields).to_string())).await;
        assert_eq!(visitor(&answer), "v-1");
        answer.header("set-cookie").to_owned()
    };
    for (header, by_script) in [
        (googlebot, None),
        (CHROME, Some(googlebot)),
        (googlebot, Some(googlebot)),
    ] {
        assert_eq!(send("page_view", header, by_script).await, "");
    }
    // What is reported as a conversion counts, whoever reports it.
    assert_eq!(send("purchase", googlebot, None).await, "");
    assert_eq!(app.count("sessions").await, 0);
    assert_eq!(app.count("conversions").await, 1);
    // What relays a page's events is not what the page was read with.
    assert_ne!(send("page_view", "GuzzleHttp/7", Some(CHROME)).await, "");
    assert_eq!(app.count("sessions").await, 1);
    let text = metrics.handle().render();
    for counted in [r#"outcome="bot"} 4"#, r#"outcome="stored"} 1"#] {
        let line = format!("trustdata_collect_events_total{{{counted}");
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[sqlx::test]
async fn an_event_without_a_page_is_of_the_page_that_sent_it(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let mut event = app.event("login", &json!({ "visitor_id": "v-1" }));
    event.as_object_mut().unwrap().remove("page_location");
    let request = app.page().header("referer", AD).body(event.to_string());
    assert_eq!(Answer::of(request).await.status, 200);
    event["visitor_id"] = json!("v-2");
    assert_eq!(Answer::of(app.page().body(event.to_string())).await.status, 200);
    let sessions = sessions(&app).await;
    assert_eq!(sessions[0]["campaign"], "spring");
    assert!(!sessions[0]["landing_url"].to_string().contains("abc"));
    assert_eq!(
        [&sessions[1]["direct"], &sessions[1]["landing_url"]],
        [&json!(true), &json!("")]
    );
}
