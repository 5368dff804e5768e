//! Every platform, held to the same table: what it sends, and how it reads what comes back.

use std::path::Path;

use axum::http::HeaderMap;
use chrono::TimeDelta;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use trustdata::domain::identifiers::Field;
use trustdata::domain::topic::Topic;
use trustdata::forwarding::parcel::{Click, Parcel, UserData};
use trustdata::forwarding::platforms::{
    Answer, Event, Fate, Header, Later, Name, Platform, Request, Verdict, Whole, oauth,
};

use crate::parcels::{cases, full, minimal, platform, sending, settings};
use crate::support::now;

/// A request as a golden file shows it.
fn shown(request: &Request) -> Value {
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| {
            let secret = matches!(value, Header::Secret(_));
            let text = format!("{}{}", if secret { "secret: " } else { "" }, value.expose());
            ((*name).to_owned(), text.into())
        })
        .collect();
    json!({
        "request": format!("{} {}", request.method, request.url.expose_secret()),
        "headers": headers,
        "body": serde_json::from_str::<Value>(request.body.expose_secret()).unwrap(),
    })
}

/// What a platform makes of a parcel.
fn made(name: Name, parcel: &Parcel) -> Value {
    let platform = platform(name);
    match platform.prepare(parcel, now()) {
        Err(unsendable) => json!({ "unsendable": unsendable.code, "reason": unsendable.reason }),
        Ok(event) => {
            let notes: Vec<String> = event
                .notes
                .iter()
                .map(|note| format!("{}: {}", note.field, note.code))
                .collect();
            let request = sending(name, |sending| platform.request(sending, &[event]));
            let mut shown = shown(&request);
            shown["notes"] = notes.into();
            shown
        }
    }
}

/// The bodies in `tests/golden` were read by a person against the platforms' references. What differs is written below `target`, to be read and
/// put in their place.
#[test]
fn requests_are_what_they_were() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut different = Vec::new();
    for name in Name::ALL {
        let made: Map<String, Value> = cases()
            .into_iter()
            .map(|(case, parcel)| (case.to_owned(), made(name, &parcel)))
            .collect();
        let made = Value::Object(made);
        let golden =
            std::fs::read_to_string(root.join(format!("tests/golden/{name}.json"))).unwrap_or_default();
        let golden: Value = serde_json::from_str(&golden).unwrap_or_default();
        if made != golden {
            let folder = root.join("target/golden");
            std::fs::create_dir_all(&folder).unwrap();
            let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
            std::fs::write(folder.join(format!("{name}.json")), text).unwrap();
            different.push(name.as_str());
        }
    }
    assert!(
        different.is_empty(),
        "compare tests/golden with target/golden: {different:?}"
    );
}

#[test]
fn many_events_are_one_request() {
    for name in Name::ALL {
        let platform = platform(name);
        let prepared = |id: &str| {
            let parcel = Parcel {
                conversion_id: id.to_owned(),
                ..full()
            };
            platform.prepare(&parcel, now()).unwrap()
        };
        let events: Vec<Event> = (0..platform.spec().limits.events.min(3))
            .map(|i| prepared(&format!("ORD-{i}")))
            .collect();
        let request = sending(name, |sending| platform.request(sending, &events));
        let body = request.body.expose_secret();
        assert!(serde_json::from_str::<Value>(body).is_ok(), "{name}");
        for event in &events {
            assert!(body.contains(event.json()), "{name}");
            assert!(
                event.json().contains(&event.dedup_id),
                "{name}: the same at every attempt"
            );
        }
        let debug = format!("{request:?}");
        assert!(
            !debug.contains("token") && !debug.contains("secret"),
            "{name}: {debug}"
        );
    }
}

#[test]
fn what_cannot_be_sent_says_why() {
    let too_old = Parcel {
        event_time: now() - TimeDelta::days(91),
        ..full()
    };
    let nobody = Parcel {
        user_data: UserData::default(),
        ..minimal()
    };
    let mut huge = full();
    huge.conversion_id = "x".repeat(1_000_000);
    for name in Name::ALL {
        let platform = platform(name);
        let code = |parcel: &Parcel| {
            platform
                .prepare(parcel, now())
                .err()
                .map(|unsendable| unsendable.code)
        };
        if name != Name::Webhook {
            assert_eq!(code(&too_old), Some("too_old"), "{name}");
            let missing = if name == Name::TikTok {
                "no_page"
            } else {
                "no_identifiers"
            };
            assert_eq!(code(&nobody), Some(missing), "{name}");
        }
        if name != Name::Ga4 {
            assert_eq!(code(&huge), Some("too_large"), "{name}");
        }
    }
    let unknown_purchase = Parcel {
        topic: Topic::Refund,
        ..full()
    };
    let google = platform(Name::GoogleDataManager).prepare(&unknown_purchase, now());
    assert_eq!(
        google.err().map(|unsendable| unsendable.code),
        Some("unknown_purchase")
    );
    assert!(platform(Name::Ga4).prepare(&unknown_purchase, now()).is_ok());
}

#[test]
fn a_conversion_ahead_of_our_clock_happened_now() {
    let ahead = Parcel {
        event_time: now() + TimeDelta::minutes(9),
        ..full()
    };
    let event = platform(Name::Meta).prepare(&ahead, now()).unwrap();
    let json: Value = serde_json::from_str(event.json()).unwrap();
    assert_eq!(json["event_time"], now().timestamp());
}

#[test]
fn names_in_clear_are_the_last_resort() {
    let mut parcel = minimal();
    parcel.user_data.set(Field::FirstName, "Mary");
    parcel.user_data.set(Field::LastName, "Quinn");
    let user = |parcel: &Parcel| {
        let event = platform(Name::LinkedIn).prepare(parcel, now()).unwrap();
        serde_json::from_str::<Value>(event.json()).unwrap()["user"].clone()
    };
    assert!(user(&parcel)["userInfo"].is_null());
    parcel.user_data.set(Field::Email, "nonsense");
    assert_eq!(
        user(&parcel),
        json!({ "userInfo": { "firstName": "Mary", "lastName": "Quinn" } })
    );
}

