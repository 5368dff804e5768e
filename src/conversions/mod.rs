//! From a valid conversion to a committed, credited one. One way in, for every door.

mod late_match;
mod outcome;
pub mod personal;
mod preview;
mod record;
mod recorder;
mod recording;
mod steps;
pub mod store;

pub use late_match::look_again;
pub use outcome::{Credit, Match, Outcome, Receipt};
pub use preview::{Previewed, Previewer};
pub use record::{Draft, Origin, Source};
pub use recorder::Recorder;
pub use steps::completed;
