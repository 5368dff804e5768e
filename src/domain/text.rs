//! Text that is kept as a key or shown in a list.

/// Why a text cannot be an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadText {
    /// Nothing, or only white space.
    Empty,
    /// Longer than allowed.
    TooLong,
    /// A control character, which no list can show.
    Control,
}

impl BadText {
    /// Code and message of the fault; `most` is the limit in characters.
    pub fn spec(self, most: usize) -> (&'static str, String) {
        match self {
            Self::Empty => ("empty", "must not be empty".to_owned()),
            Self::TooLong => ("too_long", format!("may have at most {most} characters")),
            Self::Control => ("control_character", "must not hold control characters".to_owned()),
        }
    }
}

/// Checks an identifier: something, at most `most` characters, none of them a control character.
pub fn check(text: &str, most: usize) -> Result<(), BadText> {
    if text.trim().is_empty() {
        return Err(BadText::Empty);
    }
    // Bytes first: counting the characters of a huge text is work for its sender.
    if text.len() > most * 4 || text.chars().count() > most {
        return Err(BadText::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(BadText::Control);
    }
    Ok(())
}

/// A hostile text made fit to be shown: no control characters, at most `most` characters.
pub fn shown(text: &str, most: usize) -> String {
    text.chars()
        .take(most)
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        let table = [
            ("ORD-1", Ok(())),
            ("a/b'c\"d", Ok(())),
            ("注文", Ok(())),
            ("", Err(BadText::Empty)),
            (" \t", Err(BadText::Empty)),
            ("123456789", Err(BadText::TooLong)),
            ("a\nb", Err(BadText::Control)),
            ("a\u{7f}", Err(BadText::Control)),
        ];
        for (text, expected) in table {
            assert_eq!(check(text, 8), expected, "{text:?}");
        }
        assert_eq!(check(&"é".repeat(8), 8), Ok(()));
    }

    #[test]
    fn shown_is_harmless() {
        assert_eq!(shown("a\u{0}b\r\n", 3), "a\u{FFFD}b");
    }
}
