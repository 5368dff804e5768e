//! Whose event it is.

use std::net::IpAddr;

use axum::http::HeaderMap;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::refusal::Refusal;
use super::site::Site;
use super::{Collector, cookie};
use crate::domain::browser_event::{ANONYMOUS, BrowserEvent};
use crate::platform::daily_salts::Salt;

/// The visitor of one request; each event may tell something else of it.
pub struct Visitor<'a> {
    collector: &'a Collector,
    property_id: Uuid,
    client: IpAddr,
    cookie: Option<String>,
    /// Made for this request.
    new: Option<String>,
}

impl<'a> Visitor<'a> {
    /// The visitor who sent the request; a cookie counts on the site that set it alone.
    pub fn of(
        collector: &'a Collector,
        headers: &HeaderMap,
        site: Option<&Site>,
        client: IpAddr,
        property_id: Uuid,
    ) -> Self {
        Self {
            collector,
            property_id,
            client,
            cookie: site
                .and_then(|_| cookie::visitor(headers))
                .filter(|id| !id.starts_with(ANONYMOUS)),
            new: None,
        }
    }

    /// The id under which the event is kept: the one that was sent, or the cookie's; else a new one for who agreed to be recognised, and for
    /// who did not one that nobody can recognise tomorrow.
    pub async fn id(&mut self, event: &BrowserEvent, user_agent: &str) -> Result<String, Refusal> {
        if let Some(sent) = &event.visitor_id {
            return Ok(sent.clone());
        }
        // Unknown consent is not consent.
        if event.may_measure()
            && let Some(kept) = &self.cookie
        {
            return Ok(kept.clone());
        }
        if event.may_measure() {
            let new = self.new.get_or_insert_with(|| Uuid::new_v4().to_string());
            return Ok(new.clone());
        }
        let salt = self.collector.salts.today().await;
        let salt = salt.map_err(Refusal::Unavailable)?;
        Ok(anonymous_id(&salt, self.property_id, self.client, user_agent))
    }
}

/// The same for a day, a property, an address and a browser.
fn anonymous_id(salt: &Salt, property_id: Uuid, client: IpAddr, user_agent: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(property_id);
    // Of two lengths, and the user agent comes last: no two inputs run together into one.
    match client {
        IpAddr::V4(v4) => hash.update([&[4], v4.octets().as_slice()].concat()),
        IpAddr::V6(v6) => hash.update([&[6], v6.octets().as_slice()].concat()),
    }
    hash.update(user_agent);
    let digest: [u8; 32] = hash.finalize().into();
    let hex = digest[..16].iter().map(|byte| format!("{byte:02x}"));
    std::iter::once(ANONYMOUS.to_owned()).chain(hex).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_makes_another_visitor() {
        let id = |salt: u8, property: u128, client: &str, user_agent: &str| {
            anonymous_id(
                &[salt; 32],
                Uuid::from_u128(property),
                client.parse().unwrap(),
                user_agent,
            )
        };
        let first = id(1, 1, "192.0.2.1", "a");
        assert_eq!(first, id(1, 1, "192.0.2.1", "a"));
        assert_eq!(first.len(), 35);
        for other in [
            id(2, 1, "192.0.2.1", "a"),
            id(1, 2, "192.0.2.1", "a"),
            id(1, 1, "192.0.2.2", "a"),
            id(1, 1, "2001:db8::1", "a"),
            id(1, 1, "192.0.2.1", "b"),
        ] {
            assert_ne!(first, other);
        }
    }
}
