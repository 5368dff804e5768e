//! Hears of changed settings, whichever instance or person changed them, and empties the caches.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::destinations::Destinations;
use crate::keys::Authenticator;
use crate::streams::Streams;

/// Where the database's triggers tell of changes: `stream ID`, `key ID` or `destination ATTRIBUTION_ID`.
const CHANNEL: &str = "trustdata_settings";

/// How long to wait before the connection is asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Listens from now on; the task never ends.
pub async fn start(
    pool: PgPool,
    streams: Arc<Streams>,
    authenticator: Arc<Authenticator>,
    destinations: Arc<Destinations>,
) -> Result<impl Future<Output = ()> + Send, sqlx::Error> {
    let mut listener = listen(&pool).await?;
    Ok(async move {
        loop {
            let cause = hear(&mut listener, &streams, &authenticator, &destinations).await;
            tracing::warn!(cause, "changed settings are not heard: caches live 10 s at most");
            listener = loop {
                match listen(&pool).await {
                    Ok(listener) => break listener,
                    Err(error) => tracing::warn!(%error, "cannot listen for changed settings"),
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            };
            // Not before: what was loaded until then may have changed unheard.
            streams.forget_all();
            authenticator.forget_all();
            destinations.forget_all();
            tracing::info!("changed settings are heard again");
        }
    })
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    // By itself it would come back without always saying so.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Hears until the connection is lost; why it was.
async fn hear(
    listener: &mut PgListener,
    streams: &Streams,
    authenticator: &Authenticator,
    destinations: &Destinations,
) -> String {
    loop {
        let notification = match listener.try_recv().await {
            Ok(Some(notification)) => notification,
            Ok(None) => return "the connection was closed".to_owned(),
            Err(error) => return error.to_string(),
        };
        match notification.payload().split_once(' ') {
            Some(("stream", id)) => match Uuid::try_parse(id) {
                Ok(id) => streams.forget(id).await,
                Err(_) => streams.forget_all(),
            },
            Some(("key", id)) => match Uuid::try_parse(id) {
                Ok(id) => authenticator.forget(id).await,
                Err(_) => authenticator.forget_all(),
            },
            Some(("destination", id)) => match Uuid::try_parse(id) {
                Ok(id) => destinations.forget(id).await,
                Err(_) => destinations.forget_all(),
            },
            _ => {}
        }
    }
}
