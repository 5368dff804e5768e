//! What was sent, as far as it is still kept.

pub mod store;
