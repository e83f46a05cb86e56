//! A file that a provider puts here.
//!
//! Providers send several chunks at a time, so they may come in another order; a sink takes them in theirs. What comes
//! early is kept and answered only when it is written, so a provider is never further ahead than it has calls under
//! way, and [`AT_ONCE`] bounds what is kept. A stock provider whose call was lost sends the whole file again to the same
//! address: a chunk at 0 begins anew, a few times. Everything else that is not the next part of the file is an error,
//! and ends the upload.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use sha3::{Digest, Sha3_256};
use sovr_capability::Untrusted;
use tokio::sync::{oneshot, watch};

use super::{FilesError, Progress};
use crate::blocking::blocking;
use crate::transfer::{Partial, Sink};
use crate::yagna::gsb::{AT_ONCE, MOST_BODY, Payload, Refusal, Serve};

/// How often a provider may begin anew. Stock ones try twice more.
const MOST_STARTS: u32 = 3;

/// One upload.
#[derive(Debug)]
pub(super) struct Upload {
    sink: Arc<dyn Sink>,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    failed: watch::Sender<Option<FilesError>>,
}

enum State {
    Begun(Box<Begun>),
    /// Everything is there.
    Whole {
        partial: Box<dyn Partial>,
        length: u64,
    },
    /// It failed, or nobody wants it any more.
    Over,
}

struct Begun {
    partial: Box<dyn Partial>,
    hash: Sha3_256,
    /// Bytes that are written.
    done: u64,
    /// What came before its turn, by offset.
    early: BTreeMap<u64, Early>,
    starts: u32,
}

struct Early {
    content: Vec<u8>,
    /// Who waits for it to be written.
    written: oneshot::Sender<()>,
}

/// What became of a chunk.
enum Taken {
    Written,
    Early(oneshot::Receiver<()>),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Begun(begun) => write!(f, "Begun({})", begun.done),
            State::Whole { length, .. } => write!(f, "Whole({length})"),
            State::Over => f.write_str("Over"),
        }
    }
}

impl Upload {
    pub(super) fn begin(sink: Arc<dyn Sink>) -> Result<Upload, FilesError> {
        let partial = sink.create().map_err(|error| local(&*sink, &error))?;
        Ok(Upload {
            sink,
            state: Mutex::new(State::Begun(Box::new(Begun {
                partial,
                hash: Sha3_256::new(),
                done: 0,
                early: BTreeMap::new(),
                starts: 1,
            }))),
            progress: watch::Sender::new(Progress::default()),
            failed: watch::Sender::new(None),
        })
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn failed(&self) -> watch::Receiver<Option<FilesError>> {
        self.failed.subscribe()
    }

    /// Discards what is there, unless it was committed. Nothing is committed when this has returned.
    pub(super) fn end(&self) {
        *self.state() = State::Over;
    }

    /// Commits it if it is whole.
    pub(super) fn commit(&self) -> Result<u64, FilesError> {
        // Under the lock, so that `end` waits for it.
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Over) {
            State::Whole { partial, length } => {
                let committed = partial.commit();
                committed.map_err(|error| local(&*self.sink, &error))?;
                Ok(length)
            }
            State::Begun(begun) => Err(self.broken(format!(
                "it was not finished: {} bytes came, and no word that this is all",
                begun.done
            ))),
            State::Over => Err(self
                .failed
                .borrow()
                .clone()
                .unwrap_or_else(|| self.broken("it was ended".to_owned()))),
        }
    }

    fn take(&self, offset: u64, content: Vec<u8>) -> Result<Taken, Refusal> {
        let mut state = self.state();
        let State::Begun(begun) = &mut *state else {
            return Err(refusal("the file is complete, or was given up"));
        };
        match self.put(begun, offset, content) {
            Ok(taken) => {
                let done = begun.done;
                drop(state);
                self.progress.send_modify(|progress| progress.done = done);
                Ok(taken)
            }
            Err(error) => Err(self.fail(&mut state, error)),
        }
    }

    fn put(&self, begun: &mut Begun, offset: u64, content: Vec<u8>) -> Result<Taken, FilesError> {
        let most = self.sink.most();
        let end = offset.checked_add(content.len() as u64);
        let Some(end) = end.filter(|end| *end <= most) else {
            return Err(self.broken(format!(
                "it is larger than the {most} bytes that are accepted"
            )));
        };
        if offset == 0 && begun.done > 0 {
            self.begin_anew(begun)?;
        }
        if offset < begun.done {
            return Err(self.broken(format!("bytes {offset} to {end} came twice")));
        }
        if offset > begun.done {
            return self.keep(begun, offset, end, content).map(Taken::Early);
        }
        self.write(begun, &content)?;
        while let Some(entry) = begun.early.first_entry() {
            if *entry.key() != begun.done {
                break;
            }
            let Early { content, written } = entry.remove();
            self.write(begun, &content)?;
            // The provider may have given up.
            let _ = written.send(());
        }
        match begun.early.first_key_value() {
            Some((early, _)) if *early < begun.done => {
                Err(self.broken(format!("bytes {early} to {} came twice", begun.done)))
            }
            _ => Ok(Taken::Written),
        }
    }

