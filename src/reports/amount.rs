//! From the sums' whole numbers to decimals.

use rust_decimal::Decimal;

/// Ten thousandths as a decimal.
pub(super) fn amount(sum: i128) -> Decimal {
    decimal(sum, 4)
}

/// Ten thousandths times millionths as a decimal: exact, unless it has more digits than a decimal holds.
pub(super) fn weighted(sum: i128) -> Decimal {
    decimal(sum, 10)
}

/// Millionths as a decimal.
pub(super) fn share(units: i64) -> Decimal {
    decimal(i128::from(units), 6)
}

fn decimal(mut sum: i128, mut scale: u32) -> Decimal {
    loop {
        match Decimal::try_from_i128_with_scale(sum, scale) {
            Ok(decimal) => return decimal.normalize(),
            // 29 digits are more than anybody reads: the last ones go.
            Err(_) if scale > 0 => (sum, scale) = (sum / 10, scale - 1),
            Err(_) if sum < 0 => return Decimal::MIN,
            Err(_) => return Decimal::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        assert_eq!(amount(1_234_500).to_string(), "123.45");
        assert_eq!(weighted(333_333_000_000).to_string(), "33.3333");
        assert_eq!(weighted(-1).to_string(), "-0.0000000001");
        assert_eq!(share(1_000_000).to_string(), "1");
        assert_eq!(weighted(i128::MAX).to_string(), "17014118346046923173168730371");
        assert_eq!(
            (amount(i128::MAX), amount(i128::MIN)),
            (Decimal::MAX, Decimal::MIN)
        );
        assert_eq!(weighted(10i128.pow(29) + 1).to_string(), "10000000000000000000");
    }
}
