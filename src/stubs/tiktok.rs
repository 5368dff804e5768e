//! TikTok Events API 2.0: HTTP 200 whatever happened, and the error in `code`.

use axum::http::Method;
use serde_json::{Value, json};

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::schema::{Fault, Kind, Shape, check, is_lower_pair, is_lower_word, may, must};

pub(super) const STUB: Stub = Stub {
    name: "tiktok",
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
        must("event_source", Kind::OneOf(&["web", "app", "offline", "crm"])),
        must("event_source_id", Kind::Text),
        must("data", Kind::Any),
        may("test_event_code", Kind::Text),
        may("partner_name", Kind::Text),
    ],
};

const EVENT: Shape = Shape {
    open: false,
    members: &[
        must("event", Kind::Text),
        must("event_time", Kind::Int),
        must("event_id", Kind::Text),
        must("user", Kind::Object(&USER)),
        may("properties", Kind::Object(&PROPERTIES)),
        may("page", Kind::Object(&PAGE)),
        may("limited_data_use", Kind::Bool),
    ],
};

const USER: Shape = Shape {
    open: false,
    members: &[
        may("email", Kind::Shas),
        may("phone", Kind::Shas),
        may("external_id", Kind::Shas),
        may("first_name", Kind::Sha),
        may("last_name", Kind::Sha),
        may("zip_code", Kind::Sha),
        may(
            "city",
            Kind::Form(is_lower_word, "must be small letters and digits, in clear"),
        ),
        may(
            "state",
            Kind::Form(is_lower_pair, "must be two small letters, in clear"),
        ),
        may(
            "country",
            Kind::Form(is_lower_pair, "must be two small letters, in clear"),
        ),
        may("ip", Kind::Ip),
        may("user_agent", Kind::Text),
        may("locale", Kind::Text),
        may("ttclid", Kind::Text),
        may("ttp", Kind::Text),
    ],
};

const PROPERTIES: Shape = Shape {
    open: false,
    members: &[
        may("currency", Kind::Currency),
        may("value", Kind::Number),
        may("contents", Kind::List(&CONTENT)),
        may("content_type", Kind::OneOf(&["product", "product_group"])),
        may("content_ids", Kind::Texts),
        may("num_items", Kind::Int),
        may("order_id", Kind::Text),
        may("shop_id", Kind::Text),
        may("query", Kind::Text),
        may("description", Kind::Text),
        may("status", Kind::Text),
    ],
};

const CONTENT: Shape = Shape {
    open: false,
    members: &[
        may("content_id", Kind::Text),
        may("content_type", Kind::OneOf(&["product", "product_group"])),
        may("content_name", Kind::Text),
        may("content_category", Kind::Text),
        may("price", Kind::Number),
        may("quantity", Kind::Int),
        may("brand", Kind::Text),
    ],
};

const PAGE: Shape = Shape {
    open: false,
    members: &[must("url", Kind::Url), may("referrer", Kind::Url)],
};

fn judge(got: &Got, report: &mut Report) {
    // The slash at the end belongs to it.
    let path = got.path.starts_with("open_api/v1.") && got.path.ends_with("/event/track/");
    report.expect(got, &Method::POST, path);
    report.expect_token(got.header("access-token"));
    report.expect_events(&got.json, &REQUEST, "data", 1000, |event, faults| {
        check(event, &EVENT, "", faults);
        rules(got, event, faults);
    });
}

fn rules(got: &Got, event: &Value, faults: &mut Vec<Fault>) {
    if let Some(at) = event["event_time"].as_i64() {
        let ago = got.seconds_ago(at).num_seconds();
        if !(-60..=28 * 86_400).contains(&ago) {
            faults.push(Fault::new("event_time", "is too old, or ahead"));
        }
    }
    if got.json["event_source"] == "web" && event["page"].is_null() {
        faults.push(Fault::new("page.url", "is required of the web"));
    }
    let properties = &event["properties"];
    if event["event"] == "Purchase" && (properties["value"].is_null() || properties["currency"].is_null()) {
        faults.push(Fault::new(
            "properties.value",
            "and currency are required of a Purchase",
        ));
    }
}

fn error(status: u16, code: i64, message: &str) -> Reply {
    Reply::new(
        status,
        json!({ "code": code, "message": message, "request_id": "stub", "data": {} }),
    )
}

fn answer(got: &Got, report: &Report) -> Reply {
    if report.route.is_some() {
        return error(404, 40_000, "no such endpoint");
    }
    if report.credentials.is_some() {
        let code = if got.header("access-token").is_none() {
            40_104
        } else {
            40_102
        };
        return error(200, code, "Access token is empty or has expired");
    }
    if let Some(fault) = report.request.first() {
        return error(200, 40_002, &fault.words());
    }
    let messages: Vec<String> = report
        .bad()
        .flat_map(|(index, faults)| faults.iter().take(1).map(move |fault| (index, fault)))
        .map(|(index, fault)| format!("Batch.{index}.{}: {}", fault.field, fault.message))
        .collect();
    if messages.is_empty() {
        return error(200, 0, "OK");
    }
    error(200, 40_002, &messages.join("; "))
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => error(200, 40_100, "Too many requests"),
        Trouble::ServerError => error(500, 50_000, "System error"),
        Trouble::ErrorIn200 => error(200, 50_002, "Service error"),
    }
}
