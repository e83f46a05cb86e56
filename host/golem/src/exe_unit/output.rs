//! Turns a program's bytes into text, as they come, up to a cap.

use crate::step::CAPTURE;

/// One stream of one program.
#[derive(Default)]
pub(crate) struct Capture {
    text: String,
    /// The beginning of a character whose rest has not come.
    partial: Vec<u8>,
}

impl Capture {
    /// Takes in bytes, and answers what they add to the text: nothing beyond the cap.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<String> {
        let room = CAPTURE.saturating_sub(self.text.len());
        if room == 0 {
            self.partial.clear();
            return None;
        }
        self.partial
            .extend_from_slice(&bytes[..bytes.len().min(room + 4)]);
        let complete = complete(&self.partial);
        let rest = self.partial.split_off(complete);
        let decoded = String::from_utf8_lossy(&self.partial);
        let more = decoded[..decoded.floor_char_boundary(room)].to_owned();
        // Where the cap was reached, nothing after it is of interest.
        self.partial = if more.len() < decoded.len() {
            Vec::new()
        } else {
            rest
        };
        self.text.push_str(&more);
        (!more.is_empty()).then_some(more)
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        if !self.partial.is_empty()
            && self.text.len() + char::REPLACEMENT_CHARACTER.len_utf8() <= CAPTURE
        {
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        self.text
    }
}

/// How many of these bytes do not end in the middle of a character.
fn complete(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    for start in (tail..bytes.len()).rev() {
        let length = match bytes[start] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let unfinished = start + length > bytes.len();
        // What cannot become a character is complete as the error it is.
        let hopeful =
            std::str::from_utf8(&bytes[start..]).is_err_and(|error| error.error_len().is_none());
        return if unfinished && hopeful {
            start
        } else {
            bytes.len()
        };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_in_pieces_is_put_together() {
        for text in ["é", "€", "🐇", "a€b🐇"] {
            let mut capture = Capture::default();
            let mut streamed = String::new();
            for byte in text.as_bytes() {
                streamed.extend(capture.take(&[*byte]));
            }
            assert_eq!((streamed.as_str(), capture.finish().as_str()), (text, text));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_hold_nothing_up() {
        let mut capture = Capture::default();
        assert_eq!(capture.take(b"a\xff").as_deref(), Some("a\u{fffd}"));
        assert_eq!(capture.take(b"\xe2\x28").as_deref(), Some("\u{fffd}("));
        assert_eq!(capture.take(b"\xe2\x82"), None);
        assert_eq!(capture.finish(), "a\u{fffd}\u{fffd}(\u{fffd}");
    }

    #[test]
    fn nothing_is_kept_beyond_the_cap() {
        let mut capture = Capture::default();
        let mut streamed = 0;
        for _ in 0..5 {
            streamed += capture
                .take(&"€".repeat(CAPTURE / 10).into_bytes())
                .map_or(0, |text| text.len());
        }
        let text = capture.finish();
        assert_eq!(streamed, text.len());
        assert!(
            text.len() <= CAPTURE && text.len() > CAPTURE - 3,
            "{}",
            text.len()
        );
    }
}