    fn keep(
        &self,
        begun: &mut Begun,
        offset: u64,
        end: u64,
        content: Vec<u8>,
    ) -> Result<oneshot::Receiver<()>, FilesError> {
        let before = begun.early.range(..=offset).next_back();
        let overlaps_before =
            before.is_some_and(|(start, early)| start + early.content.len() as u64 > offset);
        let overlaps_after = begun.early.range(offset..end).next().is_some();
        if overlaps_before || overlaps_after || content.is_empty() {
            return Err(self.broken(format!("bytes {offset} to {end} came twice, or are none")));
        }
        // With one more, nothing could be read that fills the gap.
        if begun.early.len() + 1 >= AT_ONCE {
            return Err(self.broken(format!("byte {} never came", begun.done)));
        }
        let (written, waits) = oneshot::channel();
        begun.early.insert(offset, Early { content, written });
        Ok(waits)
    }

    fn begin_anew(&self, begun: &mut Begun) -> Result<(), FilesError> {
        if begun.starts >= MOST_STARTS {
            return Err(self.broken(format!("it was begun more than {MOST_STARTS} times")));
        }
        begun.starts += 1;
        begun.hash = Sha3_256::new();
        begun.done = 0;
        begun.early.clear();
        let partial = self.sink.create();
        begun.partial = partial.map_err(|error| local(&*self.sink, &error))?;
        Ok(())
    }

    fn write(&self, begun: &mut Begun, content: &[u8]) -> Result<(), FilesError> {
        let written = begun.partial.write_all(content);
        written.map_err(|error| local(&*self.sink, &error))?;
        begun.hash.update(content);
        begun.done += content.len() as u64;
        Ok(())
    }

    fn finish(&self, hash: Option<String>) -> Result<(), Refusal> {
        let mut state = self.state();
        let State::Begun(begun) = &mut *state else {
            return Err(refusal("the file is complete, or was given up"));
        };
        if let Err(error) = self.check(begun, hash) {
            return Err(self.fail(&mut state, error));
        }
        if let State::Begun(begun) = std::mem::replace(&mut *state, State::Over) {
            let Begun { partial, done, .. } = *begun;
            *state = State::Whole {
                partial,
                length: done,
            };
            let whole = Progress {
                done,
                total: Some(done),
            };
            self.progress.send_replace(whole);
        }
        Ok(())
    }

    fn check(&self, begun: &Begun, hash: Option<String>) -> Result<(), FilesError> {
        if let Some(early) = begun.early.keys().next() {
            let gap = format!("bytes {} to {early} never came", begun.done);
            return Err(self.broken(gap));
        }
        let found = hex::encode(begun.hash.clone().finalize());
        // Without one nothing tells a whole file from the beginning of one. Stock providers always say it.
        let stated = hash.ok_or_else(|| self.broken("it came without a hash".to_owned()))?;
        if stated.eq_ignore_ascii_case(&found) {
            return Ok(());
        }
        Err(self.broken(format!(
            "the SHA3-256 of what came is {found}, and it was said to be {}",
            stated.chars().take(found.len()).collect::<String>()
        )))
    }

    /// Gives it up, and answers what the provider is told. Who waits for an early chunk hears it, too.
    fn fail(&self, state: &mut State, error: FilesError) -> Refusal {
        *state = State::Over;
        let told = match &error {
            FilesError::Broken { reason, .. } => refusal(reason.raw()),
            // What our disk is like is nobody's business.
            _ => refusal("it cannot be written"),
        };
        self.failed.send_replace(Some(error));
        told
    }

