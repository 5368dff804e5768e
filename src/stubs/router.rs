//! The stubs over HTTP: `/meta/...` and so on, `/_control`, `/_requests`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use chrono::SecondsFormat;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::STUBS;
use super::check::{Door, Got, Reply, Report, Stub, Trouble};
use super::control::{Control, Mode, Setting};
use super::record::{Entry, Record};
use super::schema::Fault;
use super::webhook::WebhookKey;
use crate::platform::clock::Clock;

/// Bytes of a body that are read.
const MOST_BYTES: usize = 16 << 20;
/// Longest time that an answer is held back, in seconds.
const MOST_SECONDS: u64 = 600;

/// How the stubs are set up.
pub struct Options<'a> {
    /// Where the time comes from.
    pub clock: Clock,
    /// A file that every request is appended to.
    pub record: Option<&'a Path>,
    /// The key that webhooks are signed with.
    pub webhook_key: WebhookKey,
}

struct Stubs {
    clock: Clock,
    control: Control,
    record: Record,
    webhook_key: WebhookKey,
}

/// The stubs' routes.
pub async fn router(options: Options<'_>) -> std::io::Result<Router> {
    let stubs = Stubs {
        clock: options.clock,
        control: Control::default(),
        record: Record::open(options.record).await?,
        webhook_key: options.webhook_key,
    };
    Ok(Router::new().fallback(serve).with_state(Arc::new(stubs)))
}

async fn serve(State(stubs): State<Arc<Stubs>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST_BYTES).await else {
        return respond(Reply::new(
            413,
            json!({ "error": "the body is too large, or broke off" }),
        ));
    };
    let path = head.uri.path().trim_start_matches('/');
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    match name {
        "_control" => return respond(control(&stubs, &head.method, &body)),
        "_requests" => {
            let requests = stubs.record.last().await;
            return respond(Reply::new(200, json!({ "requests": requests })));
        }
        _ => {}
    }
    let Some(stub) = STUBS.iter().find(|stub| stub.name == name) else {
        let names: Vec<&str> = STUBS.iter().map(|stub| stub.name).collect();
        return respond(Reply::new(
            404,
            json!({ "error": "no such stub", "stubs": names }),
        ));
    };
    let query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
    let got = Got {
        method: head.method,
        path: rest.to_owned(),
        query: query.into_owned().collect::<BTreeMap<_, _>>(),
        json: serde_json::from_slice(&body).unwrap_or_default(),
        headers: head.headers,
        body,
        now: stubs.clock.now(),
        webhook_key: stubs.webhook_key.clone(),
    };
    respond(answer(&stubs, stub, got).await)
}

/// Judges a request, or fails as it was told to; keeps what happened.
async fn answer(stubs: &Stubs, stub: &'static Stub, got: Got) -> Reply {
    let mut report = Report::default();
    (stub.check)(&got, &mut report);
    let door = (stub.door)(&got);
    let setting = stubs.control.take(stub.name, |setting| match setting.mode {
        Mode::Partial => chosen(stub, &got, setting).is_some(),
        // A fresh one is to be had, or nobody could get over it.
        Mode::TokenExpired => door != Door::Token,
        Mode::Later => door == Door::Later,
        _ => true,
    });
    let (verdict, reply) = match &setting {
        None => (judged(stub, &report), (stub.answer)(&got, &report)),
        Some(setting) => told(stub, &got, &mut report, setting).await,
    };
    let entry = Entry {
        at: got.now.to_rfc3339_opts(SecondsFormat::Micros, true),
        platform: stub.name,
        method: got.method.to_string(),
        path: format!("/{}", got.path),
        faults: report.words(),
        body: got.json,
        verdict,
        status: reply.status,
    };
    match stubs.record.add(entry).await {
        Ok(()) => reply,
        Err(error) => {
            tracing::error!(%error, "cannot write the record");
            Reply::new(500, json!({ "error": "the stub cannot write its record" }))
        }
    }
}

