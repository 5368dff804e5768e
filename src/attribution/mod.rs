//! Which touch led to a conversion, and how the credit is shared. Pure.

mod matching;
mod models;

pub use matching::{Attribution, UnmatchedReason, attribute, window_start};
pub use models::{UNITS, Weights, weigh};
