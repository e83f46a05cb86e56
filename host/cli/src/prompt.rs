//! Asks the user, or refuses to.
//!
//! Nothing here believes what it shows: the caller neutralises every text of the pod first, and a text too long to
//! be read is refused instead of scrolled past. The default of the trait denies, so a build, a test or an
//! embedding that forgets to say how to ask gets a no.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcsetattr,
};

/// A screen with more lines than this would scroll its beginning out of sight.
const MOST_LINES: usize = 60;
/// No honest request needs more text than this.
const MOST_BYTES: usize = 8 * 1024;
/// The answer is `y` or `yes`; a line longer than this is something pasted.
const LONGEST_ANSWER: usize = 16;

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The user said yes, in so many words.
    Yes,
    /// The user said no, or something unclear.
    No,
    /// The question was not asked, for this reason.
    NotAsked(&'static str),
}

/// Puts a question to the user.
pub(crate) trait Prompt {
    /// Shows `screen`, asks `question`, takes the answer.
    fn ask(&mut self, screen: &str, question: &str) -> Answer {
        let _ = (screen, question);
        Answer::NotAsked("nobody can be asked here")
    }
}

/// The keyboard and the screen; a trait so that the rules above can be tested without a terminal.
pub(crate) trait Console {
    /// Whether a person is at both ends: what is shown can be read, what is read was typed.
    fn is_interactive(&self) -> bool;
    /// Shows text.
    fn show(&mut self, text: &str) -> io::Result<()>;
    /// Throws away what was typed before now.
    fn forget_typed(&mut self) -> io::Result<()>;
    /// Reads up to `most` bytes of one line; none at the end of the input.
    fn read_line(&mut self, most: usize) -> io::Result<Option<Vec<u8>>>;
}

/// Asks on a console, once.
#[derive(Debug)]
pub(crate) struct ConsolePrompt<C> {
    console: C,
    asked: bool,
}

impl<C: Console> ConsolePrompt<C> {
    /// A prompt that has not asked yet.
    pub(crate) fn new(console: C) -> ConsolePrompt<C> {
        ConsolePrompt {
            console,
            asked: false,
        }
    }

    fn take_answer(&mut self, screen: &str, question: &str) -> io::Result<Answer> {
        self.console.show(&format!("{screen}\n"))?;
        // Between the text and the question: what was typed before the question was no answer to it, and what is
        // typed after it is.
        self.console.forget_typed()?;
        self.console.show(&format!("{question} [y/N] "))?;
        let line = self.console.read_line(LONGEST_ANSWER)?.unwrap_or_default();
        if line.len() >= LONGEST_ANSWER {
            // Something pasted; its rest must not reach the shell either.
            self.console.forget_typed()?;
            return Ok(Answer::No);
        }
        let answer = line.trim_ascii();
        Ok(
            if answer.eq_ignore_ascii_case(b"y") || answer.eq_ignore_ascii_case(b"yes") {
                Answer::Yes
            } else {
                Answer::No
            },
        )
    }
}

impl<C: Console> Prompt for ConsolePrompt<C> {
    fn ask(&mut self, screen: &str, question: &str) -> Answer {
        if self.asked {
            return Answer::NotAsked("only one question is asked per run");
        }
        if !self.console.is_interactive() {
            return Answer::NotAsked("standard input and standard error are not both a terminal");
        }
        if screen.len() > MOST_BYTES || screen.lines().count() > MOST_LINES {
            return Answer::NotAsked("what the pod asks for is too long to be shown on one screen");
        }
        self.asked = true;
        self.take_answer(screen, question)
            .unwrap_or(Answer::NotAsked("the terminal does not work"))
    }
}

/// Standard input and standard error of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StandardConsole;

impl Console for StandardConsole {
    fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn show(&mut self, text: &str) -> io::Result<()> {
        let mut stderr = io::stderr();
        stderr.write_all(text.as_bytes())?;
        stderr.flush()
    }

    fn forget_typed(&mut self) -> io::Result<()> {
        Ok(tcflush(io::stdin(), QueueSelector::IFlush)?)
    }

    fn read_line(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        for byte in io::stdin().lock().take(most as u64).bytes() {
            match byte? {
                b'\n' => return Ok(Some(line)),
                byte => line.push(byte),
            }
        }
        Ok((!line.is_empty()).then_some(line))
    }
}

impl StandardConsole {
    /// Asks for a line that is not shown while it is typed. What was typed before is thrown away.
    ///
    /// # Errors
    /// `Interrupted` for Ctrl-C and for the end of the input, `InvalidData` for a line with more than `most` bytes or
    /// one that is not UTF-8, or what the terminal says.
    pub(crate) fn ask_hidden(&mut self, question: &str, most: usize) -> io::Result<String> {
        let quiet = Quiet::begin()?;
        self.show(question)?;
        let line = typed(io::stdin().lock(), most);
        drop(quiet);
        // The line end that was typed was not shown either.
        self.show("\n")?;
        line
    }
}

