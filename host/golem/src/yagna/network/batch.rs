//! One batch, from the files it needs to its end.
//!
//! Results are asked for over and over until they are whole, and news are listened to beside that: from the beginning
//! if somebody watches, and otherwise when a batch takes long. A stream of news is a connection of its own, which the
//! daemon does not end with the batch, and each of its events comes from the provider by itself, so for a short batch it
//! would cost more than all the rest. What fails for a moment is tried again, as long as the activity is not known to
//! have ended; where in the list of results one is does not depend on what was asked before, so nothing is told twice.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::activity::Life;
use super::telling::{Heard, Telling};
use crate::failure::{Failure, FailureKind};
use crate::network::Attention;
use crate::step::{BatchEvent, CAPTURE, Command, MOST_BYTES, Step, StepResult};
use crate::timing::until;
use crate::transfer::{Partial, Sink};
use crate::yagna::activity::{
    ActivityState, Capture, CommandResult, Instruction, ProgressArgs, Verdict,
};
use crate::yagna::error::{DaemonError, ErrorKind};
use crate::yagna::files::{FilesError, Progress, Receiving, Sending};
use crate::yagna::pace::Pace;
use crate::yagna::stream::News;

/// How long the daemon is asked to wait for results.
const POLL: Duration = Duration::from_secs(5);
/// Before a batch that was not taken is started again.
const PAUSE: Duration = Duration::from_secs(1);
/// Without a watcher there are news of a batch that takes longer than this.
const LONG: Duration = Duration::from_secs(1);
/// News that wait.
const NEWS: usize = 64;
/// Files of a batch that are made ready at a time.
const AT_ONCE: usize = 8;
/// A result that was announced is looked for after this.
const SOON: Duration = Duration::from_millis(20);
/// A package is large, and how much of it has come is news.
const EACH_SECOND: ProgressArgs = ProgressArgs {
    update_interval: "1s",
};

pub(super) struct Batch {
    life: Arc<Life>,
    commands: Vec<Command>,
    attention: Attention,
    files: Vec<File>,
    /// Files that are being served no more.
    ends: JoinSet<()>,
    events: mpsc::Sender<BatchEvent>,
    stop: watch::Receiver<bool>,
}

/// What a command needs of files here.
#[derive(Default)]
enum File {
    #[default]
    None,
    Out(Sending),
    In(Receiving, Option<Memory>),
}

impl File {
    fn progress(&self) -> Option<watch::Receiver<Progress>> {
        match self {
            Self::None => None,
            Self::Out(sending) => Some(sending.progress()),
            Self::In(receiving, _) => Some(receiving.progress()),
        }
    }

    /// Waits until the transfer cannot succeed any more; else for ever.
    async fn failed(&self) -> FilesError {
        match self {
            Self::None => std::future::pending().await,
            Self::Out(sending) => sending.failed().await,
            Self::In(receiving, _) => receiving.failed().await,
        }
    }
}

type Poll = Pin<Box<dyn Future<Output = Result<Vec<CommandResult>, DaemonError>> + Send>>;

/// What the batch waits for.
enum Occurrence {
    Stopped,
    News(Option<News>),
    Results(Result<Vec<CommandResult>, DaemonError>),
    Looked(Result<Vec<CommandResult>, DaemonError>),
    Long,
    Moved(Progress),
    Broken,
}

/// Where occurrences come from.
struct Ears {
    /// Waits for results at the daemon.
    poll: Poll,
    /// Looks for a result that was announced. The poll is not given up for it: that would cost its connection.
    look: Option<Poll>,
    news: Option<mpsc::Receiver<News>>,
    /// Hears the news; ends when this is dropped.
    follower: JoinSet<()>,
    /// When news are to be listened to, if they are not yet.
    follow_at: Option<Instant>,
    moving: Moving,
}

/// How far the transfer of the current command is.
#[derive(Default)]
struct Moving {
    command: Option<u32>,
    progress: Option<watch::Receiver<Progress>>,
}

impl Moving {
    fn follow(&mut self, command: u32, file: Option<&File>) {
        if self.command != Some(command) {
            self.command = Some(command);
            self.progress = file.and_then(File::progress);
        }
    }

    /// Waits until it has moved on.
    async fn next(&mut self) -> Progress {
        if let Some(progress) = &mut self.progress
            && progress.changed().await.is_ok()
        {
            return *progress.borrow_and_update();
        }
        std::future::pending().await
    }
}

