//! Names of people.

use super::{something, without};

/// Lower case, without white space and ASCII punctuation; letters of every script stay.
pub fn compact(text: &str) -> Option<String> {
    something(without(&text.to_lowercase(), |c| {
        c.is_whitespace() || c.is_ascii_punctuation()
    }))
}

/// Lower case, without white space.
pub fn unspaced(text: &str) -> Option<String> {
    something(without(&text.to_lowercase(), char::is_whitespace))
}

/// As written.
pub fn as_written(text: &str) -> Option<String> {
    something(text.trim().to_owned())
}

/// Trimmed, lower case, without a title in front.
pub fn untitled(text: &str) -> Option<String> {
    const TITLES: [&str; 4] = ["mr.", "mrs.", "ms.", "dr."];
    let lower = text.to_lowercase();
    let mut name = lower.trim();
    while let Some(rest) = TITLES
        .iter()
        .find_map(|title| name.strip_prefix(title))
        .filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    {
        name = rest.trim_start();
    }
    something(name.to_owned())
}

/// Trimmed, lower case, without what follows a family name: generation, degree, order.
pub fn without_suffix(text: &str) -> Option<String> {
    const SUFFIXES: [&str; 16] = [
        "jr", "sr", "2nd", "3rd", "ii", "iii", "iv", "v", "vi", "cpa", "dc", "dds", "vm", "jd", "md", "phd",
    ];
    let separates = |c: char| c == ',' || c.is_whitespace();
    let lower = text.to_lowercase();
    let mut name = lower.trim();
    loop {
        let bare = name.strip_suffix('.').unwrap_or(name);
        let before = SUFFIXES.iter().find_map(|suffix| {
            bare.strip_suffix(suffix)
                .filter(|before| before.ends_with(separates))
        });
        match before {
            Some(before) => name = before.trim_end_matches(separates),
            None => return something(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(compact(" Mary-Ann O'Neil ").unwrap(), "maryannoneil");
        assert_eq!(compact("정 민").unwrap(), "정민");
        assert_eq!(compact("?!"), None);
        assert_eq!(unspaced(" Mary-Ann  Lee").unwrap(), "mary-annlee");
        assert_eq!(untitled("Mr. Dr. Alex").unwrap(), "alex");
        assert_eq!(untitled("mr.alex").unwrap(), "mr.alex");
        assert_eq!(without_suffix("Quinn III PhD").unwrap(), "quinn");
        assert_eq!(without_suffix("Jr.").unwrap(), "jr.");
    }
}
