//! CSV that spreadsheets open: UTF-8, with a mark that says so where it is wanted, and no cell that would be run as a formula.

use std::borrow::Cow;
use std::io::Write;

use super::Sheet;
use super::columns::{Cell, Column};

/// What a formula begins with, and what spreadsheets drop before they look for one.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

pub(super) struct Csv {
    writer: ::csv::Writer<Box<dyn Write + Send>>,
}

impl Csv {
    pub(super) fn new(mut out: Box<dyn Write + Send>, columns: &[Column], bom: bool) -> anyhow::Result<Self> {
        if bom {
            out.write_all("\u{feff}".as_bytes())?;
        }
        let mut writer = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(out);
        writer.write_record(columns.iter().map(|column| &column.name))?;
        Ok(Csv { writer })
    }
}

impl Sheet for Csv {
    fn row(&mut self, cells: Vec<Cell>) -> anyhow::Result<()> {
        for cell in cells {
            self.writer.write_field(shown(&cell).as_bytes())?;
        }
        self.writer.write_record(None::<&[u8]>)?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        self.writer.flush()?;
        Ok(())
    }
}

fn shown(cell: &Cell) -> Cow<'_, str> {
    match cell {
        Cell::None => Cow::Borrowed(""),
        Cell::Text(text) if text.starts_with(FORMULA) => Cow::Owned(format!("'{text}")),
        Cell::Text(text) => Cow::Borrowed(text),
        Cell::Long(number) => Cow::Owned(number.to_string()),
        Cell::Double(number) => Cow::Owned(number.to_string()),
        Cell::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Cell::Time(time) => Cow::Owned(time.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused_and_numbers_are_not() {
        for (text, cell) in
            [("=1+1", "'=1+1"), ("+49", "'+49"), ("-x", "'-x"), ("@SUM", "'@SUM"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("a=1", "a=1")]
        {
            assert_eq!(shown(&Cell::Text(text.to_owned())), cell);
        }
        assert_eq!((shown(&Cell::Long(-7)), shown(&Cell::Double(-0.5))), ("-7".into(), "-0.5".into()));
    }
}
