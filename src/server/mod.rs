//! The service: both listeners, the background workers, and a stop that loses nothing.

mod app;
mod background;
mod health;
mod listen;
mod observe;
mod router;
mod run;
mod settings_listener;

pub use app::App;
pub use listen::{Limits, serve as listen};
pub use run::{StartError, run};
