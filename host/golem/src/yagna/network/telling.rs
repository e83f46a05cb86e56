//! Makes one story of the two that a daemon tells of a batch: news as they happen, of which some may be missing, and
//! results, which are whole but come late.
//!
//! Results have the last word. Output that came as news is told at once; what a result has beyond it is told with the
//! result.

use std::collections::VecDeque;

use crate::step::{BatchEvent, CAPTURE, Command, Step, StepResult};
use crate::yagna::activity::{CommandResult, Output, Verdict};
use crate::yagna::stream::{News, NewsKind};

/// News of later commands that are kept until the results of earlier ones are there.
const KEPT: usize = 64;

pub(super) struct Telling {
    /// Whether each command is a program.
    programs: Vec<bool>,
    /// The command whose result is the next to come.
    current: u32,
    /// What was told of its output so far: bytes of each stream.
    told: [usize; 2],
    /// Whether its beginning was heard as news: only then is the output among them whole.
    is_live: bool,
    /// News of later commands.
    kept: VecDeque<News>,
    /// The last command some news of which were thrown away.
    lost: Option<u32>,
}

/// What to do about news.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// To be told.
    pub(super) events: Vec<BatchEvent>,
    /// A command has ended: its result is there, or about to be.
    pub(super) is_over: bool,
}

impl Telling {
    /// The events to begin with.
    pub(super) fn begin(batch: &[Command]) -> (Self, Vec<BatchEvent>) {
        let programs = batch
            .iter()
            .map(|command| matches!(command, Command::Step(Step::Run { .. })))
            .collect();
        let telling = Self {
            programs,
            current: 0,
            told: [0; 2],
            is_live: false,
            kept: VecDeque::new(),
            lost: None,
        };
        (telling, vec![BatchEvent::Started(0)])
    }

    /// The command that runs.
    pub(super) fn current(&self) -> u32 {
        self.current
    }

    /// Whether all commands are done.
    pub(super) fn is_complete(&self) -> bool {
        self.current as usize == self.programs.len()
    }

    /// Takes in news.
    pub(super) fn hear(&mut self, news: News) -> Heard {
        let mut heard = Heard::default();
        if news.index == self.current {
            self.take(news.kind, &mut heard);
        } else if news.index > self.current && (news.index as usize) < self.programs.len() {
            heard.is_over = true;
            if self.kept.len() < KEPT {
                self.kept.push_back(news);
            } else {
                self.lost = self.lost.max(Some(news.index));
            }
        }
        heard
    }

    fn take(&mut self, kind: NewsKind, heard: &mut Heard) {
        match kind {
            NewsKind::Started => self.is_live = self.lost.is_none_or(|lost| lost < self.current),
            NewsKind::Stdout(output) => self.tell(0, &output, heard),
            NewsKind::Stderr(output) => self.tell(1, &output, heard),
            NewsKind::Progress { done, total } => heard.events.push(BatchEvent::Progress {
                step: self.current,
                done,
                total,
            }),
            NewsKind::Finished { .. } => heard.is_over = true,
            NewsKind::Other => {}
        }
    }

    fn tell(&mut self, stream: usize, output: &Output, heard: &mut Heard) {
        let is_program = self.programs.get(self.current as usize) == Some(&true);
        if !self.is_live || !is_program {
            return;
        }
        let text = output.text().into_raw();
        let room = CAPTURE.saturating_sub(self.told[stream]);
        let text = cut(&text, room);
        self.told[stream] += text.len();
        if !text.is_empty() {
            heard.events.push(said(self.current, stream, text));
        }
    }

    /// The result that is the next to be told, if it is there.
    pub(super) fn next<'a>(&self, results: &'a [CommandResult]) -> Option<&'a CommandResult> {
        let is_next = |result: &&CommandResult| result.index == self.current;
        results.iter().find(is_next).filter(|_| !self.is_complete())
    }

    /// What a result adds to the output that was told, and the result itself.
    pub(super) fn result(&self, result: &CommandResult) -> (Vec<BatchEvent>, StepResult) {
        let is_program = self.programs.get(self.current as usize) == Some(&true);
        if !is_program {
            return (Vec::new(), StepResult::default());
        }
        let text = |output: &Option<Output>| {
            let text = output.as_ref().map(|output| output.text().into_raw());
            cut(&text.unwrap_or_default(), CAPTURE).to_owned()
        };
        let (stdout, stderr) = (text(&result.stdout), text(&result.stderr));
        let mut events = Vec::new();
        for (stream, text) in [&stdout, &stderr].into_iter().enumerate() {
            // Where news and results are at odds there is nothing that could be added.
            let rest = text.get(self.told[stream]..).unwrap_or_default();
            if !rest.is_empty() {
                events.push(said(self.current, stream, rest));
            }
        }
        let exit_code = (result.result == Verdict::Ok).then_some(0);
        let result = StepResult {
            stdout,
            stderr,
            exit_code,
            bytes: None,
        };
        (events, result)
    }

    /// The current command is done: goes on to the next.
    pub(super) fn advance(&mut self) -> Vec<BatchEvent> {
        self.current += 1;
        self.told = [0; 2];
        self.is_live = false;
        if self.is_complete() {
            return Vec::new();
        }
        let mut events = vec![BatchEvent::Started(self.current)];
        let kept = std::mem::take(&mut self.kept);
        for news in kept {
            events.extend(self.hear(news).events);
        }
        events
    }
}

