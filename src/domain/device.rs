//! The kind of device that a visitor has.

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
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Other => "other",
        }
    }
}
