//! Values as people read them, and templates as answers.

use askama::Template;
use axum::http::header;
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::assets;

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

/// An amount with two decimals at least, and thousands apart.
pub fn amount(value: Decimal) -> String {
    let mut value = value.normalize();
    if value.scale() < 2 {
        value.rescale(2);
    }
    let text = value.to_string();
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    format!("{}.{cents}", grouped(whole))
}

/// A number with its thousands apart.
pub fn count(value: i64) -> String {
    grouped(&value.to_string())
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
            ("0", "0.00"),
            ("99.5", "99.50"),
            ("1234567.8", "1\u{202f}234\u{202f}567.80"),
            ("-1000", "−1\u{202f}000.00"),
            ("0.125", "0.125"),
        ];
        for (value, text) in table {
            assert_eq!(amount(value.parse().unwrap()), text);
        }
        assert_eq!(count(-12), "−12");
    }
}
