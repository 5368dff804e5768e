//! Bar charts, drawn by the server: plain SVG, which needs no script and no inline style. Beside each is its table, for who cannot see it.

/// Height of the drawing. Across, places are percentages: bars get as wide as there is room, and no text is squeezed.
const HEIGHT: f64 = 140.0;
/// Height of a bar that stands for nought: it can be told from nothing at all.
const LEAST: f64 = 1.5;

/// A bar.
pub struct Bar {
    /// Left edge, in percent.
    pub x: String,
    /// Upper edge.
    pub y: String,
    /// Width, in percent.
    pub width: String,
    /// Height.
    pub height: String,
    /// Whether it hangs below zero.
    pub below: bool,
    /// What it stands for, in words.
    pub title: String,
}

/// A chart of one series.
pub struct Chart {
    /// What it shows.
    pub label: String,
    /// What its values are called, at the head of the table.
    pub unit: &'static str,
    /// The bars of those values that there are, in order.
    pub bars: Vec<Bar>,
    /// Where zero is.
    pub zero: String,
    /// All values as a table: when, and how much.
    pub rows: Vec<(String, String)>,
    /// The greatest value.
    pub most: String,
    /// The least value, where it is below zero.
    pub least: String,
    /// Whether nothing was measured at any time.
    pub empty: bool,
}

/// A value of the series.
pub struct Value {
    /// When, in words.
    pub at: String,
    /// How much; none where there was nothing to measure.
    pub value: Option<f64>,
    /// How much, in words.
    pub shown: String,
}

impl Chart {
    /// Draws values, in order.
    pub fn of(label: String, unit: &'static str, values: Vec<Value>) -> Self {
        let known = || values.iter().filter_map(|one| Some((one.value?, &one.shown)));
        let greater = |a: &(f64, &String), b: &(f64, &String)| a.0.total_cmp(&b.0);
        let (most, least) = (known().max_by(greater), known().min_by(greater));
        let (high, low) = (
            most.map_or(0.0, |(value, _)| value.max(0.0)),
            least.map_or(0.0, |(value, _)| value.min(0.0)),
        );
        // Where all are nought there is no scale to have.
        let range = if high > low { high - low } else { 1.0 };
        let zero = match high > low {
            true => high / range * HEIGHT,
            false => HEIGHT,
        };
        let step = 100.0 / values.len().max(1) as f64;
        let bars = values.iter().enumerate().filter_map(|(index, one)| {
            let value = one.value?;
            let height = (value.abs() / range * HEIGHT).max(LEAST);
            let top = if value < 0.0 { zero } else { zero - height };
            Some(Bar {
                x: format!("{:.2}", index as f64 * step + step * 0.1),
                y: format!("{:.1}", top.clamp(0.0, HEIGHT - LEAST)),
                width: format!("{:.2}", step * 0.8),
                height: format!("{height:.1}"),
                below: value < 0.0,
                title: format!("{}: {}", one.at, one.shown),
            })
        });
        let words =
            |found: Option<(f64, &String)>| found.map_or_else(String::new, |(_, shown)| shown.clone());
        Self {
            label,
            unit,
            zero: format!("{zero:.1}"),
            most: words(most),
            least: words(least.filter(|(value, _)| *value < 0.0)),
            empty: most.is_none(),
            bars: bars.collect(),
            rows: values.into_iter().map(|one| (one.at, one.shown)).collect(),
        }
    }

    /// What the first bar stands for.
    pub fn first(&self) -> &str {
        self.rows.first().map_or("", |(at, _)| at)
    }

    /// What the last bar stands for.
    pub fn last(&self) -> &str {
        self.rows.last().map_or("", |(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[Option<f64>]) -> Chart {
        let value = |value: &Option<f64>| Value {
            at: "a".to_owned(),
            value: *value,
            shown: value.map_or("–".to_owned(), |value| value.to_string()),
        };
        Chart::of("x".to_owned(), "X", values.iter().map(value).collect())
    }

    fn heights(chart: &Chart) -> Vec<(&str, &str)> {
        chart
            .bars
            .iter()
            .map(|bar| (bar.y.as_str(), bar.height.as_str()))
            .collect()
    }

    #[test]
    fn the_greatest_value_fills_the_height() {
        let drawn = chart(&[Some(0.0), Some(10.0), None, Some(5.0)]);
        assert_eq!(
            heights(&drawn),
            [("138.5", "1.5"), ("0.0", "140.0"), ("70.0", "70.0")]
        );
        assert_eq!(
            (drawn.most.as_str(), drawn.least.as_str(), drawn.zero.as_str()),
            ("10", "", "140.0")
        );
        assert_eq!(drawn.rows.len(), 4);
    }

    #[test]
    fn what_is_below_zero_hangs_from_it() {
        let drawn = chart(&[Some(30.0), Some(-10.0)]);
        assert_eq!(heights(&drawn), [("0.0", "105.0"), ("105.0", "35.0")]);
        assert_eq!((drawn.least.as_str(), drawn.zero.as_str()), ("-10", "105.0"));
        let refunds_alone = chart(&[None, Some(-10.0)]);
        assert_eq!(heights(&refunds_alone), [("0.0", "140.0")]);
        assert!(!refunds_alone.empty);
    }

    #[test]
    fn nought_is_not_nothing() {
        assert!(!chart(&[Some(0.0), None]).empty);
        assert!(chart(&[None, None]).empty);
        assert!(chart(&[]).empty && chart(&[]).first().is_empty());
    }
}
