//! Reddit Conversions API v3.

use axum::http::Method;
use serde_json::{Value, json};

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::schema::{Fault, Kind, Shape, check, may, must};

pub(super) const STUB: Stub = Stub {
    name: "reddit",
    per_event: false,
    check: judge,
    answer,
    trouble,
    event_id: |event| event["metadata"]["conversion_id"].as_str(),
    door: |_| Door::Events,
    later: None,
};

const ENVELOPE: Shape = Shape {
    open: false,
    members: &[must("data", Kind::Any)],
};

const REQUEST: Shape = Shape {
    open: false,
    members: &[
        must("events", Kind::Any),
        may("partner", Kind::Text),
        may("test_id", Kind::Text),
    ],
};

const EVENT: Shape = Shape {
    open: false,
    members: &[
        must("event_at", Kind::Int),
        must(
            "action_source",
            Kind::OneOf(&["WEBSITE", "APP", "PHYSICAL_STORE", "OTHER"]),
        ),
        may("event_source_url", Kind::Url),
        may("click_id", Kind::Text),
        must("type", Kind::Object(&TYPE)),
        must("user", Kind::Object(&USER)),
        must("metadata", Kind::Object(&METADATA)),
    ],
};

const TYPE: Shape = Shape {
    open: false,
    members: &[
        must(
            "tracking_type",
            Kind::OneOf(&[
                "PAGE_VISIT",
                "VIEW_CONTENT",
                "SEARCH",
                "ADD_TO_CART",
                "ADD_TO_WISHLIST",
                "PURCHASE",
                "LEAD",
                "SIGN_UP",
                "CUSTOM",
            ]),
        ),
        may("custom_event_name", Kind::Text),
    ],
};

const USER: Shape = Shape {
    open: false,
    members: &[
        may("email", Kind::Sha),
        may("external_id", Kind::Sha),
        // Hashed, or in clear.
        may("ip_address", Kind::Text),
        may("phone_number", Kind::Sha),
        may("user_agent", Kind::Text),
        may("uuid", Kind::Text),
        may("data_processing_options", Kind::Object(&OPTIONS)),
    ],
};

const OPTIONS: Shape = Shape {
    open: false,
    members: &[
        must("modes", Kind::Texts),
        may("country", Kind::Text),
        may("region", Kind::Text),
    ],
};

const METADATA: Shape = Shape {
    open: false,
    members: &[
        must("conversion_id", Kind::Text),
        may("currency", Kind::Currency),
        may("item_count", Kind::Int),
        may("value", Kind::Number),
        may("products", Kind::List(&PRODUCT)),
    ],
};

const PRODUCT: Shape = Shape {
    open: false,
    members: &[
        must("id", Kind::Text),
        may("name", Kind::Text),
        may("category", Kind::Text),
        may("quantity", Kind::Int),
        may("item_price", Kind::Number),
    ],
};

fn judge(got: &Got, report: &mut Report) {
    let path = matches!(
        got.parts().as_slice(),
        ["api", "v3", "pixels", _, "conversion_events"]
    );
    report.expect(got, &Method::POST, path);
    report.expect_token(got.bearer());
    if got.header("user-agent").is_none_or(str::is_empty) {
        report.request.push(Fault::new("User-Agent", "is required"));
    }
    check(&got.json, &ENVELOPE, "", &mut report.request);
    report.expect_events(&got.json["data"], &REQUEST, "events", 1000, |event, faults| {
        check(event, &EVENT, "", faults);
        rules(got, event, faults);
    });
}

fn rules(got: &Got, event: &Value, faults: &mut Vec<Fault>) {
    if let Some(at) = event["event_at"].as_i64() {
        let ago = got.seconds_ago(at / 1000).num_seconds();
        if ago > 168 * 3600 {
            faults.push(Fault::new("event_at", "timestamp must be less than 168h0m0s old"));
        }
        if ago < -300 {
            faults.push(Fault::new(
                "event_at",
                "timestamp must be less than 5m0s in the future",
            ));
        }
    }
    let kind = &event["type"];
    if (kind["tracking_type"] == "CUSTOM") == kind["custom_event_name"].is_null() {
        faults.push(Fault::new(
            "type.custom_event_name",
            "is required of CUSTOM, and of nothing else",
        ));
    }
    let user = &event["user"];
    let there = |name: &str| !user[name].is_null();
    let known = !event["click_id"].is_null()
        || ["email", "external_id", "uuid"].into_iter().any(there)
        || (there("ip_address") && there("user_agent"));
    if !known {
        faults.push(Fault::new("user", "has no identifier"));
    }
    let options = &user["data_processing_options"];
    if !options.is_null() && options["modes"] != json!(["LDU"]) {
        faults.push(Fault::new(
            "user.data_processing_options.modes",
            "must be [\"LDU\"]",
        ));
    }
    let metadata = &event["metadata"];
    if metadata["value"].is_null() != metadata["currency"].is_null() {
        faults.push(Fault::new("metadata.value", "and currency come together"));
    }
    let counted = ["PURCHASE", "ADD_TO_CART", "ADD_TO_WISHLIST", "CUSTOM"];
    let tracked = kind["tracking_type"].as_str().unwrap_or_default();
    if !event["metadata"]["item_count"].is_null() && !counted.contains(&tracked) {
        faults.push(Fault::new("metadata.item_count", "is not taken for this type"));
    }
    let valued = counted.contains(&tracked) || ["LEAD", "SIGN_UP"].contains(&tracked);
    if !metadata["value"].is_null() && !valued {
        faults.push(Fault::new("metadata.value", "is not taken for this type"));
    }
}

fn answer(got: &Got, report: &Report) -> Reply {
    if report.route.is_some() {
        return Reply::new(404, json!({ "message": "not found" }));
    }
    if report.credentials.is_some() {
        return Reply::new(401, "Authorization Required".into());
    }
    if let Some(fault) = report.request.first() {
        let explained = format!("JSON error unexpected type: {}", fault.words());
        return Reply::new(
            403,
            json!({ "success": false, "error": { "reason": "FORBIDDEN", "explanation": explained } }),
        );
    }
    let invalid: Vec<Value> = report
        .bad()
        .map(|(index, faults)| {
            let words: Vec<String> = faults.iter().map(Fault::words).collect();
            json!({ "error_message": words.join("; "), "event": got.json["data"]["events"][index] })
        })
        .collect();
    if invalid.is_empty() {
        let message = format!(
            "Successfully processed {} conversion events.",
            report.events.len()
        );
        return Reply::new(200, json!({ "message": message }));
    }
    let message = format!(
        "There were {} invalid conversion events. None were processed.",
        invalid.len()
    );
    Reply::new(400, json!({ "message": message, "invalid_events": invalid }))
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => {
            Reply::new(429, json!({ "message": "too many requests" })).header("retry-after", "2")
        }
        Trouble::ServerError => Reply::new(500, json!({ "message": "internal error" })),
        Trouble::ErrorIn200 => Reply::new(
            200,
            json!({ "message": "There were 1 invalid conversion events. None were processed.", "invalid_events": [{}] }),
        ),
    }
}
