//! What a pod prints, cut into whole lines that are safe to show.
//!
//! Half a line on the screen would be mixed up with lines of ours and with bars, so it waits for its end.

use sovr_capability::text::Neutraliser;

/// A line that is longer than this is shown in pieces.
const LONGEST: usize = 64 * 1024;

/// One standard stream of the pod.
#[derive(Debug, Default)]
pub(crate) struct Text {
    neutraliser: Neutraliser,
    held: Vec<u8>,
}

impl Text {
    /// Takes a chunk; gives the lines that are complete now, each with its line feed.
    pub(crate) fn push(&mut self, chunk: &str) -> Vec<u8> {
        self.neutraliser.push(chunk.as_bytes(), &mut self.held);
        match self.held.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                let rest = self.held.split_off(end + 1);
                std::mem::replace(&mut self.held, rest)
            }
            None if self.held.len() > LONGEST => self.take(),
            None => Vec::new(),
        }
    }

    /// The rest at the end of the stream, with a line feed.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.neutraliser).finish(&mut self.held);
        self.take()
    }

    fn take(&mut self) -> Vec<u8> {
        if !self.held.is_empty() {
            self.held.push(b'\n');
        }
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole() {
        let mut text = Text::default();
        assert_eq!(text.push("one\ntw"), b"one\n");
        assert_eq!(text.push(""), b"");
        assert_eq!(text.push("o\nthree\nfo"), b"two\nthree\n");
        assert_eq!(text.finish(), b"fo\n");
        assert_eq!(text.finish(), b"");
    }

    #[test]
    fn a_line_without_end_is_not_kept_for_ever() {
        let mut text = Text::default();
        let shown: usize = (0..100).map(|_| text.push(&"x".repeat(10_000)).len()).sum();
        assert!(shown > 900_000);
        assert!(text.held.len() <= LONGEST + 10_000);
    }

    #[test]
    fn a_terminal_is_not_commanded() {
        let mut text = Text::default();
        assert_eq!(text.push("a\u{1b}[2Jb\rc\n"), b"a\\u{1b}[2Jb\\rc\n");
    }
}
