//! Meta Conversions API.

use axum::http::Method;
use serde_json::{Value, json};

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::schema::{Fault, Kind, Shape, check, is_digits, may, must};

pub(super) const STUB: Stub = Stub {
    name: "meta",
    per_event: false,
    check: judge,
    answer,
    trouble,
    event_id: |event| event["event_id"].as_str(),
    door: |_| Door::Events,
    later: None,
};

const REQUEST: Shape = Shape {
    open: false,
    members: &[
        must("data", Kind::Any),
        may("access_token", Kind::Text),
        may("appsecret_proof", Kind::Text),
        may("test_event_code", Kind::Text),
        may("partner_agent", Kind::Text),
        may("namespace_id", Kind::Text),
        may("upload_id", Kind::Text),
        may("upload_tag", Kind::Text),
        may("upload_source", Kind::Text),
    ],
};

const EVENT: Shape = Shape {
    open: false,
    members: &[
        must("event_name", Kind::Text),
        must("event_time", Kind::Int),
        must("event_id", Kind::Text),
        must(
            "action_source",
            Kind::OneOf(&[
                "email",
                "website",
                "app",
                "phone_call",
                "chat",
                "physical_store",
                "system_generated",
                "business_messaging",
                "other",
            ]),
        ),
        may("event_source_url", Kind::Url),
        may("referrer_url", Kind::Url),
        must("user_data", Kind::Object(&USER)),
        may("custom_data", Kind::Object(&CUSTOM)),
        may("opt_out", Kind::Bool),
        may("data_processing_options", Kind::Any),
        may("data_processing_options_country", Kind::Int),
        may("data_processing_options_state", Kind::Int),
    ],
};

const USER: Shape = Shape {
    open: false,
    members: &[
        may("em", Kind::Shas),
        may("ph", Kind::Shas),
        may("fn", Kind::Shas),
        may("ln", Kind::Shas),
        may("ge", Kind::Shas),
        may("db", Kind::Shas),
        may("ct", Kind::Shas),
        may("st", Kind::Shas),
        may("zp", Kind::Shas),
        may("country", Kind::Shas),
        may("external_id", Kind::Ids),
        may("client_ip_address", Kind::Ip),
        may("client_user_agent", Kind::Text),
        may(
            "fbc",
            Kind::Form(is_cookie, "must be fb.<digits>.<milliseconds>.<payload>"),
        ),
        may(
            "fbp",
            Kind::Form(is_cookie, "must be fb.<digits>.<milliseconds>.<payload>"),
        ),
        may("subscription_id", Kind::Text),
        may("lead_id", Kind::Int),
    ],
};

const CUSTOM: Shape = Shape {
    // Advertisers may send keys of their own.
    open: true,
    members: &[
        may("value", Kind::Number),
        may("currency", Kind::Currency),
        may("content_name", Kind::Text),
        may("content_category", Kind::Text),
        may("content_ids", Kind::Texts),
        may("contents", Kind::List(&CONTENT)),
        may("content_type", Kind::OneOf(&["product", "product_group"])),
        may("order_id", Kind::Text),
        may("num_items", Kind::Int),
        may("predicted_ltv", Kind::Number),
        may("status", Kind::Text),
    ],
};

const CONTENT: Shape = Shape {
    open: false,
    members: &[
        must("id", Kind::Text),
        may("quantity", Kind::Int),
        may("item_price", Kind::Number),
        may("title", Kind::Text),
        may("description", Kind::Text),
        may("brand", Kind::Text),
        may("category", Kind::Text),
        may(
            "delivery_category",
            Kind::OneOf(&["in_store", "curbside", "home_delivery"]),
        ),
    ],
};

/// `fb.1.1700000000000.payload`, with a mark at the end or not: a language's, of two characters, or a library's, of eight.
fn is_cookie(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    matches!(parts.len(), 4 | 5)
        && parts[0] == "fb"
        && is_digits(parts[1])
        && is_digits(parts[2])
        && !parts[3].is_empty()
        && parts.get(4).is_none_or(|mark| {
            ["AQ", "Ag", "Aw", "BA", "BQ", "Bg"].contains(mark)
                || (mark.len() == 8
                    && mark
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)))
        })
}

