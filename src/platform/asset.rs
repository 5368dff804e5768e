//! A file that is built in, compressed once, and served in the encoding that the client likes best.

use std::io::Write as _;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use brotli::enc::BrotliEncoderParams;
use brotli::enc::backward_references::BrotliEncoderMode;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// A file in all its encodings.
pub struct Asset {
    kind: &'static str,
    hash: String,
    /// Smallest first; the file as it is comes last.
    variants: Vec<Variant>,
}

/// A file in one encoding.
struct Variant {
    /// None: as it is.
    encoding: Option<&'static str>,
    content: Bytes,
    /// Of this encoding: the bytes differ, so the tags must.
    tag: String,
}

impl Asset {
    /// Compresses a text of this media type.
    pub fn new(source: &'static str, kind: &'static str) -> Self {
        let digest: [u8; 32] = Sha256::digest(source).into();
        let hash: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let variant = |encoding: Option<&'static str>, content: Bytes| Variant {
            encoding,
            content,
            tag: format!("\"{hash}-{}\"", encoding.unwrap_or("plain")),
        };
        // Writing to memory does not fail; a variant that failed all the same is not offered.
        let compressed = [("br", brotli(source).ok()), ("gzip", gzip(source).ok())];
        let variants = compressed
            .into_iter()
            .filter_map(|(encoding, content)| Some(variant(Some(encoding), content?.into())))
            .chain([variant(None, Bytes::from_static(source.as_bytes()))])
            .collect();
        Self { kind, hash, variants }
    }

    /// Tells this content from any other: 16 hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The encodings and their sizes in bytes.
    pub fn sizes(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.variants
            .iter()
            .map(|variant| (variant.encoding.unwrap_or("plain"), variant.content.len()))
    }

    /// The file, or the word that it has not changed.
    pub fn answer(&self, request: &HeaderMap, caching: HeaderValue) -> Response {
        let accepted = joined(request, header::ACCEPT_ENCODING);
        let Some(variant) = chosen(&self.variants, &accepted) else {
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
        headers.insert(header::CACHE_CONTROL, caching);
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Ok(tag) = HeaderValue::from_str(&variant.tag) {
            headers.insert(header::ETAG, tag);
        }
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if let Some(encoding) = variant.encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}

fn brotli(source: &str) -> std::io::Result<Vec<u8>> {
    let params = BrotliEncoderParams {
        quality: 11,
        lgwin: 16,
        mode: BrotliEncoderMode::BROTLI_MODE_TEXT,
        size_hint: source.len(),
        ..BrotliEncoderParams::default()
    };
    let mut content = Vec::new();
    brotli::BrotliCompress(&mut source.as_bytes(), &mut content, &params)?;
    Ok(content)
}

fn gzip(source: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(source.as_bytes())?;
    encoder.finish()
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

    const SOURCE: &str = "let a = 1; let b = 1; let c = 1; let d = 1;";

    #[test]
    fn what_is_compressed_is_the_source() {
        let asset = Asset::new(SOURCE, "text/javascript");
        let content = |encoding| {
            let variant = asset.variants.iter().find(|variant| variant.encoding == encoding);
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
        let asset = Asset::new(SOURCE, "text/javascript");
        for (accepted, encoding) in table {
            assert_eq!(
                chosen(&asset.variants, accepted).unwrap().encoding,
                encoding,
                "{accepted}"
            );
        }
    }
}