impl Batch {
    pub(super) fn new(
        life: Arc<Life>,
        commands: Vec<Command>,
        attention: Attention,
        events: mpsc::Sender<BatchEvent>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            life,
            commands,
            attention,
            files: Vec::new(),
            ends: JoinSet::new(),
            events,
            stop,
        }
    }

    /// Does it. When this has returned, no file is touched any more.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        let result = match self.commands.is_empty() {
            true => Ok(()),
            false => self.carry_out().await,
        };
        for file in self.files {
            if let File::Out(sending) = file {
                self.ends.spawn(sending.end());
            }
        }
        while self.ends.join_next().await.is_some() {}
        result
    }

    async fn carry_out(&mut self) -> Result<(), Failure> {
        let instructions = self.prepare().await?;
        let batch = self.start(&instructions).await?;
        let mut pace = Pace::default();
        let mut ears = Ears {
            poll: self.poll(&batch, POLL, pace.turn()),
            look: None,
            news: None,
            follower: JoinSet::new(),
            follow_at: Some(Instant::now() + LONG),
            moving: Moving::default(),
        };
        if self.attention == Attention::Live {
            self.follow(&batch, &mut ears);
        }
        let (mut telling, begin) = Telling::begin(&self.commands);
        self.tell_all(begin).await?;
        let mut broken: Option<(u32, Instant)> = None;
        let mut failing: Option<Instant> = None;
        loop {
            let given_up = broken.map(|(step, _)| step);
            match self.wait(&telling, &mut ears, given_up).await {
                Occurrence::Stopped => return Err(self.stopped()),
                // The provider is told, or its connection is gone; either way it has something to say in a while.
                Occurrence::Broken => broken = Some((telling.current(), Instant::now())),
                Occurrence::Moved(Progress { done, total }) => {
                    let step = telling.current();
                    self.tell(BatchEvent::Progress { step, done, total })
                        .await?;
                }
                Occurrence::Long => self.follow(&batch, &mut ears),
                Occurrence::News(None) => ears.news = None,
                Occurrence::News(Some(heard)) => {
                    let Heard { events, is_over } = telling.hear(heard);
                    self.tell_all(events).await?;
                    // In a moment: it may be the end of the batch, for which the daemon is being asked already.
                    if is_over && ears.look.is_none() {
                        ears.look =
                            Some(self.poll(&batch, Duration::ZERO, tokio::time::sleep(SOON)));
                    }
                }
                // Failures are for the poll to tell, and what is not there yet it will bring.
                Occurrence::Looked(results) => {
                    ears.look = None;
                    if let Ok(results) = results
                        && let Some(end) = self.take(&mut telling, &results).await?
                    {
                        return end;
                    }
                }
                Occurrence::Results(Ok(results)) => {
                    failing = None;
                    let before = telling.current();
                    if let Some(end) = self.take(&mut telling, &results).await? {
                        return end;
                    }
                    if let Some((step, since)) = broken
                        && step == telling.current()
                        && since.elapsed() >= self.life.session.settings.waits.lost
                    {
                        let reason = self.broken(step);
                        return Err(self.at(&telling, FailureKind::ProviderLost, reason));
                    }
                    if telling.current() != before {
                        pace.go_on();
                    }
                    ears.poll = self.poll(&batch, POLL, pace.turn());
                }
                Occurrence::Results(Err(error)) => {
                    let since = *failing.get_or_insert_with(Instant::now);
                    if let Some(reason) = self.is_lost(&error, since).await {
                        return Err(self.at(&telling, FailureKind::ProviderLost, reason));
                    }
                    ears.poll = self.poll(&batch, POLL, pace.turn());
                }
            }
        }
    }

    /// Waits for whatever comes first.
    async fn wait(
        &mut self,
        telling: &Telling,
        ears: &mut Ears,
        broken: Option<u32>,
    ) -> Occurrence {
        let current = self.files.get(telling.current() as usize);
        ears.moving.follow(telling.current(), current);
        let whole = current.filter(|_| broken != Some(telling.current()));
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => Occurrence::Stopped,
            () = self.events.closed() => Occurrence::Stopped,
            results = &mut ears.poll => Occurrence::Results(results),
            heard = next(&mut ears.news) => Occurrence::News(heard),
            results = looked(&mut ears.look) => Occurrence::Looked(results),
            () = until(ears.follow_at) => Occurrence::Long,
            progress = ears.moving.next() => Occurrence::Moved(progress),
            () = breaks(whole) => Occurrence::Broken,
        }
    }

    /// Opens what the commands need of files, and writes them as the daemon reads them.
    async fn prepare(&mut self) -> Result<Vec<Instruction>, Failure> {
        let mut stop = self.stop.clone();
        let commands = self.commands.iter();
        let preparing: Vec<_> = commands
            .map(|command| prepare(&self.life, command))
            .collect();
        let prepared: Vec<_> = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Err(self.stopped()),
            prepared = stream::iter(preparing).buffered(AT_ONCE).collect() => prepared,
        };
        let mut instructions = Vec::with_capacity(prepared.len());
        let mut failure = None;
        for (index, prepared) in (0..).zip(prepared) {
            match prepared {
                Ok((instruction, file)) => {
                    instructions.push(instruction);
                    self.files.push(file);
                }
                Err(reason) => {
                    let failed = || Failure::at(index, FailureKind::TransferFailed, reason);
                    failure.get_or_insert_with(failed);
                }
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(instructions),
        }
    }

    /// Starts the batch and answers its id. It is not started twice: only where it cannot have been taken is it tried
    /// again.
    async fn start(&mut self, instructions: &[Instruction]) -> Result<String, Failure> {
        let end = Instant::now() + self.life.session.settings.waits.lost;
        let mut stop = self.stop.clone();
        loop {
            let (life, daemon) = (&self.life, &self.life.session.daemon);
            let started = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Err(self.stopped()),
                started = daemon.exec(&life.id, instructions) => started,
            };
            match started {
                Ok(batch) => return Ok(batch),
                Err(error) if error.kind == ErrorKind::Unreachable && Instant::now() < end => {
                    if let Some(reason) = self.has_ended().await {
                        return Err(Failure::new(FailureKind::ProviderLost, reason));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    return Err(Failure::new(FailureKind::ProviderLost, error.to_string()));
                }
            }
        }
    }

    /// Listens to news of the batch from now on.
    fn follow(&self, batch: &str, ears: &mut Ears) {
        let (sender, news) = mpsc::channel(NEWS);
        ears.follow_at = None;
        ears.news = Some(news);
        let (life, batch) = (Arc::clone(&self.life), batch.to_owned());
        ears.follower.spawn(async move {
            // Without news there are results.
            let Ok(mut stream) = life.session.daemon.follow(&life.id, &batch).await else {
                return;
            };
            while let Ok(Some(news)) = stream.next().await {
                if sender.send(news).await.is_err() {
                    return;
                }
            }
        });
    }

    fn poll(
        &self,
        batch: &str,
        wait: Duration,
        before: impl Future<Output = ()> + Send + 'static,
    ) -> Poll {
        let (life, batch) = (Arc::clone(&self.life), batch.to_owned());
        Box::pin(async move {
            before.await;
            life.session.daemon.results(&life.id, &batch, wait).await
        })
    }

    /// Tells what results there are, and how the batch ended if it did.
    async fn take(
        &mut self,
        telling: &mut Telling,
        results: &[CommandResult],
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        while let Some(result) = telling.next(results) {
            let (events, mut step) = telling.result(result);
            self.tell_all(events).await?;
            let index = telling.current() as usize;
            if result.result == Verdict::Error {
                return Ok(Some(Err(self.failure(index, result, step))));
            }
            if let Err(reason) = self.keep(index, &mut step).await {
                let failure = FailureKind::TransferFailed;
                return Ok(Some(Err(Failure::at(telling.current(), failure, reason))));
            }
            self.tell(BatchEvent::Finished(telling.current(), step))
                .await?;
            let events = telling.advance();
            self.tell_all(events).await?;
            if result.is_batch_finished && !telling.is_complete() {
                let reason = "the provider ended the batch early".to_owned();
                let failure = self.at(telling, FailureKind::ProviderLost, reason);
                return Ok(Some(Err(failure)));
            }
        }
        Ok(telling.is_complete().then_some(Ok(())))
    }

    /// Shows the file that a command has brought.
    async fn keep(&mut self, index: usize, step: &mut StepResult) -> Result<(), String> {
        let file = self.files.get_mut(index).map(std::mem::take);
        match file.unwrap_or_default() {
            File::None => {}
            // It is waited for with the end of the batch.
            File::Out(sending) => {
                self.ends.spawn(sending.end());
            }
            File::In(receiving, memory) => {
                receiving
                    .finish()
                    .await
                    .map_err(|error| error.to_string())?;
                step.bytes = memory.map(Memory::take);
            }
        }
        Ok(())
    }

    fn failure(&self, index: usize, result: &CommandResult, step: StepResult) -> Failure {
        let message = result.message.as_ref().map(|message| message.raw());
        let message = message.unwrap_or("the provider does not say why");
        let (kind, reason) = match self.commands.get(index) {
            Some(Command::Step(
                Step::Send { .. } | Step::Download { .. } | Step::DownloadBytes { .. },
            )) => {
                // What went wrong here says more than what the provider makes of it.
                let here = self
                    .files
                    .get(index)
                    .and_then(|file| file.failed().now_or_never());
                let reason = match here {
                    Some(error) => format!("{error} ({message})"),
                    None => message.to_owned(),
                };
                (FailureKind::TransferFailed, reason)
            }
            _ => (FailureKind::CommandFailed, message.to_owned()),
        };
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        Failure {
            stdout: step.stdout,
            stderr: step.stderr,
            ..Failure::at(index, kind, reason)
        }
    }

    /// Why a file cannot be moved; it is known that it cannot.
    fn broken(&self, step: u32) -> String {
        let file = self.files.get(step as usize);
        let why = file.and_then(|file| file.failed().now_or_never());
        let why = why.map_or_else(String::new, |error| format!(": {error}"));
        let provider = &self.life.provider;
        format!("{provider} does not give up a file that cannot be moved{why}")
    }

    /// Why it is of no use to ask for results again, if it is not.
    async fn is_lost(&self, error: &DaemonError, since: Instant) -> Option<String> {
        let provider = &self.life.provider;
        if !error.kind.may_pass() {
            return Some(format!("{provider} has lost the batch: {error}"));
        }
        let patience = self.life.session.settings.waits.lost;
        if since.elapsed() >= patience {
            let patience = patience.as_secs();
            return Some(format!(
                "nothing was heard of {provider} for {patience} s: {error}"
            ));
        }
        self.has_ended().await
    }

    /// Why the activity has ended, if it has.
    async fn has_ended(&self) -> Option<String> {
        let status = self
            .life
            .session
            .daemon
            .activity_status(&self.life.id)
            .await;
        let status = status.ok()?;
        if status.state.0 != ActivityState::Terminated {
            return None;
        }
        let words = [status.reason, status.error_message];
        let words: Vec<_> = words
            .into_iter()
            .flatten()
            .map(|text| text.into_raw())
            .collect();
        let provider = &self.life.provider;
        Some(match words.is_empty() {
            true => format!("{provider} has ended the activity"),
            false => format!("{provider} has ended the activity: {}", words.join(", ")),
        })
    }

    async fn tell_all(&mut self, events: Vec<BatchEvent>) -> Result<(), Failure> {
        for event in events {
            self.tell(event).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, event: BatchEvent) -> Result<(), Failure> {
        let sent = tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => false,
            sent = self.events.send(event) => sent.is_ok(),
        };
        if sent { Ok(()) } else { Err(self.stopped()) }
    }

    fn stopped(&self) -> Failure {
        Failure::new(FailureKind::Cancelled, "the activity was ended")
    }

    fn at(&self, telling: &Telling, kind: FailureKind, reason: String) -> Failure {
        Failure::at(telling.current(), kind, reason)
    }
}