fn judge(got: &Got, report: &mut Report) {
    let path = match got.parts().as_slice() {
        [version, pixel, "events"] => version.starts_with('v') && version.contains('.') && is_digits(pixel),
        _ => false,
    };
    report.expect(got, &Method::POST, path);
    let token = got.query.get("access_token").map(String::as_str);
    report.expect_token(token.or(got.json["access_token"].as_str()));
    report.expect_bytes(got, 1 << 20);
    report.expect_events(&got.json, &REQUEST, "data", 1000, |event, faults| {
        check(event, &EVENT, "", faults);
        rules(got, event, faults);
    });
}

fn rules(got: &Got, event: &Value, faults: &mut Vec<Fault>) {
    if let Some(at) = event["event_time"].as_i64() {
        let ago = got.seconds_ago(at);
        let most = if event["action_source"] == "physical_store" {
            62
        } else {
            7
        };
        if ago.num_seconds() > most * 86_400 {
            faults.push(Fault::coded("event_time", "is too old", "2804003"));
        }
        if ago.num_seconds() < -60 {
            faults.push(Fault::coded("event_time", "is in the future", "2804003"));
        }
    }
    let custom = &event["custom_data"];
    if event["event_name"] == "Purchase" {
        if custom["value"].is_null() {
            faults.push(Fault::coded(
                "custom_data.value",
                "is required of a Purchase",
                "2804009",
            ));
        }
        if custom["currency"].is_null() {
            faults.push(Fault::coded(
                "custom_data.currency",
                "is required of a Purchase",
                "2804009",
            ));
        }
    }
    let user = &event["user_data"];
    if event["action_source"] == "website" {
        if event["event_source_url"].is_null() {
            faults.push(Fault::new("event_source_url", "is required of a website"));
        }
        if user["client_user_agent"].is_null() {
            faults.push(Fault::new(
                "user_data.client_user_agent",
                "is required of a website",
            ));
        }
    }
    let there = |name: &str| !user[name].is_null();
    let known = [
        "em",
        "ph",
        "external_id",
        "fbc",
        "fbp",
        "lead_id",
        "subscription_id",
    ]
    .into_iter()
    .any(there)
        || (there("client_ip_address") && there("client_user_agent"))
        || (there("fn") && there("ln") && (there("zp") || there("ct")));
    if !known {
        faults.push(Fault::coded(
            "user_data",
            "has not enough customer information",
            "2804050",
        ));
    }
    let options = &event["data_processing_options"];
    if !options.is_null() && options != &json!([]) && options != &json!(["LDU"]) {
        faults.push(Fault::new("data_processing_options", "must be [] or [\"LDU\"]"));
    }
    let place = ["country", "state"].map(|name| event[format!("data_processing_options_{name}")].as_u64());
    match (options == &json!(["LDU"]), place) {
        (true, [Some(0), Some(0)]) if user["client_ip_address"].is_null() => faults.push(Fault::new(
            "data_processing_options_state",
            "of 0 needs the address that it is found out by",
        )),
        (true, [Some(0), Some(0)]) | (false, [None, None]) => {}
        (true, [Some(1), Some(state)]) if state > 0 => {}
        _ => faults.push(Fault::new(
            "data_processing_options_country",
            "and state must be 0 and 0, or 1 and a state, with LDU and not without",
        )),
    }
}

fn error(status: u16, code: i64, subcode: Option<&str>, message: &str) -> Reply {
    let mut error =
        json!({ "message": message, "type": "OAuthException", "code": code, "fbtrace_id": "AStub" });
    if let Some(subcode) = subcode.and_then(|text| text.parse::<i64>().ok()) {
        error["error_subcode"] = subcode.into();
    }
    Reply::new(status, json!({ "error": error }))
}

fn answer(_got: &Got, report: &Report) -> Reply {
    if report.route.is_some() {
        return error(400, 100, Some("33"), "Unsupported post request");
    }
    if let Some(fault) = &report.credentials {
        return error(401, 190, Some("463"), fault);
    }
    let faults = report.request.iter().chain(report.events.iter().flatten());
    match faults.into_iter().next() {
        Some(fault) => error(400, 100, fault.code.or(Some("2804019")), "Invalid parameter"),
        None => Reply::new(
            200,
            json!({ "events_received": report.events.len(), "messages": [], "fbtrace_id": "AStub" }),
        ),
    }
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => error(
            400,
            80_003,
            None,
            "There have been too many calls to this ad account",
        ),
        Trouble::ServerError => error(500, 2, None, "Service temporarily unavailable"),
        Trouble::ErrorIn200 => error(200, 1, None, "An unknown error occurred"),
    }
}
