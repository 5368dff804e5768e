//! ISO 4217 currencies.

use std::str::FromStr;

/// A currency that ISO 4217 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The code, in capitals.
    pub fn code(self) -> &'static str {
        self.0.code()
    }
}

/// No currency has this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    /// Capitals or not.
    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        // The library indexes by ASCII capitals; anything else is no code.
        if text.len() != 3 || !text.is_ascii() {
            return Err(UnknownCurrency);
        }
        iso_currency::Currency::from_code(&text.to_ascii_uppercase())
            .map(Self)
            .ok_or(UnknownCurrency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        assert_eq!("eur".parse::<Currency>().unwrap().code(), "EUR");
        assert_eq!("JPY".parse::<Currency>().unwrap().code(), "JPY");
        for bad in ["", "EU", "EURO", "ABC", "€€", "E\u{0}R", "123"] {
            assert_eq!(bad.parse::<Currency>(), Err(UnknownCurrency), "{bad:?}");
        }
    }
}