fn said(index: u32, stream: usize, text: &str) -> BatchEvent {
    match stream {
        0 => BatchEvent::Stdout(index, text.to_owned()),
        _ => BatchEvent::Stderr(index, text.to_owned()),
    }
}

/// As much of it as there is room for.
fn cut(text: &str, room: usize) -> &str {
    &text[..text.floor_char_boundary(room)]
}

#[cfg(test)]
mod tests {
    use sovr_capability::Untrusted;

    use super::*;

    fn run() -> Command {
        Command::Step(Step::Run {
            program: "p".to_owned(),
            args: Vec::new(),
        })
    }

    fn result(index: u32, stdout: &str) -> CommandResult {
        CommandResult {
            index,
            result: Verdict::Ok,
            stdout: Some(output(stdout)),
            stderr: None,
            message: None,
            is_batch_finished: false,
        }
    }

    fn output(text: &str) -> Output {
        Output::Text(Untrusted::new(text))
    }

    fn news(index: u32, kind: NewsKind) -> News {
        News { index, kind }
    }

    fn printed(index: u32, text: &str) -> News {
        news(index, NewsKind::Stdout(output(text)))
    }

    /// All that is told of a batch of two programs that print these.
    fn told(telling: &mut Telling, what: Vec<News>, results: &[CommandResult]) -> Vec<String> {
        let mut events: Vec<_> = what
            .into_iter()
            .flat_map(|news| telling.hear(news).events)
            .collect();
        while let Some(result) = telling.next(results) {
            let (more, step) = telling.result(result);
            events.extend(more);
            events.push(BatchEvent::Finished(telling.current(), step));
            events.extend(telling.advance());
        }
        let name = |event: BatchEvent| match event {
            BatchEvent::Started(index) => format!("started {index}"),
            BatchEvent::Stdout(index, text) => format!("{index} {text}"),
            BatchEvent::Finished(index, result) => format!("finished {index} {}", result.stdout),
            other => format!("{other:?}"),
        };
        events.into_iter().map(name).collect()
    }

    #[test]
    fn output_is_told_once_whether_it_came_as_news_or_not() {
        let (mut telling, _) = Telling::begin(&[run(), run()]);
        let live = vec![
            news(0, NewsKind::Started),
            printed(0, "ab"),
            news(1, NewsKind::Started),
            printed(1, "c"),
        ];
        let results = [result(0, "abc"), result(1, "cd")];
        assert_eq!(
            told(&mut telling, live, &results),
            [
                "0 ab",
                "0 c",
                "finished 0 abc",
                "started 1",
                "1 c",
                "1 d",
                "finished 1 cd"
            ]
        );
        assert!(telling.is_complete());
        let (mut silent, _) = Telling::begin(&[run(), run()]);
        assert_eq!(
            told(&mut silent, Vec::new(), &results),
            [
                "0 abc",
                "finished 0 abc",
                "started 1",
                "1 cd",
                "finished 1 cd"
            ]
        );
    }

    #[test]
    fn output_whose_beginning_was_missed_is_told_with_the_result() {
        let (mut telling, _) = Telling::begin(&[run()]);
        let results = [result(0, "abc")];
        assert_eq!(
            told(&mut telling, vec![printed(0, "bc")], &results),
            ["0 abc", "finished 0 abc"]
        );
    }

    #[test]
    fn only_so_much_is_kept_and_what_is_thrown_away_is_told_with_the_result() {
        let (mut telling, _) = Telling::begin(&[run(), run()]);
        let mut flood = vec![news(1, NewsKind::Started)];
        flood.extend((0..KEPT + 10).map(|_| printed(1, "x")));
        let all = "x".repeat(KEPT + 10);
        let results = [result(0, ""), result(1, &all)];
        let told = told(&mut telling, flood, &results);
        let text: String = told
            .iter()
            .filter_map(|event| event.strip_prefix("1 "))
            .collect();
        assert_eq!(text, all);
    }

    #[test]
    fn news_of_commands_that_are_none_are_nothing() {
        let (mut telling, _) = Telling::begin(&[run()]);
        let heard = telling.hear(printed(7, "x"));
        assert!(heard.events.is_empty() && telling.kept.is_empty());
        assert!(telling.next(&[result(3, "")]).is_none());
    }
}
