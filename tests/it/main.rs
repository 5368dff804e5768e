//! The whole service over a real Postgres: a fresh database per test, the real router on a real socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod access_support;
mod api;
mod api_access;
mod arrays;
mod authentication;
mod bad_input;
mod browser;
mod browser_script;
mod browser_support;
mod collecting;
mod collecting_across_origins;
mod collecting_hostile;
mod command_line;
mod conformance;
mod consent;
mod dashboard;
mod dashboard_access;
mod dashboard_browser;
mod dashboard_hostile;
mod dashboard_markup;
mod dashboard_pages;
mod dashboard_reports;
mod destinations;
mod documentation;
mod end_to_end;
mod faults;
mod floods;
mod forwarding;
mod forwarding_google;
mod forwarding_killed;
mod identifiers;
mod lanes;
mod late_match;
mod log;
mod parcels;
mod plans;
mod postgres_killed;
mod ranks;
mod recording;
mod reports;
mod reports_overview;
mod reports_sums;
mod retention;
mod screenshots;
mod shop;
mod shutdown;
mod stubs;
mod support;
mod tracking;
mod two_instances;
mod wire;