    fn broken(&self, reason: String) -> FilesError {
        FilesError::Broken {
            what: self.sink.describe(),
            reason: Untrusted::new(reason),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serve for Upload {
    const METHODS: &'static [&'static str] = &["UploadChunk", "UploadFinished"];

    type Answer = ();

    fn call(
        self: &Arc<Self>,
        method: &str,
        payload: Payload,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        let this = Arc::clone(self);
        if method == "UploadFinished" {
            let hash = payload.text("hash").map(str::to_owned);
            return Box::pin(blocking(move || this.finish(hash)));
        }
        let chunk = payload.into_inner("chunk");
        let offset = chunk.number("offset");
        let content = chunk
            .into_bytes("content")
            .filter(|bytes| bytes.len() <= MOST_BODY);
        let (Some(offset), Some(content)) = (offset, content) else {
            return Box::pin(std::future::ready(Err(refusal(
                "this is no part of a file",
            ))));
        };
        Box::pin(async move {
            match blocking(move || this.take(offset, content)).await? {
                Taken::Written => Ok(()),
                Taken::Early(written) => written.await.map_err(|_| refusal("it was given up")),
            }
        })
    }

    fn too_long(&self) {
        let mut state = self.state();
        if let State::Begun(_) = *state {
            let error = format!("a part of it has more than {MOST_BODY} bytes");
            self.fail(&mut state, self.broken(error));
        }
    }
}

fn local(sink: &dyn Sink, error: &std::io::Error) -> FilesError {
    FilesError::Local {
        what: sink.describe(),
        reason: error.to_string(),
    }
}

fn refusal(text: &str) -> Refusal {
    Refusal {
        kind: "WriteError",
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, PoisonError};

    use sha3::{Digest, Sha3_256};

    use super::{AT_ONCE, Taken, Upload};
    use crate::transfer::{Partial, Sink};
    use crate::yagna::files::FilesError;

    #[derive(Debug, Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    struct Part(Memory, Vec<u8>);

    impl Sink for Memory {
        fn describe(&self) -> String {
            "a file".to_owned()
        }

        fn most(&self) -> u64 {
            100
        }

        fn create(&self) -> io::Result<Box<dyn Partial>> {
            Ok(Box::new(Part(self.clone(), Vec::new())))
        }
    }

    impl Write for Part {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Partial for Part {
        fn commit(self: Box<Self>) -> io::Result<()> {
            *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = self.1;
            Ok(())
        }
    }

    fn upload() -> (Memory, Upload) {
        let sink = Memory::default();
        let upload = Upload::begin(Arc::new(sink.clone())).unwrap();
        (sink, upload)
    }

    fn hash(content: &[u8]) -> Option<String> {
        Some(hex::encode(Sha3_256::digest(content)))
    }

    #[test]
    fn what_comes_early_is_answered_when_it_is_written() {
        let (sink, upload) = upload();
        let early = [2, 3, 1].map(|offset| match upload.take(offset, vec![offset as u8]) {
            Ok(Taken::Early(written)) => written,
            _ => panic!("it is early"),
        });
        let mut early = early;
        assert!(early.iter_mut().all(|written| written.try_recv().is_err()));
        assert!(matches!(upload.take(0, vec![0]), Ok(Taken::Written)));
        assert!(early.iter_mut().all(|written| written.try_recv().is_ok()));
        assert_eq!(upload.progress().borrow().done, 4);
        assert_eq!(upload.finish(hash(&[0, 1, 2, 3])), Ok(()));
        assert_eq!(upload.commit(), Ok(4));
        assert_eq!(*sink.0.lock().unwrap(), [0, 1, 2, 3]);
        assert!(upload.commit().is_err());
    }

    #[test]
    fn a_gap_is_no_file_whatever_the_hash() {
        let (sink, upload) = upload();
        assert!(upload.take(0, b"one".to_vec()).is_ok());
        let Ok(Taken::Early(mut waits)) = upload.take(6, b"three".to_vec()) else {
            panic!("it is early");
        };
        assert!(upload.finish(hash(b"one")).is_err());
        // Who waits is told that it is over.
        assert_eq!(
            waits.try_recv(),
            Err(tokio::sync::oneshot::error::TryRecvError::Closed)
        );
        let Err(FilesError::Broken { reason, .. }) = upload.commit() else {
            panic!("it has a gap");
        };
        assert_eq!(reason.raw(), "bytes 3 to 6 never came");
        assert!(sink.0.lock().unwrap().is_empty());
    }

    #[test]
    fn no_more_comes_early_than_leaves_room_for_what_is_missing() {
        let (_, upload) = upload();
        let early = |index: usize| upload.take(1 + index as u64, vec![7]);
        let kept: Vec<_> = (0..AT_ONCE - 1).map(early).collect();
        assert!(
            kept.iter()
                .all(|taken| matches!(taken, Ok(Taken::Early(_))))
        );
        assert!(early(AT_ONCE - 1).is_err());
        assert!(upload.take(0, vec![7]).is_err());
    }

    #[test]
    fn a_new_beginning_leaves_nothing_of_the_old() {
        let (sink, upload) = upload();
        assert!(upload.take(0, b"old".to_vec()).is_ok());
        let old = upload.take(5, b"early".to_vec());
        assert!(upload.take(0, b"new".to_vec()).is_ok());
        let Ok(Taken::Early(mut old)) = old else {
            panic!("it is early");
        };
        assert!(old.try_recv().is_err());
        assert_eq!(upload.progress().borrow().done, 3);
        assert_eq!(upload.finish(hash(b"new")), Ok(()));
        assert_eq!(upload.commit(), Ok(3));
        assert_eq!(*sink.0.lock().unwrap(), b"new");
    }

    #[test]
    fn what_was_ended_is_never_committed() {
        let (sink, upload) = upload();
        assert!(upload.take(0, b"all".to_vec()).is_ok());
        assert_eq!(upload.finish(hash(b"all")), Ok(()));
        upload.end();
        assert!(upload.commit().is_err());
        assert!(sink.0.lock().unwrap().is_empty());
    }
}
