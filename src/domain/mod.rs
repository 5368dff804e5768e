//! The words of the business, parsed once into types that hold. Pure: no I/O, no clock.

pub mod answers;
pub mod browser_event;
pub mod channel;
pub mod click_id;
pub mod consent;
pub mod conversion;
pub mod currency;
pub mod device;
pub mod faults;
pub mod identifiers;
pub mod json;
pub mod landing;
pub mod money;
mod passage;
pub mod personal;
mod reader;
pub mod tenant;
pub mod text;
pub mod time;
pub mod topic;
pub mod touch;
pub mod user_agent;