async fn looked(look: &mut Option<Poll>) -> Result<Vec<CommandResult>, DaemonError> {
    match look {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}

async fn next(news: &mut Option<mpsc::Receiver<News>>) -> Option<News> {
    match news {
        Some(news) => news.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits until the transfer of a file cannot succeed any more; else for ever.
async fn breaks(file: Option<&File>) {
    match file {
        Some(file) => drop(file.failed().await),
        None => std::future::pending().await,
    }
}

/// Opens what a command needs of files, and writes it as the daemon reads it.
async fn prepare(life: &Life, command: &Command) -> Result<(Instruction, File), String> {
    let files = &life.session.files;
    let inside = |path: &str| format!("container:{path}");
    Ok(match command {
        Command::Deploy => (
            Instruction::Deploy {
                progress: EACH_SECOND,
            },
            File::None,
        ),
        Command::Start => (Instruction::Start { args: Vec::new() }, File::None),
        Command::Terminate => (Instruction::Terminate {}, File::None),
        Command::Step(Step::Run { program, args }) => {
            let run = Instruction::Run {
                entry_point: program.clone(),
                args: args.clone(),
                capture: Capture::both(CAPTURE),
            };
            (run, File::None)
        }
        Command::Step(Step::Send {
            source,
            destination,
        }) => {
            let sending = files.send(Arc::clone(source)).await;
            let sending = sending
                .map_err(|error| format!("{} cannot be sent: {error}", source.describe()))?;
            let transfer = Instruction::Transfer {
                from: sending.url().to_owned(),
                to: inside(destination),
            };
            (transfer, File::Out(sending))
        }
        Command::Step(Step::Download { source, sink }) => {
            let receiving = receive(life, source, Arc::clone(sink)).await?;
            let transfer = Instruction::Transfer {
                from: inside(source),
                to: receiving.url().to_owned(),
            };
            (transfer, File::In(receiving, None))
        }
        Command::Step(Step::DownloadBytes { source, most }) => {
            let memory = Memory::new((*most).min(MOST_BYTES));
            let receiving = receive(life, source, Arc::new(memory.clone())).await?;
            let transfer = Instruction::Transfer {
                from: inside(source),
                to: receiving.url().to_owned(),
            };
            (transfer, File::In(receiving, Some(memory)))
        }
    })
}

async fn receive(life: &Life, source: &str, sink: Arc<dyn Sink>) -> Result<Receiving, String> {
    let receiving = life.session.files.receive(sink).await;
    receiving.map_err(|error| format!("{source} cannot be fetched: {error}"))
}

/// A small file that comes into memory.
#[derive(Debug, Clone)]
struct Memory {
    most: u64,
    content: Arc<Mutex<Vec<u8>>>,
}

impl Memory {
    fn new(most: u64) -> Self {
        Self {
            most,
            content: Arc::default(),
        }
    }

    fn take(self) -> Vec<u8> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *content)
    }
}

impl Sink for Memory {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn most(&self) -> u64 {
        self.most
    }

    fn create(&self) -> io::Result<Box<dyn Partial>> {
        Ok(Box::new(Filling {
            bytes: Vec::new(),
            memory: self.clone(),
        }))
    }
}

struct Filling {
    bytes: Vec<u8>,
    memory: Memory,
}

impl Write for Filling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.memory.most {
            return Err(io::Error::other("there is more than may come"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Partial for Filling {
    fn commit(self: Box<Self>) -> io::Result<()> {
        let content = &self.memory.content;
        *content.lock().unwrap_or_else(PoisonError::into_inner) = self.bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::super::offer::Counters;
    use super::super::testing::{daemon, hurry, session};
    use super::*;

    /// Polls before there is a result.
    const POLLS: u32 = 40;

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_answers_polls_at_once_is_not_asked_without_a_rest() {
        let polls = AtomicU32::new(0);
        let daemon = daemon(move |method, path, query| {
            Some(match (method, path) {
                ("POST", "activity/activity/exec") => (200, json!("batch")),
                ("GET", "activity/activity/exec/batch") if query.contains("timeout") => {
                    let is_over = polls.fetch_add(1, Ordering::Relaxed) == POLLS;
                    let result = json!({ "index": 0, "result": "Ok", "isBatchFinished": true });
                    (200, is_over.then_some(result).into_iter().collect())
                }
                _ => return None,
            })
        });
        let (session, _member) = hurry(session(&daemon)).await;
        let name = |name: &str| name.to_owned();
        let life = Life::new(
            name("activity"),
            session,
            name("somebody"),
            Counters::default(),
        );
        let (sender, _events) = mpsc::channel(64);
        let (_stop, stopping) = watch::channel(false);
        let batch = vec![Command::Start];
        let batch = Batch::new(Arc::new(life), batch, Attention::Easy, sender, stopping);
        let begun = Instant::now();
        assert_eq!(hurry(batch.run()).await, Ok(()));
        assert!(begun.elapsed() >= PAUSE * POLLS, "{:?}", begun.elapsed());
    }
}
