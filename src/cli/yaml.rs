//! YAML in block style, written by a formatter of serde_json, so that fields keep their order.
//!
//! Invariant: every scalar is read back as what it was by readers of YAML 1.2 and of YAML 1.1, for which `on` is a
//! boolean and `52:54:00:10:07:01` a number: a text is quoted unless it cannot be taken for anything else. A quoted text is
//! a JSON string, which YAML's double-quoted style includes.
//! Absent on purpose: reading YAML; anchors, tags and folded texts, of which JSON has nothing.
//! Specification: YAML 1.2.2, sections 5.13, 7.3 and 8.2; YAML 1.1 type repository for what must be quoted.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// Words that some reader takes for a boolean or for nothing.
const RESERVED: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
/// What an unquoted text may hold besides letters and digits.
const PLAIN_MARKS: &str = " _./-:=,()";
const INDENT: &str = "  ";

/// `document` as YAML, its last line ended.
///
/// # Errors
/// When a map's key is no text.
pub fn to_string<T: Serialize>(document: &T) -> io::Result<String> {
    let mut bytes = Vec::new();
    document.serialize(&mut Serializer::with_formatter(&mut bytes, Yaml::default()))?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// What stands before a value on its line.
#[derive(Debug, Clone, Copy, Default)]
enum Before {
    /// Nothing, or the dash of a list and a space.
    #[default]
    Nothing,
    /// A key and its colon.
    Colon,
}

/// A list or a map that is being written.
#[derive(Debug)]
struct Open {
    before: Before,
    empty: bool,
}

#[derive(Debug, Default)]
struct Yaml {
    before: Before,
    open: Vec<Open>,
    text: String,
    escaped: bool,
}

impl Yaml {
    fn scalar<W: Write + ?Sized>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        match std::mem::take(&mut self.before) {
            Before::Nothing => {}
            Before::Colon => writer.write_all(b" ")?,
        }
        writer.write_all(text.as_bytes())
    }

    fn begin(&mut self) {
        let before = std::mem::take(&mut self.before);
        self.open.push(Open { before, empty: true });
    }

    /// Begins an element: on the line of a dash when it is the first after one, else on a line of its own.
    fn element<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        let depth = self.open.len().saturating_sub(1);
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        match (std::mem::replace(&mut open.empty, false), open.before) {
            (true, Before::Nothing) => Ok(()),
            _ => write!(writer, "\n{}", INDENT.repeat(depth)),
        }
    }

    fn end<W: Write + ?Sized>(&mut self, writer: &mut W, empty: &str) -> io::Result<()> {
        match self.open.pop() {
            Some(Open { before, empty: true }) => {
                self.before = before;
                self.scalar(writer, empty)
            }
            _ => Ok(()),
        }
    }
}

