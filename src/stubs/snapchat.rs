//! Snapchat Conversions API v3.

use axum::http::Method;
use serde_json::{Value, json};

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::schema::{Fault, Kind, Shape, check, may, must};

pub(super) const STUB: Stub = Stub {
    name: "snapchat",
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
    members: &[must("data", Kind::Any), may("test_event_code", Kind::Text)],
};

const EVENT: Shape = Shape {
    open: false,
    members: &[
        must(
            "event_name",
            Kind::OneOf(&[
                "PURCHASE",
                "SAVE",
                "START_CHECKOUT",
                "ADD_CART",
                "VIEW_CONTENT",
                "ADD_BILLING",
                "SIGN_UP",
                "SEARCH",
                "PAGE_VIEW",
                "SUBSCRIBE",
                "AD_CLICK",
                "AD_VIEW",
                "COMPLETE_TUTORIAL",
                "INVITE",
                "LOGIN",
                "SHARE",
                "RESERVE",
                "ACHIEVEMENT_UNLOCKED",
                "ADD_TO_WISHLIST",
                "SPENT_CREDITS",
                "RATE",
                "START_TRIAL",
                "LIST_VIEW",
                "APP_INSTALL",
                "APP_OPEN",
                "LEVEL_COMPLETE",
                "CUSTOM_EVENT_1",
                "CUSTOM_EVENT_2",
                "CUSTOM_EVENT_3",
                "CUSTOM_EVENT_4",
                "CUSTOM_EVENT_5",
            ]),
        ),
        must("event_time", Kind::Int),
        must(
            "action_source",
            Kind::OneOf(&["web", "WEB", "website", "MOBILE_APP", "app", "OFFLINE"]),
        ),
        must("event_id", Kind::Text),
        may("event_source_url", Kind::Url),
        may("opt_out", Kind::Bool),
        may("data_processing_options", Kind::Any),
        may("data_processing_options_country", Kind::Int),
        may("data_processing_options_state", Kind::Int),
        may("integration", Kind::Text),
        must("user_data", Kind::Object(&USER)),
        may("custom_data", Kind::Object(&CUSTOM)),
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
        may("ct", Kind::Shas),
        may("st", Kind::Shas),
        may("zp", Kind::Shas),
        may("country", Kind::Shas),
        may("external_id", Kind::Shas),
        may("db", Kind::Shas),
        may("client_ip_address", Kind::Ip),
        may("client_user_agent", Kind::Text),
        may("sc_click_id", Kind::Text),
        may("sc_cookie1", Kind::Text),
        may("lead_id", Kind::Text),
        may("subscription_id", Kind::Text),
    ],
};

const CUSTOM: Shape = Shape {
    open: false,
    members: &[
        may("currency", Kind::Currency),
        may("value", Kind::Number),
        may("order_id", Kind::Text),
        may("content_ids", Kind::Texts),
        may("contents", Kind::List(&CONTENT)),
        may("content_category", Kind::Texts),
        may("brands", Kind::Texts),
        may("num_items", Kind::Int),
        may("search_string", Kind::Text),
        may("sign_up_method", Kind::Text),
        may("status", Kind::Text),
        may("delivery_category", Kind::Text),
    ],
};

const CONTENT: Shape = Shape {
    open: false,
    members: &[
        must("id", Kind::Text),
        may("quantity", Kind::Int),
        may("item_price", Kind::Number),
        may("brand", Kind::Text),
    ],
};

fn judge(got: &Got, report: &mut Report) {
    let path = matches!(
        got.parts().as_slice(),
        ["v3", _, "events"] | ["v3", _, "events", "validate"]
    );
    report.expect(got, &Method::POST, path);
    report.expect_token(got.query.get("access_token").map(String::as_str));
    report.expect_events(&got.json, &REQUEST, "data", 2000, |event, faults| {
        check(event, &EVENT, "", faults);
        if let Some(at) = event["event_time"].as_i64() {
            // Seconds and milliseconds are both taken.
            let seconds = if at > 100_000_000_000 { at / 1000 } else { at };
            let ago = got.seconds_ago(seconds).num_seconds();
            if !(-60..=37 * 86_400).contains(&ago) {
                faults.push(Fault::new("event_time", "is too old, or ahead"));
            }
        }
        let options = &event["data_processing_options"];
        if !options.is_null() && options != &json!(["LDU"]) {
            faults.push(Fault::new("data_processing_options", "must be [\"LDU\"]"));
        }
        let user = &event["user_data"];
        let there = |name: &str| !user[name].is_null();
        let known = there("em") || there("ph") || (there("client_ip_address") && there("client_user_agent"));
        if !known {
            faults.push(Fault::new("user_data", "needs em, ph, or address and browser"));
        }
    });
}

fn invalid(status: u16, event: Option<usize>, message: &str) -> Reply {
    let mut body = json!({ "status": "INVALID", "reason": message,
        "errors": { "codes": ["INVALID_PARAMETER"], "error_msgs": [message] } });
    if let Some(event) = event {
        body["event"] = event.into();
    }
    Reply::new(status, body)
}

fn answer(_got: &Got, report: &Report) -> Reply {
    if report.route.is_some() {
        return invalid(404, None, "no such endpoint");
    }
    if report.credentials.is_some() {
        return invalid(401, None, "the token is not valid");
    }
    if let Some(fault) = report.request.first() {
        return invalid(400, None, &fault.words());
    }
    match report.bad().next() {
        Some((index, faults)) => {
            let words: Vec<String> = faults.iter().map(Fault::words).collect();
            invalid(400, Some(index), &words.join("; "))
        }
        None => Reply::new(
            200,
            json!({ "status": "VALID", "reason": "All events have been processed successfully." }),
        ),
    }
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => Reply::new(429, Value::Null).header("retry-after", "2"),
        Trouble::ServerError => Reply::new(500, Value::Null),
        Trouble::ErrorIn200 => invalid(200, None, "not processed"),
    }
}
