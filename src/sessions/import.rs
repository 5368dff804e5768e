//! A line of `session import`: JSON -> session, all faults at once. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Client, Session};
use crate::domain::answers::Answers;
use crate::domain::consent::Consent;
use crate::domain::faults::{Fault, Faults};
use crate::domain::landing::{Landing, canonical_click_id, is_click_id, kept};
use crate::domain::text;
use crate::domain::user_agent::UserAgent;

const MAX_ID: usize = 256;
const MAX_USER_AGENT: usize = 1000;

/// The line as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Line<'a> {
    attribution_id: Option<Cow<'a, str>>,
    visitor_id: Option<Cow<'a, str>>,
    started_at: Option<serde_json::Value>,
    landing_url: Option<Cow<'a, str>>,
    session_id: Option<Cow<'a, str>>,
    referrer: Option<Cow<'a, str>>,
    ip: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
    consent: Option<Consent>,
    source: Option<Cow<'a, str>>,
    medium: Option<Cow<'a, str>>,
    campaign: Option<Cow<'a, str>>,
    click_ids: Option<BTreeMap<Cow<'a, str>, String>>,
}

/// Reads one line.
pub fn parse_line(line: &str) -> Result<Session, Vec<Fault>> {
    let mut faults = Faults::default();
    let line: Line<'_> = match serde_json::from_str(line) {
        Ok(line) => line,
        Err(error) => {
            let (code, message) = unreadable(&error);
            faults.add("", code, message);
            return Err(faults.into_vec());
        }
    };
    let session = build(&line, &mut faults);
    match session {
        Some(session) if faults.is_empty() => Ok(session),
        _ => Err(faults.into_vec()),
    }
}

/// What is wrong with a line, and where in it. The values stay out: the line is about a person.
fn unreadable(error: &serde_json::Error) -> (&'static str, String) {
    use serde_json::error::Category;
    let column = error.column();
    match error.classify() {
        Category::Eof => ("invalid_json", "is no JSON: it ends too early".to_owned()),
        Category::Syntax | Category::Io => (
            "invalid_json",
            format!("is no JSON: a syntax error at column {column}"),
        ),
        Category::Data => {
            // `invalid type: string "...", expected a boolean at line 1 column 5`: the value comes first.
            let text = error.to_string();
            let place = text.rfind(" at line ").unwrap_or(text.len());
            let message = match text[..place].rsplit_once(", expected ") {
                Some((_, expected)) => format!("column {column}: expected {expected}"),
                None => format!("column {column}: a field that is there twice, or is none of a session's"),
            };
            ("wrong_type", message)
        }
    }
}

