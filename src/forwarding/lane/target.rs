//! The destination that a lane leads to.

use secrecy::ExposeSecret as _;

use crate::destinations::{Destination, Topics};
use crate::forwarding::parcel::Parcel;
use crate::forwarding::platforms::{Endpoint, Name, Platform};
use crate::platform::secrets::Sealer;

/// The destination as it is set now.
pub struct Target {
    pub destination: Destination,
    pub name: Name,
    pub platform: Box<dyn Platform>,
    pub endpoint: Endpoint,
}

/// The platform with a destination's settings; none where they cannot be read.
pub fn read(destination: &Destination, sealer: &Sealer) -> Option<(Name, Box<dyn Platform>)> {
    let name: Name = destination.platform.parse().ok()?;
    let settings = destination.settings(sealer).ok()?;
    let settings = serde_json::from_str(settings.expose_secret()).ok()?;
    Some((name, name.read(&settings).ok()?))
}

/// The event name that the destination is set to send in place of the platform's own.
pub fn renamed<'a>(topics: &'a Option<Topics>, parcel: &Parcel) -> Option<&'a str> {
    topics.as_ref()?.get(parcel.topic.as_str())?.as_deref()
}
