//! SVG 1.1, with its own style for light and dark.

use std::fmt::Write;

use super::{columns, details, step_number, title};
use crate::port::graph::{GraphDocument, GraphMutation, GraphVariable};

/// Lengths are in pixels; the letters are of one width, so that widths can be told without a font.
const MARGIN: usize = 16;
const LETTER: usize = 8;
const SMALL_LETTER: usize = 7;
const HEADER_HEIGHT: usize = 30;
const TITLE_HEIGHT: usize = 28;
const ROW_HEIGHT: usize = 34;
const COLUMN_WIDTH_MIN: usize = 96;
const NUMBER_WIDTH: usize = 34;

const STYLE: &str = "\
svg{color-scheme:light dark}\
text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#1f2937}\
.small{font-size:11px;fill:#6b7280}\
.title{font-weight:bold;font-size:14px}\
.value{fill:none;stroke:#6b7280}\
.now{fill:#93c5fd}\
.goal{fill:none;stroke:#15803d;stroke-width:2}\
.life{stroke:#9ca3af;stroke-dasharray:2 4;opacity:.6}\
.way{stroke:#6b7280;fill:none;stroke-width:1.5}\
.end{fill:#6b7280}\
.step .way{stroke:#1d4ed8;stroke-width:3}\
.step .end,.number{fill:#1d4ed8}\
.off .way{stroke-dasharray:6 4}\
.onnow{fill:#111827}\
.onnumber{fill:#fff}\
@media (prefers-color-scheme:dark){\
text{fill:#e5e7eb}.small{fill:#9ca3af}.step .way{stroke:#60a5fa}.step .end,.number{fill:#3b82f6}.goal{stroke:#4ade80}\
.onnow{fill:#111827}}";

/// The graph as a picture.
pub(in crate::api) fn svg(document: &GraphDocument) -> String {
    let mut panels = String::new();
    let (mut bottom, mut right) = (MARGIN, 0);
    if let Some(way) = &document.node {
        let mut words = format!("{}: ", way.name);
        words.push_str(match (way.goal_reached, &way.problem) {
            (true, _) => "at its goal",
            (false, Some(problem)) => problem,
            (false, None) => "on its way",
        });
        let _ = writeln!(panels, r#"<text class="title" x="{MARGIN}" y="{}">{}</text>"#, bottom + 14, plain(&words));
        right = MARGIN + words.chars().count() * (LETTER + 1);
        bottom += TITLE_HEIGHT;
    }
    for variable in &document.variables {
        let panel = Panel::of(document, variable);
        panel.draw(&mut panels, document, bottom);
        bottom += panel.height() + MARGIN;
        right = right.max(panel.width());
    }
    let (width, height) = (right + MARGIN, bottom);
    let what =
        document.node.as_ref().map_or("the mutation graph".to_owned(), |way| format!("the graph of {}", way.name));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n{panels}</svg>\n",
        plain(&what)
    )
}

/// One variable with its mutations.
struct Panel<'a> {
    variable: &'a GraphVariable,
    columns: Vec<&'a str>,
    column_width: usize,
    rows: Vec<&'a GraphMutation>,
    details_width: usize,
}

impl<'a> Panel<'a> {
    fn of(document: &'a GraphDocument, variable: &'a GraphVariable) -> Self {
        let columns = columns(variable, &document.mutations);
        let changes = |m: &&GraphMutation| m.changes.iter().any(|c| c.variable == variable.path);
        let rows: Vec<&GraphMutation> = document.mutations.iter().filter(changes).collect();
        let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let values = widest(&mut columns.iter().map(|value| value.chars().count() * LETTER + 36));
        let names = widest(&mut rows.iter().map(|m| title(m).chars().count() * LETTER + 36));
        let details_width = widest(&mut rows.iter().map(|m| details(m, &variable.path).chars().count() * SMALL_LETTER));
        // A name stands over the gap between two columns, so that is how wide a column must be.
        Panel { variable, columns, column_width: values.max(names).max(COLUMN_WIDTH_MIN), rows, details_width }
    }

    fn height(&self) -> usize {
        TITLE_HEIGHT + HEADER_HEIGHT + self.rows.len() * ROW_HEIGHT + 12
    }

    fn details_x(&self) -> usize {
        MARGIN + NUMBER_WIDTH + self.columns.len() * self.column_width + 8
    }

    fn width(&self) -> usize {
        self.details_x() + self.details_width
    }

