//! What a row adds up.

use super::query::Query;
use super::{Figures, Model};
use crate::reports::amount::{share, weighted};

/// Sums of a group, conversions by the one set of dimensions that counts in it. Models that are not asked for have nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub touched: i64,
    pub credit: [i64; 5],
    pub gross: [i128; 5],
    pub refunds: [i128; 5],
}

impl std::ops::AddAssign<&Self> for Sums {
    fn add_assign(&mut self, other: &Self) {
        self.touched += other.touched;
        for model in 0..5 {
            self.credit[model] += other.credit[model];
            self.gross[model] += other.gross[model];
            self.refunds[model] += other.refunds[model];
        }
    }
}

impl Sums {
    pub fn take(&mut self, other: &Self) {
        for model in 0..5 {
            self.credit[model] -= other.credit[model];
            self.gross[model] -= other.gross[model];
            self.refunds[model] -= other.refunds[model];
        }
    }

    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    pub fn has_no_figures(&self) -> bool {
        let Self {
            touched: _,
            credit,
            gross,
            refunds,
        } = self;
        *credit == [0; 5] && *gross == [0; 5] && *refunds == [0; 5]
    }

    pub fn figures(&self, query: &Query) -> Vec<Figures> {
        let figures = |model: &Model| {
            let place = model.index();
            Figures {
                model: *model,
                credit: share(self.credit[place]),
                gross: weighted(self.gross[place]),
                refunds: weighted(self.refunds[place]),
                net: weighted(self.gross[place] - self.refunds[place]),
            }
        };
        query.models.iter().map(figures).collect()
    }
}