fn judged(stub: &Stub, report: &Report) -> &'static str {
    let whole = report.route.is_some() || report.credentials.is_some() || !report.request.is_empty();
    match (report.is_clean(), whole, report.events.iter().any(Vec::is_empty)) {
        (true, _, _) => "accepted",
        (false, false, true) if stub.per_event => "partial",
        _ => "refused",
    }
}

/// Fails as it was told to.
async fn told(stub: &Stub, got: &Got, report: &mut Report, setting: &Setting) -> (&'static str, Reply) {
    match setting.mode {
        Mode::Ok => (judged(stub, report), (stub.answer)(got, report)),
        Mode::Timeout => {
            tokio::time::sleep(Duration::from_secs(setting.seconds.min(MOST_SECONDS))).await;
            ("timeout", Reply::new(504, Value::Null))
        }
        Mode::ServerError => ("server_error", (stub.trouble)(Trouble::ServerError)),
        Mode::RateLimited => ("rate_limited", (stub.trouble)(Trouble::RateLimited)),
        Mode::ErrorIn200 => ("error_in_200", (stub.trouble)(Trouble::ErrorIn200)),
        Mode::TokenExpired => {
            report.credentials = Some("the access token has expired".to_owned());
            ("token_expired", (stub.answer)(got, report))
        }
        Mode::Partial => {
            if let Some(index) = chosen(stub, got, setting)
                && let Some(faults) = report.events.get_mut(index)
            {
                faults.push(Fault::new("event", "is refused, as it was told"));
            }
            ("told_partial", (stub.answer)(got, report))
        }
        Mode::Later => match (stub.later, &setting.later) {
            (Some(later), Some(told)) if report.is_clean() => ("told_later", later(got, told)),
            _ => (judged(stub, report), (stub.answer)(got, report)),
        },
        Mode::Html => (
            "html",
            Reply::new(502, "<html><body>Bad Gateway</body></html>".into())
                .header("content-type", "text/html"),
        ),
    }
}

/// The event that `partial` means.
fn chosen(stub: &Stub, got: &Got, setting: &Setting) -> Option<usize> {
    let lists = [
        &got.json["data"],
        &got.json["events"],
        &got.json["elements"],
        &got.json["data"]["events"],
    ];
    let events = lists.into_iter().find_map(Value::as_array)?;
    match &setting.event_id {
        None => (!events.is_empty()).then_some(0),
        Some(id) => events
            .iter()
            .position(|event| (stub.event_id)(event) == Some(id.as_str())),
    }
}

/// `POST /_control` sets a mode, `GET /_control` shows what is set.
fn control(stubs: &Stubs, method: &Method, body: &[u8]) -> Reply {
    if *method == Method::GET {
        return Reply::new(200, json!({ "settings": stubs.control.all() }));
    }
    let setting: Setting = match serde_json::from_slice(body) {
        Ok(setting) => setting,
        Err(error) => return Reply::new(400, json!({ "error": error.to_string() })),
    };
    let Some(stub) = STUBS.iter().find(|stub| stub.name == setting.platform) else {
        let names: Vec<&str> = STUBS.iter().map(|stub| stub.name).collect();
        return Reply::new(400, json!({ "error": "no such platform", "platforms": names }));
    };
    if setting.mode == Mode::Later && (stub.later.is_none() || setting.later.is_none()) {
        let error = "later needs what is said later, at a platform that says anything later";
        return Reply::new(400, json!({ "error": error }));
    }
    stubs.control.set(setting);
    Reply::new(200, json!({ "settings": stubs.control.all() }))
}

fn respond(reply: Reply) -> Response {
    let (body, kind) = match reply.body {
        Value::Null => (Body::empty(), None),
        Value::String(text) => (Body::from(text), Some("text/plain; charset=utf-8")),
        json => (Body::from(json.to_string()), Some("application/json")),
    };
    let mut response = Response::builder().status(reply.status);
    let named = reply.headers.iter().any(|(name, _)| *name == "content-type");
    if let Some(kind) = kind.filter(|_| !named) {
        response = response.header("content-type", kind);
    }
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(body).unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
