//! What a stub gets, what it finds wrong, and what it answers.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::control::Later;
use super::schema::{Fault, Shape, check};
use super::webhook::WebhookKey;

/// One platform's stub.
pub(super) struct Stub {
    /// First part of the path.
    pub(super) name: &'static str,
    /// Whether good events are taken beside bad ones.
    pub(super) per_event: bool,
    /// Finds what is wrong.
    pub(super) check: fn(&Got, &mut Report),
    /// Answers as the platform does to such a request.
    pub(super) answer: fn(&Got, &Report) -> Reply,
    /// Answers as the platform does when it is in trouble itself.
    pub(super) trouble: fn(Trouble) -> Reply,
    /// The id by which the platform tells copies of an event.
    pub(super) event_id: fn(&Value) -> Option<&str>,
    /// What a request is for.
    pub(super) door: fn(&Got) -> Door,
    /// What it says later of a request, as it was told, where it says anything later.
    pub(super) later: Option<fn(&Got, &Later) -> Reply>,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Events.
    Events,
    /// A fresh access token.
    Token,
    /// What became of a request.
    Later,
}

/// A request.
pub(super) struct Got {
    pub(super) method: Method,
    /// What follows the platform's name.
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body, where it is JSON.
    pub(super) json: Value,
    pub(super) now: DateTime<Utc>,
    /// Key of the webhook's signatures.
    pub(super) webhook_key: WebhookKey,
}

/// What is wrong with a request.
#[derive(Default)]
pub(super) struct Report {
    /// Method or path.
    pub(super) route: Option<String>,
    /// Missing or expired credentials.
    pub(super) credentials: Option<String>,
    /// The request as a whole.
    pub(super) request: Vec<Fault>,
    /// Each of its events.
    pub(super) events: Vec<Vec<Fault>>,
}

/// What a platform suffers from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Too many requests.
    RateLimited,
    /// A fault of its own.
    ServerError,
    /// A status of success over a failure, as far as the platform does so.
    ErrorIn200,
}

/// An answer.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    /// Null: no body.
    pub(super) body: Value,
}

impl Reply {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl Got {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The token of `Authorization: Bearer`.
    pub(super) fn bearer(&self) -> Option<&str> {
        self.header("authorization")
            .and_then(|text| text.strip_prefix("Bearer "))
    }

    /// The parts of the path.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }

    /// The instant of a number of seconds.
    pub(super) fn seconds_ago(&self, seconds: i64) -> TimeDelta {
        match DateTime::from_timestamp(seconds, 0) {
            Some(at) => self.now - at,
            None => TimeDelta::MAX,
        }
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.route.is_none() && self.credentials.is_none() && !self.has_faults()
    }

    /// Whether the body has a fault.
    pub(super) fn has_faults(&self) -> bool {
        !self.request.is_empty() || self.events.iter().any(|faults| !faults.is_empty())
    }

    /// Index and faults of each bad event.
    pub(super) fn bad(&self) -> impl Iterator<Item = (usize, &Vec<Fault>)> {
        self.events
            .iter()
            .enumerate()
            .filter(|(_, faults)| !faults.is_empty())
    }

    /// All faults in words.
    pub(super) fn words(&self) -> Vec<String> {
        let whole = [&self.route, &self.credentials];
        let whole = whole.into_iter().flatten().cloned();
        let request = self.request.iter().map(Fault::words);
        let events = self.bad().flat_map(|(index, faults)| {
            faults
                .iter()
                .map(move |fault| format!("event {index}: {}", fault.words()))
        });
        whole.chain(request).chain(events).collect()
    }

    /// Notes what is wrong with method, path and content type.
    pub(super) fn expect(&mut self, got: &Got, method: &Method, path: bool) {
        if got.method != *method {
            self.route = Some(format!("must be a {method}"));
        } else if !path {
            self.route = Some("no such path".to_owned());
        } else if *method == Method::POST
            && !got
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("application/json"))
        {
            self.request
                .push(Fault::new("content-type", "must be application/json"));
        }
    }

    /// Notes a token that is missing, or that says itself that it is no longer good.
    pub(super) fn expect_token(&mut self, token: Option<&str>) {
        match token.map(str::trim) {
            None | Some("") => self.credentials = Some("no access token".to_owned()),
            Some(token) if token.starts_with("expired") => {
                self.credentials = Some("the access token has expired".to_owned());
            }
            Some(_) => {}
        }
    }

    /// Notes a body that is larger than the platform takes.
    pub(super) fn expect_bytes(&mut self, got: &Got, most: usize) {
        if got.body.len() > most {
            self.request
                .push(Fault::new("body", &format!("must have at most {most} bytes")));
        }
    }

    /// Checks the request's own members, and each event of its list.
    pub(super) fn expect_events(
        &mut self,
        body: &Value,
        envelope: &Shape,
        list: &str,
        most: usize,
        mut event: impl FnMut(&Value, &mut Vec<Fault>),
    ) {
        check(body, envelope, "", &mut self.request);
        let Some(events) = body[list].as_array() else {
            return;
        };
        if events.is_empty() || events.len() > most {
            self.request
                .push(Fault::new(list, &format!("must have 1 to {most} events")));
        }
        for value in events {
            let mut faults = Vec::new();
            event(value, &mut faults);
            self.events.push(faults);
        }
    }
}
