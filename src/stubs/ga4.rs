//! GA4 Measurement Protocol: 204 whatever comes; the debug endpoint tells.

use axum::http::Method;
use serde_json::{Value, json};

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::schema::{Fault, Kind, Shape, check, is_upper_pair, may, must};

pub(super) const STUB: Stub = Stub {
    name: "ga4",
    per_event: false,
    check: judge,
    answer,
    trouble,
    event_id: |event| event["params"]["transaction_id"].as_str(),
    door: |_| Door::Events,
    later: None,
};

const REQUEST: Shape = Shape {
    open: false,
    members: &[
        must("client_id", Kind::Text),
        may("user_id", Kind::Text),
        may("timestamp_micros", Kind::Int),
        may("user_properties", Kind::Any),
        may("user_data", Kind::Object(&USER)),
        may("consent", Kind::Object(&CONSENT)),
        may("user_location", Kind::Any),
        may("ip_override", Kind::Ip),
        may("device", Kind::Any),
        may(
            "validation_behavior",
            Kind::OneOf(&["RELAXED", "ENFORCE_RECOMMENDATIONS"]),
        ),
        must("events", Kind::Any),
    ],
};

const GRANT: Kind = Kind::OneOf(&["GRANTED", "DENIED"]);
const CONSENT: Shape = Shape {
    open: false,
    members: &[may("ad_user_data", GRANT), may("ad_personalization", GRANT)],
};

const USER: Shape = Shape {
    open: false,
    members: &[
        may("sha256_email_address", Kind::Shas),
        may("sha256_phone_number", Kind::Shas),
        may("address", Kind::List(&ADDRESS)),
    ],
};

const ADDRESS: Shape = Shape {
    open: false,
    members: &[
        may("sha256_first_name", Kind::Sha),
        may("sha256_last_name", Kind::Sha),
        may("sha256_street", Kind::Sha),
        may("city", Kind::Text),
        may("region", Kind::Text),
        may("postal_code", Kind::Text),
        may("country", Kind::Form(is_upper_pair, "must be two capitals")),
    ],
};

const EVENT: Shape = Shape {
    open: false,
    members: &[
        must(
            "name",
            Kind::Form(
                is_name,
                "must be at most 40 letters, digits and _, a letter first",
            ),
        ),
        may("params", Kind::Any),
        may("timestamp_micros", Kind::Int),
    ],
};

fn is_name(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !["ad_", "ga_", "google_", "firebase_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        && !["app_remove", "first_open", "session_start", "user_engagement"].contains(&text)
}

fn judge(got: &Got, report: &mut Report) {
    let path = matches!(
        got.parts().as_slice(),
        ["mp", "collect"] | ["debug", "mp", "collect"]
    );
    report.expect(got, &Method::POST, path);
    report.expect_token(got.query.get("api_secret").map(String::as_str));
    if !got
        .query
        .get("measurement_id")
        .is_some_and(|id| id.starts_with("G-"))
    {
        report.request.push(Fault::new("measurement_id", "must be G-..."));
    }
    if got.body.len() >= 130_000 {
        report
            .request
            .push(Fault::new("body", "must have less than 130 kB"));
    }
    if let Some(micros) = got.json["timestamp_micros"].as_i64() {
        let ago = got.seconds_ago(micros / 1_000_000).num_seconds();
        if !(-60..=72 * 3600).contains(&ago) {
            report.request.push(Fault::coded(
                "timestamp_micros",
                "is too old, or ahead",
                "VALUE_OUT_OF_BOUNDS",
            ));
        }
    }
    report.expect_events(&got.json, &REQUEST, "events", 25, |event, faults| {
        check(event, &EVENT, "", faults);
        rules(event, faults);
    });
}

fn rules(event: &Value, faults: &mut Vec<Fault>) {
    let params = &event["params"];
    let required: &[&str] = match event["name"].as_str() {
        Some("purchase") => &["transaction_id", "currency", "value"],
        Some("refund") => &["transaction_id"],
        _ => &[],
    };
    for name in required {
        if params[name].is_null() {
            faults.push(Fault::coded(name, "is required", "VALUE_REQUIRED"));
        }
    }
    if !params["value"].is_null() && (!params["value"].is_number() || !params["currency"].is_string()) {
        faults.push(Fault::coded(
            "value",
            "must be a number with a currency",
            "VALUE_INVALID",
        ));
    }
    let members = params.as_object();
    if members.is_some_and(|params| params.len() > 25) {
        faults.push(Fault::coded(
            "params",
            "has more than 25",
            "EXCEEDED_MAX_ENTITIES",
        ));
    }
    for (name, value) in members.into_iter().flatten() {
        if name.len() > 40 || value.as_str().is_some_and(|text| text.chars().count() > 100) {
            faults.push(Fault::coded(name, "is too long", "VALUE_INVALID"));
        }
    }
    for item in params["items"].as_array().into_iter().flatten() {
        let long = |value: &Value| value.as_str().is_some_and(|text| text.chars().count() > 100);
        if item.as_object().is_some_and(|item| item.values().any(long)) {
            faults.push(Fault::coded(
                "items",
                "have a value that is too long",
                "VALUE_INVALID",
            ));
        }
        if item["item_id"].is_null() && item["item_name"].is_null() {
            faults.push(Fault::coded(
                "items",
                "need item_id or item_name",
                "VALUE_REQUIRED",
            ));
        }
    }
}

fn answer(got: &Got, report: &Report) -> Reply {
    if got.path != "debug/mp/collect" {
        return Reply::new(204, Value::Null);
    }
    let faults = report.request.iter().chain(report.events.iter().flatten());
    let messages: Vec<Value> = faults
        .map(|fault| {
            json!({ "fieldPath": fault.field, "description": fault.message,
                "validationCode": fault.code.unwrap_or("VALUE_INVALID") })
        })
        .collect();
    Reply::new(200, json!({ "validationMessages": messages }))
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => Reply::new(429, Value::Null),
        Trouble::ServerError => Reply::new(500, Value::Null),
        // It takes everything, and says nothing of it.
        Trouble::ErrorIn200 => Reply::new(204, Value::Null),
    }
}
