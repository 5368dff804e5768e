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

/// As [`digits`], without the zero that is dialled within a country, and that some write behind its code.
pub fn untrunked(text: &str) -> Option<String> {
    let digits = digits(text)?;
    let (code, national) = digits.split_at_checked(code_length(&digits))?;
    self::digits(&format!("{code}{}", national.trim_start_matches('0')))
}

/// Digits of the country's code that a number begins with, by the ITU's plan: the first one tells the zone, and each zone has its own lengths.
fn code_length(digits: &str) -> usize {
    const OF_TWO: [&str; 42] = [
        "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48",
        "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81",
        "82", "84", "86", "90", "91", "92", "93", "94",
    ];
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'9', b'5' | b'8', ..] => 2,
        _ if digits.get(..2).is_some_and(|code| OF_TWO.contains(&code)) => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zero_of_within() {
        for (text, expected) in [
            ("+44 (0) 20 7123 4567", "442071234567"),
            ("+49 0151 12345678", "4915112345678"),
            ("+351 0912 345 678", "351912345678"),
            ("+1 650 555 1212", "16505551212"),
            ("+7 0916 123 45 67", "79161234567"),
            ("+95 09 123 4567", "9591234567"),
            ("442071234567", "442071234567"),
        ] {
            assert_eq!(untrunked(text).unwrap(), expected, "{text}");
        }
        assert_eq!(untrunked("+44000000000"), None);
    }

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
