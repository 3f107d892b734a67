//! Tables for people.

use std::io::{self, Write};

/// Writes rows in columns that are as wide as their widest cell; numbers and sizes, estimated ones (`~1.2M`) too, to the right.
pub fn table(out: &mut impl Write, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let widths: Vec<usize> = header
        .iter()
        .enumerate()
        .map(|(column, name)| cells(column).map(|cell| width(cell)).chain([width(name)]).max().unwrap_or(0))
        .collect();
    let numeric: Vec<bool> = (0..header.len()).map(|column| cells(column).all(|cell| is_number(cell))).collect();
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let fill = " ".repeat(widths[column].saturating_sub(width(cell)));
            let (before, after) = if numeric[column] { (fill.as_str(), "") } else { ("", fill.as_str()) };
            line.extend([if column > 0 { "  " } else { "" }, before, cell, after]);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A number, a size, or nothing at all. Dates are not.
fn is_number(cell: &str) -> bool {
    let bare = cell.strip_prefix('~').unwrap_or(cell);
    let unit = bare.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ',');
    cell == "-" || cell.is_empty() || cell.parse::<f64>().is_ok() || (unit.len() < bare.len() && UNITS.contains(&unit.trim_start()))
}

/// What stands after a figure.
const UNITS: [&str; 10] = ["", "K", "M", "G", "B", "KiB", "MiB", "GiB", "TiB", "%"];

/// Columns a text takes in a terminal: CJK characters take two.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| if ('\u{1100}'..='\u{ffef}').contains(&c) && !('\u{2000}'..='\u{2e7f}').contains(&c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let mut out = Vec::new();
        let rows = [vec!["客服".to_owned(), "7".to_owned()], vec!["chat".to_owned(), "1234".to_owned()]];
        table(&mut out, &["app", "messages"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "app   messages\n客服         7\nchat      1234\n");
    }

    #[test]
    fn estimates_and_sizes_are_numbers_and_dates_are_not() {
        for cell in ["~1.2M", "12,345", "3.4 GiB", "~0", "-", "99%", "1e-3"] {
            assert!(is_number(cell), "{cell}");
        }
        for cell in ["2026-01-31", "3 apps", "~", "12 young"] {
            assert!(!is_number(cell), "{cell}");
        }
    }
}
