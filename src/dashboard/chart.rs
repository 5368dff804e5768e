//! Bar charts, drawn by the server: plain SVG, which needs no script and no inline style.

/// Units of the drawing.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 160.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 20.0;

/// A bar.
pub struct Bar {
    /// Left edge.
    pub x: String,
    /// Upper edge.
    pub y: String,
    /// Width.
    pub width: String,
    /// Height.
    pub height: String,
    /// What it stands for, in words.
    pub title: String,
}

/// A chart of one series.
pub struct Chart {
    /// What it shows, for who cannot see it.
    pub label: String,
    /// The bars, in order.
    pub bars: Vec<Bar>,
    /// The greatest value.
    pub most: String,
    /// What the first bar stands for.
    pub first: String,
    /// What the last bar stands for.
    pub last: String,
    /// Whether every value is zero.
    pub empty: bool,
}

/// A value of the series: when, how much, and how much in words.
pub struct Value {
    /// When, in words.
    pub at: String,
    /// How much.
    pub value: f64,
    /// How much, in words.
    pub shown: String,
}

impl Chart {
    /// Draws values, in order. What is below zero is drawn as nothing.
    pub fn of(label: String, values: Vec<Value>) -> Self {
        let most = values
            .iter()
            .max_by(|a, b| a.value.total_cmp(&b.value))
            .filter(|value| value.value > 0.0);
        let highest = most.map_or(1.0, |value| value.value);
        let step = WIDTH / values.len().max(1) as f64;
        let place = |number: f64| format!("{number:.1}");
        let bars = values.iter().enumerate().map(|(index, value)| {
            let height = (value.value.max(0.0) / highest) * (HEIGHT - TOP - BOTTOM);
            Bar {
                x: place(index as f64 * step + step * 0.1),
                y: place(HEIGHT - BOTTOM - height),
                width: place(step * 0.8),
                height: place(height),
                title: format!("{}: {}", value.at, value.shown),
            }
        });
        let at = |value: Option<&Value>| value.map_or_else(String::new, |value| value.at.clone());
        Self {
            label,
            bars: bars.collect(),
            most: most.map_or_else(String::new, |value| value.shown.clone()),
            first: at(values.first()),
            last: at(values.last()),
            empty: most.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_value_fills_the_height() {
        let value = |value: f64| Value {
            at: "a".to_owned(),
            value,
            shown: value.to_string(),
        };
        let chart = Chart::of("x".to_owned(), vec![value(0.0), value(10.0), value(-5.0)]);
        let heights: Vec<&str> = chart.bars.iter().map(|bar| bar.height.as_str()).collect();
        assert_eq!(heights, ["0.0", "122.0", "0.0"]);
        assert_eq!((chart.most.as_str(), chart.empty), ("10", false));
        assert!(Chart::of("x".to_owned(), vec![value(0.0)]).empty);
        assert!(Chart::of("x".to_owned(), Vec::new()).bars.is_empty());
    }
}