    /// The middle of the column of `value`.
    fn x(&self, value: &str) -> Option<usize> {
        let column = self.columns.iter().position(|known| *known == value)?;
        Some(MARGIN + NUMBER_WIDTH + column * self.column_width + self.column_width / 2)
    }

    fn draw(&self, out: &mut String, document: &GraphDocument, top: usize) {
        let path = plain(&self.variable.path);
        let _ = writeln!(out, r#"<g><title>{path}</title>"#);
        let _ = writeln!(out, r#"<text class="title" x="{MARGIN}" y="{}">{path}</text>"#, top + 14);
        let (header, end) = (top + TITLE_HEIGHT, top + self.height() - 6);
        for value in &self.columns {
            self.header(out, value, header, end);
        }
        for (number, mutation) in self.rows.iter().enumerate() {
            let y = header + HEADER_HEIGHT + number * ROW_HEIGHT + ROW_HEIGHT * 2 / 3;
            self.row(out, mutation, step_number(document, mutation), y);
        }
        out.push_str("</g>\n");
    }

    fn header(&self, out: &mut String, value: &str, top: usize, end: usize) {
        let Some(x) = self.x(value) else { return };
        let (width, height) = (value.chars().count() * LETTER + 20, HEADER_HEIGHT - 6);
        let left = x.saturating_sub(width / 2);
        let is = |of: &Option<String>| of.as_deref() == Some(value);
        let class = if is(&self.variable.now) { "value now" } else { "value" };
        let _ = writeln!(out, r#"<line class="life" x1="{x}" y1="{}" x2="{x}" y2="{end}"/>"#, top + height);
        let _ =
            writeln!(out, r#"<rect class="{class}" x="{left}" y="{top}" width="{width}" height="{height}" rx="6"/>"#);
        if is(&self.variable.goal) {
            let (left, top, width, height) = (left - 4, top - 4, width + 8, height + 8);
            let _ =
                writeln!(out, r#"<rect class="goal" x="{left}" y="{top}" width="{width}" height="{height}" rx="9"/>"#);
        }
        let class = if is(&self.variable.now) { "onnow" } else { "" };
        let (y, value) = (top + 17, plain(value));
        let _ = writeln!(out, r#"<text class="{class}" x="{x}" y="{y}" text-anchor="middle">{value}</text>"#);
    }

    fn row(&self, out: &mut String, mutation: &GraphMutation, step: Option<usize>, y: usize) {
        let class = match (step, mutation.enabled) {
            (Some(_), true) => "step",
            (Some(_), false) => "step off",
            (None, true) => "",
            (None, false) => "off",
        };
        let name = plain(&title(mutation));
        let _ = writeln!(out, r#"<g class="{class}"><title>{name}</title>"#);
        if let Some(number) = step {
            let x = MARGIN + 10;
            let _ = writeln!(out, r#"<circle class="number" cx="{x}" cy="{}" r="10"/>"#, y - 4);
            let _ = writeln!(out, r#"<text class="onnumber" x="{x}" y="{y}" text-anchor="middle">{number}</text>"#);
        }
        let mut leftmost = usize::MAX;
        for change in mutation.changes.iter().filter(|c| c.variable == self.variable.path) {
            for from in change.from.iter().filter_map(|value| self.x(value)) {
                let _ = writeln!(out, r#"<circle class="end" cx="{from}" cy="{y}" r="4"/>"#);
                leftmost = leftmost.min(from);
                for to in change.to.iter().filter_map(|value| self.x(value)).filter(|to| *to != from) {
                    arrow(out, from, to, y);
                    leftmost = leftmost.min(to);
                }
            }
        }
        let x = if leftmost == usize::MAX { MARGIN + NUMBER_WIDTH } else { leftmost + 12 };
        let _ = writeln!(out, r#"<text x="{x}" y="{}">{name}</text>"#, y - 6);
        let (x, details) = (self.details_x(), plain(&details(mutation, &self.variable.path)));
        let _ = writeln!(out, r#"<text class="small" x="{x}" y="{}">{details}</text></g>"#, y + 3);
    }
}

/// A line that ends in a head at the border of the value's line.
fn arrow(out: &mut String, from: usize, to: usize, y: usize) {
    let (tip, back) = if from < to { (to - 2, to - 11) } else { (to + 2, to + 11) };
    let _ = writeln!(out, r#"<path class="way" d="M{from} {y}H{back}"/>"#);
    let _ = writeln!(out, r#"<path class="end" d="M{tip} {y}L{back} {}V{}Z"/>"#, y - 5, y + 5);
}

/// Text as XML 1.0 takes it: escaped, and without what no XML may hold.
fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
