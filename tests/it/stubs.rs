//! The stubs of the platforms: what we send is taken, what is broken is not, and what they answer is understood.

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use trustdata::forwarding::parcel::{Order, Parcel, UserData};
use trustdata::forwarding::platforms::{
    Answer, Endpoint, Event, Later, Name, Request, Sending, Verdict, oauth,
};
use trustdata::platform::clock::Clock;
use trustdata::stubs::{self, Options};

use crate::parcels::{cases, full, platform, settings};
use crate::support::now;

/// What the webhook of these tests is signed with.
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn start() -> Router {
    let options = Options {
        clock: Clock::fixed(now()),
        record: None,
        webhook_key: WEBHOOK_SECRET.parse().unwrap(),
    };
    stubs::router(options).await.unwrap()
}

/// A request for the stub of this platform.
fn request(name: Name, events: &[Event]) -> Request {
    let endpoint = Endpoint {
        base_url: format!("http://stub.example/{name}"),
        ..Endpoint::of(name)
    };
    let token = SecretString::from("fresh-token".to_owned());
    let sending = Sending {
        endpoint: &endpoint,
        access_token: Some(&token),
        now: now(),
    };
    platform(name).request(&sending, events)
}

/// An answer, and the body that it came with.
struct Answered {
    status: u16,
    headers: axum::http::HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn answer(&self) -> Answer<'_> {
        Answer {
            status: self.status,
            headers: &self.headers,
            body: &self.body,
            cut: false,
            now: now(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends a request as it is, or with another body.
async fn send(stub: &Router, request: &Request, body: Option<String>) -> Answered {
    let mut builder = axum::http::Request::builder()
        .method(request.method.clone())
        .uri(request.url.expose_secret());
    for (name, value) in &request.headers {
        builder = builder.header(*name, value.expose());
    }
    let body = body.unwrap_or_else(|| request.body.expose_secret().to_owned());
    call(stub, builder.body(Body::from(body)).unwrap()).await
}

async fn call(stub: &Router, request: axum::http::Request<Body>) -> Answered {
    let (head, body) = stub.clone().oneshot(request).await.unwrap().into_parts();
    Answered {
        status: head.status.as_u16(),
        headers: head.headers,
        body: to_bytes(body, 64 << 20).await.unwrap().to_vec(),
    }
}

/// Tells a stub what to do.
async fn tell(stub: &Router, setting: Value) -> Answered {
    let request = axum::http::Request::post("/_control")
        .body(Body::from(setting.to_string()))
        .unwrap();
    call(stub, request).await
}

/// The last request that the stubs got.
async fn last(stub: &Router) -> Value {
    let request = axum::http::Request::get("/_requests")
        .body(Body::empty())
        .unwrap();
    let mut requests = call(stub, request).await.json()["requests"].take();
    requests.as_array_mut().unwrap().pop().unwrap()
}

fn events(name: Name, ids: &[&str]) -> Vec<Event> {
    let of = |id: &&str| {
        let parcel = Parcel {
            conversion_id: (*id).to_owned(),
            ..full()
        };
        platform(name).prepare(&parcel, now()).unwrap()
    };
    ids.iter().map(of).collect()
}

#[tokio::test]
async fn what_we_send_is_taken() {
    let stub = start().await;
    let mut taken = 0;
    for name in Name::ALL {
        let platform = platform(name);
        for (case, parcel) in cases() {
            let Ok(event) = platform.prepare(&parcel, now()) else {
                continue;
            };
            let events = [event];
            let answered = send(&stub, &request(name, &events), None).await;
            let entry = last(&stub).await;
            assert_eq!(entry["faults"], json!([]), "{name} {case}");
            assert_eq!(entry["verdict"], "accepted", "{name} {case}");
            let verdict = platform.verdict(&answered.answer(), &events);
            assert!(
                matches!(&verdict, Verdict::Accepted { failures, .. } if failures.is_empty()),
                "{name} {case}: {verdict:?}"
            );
            taken += 1;
        }
    }
    assert!(taken > 80, "{taken} cases were sent");
}

/// A fault at a place of the body, and what the stub says of it.
#[tokio::test]
async fn what_is_broken_is_not_taken() {
    let clear = json!("jane@example.com");
    let capitals = json!("C17C025FB9ED44EAE8A9D5C9DF0312AF5C6161BD79BD669692364FC5ECAF108A");
    let old = |days: i64| (now() - TimeDelta::days(days)).timestamp();
    let e = "/data/0";
    let g = "/events/0";
    let table: Vec<(Name, String, Value, &str)> = vec![
        (
            Name::Meta,
            format!("{e}/user_data/em/0"),
            clear.clone(),
            "user_data.em",
        ),
        (
            Name::Meta,
            format!("{e}/user_data/ph/0"),
            capitals.clone(),
            "user_data.ph",
        ),
        (
            Name::Meta,
            format!("{e}/user_data/client_ip_address"),
            json!("12ca17b49af2289436f303e0166030a21e525d266e209267433801a8fd4071a0"),
            "client_ip_address",
        ),
        (
            Name::Meta,
            format!("{e}/user_data/fbc"),
            json!("fb.1.x.y"),
            "user_data.fbc",
        ),
        (
            Name::Meta,
            format!("{e}/user_data/client_user_agent"),
            Value::Null,
            "client_user_agent",
        ),
        (
            Name::Meta,
            format!("{e}/event_time"),
            json!(old(8)),
            "event_time is too old",
        ),
        (
            Name::Meta,
            format!("{e}/event_time"),
            json!("2026-11-01"),
            "event_time must be an integer",
        ),
        (
            Name::Meta,
            format!("{e}/event_source_url"),
            Value::Null,
            "event_source_url",
        ),
        (
            Name::Meta,
            format!("{e}/event_id"),
            Value::Null,
            "event_id is required",
        ),
        (
            Name::Meta,
            format!("{e}/custom_data/value"),
            Value::Null,
            "custom_data.value",
        ),
        (
            Name::Meta,
            format!("{e}/custom_data/value"),
            json!("99.90"),
            "custom_data.value must be a number",
        ),
        (
            Name::Meta,
            format!("{e}/custom_data/currency"),
            json!("eur"),
            "custom_data.currency",
        ),
        (
            Name::Meta,
            format!("{e}/user_data"),
            json!({ "country": ["79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"] }),
            "customer information",
        ),
        (
            Name::Meta,
            format!("{e}/data_processing_options"),
            json!(["LIMITED"]),
            "data_processing_options",
        ),
        (Name::Meta, "/data".to_owned(), json!([]), "1 to 1000"),
        (
            Name::GoogleDataManager,
            format!("{g}/userData/userIdentifiers/0/emailAddress"),
            clear.clone(),
            "emailAddress",
        ),
        (
            Name::GoogleDataManager,
            format!("{g}/userData/userIdentifiers/2/address/regionCode"),
            json!("us"),
            "regionCode",
        ),
        (
            Name::GoogleDataManager,
            format!("{g}/userData/userIdentifiers/2/address/givenName"),
            json!("Mary"),
            "givenName",
        ),
        (
            Name::GoogleDataManager,
            format!("{g}/eventTimestamp"),
            json!(1_700_000_000),
            "eventTimestamp",
        ),
        (
            Name::GoogleDataManager,
            format!("{g}/transactionId"),
            Value::Null,
            "transactionId",
        ),
        (
            Name::GoogleDataManager,
            format!("{g}/conversionValue"),
            json!("1"),
            "conversionValue",
        ),
        (
            Name::GoogleDataManager,
            format!("{g}/currency"),
            Value::Null,
            "currency",
        ),
        (
            Name::GoogleDataManager,
            format!("{g}/consent/adUserData"),
            json!("GRANTED"),
            "consent.adUserData",
        ),
        (
            Name::GoogleDataManager,
            format!("{g}/destinationReferences/0"),
            json!("other"),
            "destinationReferences",
        ),
        (
            Name::GoogleDataManager,
            "/encoding".to_owned(),
            Value::Null,
            "encoding",
        ),
        (
            Name::GoogleDataManager,
            "/destinations/0/operatingAccount/accountId".to_owned(),
            json!("123-456-7890"),
            "accountId",
        ),
        (
            Name::GoogleDataManager,
            format!("{g}/adIdentifiers"),
            json!({ "gbraid": "a", "wbraid": "b" }),
            "more than one click id",
        ),
        (
            Name::TikTok,
            format!("{e}/user/email"),
            clear.clone(),
            "user.email",
        ),
        (
            Name::TikTok,
            format!("{e}/user/country"),
            json!("US"),
            "user.country",
        ),
        (
            Name::TikTok,
            format!("{e}/user/city"),
            json!("San José"),
            "user.city",
        ),
        (Name::TikTok, format!("{e}/page"), Value::Null, "page.url"),
        (
            Name::TikTok,
            format!("{e}/event_time"),
            json!(old(29)),
            "event_time",
        ),
        (
            Name::TikTok,
            format!("{e}/properties/value"),
            json!("1"),
            "properties.value",
        ),
        (
            Name::TikTok,
            "/event_source_id".to_owned(),
            Value::Null,
            "event_source_id",
        ),
        (Name::Ga4, "/client_id".to_owned(), Value::Null, "client_id"),
        (Name::Ga4, "/events/0/name".to_owned(), json!("2nd"), "name"),
        (
            Name::Ga4,
            "/events/0/params/transaction_id".to_owned(),
            Value::Null,
            "transaction_id",
        ),
        (
            Name::Ga4,
            "/events/0/params/coupon".to_owned(),
            json!("x".repeat(101)),
            "coupon is too long",
        ),
        (
            Name::Ga4,
            "/user_data/sha256_email_address/0".to_owned(),
            clear.clone(),
            "sha256_email_address",
        ),
        (
            Name::Ga4,
            "/timestamp_micros".to_owned(),
            json!(old(4) * 1_000_000),
            "timestamp_micros",
        ),
        (
            Name::Ga4,
            "/consent/ad_user_data".to_owned(),
            json!(true),
            "consent.ad_user_data",
        ),
        (
            Name::Microsoft,
            format!("{e}/userData/em"),
            clear.clone(),
            "userData.em",
        ),
        (
            Name::Microsoft,
            format!("{e}/userData/msclkid"),
            json!("x"),
            "userData.msclkid",
        ),
        (
            Name::Microsoft,
            format!("{e}/eventTime"),
            json!(old(8)),
            "eventTime",
        ),
        (
            Name::Microsoft,
            format!("{e}/eventName"),
            Value::Null,
            "eventName",
        ),
        (
            Name::Microsoft,
            format!("{e}/adStorageConsent"),
            json!("GRANTED"),
            "adStorageConsent",
        ),
        (
            Name::LinkedIn,
            "/elements/0/conversion".to_owned(),
            json!("1001"),
            "conversion",
        ),
        (
            Name::LinkedIn,
            "/elements/0/conversionValue/amount".to_owned(),
            json!(99.9),
            "conversionValue.amount",
        ),
        (
            Name::LinkedIn,
            "/elements/0/conversionHappenedAt".to_owned(),
            json!(old(91) * 1000),
            "conversionHappenedAt",
        ),
        (
            Name::LinkedIn,
            "/elements/0/conversionHappenedAt".to_owned(),
            json!(now().timestamp()),
            "conversionHappenedAt",
        ),
        (
            Name::LinkedIn,
            "/elements/0/user/userIds/0/idValue".to_owned(),
            clear.clone(),
            "an email that is no SHA-256",
        ),
        (
            Name::LinkedIn,
            "/elements/0/user".to_owned(),
            json!({}),
            "has no id",
        ),
        (
            Name::Pinterest,
            format!("{e}/user_data/em"),
            json!("12122421314e3c02d8acd5467f1266e839588a1ea2e4da1c2ab81036b7cd62e5"),
            "must be a list",
        ),
        (
            Name::Pinterest,
            format!("{e}/user_data/zp/0"),
            json!("95112"),
            "user_data.zp",
        ),
        (
            Name::Pinterest,
            format!("{e}/custom_data/value"),
            json!(99.9),
            "custom_data.value",
        ),
        (
            Name::Pinterest,
            format!("{e}/event_name"),
            json!("purchase"),
            "event_name",
        ),
        (
            Name::Pinterest,
            format!("{e}/custom_data/tax"),
            json!(1),
            "is no field",
        ),
        (
            Name::Snapchat,
            format!("{e}/event_name"),
            json!("LEAD"),
            "event_name",
        ),
        (
            Name::Snapchat,
            format!("{e}/user_data/em/0"),
            clear.clone(),
            "user_data.em",
        ),
        (
            Name::Snapchat,
            format!("{e}/event_time"),
            json!(old(38)),
            "event_time",
        ),
        (
            Name::Reddit,
            "/data/events/0/user/email".to_owned(),
            clear,
            "user.email",
        ),
        (
            Name::Reddit,
            "/data/events/0/event_at".to_owned(),
            json!(old(8) * 1000),
            "168h",
        ),
        (
            Name::Reddit,
            "/data/events/0/event_at".to_owned(),
            json!(old(-1) * 1000),
            "5m0s",
        ),
        (
            Name::Reddit,
            "/data/events/0/type/tracking_type".to_owned(),
            json!("Purchase"),
            "tracking_type",
        ),
        (
            Name::Reddit,
            "/data/events/0/type/custom_event_name".to_owned(),
            json!("x"),
            "custom_event_name",
        ),
        (Name::Reddit, "/data/events".to_owned(), json!([]), "1 to 1000"),
        (
            Name::Reddit,
            "/data/events/0/user/data_processing_options".to_owned(),
            json!({ "modes": ["LIMITED"] }),
            "modes",
        ),
        (
            Name::Reddit,
            "/data/events/0/metadata/currency".to_owned(),
            Value::Null,
            "come together",
        ),
        (
            Name::Reddit,
            "/data/events/0/type/tracking_type".to_owned(),
            json!("PAGE_VISIT"),
            "metadata.value is not taken",
        ),
        (
            Name::Meta,
            format!("{e}/user_data/fbc"),
            json!("fb.1.1700000000000.x.zz"),
            "user_data.fbc",
        ),
        (
            Name::Meta,
            format!("{e}/data_processing_options"),
            json!(["LDU"]),
            "data_processing_options_country",
        ),
        (
            Name::Meta,
            format!("{e}/custom_data/padding"),
            json!("x".repeat(1 << 20)),
            "at most 1048576 bytes",
        ),
        (Name::Ga4, "/events/0/name".to_owned(), json!("ad_seen"), "name"),
        (
            Name::Ga4,
            "/events/0/params/items/0/item_name".to_owned(),
            json!("x".repeat(101)),
            "items have a value that is too long",
        ),
        (
            Name::LinkedIn,
            "/elements/0/user/externalIds".to_owned(),
            json!(["a", "b"]),
            "externalIds must be one",
        ),
        (Name::Webhook, "/data/value".to_owned(), json!(1), "no signature"),
    ];
    let stub = start().await;
    for (name, place, value, expected) in table {
        let events = events(name, &["ORD-1"]);
        let request = request(name, &events);
        let mut body: Value = serde_json::from_str(request.body.expose_secret()).unwrap();
        let (parent, key) = place.rsplit_once('/').unwrap();
        let parent = body
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("{name} {place}"));
        match (parent, value) {
            (Value::Object(members), Value::Null) => drop(members.remove(key).unwrap()),
            (Value::Object(members), value) => drop(members.insert(key.to_owned(), value)),
            (Value::Array(items), value) => items[key.parse::<usize>().unwrap()] = value,
            _ => panic!("{name} {place}"),
        }
        let answered = send(&stub, &request, Some(body.to_string())).await;
        let entry = last(&stub).await;
        assert_eq!(entry["verdict"], "refused", "{name} {place}");
        let faults = entry["faults"].to_string();
        assert!(faults.contains(expected), "{name} {place}: {faults}");
        // It takes everything without a word, or was not reached by the right sender at all.
        if matches!(name, Name::Ga4 | Name::Webhook) {
            continue;
        }
        let verdict = platform(name).verdict(&answered.answer(), &events);
        assert!(is_refusal(&verdict), "{name} {place}: {verdict:?}");
    }
}

/// They are no stricter than the references either: other senders have more to say than we do.
#[tokio::test]
async fn what_the_references_allow_is_taken() {
    let table = [
        (Name::Meta, "/data/0/user_data/fbc", json!("fb.1.1.other")),
        (
            Name::Meta,
            "/data/0/user_data/fbp",
            json!("fb.2.1700000000000.x.AQYBAQIA"),
        ),
        (
            Name::GoogleDataManager,
            "/events/0/cartData",
            json!({ "merchantId": "1", "items": [{ "merchantProductId": "SKU-1", "quantity": "2", "unitPrice": 1.5 }] }),
        ),
        (
            Name::GoogleDataManager,
            "/events/0/customVariables",
            json!([{ "variable": "size", "value": "L" }]),
        ),
        (
            Name::GoogleDataManager,
            "/events/0/userProperties",
            json!({ "customerType": "NEW" }),
        ),
        (
            Name::Snapchat,
            "/data/0/event_name",
            json!("ACHIEVEMENT_UNLOCKED"),
        ),
        (Name::Pinterest, "/data/0/event_name", json!("start_trial")),
    ];
    let stub = start().await;
    for (name, place, value) in table {
        let request = request(name, &events(name, &["ORD-1"]));
        let mut body: Value = serde_json::from_str(request.body.expose_secret()).unwrap();
        let (parent, key) = place.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[key] = value;
        send(&stub, &request, Some(body.to_string())).await;
        let entry = last(&stub).await;
        assert_eq!(entry["faults"], json!([]), "{name} {place}");
    }
}

/// Not taken: as a whole, or each event by itself.
fn is_refusal(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Accepted { failures, .. } => failures.len() == 1,
        Verdict::Refused { .. } | Verdict::Configuration { .. } => true,
        _ => false,
    }
}

#[tokio::test]
async fn requests_without_credentials_are_not_taken() {
    let stub = start().await;
    for name in Name::ALL {
        let events = events(name, &["ORD-1"]);
        let mut request = request(name, &events);
        request
            .headers
            .retain(|(name, _)| !["authorization", "access-token", "webhook-signature"].contains(name));
        let url = request.url.expose_secret().split("access_token").next().unwrap();
        let url = url.split("&api_secret").next().unwrap().to_owned();
        request.url = SecretString::from(url);
        let body = request
            .body
            .expose_secret()
            .replace("\"access_token\":\"meta-token\",", "");
        let answered = send(&stub, &request, Some(body)).await;
        assert_eq!(last(&stub).await["verdict"], "refused", "{name}");
        let verdict = platform(name).verdict(&answered.answer(), &events);
        match name {
            Name::Ga4 => assert!(matches!(verdict, Verdict::Accepted { .. }), "it never says"),
            Name::Webhook => assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}"),
            _ => assert!(
                matches!(verdict, Verdict::Credentials { .. }),
                "{name} {verdict:?}"
            ),
        }
    }
}

