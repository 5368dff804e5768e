//! Hears of changed settings, whichever instance or person changed them, and empties the caches.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::keys::Authenticator;
use crate::streams::Streams;

/// Where the database's triggers tell of changes: `stream ID` or `key ID`.
const CHANNEL: &str = "trustdata_settings";

/// Listens from now on; the task never ends.
pub async fn start(
    pool: PgPool,
    streams: Arc<Streams>,
    authenticator: Arc<Authenticator>,
) -> Result<impl Future<Output = ()> + Send, sqlx::Error> {
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(async move {
        loop {
            match listener.try_recv().await {
                Ok(Some(notification)) => match notification.payload().split_once(' ') {
                    Some(("stream", id)) => match Uuid::try_parse(id) {
                        Ok(id) => streams.forget(id).await,
                        Err(_) => streams.forget_all(),
                    },
                    Some(("key", id)) => match Uuid::try_parse(id) {
                        Ok(id) => authenticator.forget(id).await,
                        Err(_) => authenticator.forget_all(),
                    },
                    _ => {}
                },
                // The connection was lost and is made again: what was said meanwhile is lost.
                Ok(None) => {
                    streams.forget_all();
                    authenticator.forget_all();
                }
                Err(error) => {
                    streams.forget_all();
                    authenticator.forget_all();
                    tracing::warn!(%error, "cannot listen for changed settings: caches live 10 s at most");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    })
}
