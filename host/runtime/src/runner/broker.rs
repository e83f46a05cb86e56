//! The broker, as the runner sees it.
//!
//! Everything that goes out stands in one queue, in the order it happened, and a task of its own writes it: so a guest
//! that is stopped in the middle of a call never leaves half a frame behind. What is queued is put together where that
//! loses nothing: output of one stream is joined, and of a bar's positions only the last is kept. A guest that says
//! more than the broker takes waits for room.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sovr_sandbox::frame::{self, FrameError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::bindings::errors::Error;
use crate::wire::{
    BarChange, CALLS_IN_FLIGHT, Call, CallId, FRAME_FROM_RUNNER, FromRunner, Note, OUTPUT_CHUNK,
    Reply, RunEnd, VERSION,
};

/// Bytes, by rough count, that may be queued before a guest has to wait.
const ROOM: usize = 64 << 10;

/// What a queued message counts beside its text.
const MESSAGE: usize = 64;

/// A fault of the host that a guest ran into.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(pub(crate) String);

/// The end of the conversation where the guest is. Clones talk to the same broker.
#[derive(Clone, Debug)]
pub(crate) struct Broker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something was queued.
    queued: Notify,
    /// Something was written.
    written: Notify,
    places: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Queued>,
    size: usize,
    last_call: CallId,
    waiting: HashMap<CallId, oneshot::Sender<Result<Reply, Error>>>,
}

#[derive(Debug)]
enum Queued {
    /// Encoded already, because a call that is too large is the guest's to hear of.
    Frame(Vec<u8>),
    Note(Note),
}

impl Queued {
    fn size(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.len(),
            Self::Note(note) => MESSAGE + note.output(),
        }
    }
}

impl Broker {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            queued: Notify::new(),
            written: Notify::new(),
            places: Semaphore::new(CALLS_IN_FLIGHT),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call and waits for its answer. A call that is too large is `error.invalid`.
    async fn call(&self, call: Call) -> wasmtime::Result<Result<Reply, Error>> {
        if let Err(too_large) = call.check() {
            return Ok(Err(Error::Invalid(too_large.to_string())));
        }
        let _place = self.0.places.acquire().await?;
        let id = {
            let mut state = self.state();
            state.last_call += 1;
            state.last_call
        };
        let frame = match frame::encode(&FromRunner::Call { id, call }, FRAME_FROM_RUNNER) {
            Ok(frame) => frame,
            Err(FrameError::TooLarge { size, max }) => {
                return Ok(Err(Error::Invalid(format!(
                    "the call holds {size} bytes and may hold {max}; pass large data as files"
                ))));
            }
            Err(error) => return Err(Fault(error.to_string()).into()),
        };
        let (sender, answer) = oneshot::channel();
        self.state().waiting.insert(id, sender);
        self.queue(Queued::Frame(frame));
        Ok(answer
            .await
            .map_err(|_| Fault("the broker went away during a call".to_owned()))?)
    }

    /// Makes a call whose reply `expected` takes out of the general form.
    pub(crate) async fn ask<T>(
        &self,
        call: Call,
        expected: impl FnOnce(Reply) -> Option<T>,
    ) -> wasmtime::Result<Result<T, Error>> {
        match self.call(call).await? {
            Ok(reply) => match expected(reply) {
                Some(reply) => Ok(Ok(reply)),
                None => Err(Fault("the broker's reply does not fit the call".to_owned()).into()),
            },
            Err(error) => Ok(Err(error)),
        }
    }

    /// Makes a call that has nothing to say but that it is done.
    pub(crate) async fn order(&self, call: Call) -> wasmtime::Result<Result<(), Error>> {
        self.ask(call, |reply| matches!(reply, Reply::Done).then_some(()))
            .await
    }

    /// Hands an answer to the call that waits for it.
    pub(crate) fn answered(&self, id: CallId, result: Result<Reply, Error>) {
        if let Some(call) = self.state().waiting.remove(&id) {
            // A call that nobody waits for any more belongs to a guest that is gone.
            let _ = call.send(result);
        }
    }

    /// Bytes that may be queued now.
    pub(crate) fn room(&self) -> usize {
        ROOM.saturating_sub(self.state().size)
    }

    /// Waits for room.
    pub(crate) async fn has_room(&self) {
        self.written(|state| state.size < ROOM).await;
    }

    /// Waits until so much is written that `enough` holds.
    async fn written(&self, enough: impl Fn(&State) -> bool) {
        loop {
            // Registered before looking, so that what is written in between is not missed.
            let written = self.0.written.notified();
            if enough(&self.state()) {
                return;
            }
            written.await;
        }
    }

    /// Tells the broker something, once there is room.
    pub(crate) async fn tell(&self, note: Note) {
        self.has_room().await;
        self.tell_at_once(note);
    }

    /// Tells the broker something without waiting for room. For what cannot wait and is bounded otherwise.
    pub(crate) fn tell_at_once(&self, note: Note) {
        let mut state = self.state();
        let state = &mut *state;
        let before = state.queue.back().map_or(0, Queued::size);
        let rest = match state.queue.back_mut() {
            Some(Queued::Note(last)) => join(last, note),
            _ => Some(note),
        };
        state.size += state.queue.back().map_or(0, Queued::size) - before;
        if let Some(note) = rest {
            let queued = Queued::Note(note);
            state.size += queued.size();
            state.queue.push_back(queued);
        }
        self.0.queued.notify_one();
    }