/// A terminal that shows nothing and passes on every key as it is struck, until it is dropped. Ctrl-C is a key then:
/// a signal would end the program with the terminal as it is.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Quiet> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// One line from single keys, with the keys that correct it.
fn typed(keys: impl BufRead, most: usize) -> io::Result<String> {
    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const CTRL_U: u8 = 21;
    const BACKSPACE: [u8; 2] = [8, 127];
    let mut line = Vec::new();
    for key in keys.bytes() {
        match key? {
            b'\n' | b'\r' => {
                return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into());
            }
            CTRL_C => return Err(io::ErrorKind::Interrupted.into()),
            CTRL_D if line.is_empty() => return Err(io::ErrorKind::Interrupted.into()),
            CTRL_D => {}
            CTRL_U => line.clear(),
            key if BACKSPACE.contains(&key) => {
                // A character of several bytes goes as a whole.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            key => line.push(key),
        }
        if line.len() > most {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A person who types `early` before the question and `answer` after it.
    #[derive(Default)]
    struct Person {
        absent: bool,
        early: &'static str,
        answer: &'static str,
        typed: Vec<u8>,
        shown: String,
    }

    impl Console for &mut Person {
        fn is_interactive(&self) -> bool {
            !self.absent
        }

        fn show(&mut self, text: &str) -> io::Result<()> {
            self.typed
                .extend(std::mem::take(&mut self.early).as_bytes());
            self.shown.push_str(text);
            Ok(())
        }

        fn forget_typed(&mut self) -> io::Result<()> {
            self.typed.clear();
            Ok(())
        }

        fn read_line(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
            self.typed.extend(self.answer.as_bytes());
            let typed = self.typed.iter().copied();
            let line: Vec<u8> = typed.take_while(|byte| *byte != b'\n').take(most).collect();
            Ok((!self.typed.is_empty()).then_some(line))
        }
    }

    fn ask(person: &mut Person) -> Answer {
        ConsolePrompt::new(person).ask("a pod\n", "Run it?")
    }

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        for answer in ["y\n", "Y\n", "yes\n", " YES \n"] {
            assert_eq!(
                ask(&mut Person {
                    answer,
                    ..Person::default()
                }),
                Answer::Yes,
                "{answer:?}"
            );
        }
        for answer in [
            "",
            "\n",
            "n\n",
            "no\n",
            "j\n",
            "yy\n",
            "yes please\n",
            "y\u{1b}[A\n",
            "y                 es\n",
        ] {
            assert_eq!(
                ask(&mut Person {
                    answer,
                    ..Person::default()
                }),
                Answer::No,
                "{answer:?}"
            );
        }
    }

    #[test]
    fn what_was_typed_before_the_question_does_not_answer_it() {
        let mut hasty = Person {
            early: "y\n",
            answer: "\n",
            ..Person::default()
        };
        assert_eq!(ask(&mut hasty), Answer::No);
    }

    #[test]
    fn without_a_person_nothing_is_shown_or_granted() {
        let mut pipe = Person {
            absent: true,
            answer: "y\n",
            ..Person::default()
        };
        assert!(matches!(ask(&mut pipe), Answer::NotAsked(_)));
        assert_eq!(pipe.shown, "");
    }

    #[test]
    fn a_text_too_long_to_read_is_not_asked() {
        for screen in ["line\n".repeat(MOST_LINES + 1), "x".repeat(MOST_BYTES + 1)] {
            let mut person = Person {
                answer: "y\n",
                ..Person::default()
            };
            let answer = ConsolePrompt::new(&mut person).ask(&screen, "Run it?");
            assert!(matches!(answer, Answer::NotAsked(_)));
            assert_eq!(person.shown, "");
        }
    }

    #[test]
    fn a_second_question_is_not_asked() {
        let mut person = Person {
            answer: "y\n",
            ..Person::default()
        };
        let mut prompt = ConsolePrompt::new(&mut person);
        assert_eq!(prompt.ask("a pod\n", "Run it?"), Answer::Yes);
        assert!(matches!(
            prompt.ask("a pod\n", "Run it?"),
            Answer::NotAsked(_)
        ));
    }

    #[test]
    fn a_hidden_line_can_be_corrected_and_given_up() {
        let line = |keys: &[u8]| typed(keys, 8).map_err(|error| error.kind());
        assert_eq!(line(b"secret\rmore").unwrap(), "secret");
        assert_eq!(line(b"sec\x7f\x7fe\n").unwrap(), "se");
        assert_eq!(line("aü\x7fb\n".as_bytes()).unwrap(), "ab");
        assert_eq!(line(b"\x7f\x08wrong\x15right\n").unwrap(), "right");
        assert_eq!(line(b" a\tb \n").unwrap(), " a\tb ");
        for given_up in [&b"sec\x03"[..], b"\x04", b"sec", b""] {
            assert_eq!(line(given_up), Err(io::ErrorKind::Interrupted));
        }
        for no_line in [&b"123456789\n"[..], b"\xff\n"] {
            assert_eq!(line(no_line), Err(io::ErrorKind::InvalidData));
        }
    }

    #[test]
    fn the_default_denies() {
        struct Forgotten;
        impl Prompt for Forgotten {}
        assert!(matches!(
            Forgotten.ask("a pod\n", "Run it?"),
            Answer::NotAsked(_)
        ));
    }
}
