//! The client's address: the connection's, or what a trusted proxy says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Proxies by address range.
    pub fn new(ranges: Vec<IpNet>) -> Self {
        Self(ranges)
    }

    /// The client that sent a request.
    pub fn client_of(&self, head: &Parts) -> IpAddr {
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
        self.client(peer, &head.headers)
    }

    /// The nearest address that is no trusted proxy; a header that does not parse stops the walk where it stands.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let forwarded: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        for hop in forwarded.into_iter().rev() {
            if !self.trusts(client) {
                break;
            }
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            client = address.to_canonical();
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }
}

/// The address that limits count by: one IPv4 address, or the /64 that one IPv6 subscriber has.
pub fn limited_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies::new(trusted.iter().map(|range| range.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let table: &[(&[&str], &str, &[&str], &str)] = &[
            (&[], "192.0.2.1", &["203.0.113.9"], "192.0.2.1"),
            (&["192.0.2.0/24"], "192.0.2.1", &["203.0.113.9"], "203.0.113.9"),
            (
                &["192.0.2.0/24"],
                "192.0.2.1",
                &["10.9.9.9, 203.0.113.9"],
                "203.0.113.9",
            ),
            (
                &["192.0.2.0/24"],
                "192.0.2.1",
                &["203.0.113.9", "192.0.2.7"],
                "203.0.113.9",
            ),
            (
                &["192.0.2.0/24"],
                "192.0.2.1",
                &["203.0.113.9, nonsense"],
                "192.0.2.1",
            ),
            (
                &["192.0.2.0/24"],
                "::ffff:192.0.2.1",
                &["2001:db8::7"],
                "2001:db8::7",
            ),
        ];
        for (trusted, peer, forwarded, expected) in table {
            assert_eq!(
                client(trusted, peer, forwarded),
                *expected,
                "{trusted:?} {peer} {forwarded:?}"
            );
        }
    }

    #[test]
    fn ipv6_counts_by_subscriber() {
        let of = |text: &str| limited_as(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("192.0.2.9"), "192.0.2.9");
    }
}