fn build(line: &Line<'_>, faults: &mut Faults) -> Option<Session> {
    let attribution_id = required(&line.attribution_id, "attribution_id", faults).and_then(|text| {
        let id = Uuid::try_parse(text);
        id.map_err(|_| faults.add("attribution_id", "not_a_uuid", "must be a UUID"))
            .ok()
    });
    let visitor_id =
        required(&line.visitor_id, "visitor_id", faults).filter(|text| id(text, "visitor_id", faults));
    let session_id = line
        .session_id
        .as_deref()
        .filter(|text| id(text, "session_id", faults));
    let started_at = started_at(line.started_at.as_ref(), faults);
    let landing = required(&line.landing_url, "landing_url", faults).and_then(|url| {
        let landing = Landing::parse(url, line.referrer.as_deref());
        landing
            .map_err(|bad| faults.add("landing_url", "not_a_page", bad.to_string()))
            .ok()
    });
    let ip = line.ip.as_deref().filter(|text| {
        let fits = text.parse::<IpAddr>().is_ok();
        if !fits {
            faults.add("ip", "not_an_address", "must be an IPv4 or IPv6 address");
        }
        fits
    });
    let mut landing = landing?;
    let consent = line.consent.unwrap_or_default();
    for (slot, explicit) in [
        (&mut landing.campaign.source, &line.source),
        (&mut landing.campaign.medium, &line.medium),
        (&mut landing.campaign.campaign, &line.campaign),
    ] {
        if let Some(explicit) = explicit.as_deref().map(kept).filter(|text| !text.is_empty()) {
            *slot = Some(explicit);
        }
    }
    for (name, value) in line.click_ids.iter().flatten() {
        match canonical_click_id(name) {
            None => faults.add(
                format!("click_ids.{}", text::shown(name, 64)),
                "unknown_click_id",
                "is no click id",
            ),
            Some(_) if !is_click_id(value) => {
                faults.add(
                    format!("click_ids.{name}"),
                    "bad_click_id",
                    "must have 1 to 1024 printable characters",
                );
            }
            Some(canonical) => drop(landing.click_ids.insert(canonical.to_owned(), value.clone())),
        }
    }
    // Whoever imports answers for what is there to import; only a plain refusal of the visitor's overrules it.
    if consent.analytics == Some(false) {
        landing = landing.without_consent();
    }
    let (attribution_id, visitor_id, started_at) = (attribution_id?, visitor_id?, started_at?);
    let session_id = match session_id {
        Some(id) => id.to_owned(),
        None => derived_id(attribution_id, visitor_id, started_at, &landing.url).to_string(),
    };
    Some(Session {
        attribution_id,
        session_id,
        visitor_id: visitor_id.to_owned(),
        started_at,
        device: line
            .user_agent
            .as_deref()
            .and_then(|text| UserAgent::read(text).device),
        hits: Vec::new(),
        page_views: 1,
        answers: Answers::given(consent, started_at),
        browser_ids: BTreeMap::new(),
        client: Client {
            ip: ip.map(str::to_owned),
            user_agent: line
                .user_agent
                .as_deref()
                .map(|text| text::shown(text, MAX_USER_AGENT)),
        },
        landing,
    })
}

fn required<'a>(field: &'a Option<Cow<'_, str>>, name: &str, faults: &mut Faults) -> Option<&'a str> {
    if field.is_none() {
        faults.add(name, "required", "is required");
    }
    field.as_deref()
}

fn id(text: &str, name: &str, faults: &mut Faults) -> bool {
    let checked = text::check(text, MAX_ID);
    if let Err(bad) = checked {
        let (code, message) = bad.spec(MAX_ID);
        faults.add(name, code, message);
    }
    checked.is_ok()
}

/// Unix seconds or RFC 3339; not before the web, nor in a century when it will be gone.
fn started_at(value: Option<&serde_json::Value>, faults: &mut Faults) -> Option<DateTime<Utc>> {
    use chrono::{Datelike as _, SubsecRound as _};
    let Some(value) = value else {
        faults.add("started_at", "required", "is required");
        return None;
    };
    let at = match value {
        serde_json::Value::String(text) => DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
        other => other
            .as_i64()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
    };
    let at = at.filter(|at| (1990..2100).contains(&at.year()));
    if at.is_none() {
        faults.add(
            "started_at",
            "not_a_time",
            "must be Unix seconds or an RFC 3339 time such as 2026-11-01T10:00:00Z",
        );
    }
    at.map(|at| at.trunc_subsecs(6))
}

