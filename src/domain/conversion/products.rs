//! `products[]`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::domain::currency::Currency;
use crate::domain::json::{self, Kind};
use crate::domain::reader::{Reader, get};

/// Products that one event may have.
const MOST: usize = 1000;
const MOST_CHARS: usize = 512;
const TEXTS: [&str; 5] = ["name", "sku", "brand", "category", "variant_title"];

/// Notes what is wrong with `products`.
pub fn check(reader: &mut Reader, raw: &RawValue) {
    let Ok(products) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        reader.wrong_type("products", "an array", raw);
        return;
    };
    if products.len() > MOST {
        let message = format!("has {} products, and may have at most {MOST}", products.len());
        reader.faults.add("products", "too_many", message);
        return;
    }
    for (index, product) in products.into_iter().enumerate() {
        check_one(reader, &format!("products[{index}]"), product);
    }
}

fn check_one(reader: &mut Reader, path: &str, raw: &RawValue) {
    let Some(product) = reader.object(path, raw) else {
        return;
    };
    match get(&product, "id") {
        None => reader
            .faults
            .add(format!("{path}.id"), "required", "is required in a product"),
        Some(raw) => drop(reader.identifier(&format!("{path}.id"), raw, MOST_CHARS)),
    }
    for name in TEXTS {
        if let Some(raw) = reader.present_in(&product, path, name) {
            text(reader, &format!("{path}.{name}"), raw);
        }
    }
    if let Some(raw) = reader.present_in(&product, path, "currency") {
        let path = format!("{path}.currency");
        match json::string(raw) {
            None => reader.wrong_type(&path, "a string", raw),
            Some(code) if code.parse::<Currency>().is_err() => {
                reader.faults.add(
                    path,
                    "unknown_currency",
                    "must be an ISO 4217 currency code such as USD",
                );
            }
            Some(_) => {}
        }
    }
    if let Some(raw) = reader.present_in(&product, path, "quantity") {
        quantity(reader, format!("{path}.quantity"), raw);
    }
    if let Some(raw) = reader.present_in(&product, path, "price") {
        let _checked = reader.amount(&format!("{path}.price"), raw);
    }
}

fn text(reader: &mut Reader, path: &str, raw: &RawValue) {
    match json::string(raw) {
        None => reader.wrong_type(path, "a string", raw),
        Some(text) if text.chars().count() > MOST_CHARS => {
            reader.faults.add(
                path,
                "too_long",
                format!("may have at most {MOST_CHARS} characters"),
            );
        }
        Some(_) => {}
    }
}

/// An integer of 1 or more; like every number, it may be sent as a string.
fn quantity(reader: &mut Reader, path: String, raw: &RawValue) {
    let digits = match Kind::of(raw) {
        Kind::Number => Cow::Borrowed(raw.get()),
        Kind::String => json::string(raw).unwrap_or_default(),
        _ => return reader.wrong_type(&path, "an integer", raw),
    };
    match digits.parse::<i64>() {
        Ok(1..=2_147_483_647) => {}
        Ok(..=0) => reader.faults.add(path, "not_positive", "must be 1 or more"),
        Ok(_) => reader.faults.add(path, "too_large", "must be at most 2147483647"),
        Err(_) => reader
            .faults
            .add(path, "not_an_integer", "must be an integer from 1 to 2147483647"),
    }
}
