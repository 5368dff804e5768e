//! The kind of device that a user agent tells of.

/// As far as reports tell devices apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// A desktop or notebook.
    Desktop,
    /// A phone or tablet.
    Mobile,
    /// A television, a console, anything else.
    Other,
}

impl Device {
    /// The device of a user agent; none where it is unknown.
    pub fn of(user_agent: &str) -> Option<Self> {
        match woothee::parser::Parser::new().parse(user_agent)?.category {
            "pc" => Some(Self::Desktop),
            "smartphone" | "mobilephone" => Some(Self::Mobile),
            "appliance" => Some(Self::Other),
            _ => None,
        }
    }

    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        let table = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                Some(Device::Desktop),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                Some(Device::Mobile),
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
                Some(Device::Mobile),
            ),
            (
                "Mozilla/5.0 (PlayStation 4 3.11) AppleWebKit/537.73 (KHTML, like Gecko)",
                Some(Device::Other),
            ),
            ("curl/8.5.0", None),
            ("", None),
        ];
        for (user_agent, expected) in table {
            assert_eq!(Device::of(user_agent), expected, "{user_agent}");
        }
    }
}
