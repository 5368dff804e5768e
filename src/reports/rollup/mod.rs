//! Sums of days and hours, kept beside the conversions so that a report need not read them one by one.
//!
//! Whoever stores a version of credit tells of it in `credit_changes`, in the same transaction. A roller works these changes into the sums,
//! and deletes them in that transaction: each counts once, whatever dies when. A report adds what is not worked in yet, by the same rules and
//! in the same snapshot. Changes say which version came to be, and versions are never edited, so it does not matter when a change is worked in.
//! Where a refund goes depends on its purchase, which may come later or change: its place is stored, and moved when the purchase changes.

mod changes;
mod gather;
mod material;
mod place;
mod roller;
mod store;
mod sums;

pub use changes::rebuild;
pub use gather::{Unsummed, unsummed};
pub use place::{DIMENSION_SETS, Place};
pub use roller::{BATCH, Rolled, roll, roll_all};
pub use sums::{DayKey, DaySums, Deltas, HourKey, HourSums};
