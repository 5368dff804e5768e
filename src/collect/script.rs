//! `GET /t.js`, compressed once.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use brotli::enc::BrotliEncoderParams;
use brotli::enc::backward_references::BrotliEncoderMode;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

const SOURCE: &str = include_str!("t.js");
/// An hour, and a day more while a newer one is fetched in the background.
const CACHING: HeaderValue = HeaderValue::from_static("public, max-age=3600, stale-while-revalidate=86400");

static VARIANTS: LazyLock<Vec<Variant>> = LazyLock::new(variants);

/// The script in one encoding.
struct Variant {
    /// None: as it is.
    encoding: Option<&'static str>,
    content: Bytes,
    /// Of this encoding: the bytes differ, so the tags must.
    tag: String,
}

/// Compresses the script, so that no request has to wait for it.
pub fn prepare() {
    LazyLock::force(&VARIANTS);
}

/// Smallest first; the script as it is comes last.
fn variants() -> Vec<Variant> {
    let digest: [u8; 32] = Sha256::digest(SOURCE).into();
    let hash: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let variant = |encoding: Option<&'static str>, content: Vec<u8>| Variant {
        encoding,
        content: content.into(),
        tag: format!("\"{hash}-{}\"", encoding.unwrap_or("plain")),
    };
    // Writing to memory does not fail; a variant that failed all the same is not offered.
    let compressed = [("br", brotli().ok()), ("gzip", gzip().ok())];
    compressed
        .into_iter()
        .filter_map(|(encoding, content)| Some(variant(Some(encoding), content?)))
        .chain([variant(None, SOURCE.as_bytes().to_vec())])
        .collect()
}

fn brotli() -> std::io::Result<Vec<u8>> {
    let params = BrotliEncoderParams {
        quality: 11,
        lgwin: 16,
        mode: BrotliEncoderMode::BROTLI_MODE_TEXT,
        size_hint: SOURCE.len(),
        ..BrotliEncoderParams::default()
    };
    let mut content = Vec::new();
    brotli::BrotliCompress(&mut SOURCE.as_bytes(), &mut content, &params)?;
    Ok(content)
}

fn gzip() -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(SOURCE.as_bytes())?;
    encoder.finish()
}

/// The script, in the encoding that the client likes best, or the word that it has not changed.
pub fn answer(request: &HeaderMap) -> Response {
    let accepted = joined(request, header::ACCEPT_ENCODING);
    let Some(variant) = chosen(&VARIANTS, &accepted) else {
        return Response::new(Body::empty());
    };
    let known = joined(request, header::IF_NONE_MATCH);
    let unchanged = known
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == variant.tag);
    let mut response = Response::new(match unchanged {
        true => Body::empty(),
        false => Body::from(variant.content.clone()),
    });
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, CACHING),
        (header::VARY, HeaderValue::from_static("Accept-Encoding")),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        // A page that isolates itself from other origins may load it too.
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ] {
        headers.insert(name, value);
    }
    if let Ok(tag) = HeaderValue::from_str(&variant.tag) {
        headers.insert(header::ETAG, tag);
    }
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/javascript; charset=utf-8"),
    );
    if let Some(encoding) = variant.encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn joined(headers: &HeaderMap, name: header::HeaderName) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// The variant that `Accept-Encoding` gives the highest weight, the smallest of those that are alike.
fn chosen<'a>(variants: &'a [Variant], accepted: &str) -> Option<&'a Variant> {
    let plain = variants.last();
    let best = variants
        .iter()
        .rev()
        .map(|variant| (weight(variant.encoding, accepted), variant))
        .filter(|(weight, _)| *weight > 0)
        .max_by_key(|(weight, _)| *weight);
    // Who refuses everything gets what everybody can read.
    best.map(|(_, variant)| variant).or(plain)
}

/// In thousandths.
fn weight(encoding: Option<&str>, accepted: &str) -> u16 {
    let told = |wanted: &str| {
        accepted.split(',').find_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next()?;
            if !name.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            Some(q.map_or(1000, thousandths))
        })
    };
    match encoding {
        Some(encoding) => told(encoding).or_else(|| told("*")).unwrap_or(0),
        // Always possible unless it is refused, and then the last choice.
        None => told("identity")
            .or_else(|| told("*").filter(|q| *q == 0))
            .unwrap_or(1),
    }
}

fn thousandths(q: &str) -> u16 {
    let q = q.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q));
    q.map_or(0, |q| (q * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// What a page has to fetch for it.
    #[test]
    fn it_is_small() {
        for variant in VARIANTS.iter() {
            let encoding = variant.encoding.unwrap_or("plain");
            // Past the test runner, which keeps what passing tests print to itself.
            writeln!(
                std::io::stdout(),
                "t.js {encoding}: {} bytes",
                variant.content.len()
            )
            .unwrap();
            assert!(encoding == "plain" || variant.content.len() <= 4096, "{encoding}");
        }
        assert_eq!(VARIANTS.len(), 3);
    }

    #[test]
    fn what_is_compressed_is_the_script() {
        let content = |encoding| {
            let variant = VARIANTS.iter().find(|variant| variant.encoding == encoding);
            variant.unwrap().content.clone()
        };
        let mut plain = String::new();
        flate2::read::GzDecoder::new(content(Some("gzip")).as_ref())
            .read_to_string(&mut plain)
            .unwrap();
        assert_eq!(plain, SOURCE);
        let mut plain = Vec::new();
        brotli::BrotliDecompress(&mut content(Some("br")).as_ref(), &mut plain).unwrap();
        assert_eq!(plain, SOURCE.as_bytes());
    }

    #[test]
    fn weights_are_honoured() {
        let table = [
            ("", None),
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip;q=1.0, br;q=0.5", Some("gzip")),
            ("br;q=0, gzip", Some("gzip")),
            ("br;q=0, gzip;q=0", None),
            ("*", Some("br")),
            ("*;q=0.1, gzip;q=0.2", Some("gzip")),
            ("*;q=0", None),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip", Some("gzip")),
            ("identity;q=0", None),
            ("GZIP", Some("gzip")),
            ("br;q=nonsense, gzip;q=0.001", Some("gzip")),
            ("deflate", None),
            (";;,,q=", None),
        ];
        for (accepted, encoding) in table {
            assert_eq!(
                chosen(&VARIANTS, accepted).unwrap().encoding,
                encoding,
                "{accepted}"
            );
        }
    }
}