#[test]
fn the_click_of_meta() {
    let fbc = |cookie: Option<&str>, clicked: bool| {
        let mut parcel = full();
        if let Some(cookie) = cookie {
            parcel
                .session
                .cookies
                .insert("_fbc".to_owned(), cookie.to_owned());
        }
        if !clicked {
            parcel.session.clicks.clear();
        }
        let event = platform(Name::Meta).prepare(&parcel, now()).unwrap();
        let json: Value = serde_json::from_str(event.json()).unwrap();
        json["user_data"]["fbc"].as_str().map(str::to_owned)
    };
    let made = format!(
        "fb.1.{}.IwAR0abcDEF",
        (now() - TimeDelta::days(1)).timestamp_millis()
    );
    let same = "fb.2.1790000000000.IwAR0abcDEF";
    assert_eq!(fbc(None, true).as_deref(), Some(made.as_str()));
    assert_eq!(fbc(Some(same), true).as_deref(), Some(same), "the browser's own");
    assert_eq!(fbc(Some("fb.1.1.other"), true), Some(made), "a newer click");
    assert_eq!(fbc(Some("fb.1.1.other"), false).as_deref(), Some("fb.1.1.other"));
    assert_eq!(fbc(Some("nonsense"), false), None);
}

#[test]
fn what_is_malformed_is_left_out_and_never_the_event() {
    // Whoever makes a link writes click ids into it.
    let crafted = [
        (Name::Meta, "fbclid", "a.b.c"),
        (Name::Meta, "fbclid", "two words"),
        (Name::TikTok, "ttclid", "tt\u{fffd}clid"),
        (
            Name::Microsoft,
            "msclkid",
            "{01234567-89ab-cdef-0123-456789abcdef}",
        ),
        (
            Name::Microsoft,
            "msclkid",
            "urn:uuid:01234567-89ab-cdef-0123-456789abcdef",
        ),
        (Name::LinkedIn, "li_fat_id", "<script>\u{0}"),
        (Name::LinkedIn, "li_fat_id", "<script>"),
        (Name::Pinterest, "epik", "e p i k"),
        (Name::Snapchat, "ScCid", "über"),
        (Name::Reddit, "rdt_cid", ""),
        (Name::GoogleDataManager, "gclid", "g clid"),
    ];
    for (name, click, value) in crafted {
        let mut parcel = full();
        for known in parcel
            .session
            .clicks
            .iter_mut()
            .filter(|known| known.name == click)
        {
            known.value = value.to_owned();
        }
        let event = platform(name).prepare(&parcel, now()).unwrap();
        let noted = event
            .notes
            .iter()
            .any(|note| note.field == click && note.code == "malformed");
        assert!(noted, "{name} {value}: {:?}", event.notes);
        let shown = event.json().to_owned();
        assert!(
            value.is_empty() || !shown.contains(&json!(value).to_string()),
            "{name}: {shown}"
        );
    }
    let cookies = [
        (Name::Meta, "_fbp", "fb.1.x.y"),
        (Name::TikTok, "_ttp", "ü"),
        (Name::Ga4, "_ga", "GA1.1.x"),
        (Name::Ga4, "_ga_ABC123", "GS2.1.x"),
        (Name::Microsoft, "_uetvid", "a b"),
        (Name::Snapchat, "_scid", "a b"),
        (Name::Reddit, "_rdt_uuid", "a b"),
    ];
    for (name, cookie, value) in cookies {
        let mut parcel = full();
        parcel.session.cookies.insert(cookie.to_owned(), value.to_owned());
        let event = platform(name).prepare(&parcel, now()).unwrap();
        let noted = event
            .notes
            .iter()
            .any(|note| cookie.starts_with(note.field) && note.code == "malformed");
        assert!(noted, "{name} {value}: {:?}", event.notes);
        assert!(!event.json().contains(value), "{name}: {}", event.json());
    }
}

