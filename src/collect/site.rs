//! Whether the page that sent a request is of the same site as the host that got it: only then is the visitor's cookie the site's own.

use axum::http::{HeaderMap, HeaderName, header};
use url::{Host, Url};

/// A site that page and host share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its registrable domain, such as `shop.co.uk`; none for an address, or a name that is no domain of the public suffix list.
    pub domain: Option<String>,
    /// Whether its pages come over TLS.
    pub secure: bool,
}

/// The site that both are of, if they are. What the page is, the browser tells; nothing else can set these headers across sites.
pub fn shared(headers: &HeaderMap) -> Option<Site> {
    let host = Url::parse(&format!("http://{}", text(headers, &header::HOST)?)).ok()?;
    let told = match headers.contains_key(header::ORIGIN) {
        true => text(headers, &header::ORIGIN),
        false => text(headers, &header::REFERER),
    };
    let Some(page) = told else {
        return shared_by_metadata(headers, &host);
    };
    let page = Url::parse(page).ok()?;
    let domain = match (registrable(page.host()?), registrable(host.host()?)) {
        (Some(of_page), Some(of_host)) if of_page == of_host => Some(of_page),
        (None, None) if page.host() == host.host() => None,
        _ => return None,
    };
    Some(Site {
        domain,
        secure: page.scheme() == "https",
    })
}

/// As the fetch metadata say, which browsers send over TLS and to this very machine only.
fn shared_by_metadata(headers: &HeaderMap, host: &Url) -> Option<Site> {
    const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    if !matches!(text(headers, &FETCH_SITE)?, "same-origin" | "same-site") {
        return None;
    }
    let domain = registrable(host.host()?);
    let secure = domain.is_some();
    Some(Site { domain, secure })
}

fn registrable(host: Host<&str>) -> Option<String> {
    match host {
        Host::Domain(name) => psl::domain_str(name.trim_end_matches('.')).map(str::to_owned),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Option<(Option<String>, bool)> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        shared(&headers).map(|site| (site.domain, site.secure))
    }

    #[test]
    fn the_registrable_domain_tells() {
        let table = [
            (
                "track.shop.example",
                "https://www.shop.example",
                Some(Some("shop.example")),
            ),
            (
                "Track.Shop.Example:8080",
                "https://SHOP.example:444",
                Some(Some("shop.example")),
            ),
            (
                "track.shop.co.uk",
                "https://a.b.shop.co.uk",
                Some(Some("shop.co.uk")),
            ),
            ("shop.co.uk", "https://other.co.uk", None),
            ("a.github.io", "https://b.github.io", None),
            ("a.github.io", "https://a.github.io", Some(Some("a.github.io"))),
            ("co.uk", "https://co.uk", Some(None)),
            ("track.shop.example", "https://shop.example.evil.example", None),
            ("track.shop.example", "null", None),
            ("127.0.0.1:8080", "https://127.0.0.1", Some(None)),
            ("127.0.0.1", "https://2.0.0.1", None),
            ("[::1]:8080", "https://[::1]", Some(None)),
            ("localhost:8080", "https://localhost:3000", Some(None)),
            ("localhost", "https://shop.example", None),
            ("bücher.example", "https://x.xn--bcher-kva.example", None),
            ("a b", "https://shop.example", None),
        ];
        for (host, origin, expected) in table {
            let found = of(&[("host", host), ("origin", origin)]);
            let expected = expected.map(|domain: Option<&str>| (domain.map(str::to_owned), true));
            assert_eq!(found, expected, "{host} {origin}");
        }
        assert_eq!(
            of(&[
                ("host", "xn--bcher-kva.example"),
                ("origin", "http://x.xn--bcher-kva.example")
            ])
            .unwrap(),
            (Some("xn--bcher-kva.example".to_owned()), false)
        );
    }

    #[test]
    fn without_an_origin_the_browser_tells_otherwise() {
        let host = ("host", "track.shop.example");
        let shop = Some((Some("shop.example".to_owned()), true));
        assert_eq!(of(&[host, ("referer", "https://www.shop.example/a?b")]), shop);
        assert_eq!(of(&[host, ("sec-fetch-site", "same-site")]), shop);
        assert_eq!(of(&[host, ("sec-fetch-site", "cross-site")]), None);
        assert_eq!(
            of(&[
                host,
                ("origin", "https://evil.example"),
                ("referer", "https://shop.example/"),
                ("sec-fetch-site", "same-site")
            ]),
            None
        );
        assert_eq!(
            of(&[("host", "localhost"), ("sec-fetch-site", "same-origin")]),
            Some((None, false))
        );
        assert_eq!(of(&[host]), None);
        assert_eq!(of(&[("origin", "https://shop.example")]), None);
    }
}
