//! Requests to other people's servers: nothing is believed of them. No redirect is followed, no proxy taken from the environment, an answer is
//! read up to a limit and within a time, and where the address was chosen by a user it must be a public one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};

/// For the connection to be there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// For the whole answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A request as it is to be sent.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers, secret ones marked sensitive.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Bytes of the answer that are read; the rest is cut.
    pub most_read: usize,
}

/// An answer, as far as it was read.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or the beginning of it.
    pub body: Bytes,
    /// Whether the body went on.
    pub cut: bool,
}

/// Which addresses a request may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Any: the operator has named it.
    Anywhere,
    /// Public ones, and those that the configuration allows.
    Public,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SendError {
    /// The address is private, or this machine's own.
    #[error("the address is not a public one")]
    NotPublic,
    /// Nothing came in time.
    #[error("no answer in time")]
    TimedOut,
    /// No connection, or one that broke off.
    #[error("the connection failed")]
    Connection,
}

/// No TLS on this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot make HTTPS requests: {0}")]
pub struct NoClient(#[from] reqwest::Error);

/// Sends requests.
#[derive(Clone)]
pub struct Outbound {
    anywhere: Client,
    public: Client,
    allowed: Arc<[IpNet]>,
    within: Duration,
}

impl Outbound {
    /// `allowed` are ranges that count as public.
    pub fn new(allowed: &[IpNet]) -> Result<Self, NoClient> {
        Self::with(allowed, look_up, ANSWER_WITHIN)
    }

    /// The same, which looks names up in its own way, and waits for an answer no longer than `within`.
    fn with(allowed: &[IpNet], look_up: LookUp, within: Duration) -> Result<Self, NoClient> {
        // Another part of the process may have chosen already: the choice is the same.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let allowed: Arc<[IpNet]> = allowed.into();
        let client = || {
            Client::builder()
                .redirect(Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT_WITHIN)
                .timeout(within)
                .pool_max_idle_per_host(16)
                .user_agent(concat!("TrustData/", env!("CARGO_PKG_VERSION")))
        };
        let resolver = PublicOnly {
            allowed: Arc::clone(&allowed),
            look_up,
        };
        Ok(Self {
            anywhere: client().build()?,
            public: client().dns_resolver(Arc::new(resolver)).build()?,
            allowed,
            within,
        })
    }

    /// Sends, and reads the answer up to the limit.
    pub async fn send(&self, request: Request, reach: Reach) -> Result<Answer, SendError> {
        let client = match reach {
            Reach::Anywhere => &self.anywhere,
            Reach::Public => &self.public,
        };
        if reach == Reach::Public && !self.may_be_public(&request.url) {
            return Err(SendError::NotPublic);
        }
        let sending = async {
            let mut answer = client
                .request(request.method, request.url)
                .headers(request.headers)
                .body(request.body)
                .send()
                .await?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let (mut body, mut cut) = (BytesMut::new(), false);
            while let Some(chunk) = answer.chunk().await? {
                let room = request.most_read.saturating_sub(body.len());
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    cut = true;
                    break;
                }
            }
            Ok(Answer {
                status,
                headers,
                body: body.freeze(),
                cut,
            })
        };
        // The client's own limit is one for each read; this one is for all of it.
        match tokio::time::timeout(self.within, sending).await {
            Err(_elapsed) => Err(SendError::TimedOut),
            Ok(answer) => answer.map_err(|error| sort(&error)),
        }
    }

    /// Whether the URL's host is a public address, or a name: what that means is found out when it is looked up, each time.
    pub fn may_be_public(&self, url: &Url) -> bool {
        match url.host() {
            Some(url::Host::Ipv4(ip)) => is_allowed(ip.into(), &self.allowed),
            Some(url::Host::Ipv6(ip)) => is_allowed(ip.into(), &self.allowed),
            // What stands for this machine by definition is no matter of looking it up.
            Some(url::Host::Domain(name)) if is_localhost(name) => {
                is_allowed(Ipv4Addr::LOCALHOST.into(), &self.allowed)
                    || is_allowed(Ipv6Addr::LOCALHOST.into(), &self.allowed)
            }
            Some(url::Host::Domain(_)) => true,
            None => false,
        }
    }
}

