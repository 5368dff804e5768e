//! Sends a platform's requests, and renews its access tokens.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::platforms::oauth::Granted;
use super::platforms::{
    Answer, Endpoint, Event, Later, Name, NoTrial, Platform, Request, Sending, Verdict, oauth,
};
use crate::platform::config;
use crate::platform::outbound::{self, Outbound, Reach, SendError};

/// A token is renewed so long before its end.
const BEFORE_ITS_END: TimeDelta = TimeDelta::minutes(2);

/// Sends requests to platforms.
#[derive(Clone)]
pub struct Sender {
    outbound: Outbound,
    platforms: BTreeMap<String, config::Platform>,
}

/// An access token, and what the next one is asked for with.
pub struct Token {
    access_token: Option<SecretString>,
    until: DateTime<Utc>,
    refresh_token: Option<SecretString>,
}

impl Token {
    /// Whether it is to be renewed.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.access_token.is_none() || self.until - BEFORE_ITS_END <= now
    }

    /// The same, without the access token.
    pub fn used_up(self) -> Self {
        Self {
            access_token: None,
            ..self
        }
    }

    /// The token.
    pub fn access_token(&self) -> Option<&SecretString> {
        self.access_token.as_ref()
    }
}

impl Sender {
    /// Sends through `outbound`, to the addresses that the configuration names.
    pub fn new(outbound: Outbound, platforms: BTreeMap<String, config::Platform>) -> Self {
        Self { outbound, platforms }
    }

    /// Where a platform is: by the destination, or else by the configuration, or else where it says. `reach` is how far the destination's own
    /// base URL leads; who configures the service may name any address.
    pub fn endpoint(&self, name: Name, base_url: Option<&str>, reach: Reach) -> Endpoint {
        let mut endpoint = Endpoint::of(name);
        if let Some(set) = self.platforms.get(name.as_str()) {
            let or = |set: &Option<String>, own: String| set.clone().unwrap_or(own);
            if set.base_url.is_some() {
                endpoint.reach = Reach::Anywhere;
            }
            endpoint.base_url = or(&set.base_url, endpoint.base_url);
            endpoint.version = or(&set.version, endpoint.version);
            endpoint.token_url = set.token_url.clone().or(endpoint.token_url);
        }
        if let Some(base_url) = base_url {
            endpoint.base_url = base_url.to_owned();
            endpoint.reach = reach;
            // Who stands in for the platform does so for its tokens.
            endpoint.token_url = endpoint
                .token_url
                .map(|_| format!("{}/token", base_url.trim_end_matches('/')));
        }
        endpoint
    }

    /// Whether a URL may be sent to, as far as it can be told without looking its name up.
    pub fn may_lead_to(&self, url: &Url, reach: Reach) -> bool {
        reach == Reach::Anywhere || self.outbound.may_be_public(url)
    }

    /// A token that is good, where the platform needs one: the one that is there, or a fresh one. Else what that means for what was to be sent.
    pub async fn token(
        &self,
        platform: &dyn Platform,
        endpoint: &Endpoint,
        token: Option<Token>,
        now: DateTime<Utc>,
    ) -> Result<Option<Token>, (Option<Token>, Verdict)> {
        let Some(client) = platform.oauth() else {
            return Ok(None);
        };
        if token.as_ref().is_some_and(|token| !token.is_over(now)) {
            return Ok(token);
        }
        let Some(token_url) = &endpoint.token_url else {
            let nowhere = Verdict::Configuration {
                code: "no_token_url".to_owned(),
                detail: None,
            };
            return Err((token, nowhere));
        };
        let refresh_token = token.as_ref().and_then(|token| token.refresh_token.as_ref());
        let answer = match self
            .exchange(client.request(token_url, refresh_token), endpoint.reach)
            .await
        {
            Ok(answer) => answer,
            Err(error) => return Err((token, unanswered(&error))),
        };
        match oauth::Client::read_answer(&reading(&answer, now)) {
            Granted::Token {
                access_token,
                life,
                refresh_token,
            } => Ok(Some(Token {
                access_token: Some(access_token),
                until: now + life,
                refresh_token: refresh_token.or(token.and_then(|token| token.refresh_token)),
            })),
            Granted::Refused { code } => {
                let refused = Verdict::Credentials { code, refresh: false };
                Err((token, refused))
            }
            Granted::Retry { after } => {
                let code = "token_endpoint_unavailable".to_owned();
                Err((token, Verdict::Retry { code, after }))
            }
        }
    }

