//! A way to the database that can be cut, or go silent.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use trustdata::platform::config::Config;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Connections are closed.
    Cut,
    /// Connections stay open, and nothing comes through: as when packets are dropped.
    Silent,
}

/// A proxy between a service and its database.
pub struct Wire {
    address: SocketAddr,
    state: watch::Sender<State>,
}

impl Wire {
    /// Lays itself between a service of this configuration and its database.
    pub async fn before(config: &mut Config) -> Self {
        let mut url: url::Url = secrecy::ExposeSecret::expose_secret(&config.database.url)
            .parse()
            .unwrap();
        let database = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        let wire = Self::to(database).await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(wire.address.port())).unwrap();
        config.database.url = url.to_string().into();
        wire
    }

    async fn to(database: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, seen) = watch::channel(State::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, database.clone(), seen.clone()));
            }
        });
        Self { address, state }
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// A connection that was open now, or is made from now on, stays dead even when the wire is mended.
    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn carry(mut client: TcpStream, database: String, mut seen: watch::Receiver<State>) {
    let mut now = *seen.borrow_and_update();
    let mut server = TcpStream::connect(database).await.unwrap();
    if now == State::Open {
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = seen.changed() => now = *seen.borrow_and_update(),
        }
    }
    while now == State::Silent {
        // Mended for others: this one is beyond it. A wire that is gone cuts everything.
        let cut = seen.wait_for(|state| *state == State::Cut).await;
        now = cut.map_or(State::Cut, |state| *state);
    }
}
