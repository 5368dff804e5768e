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
    kind: Kind,
    /// Where it goes, or that it must be there.
    place: String,
    text: String,
}

/// What a value may be.
struct Kind {
    text: String,
    /// The schema that tells more.
    schema: Option<String>,
}

/// An operation.
struct Operation {
    method: String,
    path: String,
    summary: String,
    parameters: Vec<Named>,
    fields: Vec<Named>,
    status: String,
    answer: Option<Kind>,
}

/// A schema that operations name.
struct Schema {
    name: String,
    text: String,
    fields: Vec<Named>,
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
    schemas: Vec<Schema>,
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
        schemas: schemas(&value),
    };
    Page(docs.render().unwrap_or_default())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn schemas(document: &Value) -> Vec<Schema> {
    let all = document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten();
    all.map(|(name, schema)| Schema {
        name: name.clone(),
        text: text(&schema["description"]),
        fields: fields(document, schema),
    })
    .filter(|schema| !schema.fields.is_empty())
    .collect()
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let responses = operation["responses"].as_object().into_iter().flatten();
    let success = responses
        .filter(|(status, _)| status.starts_with('2'))
        .map(|(status, response)| {
            let content = response["content"].as_object().into_iter().flatten().next();
            (
                status.clone(),
                content.map(|(_, content)| kind(document, &content["schema"])),
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
                kind: kind(document, &parameter["schema"]),
                place: text(&parameter["in"]),
                text: text(&parameter["description"]),
            })
            .collect(),
        fields: fields(document, body),
        status: success.0,
        answer: success.1,
    }
}

/// The fields of an object, those of the schemas that it is made of too.
fn fields(document: &Value, schema: &Value) -> Vec<Named> {
    let schema = resolved(document, schema);
    let mut found = Vec::new();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        found.extend(fields(document, part));
    }
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let own = schema["properties"].as_object().into_iter().flatten();
    found.extend(own.map(|(name, field)| Named {
        name: name.clone(),
        kind: kind(document, field),
        place: match required.contains(&name.as_str()) {
            true => "required".to_owned(),
            false => String::new(),
        },
        text: text(&field["description"]),
    }));
    found
}

/// What a value may be, in words.
fn kind(document: &Value, schema: &Value) -> Kind {
    if let Some(name) = schema["$ref"].as_str() {
        let target = resolved(document, schema);
        let name = name.rsplit('/').next().unwrap_or_default();
        return match fields(document, target).is_empty() {
            true => kind(document, target),
            false => Kind {
                text: name.to_owned(),
                schema: Some(name.to_owned()),
            },
        };
    }
    let choices = ["oneOf", "anyOf", "allOf"]
        .iter()
        .find_map(|of| schema[of].as_array());
    if let Some(choices) = choices {
        return joined(choices.iter().map(|choice| kind(document, choice)));
    }
    if let Some(words) = schema["enum"].as_array() {
        return plain(
            words
                .iter()
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join(" or "),
        );
    }
    match &schema["type"] {
        Value::Array(types) => joined(types.iter().map(|one| {
            let mut alone = schema.clone();
            alone["type"] = one.clone();
            kind(document, &alone)
        })),
        Value::String(name) if name == "array" => {
            let each = kind(document, &schema["items"]);
            Kind {
                text: format!("list of {}", each.text),
                schema: each.schema,
            }
        }
        Value::String(name) if name == "null" => plain("null".to_owned()),
        Value::String(name) => {
            let format = schema["format"].as_str().filter(|_| name == "string");
            plain(format.unwrap_or(name).to_owned() + &range(schema))
        }
        _ => plain("anything".to_owned()),
    }
}

fn plain(text: String) -> Kind {
    Kind { text, schema: None }
}

fn joined(kinds: impl Iterator<Item = Kind>) -> Kind {
    let kinds: Vec<Kind> = kinds.collect();
    let words: Vec<&str> = kinds.iter().map(|kind| kind.text.as_str()).collect();
    Kind {
        text: words.join(" or "),
        schema: kinds.iter().find_map(|kind| kind.schema.clone()),
    }
}

/// ` from 1 to 100`, where there are limits; of a text those of its length.
fn range(schema: &Value) -> String {
    for (from, to, of) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
    ] {
        match (&schema[from], &schema[to]) {
            (Value::Null, Value::Null) => {}
            (Value::Null, to) => return format!(", at most {to}{of}"),
            (from, Value::Null) => return format!(", at least {from}{of}"),
            (from, to) => return format!(", {from} to {to}{of}"),
        }
    }
    String::new()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_in_words() {
        let document = json!({ "components": { "schemas": {
            "Scope": { "type": "string", "enum": ["read", "write"] },
            "Key": { "type": "object", "properties": { "id": { "type": "string", "format": "uuid" } }, "required": ["id"] },
            "Made": { "allOf": [{ "$ref": "#/components/schemas/Key" }, { "type": "object", "properties": { "token": { "type": "string" } } }] },
        } } });
        let of = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        for (schema, text, more) in [
            (
                json!({ "type": "integer", "minimum": 1, "maximum": 90 }),
                "integer, 1 to 90",
                None,
            ),
            (
                json!({ "type": ["string", "null"], "maxLength": 9 }),
                "string, at most 9 characters or null",
                None,
            ),
            (of("Scope"), r#""read" or "write""#, None),
            (
                json!({ "oneOf": [{ "type": "null" }, of("Key")] }),
                "null or Key",
                Some("Key"),
            ),
            (
                json!({ "type": "array", "items": of("Made") }),
                "list of Made",
                Some("Made"),
            ),
            (json!({}), "anything", None),
        ] {
            let kind = kind(&document, &schema);
            assert_eq!((kind.text.as_str(), kind.schema.as_deref()), (text, more));
        }
        let made: Vec<String> = fields(&document, &of("Made"))
            .into_iter()
            .map(|field| field.name)
            .collect();
        assert_eq!(made, ["id", "token"]);
    }
}
