//! Bytes -> events -> recorded -> answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::answer::{Many, One};
use super::record::Taken;
use super::refusal::Refusal;
use super::site::{self, Site};
use super::{Collector, cookie, count};
use crate::domain::browser_event::{BrowserEvent, parse};
use crate::domain::faults::Fault;
use crate::platform::http_body::{self, Accepts, read_json};
use crate::platform::marks::Recorded;
use crate::streams::Stream;

/// Events of one array.
const MOST_EVENTS: usize = 100;

/// One request.
pub struct Received<'a> {
    /// The service.
    pub collector: &'a Collector,
    /// What the browser says besides the events.
    pub headers: &'a HeaderMap,
    /// Who sent it.
    pub client: IpAddr,
    /// The site that page and host share.
    pub site: Option<Site>,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

impl<'a> Received<'a> {
    /// A request as its head tells it.
    pub fn new(collector: &'a Collector, head: &'a Parts) -> Self {
        Self {
            collector,
            headers: &head.headers,
            client: collector.proxies.client_of(head),
            site: site::shared(&head.headers),
            received_at: collector.clock.now(),
        }
    }

    /// Takes the content of its body.
    pub async fn answer(&self, body: Body) -> Response {
        let answer = async {
            // An address that has nothing left costs no more than this.
            self.collector.limits.take_from_address(self.client, 1)?;
            let within = self.collector.read_timeout;
            let content = http_body::read(self.headers, body, Accepts::FromPages, within)
                .await
                .map_err(Refusal::Body)?;
            let body = read_json(&content).map_err(Refusal::Body)?;
            match body.get().starts_with('[') {
                true => self.many(body).await,
                false => self.one(body).await,
            }
        };
        answer.await.unwrap_or_else(Refusal::into_response)
    }

    async fn one(&self, body: &RawValue) -> Result<Response, Refusal> {
        let event = parse(body, self.received_at).map_err(Refusal::Invalid)?;
        let stream = self.stream(event.attribution_id).await?;
        self.collector.limits.take_from_stream(stream.attribution_id, 1)?;
        let (mut taken, recorded) = self.record(&stream, vec![event], false).await?;
        match taken.pop() {
            Some(taken) if taken.stored => {
                let told = One {
                    visitor_id: taken.visitor_id.clone(),
                };
                Ok(self.finished(Json(told).into_response(), Some(&taken), recorded))
            }
            _ => Err(Refusal::Invalid(vec![unstorable()])),
        }
    }

    async fn many(&self, body: &RawValue) -> Result<Response, Refusal> {
        let events = serde_json::from_str::<Vec<&RawValue>>(body.get()).unwrap_or_default();
        if events.is_empty() || events.len() > MOST_EVENTS {
            let message = format!("must have 1 to {MOST_EVENTS} events, and has {}", events.len());
            let code = if events.is_empty() { "empty" } else { "too_many" };
            return Err(Refusal::Invalid(vec![fault("events", code, &message)]));
        }
        // The first one is paid for.
        self.collector
            .limits
            .take_from_address(self.client, events.len() - 1)?;
        let mut results: Vec<Result<(), Vec<Fault>>> = Vec::with_capacity(events.len());
        let mut good: Vec<BrowserEvent> = Vec::new();
        for event in events {
            results.push(match parse(event, self.received_at) {
                Ok(event) if of_another(&event, good.first()) => Err(vec![fault(
                    "attribution_id",
                    "another_attribution_id",
                    "must be that of the first good event of the array",
                )]),
                Ok(event) => {
                    good.push(event);
                    Ok(())
                }
                Err(faults) => Err(faults),
            });
        }
        let Some(first) = good.first() else {
            count("invalid", results.len());
            return Ok(Many::new(None, results).into_response());
        };
        let stream = self.stream(first.attribution_id).await?;
        self.collector
            .limits
            .take_from_stream(stream.attribution_id, good.len())?;
        let (taken, recorded) = self.record(&stream, good, true).await?;
        let mut each = taken.iter();
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            if each.next().is_none_or(|taken| !taken.stored) {
                *result = Err(vec![unstorable()]);
            }
        }
        count("invalid", results.iter().filter(|result| result.is_err()).count());
        let last = taken.iter().rev().find(|taken| taken.stored);
        let told = Many::new(last.map(|taken| taken.visitor_id.clone()), results);
        Ok(self.finished(told.into_response(), last, recorded))
    }

    async fn stream(&self, attribution_id: Uuid) -> Result<Arc<Stream>, Refusal> {
        let found = self.collector.streams.get(attribution_id).await;
        let found = found.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        found.ok_or(Refusal::UnknownAttributionId)
    }

    /// The answer with the visitor's cookie, where it is the site's own and the visitor agreed.
    fn finished(&self, mut response: Response, last: Option<&Taken>, recorded: Recorded) -> Response {
        let cookie = last
            .filter(|taken| taken.recognised)
            .zip(self.site.as_ref())
            .and_then(|(taken, site)| cookie::set(&taken.visitor_id, site));
        if let Some(cookie) = cookie {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        if recorded.accepted > 0 {
            response.extensions_mut().insert(recorded);
        }
        response
    }
}

fn of_another(event: &BrowserEvent, first: Option<&BrowserEvent>) -> bool {
    first.is_some_and(|first| first.attribution_id != event.attribution_id)
}

fn unstorable() -> Fault {
    let message = "the database refuses this event: tell the operator the request id";
    fault("event", "not_storable", message)
}

fn fault(field: &str, code: &'static str, message: &str) -> Fault {
    Fault {
        field: field.to_owned(),
        code,
        message: message.to_owned(),
    }
}
