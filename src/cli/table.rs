//! Aligned tables without borders, and the tones of their cells. Pure.
//!
//! Invariant: control characters never reach the terminal from here, except the colours that are put in here.

/// How a cell is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Neither way.
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Waiting,
    /// Wrong.
    Bad,
}

/// Whether tones become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// They do not.
    Plain,
    /// They do, by ECMA-48 select graphic rendition.
    Colour,
}

/// On which side a column is filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words begin at the left.
    Left,
    /// Numbers end at the right.
    Right,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone.
    #[must_use]
    pub fn toned(text: &str, tone: Tone) -> Self {
        Cell { text: printable(text), tone }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::toned(&text.to_string(), Tone::Plain)
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

/// The gap between two columns.
const GAP: &str = "  ";

impl Table {
    /// A table with these columns; a name that begins with `>` is that of a column of numbers.
    #[must_use]
    pub fn new(columns: &[&'static str]) -> Self {
        let column = |name: &&'static str| match name.strip_prefix('>') {
            Some(name) => (name, Align::Right),
            None => (*name, Align::Left),
        };
        Table { columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The whole table, each line ended.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let mut lines = vec![self.line(&self.header(), &self.widths(), paint)];
        lines.extend(self.rows.iter().map(|row| self.line(row, &self.widths(), paint)));
        lines.concat()
    }

    /// The rows alone, each line ended.
    #[must_use]
    pub fn render_rows(&self, paint: Paint) -> String {
        let widths = self.widths();
        self.rows.iter().map(|row| self.line(row, &widths, paint)).collect()
    }

    fn header(&self) -> Vec<Cell> {
        self.columns.iter().map(|(name, _)| Cell::from(name)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let width = |index: usize, name: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.text.chars().count());
            cells.chain([name.chars().count()]).max().unwrap_or(0)
        };
        self.columns.iter().enumerate().map(|(index, (name, _))| width(index, name)).collect()
    }

    fn line(&self, cells: &[Cell], widths: &[usize], paint: Paint) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            let fill = " ".repeat(width.saturating_sub(cell.text.chars().count()));
            let text = painted(cell, paint);
            line.push_str(&match align {
                Align::Left => format!("{text}{fill}{GAP}"),
                Align::Right => format!("{fill}{text}{GAP}"),
            });
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

fn painted(cell: &Cell, paint: Paint) -> String {
    let code = match (paint, cell.tone) {
        (Paint::Plain, _) | (_, Tone::Plain) => return cell.text.clone(),
        (Paint::Colour, Tone::Good) => 32,
        (Paint::Colour, Tone::Waiting) => 33,
        (Paint::Colour, Tone::Bad) => 31,
    };
    format!("\u{1b}[{code}m{}\u{1b}[0m", cell.text)
}

/// `text` on one line, with control characters replaced.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let mut table = Table::new(&["NAME", ">SECONDS", "GOAL"]);
        table.row(["n1".into(), 5.into(), "yes".into()]);
        table.row(["login1".into(), 123.into(), "".into()]);
        assert_eq!(table.render(Paint::Plain), "NAME    SECONDS  GOAL\nn1            5  yes\nlogin1      123\n");
    }

    #[test]
    fn colours_do_not_shift_columns_and_foreign_control_characters_are_replaced() {
        let mut table = Table::new(&["A", "B"]);
        table.row([Cell::toned("on\u{1b}[2J", Tone::Good), "x".into()]);
        assert_eq!(table.render_rows(Paint::Colour), "\u{1b}[32mon\u{fffd}[2J\u{1b}[0m  x\n");
    }
}
