//! Parts of an address.

use super::{regions, something, without};

/// A city: ASCII letters and digits alone, beginning with a letter.
pub fn city_ascii(text: &str) -> Option<String> {
    let city = without(&text.to_ascii_lowercase(), |c| !c.is_ascii_alphanumeric());
    city.starts_with(|c: char| c.is_ascii_alphabetic())
        .then_some(city)
}

/// A city: lower case, without white space and ASCII punctuation.
pub fn city_compact(text: &str) -> Option<String> {
    something(without(&text.to_lowercase(), |c| {
        c.is_whitespace() || c.is_ascii_punctuation()
    }))
}

/// A city: lower case, letters and digits of every script alone.
pub fn city_alphanumeric(text: &str) -> Option<String> {
    something(without(&text.to_lowercase(), |c| !c.is_alphanumeric()))
}

/// City or region: lower case, letters, digits and the space between words.
pub fn words(text: &str) -> Option<String> {
    let kept = without(&text.to_lowercase(), |c| !c.is_alphanumeric() && c != ' ');
    something(kept.trim().to_owned())
}

/// A region: the code of a state of the US or a province of Canada, or its first two ASCII letters.
pub fn region_cut(text: &str) -> Option<String> {
    let letters = letters(text);
    let code = regions::code(&letters).map(str::to_owned);
    code.or_else(|| letters.get(..2).map(str::to_owned))
}

/// A region that has two letters, or a name that stands for two: the whole of it, since `Baja California` is no state of the US.
pub fn region_code(text: &str) -> Option<String> {
    let letters = letters(text);
    match regions::named(&letters) {
        Some(code) => Some(code.to_owned()),
        // Anything longer would be cut to what it does not mean.
        None => (letters.len() == 2).then_some(letters),
    }
}

fn letters(text: &str) -> String {
    without(&text.to_ascii_lowercase(), |c| !c.is_ascii_alphabetic())
}

/// A postal code: lower case, what is before the first dash, without white space, two characters or more.
pub fn postal_head(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let head = without(lower.split('-').next()?, char::is_whitespace);
    (head.chars().count() >= 2).then_some(head)
}

/// A postal code: lower case, without white space and dashes.
pub fn postal_compact(text: &str) -> Option<String> {
    something(without(&text.to_lowercase(), |c| c.is_whitespace() || c == '-'))
}

/// A postal code: lower case, without white space.
pub fn postal_unspaced(text: &str) -> Option<String> {
    something(without(&text.to_lowercase(), char::is_whitespace))
}

/// A postal code: ASCII digits alone.
pub fn postal_digits(text: &str) -> Option<String> {
    something(without(text, |c| !c.is_ascii_digit()))
}

/// A postal code as written.
pub fn postal_trimmed(text: &str) -> Option<String> {
    something(text.trim().to_owned())
}

/// A country's two letters, small.
pub fn country_lower(text: &str) -> Option<String> {
    country(text).map(|code| code.to_ascii_lowercase())
}

/// A country's two letters, in capitals.
pub fn country_upper(text: &str) -> Option<String> {
    country(text).map(|code| code.to_ascii_uppercase())
}

fn country(text: &str) -> Option<&str> {
    let text = text.trim();
    (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cities() {
        assert_eq!(city_ascii("Montréal").unwrap(), "montral");
        assert_eq!(city_ascii("San Francisco").unwrap(), "sanfrancisco");
        assert_eq!(city_ascii("19th City"), None);
        assert_eq!(city_ascii("東京"), None);
        assert_eq!(city_compact("St. Gallen").unwrap(), "stgallen");
        assert_eq!(city_alphanumeric("Montréal-Est").unwrap(), "montréalest");
        assert_eq!(words(" St. Gallen! ").unwrap(), "st gallen");
    }

    #[test]
    fn regions() {
        for (text, cut, code) in [
            ("CA", Some("ca"), Some("ca")),
            ("California", Some("ca"), Some("ca")),
            ("State of New York", Some("ny"), None),
            ("Baja California", Some("ca"), None),
            ("New York", Some("ny"), Some("ny")),
            ("Utah", Some("ut"), Some("ut")),
            ("West Virginia", Some("wv"), Some("wv")),
            ("Arkansas", Some("ar"), Some("ar")),
            ("British Columbia", Some("bc"), Some("bc")),
            ("Bayern", Some("ba"), None),
            ("X", None, None),
            ("東京", None, None),
        ] {
            assert_eq!(region_cut(text).as_deref(), cut, "{text}");
            assert_eq!(region_code(text).as_deref(), code, "{text}");
        }
    }

    #[test]
    fn postal_codes() {
        assert_eq!(postal_head("94035-1234").unwrap(), "94035");
        assert_eq!(postal_head("M1 1AE").unwrap(), "m11ae");
        assert_eq!(postal_head("1"), None);
        assert_eq!(postal_compact("1229-076").unwrap(), "1229076");
        assert_eq!(postal_digits("M1 1AE").unwrap(), "11");
        assert_eq!(postal_digits("EH"), None);
    }
}