/// The same line gets the same id, so that an import that is run again stores nothing twice.
fn derived_id(attribution_id: Uuid, visitor_id: &str, started_at: DateTime<Utc>, url: &str) -> Uuid {
    let digest = Sha256::new()
        .chain_update(attribution_id)
        .chain_update(visitor_id)
        .chain_update([0])
        .chain_update(started_at.timestamp_micros().to_be_bytes())
        .chain_update(url)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "0193aaaa-0000-7000-8000-000000000001";

    fn line(more: &str) -> String {
        format!(
            r#"{{"attribution_id":"{STREAM}","visitor_id":"v1","started_at":"2026-11-01T10:00:00Z","landing_url":"https://shop.example/?utm_source=google&utm_campaign=spring&gclid=abc"{more}}}"#
        )
    }

    #[test]
    fn campaign_and_click_ids_come_from_the_url_and_explicit_ones_win() {
        let session = parse_line(&line("")).unwrap();
        assert_eq!(
            (
                session.landing.source().as_deref(),
                session.landing.medium().as_deref()
            ),
            (Some("google"), Some("cpc"))
        );
        assert_eq!(session.landing.campaign.campaign.as_deref(), Some("spring"));
        assert_eq!(session.landing.click_ids["gclid"], "abc");
        let session = parse_line(&line(
            r#","source":"bing","campaign":"winter","click_ids":{"MSCLKID":"m"}"#,
        ))
        .unwrap();
        assert_eq!(session.landing.source().as_deref(), Some("bing"));
        assert_eq!(session.landing.campaign.campaign.as_deref(), Some("winter"));
        assert_eq!(session.landing.click_ids["msclkid"], "m");
        assert!(!session.landing.is_direct());
    }

    #[test]
    fn a_refusal_to_be_measured_is_heeded() {
        let session = parse_line(&line(
            r#","click_ids":{"fbclid":"f"},"consent":{"analytics":false}"#,
        ))
        .unwrap();
        assert_eq!(session.landing.click_ids, BTreeMap::new());
        assert_eq!(session.landing.click_id().map(|id| id.name), Some("gclid"));
        assert!(
            session.landing.url.ends_with("gclid=[MASKED]"),
            "{}",
            session.landing.url
        );
    }

    #[test]
    fn the_same_line_is_the_same_session() {
        assert_eq!(
            parse_line(&line("")).unwrap().session_id,
            parse_line(&line("")).unwrap().session_id
        );
        assert_ne!(
            parse_line(&line("")).unwrap().session_id,
            parse_line(&line("").replace("v1", "v2")).unwrap().session_id
        );
        assert_eq!(
            parse_line(&line(r#","session_id":"s-9""#)).unwrap().session_id,
            "s-9"
        );
    }

    #[test]
    fn no_message_quotes_a_value() {
        let table = [
            ("not json", "is no JSON: a syntax error at column 2"),
            (r#"{"visitor_id":"hush"#, "is no JSON: it ends too early"),
            (
                r#"{"visitor_id":"hush"} hush"#,
                "is no JSON: a syntax error at column 23",
            ),
            (r#""hush, expected hush""#, "column 21: expected an object"),
            (
                r#"{"consent":"hush@example.com, expected hush"}"#,
                "column 44: expected an object",
            ),
            (
                r#"{"consent":{"analytics":"hush"}}"#,
                "column 30: expected a boolean",
            ),
            (r#"{"hush":1}"#, "column 7: expected one of `attribution_id`"),
            (
                r#"{"ip":"hush","ip":"hush"}"#,
                "column 17: a field that is there twice",
            ),
            (r#"{"click_ids":{"gclid":70133}}"#, "column 27: expected a string"),
        ];
        for (line, expected) in table {
            let faults = parse_line(line).unwrap_err();
            assert!(faults[0].message.starts_with(expected), "{faults:?}");
            assert!(!format!("{faults:?}").contains("hush") && !format!("{faults:?}").contains("70133"));
        }
    }

    #[test]
    fn all_faults_at_once() {
        let codes = |line: &str| {
            parse_line(line)
                .unwrap_err()
                .iter()
                .map(|fault| format!("{} {}", fault.field, fault.code))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            codes(
                r#"{"attribution_id":"x","visitor_id":"","started_at":"soon","landing_url":"javascript:1","ip":"nope"}"#
            ),
            [
                "attribution_id not_a_uuid",
                "visitor_id empty",
                "started_at not_a_time",
                "landing_url not_a_page",
                "ip not_an_address"
            ]
        );
        assert_eq!(codes("{}").len(), 4);
        assert_eq!(codes("not json"), [" invalid_json"]);
        assert_eq!(
            codes(&line(r#","click_ids":{"zzz":"1","gclid":""}"#)),
            ["click_ids.gclid bad_click_id", "click_ids.zzz unknown_click_id"]
        );
    }
}
