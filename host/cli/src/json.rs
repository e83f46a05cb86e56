//! JSON for `--json`: ordinary JSON, but safe to print on a terminal.
//!
//! serde_json escapes only what JSON demands. Texts of a pod may also hold C1 controls, bidi and zero-width
//! characters, which a terminal obeys; those are written as `\uXXXX` here. A reader gets the same text back.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use sovr_capability::text;

/// One line, for streams of events.
pub(crate) fn line(value: &impl Serialize) -> serde_json::Result<String> {
    render(value, Escaping(CompactFormatter))
}

/// Indented, for documents.
pub(crate) fn document(value: &impl Serialize) -> serde_json::Result<String> {
    render(value, Escaping(PrettyFormatter::new()))
}

fn render(value: &impl Serialize, formatter: impl Formatter) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut bytes, formatter,
    ))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes strings with what a terminal would obey escaped, and leaves the rest to `F`.
struct Escaping<F>(F);

impl<F: Formatter> Formatter for Escaping<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, character)) = rest
            .char_indices()
            .find(|(_, character)| text::is_hidden(*character))
        {
            self.0.write_string_fragment(writer, &rest[..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        self.0.write_string_fragment(writer, rest)
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_comes_back() {
        let hostile =
            "plain \u{9b}2J \u{202e}txt.exe\u{200b} \u{1b}]0;x\u{7} \"quoted\" ü \u{1f600}";
        let written = line(&serde_json::json!({ "text": hostile, "list": [1, 2] })).unwrap();
        for character in ['\u{9b}', '\u{202e}', '\u{200b}', '\u{1b}', '\u{7}'] {
            assert!(!written.contains(character), "{written:?}");
        }
        assert!(written.contains('ü'));
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["text"], hostile);
        assert_eq!(read["list"][1], 2);
    }

    #[test]
    fn documents_are_indented() {
        let written =
            document(&serde_json::json!({ "list": [1], "object": { "key": "value" } })).unwrap();
        assert_eq!(
            written,
            "{\n  \"list\": [\n    1\n  ],\n  \"object\": {\n    \"key\": \"value\"\n  }\n}"
        );
    }
}
