//! Self-hosted server-side conversion tracking: a merchant's back end POSTs a conversion; the service finds the ad click that led to it,
//! credits the campaign, and keeps the proof.
//!
//! Ranks, each importing only from below (held by a test): `domain`, `platform` < features < pipeline < over it < doors < shell.

// 0 floor
pub mod domain;
pub mod platform;
// 1 features
pub mod activity;
pub mod attribution;
pub mod audit;
pub mod destinations;
pub mod keys;
pub mod sessions;
pub mod streams;
pub mod tokens;
pub mod users;
// 2 pipeline
pub mod conversions;
pub mod forwarding;
pub mod reports;
pub mod settings;
// 3 over the pipeline
pub mod retention;
pub mod trials;
// 4 doors
pub mod api;
pub mod collect;
pub mod dashboard;
pub mod stubs;
pub mod webhook;
// 5 shell
pub mod cli;
pub mod server;
