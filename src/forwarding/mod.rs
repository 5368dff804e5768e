//! Conversions on their way to ad platforms.
//!
//! Pure so far: a [`parcel::Parcel`] has all that a platform may be told of one conversion; [`platforms`] turn parcels into requests, and
//! answers into verdicts. Nothing here sends, waits or stores.

pub mod parcel;
pub mod platforms;
