//! What people want to know of their conversions. Reads, and the sums that make them fast.
//!
//! Campaigns and overview begin a transaction of their own, to read all of it in one snapshot: the connection must not be in one.

mod amount;
pub mod campaigns;
pub mod conversions;
mod model;
pub mod overview;
mod reader;
pub mod rollup;

pub use model::{BadWindow, MOST_DAYS, Model, UnknownModel, Window, is_common};
pub use reader::{Reader, Reading};

/// All of a report is read as it was at one moment.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";
