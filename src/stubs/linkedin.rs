//! LinkedIn Conversions API, and its token endpoint.

use axum::http::Method;
use chrono::Datelike as _;
use serde_json::{Value, json};

use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::google::{answer_token, judge_token};
use super::schema::{Fault, Kind, Shape, check, is_digits, is_sha, is_upper_pair, may, must};

pub(super) const STUB: Stub = Stub {
    name: "linkedin",
    per_event: false,
    check: judge,
    answer,
    trouble,
    event_id: |event| event["eventId"].as_str(),
    door: |got| match is_token(got) {
        true => Door::Token,
        false => Door::Events,
    },
    later: None,
};

const REQUEST: Shape = Shape {
    open: false,
    members: &[must("elements", Kind::Any)],
};

const EVENT: Shape = Shape {
    open: false,
    members: &[
        must(
            "conversion",
            Kind::Form(is_rule, "must be urn:lla:llaPartnerConversion:<digits>"),
        ),
        must("conversionHappenedAt", Kind::Int),
        may("conversionValue", Kind::Object(&VALUE)),
        must("eventId", Kind::Text),
        must("user", Kind::Object(&USER)),
    ],
};

const VALUE: Shape = Shape {
    open: false,
    members: &[
        must("currencyCode", Kind::Currency),
        must("amount", Kind::Decimal),
    ],
};

const USER: Shape = Shape {
    open: false,
    members: &[
        may("userIds", Kind::List(&ID)),
        may("userInfo", Kind::Object(&INFO)),
        may("externalIds", Kind::Texts),
    ],
};

const ID: Shape = Shape {
    open: false,
    members: &[
        must(
            "idType",
            Kind::OneOf(&[
                "SHA256_EMAIL",
                "LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID",
                "ACXIOM_ID",
                "ORACLE_MOAT_ID",
            ]),
        ),
        must("idValue", Kind::Text),
    ],
};

const INFO: Shape = Shape {
    open: false,
    members: &[
        must("firstName", Kind::Text),
        must("lastName", Kind::Text),
        may("title", Kind::Text),
        may("companyName", Kind::Text),
        may("countryCode", Kind::Form(is_upper_pair, "must be two capitals")),
    ],
};

fn is_rule(text: &str) -> bool {
    text.strip_prefix("urn:lla:llaPartnerConversion:")
        .is_some_and(is_digits)
}

fn judge(got: &Got, report: &mut Report) {
    if is_token(got) {
        return judge_token(got, report);
    }
    report.expect(got, &Method::POST, got.path == "rest/conversionEvents");
    report.expect_token(got.bearer());
    if got.header("x-restli-protocol-version") != Some("2.0.0") {
        report
            .request
            .push(Fault::new("X-Restli-Protocol-Version", "must be 2.0.0"));
    }
    if got.header("x-restli-method") != Some("BATCH_CREATE") {
        report
            .request
            .push(Fault::new("X-RestLi-Method", "must be BATCH_CREATE"));
    }
    if !is_current(got) {
        report
            .request
            .push(Fault::coded("LinkedIn-Version", "is no version in force", "426"));
    }
    report.expect_events(&got.json, &REQUEST, "elements", 5000, |event, faults| {
        check(event, &EVENT, "", faults);
        if let Some(at) = event["conversionHappenedAt"].as_i64() {
            let ago = got.seconds_ago(at / 1000).num_seconds();
            if !(-60..=90 * 86_400).contains(&ago) {
                faults.push(Fault::new("conversionHappenedAt", "is too old, or ahead"));
            }
        }
        let user = &event["user"];
        if user["externalIds"].as_array().is_some_and(|ids| ids.len() > 1) {
            faults.push(Fault::new("user.externalIds", "must be one"));
        }
        if user["userIds"].is_null() && user["userInfo"].is_null() {
            faults.push(Fault::new("user", "has no id, and no name"));
        }
        for id in user["userIds"].as_array().into_iter().flatten() {
            if id["idType"] == "SHA256_EMAIL" && !id["idValue"].as_str().is_some_and(is_sha) {
                faults.push(Fault::new(
                    "user.userIds",
                    "has an email that is no SHA-256 in lower-case hex",
                ));
            }
        }
    });
}

/// Whether it is for the token endpoint: at its own path, or where a destination with a base URL of its own looks for it.
fn is_token(got: &Got) -> bool {
    matches!(got.path.as_str(), "oauth/v2/accessToken" | "token")
}

/// Whether the version is a month of the last year.
fn is_current(got: &Got) -> bool {
    let Some(version) = got
        .header("linkedin-version")
        .filter(|text| text.len() == 6 && is_digits(text))
    else {
        return false;
    };
    let months =
        |text: &str| Some(text.get(..4)?.parse::<i32>().ok()? * 12 + text.get(4..)?.parse::<i32>().ok()?);
    let today = got.now.year() * 12 + i32::try_from(got.now.month()).unwrap_or(0);
    months(version).is_some_and(|made| (0..=12).contains(&(today - made)))
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::new(
        status,
        json!({ "status": status, "serviceErrorCode": 65_600, "code": code, "message": message }),
    )
}

fn answer(got: &Got, report: &Report) -> Reply {
    if is_token(got) {
        return answer_token(report);
    }
    if report.route.is_some() {
        return error(404, "RESOURCE_NOT_FOUND", "No such resource");
    }
    if report.credentials.is_some() {
        return error(
            401,
            "EXPIRED_ACCESS_TOKEN",
            "The token used in the request has expired",
        );
    }
    if report.request.iter().any(|fault| fault.code == Some("426")) {
        return error(426, "NONEXISTENT_VERSION", "Requested version is not active");
    }
    if let Some(fault) = report.request.first() {
        return error(400, "ILLEGAL_ARGUMENT", &fault.words());
    }
    let lines: Vec<String> = report
        .bad()
        .flat_map(|(index, faults)| faults.iter().map(move |fault| (index, fault)))
        .map(|(index, fault)| {
            format!(
                "Index: {index}, ERROR :: /{} :: {}",
                fault.field.replace('.', "/"),
                fault.message
            )
        })
        .collect();
    if !lines.is_empty() {
        return error(422, "UNPROCESSABLE_ENTITY", &lines.join("\n"));
    }
    let elements: Vec<Value> = report.events.iter().map(|_| json!({ "status": 201 })).collect();
    Reply::new(200, json!({ "elements": elements }))
}

fn trouble(trouble: Trouble) -> Reply {
    match trouble {
        Trouble::RateLimited => error(429, "TOO_MANY_REQUESTS", "Resource level throttle limit reached"),
        Trouble::ServerError => error(500, "INTERNAL_SERVER_ERROR", "Internal error"),
        // The first of the batch fails over there.
        Trouble::ErrorIn200 => Reply::new(200, json!({ "elements": [{ "status": 500 }] })),
    }
}
