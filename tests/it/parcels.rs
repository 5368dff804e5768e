//! Parcels and settings for every platform: what the conformance test and the stubs' test send.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use trustdata::domain::browser_event;
use trustdata::domain::consent::Consent;
use trustdata::domain::conversion::Money;
use trustdata::domain::topic::Topic;
use trustdata::forwarding::parcel::{Adjustment, Click, Order, Parcel, Refund, Session, UserData};
use trustdata::forwarding::platforms::{Endpoint, Name, Platform, Sending};
use uuid::Uuid;

use crate::support::now;

/// Each platform with settings that it takes.
pub fn settings(name: Name) -> Value {
    let topics = json!({ "purchase": "1001", "lead": 1002, "signup": "1003", "subscription": "1004", "custom": "1005" });
    match name {
        Name::Meta => {
            json!({ "pixel_id": "1234567890", "access_token": "meta-token", "test_event_code": "TEST123" })
        }
        Name::GoogleDataManager => json!({
            "operating_account_id": "123-456-7890", "login_account_id": "9876543210", "conversion_actions": topics,
            "client_id": "client.apps", "client_secret": "google-secret", "refresh_token": "google-refresh",
        }),
        Name::TikTok => json!({ "pixel_code": "C4ABCDEF", "access_token": "tiktok-token" }),
        Name::Ga4 => json!({ "measurement_id": "G-ABC123", "api_secret": "ga4-secret" }),
        Name::Microsoft => json!({ "tag_id": "5551234", "token": "microsoft-token" }),
        Name::LinkedIn => json!({ "conversion_rules": topics, "access_token": "linkedin-token" }),
        Name::Pinterest => json!({ "ad_account_id": "549755885175", "token": "pinterest-token" }),
        Name::Snapchat => {
            json!({ "pixel_id": "0f1e2d3c-aaaa-bbbb-cccc-0123456789ab", "token": "snap-token" })
        }
        Name::Reddit => json!({ "pixel_id": "a2_abcdef", "token": "reddit-token" }),
        Name::Webhook => json!({
            "url": "https://hooks.shop.example/conversions?shop=1", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        }),
    }
}

pub fn platform(name: Name) -> Box<dyn Platform> {
    name.read(&settings(name))
        .unwrap_or_else(|faults| panic!("{name}: {faults:?}"))
}

/// Calls `with` with what a request needs besides settings and events.
pub fn sending<T>(name: Name, with: impl FnOnce(&Sending<'_>) -> T) -> T {
    let endpoint = Endpoint::of(name);
    let token = secrecy::SecretString::from("fresh-token".to_owned());
    with(&Sending {
        endpoint: &endpoint,
        access_token: Some(&token),
        now: now(),
    })
}

fn at(seconds: i64) -> DateTime<Utc> {
    now() - TimeDelta::seconds(seconds)
}

pub fn money(amount: &str) -> Option<Money> {
    Some(Money {
        amount: amount.parse().unwrap(),
        currency: "EUR".parse().unwrap(),
    })
}

const PERSON: &str = r#"{"user_data":{"email":" Jane.Doe+shop@Gmail.com ","phone":"+4915112345678","first_name":"Mary-Ann","last_name":"Quinn, Jr.",
    "address":{"street":"Hauptstr. 5","city":"San José","region":"California","postal_code":"95112-0001","country":"us"}}}"#;

const HASHED: &str = r#"{"user_data":{"email":"67E28CDCC3E845D3A4DA05CA9FE5DDB7320A83B4CC2167F0555A3B04F63511E3",
    "phone":"c17c025fb9ed44eae8a9d5c9df0312af5c6161bd79bd669692364fc5ecaf108a"}}"#;

/// Platforms' cookies, as the collector keeps those of a visitor's browser.
fn collected() -> BTreeMap<String, String> {
    let cookies = json!({
        "_fbp": "fb.1.1790000000000.1098115397", "_ttp": "ttp-cookie", "_ga": "GA1.1.1234567890.1700000000",
        "_ga_ABC123": "GS2.1.s1790000001$o3$g1", "_scid": "scid-cookie", "_rdt_uuid": "1790000000000.uuid",
        "_uetvid": "3f1a5c60aaaa11efbbbbccccdddd0001",
    });
    let told = json!({
        "event_name": "page_view", "attribution_id": Uuid::nil(), "page_location": "https://shop.example/",
        "consent": { "analytics": true, "advertising": true }, "browser_cookies": cookies,
    });
    let told = RawValue::from_string(told.to_string()).unwrap();
    let kept = browser_event::parse(&told, now()).unwrap().browser_ids;
    assert_eq!(json!(kept), cookies, "the collector keeps what platforms can use");
    kept
}

