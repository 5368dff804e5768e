//! Phone numbers, with the country code.

use super::without;

/// Digits alone, no zeros in front.
pub fn digits(text: &str) -> Option<String> {
    let digits = without(text, |c| !c.is_ascii_digit());
    let digits = digits.trim_start_matches('0');
    (7..=15).contains(&digits.len()).then(|| digits.to_owned())
}

/// E.164: `+` and digits.
pub fn plus(text: &str) -> Option<String> {
    digits(text).map(|digits| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(digits("+1 (650) 555-1212").unwrap(), "16505551212");
        assert_eq!(digits("0044 20 7123 4567").unwrap(), "442071234567");
        assert_eq!(plus("44 20 7123 4567").unwrap(), "+442071234567");
        for bad in ["", "+", "123456", "1234567890123456", "١٢٣٤٥٦٧٨"] {
            assert_eq!(plus(bad), None, "{bad}");
        }
    }
}