#[tokio::test]
async fn a_platform_in_trouble_is_understood() {
    let stub = start().await;
    for name in Name::ALL {
        let events = events(name, &["ORD-1"]);
        for mode in [
            "rate_limited",
            "server_error",
            "html",
            "token_expired",
            "error_in_200",
            "timeout",
        ] {
            let told = tell(
                &stub,
                json!({ "platform": name.as_str(), "mode": mode, "seconds": 0 }),
            )
            .await;
            assert_eq!(told.status, 200, "{name} {mode}");
            let answered = send(&stub, &request(name, &events), None).await;
            assert_eq!(last(&stub).await["verdict"], mode, "{name}");
            let verdict = platform(name).verdict(&answered.answer(), &events);
            let holds = match (mode, name) {
                ("token_expired", Name::Ga4) | ("error_in_200", Name::Ga4 | Name::Webhook) => {
                    matches!(verdict, Verdict::Accepted { .. })
                }
                ("token_expired", Name::Webhook) => matches!(verdict, Verdict::Retry { .. }),
                ("token_expired", _) => matches!(verdict, Verdict::Credentials { .. }),
                ("error_in_200", _) => match &verdict {
                    Verdict::Accepted { failures, .. } => failures.len() == 1,
                    Verdict::Retry { .. } | Verdict::Refused { .. } => true,
                    _ => false,
                },
                _ => matches!(verdict, Verdict::Retry { .. }),
            };
            assert!(holds, "{name} {mode}: {verdict:?}");
            // It was told so for one request.
            let answered = send(&stub, &request(name, &events), None).await;
            let verdict = platform(name).verdict(&answered.answer(), &events);
            assert!(
                matches!(verdict, Verdict::Accepted { .. }),
                "{name} after {mode}: {verdict:?}"
            );
        }
    }
}

