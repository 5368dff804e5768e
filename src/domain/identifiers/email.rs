//! Email addresses.

use super::valid;

/// Trimmed, lower case.
pub fn plain(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    valid::is_email(&text).then_some(text)
}

/// As [`plain`]; the part before the `@` must be ASCII.
pub fn ascii_local(text: &str) -> Option<String> {
    plain(text).filter(|text| text.rsplit_once('@').is_some_and(|(local, _)| local.is_ascii()))
}

/// As [`plain`]; of Gmail's addresses without dots and `+tag`, which it ignores.
pub fn gmail_folded(text: &str) -> Option<String> {
    let text = plain(text)?;
    match text.rsplit_once('@') {
        Some((_, "gmail.com" | "googlemail.com")) => folded(&text),
        _ => Some(text),
    }
}

/// As [`plain`]; whatever the domain, without dots and `+tag`.
pub fn all_folded(text: &str) -> Option<String> {
    folded(&plain(text)?)
}

fn folded(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let untagged = local.split('+').next()?;
    let local = super::something(super::without(untagged, |c| c == '.'))?;
    Some(format!("{local}@{domain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let text = " Jane.Doe+shop@Example.COM ";
        assert_eq!(plain(text).unwrap(), "jane.doe+shop@example.com");
        assert_eq!(gmail_folded(text).unwrap(), "jane.doe+shop@example.com");
        assert_eq!(all_folded(text).unwrap(), "janedoe@example.com");
        assert_eq!(ascii_local("用户@example.com"), None);
        assert_eq!(ascii_local("jane@例子.中国").unwrap(), "jane@例子.中国");
        assert_eq!(gmail_folded("+tag@gmail.com"), None);
    }
}
