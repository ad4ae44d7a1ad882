//! Aligned tables.

use std::io::{self, IsTerminal};

use console::{Style, Term, measure_text_width, truncate_str};
use datafold::model::Value;

use crate::Done;
use crate::failure::Failure;
use crate::harmless::harmless;
use crate::output::{Out, plain};

/// The widths of the columns are those of the first rows, at most so many.
const ROWS_MEASURED: usize = 10_000;
/// A column of text is not made narrower than this for others to have room.
const NARROW: usize = 16;
/// The width of `null`.
const NULL_WIDTH: usize = 4;
/// Where there is no terminal, a column is not made wider than this for its longest cells: they
/// stand out on the right, in full.
const WIDE: usize = 200;
/// What stands between two columns.
const GAP: &str = "  ";

/// A table whose columns are as wide as their cells. In a terminal it is as wide as that: long
/// texts are cut, and columns on the right that have no room are left out.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<String>,
    indent: usize,
    /// The width of the terminal, if it is one.
    room: Option<usize>,
    waiting: Vec<Vec<Value>>,
    layout: Option<Vec<Column>>,
}

/// A column that is shown.
#[derive(Debug, Clone, Copy)]
struct Column {
    width: usize,
    /// Its cells stand on the right.
    is_number: bool,
    /// Its cells may be cut.
    is_text: bool,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[String]) -> Self {
        let room = io::stdout().is_terminal().then(terminal_width);
        let (columns, waiting) = (columns.to_vec(), Vec::new());
        Self { columns, indent: 0, room, waiting, layout: None }
    }

    /// The same with so many blanks in front of each line.
    pub(crate) fn indent(self, indent: usize) -> Self {
        Self { indent, ..self }
    }

    /// Takes a row; prints it when the widths are known.
    pub(crate) fn row(&mut self, out: &mut Out, values: &[Value]) -> Done {
        if let Some(layout) = &self.layout {
            return self.print(out, layout, values);
        }
        self.waiting.push(values.to_vec());
        if self.waiting.len() >= ROWS_MEASURED { self.lay_out(out) } else { Ok(()) }
    }

    /// Prints the rows that were waiting, if there are some.
    pub(crate) fn settle(&mut self, out: &mut Out) -> Done {
        if self.layout.is_some() || self.waiting.is_empty() {
            return Ok(());
        }
        self.lay_out(out)
    }

    /// Prints what is left; answers the columns that had no room.
    pub(crate) fn finish(mut self, out: &mut Out) -> Result<Vec<String>, Failure> {
        if self.layout.is_none() {
            let widths = self.natural();
            if let ([_], true) = (self.waiting.as_slice(), self.fit(&widths).len() < widths.len()) {
                self.print_upright(out)?;
                return Ok(Vec::new());
            }
            self.lay_out(out)?;
        }
        let shown = self.layout.map_or(0, |layout| layout.len());
        Ok(self.columns.split_off(shown))
    }

    /// Decides on the widths and prints the rows that were waiting.
    fn lay_out(&mut self, out: &mut Out) -> Done {
        let layout = self.fit(&self.natural());
        let bold = Style::new().bold();
        let header = self.columns.iter().zip(&layout);
        let header = header.map(|(name, column)| self.cell(name, *column, &bold));
        self.print_cells(out, header)?;
        for values in std::mem::take(&mut self.waiting) {
            self.print(out, &layout, &values)?;
        }
        self.layout = Some(layout);
        Ok(())
    }

    /// The columns as wide as their cells.
    fn natural(&self) -> Vec<Column> {
        let column = |at: usize, name: &String| {
            let cells = self.waiting.iter().filter_map(|row| row.get(at));
            let mut cells = cells.filter(|cell| !cell.is_null()).peekable();
            let is_number = cells.peek().is_some();
            let mut column = Column { width: measure_text_width(name), is_number, is_text: false };
            for cell in cells {
                let is_number = matches!(cell, Value::Int(_) | Value::Float(_));
                column.is_number &= is_number;
                column.is_text |= !is_number && !matches!(cell, Value::Time(_));
                column.width = column.width.max(measure_text_width(&text_of(cell)));
            }
            // Null is told apart from empty text, so it needs room too.
            if self.waiting.iter().any(|row| row.get(at).is_some_and(Value::is_null)) {
                column.width = column.width.max(NULL_WIDTH);
            }
            column
        };
        self.columns.iter().enumerate().map(|(at, name)| column(at, name)).collect()
    }

    /// As many of the columns as have room, long ones made narrower.
    fn fit(&self, natural: &[Column]) -> Vec<Column> {
        let Some(room) = self.room else {
            let wide = |column: &Column| Column { width: column.width.min(WIDE), ..*column };
            return natural.iter().map(wide).collect();
        };
        let room = room.saturating_sub(self.indent);
        for count in (2..=natural.len()).rev() {
            let mut columns: Vec<_> = natural.iter().take(count).copied().collect();
            if narrow(&mut columns, room) {
                return columns;
            }
        }
        let only = natural.iter().take(1);
        only.map(|column| Column { width: column.width.min(room.max(1)), ..*column }).collect()
    }

    fn print(&self, out: &mut Out, layout: &[Column], values: &[Value]) -> Done {
        let (plain, dim) = (Style::new(), Style::new().dim());
        let cells = values.iter().zip(layout).map(|(value, column)| {
            let style = if value.is_null() { &dim } else { &plain };
            self.cell(&text_of(value), *column, style)
        });
        self.print_cells(out, cells)
    }

    /// A cell as wide as its column; a longer text is cut only where there is a terminal.
    fn cell(&self, text: &str, column: Column, style: &Style) -> String {
        match self.room {
            Some(_) => pad(&truncate_str(text, column.width, "…"), column, style),
            None => pad(text, column, style),
        }
    }

    fn print_cells(&self, out: &mut Out, cells: impl Iterator<Item = String>) -> Done {
        let cells: Vec<_> = cells.collect();
        let line = cells.join(GAP);
        let line = line.trim_end();
        let indent = if line.is_empty() { 0 } else { self.indent };
        out.line(format_args!("{:indent$}{line}", ""))
    }

    /// Prints the only row with a line for each column.
    fn print_upright(&self, out: &mut Out) -> Done {
        let width = self.columns.iter().map(|name| measure_text_width(name)).max().unwrap_or(0);
        let (bold, dim) = (Style::new().bold(), Style::new().dim());
        for (name, value) in self.columns.iter().zip(self.waiting.iter().flatten()) {
            let name = pad(name, Column { width, is_number: false, is_text: true }, &bold);
            let text = text_of(value);
            let text = if value.is_null() { dim.apply_to(text).to_string() } else { text };
            let indent = self.indent;
            out.line(format_args!("{:indent$}{name}{GAP}{text}", ""))?;
        }
        Ok(())
    }
}

