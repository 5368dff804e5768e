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

    /// Digits behind the point that its amounts have; none where it is no money to be counted, as gold.
    pub fn digits(self) -> Option<u32> {
        self.0.exponent().map(u32::from)
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
        for (code, digits) in [
            ("EUR", Some(2)),
            ("JPY", Some(0)),
            ("KWD", Some(3)),
            ("XAU", None),
        ] {
            assert_eq!(code.parse::<Currency>().unwrap().digits(), digits, "{code}");
        }
        for bad in ["", "EU", "EURO", "ABC", "€€", "E\u{0}R", "123"] {
            assert_eq!(bad.parse::<Currency>(), Err(UnknownCurrency), "{bad:?}");
        }
    }
}
