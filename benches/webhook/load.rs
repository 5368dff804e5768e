//! The load generator: HTTP/1.1 over kept connections, each request an event of its own, each answer checked.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use super::scratch::Tenants;

/// Makes ids unique across the cells of a run.
static CELL: AtomicU64 = AtomicU64::new(0);

/// Pages that a visitor looks at.
const PAGES: usize = 5;

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A purchase to the webhook.
    Purchase,
    /// A purchase of somebody who may be told of to the platforms.
    Consented,
    /// A page view from a browser.
    PageView,
}

/// What is to be sent.
pub struct Load {
    pub address: SocketAddr,
    pub what: What,
    pub connections: usize,
    /// Events a request: more than one make an array.
    pub events: usize,
    /// Requests a second that are due, if they do not just follow the answers.
    pub rate: Option<u32>,
    pub warm_up: Duration,
    pub time: Duration,
}

/// What came of it; the warm-up counts for errors alone.
#[derive(Default)]
pub struct Measured {
    /// In microseconds, sorted.
    latencies: Vec<u32>,
    events: usize,
    time: Duration,
    pub errors: usize,
    pub first_error: Option<String>,
}

impl Measured {
    /// Events a second.
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.time.as_secs_f64()
    }

    /// In milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let place = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies
            .get(place)
            .map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
    }
}

impl Load {
    /// Sends for the warm-up and the time.
    pub async fn run(&self, tenants: &Tenants) -> Measured {
        let cell = CELL.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.time;
        let mut clients = JoinSet::new();
        let mut due = Vec::new();
        for place in 0..self.connections {
            let client = Client {
                stream: TcpStream::connect(self.address).await.unwrap(),
                what: self.what,
                heads: heads(tenants, self.what),
                attribution_ids: tenants
                    .all
                    .iter()
                    .map(|tenant| tenant.attribution_id.to_string())
                    .collect(),
                place,
                connections: self.connections,
                events: self.events,
                visitors: tenants.visitors() as u64,
                name: format!("{cell:02}-{place:03}"),
                sent: 0,
                request: Vec::new(),
                answer: Vec::new(),
            };
            client.stream.set_nodelay(true).unwrap();
            let times = self.rate.map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                due.push(sender);
                receiver
            });
            clients.spawn(client.run(times, begin, end));
        }
        if let Some(rate) = self.rate {
            std::thread::spawn(move || pace(&due, rate, end));
        }
        let mut all = Measured {
            time: self.time,
            ..Measured::default()
        };
        while let Some(one) = clients.join_next().await {
            let one = one.unwrap();
            all.latencies.extend(one.latencies);
            all.events += one.events;
            all.errors += one.errors;
            all.first_error = all.first_error.or(one.first_error);
        }
        all.latencies.sort_unstable();
        all
    }
}

