//! The OpenAPI document: what the operations tell of themselves, and what holds for all of them.

use serde::Serialize;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, ContactBuilder, ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Server,
};
use utoipa::{PartialSchema, ToSchema};

/// What is wrong with a field.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldError {
    /// Where it is.
    field: String,
    /// Stable.
    code: String,
    /// For people.
    message: String,
}

/// Why a request was refused (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
struct ProblemDocument {
    /// Names the kind of problem.
    r#type: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened.
    detail: String,
    /// Stable: programs may rely on it.
    code: String,
    /// Finds the request in the log.
    request_id: String,
    /// Every fault, where it is about faults.
    errors: Option<Vec<FieldError>>,
}

/// Statuses that every operation may answer with.
const ALWAYS: [(&str, &str); 5] = [
    ("401", "No credentials, or none that are in force"),
    ("422", "The request has faults; every one is listed"),
    (
        "429",
        "Too many failed attempts from this address; see Retry-After",
    ),
    ("500", "A fault of the service"),
    ("503", "Nothing was changed: try again, see Retry-After"),
];
/// And those that look for something, or ask for a role.
const NOT_FOUND: (&str, &str) = ("404", "There is no such thing, or it is another property's");
const FORBIDDEN: (&str, &str) = ("403", "The scope or role does not allow it");
/// And those with a body.
const OF_BODIES: [(&str, &str); 4] = [
    ("400", "The body is no JSON, or broke off"),
    ("408", "The body did not come in time"),
    ("413", "The body is too large"),
    ("415", "The body is no application/json"),
];
const CONFLICT: (&str, &str) = ("409", "It does not go with what is there");

/// The document, complete; `cookie` is what keeps a session.
pub fn complete(mut found: OpenApi, base_url: &str, cookie: &str) -> OpenApi {
    found.info = InfoBuilder::new()
        .title("TrustData Admin API")
        .version("1")
        .description(Some(
            "Everything that the dashboard shows or does. A token (`td_live_...`) opens one property; things of another are not found. Lists take \
             `limit` and `cursor`. Times are RFC 3339 in UTC, amounts are decimal strings in major units. The session of the dashboard opens all \
             properties; a change under it carries the `csrf_token` that `/me` tells, as `X-CSRF-Token`.",
        ))
        .contact(Some(ContactBuilder::new().name(Some("TrustData Server")).build()))
        .build();
    found.servers = Some(vec![Server::new(format!("{base_url}/api/v1"))]);
    let components = found.components.get_or_insert_with(Components::new);
    add_schema::<ProblemDocument>(components);
    add_schema::<FieldError>(components);
    // Named by a parameter alone.
    add_schema::<crate::forwarding::state::State>(components);
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("token", token);
    let session = ApiKey::Cookie(ApiKeyValue::new(cookie));
    components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    let none: [&str; 0] = [];
    found.security = Some(vec![
        SecurityRequirement::new("token", none),
        SecurityRequirement::new("session", none),
    ]);
    for (path, item) in &mut found.paths.paths {
        for operation in [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
            &mut item.put,
        ]
        .into_iter()
        .flatten()
        {
            add_refusals(path, operation);
        }
    }
    found
}

fn add_schema<T: ToSchema + PartialSchema>(components: &mut Components) {
    components.schemas.insert(T::name().into_owned(), T::schema());
}

fn add_refusals(path: &str, operation: &mut Operation) {
    let mut refusals: Vec<(&str, &str)> = ALWAYS.to_vec();
    refusals.extend([NOT_FOUND, FORBIDDEN]);
    if operation.request_body.is_some() {
        refusals.extend(OF_BODIES);
    }
    if path.starts_with("/users") || path.ends_with("/test") {
        refusals.push(CONFLICT);
    }
    for (status, description) in refusals {
        let content = ContentBuilder::new()
            .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
            .build();
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content)
            .build();
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert(RefOr::T(response));
    }
}
