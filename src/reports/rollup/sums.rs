//! What changes add to the sums, and take from them. Pure, in whole numbers: nothing is lost by rounding.

use std::collections::{BTreeMap, HashSet};
use std::ops::AddAssign;

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::material::{Fact, Material, RefundPlace, Share};
use super::place::{DIMENSION_SETS, Place, firsts};
use crate::attribution::UNITS;

/// A row of `report_days`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayKey {
    /// UTC.
    pub day: NaiveDate,
    /// The stream.
    pub attribution_id: Uuid,
    /// The topic's name; a refund has its purchase's.
    pub topic: String,
    /// None where there is no value.
    pub currency: Option<String>,
    /// None: nobody has the credit.
    pub place: Option<Place>,
}

/// Its sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DaySums {
    /// Conversions, by each set of dimensions.
    pub touched: [i64; DIMENSION_SETS],
    /// Millionths of a conversion, by model.
    pub credit: [i64; 5],
    /// Ten thousandths of the currency times millionths, by model.
    pub gross: [i128; 5],
    /// As `gross`.
    pub refunds: [i128; 5],
}

impl AddAssign<&Self> for DaySums {
    fn add_assign(&mut self, other: &Self) {
        let pairs = self.touched.iter_mut().zip(other.touched);
        pairs.for_each(|(sum, more)| *sum += more);
        for model in 0..5 {
            self.credit[model] += other.credit[model];
            self.gross[model] += other.gross[model];
            self.refunds[model] += other.refunds[model];
        }
    }
}

/// A row of `report_hours`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourKey {
    /// The beginning of the hour.
    pub hour: DateTime<Utc>,
    /// The stream.
    pub attribution_id: Uuid,
    /// The topic's name.
    pub topic: String,
    /// Empty where there is no value.
    pub currency: String,
}

/// Its sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HourSums {
    /// Conversions; refunds, where they are the topic.
    pub conversions: i64,
    /// Those with credit.
    pub matched: i64,
    /// Ten thousandths of the currency.
    pub gross: i128,
    /// As `gross`.
    pub refunds: i128,
}

impl AddAssign<&Self> for HourSums {
    fn add_assign(&mut self, other: &Self) {
        self.conversions += other.conversions;
        self.matched += other.matched;
        self.gross += other.gross;
        self.refunds += other.refunds;
    }
}

/// What a set of changes comes to.
#[derive(Debug, Default)]
pub struct Deltas {
    /// What is added to days.
    pub days: BTreeMap<DayKey, DaySums>,
    /// What is added to hours.
    pub hours: BTreeMap<HourKey, HourSums>,
    /// Where refunds are now.
    pub refunds: BTreeMap<Uuid, RefundPlace>,
}

impl Deltas {
    /// What these changes come to.
    pub fn of(material: &Material) -> Self {
        let mut deltas = Self::default();
        for (event_id, version) in &material.changes {
            if let Some(fact) = material.conversions.get(event_id)
                && !fact.is_refund()
            {
                deltas.conversion(material, fact, *version);
            }
        }
        let new: HashSet<Uuid> = material.changes.iter().map(|(event_id, _)| *event_id).collect();
        for refund in &material.refunds {
            let before = material.places.get(&refund.event_id);
            // One that is not summed yet has a change of its own, and waits for it.
            if before.is_some() || new.contains(&refund.event_id) {
                deltas.refund(material, refund, before);
            }
        }
        deltas
    }

    fn conversion(&mut self, material: &Material, fact: &Fact, version: i16) {
        let journey = |version: i16| material.journey(fact.event_id, Some(version));
        let added = journey(version);
        self.hour(fact, 1, !added.is_empty(), version == 1);
        self.spread(fact, added, 1, Kind::Gross);
        if version > 1 {
            let before = material.version_before(fact.event_id, version);
            let taken = before.map_or(&[][..], journey);
            self.hour(fact, -1, !taken.is_empty(), false);
            self.spread(fact, taken, -1, Kind::Gross);
        }
    }

    fn refund(&mut self, material: &Material, refund: &Fact, before: Option<&RefundPlace>) {
        let now = material.place_of(refund);
        if before == Some(&now) {
            return;
        }
        match before {
            Some(before) => {
                let journey = before.purchase.map(|id| material.journey(id, before.version));
                self.spread(refund, journey.unwrap_or_default(), -1, Kind::Refund);
            }
            None => {
                let key = hour_key(refund);
                let sums = HourSums {
                    conversions: 1,
                    refunds: refund.amount(),
                    ..HourSums::default()
                };
                *self.hours.entry(key).or_default() += &sums;
            }
        }
        let journey = now.purchase.map(|id| material.journey(id, now.version));
        self.spread(refund, journey.unwrap_or_default(), 1, Kind::Refund);
        self.refunds.insert(refund.event_id, now);
    }

    /// Counts a conversion where it is `new`; whether it is matched changes with its versions.
    fn hour(&mut self, fact: &Fact, sign: i64, matched: bool, new: bool) {
        let sums = HourSums {
            conversions: i64::from(new),
            matched: sign * i64::from(matched),
            gross: if new { fact.amount() } else { 0 },
            refunds: 0,
        };
        *self.hours.entry(hour_key(fact)).or_default() += &sums;
    }

    /// Adds or takes a conversion's or a refund's value by the shares of a journey; without one, at nobody's.
    fn spread(&mut self, fact: &Fact, journey: &[Share], sign: i64, kind: Kind) {
        let places = journey.iter().map(|share| &share.place);
        for (share, first) in journey.iter().zip(firsts(places)) {
            self.put(fact, Some(share.place.clone()), share.units, first, sign, kind);
        }
        if journey.is_empty() {
            self.put(fact, None, [UNITS; 5], [1; DIMENSION_SETS], sign, kind);
        }
    }

    fn put(
        &mut self,
        fact: &Fact,
        place: Option<Place>,
        units: [i32; 5],
        first: [i64; DIMENSION_SETS],
        sign: i64,
        kind: Kind,
    ) {
        let credit = units.map(|units| i64::from(units) * sign);
        let value = credit.map(|credit| fact.amount() * i128::from(credit));
        let sums = match kind {
            Kind::Gross => DaySums {
                touched: first.map(|first| first * sign),
                credit,
                gross: value,
                refunds: [0; 5],
            },
            Kind::Refund => DaySums {
                refunds: value,
                ..DaySums::default()
            },
        };
        let topic = match kind {
            Kind::Gross => fact.topic.clone(),
            Kind::Refund => "purchase".to_owned(),
        };
        let key = DayKey {
            day: fact.event_time.date_naive(),
            attribution_id: fact.attribution_id,
            topic,
            currency: fact.currency.clone(),
            place,
        };
        *self.days.entry(key).or_default() += &sums;
    }
}

/// Which of the sums a value belongs to.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Gross,
    Refund,
}

fn hour_key(fact: &Fact) -> HourKey {
    let hour = fact.event_time.timestamp().div_euclid(3600) * 3600;
    HourKey {
        hour: DateTime::from_timestamp(hour, 0).unwrap_or(fact.event_time),
        attribution_id: fact.attribution_id,
        topic: fact.topic.clone(),
        currency: fact.currency.clone().unwrap_or_default(),
    }
}