    /// Says that the guest starts now. The broker counts the time from then on, so this is not queued behind whatever
    /// the guest does first: a guest that is stuck in a system call holds this process's only thread.
    pub(crate) async fn ready(&self) {
        self.send(&FromRunner::Ready { version: VERSION });
        self.written(|state| state.size == 0).await;
    }

    /// Says how it ended, after everything before.
    pub(crate) fn end(&self, end: RunEnd) {
        self.send(&FromRunner::End(end));
    }

    fn send(&self, message: &FromRunner) {
        // These fit into a frame, their texts are cut.
        if let Ok(frame) = frame::encode(message, FRAME_FROM_RUNNER) {
            self.queue(Queued::Frame(frame));
        }
    }

    fn queue(&self, queued: Queued) {
        let mut state = self.state();
        state.size += queued.size();
        state.queue.push_back(queued);
        drop(state);
        self.0.queued.notify_one();
    }

    /// Writes what is queued, until the channel fails.
    pub(crate) async fn write(&self, mut socket: OwnedWriteHalf) -> Result<(), FrameError> {
        loop {
            let next = self.state().queue.pop_front();
            let Some(queued) = next else {
                self.0.queued.notified().await;
                continue;
            };
            let size = queued.size();
            let frame = match queued {
                Queued::Frame(frame) => frame,
                Queued::Note(note) => frame::encode(&FromRunner::Note(note), FRAME_FROM_RUNNER)?,
            };
            socket.write_all(&frame).await?;
            self.state().size -= size;
            self.0.written.notify_waiters();
        }
    }
}

/// Puts `note` into the one before it, or gives back what must follow it.
fn join(last: &mut Note, note: Note) -> Option<Note> {
    match (last, note) {
        (Note::Stdout(last), Note::Stdout(more)) if last.len() + more.len() <= OUTPUT_CHUNK => {
            last.extend_from_slice(&more);
            None
        }
        (Note::Stderr(last), Note::Stderr(more)) if last.len() + more.len() <= OUTPUT_CHUNK => {
            last.extend_from_slice(&more);
            None
        }
        (
            Note::Bar {
                bar: last_bar,
                change: BarChange::Position(last),
            },
            Note::Bar {
                bar,
                change: BarChange::Position(position),
            },
        ) if *last_bar == bar => {
            *last = position;
            None
        }
        (_, note) => Some(note),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(broker: &Broker) -> Vec<String> {
        broker
            .state()
            .queue
            .iter()
            .map(|queued| format!("{queued:?}"))
            .collect()
    }

    #[test]
    fn output_is_joined_up_to_a_chunk_and_keeps_its_order() {
        let broker = Broker::new();
        for _ in 0..3 {
            broker.tell_at_once(Note::Stdout(vec![b'o'; OUTPUT_CHUNK / 2]));
        }
        broker.tell_at_once(Note::Stderr(vec![b'e']));
        broker.tell_at_once(Note::Stdout(vec![b'o']));
        let queue = &broker.state().queue;
        let sizes: Vec<usize> = queue.iter().map(|queued| queued.size() - MESSAGE).collect();
        assert_eq!(sizes, [OUTPUT_CHUNK, OUTPUT_CHUNK / 2, 1, 1]);
    }

    #[test]
    fn of_a_bars_positions_the_last_is_kept() {
        let broker = Broker::new();
        let at = |bar, position| Note::Bar {
            bar,
            change: BarChange::Position(position),
        };
        for position in 1..=100 {
            broker.tell_at_once(at(1, position));
        }
        broker.tell_at_once(at(2, 7));
        let expected = [at(1, 100), at(2, 7)].map(|note| format!("{:?}", Queued::Note(note)));
        assert_eq!(notes(&broker), expected);
    }

    #[test]
    fn the_queue_knows_its_size() {
        let broker = Broker::new();
        for text in ["a", "bc", "def"] {
            broker.tell_at_once(Note::Stdout(text.into()));
            broker.tell_at_once(Note::Stdout(text.into()));
            broker.tell_at_once(Note::Stderr(text.into()));
        }
        let state = broker.state();
        assert_eq!(
            state.size,
            state.queue.iter().map(Queued::size).sum::<usize>()
        );
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_until_something_is_written() {
        let broker = Broker::new();
        while broker.room() > 0 {
            broker.tell_at_once(Note::Stdout(vec![0; OUTPUT_CHUNK]));
        }
        let waiting = tokio::spawn({
            let broker = broker.clone();
            async move { broker.tell(Note::Stdout(vec![0])).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let (ours, _theirs) = tokio::net::UnixStream::pair().unwrap();
        let (_, writer) = ours.into_split();
        let writing = tokio::spawn({
            let broker = broker.clone();
            async move { broker.write(writer).await }
        });
        waiting.await.unwrap();
        writing.abort();
    }

    #[tokio::test]
    async fn a_call_that_is_too_large_is_the_guests_fault() {
        let broker = Broker::new();
        let file = crate::bindings::dfs::Location {
            pod: "pod".into(),
            path: "/file".into(),
        };
        let call = Call::Write {
            file,
            content: vec![0; FRAME_FROM_RUNNER],
        };
        assert!(matches!(
            broker.call(call).await,
            Ok(Err(Error::Invalid(_)))
        ));
        assert!(notes(&broker).is_empty());
    }
}
