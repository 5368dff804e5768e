//! Pinterest API for Conversions v5.

use axum::http::Method;
use serde_json::{Value, json};

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::schema::{Fault, Kind, Shape, check, is_digits, may, must};

pub(super) const STUB: Stub = Stub {
    name: "pinterest",
    per_event: true,
    check: judge,
    answer,
    trouble,
    event_id: |event| event["event_id"].as_str(),
    door: |_| Door::Events,
    later: None,
};

const REQUEST: Shape = Shape {
    open: false,
    members: &[must("data", Kind::Any)],
};

const EVENT: Shape = Shape {
    open: false,
    members: &[
        must(
            "event_name",
            Kind::OneOf(&[
                "add_payment_info",
                "add_to_cart",
                "add_to_wishlist",
                "app_install",
                "app_open",
                "checkout",
                "contact",
                "custom",
                "customize_product",
                "find_location",
                "initiate_checkout",
                "lead",
                "page_visit",
                "schedule",
                "search",
                "signup",
                "start_trial",
                "submit_application",
                "subscribe",
                "view_category",
                "view_content",
                "watch_video",
            ]),
        ),
        must(
            "action_source",
            Kind::OneOf(&["web", "app_android", "app_ios", "offline"]),
        ),
        must("event_time", Kind::Int),
        must("event_id", Kind::Text),
        must("user_data", Kind::Object(&USER)),
        may("event_source_url", Kind::Url),
        may("opt_out", Kind::Bool),
        may("partner_name", Kind::Text),
        may("language", Kind::Text),
        may("wifi", Kind::Bool),
        may("custom_data", Kind::Object(&CUSTOM)),
    ],
};

/// Lists of hashes, but for the last ones.
const USER: Shape = Shape {
    open: false,
    members: &[
        may("em", Kind::Shas),
        may("ph", Kind::Shas),
        may("ge", Kind::Shas),
        may("db", Kind::Shas),
        may("fn", Kind::Shas),
        may("ln", Kind::Shas),
        may("ct", Kind::Shas),
        may("st", Kind::Shas),
        may("zp", Kind::Shas),
        may("country", Kind::Shas),
        may("external_id", Kind::Shas),
        may("hashed_maids", Kind::Shas),
        may("click_id", Kind::Text),
        may("client_ip_address", Kind::Ip),
        may("client_user_agent", Kind::Text),
        may("partner_id", Kind::Text),
    ],
};

const CUSTOM: Shape = Shape {
    open: false,
    members: &[
        may("currency", Kind::Currency),
        may("value", Kind::Decimal),
        may("content_ids", Kind::Texts),
        may("contents", Kind::List(&CONTENT)),
        may("num_items", Kind::Int),
        may("order_id", Kind::Text),
        may("search_string", Kind::Text),
        may("content_name", Kind::Text),
        may("content_category", Kind::Text),
        may("content_brand", Kind::Text),
        may("opt_out_type", Kind::OneOf(&["LDP"])),
        may("predicted_ltv", Kind::Decimal),
        may("np", Kind::Text),
    ],
};

const CONTENT: Shape = Shape {
    open: false,
    members: &[
        may("id", Kind::Text),
        may("item_price", Kind::Decimal),
        may("quantity", Kind::Int),
        may("item_name", Kind::Text),
        may("item_category", Kind::Text),
        may("item_brand", Kind::Text),
    ],
};

fn judge(got: &Got, report: &mut Report) {
    let path =
        matches!(got.parts().as_slice(), ["v5", "ad_accounts", account, "events"] if is_digits(account));
    report.expect(got, &Method::POST, path);
    report.expect_token(got.bearer());
    let most = match got.query.get("test").is_some_and(|test| test == "true") {
        true => 20,
        false => 1000,
    };
    report.expect_events(&got.json, &REQUEST, "data", most, |event, faults| {
        check(event, &EVENT, "", faults);
        if let Some(at) = event["event_time"].as_i64() {
            let ago = got.seconds_ago(at).num_seconds();
            let most = if event["action_source"] == "offline" {
                90
            } else {
                7
            };
            if !(-60..=most * 86_400).contains(&ago) {
                faults.push(Fault::new("event_time", "is too old, or ahead"));
            }
        }
        let user = &event["user_data"];
        for name in ["em", "ph", "fn", "ln", "ct", "st", "zp", "country", "external_id"] {
            if user[name].is_string() {
                faults.push(Fault::new(&format!("user_data.{name}"), "must be a list"));
            }
        }
        let there = |name: &str| !user[name].is_null();
        let known = there("em")
            || there("hashed_maids")
            || (there("client_ip_address") && there("client_user_agent"));
        if !known {
            faults.push(Fault::new(
                "user_data",
                "needs em, hashed_maids, or address and browser",
            ));
        }
    });
}

fn error(status: u16, code: i64, message: &str) -> Reply {
    Reply::new(status, json!({ "code": code, "message": message }))
}

fn answer(_got: &Got, report: &Report) -> Reply {
    if report.route.is_some() {
        return error(404, 3, "Not found");
    }
    if report.credentials.is_some() {
        return error(401, 2, "Authentication failed.");
    }
    if let Some(fault) = report.request.first() {
        return error(400, 4196, &fault.words());
    }
    let rows: Vec<Value> = report
        .events
        .iter()
        .map(|faults| match faults.first() {
            None => json!({ "status": "processed", "error_message": "", "warning_message": "" }),
            Some(fault) => {
                json!({ "status": "failed", "error_message": fault.words(), "warning_message": "" })
            }
        })
        .collect();
    let processed = report.events.iter().filter(|faults| faults.is_empty()).count();
    let body =
        json!({ "num_events_received": rows.len(), "num_events_processed": processed, "events": rows });
    if processed == report.events.len() {
        return Reply::new(200, body);
    }
    Reply::new(
        422,
        json!({ "code": 4198, "message": "Not all events were processed", "details": body }),
    )
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => error(429, 8, "You have exceeded your rate limit. Try again later."),
        Trouble::ServerError => error(503, 4197, "The service is temporarily unavailable"),
        Trouble::ErrorIn200 => Reply::new(
            200,
            json!({ "num_events_received": 1, "num_events_processed": 0,
                "events": [{ "status": "failed", "error_message": "not processed", "warning_message": "" }] }),
        ),
    }
}
