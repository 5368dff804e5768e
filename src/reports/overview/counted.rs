//! What a point of a chart adds up.

use crate::reports::rollup::HourSums;

/// Sums of a step in one currency.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    pub conversions: i64,
    pub matched: i64,
    pub refunds: i64,
    pub gross: i128,
    pub given_back: i128,
}

impl Counted {
    /// A row of the sums, in which refunds are conversions of their own topic.
    pub fn of(topic: &str, sums: &HourSums) -> Self {
        let refund = topic == "refund";
        Self {
            conversions: if refund { 0 } else { sums.conversions },
            matched: sums.matched,
            refunds: if refund { sums.conversions } else { 0 },
            gross: sums.gross,
            given_back: sums.refunds,
        }
    }
}

impl std::ops::AddAssign<&Self> for Counted {
    fn add_assign(&mut self, other: &Self) {
        self.conversions += other.conversions;
        self.matched += other.matched;
        self.refunds += other.refunds;
        self.gross += other.gross;
        self.given_back += other.given_back;
    }
}