#[test]
fn a_long_order_id_stays_one_of_its_own() {
    let id = |end: &str, topic: Topic| {
        let mut parcel = Parcel {
            topic,
            conversion_id: format!("{}{end}", "x".repeat(120)),
            ..full()
        };
        if topic == Topic::Refund {
            parcel.refund = Some(trustdata::forwarding::parcel::Refund {
                purchase_id: std::mem::replace(&mut parcel.conversion_id, "refund-1".to_owned()),
                adjustment: None,
            });
        }
        let event = platform(Name::Ga4).prepare(&parcel, now()).unwrap();
        assert!(event.notes.iter().any(|note| note.code == "shortened"));
        let json: Value = serde_json::from_str(event.json()).unwrap();
        let sent = json["events"][0]["params"]["transaction_id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(sent, event.dedup_id);
        assert_eq!(sent.len(), 100);
        sent
    };
    assert_ne!(id("1", Topic::Purchase), id("2", Topic::Purchase));
    assert_eq!(
        id("1", Topic::Purchase),
        id("1", Topic::Refund),
        "a refund names its purchase"
    );
}

#[test]
fn a_lead_and_a_signup_of_one_id_are_two() {
    let made = |topic: Topic, settings: &Value| {
        let parcel = Parcel { topic, ..full() };
        let event = Name::Snapchat
            .read(settings)
            .ok()
            .unwrap()
            .prepare(&parcel, now())
            .unwrap();
        let json: Value = serde_json::from_str(event.json()).unwrap();
        assert_eq!(json["event_id"], event.dedup_id.as_str());
        (json["event_name"].as_str().unwrap().to_owned(), event.dedup_id)
    };
    let mut settings = settings(Name::Snapchat);
    assert_ne!(made(Topic::Lead, &settings), made(Topic::Signup, &settings));
    settings["lead_event"] = "CUSTOM_EVENT_2".into();
    assert_eq!(
        made(Topic::Lead, &settings).1,
        "ORD-12345",
        "alone under its name"
    );
}

#[test]
fn limited_use_at_meta_needs_an_address_or_a_state() {
    let options = |settings: &Value, ip: bool| {
        let mut parcel = full();
        parcel.consent.sale_of_data = Some(false);
        parcel.session.ip = parcel.session.ip.filter(|_| ip);
        let event = Name::Meta
            .read(settings)
            .ok()
            .unwrap()
            .prepare(&parcel, now())
            .unwrap();
        let json: Value = serde_json::from_str(event.json()).unwrap();
        let number = |name: &str| json[format!("data_processing_options_{name}")].as_i64().unwrap();
        (number("country"), number("state"))
    };
    let mut settings = settings(Name::Meta);
    assert_eq!(options(&settings, true), (0, 0), "Meta finds out by the address");
    assert_eq!(options(&settings, false), (1, 1000));
    settings["ldu_state"] = 1001.into();
    assert_eq!(options(&settings, true), (1, 1001));
    for bad in ["x", "", "123456"] {
        settings["ldu_state"] = bad.into();
        assert!(Name::Meta.read(&settings).is_err(), "{bad}");
    }
}

#[test]
fn how_old_an_event_may_be_at_tiktok_is_a_setting() {
    let mut settings = settings(Name::TikTok);
    let old = Parcel {
        event_time: now() - TimeDelta::days(20),
        ..full()
    };
    let code = |settings: &Value| {
        let platform = Name::TikTok.read(settings).ok().unwrap();
        platform
            .prepare(&old, now())
            .err()
            .map(|unsendable| unsendable.code)
    };
    assert_eq!(code(&settings), Some("too_old"));
    settings["max_age_days"] = 28.into();
    assert_eq!(code(&settings), None);
    for bad in [json!(0), json!(29), json!("x")] {
        settings["max_age_days"] = bad;
        assert!(Name::TikTok.read(&settings).is_err());
    }
}

/// The name that a destination gives a topic's event: what becomes of it, or the code of why not.
#[test]
fn event_names_are_checked() {
    let named = |name: Name, topic: Topic, asked: &str| {
        let platform = platform(name);
        let named = platform.rename(topic, asked);
        let parcel = Parcel { topic, ..full() };
        let made = platform.prepare_as(&parcel, Some(asked), now());
        // What is refused when a destination is made is not sent for one that was made before.
        assert_eq!(named.is_ok(), made.is_ok(), "{name} {asked}");
        match named {
            Ok(named) => named,
            Err(unsendable) => {
                assert_eq!(made.err().unwrap().code, unsendable.code);
                unsendable.code.to_owned()
            }
        }
    };
    let unsupported = "unsupported_name";
    let long = "a".repeat(41);
    for (name, asked, expected) in [
        (Name::Meta, "Kauf erledigt", "Kauf erledigt"),
        // Their settings say by topic what it is there.
        (Name::GoogleDataManager, "purchase", unsupported),
        (Name::GoogleDataManager, "lead", unsupported),
        (Name::LinkedIn, "LEAD", unsupported),
        (Name::TikTok, "CompletePayment", "CompletePayment"),
        (Name::Ga4, "quote-sent", "quote_sent"),
        (Name::Ga4, "two words", unsupported),
        (Name::Ga4, "2nd", unsupported),
        (Name::Ga4, &long, unsupported),
        (Name::Ga4, "session_start", "reserved_name"),
        (Name::Ga4, "ga_x", "reserved_name"),
        (Name::Ga4, "AD_click", "reserved_name"),
        (Name::Microsoft, "Enquiry", "Enquiry"),
        (Name::Pinterest, "Add_To_Cart", "add_to_cart"),
        (Name::Pinterest, "Enquiry", unsupported),
        (Name::Snapchat, "start_trial", "START_TRIAL"),
        (Name::Snapchat, "CUSTOM_EVENT_6", unsupported),
        (Name::Reddit, "view_content", "VIEW_CONTENT"),
        (Name::Reddit, "Enquiry", "Enquiry"),
        (Name::Webhook, "order.paid", "order.paid"),
    ] {
        assert_eq!(named(name, Topic::Purchase, asked), expected, "{name} {asked}");
    }
    // Reddit has a place of its own for names that it does not know.
    let kind = |topic: Topic, asked: &str| {
        let parcel = Parcel { topic, ..full() };
        let event = platform(Name::Reddit)
            .prepare_as(&parcel, Some(asked), now())
            .unwrap();
        let json: Value = serde_json::from_str(event.json()).unwrap();
        let metadata = &json["metadata"];
        let told = ["value", "item_count"].map(|name| !metadata[name].is_null());
        (json["type"].clone(), told)
    };
    assert_eq!(
        kind(Topic::Lead, "Enquiry"),
        (
            json!({ "tracking_type": "CUSTOM", "custom_event_name": "Enquiry" }),
            [true, true]
        )
    );
    assert_eq!(
        kind(Topic::Subscription, "sign_up"),
        (json!({ "tracking_type": "SIGN_UP" }), [true, false])
    );
    assert_eq!(
        kind(Topic::Custom, "PAGE_VISIT"),
        (json!({ "tracking_type": "PAGE_VISIT" }), [false, false])
    );
}

#[test]
fn what_tells_of_the_visitor_in_clear_is_shown_to_nobody() {
    let clear = [
        "203.0.113.7",
        "X11; Linux",
        "Mary-Ann",
        "Quinn",
        "jos\u{e9}",
        "95112",
        "fec52565aa0cf18f57d7cf5b",
    ];
    for name in Name::ALL {
        for anonymous in [false, true] {
            let mut parcel = full();
            if anonymous {
                // LinkedIn takes names in clear then.
                parcel.session.clicks.clear();
                parcel.session.cookies.clear();
                parcel.user_data.set(Field::Email, "nonsense");
            }
            let event = platform(name).prepare(&parcel, now()).unwrap();
            let sent: Value = serde_json::from_str(event.json()).unwrap();
            let shown = name.masked(sent.clone()).to_string();
            for text in clear {
                assert!(
                    !shown.to_lowercase().contains(&text.to_lowercase()),
                    "{name} {text}: {shown}"
                );
            }
            assert!(
                shown.contains("[MASKED]") || (name == Name::LinkedIn && !anonymous),
                "{name}: {shown}"
            );
            // Nothing is lost but values.
            let paths = |value: &Value| value.to_string().matches("\":").count();
            assert_eq!(paths(&name.masked(sent.clone())), paths(&sent), "{name}");
        }
    }
}

#[test]
fn what_a_platform_repeats_of_the_visitor_is_not_kept() {
    let mut parcel = full();
    parcel.session.clicks.clear();
    parcel.user_data.set(Field::Email, "nonsense");
    let event = platform(Name::LinkedIn).prepare(&parcel, now()).unwrap();
    let said = "Index: 0, ERROR :: /user/userInfo/firstName :: \"Mary-Ann\" (QUINN) is none";
    assert_eq!(
        Name::LinkedIn.discreet(said, &event),
        "Index: 0, ERROR :: /user/userInfo/firstName :: … … is none"
    );
}

#[test]
fn remarks_are_kept_and_tell_nobody() {
    let said = |name: Name, body: &str| {
        let platform = platform(name);
        let parcel = |id: &str| Parcel {
            conversion_id: id.to_owned(),
            ..full()
        };
        let events = ["A", "B"].map(|id| platform.prepare(&parcel(id), now()).unwrap());
        match verdict_of(platform.as_ref(), 200, body, &events) {
            Verdict::Accepted {
                failures, remarks, ..
            } if failures.is_empty() => remarks
                .into_iter()
                .map(|remark| (remark.index, remark.text))
                .collect::<Vec<_>>(),
            other => panic!("{name}: {other:?}"),
        }
    };
    let both = |text: &str| vec![(0, text.to_owned()), (1, text.to_owned())];
    assert_eq!(
        said(
            Name::Meta,
            r#"{"events_received":2,"messages":["low match quality","for jane@example.com"]}"#
        ),
        both("low match quality for …")
    );
    assert_eq!(said(Name::Meta, r#"{"events_received":2,"messages":[]}"#), []);
    assert_eq!(
        said(Name::TikTok, r#"{"code":20001,"message":"some ignored"}"#),
        both("20001 some ignored")
    );
    assert_eq!(said(Name::TikTok, r#"{"code":0,"message":"OK"}"#), []);
    let rows = r#"{"events":[{"status":"processed","warning_message":""},{"status":"processed","warning_message":"no em"}]}"#;
    assert_eq!(said(Name::Pinterest, rows), [(1, "no em".to_owned())]);
}

/// An answer that was cut is not read as if it were whole.
#[test]
fn a_cut_answer_says_what_its_status_says() {
    let headers = HeaderMap::new();
    for name in Name::ALL {
        let platform = platform(name);
        let events = [platform.prepare(&full(), now()).unwrap()];
        let verdict = |status: u16, body: &[u8]| {
            let answer = Answer {
                status,
                headers: &headers,
                body,
                cut: true,
                now: now(),
            };
            short(&platform.verdict(&answer, &events))
        };
        // Bodies that would be good news by themselves.
        let whole = br#"{"code":0,"events_received":1,"status":"VALID","message":"Successfully processed 1 conversion events."}"#;
        let expected = match name {
            // Long answers are theirs, with a row for each event; Google and GA4 are taken at their status always, and so is the webhook.
            Name::Pinterest | Name::LinkedIn | Name::Microsoft => "accepted",
            Name::GoogleDataManager | Name::Ga4 | Name::Webhook => "accepted",
            _ => "retry any time",
        };
        assert_eq!(verdict(200, whole), expected, "{name}");
        assert_eq!(verdict(503, whole), "retry any time", "{name}");
        if !matches!(name, Name::Ga4 | Name::Webhook | Name::TikTok | Name::Meta) {
            assert_eq!(verdict(400, whole), "refused 0", "{name}");
        }
    }
}

/// Fewer than there were, and nobody says which: they are looked for by halves, until one that is missing is alone.
#[test]
fn what_is_missing_is_looked_for() {
    let counting = [
        (Name::Meta, r#"{"events_received":COUNT}"#),
        (Name::Microsoft, r#"{"eventsReceived":COUNT}"#),
        (
            Name::Reddit,
            r#"{"message":"Successfully processed COUNT conversion events."}"#,
        ),
    ];
    for (name, body) in counting {
        let platform = platform(name);
        let events = vec![platform.prepare(&full(), now()).unwrap(); 3];
        let told = |count: usize, of: usize| {
            let body = body.replace("COUNT", &count.to_string());
            short(&verdict_of(platform.as_ref(), 200, &body, &events[..of]))
        };
        for (count, of, expected) in [
            (3, 3, "accepted"),
            (2, 3, "bisect"),
            (1, 2, "bisect"),
            (0, 3, "bisect"),
            (0, 1, "refused 0"),
            (1, 1, "accepted"),
        ] {
            assert_eq!(told(count, of), expected, "{name} {count} of {of}");
        }
    }
}

#[test]
fn settings_are_read_with_all_their_faults() {
    for name in Name::ALL {
        let spec = name.spec();
        assert_eq!(spec.name.parse::<Name>(), Ok(name));
        let faults = name.read(&json!({ "nonsense": "s3cret-value" })).err().unwrap();
        assert!(
            faults
                .iter()
                .any(|fault| fault.code == "unknown_setting" && fault.field == "nonsense"),
            "{name}"
        );
        assert!(faults.iter().any(|fault| fault.code == "required"), "{name}");
        assert!(name.read(&json!([])).is_err());
        let good = settings(name);
        for (field, _) in good.as_object().unwrap() {
            let mut bad = good.clone();
            bad[field] = "s3cret value\n\u{1}".into();
            let faults = name.read(&bad).err().unwrap();
            assert!(faults.iter().any(|fault| fault.field == *field), "{name}.{field}");
            assert!(!format!("{faults:?}").contains("s3cret"), "{name}.{field}");
        }
        for secret in spec.secrets {
            let mut bad = good.clone();
            if bad[*secret].is_null() {
                continue;
            }
            bad[*secret] = Value::Null;
            assert!(name.read(&bad).is_err(), "{name}.{secret} is needed");
        }
    }
    let topics = json!({ "conversion_rules": { "purchase": "x", "refund": "1" }, "access_token": "t", "client_id": "c" });
    let faults = Name::LinkedIn.read(&topics).err().unwrap();
    let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert!(
        fields.contains(&"conversion_rules.purchase") && fields.contains(&"access_token"),
        "{fields:?}"
    );
    let oauth = json!({ "conversion_rules": { "purchase": "1" }, "client_id": "c", "client_secret": "s", "refresh_token": "r" });
    assert!(Name::LinkedIn.read(&oauth).ok().unwrap().oauth().is_some());
}

fn verdict_of(platform: &dyn Platform, status: u16, body: &str, events: &[Event]) -> Verdict {
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", "7".parse().unwrap());
    let answer = Answer {
        status,
        headers: &headers,
        body: body.as_bytes(),
        cut: false,
        now: now(),
    };
    platform.verdict(&answer, events)
}

/// A verdict in short.
fn short(verdict: &Verdict) -> String {
    let list = |failures: &[trustdata::forwarding::platforms::Failure]| {
        failures
            .iter()
            .map(|failure| format!("{}{}", failure.index, if failure.retry { "?" } else { "" }))
            .collect::<Vec<_>>()
            .join(",")
    };
    match verdict {
        Verdict::Accepted { failures, .. } if failures.is_empty() => "accepted".to_owned(),
        Verdict::Accepted { failures, .. } => format!("accepted but {}", list(failures)),
        Verdict::Retry { after, .. } => match after.map(|after| after.num_seconds()) {
            Some(7) => "retry".to_owned(),
            Some(seconds) => format!("retry in {seconds}"),
            None => "retry any time".to_owned(),
        },
        Verdict::Unclear { .. } => "retry so often".to_owned(),
        Verdict::NotYet { after, .. } => format!("not yet for {}", after.num_seconds()),
        Verdict::Refused { culprits, .. } if culprits.is_empty() => "bisect".to_owned(),
        Verdict::Refused { culprits, .. } => format!("refused {}", list(culprits)),
        Verdict::UserDataRefused { .. } => "without user_data".to_owned(),
        Verdict::Credentials { refresh: true, .. } => "refresh".to_owned(),
        Verdict::Credentials { refresh: false, .. } => "credentials".to_owned(),
        Verdict::Configuration { .. } => "configuration".to_owned(),
    }
}

/// Holds a table of status, body and verdict, with three events where the platform takes as many.
fn hold(name: Name, table: &[(u16, &str, &str)]) {
    let platform = platform(name);
    let events: Vec<Event> = (0..platform.spec().limits.events.min(3))
        .map(|i| {
            let parcel = Parcel {
                conversion_id: format!("ORD-{i}"),
                ..full()
            };
            platform.prepare(&parcel, now()).unwrap()
        })
        .collect();
    for (status, body, expected) in table {
        let verdict = verdict_of(platform.as_ref(), *status, body, &events);
        assert_eq!(short(&verdict), *expected, "{name} {status} {body}");
        // Alone, an event is its own culprit.
        if short(&verdict) == "bisect" {
            let alone = verdict_of(platform.as_ref(), *status, body, &events[..1]);
            assert_eq!(short(&alone), "refused 0", "{name} {status} {body}");
        }
    }
    for (status, body) in [
        (500, ""),
        (502, "<html>bad gateway</html>"),
        (503, "{}"),
        (429, "{}"),
        (504, "[]"),
        (529, "null"),
    ] {
        let verdict = verdict_of(platform.as_ref(), status, body, &events);
        assert_eq!(short(&verdict), "retry", "{name} {status} {body}");
    }
}

#[test]
fn verdicts_of_meta() {
    let error = |code: &str| {
        format!(r#"{{"error":{{"message":"m","type":"OAuthException",{code},"fbtrace_id":"x"}}}}"#)
    };
    let mut table: Vec<(u16, String, &str)> = vec![
        (
            200,
            r#"{"events_received":3,"messages":[],"fbtrace_id":"x"}"#.to_owned(),
            "accepted",
        ),
        (200, "<html></html>".to_owned(), "retry"),
        (200, "{}".to_owned(), "retry"),
        (400, "<html></html>".to_owned(), "retry"),
        (400, error(r#""code":100,"is_transient":true"#), "retry"),
        (400, error(r#""code":999999"#), "retry so often"),
        (500, error(r#""code":999999"#), "retry"),
    ];
    for code in [1, 2, 4, 17, 32, 613, 80000, 80003, 80014, 341, 368, 5000, 21009] {
        table.push((400, error(&format!(r#""code":{code}"#)), "retry"));
    }
    for code in [3, 10, 200, 250, 299] {
        table.push((403, error(&format!(r#""code":{code}"#)), "configuration"));
    }
    table.push((400, error(r#""code":100,"error_subcode":33"#), "configuration"));
    for subcode in [458, 459, 460, 463, 464, 467] {
        table.push((
            400,
            error(&format!(r#""code":190,"error_subcode":{subcode}"#)),
            "credentials",
        ));
    }
    table.push((401, error(r#""code":190"#), "credentials"));
    table.push((401, error(r#""code":102"#), "credentials"));
    for subcode in [
        2804001, 2804003, 2804007, 2804009, 2804016, 2804017, 2804019, 2804048, 2804050,
    ] {
        table.push((
            400,
            error(&format!(r#""code":100,"error_subcode":{subcode}"#)),
            "bisect",
        ));
    }
    for code in [100, 105, 294, 2650, 2655] {
        table.push((400, error(&format!(r#""code":{code}"#)), "bisect"));
    }
    let table: Vec<(u16, &str, &str)> = table
        .iter()
        .map(|(status, body, verdict)| (*status, body.as_str(), *verdict))
        .collect();
    hold(Name::Meta, &table);
}

#[test]
fn verdicts_of_google() {
    let error = |status: &str, reason: &str, field: &str| {
        json!({ "error": { "code": 400, "message": "m", "status": status, "details": [
            { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "datamanager.googleapis.com" },
            { "@type": "type.googleapis.com/google.rpc.BadRequest",
              "fieldViolations": [{ "field": field, "description": "d", "reason": reason }] },
            { "@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r" },
        ]}})
        .to_string()
    };
    let mut table = vec![
        (200, r#"{"requestId":"r1"}"#.to_owned(), "accepted"),
        (
            401,
            error("UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED", ""),
            "refresh",
        ),
        (401, String::new(), "refresh"),
        (
            429,
            error("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", ""),
            "retry",
        ),
        (503, error("UNAVAILABLE", "", ""), "retry"),
        (504, error("DEADLINE_EXCEEDED", "", ""), "retry"),
        (500, error("INTERNAL", "INTERNAL_ERROR", ""), "retry"),
        (
            403,
            error("PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", ""),
            "credentials",
        ),
        (
            403,
            error("PERMISSION_DENIED", "PERMISSION_DENIED", ""),
            "configuration",
        ),
        (
            400,
            error("INVALID_ARGUMENT", "CONVERSION_ACTION_TOO_RECENTLY_CREATED", ""),
            "not yet for 21600",
        ),
        (400, error("INVALID_ARGUMENT", "", ""), "bisect"),
        (400, "nonsense".to_owned(), "bisect"),
    ];
    for reason in [
        "NOT_ALLOWLISTED",
        "TERMS_AND_CONDITIONS_NOT_SIGNED",
        "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH",
        "INVALID_DESTINATION",
        "DESTINATION_ACCOUNT_TYPE_MISMATCH",
        "INVALID_CONVERSION_ACTION_ID",
        "INVALID_CONVERSION_ACTION_TYPE",
    ] {
        table.push((
            400,
            error("INVALID_ARGUMENT", reason, "destinations[0]"),
            "configuration",
        ));
    }
    for reason in [
        "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED",
        "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS",
        "DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS",
    ] {
        table.push((
            400,
            error("INVALID_ARGUMENT", reason, "destinations[0]"),
            "without user_data",
        ));
    }
    for reason in [
        "EVENT_TIME_INVALID",
        "INVALID_FORMAT",
        "INVALID_SHA256_FORMAT",
        "INVALID_HEX_ENCODING",
        "INVALID_CURRENCY_CODE",
        "REQUIRED_FIELD_MISSING",
        "INVALID_EVENT",
        "NO_IDENTIFIERS_PROVIDED",
        "INVALID_AD_IDENTIFIER_FOR_ACCOUNT",
        "CUSTOM_VARIABLE_NOT_FOUND",
        "FIELD_VALUE_TOO_LONG",
        "EVENT_SOURCE_AND_DESTINATION_MISMATCH",
    ] {
        table.push((
            400,
            error("INVALID_ARGUMENT", reason, "events.events[1].x"),
            "refused 1",
        ));
    }
    for reason in [
        "TOO_MANY_EVENTS",
        "TOO_MANY_USER_IDENTIFIERS",
        "TOO_MANY_DESTINATIONS",
    ] {
        table.push((400, error("INVALID_ARGUMENT", reason, "events"), "bisect"));
    }
    let table: Vec<(u16, &str, &str)> = table
        .iter()
        .map(|(status, body, verdict)| (*status, body.as_str(), *verdict))
        .collect();
    hold(Name::GoogleDataManager, &table);
}

#[test]
fn google_is_told_the_newest_click() {
    let click = |name: &str, hours: i64| Click {
        name: name.to_owned(),
        value: format!("of-{name}"),
        at: now() - TimeDelta::hours(hours),
    };
    let table = [
        (vec![("gclid", 9), ("wbraid", 5), ("gbraid", 7)], "wbraid"),
        (vec![("gclid", 9), ("wbraid", 7), ("gbraid", 5)], "gbraid"),
        (vec![("gclid", 5), ("wbraid", 7)], "gclid"),
        (vec![("wbraid", 5), ("gclid", 5), ("gbraid", 5)], "gclid"),
        (vec![("fbclid", 1), ("wbraid", 5)], "wbraid"),
    ];
    for (clicks, expected) in table {
        let mut parcel = minimal();
        parcel.session.clicks = clicks.iter().map(|(name, hours)| click(name, *hours)).collect();
        parcel
            .session
            .clicks
            .sort_by_key(|click| std::cmp::Reverse(click.at));
        let event = platform(Name::GoogleDataManager).prepare(&parcel, now()).unwrap();
        let json: Value = serde_json::from_str(event.json()).unwrap();
        assert_eq!(
            json["adIdentifiers"],
            json!({ expected: format!("of-{expected}") }),
            "{clicks:?}"
        );
    }
}

#[test]
fn what_google_says_later() {
    let google = platform(Name::GoogleDataManager);
    let request = sending(Name::GoogleDataManager, |sending| {
        google.later_request(sending, "r/1")
    })
    .unwrap();
    assert_eq!(
        format!("{} {}", request.method, request.url.expose_secret()),
        "GET https://datamanager.googleapis.com/v1/requestStatus:retrieve?requestId=r%2F1"
    );
    let headers = HeaderMap::new();
    let later = |status: u16, body: Value| {
        google.later(&Answer {
            status,
            headers: &headers,
            body: body.to_string().as_bytes(),
            cut: false,
            now: now(),
        })
    };
    let of = |status: &str, reasons: &[&str]| {
        let counts: Vec<Value> = reasons
            .iter()
            .map(
                |reason| json!({ "recordCount": "1", "reason": format!("PROCESSING_ERROR_REASON_{reason}") }),
            )
            .collect();
        json!({ "requestStatusPerDestination": [{ "destination": {}, "requestStatus": status,
            "eventsIngestionStatus": { "recordCount": "3" }, "errorInfo": { "errorCounts": counts } }] })
    };
    assert_eq!(later(200, of("PROCESSING", &[])), Later::Processing);
    assert_eq!(later(200, of("REQUEST_STATUS_UNKNOWN", &[])), Later::Processing);
    assert_eq!(later(200, json!({})), Later::Processing);
    let fates = |reasons: &[&str]| match later(200, of("PARTIAL_SUCCESS", reasons)) {
        Later::Done { records, errors, .. } => {
            assert_eq!(records, 3);
            assert!(errors.iter().all(|count| count.events == 1));
            errors.into_iter().map(|count| count.fate).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    for (reason, fate) in [
        ("TOO_RECENT_CLICK", Fate::Retry { within: None }),
        (
            "CLICK_NOT_FOUND",
            Fate::Retry {
                within: Some(TimeDelta::hours(24)),
            },
        ),
        ("INTERNAL_ERROR", Fate::Retry { within: None }),
        ("DUPLICATE_TRANSACTION_ID", Fate::Delivered),
        ("DUPLICATE_GCLID", Fate::Delivered),
        ("EVENT_TOO_OLD", Fate::Failed),
        ("CONVERSION_PRECEDES_CLICK", Fate::Failed),
        ("INVALID_GCLID", Fate::Failed),
        ("DENIED_CONSENT", Fate::Failed),
        ("NO_CONSENT", Fate::Failed),
        ("UNKNOWN_CONSENT", Fate::Failed),
    ] {
        assert_eq!(fates(&[reason]), [fate], "{reason}");
    }
    let whole = |statuses: &[&str]| {
        let mut body = json!({ "requestStatusPerDestination": [] });
        for status in statuses {
            let one = of(status, &[])["requestStatusPerDestination"][0].clone();
            body["requestStatusPerDestination"]
                .as_array_mut()
                .unwrap()
                .push(one);
        }
        match later(200, body) {
            Later::Done { whole, records, .. } => Some((whole, records)),
            Later::Processing => None,
            other => panic!("{other:?}"),
        }
    };
    for (statuses, expected) in [
        (&["SUCCESS"][..], Some((Whole::Taken, 3))),
        (&["FAILED"], Some((Whole::Failed, 3))),
        (&["PARTIAL_SUCCESS"], Some((Whole::Partly, 3))),
        (&["SUCCESS", "SUCCESS"], Some((Whole::Taken, 6))),
        (&["FAILED", "FAILED"], Some((Whole::Failed, 6))),
        (&["SUCCESS", "FAILED"], Some((Whole::Partly, 6))),
        (&["FAILED", "SUCCESS"], Some((Whole::Partly, 6))),
        (&["SUCCESS", "PROCESSING"], None),
        (&["PROCESSING", "FAILED"], None),
    ] {
        assert_eq!(whole(statuses), expected, "{statuses:?}");
    }
    assert!(matches!(later(503, json!({})), Later::Retry { .. }));
    assert!(matches!(
        later(401, json!({})),
        Later::Credentials { refresh: true, .. }
    ));
    let unknown = later(
        400,
        json!({ "error": { "details": [{ "reason": "INVALID_REQUEST_ID" }] } }),
    );
    assert_eq!(
        unknown,
        Later::Unknown {
            code: "INVALID_REQUEST_ID".to_owned()
        }
    );
}

#[test]
fn verdicts_of_tiktok() {
    hold(
        Name::TikTok,
        &[
            (
                200,
                r#"{"code":0,"message":"OK","request_id":"r","data":{}}"#,
                "accepted",
            ),
            (
                200,
                r#"{"code":20001,"message":"partial","request_id":"r"}"#,
                "accepted",
            ),
            (200, r#"{"code":40000,"message":"bad"}"#, "bisect"),
            (
                200,
                r#"{"code":40001,"message":"no permission"}"#,
                "configuration",
            ),
            (
                200,
                r#"{"code":40002,"message":"Batch.1.properties.contents.0.content_id: Not a valid string"}"#,
                "refused 1",
            ),
            (
                200,
                r#"{"code":40002,"message":"Batch.0.event: x, Batch.2.event: y"}"#,
                "refused 0,2",
            ),
            (
                200,
                r#"{"code":40002,"message":"event_source_id: missing"}"#,
                "bisect",
            ),
            (
                200,
                r#"{"code":40007,"message":"no such object"}"#,
                "configuration",
            ),
            (200, r#"{"code":40100,"message":"too many"}"#, "retry"),
            (200, r#"{"code":40133,"message":"qps"}"#, "retry"),
            (200, r#"{"code":40102}"#, "credentials"),
            (200, r#"{"code":40104}"#, "credentials"),
            (401, r#"{"code":40105}"#, "credentials"),
            (200, r#"{"code":50000}"#, "retry"),
            (200, r#"{"code":50002}"#, "retry"),
            (200, r#"{"code":51000}"#, "retry"),
            (200, r#"{"code":12345}"#, "retry so often"),
            (200, "<html></html>", "retry"),
            (200, "", "retry"),
        ],
    );
}

#[test]
fn verdicts_of_ga4() {
    hold(
        Name::Ga4,
        &[
            (204, "", "accepted"),
            (200, "", "accepted"),
            (404, "", "retry"),
            (302, "", "retry"),
        ],
    );
}

#[test]
fn verdicts_of_microsoft() {
    let some = r#"{"eventsReceived":2,"error":{"code":"x","message":"m","details":[
        {"index":1,"propertyName":"eventTime","attemptedValue":"0","errorMessage":"too old"},
        {"index":2,"propertyName":"x","errorMessage":"hm","isWarning":true}]},"traceId":"t"}"#;
    let none = some.replace("\"eventsReceived\":2", "\"eventsReceived\":0");
    hold(
        Name::Microsoft,
        &[
            (200, r#"{"eventsReceived":3}"#, "accepted"),
            (
                200,
                &some.replace("\"eventsReceived\":2", "\"eventsReceived\":1"),
                "refused 1",
            ),
            (200, some, "accepted but 1"),
            (400, some, "accepted but 1"),
            (400, &none, "refused 1"),
            (200, &none, "refused 1"),
            (200, r#"{"eventsReceived":0}"#, "bisect"),
            (400, r#"{"error":{"code":"bad","message":"m"}}"#, "bisect"),
            (400, "", "bisect"),
            (200, "", "retry"),
            (401, "", "credentials"),
            (403, "", "credentials"),
            (404, "", "configuration"),
        ],
    );
}

#[test]
fn verdicts_of_linkedin() {
    hold(
        Name::LinkedIn,
        &[
            (201, "", "retry"),
            (200, "<html></html>", "retry"),
            (200, "{}", "retry"),
            (200, r#"{"elements":[]}"#, "accepted but 0?,1?,2?"),
            (
                200,
                r#"{"elements":[{"status":201},{"status":201}]}"#,
                "accepted but 2?",
            ),
            (
                200,
                r#"{"elements":[{"status":201},{},{"status":"x"}]}"#,
                "accepted but 1?,2?",
            ),
            (
                200,
                r#"{"elements":[{"status":201},{"status":201},{"status":201}]}"#,
                "accepted",
            ),
            (
                200,
                r#"{"elements":[{"status":201},{"status":400},{"status":500}]}"#,
                "accepted but 1,2?",
            ),
            (
                401,
                r#"{"status":401,"serviceErrorCode":65600,"code":"INVALID_ACCESS_TOKEN","message":"Invalid access token"}"#,
                "credentials",
            ),
            (403, r#"{"status":403,"message":"no"}"#, "configuration"),
            (
                400,
                r#"{"status":400,"message":"bad conversion at indices [2] (0-indexed)"}"#,
                "refused 2",
            ),
            (400, r#"{"status":400,"message":"bad"}"#, "bisect"),
            (
                422,
                r#"{"status":422,"message":"Index: 0, ERROR :: /conversionValue/amount :: field is required\nIndex: 2, ERROR :: /user :: x"}"#,
                "refused 0,2",
            ),
            (
                426,
                r#"{"status":426,"code":"NONEXISTENT_VERSION","message":"m"}"#,
                "configuration",
            ),
            (404, "", "configuration"),
        ],
    );
    let oauth = json!({ "conversion_rules": { "purchase": "1" }, "client_id": "c", "client_secret": "s", "refresh_token": "r" });
    let renewed = Name::LinkedIn.read(&oauth).ok().unwrap();
    let expired = r#"{"status":401,"code":"EXPIRED_ACCESS_TOKEN","message":"m"}"#;
    let revoked = r#"{"status":401,"code":"REVOKED_ACCESS_TOKEN","message":"m"}"#;
    assert_eq!(short(&verdict_of(renewed.as_ref(), 401, expired, &[])), "refresh");
    assert_eq!(
        short(&verdict_of(renewed.as_ref(), 401, revoked, &[])),
        "credentials"
    );
}

#[test]
fn verdicts_of_pinterest() {
    let rows = r#"{"num_events_received":3,"num_events_processed":2,"events":[{"status":"processed"},
        {"status":"failed","error_message":"bad"},{"status":"processed","warning_message":"hm"}]}"#;
    let details = format!(r#"{{"code":1,"message":"m","details":{rows}}}"#);
    hold(
        Name::Pinterest,
        &[
            (200, &rows.replace("failed", "processed"), "accepted"),
            (200, rows, "accepted but 1"),
            (422, &details, "accepted but 1"),
            (422, r#"{"code":1,"message":"m"}"#, "bisect"),
            (400, r#"{"code":4196,"message":"m"}"#, "bisect"),
            (401, r#"{"code":2,"message":"m"}"#, "credentials"),
            (403, r#"{"code":29,"message":"m"}"#, "configuration"),
            (429, r#"{"code":8,"message":"m"}"#, "retry"),
            (503, r#"{"code":4197,"message":"m"}"#, "retry"),
            (200, "<html>", "retry"),
            (200, r#"{"events":[]}"#, "accepted but 0?,1?,2?"),
            (
                200,
                r#"{"events":[{"status":"processed"},{"status":"processed"}]}"#,
                "accepted but 2?",
            ),
            (
                200,
                r#"{"events":[{"status":"processed"},{"status":"pending"},{}]}"#,
                "accepted but 1?,2?",
            ),
        ],
    );
}

#[test]
fn verdicts_of_snapchat() {
    hold(
        Name::Snapchat,
        &[
            (200, r#"{"status":"VALID","reason":"ok"}"#, "accepted"),
            (
                200,
                r#"{"status":"INVALID","event":1,"reason":"r","errors":{"codes":["E1"],"error_msgs":["m"]}}"#,
                "refused 1",
            ),
            (
                400,
                r#"{"status":"INVALID","event":2,"reason":"r","errors":{"codes":[12],"error_msgs":["m"]}}"#,
                "refused 2",
            ),
            (400, r#"{"status":"INVALID","reason":"r"}"#, "bisect"),
            (400, "", "bisect"),
            (401, "", "credentials"),
            (403, r#"{"status":"INVALID","reason":"token"}"#, "credentials"),
            (200, "", "retry"),
        ],
    );
}

#[test]
fn verdicts_of_reddit() {
    let echoed = r#"{"message":"There were 1 invalid conversion events. None were processed.","invalid_events":[
        {"error_message":"event_at timestamp must be less than 168h0m0s old",
         "event":{"type":{"tracking_type":"PURCHASE"},"metadata":{"conversion_id":"ORD-1"}}}]}"#;
    // Two custom events of one id are told apart by their names.
    let reddit = platform(Name::Reddit);
    let custom = |name: &str| {
        let parcel = Parcel {
            topic: Topic::Custom,
            event_name: Some(name.to_owned()),
            conversion_id: "ORD-1".to_owned(),
            ..full()
        };
        reddit.prepare(&parcel, now()).unwrap()
    };
    let of_one_id = [custom("quote"), custom("call")];
    let second = echoed.replace(
        r#"{"tracking_type":"PURCHASE"}"#,
        r#"{"tracking_type":"CUSTOM","custom_event_name":"call"}"#,
    );
    let verdict = verdict_of(reddit.as_ref(), 400, &second, &of_one_id);
    assert_eq!(short(&verdict), "refused 1");
    hold(
        Name::Reddit,
        &[
            (
                200,
                r#"{"message":"Successfully processed 3 conversion events."}"#,
                "accepted",
            ),
            (
                200,
                r#"{"message":"There were 1 invalid conversion events. None were processed."}"#,
                "bisect",
            ),
            (200, r#"{"message":"hm"}"#, "retry"),
            (200, echoed, "refused 1"),
            (400, echoed, "refused 1"),
            (400, &echoed.replace("ORD-1", "ORD-9"), "bisect"),
            (400, r#"{"message":"bad"}"#, "bisect"),
            (401, r#""Authorization Required""#, "credentials"),
            (
                401,
                r#"{"success":false,"error":{"reason":"UNAUTHORIZED","explanation":"x"}}"#,
                "credentials",
            ),
            (
                403,
                r#"{"success":false,"error":{"reason":"FORBIDDEN","explanation":"JSON error unexpected type number"}}"#,
                "bisect",
            ),
            (
                403,
                r#"{"success":false,"error":{"reason":"FORBIDDEN","explanation":"no"}}"#,
                "configuration",
            ),
            (200, "", "retry"),
        ],
    );
}

#[test]
fn verdicts_of_a_webhook() {
    hold(
        Name::Webhook,
        &[
            (200, "", "accepted"),
            (204, "", "accepted"),
            (302, "", "configuration"),
            (410, "", "configuration"),
            (400, "", "retry"),
            (401, "", "retry"),
            (404, "", "retry"),
        ],
    );
}

#[test]
fn access_tokens() {
    let client = platform(Name::GoogleDataManager);
    let client = client.oauth().unwrap();
    let request = client.request("https://oauth2.googleapis.com/token", None);
    assert_eq!(
        request.body.expose_secret(),
        "grant_type=refresh_token&refresh_token=google-refresh&client_id=client.apps&client_secret=google-secret"
    );
    let headers = HeaderMap::new();
    let granted = |status: u16, body: &str| {
        let answer = Answer {
            status,
            headers: &headers,
            body: body.as_bytes(),
            cut: false,
            now: now(),
        };
        match oauth::Client::read_answer(&answer) {
            oauth::Granted::Token {
                access_token,
                life,
                refresh_token,
            } => format!(
                "{} for {} s{}",
                access_token.expose_secret(),
                life.num_seconds(),
                if refresh_token.is_some() { ", renewed" } else { "" }
            ),
            oauth::Granted::Refused { code } => format!("refused: {code}"),
            oauth::Granted::Retry { .. } => "retry".to_owned(),
        }
    };
    for (status, body, expected) in [
        (
            200,
            r#"{"access_token":"ya29","expires_in":3599,"token_type":"Bearer"}"#,
            "ya29 for 3599 s",
        ),
        (
            200,
            r#"{"access_token":"t","refresh_token":"n"}"#,
            "t for 3600 s, renewed",
        ),
        (200, r#"{"access_token":"two words"}"#, "retry"),
        (200, "<html>", "retry"),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"Bad Request"}"#,
            "refused: invalid_grant",
        ),
        (401, r#"{"error":"Jane <jane@example.com>"}"#, "refused: http_401"),
        (429, "", "retry"),
        (500, "", "retry"),
    ] {
        assert_eq!(granted(status, body), expected, "{status} {body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Names begin with letters that no key, hash or id of a body has side by side.
    #[test]
    fn nobody_is_named_in_clear(
        local in "zqx[a-z0-9.+]{1,12}[a-z0-9]",
        domain in "(gmail|example|shop-a)\\.(com|de)",
        digits in "[1-9][0-9]{9,12}",
        first in "Zqf[A-Za-zÀ-ỹ]{1,10}",
        last in "Zql[A-Za-zÀ-ỹ' -]{1,10}",
        nonsense in "\\PC{0,30}",
    ) {
        let email = format!("{local}@{domain}");
        let phone = format!("+{digits}");
        for name in Name::ALL {
            let rules = name.spec().rules;
            let mut parcel = full();
            let pairs = [(Field::Email, &email), (Field::Phone, &phone), (Field::FirstName, &first), (Field::LastName, &last)];
            for (field, text) in pairs {
                parcel.user_data.set(field, text.clone());
            }
            parcel.user_data.set(Field::City, nonsense.clone());
            parcel.user_id = Some(email.clone());
            let Ok(event) = platform(name).prepare(&parcel, now()) else { continue };
            let body = event.json().to_lowercase();
            for (field, text) in pairs {
                if rules.get(field).is_none_or(|rule| rule.is_hashed()) {
                    prop_assert!(!body.contains(&text.to_lowercase()), "{} {:?}", name, field);
                }
            }
            prop_assert!(!body.contains("zqx") && !body.contains(&digits), "{}", name);
        }
    }
}
