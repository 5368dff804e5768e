//! Check 4: type, size and time of the body.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::Webhook;
use super::refusal::Refusal;

/// Bytes of one event.
const MOST_OF_ONE: usize = 256 * 1024;
/// Bytes of an array of events.
const MOST_OF_ARRAY: usize = 1024 * 1024;

/// The whole body, within its limit.
pub async fn read(webhook: &Webhook, headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    check_type(headers)?;
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    tokio::time::timeout(webhook.read_timeout, collect(body, declared))
        .await
        .unwrap_or(Err(Refusal::Timeout))
}

fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let media = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::UnsupportedMediaType(
            "The Content-Type must be application/json.",
        ));
    }
    let charset = media
        .split(';')
        .skip(1)
        .find_map(|part| part.trim().strip_prefix("charset="));
    if charset.is_some_and(|charset| !charset.trim_matches('"').eq_ignore_ascii_case("utf-8")) {
        return Err(Refusal::UnsupportedMediaType(
            "JSON is UTF-8: send no other charset.",
        ));
    }
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map(|value| value.as_bytes());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::UnsupportedMediaType(
            "A Content-Encoding is not supported: send the body uncompressed.",
        ));
    }
    Ok(())
}

/// Reads the body; what it begins with says which limit holds.
async fn collect(mut body: Body, declared: Option<u64>) -> Result<Bytes, Refusal> {
    if declared.is_some_and(|size| size > MOST_OF_ARRAY as u64) {
        return Err(Refusal::PayloadTooLarge {
            limit: MOST_OF_ARRAY,
            size: declared,
        });
    }
    let mut content = BytesMut::new();
    let mut limit = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_broken| Refusal::Incomplete)?.into_data() else {
            continue;
        };
        content.extend_from_slice(&data);
        limit = limit.or_else(|| limit_of(&data));
        let limit = limit.unwrap_or(MOST_OF_ONE);
        if content.len() > limit {
            return Err(Refusal::PayloadTooLarge {
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
