//! A conversion that a browser told of.

use sha2::{Digest as _, Sha256};

use crate::domain::conversion::Conversion;

/// A conversion that still needs its visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserConversion {
    conversion: Conversion,
    /// Whether its id was made here; it is then the part of it that does not tell the visitor.
    id_is_made: bool,
}

impl BrowserConversion {
    pub(super) fn new(conversion: Conversion, id_is_made: bool) -> Self {
        Self {
            conversion,
            id_is_made,
        }
    }

    /// The conversion of this visitor. An id that was made for an event without one stands for the visitor, the event and its time, so that a
    /// beacon that is sent again is the same conversion.
    pub fn of(self, visitor_id: &str) -> Conversion {
        let mut conversion = self.conversion;
        if self.id_is_made {
            let digest = digest(&[visitor_id, &conversion.conversion_id]);
            conversion.conversion_id = format!("auto_{digest}");
        }
        conversion.visitor_id = Some(visitor_id.to_owned());
        conversion
    }
}

/// 32 hex digits that stand for some texts.
pub(super) fn digest(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
