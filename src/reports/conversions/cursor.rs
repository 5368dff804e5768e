//! Where a page begins.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use uuid::Uuid;

/// The format of the text, should it ever be another one.
const FORMAT: u8 = 1;

/// Where a page begins: opaque to whoever is handed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(Uuid);

impl Cursor {
    /// Behind this conversion.
    pub(super) fn after(event_id: Uuid) -> Self {
        Self(event_id)
    }

    pub(super) fn event_id(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [FORMAT; 17];
        bytes[1..].copy_from_slice(self.0.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Not a cursor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a cursor as an earlier page gave it")]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        // A longer text is none, and need not be decoded.
        if text.len() > 32 {
            return Err(BadCursor);
        }
        match URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?.split_first() {
            Some((&FORMAT, id)) => Uuid::from_slice(id).map(Self).map_err(|_| BadCursor),
            _ => Err(BadCursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let cursor = Cursor::after(Uuid::max());
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in [
            "",
            "AA",
            "%",
            &"A".repeat(23),
            &"A".repeat(1000),
            &Uuid::nil().to_string(),
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
    }
}
