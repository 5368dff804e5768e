//! What the stubs got: the last requests in memory, all of them in a file where one is named.

use std::collections::VecDeque;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

/// Requests that are kept in memory.
const KEPT: usize = 100;
/// Bytes of a body that is kept in memory.
const MOST_BODY: usize = 64 << 10;

/// One request, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    pub(super) at: String,
    pub(super) platform: &'static str,
    pub(super) method: String,
    /// Without the query: some platforms want their token there.
    pub(super) path: String,
    pub(super) body: Value,
    /// `accepted`, `partial`, `refused`, or the mode that it was told.
    pub(super) verdict: &'static str,
    pub(super) faults: Vec<String>,
    pub(super) status: u16,
}

/// Where entries go.
pub(super) struct Record {
    file: Option<Mutex<File>>,
    last: Mutex<VecDeque<Entry>>,
}

impl Record {
    /// Appends to the file, where one is named.
    pub(super) async fn open(path: Option<&Path>) -> std::io::Result<Self> {
        let file = match path {
            Some(path) => Some(Mutex::new(
                File::options().create(true).append(true).open(path).await?,
            )),
            None => None,
        };
        Ok(Self {
            file,
            last: Mutex::new(VecDeque::new()),
        })
    }

    /// Keeps an entry; when this returns, it is in the file.
    pub(super) async fn add(&self, mut entry: Entry) -> std::io::Result<()> {
        hide_tokens(&mut entry.body);
        let bytes = entry.body.to_string().len();
        if let Some(file) = &self.file {
            let line = serde_json::to_string(&entry)? + "\n";
            let mut file = file.lock().await;
            file.write_all(line.as_bytes()).await?;
            file.flush().await?;
        }
        if bytes > MOST_BODY {
            entry.body = format!("{bytes} bytes, not kept here").into();
        }
        let mut last = self.last.lock().await;
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(entry);
        Ok(())
    }

    /// The last requests, oldest first.
    pub(super) async fn last(&self) -> Vec<Entry> {
        self.last.lock().await.iter().cloned().collect()
    }
}

/// Takes tokens out of a body's top level.
fn hide_tokens(body: &mut Value) {
    for name in [
        "access_token",
        "refresh_token",
        "client_secret",
        "appsecret_proof",
    ] {
        if let Some(token) = body.get_mut(name) {
            *token = "***".into();
        }
    }
}
