//! What is not in the sums yet.

mod store;

pub use store::{Change, changes, delete_changes, rebuild, with_changes};
