//! What is to be known to sum changes. Pure.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::place::Place;

/// A conversion, as far as it is summed.
#[derive(Debug, Clone)]
pub struct Fact {
    /// Our id of it.
    pub event_id: Uuid,
    /// The stream.
    pub attribution_id: Uuid,
    /// The topic's name.
    pub topic: String,
    /// The sender's id of it.
    pub conversion_id: String,
    /// The purchase that a refund takes back.
    pub purchase_id: Option<String>,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// What it was worth, in major units.
    pub value: Option<Decimal>,
    /// ISO 4217.
    pub currency: Option<String>,
}

impl Fact {
    /// Whether it takes a purchase back.
    pub fn is_refund(&self) -> bool {
        self.topic == "refund"
    }

    /// In ten thousandths.
    pub fn amount(&self) -> i128 {
        let value = self.value.unwrap_or_default().round_dp(4);
        value.mantissa() * 10i128.pow(4 - value.scale().min(4))
    }
}

/// A touch of one version of a conversion's credit.
#[derive(Debug, Clone)]
pub struct Share {
    /// Where it goes.
    pub place: Place,
    /// Millionths, an element a model.
    pub units: [i32; 5],
}

/// Versions of a conversion's credit, each with its journey.
pub type Versions = BTreeMap<i16, Vec<Share>>;

/// What a refund is summed under: a purchase, and a version of its credit where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RefundPlace {
    /// The purchase, where it is known.
    pub purchase: Option<Uuid>,
    /// The version of its credit; none where nobody has it.
    pub version: Option<i16>,
}

/// All that is to be known to sum a set of changes.
#[derive(Debug, Default)]
pub struct Material {
    /// Conversions and the versions that they got.
    pub changes: Vec<(Uuid, i16)>,
    /// Conversions of the changes; one that is gone is missing.
    pub conversions: HashMap<Uuid, Fact>,
    /// Refunds that are among the changes, or whose purchase is.
    pub refunds: Vec<Fact>,
    /// Purchases of the refunds, by stream and the sender's id.
    pub purchases: HashMap<(Uuid, String), Uuid>,
    /// Where those refunds are that are summed already.
    pub places: HashMap<Uuid, RefundPlace>,
    /// Credit of conversions and purchases.
    pub credits: HashMap<Uuid, Versions>,
}

impl Material {
    /// The shares of a version; none where nobody has the credit.
    pub fn journey(&self, event_id: Uuid, version: Option<i16>) -> &[Share] {
        version
            .and_then(|version| self.credits.get(&event_id)?.get(&version))
            .map_or(&[], Vec::as_slice)
    }

    /// The version that a version took the place of.
    pub fn version_before(&self, event_id: Uuid, version: i16) -> Option<i16> {
        let versions = self.credits.get(&event_id)?;
        versions.range(..version).next_back().map(|(version, _)| *version)
    }

    /// Where a refund belongs by what is known now.
    pub fn place_of(&self, refund: &Fact) -> RefundPlace {
        let name = refund
            .purchase_id
            .as_ref()
            .map(|id| (refund.attribution_id, id.clone()));
        let purchase = name.and_then(|name| self.purchases.get(&name).copied());
        let newest = |id: Uuid| self.credits.get(&id)?.keys().next_back().copied();
        RefundPlace {
            purchase,
            version: purchase.and_then(newest),
        }
    }
}
