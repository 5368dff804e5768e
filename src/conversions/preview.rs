//! A dry run: everything but the record.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sqlx::PgPool;

use super::outcome::{Outcome, Receipt};
use super::record::{Draft, Identity};
use super::steps::{attribute_all, differs, find_repeats};
use crate::attribution::Attribution;
use crate::domain::touch::Touch;
use crate::platform::db;
use crate::platform::group_commit::Unavailable;
use crate::platform::secrets::Sealer;

/// What would become of a draft.
pub struct Previewed {
    /// Its outcome.
    pub outcome: Outcome,
    /// The touches that it would be credited to, oldest first.
    pub journey: Vec<Touch>,
}

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
    pub async fn preview(&self, drafts: &[Draft]) -> Result<Vec<Previewed>, Unavailable> {
        let drafts: Vec<&Draft> = drafts.iter().collect();
        let look = async {
            let mut conn = self.pool.acquire().await?;
            let attributions = attribute_all(&mut conn, &drafts).await?;
            let duplicates = find_repeats(&mut conn, &drafts, &self.sealer).await?.found;
            Ok((attributions, duplicates))
        };
        let (attributions, mut duplicates) = db::in_time(look)
            .await
            .map_err(|error| Unavailable::Away(error.to_string()))?;
        // Those that would be stored now: an event that comes after one of them in the same request is its repeat.
        let mut firsts: HashMap<Identity<'_>, (&Draft, Receipt)> = HashMap::new();
        let mut previewed = Vec::with_capacity(drafts.len());
        for (place, (draft, attribution)) in drafts.iter().zip(attributions).enumerate() {
            let journey = match &attribution {
                Attribution::Matched(journey) => journey.clone(),
                Attribution::Unmatched(_) => Vec::new(),
            };
            let outcome = match (duplicates.remove(&place), firsts.entry(draft.identity())) {
                (Some(repeat), _) => repeat,
                (None, Entry::Vacant(first)) => {
                    let (_, receipt) = first.insert((draft, Receipt::new(draft, attribution)));
                    Outcome::Recorded(receipt.clone())
                }
                (None, Entry::Occupied(first)) => {
                    let (first, receipt) = first.get();
                    Outcome::Duplicate {
                        first: receipt.clone(),
                        differs: differs(&first.content(), &draft.content(), &self.sealer),
                    }
                }
            };
            previewed.push(Previewed { outcome, journey });
        }
        Ok(previewed)
    }
}
