//! Google Data Manager API, its token endpoint, and what it says of a request later.

use std::collections::BTreeMap;

use axum::http::Method;
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::control::Later;
use super::schema::{Fault, Kind, Shape, check, is_digits, is_upper_pair, may, must};

pub(super) const STUB: Stub = Stub {
    name: "google_data_manager",
    per_event: false,
    check: judge,
    answer,
    trouble,
    event_id: |event| event["transactionId"].as_str(),
    door: |got| match call(got) {
        Call::Token => Door::Token,
        Call::Status => Door::Later,
        Call::Ingest | Call::Unknown => Door::Events,
    },
    later: Some(later),
};

const REQUEST: Shape = Shape {
    open: false,
    members: &[
        must("destinations", Kind::List(&DESTINATION)),
        must("events", Kind::Any),
        may("encoding", Kind::OneOf(&["HEX", "BASE64"])),
        may("consent", Kind::Object(&CONSENT)),
        may("validateOnly", Kind::Bool),
        may("encryptionInfo", Kind::Any),
    ],
};

const DESTINATION: Shape = Shape {
    open: false,
    members: &[
        may("reference", Kind::Text),
        must("operatingAccount", Kind::Object(&ACCOUNT)),
        may("loginAccount", Kind::Object(&ACCOUNT)),
        may("linkedAccount", Kind::Object(&ACCOUNT)),
        must(
            "productDestinationId",
            Kind::Form(is_digits, "must be made of digits"),
        ),
    ],
};

const ACCOUNT: Shape = Shape {
    open: false,
    members: &[
        must(
            "accountType",
            Kind::OneOf(&[
                "GOOGLE_ADS",
                "DATA_PARTNER",
                "GOOGLE_ANALYTICS_PROPERTY",
                "DISPLAY_VIDEO_PARTNER",
                "DISPLAY_VIDEO_ADVERTISER",
                "FLOODLIGHT_CONFIG",
            ]),
        ),
        must("accountId", Kind::Form(is_digits, "must be made of digits")),
    ],
};

const EVENT: Shape = Shape {
    open: false,
    members: &[
        must("eventTimestamp", Kind::Rfc3339),
        must("transactionId", Kind::Text),
        may("lastUpdatedTimestamp", Kind::Rfc3339),
        must(
            "eventSource",
            Kind::OneOf(&["WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER"]),
        ),
        may("adIdentifiers", Kind::Object(&AD)),
        may("userData", Kind::Object(&USER)),
        may("conversionValue", Kind::Number),
        may("currency", Kind::Currency),
        may("conversionCount", Kind::Number),
        may("consent", Kind::Object(&CONSENT)),
        may("eventDeviceInfo", Kind::Object(&DEVICE)),
        may("destinationReferences", Kind::Texts),
        may("cartData", Kind::Object(&CART)),
        may("customVariables", Kind::List(&VARIABLE)),
        may("userProperties", Kind::Object(&PROPERTIES)),
    ],
};

const CART: Shape = Shape {
    open: false,
    members: &[
        may("merchantId", Kind::Text),
        may("merchantFeedLabel", Kind::Text),
        may("merchantFeedLanguageCode", Kind::Text),
        may("transactionDiscount", Kind::Number),
        may("couponCodes", Kind::Texts),
        may("items", Kind::List(&ITEM)),
    ],
};

const ITEM: Shape = Shape {
    // More are documented than are listed.
    open: true,
    members: &[
        may("merchantProductId", Kind::Text),
        may("itemId", Kind::Text),
        // 64-bit integers travel as text.
        may("quantity", Kind::Form(is_digits, "must be an integer as text")),
        may("unitPrice", Kind::Number),
        may("conversionValue", Kind::Number),
    ],
};

const VARIABLE: Shape = Shape {
    open: false,
    members: &[must("variable", Kind::Text), must("value", Kind::Text)],
};

const PROPERTIES: Shape = Shape {
    open: false,
    members: &[
        may("customerType", Kind::OneOf(&["NEW", "RETURNING", "REENGAGED"])),
        may("customerValueBucket", Kind::OneOf(&["LOW", "MEDIUM", "HIGH"])),
    ],
};

const AD: Shape = Shape {
    open: false,
    members: &[
        may("gclid", Kind::Text),
        may("gbraid", Kind::Text),
        may("wbraid", Kind::Text),
        may("dclid", Kind::Text),
        may("sessionAttributes", Kind::Text),
        may("landingPageDeviceInfo", Kind::Object(&DEVICE)),
        may("mobileDeviceId", Kind::Text),
        may("impressionId", Kind::Text),
        may("matchId", Kind::Text),
    ],
};

const DEVICE: Shape = Shape {
    open: false,
    members: &[may("userAgent", Kind::Text), may("ipAddress", Kind::Ip)],
};

