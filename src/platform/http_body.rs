//! The body of a request that brings JSON: type, size, time, syntax.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde_json::value::RawValue;

use super::problem::Problem;

/// Bytes of one event.
const MOST_OF_ONE: usize = 256 * 1024;
/// Bytes of an array of events.
const MOST_OF_ARRAY: usize = 1024 * 1024;

/// The Content-Types that a door takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// `application/json` and nothing else.
    Json,
    /// `text/plain` or none as well: what a page sends across origins without a preflight, and what a beacon is.
    FromPages,
}

/// Why a body cannot be read.
#[derive(Debug)]
pub enum BadBody {
    /// 415
    UnsupportedMediaType(&'static str),
    /// 413
    PayloadTooLarge {
        /// Bytes.
        limit: usize,
        /// Bytes, where they are known.
        size: Option<u64>,
    },
    /// 408
    Timeout,
    /// 400: the connection broke off.
    Incomplete,
    /// 400
    InvalidJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What was expected there.
        what: &'static str,
    },
}

impl BadBody {
    /// The answer.
    pub fn problem(&self) -> Problem {
        match self {
            Self::UnsupportedMediaType(detail) => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Unsupported media type",
                *detail,
            ),
            Self::PayloadTooLarge { limit, size } => {
                let found = match size {
                    Some(size) => format!("{size} bytes"),
                    None => "more".to_owned(),
                };
                let detail = format!("The body may have {limit} bytes, and has {found}.");
                Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "payload_too_large",
                    "Payload too large",
                    detail,
                )
                .member("limit_bytes", *limit)
                .member("size_bytes", *size)
            }
            Self::Timeout => Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "Request timeout",
                "The body did not come in time.",
            ),
            Self::Incomplete => Problem::new(
                StatusCode::BAD_REQUEST,
                "incomplete_body",
                "Incomplete body",
                "The body broke off before its end.",
            ),
            Self::InvalidJson { line, column, what } => {
                let detail = format!("The body is not valid JSON: {what} at line {line}, column {column}.");
                Problem::new(StatusCode::BAD_REQUEST, "invalid_json", "Invalid JSON", detail)
                    .member("line", *line)
                    .member("column", *column)
            }
        }
    }
}

/// The whole body, within its limits.
pub async fn read(
    headers: &HeaderMap,
    body: Body,
    accepts: Accepts,
    within: Duration,
) -> Result<Bytes, BadBody> {
    check_type(headers, accepts)?;
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    tokio::time::timeout(within, collect(body, declared))
        .await
        .unwrap_or(Err(BadBody::Timeout))
}

fn check_type(headers: &HeaderMap, accepts: Accepts) -> Result<(), BadBody> {
    let media = match headers.get(header::CONTENT_TYPE) {
        Some(value) => value.to_str().unwrap_or("unreadable"),
        None => "",
    };
    let essence = media.split(';').next().unwrap_or_default().trim();
    let from_page = essence.is_empty() || essence.eq_ignore_ascii_case("text/plain");
    match accepts {
        _ if essence.eq_ignore_ascii_case("application/json") => {}
        Accepts::FromPages if from_page => {}
        Accepts::FromPages => {
            return Err(BadBody::UnsupportedMediaType(
                "The Content-Type must be application/json or text/plain.",
            ));
        }
        Accepts::Json => {
            return Err(BadBody::UnsupportedMediaType(
                "The Content-Type must be application/json.",
            ));
        }
    }
    let charset = media
        .split(';')
        .skip(1)
        .find_map(|part| part.trim().strip_prefix("charset="));
    if charset.is_some_and(|charset| !charset.trim_matches('"').eq_ignore_ascii_case("utf-8")) {
        return Err(BadBody::UnsupportedMediaType(
            "JSON is UTF-8: send no other charset.",
        ));
    }
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map(|value| value.as_bytes());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(BadBody::UnsupportedMediaType(
            "A Content-Encoding is not supported: send the body uncompressed.",
        ));
    }
    Ok(())
}

/// Reads the body; what it begins with says which limit holds.
async fn collect(mut body: Body, declared: Option<u64>) -> Result<Bytes, BadBody> {
    if declared.is_some_and(|size| size > MOST_OF_ARRAY as u64) {
        return Err(BadBody::PayloadTooLarge {
            limit: MOST_OF_ARRAY,
            size: declared,
        });
    }
    let mut content = BytesMut::new();
    let mut limit = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_broken| BadBody::Incomplete)?.into_data() else {
            continue;
        };
        content.extend_from_slice(&data);
        limit = limit.or_else(|| limit_of(&data));
        let limit = limit.unwrap_or(MOST_OF_ONE);
        if content.len() > limit {
            return Err(BadBody::PayloadTooLarge {
                limit,
                size: declared,
            });
        }
    }
    Ok(content.freeze())
}

/// The limit that the first byte which is no white space asks for.
fn limit_of(data: &[u8]) -> Option<usize> {
    let first = data.iter().find(|byte| !byte.is_ascii_whitespace())?;
    Some(if *first == b'[' {
        MOST_OF_ARRAY
    } else {
        MOST_OF_ONE
    })
}

/// Well-formed JSON in UTF-8, without the white space around it.
pub fn read_json(content: &[u8]) -> Result<&RawValue, BadBody> {
    let text = std::str::from_utf8(content).map_err(|error| {
        let before = &content[..error.valid_up_to()];
        let line_start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        BadBody::InvalidJson {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before.len() - line_start + 1,
            what: "text that is not UTF-8",
        }
    })?;
    serde_json::from_str(text).map_err(|error| BadBody::InvalidJson {
        line: error.line(),
        column: error.column(),
        what: match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            _ => "a syntax error",
        },
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::{Duration, Instant};

    use super::*;

    /// A body that comes a frame at a time.
    fn in_frames(text: &'static str, size: usize) -> Body {
        let frames = text.as_bytes().chunks(size);
        Body::from_stream(futures_util::stream::iter(frames.map(Ok::<_, Infallible>)))
    }

    #[tokio::test]
    async fn the_first_byte_sets_the_limit_once() {
        let padded = |text: &str| -> &'static str { (" ".repeat(MOST_OF_ONE - 2) + text).leak() };
        let table = [
            ("[]", true),
            ("[1]", true),
            ("{}", true),
            ("{ }", false),
            ("{[]", false),
        ];
        let started = Instant::now();
        for (text, taken) in table {
            let body = collect(in_frames(padded(text), 1), None).await;
            assert_eq!(body.is_ok(), taken, "{text}");
        }
        // Each byte is looked at once, however small the frames.
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "{:?}",
            started.elapsed()
        );
    }
}