/// The width that `COLUMNS` tells, else the one of the terminal.
fn terminal_width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    told.filter(|columns| *columns > 0).unwrap_or_else(|| usize::from(Term::stdout().size().1))
}

/// Makes the longest columns of text narrower until all of them have room, if that is enough.
fn narrow(columns: &mut [Column], room: usize) -> bool {
    loop {
        let widths: usize = columns.iter().map(|column| column.width).sum();
        let total = widths + GAP.len() * columns.len().saturating_sub(1);
        let Some(excess) = total.checked_sub(room).filter(|excess| *excess > 0) else {
            return true;
        };
        let long = columns.iter_mut().filter(|column| column.is_text && column.width > NARROW);
        match long.max_by_key(|column| column.width) {
            Some(column) => column.width = column.width.saturating_sub(excess).max(NARROW),
            None => return false,
        }
    }
}

/// A text with blanks to the width of its column.
fn pad(text: &str, column: Column, style: &Style) -> String {
    let blanks = " ".repeat(column.width.saturating_sub(measure_text_width(text)));
    let text = style.apply_to(text);
    if column.is_number { format!("{blanks}{text}") } else { format!("{text}{blanks}") }
}

/// A value in one line that does nothing to a terminal.
fn text_of(value: &Value) -> String {
    harmless(&plain(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(room: usize, rows: Vec<Vec<Value>>) -> Table {
        let columns: Vec<String> = ["name", "n", "note"].iter().map(|&c| c.into()).collect();
        Table { room: Some(room), waiting: rows, ..Table::new(&columns) }
    }

    fn widths(table: &Table) -> Vec<usize> {
        table.fit(&table.natural()).iter().map(|column| column.width).collect()
    }

    #[test]
    fn long_texts_are_cut_before_columns_are_left_out() {
        let row = vec!["x".repeat(30).into(), 12_345.into(), "y".repeat(40).into()];
        assert_eq!(widths(&table(80, vec![row.clone()])), [30, 5, 40]);
        assert_eq!(widths(&table(60, vec![row.clone()])), [30, 5, 21]);
        assert_eq!(widths(&table(45, vec![row.clone()])), [20, 5, 16]);
        assert_eq!(widths(&table(40, vec![row.clone()])), [30, 5]);
        assert_eq!(widths(&table(30, vec![row.clone()])), [23, 5]);
        assert_eq!(widths(&table(20, vec![row])), [20]);
        let time: Value = datafold::model::Timestamp::MAX.into();
        let row = vec!["x".repeat(30).into(), time, "y".into()];
        assert_eq!(widths(&table(52, vec![row.clone()])), [17, 27, 4]);
        assert_eq!(widths(&table(50, vec![row])), [21, 27]);
    }

    #[test]
    fn only_columns_of_numbers_are_numbers() {
        let rows = vec![vec!["a".into(), 1.into(), Value::Null], vec![Value::Null; 3]];
        let numbers: Vec<_> = table(80, rows).natural().iter().map(|c| c.is_number).collect();
        assert_eq!(numbers, [false, true, false]);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(text_of(&"a\n\u{1b}[31m".into()), "a\\n\\u{1b}[31m");
    }
}
