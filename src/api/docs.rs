//! The document as a page: plain HTML, made once, without a script or another host.

use std::collections::BTreeMap;

use askama::Template;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::openapi::OpenApi;

const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A parameter, or a field of a body.
struct Named {
    name: String,
    place: String,
    text: String,
}

/// An operation.
struct Operation {
    method: String,
    path: String,
    summary: String,
    parameters: Vec<Named>,
    fields: Vec<Named>,
    status: String,
    answer: String,
}

/// Operations of one kind of thing.
struct Group {
    name: String,
    operations: Vec<Operation>,
}

#[derive(Template)]
#[template(path = "api/docs.html")]
struct Docs {
    title: String,
    description: String,
    groups: Vec<Group>,
}

/// The page, as it is sent.
#[derive(Clone)]
pub struct Page(String);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let headers = [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/html; charset=utf-8"),
            ),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        (headers, self.0).into_response()
    }
}

/// `GET /api/v1/docs.css`
pub async fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("docs.css")).into_response()
}

/// The page of a document.
pub fn page(document: &OpenApi) -> Page {
    let value = serde_json::to_value(document).unwrap_or_default();
    let mut groups: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for (path, item) in value["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let name = text(&operation["tags"][0]);
            let operation = read(&value, path, method, operation);
            groups.entry(name).or_default().push(operation);
        }
    }
    let docs = Docs {
        title: text(&value["info"]["title"]),
        description: text(&value["info"]["description"]),
        groups: groups
            .into_iter()
            .map(|(name, operations)| Group { name, operations })
            .collect(),
    };
    Page(docs.render().unwrap_or_default())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let schema = resolved(document, body);
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    let responses = operation["responses"].as_object().into_iter().flatten();
    let success = responses
        .filter(|(status, _)| status.starts_with('2'))
        .map(|(status, response)| {
            let content = response["content"].as_object().into_iter().flatten().next();
            let schema = content.map(|(_, content)| &content["schema"]["$ref"]);
            let name = schema.and_then(Value::as_str).unwrap_or_default();
            (
                status.clone(),
                name.rsplit('/').next().unwrap_or_default().to_owned(),
            )
        })
        .next()
        .unwrap_or_default();
    Operation {
        method: method.to_uppercase(),
        path: format!("/api/v1{path}"),
        summary: text(&operation["summary"]),
        parameters: parameters
            .map(|parameter| Named {
                name: text(&parameter["name"]),
                place: text(&parameter["in"]),
                text: text(&parameter["description"]),
            })
            .collect(),
        fields: fields
            .map(|(name, field)| Named {
                name: name.clone(),
                place: match required.contains(&name.as_str()) {
                    true => "required".to_owned(),
                    false => String::new(),
                },
                text: text(&field["description"]),
            })
            .collect(),
        status: success.0,
        answer: success.1,
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(name) => {
            let name = name.rsplit('/').next().unwrap_or_default();
            &document["components"]["schemas"][name]
        }
        None => schema,
    }
}
