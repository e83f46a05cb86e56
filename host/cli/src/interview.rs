//! Several questions, one line each, until every answer is clear.
//!
//! The original takes whatever it does not understand for the default. Here an answer that is unclear, or that would make
//! something invalid, is asked for again with the reason. Nothing is granted by these answers, so what was typed ahead
//! counts, unlike at a [`Prompt`](crate::prompt::Prompt).

use sovr_capability::text::is_hidden;

use crate::failure::Stopped;
use crate::output::{CARE, FAINT, Paint, STRONG};
use crate::prompt::Console;
use crate::wrap;

/// Longer answers are refused; a terminal does not hand out longer lines.
const LONGEST: usize = 4096;

/// Questions on a console.
#[derive(Debug)]
pub(crate) struct Interview<C> {
    console: C,
    paint: Paint,
    width: Option<usize>,
}

impl<C: Console> Interview<C> {
    /// Nothing is asked yet. Problems are broken at `width` columns.
    pub(crate) fn new(console: C, paint: Paint, width: Option<usize>) -> Interview<C> {
        Interview {
            console,
            paint,
            width,
        }
    }

    /// Says something that is no question.
    pub(crate) fn say(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.console.show(&format!("{text}\n"))?)
    }

    /// One line without the spaces around it, or `default` for an empty one. What `check` finds fault with is asked again.
    pub(crate) fn line<T>(
        &mut self,
        question: &str,
        default: &str,
        mut check: impl FnMut(&str) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        let asked = self.paint.paint(STRONG, question);
        let asked = match default {
            "" => format!("{asked}: "),
            default => format!(
                "{asked} {}: ",
                self.paint.paint(FAINT, format_args!("[{default}]"))
            ),
        };
        loop {
            self.console.show(&asked)?;
            let checked = self.read()?.and_then(|answer| match answer.as_str() {
                "" => check(default),
                answer => check(answer),
            });
            match checked {
                Ok(answer) => return Ok(answer),
                Err(problem) => self.problem(&problem)?,
            }
        }
    }

    /// Says what is wrong with an answer.
    pub(crate) fn problem(&mut self, problem: &str) -> anyhow::Result<()> {
        let lines = problem.lines();
        let lines: String = lines
            .map(|line| wrap::item("  ", line, self.width))
            .collect();
        let problem = self.paint.paint(CARE, lines.trim_end_matches('\n'));
        self.say(&problem)
    }

    /// One of several words, or the beginning of one; the first is the default.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        question: &str,
        choices: [(&str, T); 2],
    ) -> anyhow::Result<T> {
        self.line(question, choices[0].0, |answer| {
            let answer = answer.to_lowercase();
            let mut fitting = choices.iter().filter(|(word, _)| word.starts_with(&answer));
            match (fitting.next(), fitting.next()) {
                (Some((_, choice)), None) => Ok(*choice),
                _ => Err(format!(
                    "please answer {} or {}",
                    choices[0].0, choices[1].0
                )),
            }
        })
    }

    /// Yes or no.
    pub(crate) fn yes(&mut self, question: &str, default: bool) -> anyhow::Result<bool> {
        let (yes, no) = (("yes", true), ("no", false));
        self.choice(question, if default { [yes, no] } else { [no, yes] })
    }

    /// A line, or what is wrong with it.
    fn read(&mut self) -> anyhow::Result<Result<String, String>> {
        let ended = || {
            Stopped::Interrupted("the answers ended before the last question, so nothing was made")
        };
        let line = self.console.read_line(LONGEST)?.ok_or_else(ended)?;
        let mut rest = line.len();
        while rest >= LONGEST {
            rest = self
                .console
                .read_line(LONGEST)?
                .map_or(0, |rest| rest.len());
        }
        if line.len() >= LONGEST {
            return Ok(Err(format!("an answer has at most {} bytes", LONGEST - 1)));
        }
        let Ok(line) = String::from_utf8(line) else {
            return Ok(Err("the answer is not UTF-8".to_owned()));
        };
        let answer = line.trim();
        Ok(match clean(answer) {
            Ok(()) => Ok(answer.to_owned()),
            Err(problem) => Err(format!("the answer has {problem}; type it again")),
        })
    }
}

/// Whether a text of the user's has nothing hidden in it; else what.
pub(crate) fn clean(text: &str) -> Result<(), String> {
    match text.chars().find(|character| is_hidden(*character)) {
        None => Ok(()),
        Some('\u{1b}') => Err("an escape character, as arrow keys leave it".to_owned()),
        Some(hidden) => Err(format!("the hidden character {}", hidden.escape_unicode())),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;
    use std::io;

    use super::*;

    /// Somebody who has all answers ready.
    #[derive(Debug, Default)]
    pub(crate) struct Script {
        answers: VecDeque<Vec<u8>>,
        pub(crate) shown: String,
    }

    impl Script {
        pub(crate) fn of(answers: &[&str]) -> Script {
            let answers = answers.iter().map(|line| line.as_bytes().to_vec());
            Script {
                answers: answers.collect(),
                shown: String::new(),
            }
        }
    }

    impl Console for &mut Script {
        fn is_interactive(&self) -> bool {
            true
        }

        fn show(&mut self, text: &str) -> io::Result<()> {
            self.shown.push_str(text);
            Ok(())
        }

        fn forget_typed(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn read_line(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
            let Some(mut line) = self.answers.pop_front() else {
                return Ok(None);
            };
            if line.len() >= most {
                let rest = line.split_off(most);
                self.answers.push_front(rest);
            }
            Ok(Some(line))
        }
    }

    fn interview(script: &mut Script) -> Interview<&mut Script> {
        Interview::new(script, Paint(false), None)
    }

    fn taken(answer: &str) -> Result<String, String> {
        Ok(answer.to_owned())
    }

    #[test]
    fn an_empty_answer_is_the_default_and_case_and_inner_spaces_stay() {
        let mut script = Script::of(&["", "  Two  Words /Data.ZIP "]);
        let mut talk = interview(&mut script);
        assert_eq!(talk.line("Version", "1.0", taken).unwrap(), "1.0");
        assert_eq!(
            talk.line("Path", "", taken).unwrap(),
            "Two  Words /Data.ZIP"
        );
        assert_eq!(script.shown, "Version [1.0]: Path: ");
    }

    #[test]
    fn an_unclear_answer_is_asked_again_and_never_the_default() {
        let mut script = Script::of(&["nope", "j", "maybe", "N", "", "TASK"]);
        let mut talk = interview(&mut script);
        assert!(!talk.yes("Public?", true).unwrap());
        assert!(talk.yes("Public?", true).unwrap());
        let kinds = [("pod", 1), ("task", 2)];
        assert_eq!(talk.choice("Pod or task?", kinds).unwrap(), 2);
        assert_eq!(script.shown.matches("please answer yes or no").count(), 3);
    }

    #[test]
    fn an_answer_with_hidden_characters_or_too_long_is_refused() {
        let long = "x".repeat(3 * LONGEST);
        let mut script = Script::of(&["a\u{1b}[A", "a\u{202e}b", &long, "good"]);
        let mut talk = interview(&mut script);
        assert_eq!(talk.line("Author", "", taken).unwrap(), "good");
        for words in ["an escape character", "\\u{202e}", "at most 4095 bytes"] {
            assert!(script.shown.contains(words), "{}", script.shown);
        }
        assert!(!script.shown.contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn the_end_of_the_answers_ends_the_questions() {
        let mut script = Script::of(&["nope"]);
        let error = interview(&mut script).yes("Public?", true).unwrap_err();
        assert!(error.is::<Stopped>(), "{error}");
    }
}