/// What a worker does with a verdict, in small: drops what is named, halves what is not.
async fn deliver(stub: &Router, name: Name, events: Vec<Event>) -> (Vec<String>, Vec<String>) {
    let (mut taken, mut failed) = (Vec::new(), Vec::new());
    let mut waiting = vec![events];
    while let Some(batch) = waiting.pop().filter(|batch| !batch.is_empty()) {
        let answered = send(stub, &request(name, &batch), None).await;
        let named = match platform(name).verdict(&answered.answer(), &batch) {
            Verdict::Accepted { failures, .. } => {
                for (index, event) in batch.into_iter().enumerate() {
                    let bad = failures.iter().any(|failure| failure.index == index);
                    if bad { &mut failed } else { &mut taken }.push(event.dedup_id);
                }
                continue;
            }
            Verdict::Refused { culprits, .. } => culprits,
            other => panic!("{name}: {other:?}"),
        };
        if named.is_empty() {
            let (left, right) = batch.split_at(batch.len() / 2);
            waiting.extend([right.to_vec(), left.to_vec()]);
            continue;
        }
        let bad = |index: usize| named.iter().any(|failure| failure.index == index);
        let (out, rest): (Vec<_>, Vec<_>) = batch.into_iter().enumerate().partition(|(index, _)| bad(*index));
        failed.extend(out.into_iter().map(|(_, event)| event.dedup_id));
        waiting.insert(0, rest.into_iter().map(|(_, event)| event).collect());
    }
    (taken, failed)
}

