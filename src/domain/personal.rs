//! Which names of URL parameters hold personal data or secrets.

/// Masked before anything is stored.
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

/// What stands in a stored URL instead of a masked value.
pub const MASK: &str = "[MASKED]";

/// Whether a query parameter of this name is masked.
pub fn is_masked(name: &str) -> bool {
    MASKED.iter().any(|masked| masked.eq_ignore_ascii_case(name))
}
