//! Access tokens that are renewed (OAuth 2.0, refresh token grant): request and answer, pure.

use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::settings::{Fields, TEXT};
use super::{Answer, Request};

/// Life of a token whose answer does not say.
const DEFAULT_LIFE: TimeDelta = TimeDelta::hours(1);
/// Longest life that is believed.
const MOST_LIFE: TimeDelta = TimeDelta::days(90);

/// What access tokens are renewed with.
#[derive(Clone)]
pub struct Client {
    client_id: String,
    client_secret: SecretString,
    refresh_token: SecretString,
}

/// What the token endpoint answered.
pub enum Granted {
    /// A fresh access token.
    Token {
        /// The token.
        access_token: SecretString,
        /// How long it lives.
        life: TimeDelta,
        /// A new refresh token that stands in for the old one from now on.
        refresh_token: Option<SecretString>,
    },
    /// The refresh token is no longer good, or the client never was: the destination pauses.
    Refused {
        /// `error` of the answer.
        code: String,
    },
    /// No answer now.
    Retry {
        /// How long it asks to wait.
        after: Option<TimeDelta>,
    },
}

impl Client {
    /// Reads the three settings; none of them may be missing.
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let client_id = fields.text("client_id", &TEXT);
        let client_secret = fields.secret("client_secret");
        let refresh_token = fields.secret("refresh_token");
        Some(Self {
            client_id: client_id?,
            client_secret: client_secret?,
            refresh_token: refresh_token?,
        })
    }

    /// Asks for a fresh access token. `refresh_token` is the one that an earlier answer gave, where one did.
    pub fn request(&self, token_url: &str, refresh_token: Option<&SecretString>) -> Request {
        let refresh_token = refresh_token.unwrap_or(&self.refresh_token);
        Request::form(
            token_url,
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh_token.expose_secret()),
                ("client_id", &self.client_id),
                ("client_secret", self.client_secret.expose_secret()),
            ],
        )
    }

    /// Reads the answer.
    pub fn read_answer(answer: &Answer<'_>) -> Granted {
        let json = answer.json().unwrap_or_default();
        let text = |name: &str| json[name].as_str().filter(|text| !text.is_empty());
        // What cannot stand in a header is no token.
        let token = text("access_token").filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
        match (answer.is_success(), token) {
            (true, Some(token)) => Granted::Token {
                access_token: SecretString::from(token.to_owned()),
                life: life(&json["expires_in"]),
                refresh_token: text("refresh_token").map(|token| SecretString::from(token.to_owned())),
            },
            _ if (400..500).contains(&answer.status) && !matches!(answer.status, 408 | 425 | 429) => {
                Granted::Refused {
                    code: text("error")
                        .filter(|code| {
                            code.len() <= 64
                                && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                        })
                        .map_or_else(|| answer.http_code(), str::to_owned),
                }
            }
            _ => Granted::Retry {
                after: answer.retry_after(),
            },
        }
    }
}

fn life(seconds: &Value) -> TimeDelta {
    seconds
        .as_i64()
        .filter(|seconds| *seconds > 0)
        .and_then(TimeDelta::try_seconds)
        .map_or(DEFAULT_LIFE, |life| life.min(MOST_LIFE))
}
