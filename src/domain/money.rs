//! Exact decimals: read from their digits, never through a float.

use rust_decimal::Decimal;

/// Integer digits that an amount may have.
pub const MAX_INTEGER_DIGITS: usize = 15;
/// Fraction digits that an amount may have, zeros at the end aside.
pub const MAX_FRACTION_DIGITS: usize = 4;

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAnAmount {
    /// No decimal number at all.
    NotANumber,
    /// Below zero.
    Negative,
    /// More than [`MAX_INTEGER_DIGITS`] before the point.
    TooLarge,
    /// More than [`MAX_FRACTION_DIGITS`] after the point.
    TooPrecise,
}

impl NotAnAmount {
    /// Code and message of the fault.
    pub fn spec(self) -> (&'static str, &'static str) {
        match self {
            Self::NotANumber => ("not_a_number", "must be a decimal number such as 99.00"),
            Self::Negative => ("negative", "must be zero or more"),
            Self::TooLarge => ("too_large", "may have at most 15 digits before the decimal point"),
            Self::TooPrecise => ("too_precise", "may have at most 4 digits after the decimal point"),
        }
    }
}

/// Reads a number by JSON's grammar into an amount of zero or more, keeping its digits: `99.00` stays `99.00`.
pub fn parse(text: &str) -> Result<Decimal, NotAnAmount> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (digits, 0),
    };
    let (integer, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return Err(NotAnAmount::NotANumber),
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = integer.len() > 1 && integer.starts_with('0');
    if integer.is_empty() || leading_zero || !all_digits(integer) || !all_digits(fraction) {
        return Err(NotAnAmount::NotANumber);
    }
    let significant: String = [integer, fraction].concat();
    if significant.bytes().all(|byte| byte == b'0') {
        return Ok(Decimal::new(
            0,
            u32::try_from(fraction.len().min(MAX_FRACTION_DIGITS)).unwrap_or(0),
        ));
    }
    if negative {
        return Err(NotAnAmount::Negative);
    }
    // Where the point stands, counted from the left of the digits.
    let point = i64::try_from(integer.len())
        .unwrap_or(i64::MAX)
        .saturating_add(exponent);
    scaled(&significant, point)
}

/// An exponent, cut to where every amount is out of range anyway.
fn parse_exponent(text: &str) -> Result<i64, NotAnAmount> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotAnAmount::NotANumber);
    }
    Ok(sign * digits.parse::<i64>().unwrap_or(i64::MAX).min(1 << 32))
}

/// `digits` with the point after the first `point` of them; not all are zero.
fn scaled(digits: &str, point: i64) -> Result<Decimal, NotAnAmount> {
    let leading_zeros = digits.bytes().take_while(|byte| *byte == b'0').count();
    let integer_digits = point.saturating_sub(i64::try_from(leading_zeros).unwrap_or(i64::MAX));
    if integer_digits > MAX_INTEGER_DIGITS as i64 {
        return Err(NotAnAmount::TooLarge);
    }
    let significant = &digits[leading_zeros..];
    let trimmed = significant.trim_end_matches('0');
    let fraction_of = |text: &str| {
        i64::try_from(text.len())
            .unwrap_or(i64::MAX)
            .saturating_sub(integer_digits)
    };
    if fraction_of(trimmed) > MAX_FRACTION_DIGITS as i64 {
        return Err(NotAnAmount::TooPrecise);
    }
    // Keep the zeros that were written, up to the scale that amounts have.
    let written = fraction_of(significant).clamp(0, MAX_FRACTION_DIGITS as i64);
    let scale = written.max(fraction_of(trimmed));
    let length = usize::try_from(integer_digits.saturating_add(scale)).unwrap_or(0);
    let padded: String = significant
        .chars()
        .chain(std::iter::repeat('0'))
        .take(length)
        .collect();
    let units: i128 = padded.parse().map_err(|_| NotAnAmount::NotANumber)?;
    Decimal::try_from_i128_with_scale(units, u32::try_from(scale).unwrap_or(0))
        .map_err(|_| NotAnAmount::TooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_are_kept() {
        let table = [
            ("0", "0"),
            ("0.00", "0.00"),
            ("-0.0", "0.0"),
            ("99", "99"),
            ("99.00", "99.00"),
            ("99.90", "99.90"),
            ("0.1", "0.1"),
            ("0.0001", "0.0001"),
            ("999999999999999.9999", "999999999999999.9999"),
            ("1e2", "100"),
            ("1.5E+3", "1500"),
            ("15e-1", "1.5"),
            ("1000000e-6", "1.0000"),
            ("1.50000000", "1.5000"),
            ("0.00010", "0.0001"),
            ("120", "120"),
        ];
        for (text, expected) in table {
            assert_eq!(
                parse(text).map(|amount| amount.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_amount() {
        use NotAnAmount::*;
        let table = [
            ("", NotANumber),
            ("-", NotANumber),
            ("NaN", NotANumber),
            ("Infinity", NotANumber),
            ("1,00", NotANumber),
            ("1.", NotANumber),
            (".5", NotANumber),
            ("01", NotANumber),
            ("+1", NotANumber),
            ("1 ", NotANumber),
            ("0x10", NotANumber),
            ("1e", NotANumber),
            ("1e+-2", NotANumber),
            ("١", NotANumber),
            ("-1", Negative),
            ("-0.0001", Negative),
            ("1e400", TooLarge),
            ("1e99999999999999999999999", TooLarge),
            ("1000000000000000", TooLarge),
            ("123456789012345678901234567890", TooLarge),
            ("0.00001", TooPrecise),
            ("1e-400", TooPrecise),
            ("1e-99999999999999999999999", TooPrecise),
            ("12.34567", TooPrecise),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
        assert_eq!(parse(&"9".repeat(100_000)), Err(TooLarge));
        assert_eq!(parse(&format!("0.{}1", "0".repeat(100_000))), Err(TooPrecise));
    }

    proptest! {
        #[test]
        fn agrees_with_the_library_within_bounds(integer in 0u64..1_000_000_000_000_000, fraction in 0u32..10_000, digits in 0usize..=4) {
            let fraction = format!("{fraction:04}");
            let text = match digits {
                0 => integer.to_string(),
                _ => format!("{integer}.{}", &fraction[..digits]),
            };
            let expected: Decimal = text.parse().unwrap();
            prop_assert_eq!(parse(&text).unwrap().to_string(), expected.to_string());
        }

        #[test]
        fn never_panics(text in "[-+0-9eE.]{0,40}") {
            let _ = parse(&text);
        }
    }
}
