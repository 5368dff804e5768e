//! `user_data`: identifiers for forwarding. One that no ad platform could use is a warning, whatever is wrong with it: the event stands.

use serde_json::value::RawValue;

use crate::domain::identifiers::{self, Field};
use crate::domain::json::{self, Kind, Object};
use crate::domain::reader::{Reader, get};

const PERSON: [(&str, Field); 4] = [
    ("email", Field::Email),
    ("phone", Field::Phone),
    ("first_name", Field::FirstName),
    ("last_name", Field::LastName),
];
const ADDRESS: [(&str, Field); 5] = [
    ("street", Field::Street),
    ("city", Field::City),
    ("region", Field::Region),
    ("postal_code", Field::PostalCode),
    ("country", Field::Country),
];

/// Notes what is wrong with `user_data`.
pub fn check(reader: &mut Reader, raw: &RawValue) {
    let Some(object) = reader.object("user_data", raw) else {
        return;
    };
    for (name, field) in PERSON {
        identifier(reader, &object, name, field);
    }
    let Some(raw) = get(&object, "address") else {
        return;
    };
    if Kind::of(raw) != Kind::Object {
        not_forwarded(reader, "user_data.address", "wrong_type", "is no object");
        return;
    }
    let Some(address) = reader.object("user_data.address", raw) else {
        return;
    };
    for (name, field) in ADDRESS {
        identifier(reader, &address, name, field);
    }
}

/// Checks one identifier.
fn identifier(reader: &mut Reader, object: &Object<'_>, name: &str, field: Field) {
    let Some(raw) = get(object, name) else {
        return;
    };
    let Some(text) = json::string(raw) else {
        not_forwarded(reader, field.path(), "wrong_type", "is no string");
        return;
    };
    if let Err(unusable) = identifiers::check(field, &text) {
        let (code, message) = unusable.spec();
        not_forwarded(reader, field.path(), code, message);
    }
}

fn not_forwarded(reader: &mut Reader, path: &str, code: &'static str, message: &str) {
    reader.warn(
        path.to_owned(),
        code,
        format!("{message}: kept, but not forwarded"),
    );
}
