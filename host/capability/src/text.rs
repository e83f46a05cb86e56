//! Text that somebody else wrote, on its way to a terminal.
//!
//! Pod names, recipe texts, log lines, file names and a guest's output are chosen by strangers. A terminal obeys
//! escape sequences in them: it can be told to clear the screen, to move the cursor over a prompt, to rename the
//! window or to answer as if the user had typed. Bidirectional controls and invisible characters make a text read
//! differently from what it says. Therefore such text has a type of its own, [`Untrusted`], that cannot be
//! displayed; it must first be escaped. The same rule in streaming form is [`Neutraliser`], for a guest's output.
//!
//! What is hidden becomes a visible escape (`\u{1b}`) instead of being dropped: a reader should see that something
//! was there. A backslash is left as it is, so the result is for people and cannot be turned back.
//!
//! Rejected: allowing colours. Telling harmless sequences from harmful ones means parsing what each terminal makes
//! of malformed input, and that is where the known attacks sit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most characters of a text in one line of ours.
pub const LINE_MAX: usize = 240;

/// Most characters of a text of several lines.
pub const BLOCK_MAX: usize = 16 * 1024;

/// Most characters of a stranger's text quoted in one of our error messages.
const QUOTE_MAX: usize = 80;

/// Text from a recipe, a guest, a provider or a server. It has no `Display`: show it with
/// [`escaped`](Self::escaped) or [`block`](Self::block).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Untrusted(String);

impl Untrusted {
    /// Marks a text as somebody else's.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as it came: for comparing, storing and handing back to a program, never for showing.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// The text as it came, owned.
    #[must_use]
    pub fn into_raw(self) -> String {
        self.0
    }

    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One line that is safe to show, cut at [`LINE_MAX`] characters of the original.
    #[must_use]
    pub fn escaped(&self) -> String {
        escape(&self.0, LINE_MAX, Lines::One)
    }

    /// One line that is safe to show, cut at `most` characters of the original.
    #[must_use]
    pub fn escaped_within(&self, most: usize) -> String {
        escape(&self.0, most, Lines::One)
    }

    /// Several lines that are safe to show: line feeds and tabs stay. Cut at [`BLOCK_MAX`] characters.
    #[must_use]
    pub fn block(&self) -> String {
        escape(&self.0, BLOCK_MAX, Lines::Many)
    }
}

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Untrusted({})", quote(&self.0))
    }
}

impl From<String> for Untrusted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A stranger's text in quotation marks, escaped and cut short, for an error message.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("\"{}\"", escape(text, QUOTE_MAX, Lines::One))
}

/// Whether a character would not be seen, or would change how its neighbours are seen.
///
/// The set: controls (C0, DEL, C1), Unicode's default-ignorable characters (zero-width, fillers, variation
/// selectors, tags), all bidirectional controls, line and paragraph separators, interlinear annotation, and
/// noncharacters. Spaces of all widths are not in it.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}'
    ) || (c as u32) & 0xfffe == 0xfffe
}

#[derive(Clone, Copy, PartialEq)]
enum Lines {
    One,
    Many,
}

fn escape(text: &str, most: usize, lines: Lines) -> String {
    let mut out = String::with_capacity(text.len().min(most.saturating_mul(4)));
    let mut chars = text.chars();
    for c in chars.by_ref().take(most) {
        match c {
            '\n' | '\t' if lines == Lines::Many => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if is_hidden(c) => out.extend(c.escape_unicode()),
            _ => out.push(c),
        }
    }
    let rest = chars.count();
    if rest > 0 {
        out.push_str(&format!("… ({rest} more characters)"));
    }
    out
}

/// Makes a stream of bytes safe to show, chunk by chunk.
///
/// Line feeds and tabs pass, a carriage return before a line feed is dropped. Hidden characters become `\u{..}`,
/// bytes that are not UTF-8 become `\x..`. A character split between two chunks is put together again.
#[derive(Debug, Default)]
pub struct Neutraliser {
    /// The first bytes of a character whose rest has not come yet; never more than 3.
    pending: Vec<u8>,
    /// A carriage return was the last byte seen.
    carriage_return: bool,
}

