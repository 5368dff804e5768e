//! States of the US and provinces of Canada, by the letters of their names.

/// Longer names first where one holds another.
const CODES: [(&str, &str); 64] = [
    ("districtofcolumbia", "dc"),
    ("newfoundlandandlabrador", "nl"),
    ("northwestterritories", "nt"),
    ("princeedwardisland", "pe"),
    ("britishcolumbia", "bc"),
    ("newbrunswick", "nb"),
    ("saskatchewan", "sk"),
    ("northcarolina", "nc"),
    ("southcarolina", "sc"),
    ("massachusetts", "ma"),
    ("westvirginia", "wv"),
    ("newhampshire", "nh"),
    ("pennsylvania", "pa"),
    ("northdakota", "nd"),
    ("southdakota", "sd"),
    ("rhodeisland", "ri"),
    ("connecticut", "ct"),
    ("mississippi", "ms"),
    ("washington", "wa"),
    ("novascotia", "ns"),
    ("california", "ca"),
    ("newjersey", "nj"),
    ("newmexico", "nm"),
    ("louisiana", "la"),
    ("minnesota", "mn"),
    ("tennessee", "tn"),
    ("wisconsin", "wi"),
    ("arkansas", "ar"),
    ("colorado", "co"),
    ("delaware", "de"),
    ("illinois", "il"),
    ("kentucky", "ky"),
    ("maryland", "md"),
    ("michigan", "mi"),
    ("missouri", "mo"),
    ("nebraska", "ne"),
    ("oklahoma", "ok"),
    ("virginia", "va"),
    ("manitoba", "mb"),
    ("alabama", "al"),
    ("arizona", "az"),
    ("florida", "fl"),
    ("georgia", "ga"),
    ("indiana", "in"),
    ("montana", "mt"),
    ("newyork", "ny"),
    ("vermont", "vt"),
    ("wyoming", "wy"),
    ("alberta", "ab"),
    ("ontario", "on"),
    ("nunavut", "nu"),
    ("alaska", "ak"),
    ("hawaii", "hi"),
    ("kansas", "ks"),
    ("nevada", "nv"),
    ("oregon", "or"),
    ("quebec", "qc"),
    ("qubec", "qc"),
    ("idaho", "id"),
    ("maine", "me"),
    ("texas", "tx"),
    ("yukon", "yt"),
    ("iowa", "ia"),
    ("ohio", "oh"),
];

/// The code of the region that these letters name, or whose name they hold.
pub fn code(letters: &str) -> Option<&'static str> {
    let held = || CODES.iter().find(|(name, _)| letters.contains(name));
    named(letters).or_else(|| held().map(|(_, code)| *code))
}

/// The code of the region that these letters name, and nothing else.
pub fn named(letters: &str) -> Option<&'static str> {
    // `utah` is the one name that others hold by accident: `utahan`, `wutah`.
    if letters == "utah" {
        return Some("ut");
    }
    let known = CODES.iter().find(|(name, _)| *name == letters);
    known.map(|(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_hidden_by_another() {
        for (name, expected) in CODES {
            assert_eq!(code(name), Some(expected), "{name}");
        }
        assert_eq!(code("utah"), Some("ut"));
        assert_eq!(code("by"), None);
    }
}