const USER: Shape = Shape {
    open: false,
    members: &[must("userIdentifiers", Kind::List(&IDENTIFIER))],
};

const IDENTIFIER: Shape = Shape {
    open: false,
    members: &[
        may("emailAddress", Kind::Sha),
        may("phoneNumber", Kind::Sha),
        may("address", Kind::Object(&ADDRESS)),
    ],
};

const ADDRESS: Shape = Shape {
    open: false,
    members: &[
        must("givenName", Kind::Sha),
        must("familyName", Kind::Sha),
        must(
            "regionCode",
            Kind::Form(is_upper_pair, "must be two capitals, in clear"),
        ),
        must("postalCode", Kind::Text),
    ],
};

const GRANT: Kind = Kind::OneOf(&["CONSENT_GRANTED", "CONSENT_DENIED"]);
const CONSENT: Shape = Shape {
    open: false,
    members: &[may("adUserData", GRANT), may("adPersonalization", GRANT)],
};

/// What the request is for.
#[derive(PartialEq, Eq)]
enum Call {
    Ingest,
    Status,
    Token,
    Unknown,
}

fn call(got: &Got) -> Call {
    match got.parts().as_slice() {
        ["v1", "events:ingest"] => Call::Ingest,
        ["v1", "requestStatus:retrieve"] => Call::Status,
        ["token"] => Call::Token,
        _ => Call::Unknown,
    }
}

fn judge(got: &Got, report: &mut Report) {
    match call(got) {
        Call::Unknown => report.expect(got, &Method::POST, false),
        Call::Token => judge_token(got, report),
        Call::Status => {
            report.expect(got, &Method::GET, true);
            report.expect_token(got.bearer());
            if !got
                .query
                .get("requestId")
                .is_some_and(|id| id.starts_with("stub-"))
            {
                report.request.push(Fault::coded(
                    "requestId",
                    "is of no request",
                    "INVALID_REQUEST_ID",
                ));
            }
        }
        Call::Ingest => {
            report.expect(got, &Method::POST, true);
            report.expect_token(got.bearer());
            report.expect_events(&got.json, &REQUEST, "events", 2000, |event, faults| {
                check(event, &EVENT, "", faults);
                rules(got, event, faults);
            });
            let personal = |event: &Value| !event["userData"].is_null();
            let events = got.json["events"].as_array();
            if got.json["encoding"].is_null() && events.is_some_and(|events| events.iter().any(personal)) {
                report.request.push(Fault::coded(
                    "encoding",
                    "is required with userData",
                    "REQUIRED_FIELD_MISSING",
                ));
            }
            if got.json["destinations"]
                .as_array()
                .is_some_and(|list| list.len() > 10)
            {
                report.request.push(Fault::coded(
                    "destinations",
                    "has more than 10",
                    "TOO_MANY_DESTINATIONS",
                ));
            }
        }
    }
}

/// The refresh token grant, as a form.
pub(super) fn judge_token(got: &Got, report: &mut Report) {
    if got.method != Method::POST {
        report.route = Some("must be a POST".to_owned());
    }
    let form: Vec<(String, String)> = form_urlencoded::parse(&got.body).into_owned().collect();
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    if field("grant_type") != Some("refresh_token") {
        report
            .request
            .push(Fault::new("grant_type", "must be refresh_token"));
    }
    for name in ["client_id", "client_secret"] {
        if field(name).is_none_or(str::is_empty) {
            report.request.push(Fault::new(name, "is required"));
        }
    }
    report.expect_token(field("refresh_token"));
}

/// The answer of a token endpoint.
pub(super) fn answer_token(report: &Report) -> Reply {
    let error = |code: &str| Reply::new(400, json!({ "error": code, "error_description": "stub" }));
    match (&report.credentials, report.is_clean()) {
        (Some(_), _) => error("invalid_grant"),
        (None, false) => error("invalid_request"),
        (None, true) => Reply::new(
            200,
            json!({ "access_token": "stub-access-token", "expires_in": 3599, "scope": "stub", "token_type": "Bearer" }),
        ),
    }
}