fn journey() -> Session {
    let clicked_at = at(86_400);
    let click = |name: &str, value: &str| Click {
        name: name.to_owned(),
        value: value.to_owned(),
        at: clicked_at,
    };
    Session {
        landing_url: Some("https://shop.example/sale?gclid=Cj0KCQ&email=[MASKED]".to_owned()),
        referrer: Some("https://www.google.com/".to_owned()),
        clicks: vec![
            click("gclid", "Cj0KCQ"),
            click("wbraid", "wb1"),
            click("fbclid", "IwAR0abcDEF"),
            click("fbclid", "older"),
            click("ttclid", "E.C.P.tt"),
            click("msclkid", "0123456789abcdef0123456789abcdef"),
            click("li_fat_id", "0b1c2d3e-0000-4000-8000-000000000001"),
            click("epik", "dj0yJnU9"),
            click("ScCid", "snap-click"),
            click("rdt_cid", "rdt-click"),
        ],
        cookies: collected(),
        ip: Some("203.0.113.7".parse().unwrap()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64)".to_owned()),
    }
}

/// A conversion of somebody who is known by an address alone.
pub fn minimal() -> Parcel {
    Parcel {
        event_id: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001),
        conversion_id: "ORD-12345".to_owned(),
        topic: Topic::Purchase,
        event_name: None,
        event_time: at(60),
        money: money("99.00"),
        order: Order::default(),
        user_data: UserData::of_personal(r#"{"user_data":{"email":"jane@example.com"}}"#),
        consent: Consent::default(),
        visitor_id: None,
        user_id: None,
        session: Session::default(),
        refund: None,
        after_refunds: None,
    }
}

/// A conversion with everything.
pub fn full() -> Parcel {
    Parcel {
        money: money("99.90"),
        order: Order::of_payload(
            r#"{"tax":15.95,"shipping":"4.90","discount_code":"SPRING","lead_type":"quote","products":[
                {"id":"SKU-1","name":"Shirt","brand":"Acme","category":"Clothes","variant_title":"L","quantity":2,"price":40.00},
                {"id":"SKU-2","quantity":1,"price":19.90}]}"#,
        ),
        user_data: UserData::of_personal(PERSON),
        consent: Consent {
            analytics: Some(true),
            advertising: Some(true),
            preferences: None,
            sale_of_data: None,
        },
        visitor_id: Some("visitor-1".to_owned()),
        user_id: Some("Customer 42".to_owned()),
        session: journey(),
        ..minimal()
    }
}

/// What every platform is asked to send, by name.
pub fn cases() -> Vec<(&'static str, Parcel)> {
    let of = |topic: Topic, id: &str| Parcel {
        topic,
        conversion_id: id.to_owned(),
        money: None,
        order: Order::default(),
        ..full()
    };
    let mut limited = full();
    limited.consent.sale_of_data = Some(false);
    let mut hashed = full();
    hashed.user_data = UserData::of_personal(HASHED);
    let mut bad_email = full();
    bad_email.user_data = UserData::of_personal(
        r#"{"user_data":{"email":"jane.example.com","phone":"+4915112345678","first_name":"Jane","address":{"country":"Germany"}}}"#,
    );
    vec![
        ("purchase", full()),
        ("minimal", minimal()),
        (
            "lead",
            Parcel {
                money: money("5"),
                order: Order::of_payload(r#"{"lead_type":"quote"}"#),
                ..of(Topic::Lead, "LEAD-1")
            },
        ),
        ("signup", of(Topic::Signup, "USER-1")),
        (
            "subscription",
            Parcel {
                money: money("9.99"),
                ..of(Topic::Subscription, "SUB-1")
            },
        ),
        (
            "custom",
            Parcel {
                event_name: Some("quote-sent".to_owned()),
                ..of(Topic::Custom, "QUOTE-1")
            },
        ),
        (
            "refund",
            Parcel {
                money: money("19.90"),
                refund: Some(Refund {
                    purchase_id: "ORD-12345".to_owned(),
                    adjustment: Some(Adjustment {
                        purchase_time: at(3600),
                        remaining: money("80.00").unwrap(),
                        sequence: 1,
                    }),
                }),
                ..of(Topic::Refund, "refund_1")
            },
        ),
        ("limited_use", limited),
        ("hashed", hashed),
        ("bad_email", bad_email),
    ]
}
