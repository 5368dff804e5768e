//! A dry run: everything but the record.

use sqlx::PgPool;

use super::outcome::{Match, Outcome, Receipt};
use super::record::Draft;
use super::recorder::Unavailable;
use super::steps::{attribute_all, find_duplicates};
use crate::platform::secrets::Sealer;

/// Tells what recording would find.
#[derive(Clone)]
pub struct Previewer {
    pool: PgPool,
    sealer: Sealer,
}

impl Previewer {
    /// Looks through `pool`.
    pub fn new(pool: PgPool, sealer: Sealer) -> Self {
        Self { pool, sealer }
    }

    /// What would become of each draft; nothing is stored.
    pub async fn preview(&self, drafts: &[Draft]) -> Result<Vec<Outcome>, Unavailable> {
        let away = |error: sqlx::Error| Unavailable::Away(error.to_string());
        let mut conn = self.pool.acquire().await.map_err(away)?;
        let drafts: Vec<&Draft> = drafts.iter().collect();
        let attributions = attribute_all(&mut conn, &drafts).await.map_err(away)?;
        let mut duplicates = find_duplicates(&mut conn, &drafts, &self.sealer)
            .await
            .map_err(away)?;
        let fresh = |place: usize| {
            let draft = drafts[place];
            let matched = Match::of(
                &attributions[place],
                draft.conversion.event_time,
                draft.origin.lookback_days,
            );
            Outcome::Recorded(Receipt {
                event_id: draft.event_id,
                matched,
            })
        };
        Ok((0..drafts.len())
            .map(|place| duplicates.remove(&place).unwrap_or_else(|| fresh(place)))
            .collect())
    }
}
