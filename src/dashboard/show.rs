//! Values as people read them, and templates as answers.

use askama::Template;
use axum::http::header;
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};

use super::assets;
use crate::domain::currency::Currency;

/// What a page without navigation needs.
pub struct Plain {
    /// Where the styles are.
    pub css: String,
    /// Where the icon is.
    pub icon: String,
}

impl Plain {
    /// The files as they are named now.
    pub fn new() -> Self {
        Self {
            css: assets::path("dashboard.css"),
            icon: assets::path("icon.svg"),
        }
    }
}

/// A template as an answer.
pub fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(cause = %error, "a page could not be made");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// To a page, after a form was taken.
pub fn go(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// A time for people, in UTC.
pub fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A time for people, where there is one.
pub fn time_or(at: Option<DateTime<Utc>>, otherwise: &str) -> String {
    at.map_or_else(|| otherwise.to_owned(), time)
}

/// A day, in UTC.
pub fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}

/// Digits behind the point that amounts of a currency are shown with.
fn digits(currency: &str) -> u32 {
    let known = currency.parse::<Currency>().ok();
    known.and_then(Currency::digits).unwrap_or(2)
}

/// An amount as it was sent, with its currency's digits at least, and thousands apart.
pub fn amount(value: Decimal, currency: &str) -> String {
    let mut value = value.normalize();
    let digits = digits(currency);
    if value.scale() < digits {
        value.rescale(digits);
    }
    let text = value.to_string();
    match text.split_once('.') {
        Some((whole, rest)) => format!("{}.{rest}", grouped(whole)),
        None => grouped(&text),
    }
}

/// Revenue, rounded once to its currency's digits: what is shown adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revenue {
    /// What conversions were worth.
    pub gross: Decimal,
    /// What was given back.
    pub refunds: Decimal,
    /// What is left of the one less the other.
    pub net: Decimal,
}

impl Revenue {
    /// Rounds.
    pub fn of(gross: Decimal, refunds: Decimal, currency: &str) -> Self {
        let rounded = |value: Decimal| {
            value.round_dp_with_strategy(digits(currency), RoundingStrategy::MidpointAwayFromZero)
        };
        let (gross, refunds) = (rounded(gross), rounded(refunds));
        Self {
            gross,
            refunds,
            net: gross.saturating_sub(refunds),
        }
    }
}

/// JSON over lines, with all else as it was sent: order, and the digits of numbers.
pub fn pretty(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    for c in json.chars() {
        if in_string {
            text.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                text.push(c);
                depth += 1;
                line(&mut text, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                let held = text.trim_end().len();
                match text[..held].ends_with(['{', '[']) {
                    true => text.truncate(held),
                    false => line(&mut text, depth),
                }
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                text.push(c);
                in_string = c == '"';
            }
        }
    }
    text
}

/// A number with its thousands apart.
pub fn count(value: i64) -> String {
    grouped(&value.to_string())
}

/// How long a journey is.
pub fn touches(count: usize) -> String {
    match count {
        1 => "1 touch".to_owned(),
        _ => format!("{count} touches"),
    }
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits
        .strip_prefix('-')
        .map_or(("", digits), |digits| ("−", digits));
    let mut text = String::from(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            // Thin, and not broken over lines.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_readable() {
        let table = [
            ("0", "EUR", "0.00"),
            ("99.5", "EUR", "99.50"),
            ("1234567.8", "USD", "1\u{202f}234\u{202f}567.80"),
            ("-1000", "EUR", "−1\u{202f}000.00"),
            ("0.125", "EUR", "0.125"),
            ("99.5", "KWD", "99.500"),
            ("1000", "JPY", "1\u{202f}000"),
            ("1", "???", "1.00"),
        ];
        for (value, currency, text) in table {
            assert_eq!(amount(value.parse().unwrap(), currency), text);
        }
        assert_eq!(count(-12), "−12");
    }

    #[test]
    fn json_keeps_its_digits_and_its_order() {
        let sent = r#"{"value" : 999999999999999.9900,"b":[{ }, [],"a\\\"{,:}" ],"a":null}"#;
        let shown = [
            "{",
            "  \"value\": 999999999999999.9900,",
            "  \"b\": [",
            "    {},",
            "    [],",
            r#"    "a\\\"{,:}""#,
            "  ],",
            "  \"a\": null",
            "}",
        ];
        assert_eq!(pretty(sent), shown.join("\n"));
        assert_eq!(pretty("}]"), "\n}\n]");
    }

    #[test]
    fn revenue_adds_up_as_it_is_shown() {
        for (gross, refunds, currency, shown) in [
            ("10.005", "0.004", "EUR", ["10.01", "0.00", "10.01"]),
            ("33.3333333", "11.666", "EUR", ["33.33", "11.67", "21.66"]),
            ("1.2345", "0.5", "KWD", ["1.235", "0.500", "0.735"]),
            ("99.5", "0.4", "JPY", ["100", "0", "100"]),
            ("0", "30", "EUR", ["0.00", "30.00", "−30.00"]),
        ] {
            let of = |text: &str| text.parse::<Decimal>().unwrap();
            let Revenue { gross, refunds, net } = Revenue::of(of(gross), of(refunds), currency);
            assert_eq!([gross, refunds, net].map(|value| amount(value, currency)), shown);
        }
        let most = Revenue::of(Decimal::MIN, Decimal::MAX, "EUR");
        assert_eq!(most.net, Decimal::MIN);
    }
}