/// Whether a name is this machine's own (RFC 6761).
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn sort(error: &reqwest::Error) -> SendError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return SendError::NotPublic;
        }
        cause = error.source();
    }
    match error.is_timeout() {
        true => SendError::TimedOut,
        false => SendError::Connection,
    }
}

/// Looks names up, and knows only the public addresses among what it finds: what was checked is what is connected to, however fast the answer
/// changes.
struct PublicOnly {
    allowed: Arc<[IpNet]>,
    look_up: LookUp,
}

/// How a name's addresses are found out.
type LookUp = fn(Name) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>;

fn look_up(name: Name) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>> {
    Box::pin(async move {
        let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
        Ok(found.collect())
    })
}

/// None of a name's addresses is public.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to no public address")]
struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = Arc::clone(&self.allowed);
        let found = (self.look_up)(name);
        Box::pin(async move {
            let found = found.await?;
            let public: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| is_allowed(address.ip(), &allowed))
                .collect();
            match public.is_empty() {
                true => Err(NotPublic.into()),
                false => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}

fn is_allowed(ip: IpAddr, allowed: &[IpNet]) -> bool {
    // An IPv4 address in IPv6's coat is in a range of IPv4.
    let ip = ip.to_canonical();
    allowed.iter().any(|net| net.contains(&ip)) || is_public(ip)
}

/// Whether an address is anybody's on the internet, by IANA's registries of special addresses.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        // Carrier-grade NAT, protocol assignments, 6to4 relays, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let embedded =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match parts {
        // An IPv4 address in another coat: mapped, translated, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Global unicast, without Teredo, benchmarks, ORCHID and documentation.
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x3fff, second, ..] => second >= 0x1000,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const MOST_READ: usize = 64 << 10;

    #[test]
    fn public_addresses() {
        let table = [
            ("8.8.8.8", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("0.0.0.0", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("::1", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::a00:1", false),
            ("2002:7f00:1::", false),
            ("2001:db8::1", false),
            ("fc00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ];
        for (ip, expected) in table {
            assert_eq!(is_public(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    fn get(url: &str) -> Request {
        Request {
            method: Method::GET,
            url: url.parse().unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            most_read: MOST_READ,
        }
    }

    /// A server that reads a request and then writes `answer` over and over, until nobody listens.
    async fn endless(head: &'static str, answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _request = stream.read(&mut [0; 4096]).await;
                    let mut written = stream.write_all(head.as_bytes()).await;
                    while written.is_ok() && !answer.is_empty() {
                        written = stream.write_all(answer).await;
                    }
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn private_addresses_are_refused_by_number_and_by_name() {
        let port = endless("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"").await;
        let outbound = Outbound::new(&[]).unwrap();
        for url in [
            format!("http://127.0.0.1:{port}/"),
            format!("http://localhost:{port}/"),
            format!("http://2130706433:{port}/"),
            format!("http://[::ffff:127.0.0.1]:{port}/"),
        ] {
            let refused = outbound.send(get(&url), Reach::Public).await;
            assert_eq!(refused.unwrap_err(), SendError::NotPublic, "{url}");
        }
        for url in [
            "http://localhost./",
            "https://Shop.localhost:8443/",
            "http://[::1]/",
        ] {
            assert!(!outbound.may_be_public(&url.parse().unwrap()), "{url}");
        }
        let allowed = Outbound::new(&["127.0.0.0/8".parse().unwrap()]).unwrap();
        for url in ["http://localhost/", "http://[::ffff:127.0.0.1]/", "http://127.1/"] {
            assert!(allowed.may_be_public(&url.parse().unwrap()), "{url}");
        }
        let url = format!("http://localhost:{port}/");
        assert_eq!(allowed.send(get(&url), Reach::Public).await.unwrap().body, "ok");
        assert_eq!(
            outbound.send(get(&url), Reach::Anywhere).await.unwrap().status,
            200
        );
    }

    #[tokio::test]
    async fn redirects_are_answers() {
        let port = endless(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            b"",
        )
        .await;
        let outbound = Outbound::new(&["127.0.0.0/8".parse().unwrap()]).unwrap();
        let answer = outbound
            .send(get(&format!("http://127.0.0.1:{port}/")), Reach::Public)
            .await;
        assert_eq!(answer.unwrap().status, 302);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut() {
        let outbound = Outbound::new(&[]).unwrap();
        // A length that is a lie, chunks without end, and no length at all.
        let heads: [(&str, &[u8]); 3] = [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n",
                &[b'x'; 8192],
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                b"5\r\nxxxxx\r\n",
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", b"xxxxxxx"),
        ];
        for (head, body) in heads {
            let port = endless(head, body).await;
            let request = get(&format!("http://127.0.0.1:{port}/"));
            let answer = outbound.send(request, Reach::Anywhere).await.unwrap();
            assert_eq!((answer.body.len(), answer.cut), (MOST_READ, true), "{head}");
        }
    }

    #[tokio::test]
    async fn an_answer_of_the_very_limit_is_whole() {
        let port = endless("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"").await;
        let outbound = Outbound::new(&[]).unwrap();
        for (most_read, expected) in [(3, ("ok", false)), (2, ("ok", false)), (1, ("o", true))] {
            let request = Request {
                most_read,
                ..get(&format!("http://127.0.0.1:{port}/"))
            };
            let answer = outbound.send(request, Reach::Anywhere).await.unwrap();
            assert_eq!(
                (&answer.body[..], answer.cut),
                (expected.0.as_bytes(), expected.1)
            );
        }
    }

    /// A server that writes `head`, and then a byte now and then: never long enough without one to be idle.
    async fn dripping(head: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _request = stream.read(&mut [0; 4096]).await;
                    let mut written = stream.write_all(head.as_bytes()).await;
                    while written.is_ok() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        written = stream.write_all(b"x").await;
                    }
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn an_answer_that_drips_is_given_up() {
        let outbound = Outbound::with(&[], look_up, Duration::from_millis(300)).unwrap();
        for head in [
            "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx-long: ",
        ] {
            let port = dripping(head).await;
            let request = get(&format!("http://127.0.0.1:{port}/"));
            let given_up = outbound.send(request, Reach::Anywhere).await;
            assert_eq!(given_up.unwrap_err(), SendError::TimedOut, "{head}");
        }
    }

    /// A name that leads to a place that is allowed when it is looked up first, and to a private one from then on.
    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_found_out() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn rebinding(_name: Name) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>> {
            let ip = match ASKED.fetch_add(1, Ordering::SeqCst) {
                0 => [127, 0, 0, 1],
                _ => [127, 0, 0, 2],
            };
            Box::pin(async move { Ok(vec![SocketAddr::from((ip, 0))]) })
        }
        // The connection is not kept, so that the next request has to ask.
        let port = endless(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            b"",
        )
        .await;
        let allowed = ["127.0.0.1/32".parse().unwrap()];
        let outbound = Outbound::with(&allowed, rebinding, ANSWER_WITHIN).unwrap();
        let url = format!("http://hooks.shop.example:{port}/");
        let first = outbound.send(get(&url), Reach::Public).await.unwrap();
        assert_eq!(first.status, 200);
        let second = outbound.send(get(&url), Reach::Public).await;
        assert_eq!(second.unwrap_err(), SendError::NotPublic);
        assert_eq!(ASKED.load(Ordering::SeqCst), 2);
    }
}
