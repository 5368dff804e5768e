//! A report as CSV (RFC 4180).

use super::{Dimension, Figures, Report, Row};

/// With these, a spreadsheet takes a text for a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A line of names, then a line a row; nobody's row has `attributed` false. Texts that a spreadsheet would run get a quote in front.
pub fn to_csv(report: &Report) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(names(report))?;
    for row in &report.rows {
        writer.write_record(cells(report, row))?;
    }
    for others in &report.others {
        writer.write_record(line(
            "others",
            report.group_by.iter().map(|_| String::new()),
            others.currency.as_deref(),
            String::new(),
            &others.figures,
        ))?;
    }
    writer
        .into_inner()
        .map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))
}

fn names(report: &Report) -> Vec<String> {
    let mut names = vec!["attributed".to_owned()];
    names.extend(
        report
            .group_by
            .iter()
            .map(|dimension| dimension.as_str().to_owned()),
    );
    names.extend(["currency".to_owned(), "conversions".to_owned()]);
    for model in &report.models {
        names.extend(["credit", "gross", "refunds", "net"].map(|name| format!("{name}_{}", model.as_str())));
    }
    names
}

fn cells(report: &Report, row: &Row) -> Vec<String> {
    let dimension = |dimension: &Dimension| {
        let text = match dimension {
            Dimension::Channel => &row.channel,
            Dimension::Source => &row.source,
            Dimension::Medium => &row.medium,
            Dimension::Campaign => &row.campaign,
        };
        text.as_deref().map(defused).unwrap_or_default()
    };
    line(
        if row.attributed { "true" } else { "false" },
        report.group_by.iter().map(dimension),
        row.currency.as_deref(),
        row.conversions.to_string(),
        &row.figures,
    )
}

fn line(
    attributed: &str,
    dimensions: impl Iterator<Item = String>,
    currency: Option<&str>,
    conversions: String,
    figures: &[Figures],
) -> Vec<String> {
    let mut cells = vec![attributed.to_owned()];
    cells.extend(dimensions);
    cells.extend([currency.unwrap_or_default().to_owned(), conversions]);
    for figures in figures {
        let Figures {
            model: _,
            credit,
            gross,
            refunds,
            net,
        } = figures;
        cells.extend([credit, gross, refunds, net].map(ToString::to_string));
    }
    cells
}

fn defused(text: &str) -> String {
    match text.trim_start().starts_with(FORMULA) || text.starts_with(FORMULA) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1"] {
            assert_eq!(defused(bad), format!("'{bad}"));
        }
        assert_eq!(defused("spring, \"sale\""), "spring, \"sale\"");
    }
}