#[tokio::test]
async fn only_the_bad_event_of_a_batch_fails() {
    let stub = start().await;
    for name in Name::ALL {
        if matches!(name, Name::Ga4 | Name::Webhook) {
            continue;
        }
        tell(
            &stub,
            json!({ "platform": name.as_str(), "mode": "partial", "times": 0, "event_id": "ORD-3" }),
        )
        .await;
        let ids = ["ORD-1", "ORD-2", "ORD-3", "ORD-4", "ORD-5"];
        let (mut taken, failed) = deliver(&stub, name, events(name, &ids)).await;
        taken.sort();
        assert_eq!(taken, ["ORD-1", "ORD-2", "ORD-4", "ORD-5"], "{name}");
        assert_eq!(failed, ["ORD-3"], "{name}");
    }
}

#[tokio::test]
async fn more_than_a_platform_takes_is_not_taken() {
    let stub = start().await;
    for name in Name::ALL {
        let most = name.spec().limits.events;
        if most == 1 {
            continue;
        }
        if name == Name::Pinterest {
            // Tests are for a few events.
            let events = vec![events(name, &["ORD-1"]).remove(0); 21];
            let request = request(name, &events);
            let url = format!("{}?test=true", request.url.expose_secret());
            let test = Request {
                url: url.into(),
                ..request
            };
            send(&stub, &test, None).await;
            assert!(
                last(&stub).await["faults"]
                    .to_string()
                    .contains("must have 1 to 20 events")
            );
        }
        // A small one: so many large ones are more bytes than they may be.
        let small = Parcel {
            order: Order::default(),
            user_data: UserData::default(),
            ..full()
        };
        let one = platform(name).prepare(&small, now()).unwrap();
        let fits = send(&stub, &request(name, &vec![one.clone(); most]), None).await;
        assert!(fits.status < 300, "{name} takes {most}: {}", fits.status);
        send(&stub, &request(name, &vec![one; most + 1]), None).await;
        let entry = last(&stub).await;
        assert!(
            entry["faults"]
                .to_string()
                .contains(&format!("must have 1 to {most} events")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn access_tokens_are_renewed() {
    let stub = start().await;
    for (name, path) in [
        (Name::GoogleDataManager, "google_data_manager/token"),
        (Name::LinkedIn, "linkedin/oauth/v2/accessToken"),
        (Name::LinkedIn, "linkedin/token"),
    ] {
        let mut settings = settings(name);
        if name == Name::LinkedIn {
            settings = json!({ "conversion_rules": { "purchase": "1" }, "client_id": "c", "client_secret": "s", "refresh_token": "r" });
        }
        let platform = name.read(&settings).ok().unwrap();
        let client = platform.oauth().unwrap();
        let url = format!("http://stub.example/{path}");
        let answered = send(&stub, &client.request(&url, None), None).await;
        let granted = oauth::Client::read_answer(&answered.answer());
        assert!(matches!(granted, oauth::Granted::Token { .. }), "{name}");
        let expired = SecretString::from("expired-refresh".to_owned());
        let answered = send(&stub, &client.request(&url, Some(&expired)), None).await;
        let oauth::Granted::Refused { code } = oauth::Client::read_answer(&answered.answer()) else {
            panic!("{name} refuses");
        };
        assert_eq!(code, "invalid_grant");
        assert!(
            !last(&stub).await.to_string().contains("expired-refresh"),
            "no token is kept"
        );
    }
}

/// A token that is over is renewed, and the request goes again: the stub lets that happen.
#[tokio::test]
async fn an_expired_token_can_be_got_over() {
    let stub = start().await;
    let oauth = json!({ "conversion_rules": { "purchase": "1" }, "client_id": "c", "client_secret": "s", "refresh_token": "r" });
    for (name, settings) in [
        (Name::GoogleDataManager, settings(Name::GoogleDataManager)),
        (Name::LinkedIn, oauth),
    ] {
        let platform = name.read(&settings).ok().unwrap();
        let told = json!({ "platform": name.as_str(), "mode": "token_expired" });
        tell(&stub, told).await;
        // Asking for a fresh token does not use the order up, and is not refused by it.
        let url = format!("http://stub.example/{name}/token");
        let client = platform.oauth().unwrap();
        let answered = send(&stub, &client.request(&url, None), None).await;
        assert!(matches!(
            oauth::Client::read_answer(&answered.answer()),
            oauth::Granted::Token { .. }
        ));
        let events = events(name, &["ORD-1"]);
        let answered = send(&stub, &request(name, &events), None).await;
        let verdict = platform.verdict(&answered.answer(), &events);
        assert!(
            matches!(verdict, Verdict::Credentials { refresh: true, .. }),
            "{verdict:?}"
        );
        let answered = send(&stub, &request(name, &events), None).await;
        let verdict = platform.verdict(&answered.answer(), &events);
        assert!(matches!(verdict, Verdict::Accepted { .. }), "{verdict:?}");
    }
}

#[tokio::test]
async fn google_says_later_what_became_of_a_request() {
    let stub = start().await;
    let name = Name::GoogleDataManager;
    let google = platform(name);
    let events = events(name, &["ORD-1", "ORD-2"]);
    let answered = send(&stub, &request(name, &events), None).await;
    let Verdict::Accepted {
        later: Some(token), ..
    } = google.verdict(&answered.answer(), &events)
    else {
        panic!("taken");
    };
    let endpoint = Endpoint {
        base_url: format!("http://stub.example/{name}"),
        ..Endpoint::of(name)
    };
    let access_token = SecretString::from("fresh-token".to_owned());
    let sending = Sending {
        endpoint: &endpoint,
        access_token: Some(&access_token),
        now: now(),
    };
    let later = |token: &str| google.later_request(&sending, token).unwrap();
    let answered = send(&stub, &later(&token), None).await;
    let done = google.later(&answered.answer());
    assert!(matches!(done, Later::Done { records: 2, .. }), "{done:?}");
    // It says what it is told to say, as often as it is asked.
    let order = |status: &str, errors: Value| json!({ "platform": name.as_str(), "mode": "later", "times": 0, "later": { "status": status, "errors": errors } });
    tell(&stub, order("PROCESSING", json!({}))).await;
    for _ in 0..2 {
        let answered = send(&stub, &later(&token), None).await;
        assert_eq!(google.later(&answered.answer()), Later::Processing);
    }
    // Events are taken meanwhile.
    let answered = send(&stub, &request(name, &events), None).await;
    assert!(matches!(
        google.verdict(&answered.answer(), &events),
        Verdict::Accepted { .. }
    ));
    tell(&stub, order("PARTIAL_SUCCESS", json!({ "CLICK_NOT_FOUND": 1 }))).await;
    let answered = send(&stub, &later(&token), None).await;
    let Later::Done { records, errors, .. } = google.later(&answered.answer()) else {
        panic!("done");
    };
    assert_eq!((records, errors.len(), errors[0].events), (2, 1, 1));
    assert_eq!(errors[0].reason, "CLICK_NOT_FOUND");
    tell(&stub, json!({ "platform": name.as_str(), "mode": "ok" })).await;
    for bad in [
        json!({ "platform": "meta", "mode": "later", "later": { "status": "FAILED" } }),
        json!({ "platform": name.as_str(), "mode": "later" }),
    ] {
        assert_eq!(tell(&stub, bad.clone()).await.status, 400, "{bad}");
    }
    let answered = send(&stub, &later("unheard-of"), None).await;
    assert_eq!(
        google.later(&answered.answer()),
        Later::Unknown {
            code: "INVALID_REQUEST_ID".to_owned()
        }
    );
}

#[tokio::test]
async fn orders_are_checked() {
    let stub = start().await;
    for bad in [
        json!({}),
        json!({ "platform": "meta", "mode": "sleepy" }),
        json!({ "platform": "myspace", "mode": "ok" }),
        json!([]),
    ] {
        assert_eq!(tell(&stub, bad.clone()).await.status, 400, "{bad}");
    }
    let set = tell(&stub, json!({ "platform": "meta", "mode": "html", "times": 2 }))
        .await
        .json();
    assert_eq!(set["settings"][0]["times"], 2);
    let none = tell(&stub, json!({ "platform": "meta", "mode": "ok" }))
        .await
        .json();
    assert_eq!(none["settings"], json!([]));
    let unknown = axum::http::Request::post("/myspace/events")
        .body(Body::empty())
        .unwrap();
    assert_eq!(call(&stub, unknown).await.status, 404);
}

/// Their judgement is worth nothing if it is the sender's own.
#[test]
fn stubs_know_nothing_of_the_sender() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stubs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for module in ["crate::forwarding", "crate::domain", "crate::destinations"] {
            assert!(!text.contains(module), "{} uses {module}", path.display());
        }
    }
}

#[tokio::test]
async fn the_command_serves_and_records() {
    let record = std::env::temp_dir().join(format!("trustdata-stubs-{}.ndjson", uuid::Uuid::new_v4()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_trustdata"))
        .args(["stub-platforms", "--listen", "127.0.0.1:0", "--record"])
        .arg(&record)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let base = lines
        .by_ref()
        .map(|line| line.unwrap())
        .find_map(|line| line.trim().strip_suffix("/meta").map(str::to_owned))
        .expect("it says where it is");
    let body = json!({ "access_token": "s3cret", "data": [] });
    // The client asks for one even where it speaks plain HTTP.
    let _chosen_before = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::Client::new()
        .post(format!("{base}/meta/v26.0/1/events?access_token=s3cret"))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 400);
    let stop = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(stop.success());
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(20), ended)
        .await
        .unwrap()
        .unwrap();
    assert!(ended.success(), "{ended}");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::remove_file(&record).unwrap();
    let entry: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(entry["platform"], "meta");
    assert_eq!(entry["path"], "/v26.0/1/events");
    assert_eq!(entry["verdict"], "refused");
    assert_eq!(entry["body"]["data"], json!([]));
    assert!(!text.contains("s3cret"));
}
