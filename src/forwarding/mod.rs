//! Conversions on their way to the ad platforms.
//!
//! A [`parcel::Parcel`] has all that a platform may be told of one conversion; [`platforms`] turn parcels into requests, and answers into
//! verdicts; both are pure. [`plan`] says what is sent and what is not; the worker keeps a lane going for each destination.

mod books;
pub mod fan_out;
mod gauges;
mod lane;
pub mod listing;
mod new_destination;
pub mod parcel;
pub mod payloads;
pub mod plan;
pub mod platforms;
mod preview;
mod replay;
mod retry;
mod sender;
mod sources;
pub mod state;
pub mod store;
mod system;
mod trial;
mod worker;

pub use books::books;
pub use lane::Context;
pub use new_destination::{
    Changes, Unfit, Wanted, changed_destination, new_destination, read_base_url, read_topic,
};
pub use preview::{Preview, Previewer};
pub use replay::{count_replay, replay};
pub use sender::Sender;
pub use trial::{NotTried, Tried, try_out};
pub use worker::run;
