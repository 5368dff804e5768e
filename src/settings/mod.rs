//! Changes of settings, each with its entry in the log in one transaction, whoever makes them: the command line, the dashboard, the API.

mod destinations;
mod keys;
mod properties;
mod streams;
mod tokens;
mod users;

pub use crate::audit::Actor;
pub use destinations::{DestinationChange, change_destination, create_destination, edit_destination};
pub use keys::{NewKey, create_key, new_key, revoke_key, set_rate_limit};
pub use properties::{PropertyChange, change_property, create_property};
pub use streams::{StreamChange, change_stream, create_stream};
pub use tokens::{create_token, revoke_token};
pub use users::{
    NotChanged, accept_invitation, create_user, invite_user, remove_user, set_password, set_role,
    sign_out_everywhere,
};