impl Formatter for Yaml {
    fn write_null<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.scalar(writer, "null")
    }

    fn write_bool<W: Write + ?Sized>(&mut self, writer: &mut W, value: bool) -> io::Result<()> {
        self.scalar(writer, if value { "true" } else { "false" })
    }

    fn write_i64<W: Write + ?Sized>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        self.scalar(writer, &value.to_string())
    }

    fn write_i32<W: Write + ?Sized>(&mut self, writer: &mut W, value: i32) -> io::Result<()> {
        self.scalar(writer, &value.to_string())
    }

    fn write_u64<W: Write + ?Sized>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        self.scalar(writer, &value.to_string())
    }

    fn write_u32<W: Write + ?Sized>(&mut self, writer: &mut W, value: u32) -> io::Result<()> {
        self.scalar(writer, &value.to_string())
    }

    fn write_u16<W: Write + ?Sized>(&mut self, writer: &mut W, value: u16) -> io::Result<()> {
        self.scalar(writer, &value.to_string())
    }

    fn write_u8<W: Write + ?Sized>(&mut self, writer: &mut W, value: u8) -> io::Result<()> {
        self.scalar(writer, &value.to_string())
    }

    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        self.scalar(writer, &format!("{value:?}"))
    }

    fn begin_string<W: Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.text.clear();
        self.escaped = false;
        Ok(())
    }

    fn write_string_fragment<W: Write + ?Sized>(&mut self, _writer: &mut W, fragment: &str) -> io::Result<()> {
        self.text.push_str(fragment);
        Ok(())
    }

    fn write_char_escape<W: Write + ?Sized>(&mut self, _writer: &mut W, escape: CharEscape) -> io::Result<()> {
        self.escaped = true;
        let byte = match escape {
            CharEscape::Quote => b'"',
            CharEscape::ReverseSolidus => b'\\',
            CharEscape::Solidus => b'/',
            CharEscape::Backspace => 8,
            CharEscape::FormFeed => 12,
            CharEscape::LineFeed => b'\n',
            CharEscape::CarriageReturn => b'\r',
            CharEscape::Tab => b'\t',
            CharEscape::AsciiControl(byte) => byte,
        };
        match byte {
            b'"' | b'\\' => self.text.extend(['\\', char::from(byte)]),
            byte => self.text.push_str(&format!("\\x{byte:02x}")),
        }
        Ok(())
    }

    fn end_string<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        let text = std::mem::take(&mut self.text);
        if !self.escaped && is_plain(&text) {
            return self.scalar(writer, &text);
        }
        // Of what JSON leaves as it is, some is not printable in YAML (section 5.1).
        let quoted: String = text.chars().map(|c| if is_printable(c) { c.to_string() } else { escape(c) }).collect();
        self.scalar(writer, &format!("\"{quoted}\""))
    }

    fn begin_array<W: Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.begin();
        Ok(())
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, "[]")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, _first: bool) -> io::Result<()> {
        self.element(writer)?;
        writer.write_all(b"- ")
    }

    fn begin_object<W: Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.begin();
        Ok(())
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, "{}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, _first: bool) -> io::Result<()> {
        self.element(writer)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.before = Before::Colon;
        writer.write_all(b":")
    }
}

fn escape(c: char) -> String {
    format!("\\U{:08x}", u32::from(c))
}

/// What every reader takes as it is: YAML's printable characters, less those that some take for line ends or leave out.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Whether no reader can take this for anything but this text.
fn is_plain(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || PLAIN_MARKS.contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let ends_well = text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ')' || c == '/');
    let reserved = RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word));
    starts_well && ends_well && text.chars().all(allowed) && !text.contains(": ") && !reserved && !text.contains("- ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn yaml(value: &Value) -> String {
        to_string(value).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn lists_and_maps_are_nested_by_indentation() {
        let value = json!({ "items": [{ "a": 1, "b": [] }, { "c": {} }, [[1, 2], "x"]], "z": { "u": null } });
        let wanted = "items:\n  - a: 1\n    b: []\n  - c: {}\n  - - - 1\n      - 2\n    - x\nz:\n  u: null\n";
        assert_eq!(yaml(&value), wanted);
        assert_eq!(yaml(&json!([])), "[]\n");
    }

    #[test]
    fn what_an_older_reader_takes_for_something_else_is_quoted() {
        for text in [
            "on",
            "Off",
            "y",
            "NO",
            "52:54:00:10:07:01",
            "1e3",
            "0x1f",
            "2026-11-21",
            "~",
            "",
            " a",
            "a:",
            "- a",
            "=",
            "a #b",
        ] {
            assert_eq!(yaml(&json!(text)), format!("\"{text}\"\n"));
        }
        for text in ["sync", "n1", "sha256:2cf2", "http://10.0.0.1/x", "power is on", "/bin/busybox"] {
            assert_eq!(yaml(&json!(text)), format!("{text}\n"));
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = "\\PC{0,8}|[a-z0-9:#\\[\\]{}\"'\n\t\\\\ ,&*!|>%@`~.=-]{0,8}|.{0,4}|(on|off|null|~|1e3|0o7|<<)";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1.0e6..1.0e6_f64).prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(text, inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn another_reader_reads_back_what_was_written(value in any_json()) {
            let text = yaml(&value);
            let back: Value = serde_norway::from_str(&text).map_err(|e| TestCaseError::fail(format!("{e}: {text}")))?;
            prop_assert_eq!(back, value, "{}", text);
        }
    }
}
