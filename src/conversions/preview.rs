//! A dry run: everything but the record.

use sqlx::PgPool;

use super::outcome::Outcome;
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
        let outcome = |(place, attribution)| {
            let repeat = duplicates.remove(&place);
            repeat.unwrap_or_else(|| Outcome::recorded(drafts[place], attribution))
        };
        Ok(attributions.into_iter().enumerate().map(outcome).collect())
    }
}