/// Hands each connection in turn the time of its next request. A thread of its own: the runtime's timer knows whole milliseconds only.
fn pace(due: &[UnboundedSender<Instant>], rate: u32, end: Instant) {
    let mut next = Instant::now();
    for sender in due.iter().cycle() {
        if next >= end {
            return;
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        // A connection that broke has said so itself.
        let _broken = sender.send(next);
        next += Duration::from_secs(1) / rate;
    }
}

/// Everything before the length, for each tenant.
fn heads(tenants: &Tenants, what: What) -> Vec<String> {
    let head = |tenant: &super::scratch::Tenant| match what {
        What::PageView => {
            "POST /api/events HTTP/1.1\r\nhost: track.shop.example\r\norigin: https://www.shop.example\r\n\
             content-type: text/plain;charset=UTF-8\r\ncontent-length: "
                .to_owned()
        }
        What::Purchase | What::Consented => format!(
            "POST /webhooks/custom/{}/purchase HTTP/1.1\r\nhost: track.shop.example\r\nuser-agent: bench\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: ",
            tenant.attribution_id, tenant.token
        ),
    };
    tenants.all.iter().map(head).collect()
}

/// One connection.
struct Client {
    stream: TcpStream,
    what: What,
    attribution_ids: Vec<String>,
    heads: Vec<String>,
    place: usize,
    connections: usize,
    events: usize,
    visitors: u64,
    name: String,
    sent: usize,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    async fn run(
        mut self,
        mut due: Option<UnboundedReceiver<Instant>>,
        begin: Instant,
        end: Instant,
    ) -> Measured {
        let mut measured = Measured::default();
        loop {
            let start = match &mut due {
                None => Instant::now(),
                Some(due) => match due.recv().await {
                    Some(start) => start,
                    None => return measured,
                },
            };
            if start >= end {
                return measured;
            }
            self.prepare();
            let outcome = self.exchange().await;
            let now = Instant::now();
            let broken = outcome.is_err();
            let fault = match outcome {
                Ok(()) => self.fault(),
                Err(error) => Some(error.to_string()),
            };
            if let Some(fault) = fault {
                measured.errors += 1;
                measured.first_error.get_or_insert(fault);
            } else if start >= begin {
                let micros = now.duration_since(start).as_micros();
                measured.latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
                // What is answered after the end is no part of the rate.
                if now <= end {
                    measured.events += self.events;
                }
            }
            if broken {
                return measured;
            }
        }
    }

    /// Lays the next request; connections go round the tenants, so that together they reach each of them.
    fn prepare(&mut self) {
        let tenants = self.heads.len();
        let tenant = (self.place + self.sent * self.connections) % tenants;
        let body = match self.what {
            What::Purchase | What::Consented => self.purchases(tenant),
            What::PageView => self.page_view(tenant),
        };
        self.request.clear();
        self.request.extend_from_slice(self.heads[tenant].as_bytes());
        self.request
            .extend_from_slice(format!("{}\r\n\r\n", body.len()).as_bytes());
        self.request.extend_from_slice(body.as_bytes());
        self.sent += 1;
    }

    /// A visitor comes by an ad and looks at a few pages, then the next one does.
    fn page_view(&self, tenant: usize) -> String {
        let page = self.sent % PAGES;
        let visitor = format!("b-{}-{}", self.name, self.sent / PAGES);
        let query = match page {
            0 => "?utm_source=google&utm_medium=cpc&utm_campaign=spring_sale&gclid=Cj0KCQjwexample0123456789",
            _ => "",
        };
        format!(
            r#"{{"event_name":"page_view","attribution_id":"{}","visitor_id":"{visitor}","lib":"trustdata.js","lib_version":"1.0.0","page_location":"https://www.shop.example/shoes/{page}{query}","page_referrer":"https://www.google.com/","page_title":"Trail running shoes","raw_user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36","screen_resolution":"1920x1080","viewport_resolution":"1200x800","timezone":"Europe/Berlin","timezone_offset":-60,"browser_language":"de-DE","consent":{{"analytics":true,"advertising":true}}}}"#,
            self.attribution_ids[tenant]
        )
    }

    /// One event, or an array of them.
    fn purchases(&self, tenant: usize) -> String {
        let tenants = self.heads.len();
        let consent = match self.what {
            What::Consented => r#","consent":{"advertising":true}"#,
            _ => "",
        };
        let mut body = String::with_capacity(400 * self.events);
        for event in 0..self.events {
            let visitor =
                rand::random_range(0..self.visitors / tenants as u64) * tenants as u64 + tenant as u64;
            let separator = if event == 0 { "" } else { "," };
            let _infallible = write!(
                body,
                r#"{separator}{{"conversion_id":"ORD-{}-{:08}-{event:03}","value":129.90,"currency":"EUR","visitor_id":"v-{visitor}","user_id":"customer-{visitor}","user_data":{{"email":"anna.smith.{visitor}@mail.example"}},"products":[{{"id":"SKU-48213","name":"Trail running shoes, grey, size 42","brand":"Example","category":"Shoes","quantity":1,"price":129.90}}]{consent}}}"#,
                self.name, self.sent
            );
        }
        match self.events {
            1 => body,
            _ => format!("[{body}]"),
        }
    }

    /// Sends it and reads the whole answer.
    async fn exchange(&mut self) -> std::io::Result<()> {
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        let mut whole = None;
        while whole.is_none_or(|length| self.answer.len() < length) {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if whole.is_none() {
                whole = length_of(&self.answer);
            }
        }
        Ok(())
    }

    /// What is wrong with the answer: each event must be stored, and a conversion matched.
    fn fault(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.answer);
        let good = match self.what {
            What::Purchase | What::Consented => r#""session_matched":true"#,
            What::PageView => r#""visitor_id":"b-"#,
        };
        let matched = text.matches(good).count();
        if text.starts_with("HTTP/1.1 200") && matched == self.events {
            return None;
        }
        let status = text.lines().next().unwrap_or_default();
        let body: String = text
            .split("\r\n\r\n")
            .nth(1)
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        Some(format!("{status}, {matched} of {} good: {body}", self.events))
    }
}

/// Bytes of the answer, once its head is there.
fn length_of(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    Some(head + length.unwrap_or(0))
}
