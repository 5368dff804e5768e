//! A real Chromium, driven through chromedriver, and web sites for it to visit.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{Method, header};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// How long a browser may take for what it was asked; a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// `*.test` is this machine: sites get real host names, and so real rules for cookies and origins.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // What glides cannot be clicked.
    "--force-prefers-reduced-motion",
    "--window-size=1280,900",
];

/// Headless, it would call itself a program, and what programs do is not counted.
const PERSON: &str = "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/150.0.0.0 Safari/537.36";

/// A browser with a fresh profile, which is deleted with it: no two tests share a cookie.
pub struct Browser {
    pub page: Client,
    _driver: Driver,
}

/// Ends its browsers and itself when dropped, also when a test fails.
struct Driver {
    process: Child,
    port: u16,
    /// Where it keeps its files: Chromium leaves some behind.
    folder: PathBuf,
}

impl Driver {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("td-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", &folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is not there: run scripts/system-packages chromium, or make test");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.split("successfully on port ")
                .nth(1)?
                .trim_end_matches('.')
                .parse()
                .ok()
        });
        let port = port.expect("chromedriver says its port");
        // Somebody must read what it still says.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            port,
            folder,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks it to close its browsers and to end: killed, it would leave them running.
    fn shut_down(&self) -> std::io::Result<()> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            connection,
            "GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            self.port
        )?;
        connection.read_to_end(&mut Vec::new()).map(drop)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _asked = self.shut_down();
        let started = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && started.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // An error says that it has ended already, as it should.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

/// A command of chromedriver that WebDriver does not have.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

impl Browser {
    pub async fn start() -> Self {
        let driver = Driver::start();
        let mut flags: Vec<&str> = FLAGS.to_vec();
        flags.push("--host-resolver-rules=MAP *.test 127.0.0.1");
        flags.push(PERSON);
        let wanted = json!({
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted.as_object().unwrap().clone())
            .connect(&driver.url())
            .await
            .unwrap();
        Self {
            page,
            _driver: driver,
        }
    }

    pub async fn goto(&self, url: &str) {
        self.page.goto(url).await.unwrap();
    }

    /// What `expression` is, once it is something: neither false, null, 0 nor empty. On a page that is still on its way it is nothing.
    pub async fn wait_for(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.patiently(expression, async || {
            let value = self.page.execute(&script, Vec::new()).await?;
            let is_nothing = matches!(value, Value::Null | Value::Bool(false)) || value == "" || value == 0;
            Ok((!is_nothing).then_some(value))
        })
        .await
    }

    /// Tries until it is done: a page that is being replaced, and what has just left it, answer with an error.
    async fn patiently<T>(&self, what: &str, attempt: impl AsyncFn() -> Result<Option<T>, CmdError>) -> T {
        let started = Instant::now();
        loop {
            let tried = attempt().await;
            if let Ok(Some(done)) = tried {
                return done;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "never: {what}, {:?}; at {}, console {:#?}",
                tried.err(),
                self.page.current_url().await.unwrap(),
                self.console().await,
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The element, on a page that is complete: before, its scripts do not listen yet.
    async fn element(&self, selector: &str) -> Result<Option<Element>, CmdError> {
        let complete = self
            .page
            .execute("return document.readyState === 'complete'", Vec::new());
        match complete.await? {
            Value::Bool(true) => self.page.find(Locator::Css(selector)).await.map(Some),
            _ => Ok(None),
        }
    }

    pub async fn run(&self, script: &str) -> Value {
        self.page.execute(script, Vec::new()).await.unwrap()
    }

    pub async fn click(&self, selector: &str) {
        self.patiently(selector, async || match self.element(selector).await? {
            Some(found) => found.click().await.map(Some),
            None => Ok(None),
        })
        .await;
    }

    /// Types into a field; a key that is not of a letter is one of WebDriver's code points.
    pub async fn keys(&self, selector: &str, text: &str) {
        self.patiently(selector, async || match self.element(selector).await? {
            Some(found) => found.send_keys(text).await.map(Some),
            None => Ok(None),
        })
        .await;
    }

    pub async fn text(&self, selector: &str) -> String {
        self.patiently(selector, async || match self.element(selector).await? {
            Some(found) => found.text().await.map(Some),
            None => Ok(None),
        })
        .await
    }

    /// The visitor's id as the page knows it, once it does.
    pub async fn visitor_id(&self) -> String {
        let id = self.wait_for("window.trustdata && trustdata._loaded && trustdata.getVisitorId()");
        id.await.as_str().unwrap().to_owned()
    }

    /// What scripts can keep on the device: cookies, local storage, session storage.
    pub async fn kept(&self) -> Value {
        self.run("return { cookie: document.cookie, local: {...localStorage}, session: {...sessionStorage} }")
            .await
    }

    /// What the console has said since the last look: errors, and what a policy forbade.
    pub async fn console(&self) -> Vec<String> {
        let log = Vendor {
            path: "se/log",
            body: json!({ "type": "browser" }),
        };
        let lines = self.page.issue_cmd(log).await.unwrap();
        let lines = lines.as_array().cloned().unwrap_or_default();
        lines
            .iter()
            .map(|line| format!("{}: {}", line["source"], line["message"]))
            .collect()
    }

    /// Lets pages of an origin read what they have copied, as somebody who pastes it would.
    pub async fn allow_clipboard(&self, origin: &str) {
        let allowed =
            json!({ "origin": origin, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
        self.developer("Browser.grantPermissions", allowed).await;
    }

    /// A command of the browser's own protocol for developers.
    pub async fn developer(&self, command: &str, parameters: Value) -> Value {
        let execute = Vendor {
            path: "goog/cdp/execute",
            body: json!({ "cmd": command, "params": parameters }),
        };
        self.page.issue_cmd(execute).await.unwrap()
    }
}

/// A web site of somebody else: one page for every path.
pub struct Site {
    pub port: u16,
    _server: AbortOnDropHandle<()>,
}

impl Site {
    /// `policy` is the page's Content-Security-Policy.
    pub async fn start(html: String, policy: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let page = async move || {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
                (header::CONTENT_SECURITY_POLICY, policy),
            ];
            (headers, html)
        };
        let server = tokio::spawn(async move {
            axum::serve(listener, Router::new().fallback(page)).await.unwrap();
        });
        Self {
            port: address.port(),
            _server: AbortOnDropHandle::new(server),
        }
    }
}
