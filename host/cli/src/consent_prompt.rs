//! The question whether a pod may have what it asks for, in plain words.

use std::io;

use sovr_broker::{Answer, Ask, Question};

use crate::output::{CARE, Output, Paint, STRONG};
use crate::prompt::{ConsolePrompt, Prompt, StandardConsole};
use crate::{output, prompt, wrap};

/// Asks on the terminal.
#[derive(Debug)]
pub(crate) struct ConsentPrompt<P = ConsolePrompt<StandardConsole>> {
    prompt: P,
    paint: Paint,
    width: Option<usize>,
}

impl ConsentPrompt {
    /// Asks where this invocation talks.
    pub(crate) fn new(output: Output) -> ConsentPrompt {
        ConsentPrompt {
            prompt: ConsolePrompt::new(StandardConsole),
            paint: output.stderr,
            width: output::width(io::stderr()),
        }
    }
}

impl<P: Prompt> Ask for ConsentPrompt<P> {
    fn ask(&mut self, question: &Question) -> Answer {
        let screen = screen(question, self.paint, self.width);
        match self.prompt.ask(&screen, "Run it with these rights?") {
            prompt::Answer::Yes => Answer::Yes,
            prompt::Answer::No => Answer::No,
            prompt::Answer::NotAsked(reason) => Answer::NotAsked(reason.to_owned()),
        }
    }
}

/// Most characters of a pod's own words on the screen of a question.
const NAME: usize = 80;

fn screen(question: &Question, paint: Paint, width: Option<usize>) -> String {
    let pod = paint.paint(STRONG, question.pod.escaped_within(NAME));
    let author = match question.author.escaped_within(NAME) {
        author if author.is_empty() => "by an unnamed author".to_owned(),
        author => format!("by \"{author}\""),
    };
    let mut text = format!("\n{pod} {author} (their own words; nothing vouches for them)\n");
    if question.changed {
        let changed = paint.paint(CARE, "What it asks for has changed since you agreed to it.");
        text.push_str(&format!("{changed}\n"));
    }
    let mut list = |heading: &str, style, lines: &[String]| {
        if !lines.is_empty() {
            text.push_str(&format!("\n{}\n", paint.paint(style, heading)));
            text.extend(lines.iter().map(|line| wrap::item("  - ", line, width)));
        }
    };
    list(
        "If you agree, it may until it ends:",
        STRONG,
        &question.explanation.allowed,
    );
    list(
        "It asks for more than your policy allows, and does not get:",
        output::CARE,
        &question.explanation.narrowed,
    );
    list(
        "It does not ask for, and cannot:",
        STRONG,
        &question.explanation.not_asked,
    );
    text.push_str(&format!(
        "\ncomponent {}\nrequest   {}\n",
        question.component, question.request
    ));
    text
}

#[cfg(test)]
mod tests {
    use sovr_capability::Digest;
    use sovr_capability::explain::Explanation;

    use super::*;

    fn question() -> Question {
        Question {
            pod: "render".into(),
            author: "".into(),
            component: Digest::of("component"),
            request: Digest::of("request"),
            explanation: Explanation {
                allowed: vec!["spend at most 10 GLM".to_owned()],
                narrowed: vec![],
                not_asked: vec!["reach the network".to_owned()],
            },
            changed: false,
        }
    }

    #[test]
    fn the_question_names_what_is_granted_and_its_digests() {
        let text = screen(&question(), Paint(false), None);
        assert!(text.contains("  - spend at most 10 GLM\n"), "{text}");
        assert!(text.contains(&Digest::of("request").to_string()), "{text}");
        assert!(!text.contains("policy"), "{text}");
    }

    #[test]
    fn a_pod_cannot_draw_on_the_question() {
        let hostile = "\u{1b}[2J\nharmless [y/N] \u{202e}";
        let text = screen(
            &Question {
                pod: hostile.into(),
                author: hostile.into(),
                ..question()
            },
            Paint(false),
            None,
        );
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        assert_eq!(
            text.lines()
                .filter(|line| line.contains("harmless"))
                .count(),
            1
        );
    }

    #[test]
    fn without_a_prompt_the_answer_is_no() {
        struct Nobody;
        impl Prompt for Nobody {}
        let mut prompt = ConsentPrompt {
            prompt: Nobody,
            paint: Paint(false),
            width: None,
        };
        assert!(matches!(prompt.ask(&question()), Answer::NotAsked(_)));
    }
}
