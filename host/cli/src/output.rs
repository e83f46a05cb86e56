//! Where a command's words go: results to stdout, talk to stderr, colours only where somebody looks.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use crate::json;

/// Headings, and what one should not miss.
pub(crate) const STRONG: Style = Style::new().bold();
/// What is less important.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// Errors and high risks.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Warnings and things to look at.
pub(crate) const CARE: Style = AnsiColor::Yellow.on_default().bold();
/// What is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What to do next.
pub(crate) const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// How this invocation talks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Reports are JSON on stdout.
    pub json: bool,
    /// Only results and errors.
    pub quiet: bool,
    /// Colours on stdout.
    pub stdout: Paint,
    /// Colours on stderr.
    pub stderr: Paint,
}

impl Output {
    /// Decides on colours: the flag first, then `NO_COLOR` and a terminal that cannot, then whether it is a terminal.
    pub(crate) fn new(color: ColorChoice, json: bool, quiet: bool) -> Output {
        let paint = |is_terminal: bool| match color {
            ColorChoice::Always => Paint(true),
            ColorChoice::Never => Paint(false),
            ColorChoice::Auto => Paint(is_terminal && environment_allows_color()),
        };
        Output {
            json,
            quiet,
            stdout: paint(io::stdout().is_terminal()),
            stderr: paint(io::stderr().is_terminal()),
        }
    }

    /// Prints a result.
    pub(crate) fn result(&self, text: impl Display) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        write!(stdout, "{text}")?;
        stdout.flush()
    }

    /// Columns of the terminal on standard output; none if it is no terminal.
    pub(crate) fn width(&self) -> Option<usize> {
        width(io::stdout())
    }

    /// Prints a result as a JSON document.
    pub(crate) fn document(&self, value: &impl Serialize) -> io::Result<()> {
        self.result(json::document(value)? + "\n")
    }

    /// Says something that is no result; left out with `--quiet`. That nobody listens is no reason to fail.
    pub(crate) fn say(&self, text: impl Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Says what is odd but no error, even with `--quiet`.
    pub(crate) fn warn(&self, text: impl Display) {
        let label = self.stderr.paint(CARE, "warning");
        let _ = writeln!(io::stderr().lock(), "{label}: {text}");
    }
}

/// Columns of a terminal; none if it is no terminal, or one that does not know.
pub(crate) fn width(stream: impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

fn environment_allows_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint(pub bool);

impl Paint {
    /// `text` in a style, or as it is.
    pub(crate) fn paint(self, style: Style, text: impl Display) -> String {
        if self.0 {
            format!("{style}{text}{style:#}")
        } else {
            text.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paint_leaves_nothing_behind() {
        assert_eq!(Paint(true).paint(STRONG, "pod"), "\u{1b}[1mpod\u{1b}[0m");
        assert_eq!(Paint(false).paint(STRONG, "pod"), "pod");
    }
}
