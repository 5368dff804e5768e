//! Which names hold personal data or secrets: masked in URLs, sealed in payloads.

/// Masked in URLs before anything is stored; sealed when they are fields of a payload.
const MASKED: [&str; 20] = [
    "email",
    "e-mail",
    "mail",
    "phone",
    "tel",
    "mobile",
    "token",
    "access_token",
    "id_token",
    "auth_token",
    "auth",
    "jwt",
    "password",
    "pwd",
    "passwd",
    "secret",
    "apikey",
    "api_key",
    "otp",
    "ssn",
];

/// Sealed when they are fields of a payload, besides the masked names.
const SEALED: [&str; 12] = [
    "user_data",
    "customer",
    "billing",
    "shipping_address",
    "billing_address",
    "address",
    "first_name",
    "last_name",
    "name",
    "full_name",
    "customer_email",
    "customer_phone",
];

/// What stands in a stored URL instead of a masked value.
pub const MASK: &str = "[MASKED]";

/// Whether a query parameter of this name is masked.
pub fn is_masked(name: &str) -> bool {
    MASKED.iter().any(|masked| masked.eq_ignore_ascii_case(name))
}

/// Whether a payload's field of this name is sealed at rest.
pub fn is_sealed(name: &str) -> bool {
    is_masked(name) || SEALED.iter().any(|sealed| sealed.eq_ignore_ascii_case(name))
}
