//! From a browser's events to sessions.

pub mod timeline;
