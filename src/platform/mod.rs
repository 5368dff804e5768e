//! The machine underneath: configuration, database, clock, sealing, answers to errors. No word of the business.

pub mod asset;
pub mod cache;
pub mod client_ip;
pub mod clock;
pub mod config;
pub mod daily_salts;
pub mod db;
pub mod group_commit;
pub mod http_body;
pub mod last_noted;
pub mod marks;
pub mod outbound;
pub mod pace;
pub mod password;
pub mod problem;
pub mod rate;
pub mod request_id;
pub mod secrets;
pub mod telemetry;
pub mod token;