fn rules(got: &Got, event: &Value, faults: &mut Vec<Fault>) {
    let at = event["eventTimestamp"]
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    if let Some(at) = at {
        let ago = got.now - at.to_utc();
        if ago > TimeDelta::days(90) || ago < TimeDelta::minutes(-1) {
            faults.push(Fault::coded(
                "eventTimestamp",
                "is too old, or ahead",
                "EVENT_TIME_INVALID",
            ));
        }
    }
    let ad = &event["adIdentifiers"];
    let clicks = ["gclid", "gbraid", "wbraid"]
        .into_iter()
        .filter(|name| !ad[name].is_null())
        .count();
    if clicks > 1 {
        faults.push(Fault::coded(
            "adIdentifiers",
            "has more than one click id",
            "INVALID_EVENT",
        ));
    }
    let identifiers = event["userData"]["userIdentifiers"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if clicks == 0 && ad["dclid"].is_null() && identifiers.is_empty() {
        faults.push(Fault::coded("", "has no identifier", "NO_IDENTIFIERS_PROVIDED"));
    }
    if identifiers.len() > 10 {
        faults.push(Fault::coded(
            "userData",
            "has more than 10",
            "TOO_MANY_USER_IDENTIFIERS",
        ));
    }
    if identifiers
        .iter()
        .any(|one| one.as_object().is_some_and(|one| one.len() != 1))
    {
        faults.push(Fault::coded(
            "userData.userIdentifiers",
            "must have one member each",
            "INVALID_EVENT",
        ));
    }
    if !event["conversionValue"].is_null() && event["currency"].is_null() {
        faults.push(Fault::coded(
            "currency",
            "is required with a value",
            "REQUIRED_FIELD_MISSING",
        ));
    }
    let references = event["destinationReferences"].as_array().into_iter().flatten();
    for reference in references {
        let known = got.json["destinations"]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| &one["reference"] == reference));
        if !known {
            faults.push(Fault::coded(
                "destinationReferences",
                "names no destination",
                "INVALID_DESTINATION",
            ));
        }
    }
}

fn answer(got: &Got, report: &Report) -> Reply {
    let call = call(got);
    if call == Call::Token {
        return answer_token(report);
    }
    if report.route.is_some() {
        return error(404, "NOT_FOUND", "Not found", Vec::new());
    }
    if report.credentials.is_some() {
        return error(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials",
            Vec::new(),
        );
    }
    if report.has_faults() {
        let request = report.request.iter().map(|fault| (None, fault));
        let events = report
            .bad()
            .flat_map(|(index, faults)| faults.iter().map(move |fault| (Some(index), fault)));
        return error(
            400,
            "INVALID_ARGUMENT",
            "There was a problem with the request.",
            request.chain(events).collect(),
        );
    }
    // The id says how many events there were: nothing has to be remembered.
    match call {
        Call::Status => {
            let success = Later {
                status: "SUCCESS".to_owned(),
                ..Later::default()
            };
            later(got, &success)
        }
        _ => {
            let id = format!("stub-{}-{}", got.now.timestamp_micros(), report.events.len());
            Reply::new(200, json!({ "requestId": id }))
        }
    }
}

/// What became of a request.
fn later(got: &Got, told: &Later) -> Reply {
    let id = got.query.get("requestId").map_or("", String::as_str);
    let count = id.rsplit('-').next().unwrap_or("0");
    let counts = |reasons: &BTreeMap<String, u64>, prefix: &str| -> Vec<Value> {
        let reasons = reasons.iter();
        reasons
            .map(|(reason, count)| json!({ "recordCount": count.to_string(), "reason": format!("{prefix}{reason}") }))
            .collect()
    };
    let mut status = json!({ "destination": {}, "requestStatus": told.status });
    if told.status != "PROCESSING" {
        status["eventsIngestionStatus"] = json!({ "recordCount": count });
    }
    if !told.errors.is_empty() {
        let counts = counts(&told.errors, "PROCESSING_ERROR_REASON_");
        status["errorInfo"] = json!({ "errorCounts": counts });
    }
    if !told.warnings.is_empty() {
        let counts = counts(&told.warnings, "PROCESSING_WARNING_REASON_");
        status["warningInfo"] = json!({ "warningCounts": counts });
    }
    Reply::new(200, json!({ "requestStatusPerDestination": [status] }))
}

fn error(status: u16, word: &str, message: &str, faults: Vec<(Option<usize>, &Fault)>) -> Reply {
    let violations: Vec<Value> = faults
        .iter()
        .map(|(index, fault)| {
            let field = match index {
                Some(index) => format!("events.events[{index}].{}", fault.field),
                None => fault.field.clone(),
            };
            json!({ "field": field, "description": fault.message, "reason": fault.code.unwrap_or("INVALID_FORMAT") })
        })
        .collect();
    let reason = violations
        .first()
        .map_or(Value::Null, |first| first["reason"].clone());
    let mut details = Vec::new();
    if !violations.is_empty() {
        details.push(
            json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason,
            "domain": "datamanager.googleapis.com" }),
        );
        details.push(
            json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations }),
        );
    }
    details.push(json!({ "@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "stub" }));
    Reply::new(
        status,
        json!({ "error": { "code": status, "message": message, "status": word, "details": details } }),
    )
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => error(429, "RESOURCE_EXHAUSTED", "Quota exceeded", Vec::new()),
        Trouble::ServerError => error(500, "INTERNAL", "Internal error", Vec::new()),
        // It never does so: this is an outage.
        Trouble::ErrorIn200 => error(503, "UNAVAILABLE", "The service is unavailable", Vec::new()),
    }
}