impl Neutraliser {
    /// A neutraliser at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the safe form of `chunk` to `out`. One byte in gives at most 8 bytes out.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.pending.is_empty() {
            self.consume(chunk, out);
        } else {
            let mut joined = std::mem::take(&mut self.pending);
            joined.extend_from_slice(chunk);
            self.consume(&joined, out);
        }
    }

    /// Appends what was still held back, at the end of the stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        for byte in std::mem::take(&mut self.pending) {
            self.invalid(byte, out);
        }
        self.settle_carriage_return(out);
    }

    fn consume(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        loop {
            match std::str::from_utf8(bytes) {
                Ok(text) => return self.text(text, out),
                Err(error) => {
                    let (valid, rest) = bytes.split_at(error.valid_up_to());
                    // `valid_up_to` says that this part is UTF-8, so the empty text is never taken.
                    self.text(std::str::from_utf8(valid).unwrap_or_default(), out);
                    let Some(length) = error.error_len() else {
                        self.pending.extend_from_slice(rest);
                        return;
                    };
                    for &byte in &rest[..length] {
                        self.invalid(byte, out);
                    }
                    bytes = &rest[length..];
                }
            }
        }
    }

    fn text(&mut self, mut text: &str, out: &mut Vec<u8>) {
        while !text.is_empty() {
            // The common case, a run of printable ASCII, is copied in one piece.
            let plain = text
                .bytes()
                .take_while(|b| matches!(b, b' '..=b'~' | b'\t'))
                .count();
            if plain > 0 {
                self.settle_carriage_return(out);
                out.extend_from_slice(&text.as_bytes()[..plain]);
                text = &text[plain..];
                continue;
            }
            let mut chars = text.chars();
            if let Some(c) = chars.next() {
                self.character(c, out);
            }
            text = chars.as_str();
        }
    }

    fn character(&mut self, c: char, out: &mut Vec<u8>) {
        match c {
            '\n' => {
                self.carriage_return = false;
                out.push(b'\n');
            }
            '\r' => {
                self.settle_carriage_return(out);
                self.carriage_return = true;
            }
            _ => {
                self.settle_carriage_return(out);
                if is_hidden(c) {
                    out.extend(c.escape_unicode().map(|c| c as u8));
                } else {
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }

    fn invalid(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.settle_carriage_return(out);
        out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
    }

    /// A carriage return that no line feed followed would let the next text overwrite the line.
    fn settle_carriage_return(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.carriage_return) {
            out.extend_from_slice(b"\\r");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neutral(chunks: &[&[u8]]) -> String {
        let mut neutraliser = Neutraliser::new();
        let mut out = Vec::new();
        for chunk in chunks {
            neutraliser.push(chunk, &mut out);
        }
        neutraliser.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escape_sequence_cannot_reach_the_terminal() {
        let text = Untrusted::new("\u{1b}[2J\u{1b}]0;owned\u{7}ok\u{9b}31m");
        assert_eq!(
            text.escaped(),
            "\\u{1b}[2J\\u{1b}]0;owned\\u{7}ok\\u{9b}31m"
        );
    }

    #[test]
    fn bidi_override_is_shown() {
        assert_eq!(
            Untrusted::new("safe\u{202e}gpj.exe").escaped(),
            "safe\\u{202e}gpj.exe"
        );
        assert_eq!(
            Untrusted::new("a\u{2066}b\u{2069}").block(),
            "a\\u{2066}b\\u{2069}"
        );
    }

    #[test]
    fn zero_width_and_tag_characters_are_shown() {
        let text = Untrusted::new("a\u{200b}b\u{feff}c\u{e0041}d\u{2060}e\u{ad}f\u{fe0f}");
        let safe = text.escaped();
        assert!(safe.is_ascii(), "{safe}");
    }

    #[test]
    fn line_breaks_cannot_draw_a_second_line() {
        assert_eq!(
            Untrusted::new("a\nb\rc\u{2028}d\u{2029}e\u{85}f").escaped(),
            "a\\nb\\rc\\u{2028}d\\u{2029}e\\u{85}f"
        );
    }

    #[test]
    fn block_keeps_line_feeds_and_tabs_only() {
        assert_eq!(Untrusted::new("a\n\tb\rc\u{c}").block(), "a\n\tb\\rc\\u{c}");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        let shown = Untrusted::new("x".repeat(1_000_000)).escaped();
        assert_eq!(
            shown,
            format!(
                "{}… ({} more characters)",
                "x".repeat(LINE_MAX),
                1_000_000 - LINE_MAX
            )
        );
    }

    #[test]
    fn debug_output_is_escaped_too() {
        assert_eq!(
            format!("{:?}", Untrusted::new("\u{1b}[m")),
            "Untrusted(\"\\u{1b}[m\")"
        );
    }

    #[test]
    fn ordinary_languages_stay_readable() {
        for text in ["Größe", "渲染", "مرحبا", "שלום", "données à 5 €", "🐇"] {
            assert_eq!(Untrusted::new(text).escaped(), text);
            assert_eq!(neutral(&[text.as_bytes()]), text);
        }
    }

    #[test]
    fn stream_joins_a_character_split_between_chunks() {
        let text = "ä渲🐇\u{202e}\u{1b}!";
        let whole = neutral(&[text.as_bytes()]);
        assert_eq!(whole, "ä渲🐇\\u{202e}\\u{1b}!");
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(neutral(&single), whole);
        for size in 2..7 {
            assert_eq!(
                neutral(&text.as_bytes().chunks(size).collect::<Vec<_>>()),
                whole
            );
        }
    }

    #[test]
    fn stream_shows_invalid_bytes() {
        assert_eq!(
            neutral(&[b"a\xff\xc3", b"\x28b\xf0\x9f"]),
            "a\\xff\\xc3(b\\xf0\\x9f"
        );
    }

    #[test]
    fn stream_cannot_hide_a_control_character_in_a_split() {
        // C1 CSI is two bytes in UTF-8; neither half alone may slip through.
        assert_eq!(neutral(&[b"\xc2", b"\x9b31m"]), "\\u{9b}31m");
    }

    #[test]
    fn stream_carriage_return_cannot_overwrite_a_line() {
        assert_eq!(
            neutral(&[b"one\r\ntwo\r", b"\nthree\rover", b"\r"]),
            "one\ntwo\nthree\\rover\\r"
        );
        assert_eq!(neutral(&[b"\r\r\n"]), "\\r\n");
    }

    #[test]
    fn every_byte_pair_comes_out_printable() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let safe = neutral(&[&[first], &[second]]);
                assert!(
                    safe.chars()
                        .all(|c| c == '\n' || c == '\t' || !is_hidden(c)),
                    "{first:02x} {second:02x}"
                );
            }
        }
    }
}