    /// Sends events: the answer's status, where there was one, and the verdict.
    pub async fn send(
        &self,
        platform: &dyn Platform,
        endpoint: &Endpoint,
        access_token: Option<&SecretString>,
        events: &[Event],
        now: DateTime<Utc>,
    ) -> (Option<i16>, Verdict) {
        let sending = Sending {
            endpoint,
            access_token,
            now,
        };
        match self
            .exchange(platform.request(&sending, events), endpoint.reach)
            .await
        {
            Ok(answer) => {
                let verdict = platform.verdict(&reading(&answer, now), events);
                (i16::try_from(answer.status).ok(), verdict)
            }
            Err(error) => (None, unanswered(&error)),
        }
    }

    /// Sends one event in the platform's own validation or test mode.
    pub async fn try_out(
        &self,
        platform: &dyn Platform,
        endpoint: &Endpoint,
        event: &Event,
        code: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(Option<i16>, Verdict), NoTrial> {
        let token = match self.token(platform, endpoint, None, now).await {
            Ok(token) => token.and_then(|token| token.access_token),
            Err((_, verdict)) => return Ok((None, verdict)),
        };
        let sending = Sending {
            endpoint,
            access_token: token.as_ref(),
            now,
        };
        let request = platform.trial(&sending, event, code)?;
        Ok(match self.exchange(request, endpoint.reach).await {
            Ok(answer) => {
                let verdict = platform.trial_verdict(&reading(&answer, now), event);
                (i16::try_from(answer.status).ok(), verdict)
            }
            Err(error) => (None, unanswered(&error)),
        })
    }

    /// Asks what became of a request.
    pub async fn ask(
        &self,
        platform: &dyn Platform,
        endpoint: &Endpoint,
        access_token: Option<&SecretString>,
        later: &str,
        now: DateTime<Utc>,
    ) -> Later {
        let sending = Sending {
            endpoint,
            access_token,
            now,
        };
        let Some(request) = platform.later_request(&sending, later) else {
            return Later::Unknown {
                code: "not_offered".to_owned(),
            };
        };
        match self.exchange(request, endpoint.reach).await {
            Ok(answer) => platform.later(&reading(&answer, now)),
            Err(_unanswered) => Later::Retry { after: None },
        }
    }

    /// Sends one request.
    pub async fn exchange(&self, request: Request, reach: Reach) -> Result<outbound::Answer, SendError> {
        let mut headers = HeaderMap::new();
        for (name, header) in &request.headers {
            let value = HeaderValue::from_str(header.expose());
            // Settings were checked to be fit for a header; what is not is not sent.
            let mut value = value.map_err(|_| SendError::Connection)?;
            value.set_sensitive(header.is_secret());
            headers.insert(HeaderName::from_static(name), value);
        }
        let url = request
            .url
            .expose_secret()
            .parse()
            .map_err(|_| SendError::Connection)?;
        let body = Bytes::from(request.body.expose_secret().to_owned());
        let request = outbound::Request {
            method: request.method,
            url,
            headers,
            body,
            most_read: request.most_answer,
        };
        self.outbound.send(request, reach).await
    }
}

/// An answer as platforms read it.
pub fn reading(answer: &outbound::Answer, now: DateTime<Utc>) -> Answer<'_> {
    Answer {
        status: answer.status,
        headers: &answer.headers,
        body: &answer.body,
        cut: answer.cut,
        now,
    }
}

fn unanswered(error: &SendError) -> Verdict {
    let retry = |code: &str| Verdict::Retry {
        code: code.to_owned(),
        after: None,
    };
    match error {
        SendError::NotPublic => Verdict::Configuration {
            code: "address_not_public".to_owned(),
            detail: None,
        },
        SendError::TimedOut => retry("timeout"),
        SendError::Connection => retry("connection_failed"),
    }
}
