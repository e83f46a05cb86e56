//! Long sentences, broken between words where a terminal would break them anywhere.

use unicode_width::UnicodeWidthStr;

/// Below this many columns breaking makes things worse.
const NARROWEST: usize = 30;

/// `mark` and `text`, later lines below the text's beginning, broken at so many columns; with a line feed.
pub(crate) fn item(mark: &str, text: &str, width: Option<usize>) -> String {
    let indent = " ".repeat(mark.width());
    let most = width.filter(|width| *width >= NARROWEST);
    let mut lines = String::from(mark);
    let mut used = mark.width();
    let mut first = true;
    for word in text.split(' ') {
        let needed = word.width() + usize::from(!first);
        if !first && most.is_some_and(|most| used + needed > most) {
            lines.push('\n');
            lines.push_str(&indent);
            used = indent.len();
            first = true;
        }
        if !first {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += word.width();
        first = false;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_hang() {
        let text = "spend up to 1 GLM on Golem providers, in up to 1 task";
        assert_eq!(
            item("  - ", text, Some(32)),
            "  - spend up to 1 GLM on Golem\n    providers, in up to 1 task\n"
        );
    }

    #[test]
    fn without_a_terminal_nothing_breaks() {
        let text = "word ".repeat(100);
        assert_eq!(item("", text.trim_end(), None).lines().count(), 1);
        assert_eq!(item("", text.trim_end(), Some(3)).lines().count(), 1);
    }

    #[test]
    fn a_word_that_is_too_long_keeps_its_line() {
        let long = "x".repeat(64);
        assert_eq!(
            item("  ", &format!("a {long} b"), Some(40)),
            format!("  a\n  {long}\n  b\n")
        );
    }

    #[test]
    fn widths_are_those_of_a_terminal() {
        assert_eq!(
            item("", "画像画像画像 画像画像画像 画像画像画像", Some(30))
                .lines()
                .count(),
            2
        );
    }
}
