//! Microsoft UET Conversions API.

use axum::http::Method;
use serde_json::{Value, json};

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::schema::{Fault, Kind, Shape, check, is_digits, may, must};

pub(super) const STUB: Stub = Stub {
    name: "microsoft",
    per_event: true,
    check: judge,
    answer,
    trouble,
    event_id: |event| event["eventId"].as_str(),
    door: |_| Door::Events,
    later: None,
};

const REQUEST: Shape = Shape {
    open: false,
    members: &[
        must("data", Kind::Any),
        may("continueOnValidationError", Kind::Bool),
        may("dataProvider", Kind::Text),
    ],
};

const EVENT: Shape = Shape {
    open: false,
    members: &[
        must("eventType", Kind::OneOf(&["pageLoad", "custom"])),
        must("eventId", Kind::Text),
        may("eventName", Kind::Text),
        must("eventTime", Kind::Int),
        may("eventSourceUrl", Kind::Url),
        may("referrerUrl", Kind::Url),
        may("pageTitle", Kind::Text),
        may("keywords", Kind::Text),
        may("pageLoadId", Kind::Text),
        may("adStorageConsent", Kind::OneOf(&["G", "D"])),
        must("userData", Kind::Object(&USER)),
        may("customData", Kind::Object(&CUSTOM)),
    ],
};

const USER: Shape = Shape {
    open: false,
    members: &[
        may("anonymousId", Kind::Text),
        may("externalId", Kind::Text),
        may("em", Kind::Sha),
        may("ph", Kind::Sha),
        may(
            "msclkid",
            Kind::Form(is_click, "must be 32 hex digits, or a UUID"),
        ),
        may("clientIpAddress", Kind::Ip),
        may("clientUserAgent", Kind::Text),
    ],
};

const CUSTOM: Shape = Shape {
    open: false,
    members: &[
        may("value", Kind::Number),
        may("currency", Kind::Currency),
        may("transactionId", Kind::Text),
        may("eventCategory", Kind::Text),
        may("eventLabel", Kind::Text),
        may("eventValue", Kind::Number),
        may("searchTerm", Kind::Text),
        may(
            "pageType",
            Kind::OneOf(&[
                "home",
                "category",
                "product",
                "cart",
                "purchase",
                "searchresults",
                "other",
            ]),
        ),
        may("ecommTotalValue", Kind::Number),
        may("ecommCategory", Kind::Text),
        may("itemIds", Kind::Texts),
        may("items", Kind::List(&ITEM)),
    ],
};

const ITEM: Shape = Shape {
    open: false,
    members: &[
        must("id", Kind::Text),
        may("name", Kind::Text),
        may("price", Kind::Number),
        may("quantity", Kind::Int),
    ],
};

fn is_click(text: &str) -> bool {
    let bare = text.replace('-', "");
    bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn judge(got: &Got, report: &mut Report) {
    let path = matches!(got.parts().as_slice(), ["v1", tag, "events"] if is_digits(tag));
    report.expect(got, &Method::POST, path);
    report.expect_token(got.bearer());
    report.expect_events(&got.json, &REQUEST, "data", 1000, |event, faults| {
        check(event, &EVENT, "", faults);
        if let Some(at) = event["eventTime"].as_i64() {
            let ago = got.seconds_ago(at).num_seconds();
            if !(-60..=7 * 86_400).contains(&ago) {
                faults.push(Fault::new("eventTime", "is too old, or ahead"));
            }
        }
        if event["eventType"] == "custom" && event["eventName"].is_null() {
            faults.push(Fault::new("eventName", "is required of custom events"));
        }
        if event["eventType"] == "pageLoad" && event["eventSourceUrl"].is_null() {
            faults.push(Fault::new("eventSourceUrl", "is required of page loads"));
        }
        if event["userData"]
            .as_object()
            .is_some_and(serde_json::Map::is_empty)
        {
            faults.push(Fault::new("userData", "has no identifier"));
        }
    });
}

fn answer(got: &Got, report: &Report) -> Reply {
    if report.route.is_some() {
        return Reply::new(404, Value::Null);
    }
    if report.credentials.is_some() {
        return Reply::new(401, Value::Null);
    }
    if !report.has_faults() {
        return Reply::new(200, json!({ "eventsReceived": report.events.len() }));
    }
    let details: Vec<Value> = report
        .bad()
        .flat_map(|(index, faults)| faults.iter().map(move |fault| (index, fault)))
        .map(|(index, fault)| {
            json!({ "index": index, "propertyName": fault.field, "attemptedValue": "", "errorMessage": fault.message,
                "errorCode": "InvalidValue", "isWarning": false })
        })
        .collect();
    let good = report.events.iter().filter(|faults| faults.is_empty()).count();
    let goes_on = got.json["continueOnValidationError"] == true && report.request.is_empty();
    let taken = if goes_on { good } else { 0 };
    Reply::new(
        if taken > 0 { 200 } else { 400 },
        json!({ "eventsReceived": taken, "traceId": "stub", "error": {
            "code": "ValidationError", "message": "Some events are invalid", "details": details } }),
    )
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => Reply::new(429, Value::Null).header("retry-after", "2"),
        Trouble::ServerError => Reply::new(500, Value::Null),
        Trouble::ErrorIn200 => Reply::new(
            200,
            json!({ "eventsReceived": 0, "traceId": "stub", "error": { "code": "Failed", "message": "Nothing was taken", "details": [] } }),
        ),
    }
}
