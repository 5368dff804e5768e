//! The personal part of conversions that are past their time.

pub mod store;
