//! What may be sent: by one client, and to one attribution ID. An event is a unit.

use std::net::IpAddr;
use std::num::NonZeroU32;

use uuid::Uuid;

use super::refusal::Refusal;
use crate::platform::client_ip::limited_as;
use crate::platform::clock::Clock;
use crate::platform::config;
use crate::platform::rate::{Allowance, Allowances};

/// The allowances.
pub struct Limits {
    by_address: Allowances<IpAddr>,
    by_stream: Allowances<Uuid>,
    per_address: NonZeroU32,
    per_stream: NonZeroU32,
}

impl Limits {
    /// All full.
    pub fn new(settings: &config::Collect, clock: Clock) -> Self {
        Self {
            by_address: Allowances::new(clock.clone()),
            by_stream: Allowances::new(clock),
            per_address: settings.requests_per_minute_per_address,
            per_stream: settings.requests_per_minute_per_attribution_id,
        }
    }

    /// Takes so many events out of what the client may send.
    pub fn take_from_address(&self, client: IpAddr, events: usize) -> Result<(), Refusal> {
        let allowance = self.by_address.of(limited_as(client), self.per_address);
        take(&allowance, events, "This address's")
    }

    /// Takes so many events out of what the attribution ID may get.
    pub fn take_from_stream(&self, attribution_id: Uuid, events: usize) -> Result<(), Refusal> {
        let allowance = self.by_stream.of(attribution_id, self.per_stream);
        take(&allowance, events, "This attribution ID's")
    }
}

fn take(allowance: &Allowance, events: usize, whose: &'static str) -> Result<(), Refusal> {
    if events == 0 {
        return Ok(());
    }
    let events = u32::try_from(events).unwrap_or(u32::MAX);
    match allowance.take_many(events) {
        Ok(_) => Ok(()),
        Err(none) => Err(Refusal::RateLimited {
            whose,
            retry_after: none.retry_after,
        }),
    }
}
