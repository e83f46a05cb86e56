//! A file that providers fetch.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde::{Serialize, Serializer};
use sha3::{Digest, Sha3_256};
use tokio::sync::watch;

use super::{FilesError, Progress};
use crate::blocking::blocking;
use crate::transfer::{BUFFER, Content, Source};
use crate::yagna::gsb::{Payload, Refusal, Serve};

/// Most bytes of a file that are given at a time. Golem's own programs ask for 40 KiB, and the daemon takes no more
/// than 64 KiB from us in one piece.
pub(super) const MOST_CHUNK: u64 = 48 << 10;

/// What a file is, by one pass over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Print {
    /// SHA3-256, in hexadecimal.
    pub(super) hash: String,
    /// Bytes.
    pub(super) length: u64,
}

impl Print {
    /// Reads all of a source.
    pub(super) fn of(source: &dyn Source) -> io::Result<Print> {
        let mut content = source.open()?;
        let mut hash = Sha3_256::new();
        let mut length = 0;
        let mut buffer = vec![0; BUFFER];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Print {
            hash: hex::encode(hash.finalize()),
            length,
        })
    }
}

/// A source that is being served.
#[derive(Debug)]
pub(super) struct Reader {
    source: Arc<dyn Source>,
    length: u64,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    failed: watch::Sender<Option<FilesError>>,
}

enum State {
    /// Nobody has asked for it yet.
    Closed,
    Open(Box<dyn Content>),
    /// It is not to be read any more.
    Ended,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Closed => "Closed",
            State::Open(_) => "Open",
            State::Ended => "Ended",
        })
    }
}

impl Reader {
    pub(super) fn new(source: Arc<dyn Source>, length: u64) -> Reader {
        let start = Progress {
            done: 0,
            total: Some(length),
        };
        Reader {
            source,
            length,
            state: Mutex::new(State::Closed),
            progress: watch::Sender::new(start),
            failed: watch::Sender::new(None),
        }
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn failed(&self) -> watch::Receiver<Option<FilesError>> {
        self.failed.subscribe()
    }

    /// Nothing is read from it when this has returned, which waits for a chunk that is being read.
    pub(super) fn end(&self) {
        *self.state() = State::Ended;
    }

    /// A part of the file; none if this source is not to be used any more.
    fn read(&self, offset: u64, size: u64) -> Option<Vec<u8>> {
        let mut state = self.state();
        if let State::Ended = *state {
            return None;
        }
        match self.try_read(&mut state, offset, size) {
            Ok(chunk) => Some(chunk),
            Err(error) => {
                *state = State::Ended;
                self.failed.send_replace(Some(error));
                None
            }
        }
    }

    fn try_read(&self, state: &mut State, offset: u64, size: u64) -> Result<Vec<u8>, FilesError> {
        let local = |error: io::Error| FilesError::Local {
            what: self.source.describe(),
            reason: error.to_string(),
        };
        if let State::Closed = state {
            *state = State::Open(self.source.open().map_err(local)?);
        }
        let State::Open(content) = state else {
            return Ok(Vec::new());
        };
        // At each chunk, because the last one may be asked for at any time.
        let now = content.seek(SeekFrom::End(0)).map_err(local)?;
        let changed = |now| FilesError::Changed {
            what: self.source.describe(),
            before: self.length,
            after: now,
        };
        if now != self.length {
            return Err(changed(now));
        }
        let size = size.min(self.length.saturating_sub(offset));
        content.seek(SeekFrom::Start(offset)).map_err(local)?;
        let mut chunk = Vec::new();
        content.take(size).read_to_end(&mut chunk).map_err(local)?;
        if chunk.len() as u64 != size {
            return Err(changed(offset + chunk.len() as u64));
        }
        Ok(chunk)
    }

    fn tell(&self, done: u64) {
        self.progress.send_if_modified(|progress| {
            let is_more = done > progress.done;
            progress.done = progress.done.max(done);
            is_more
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file under one name, from as many sources as were sent with this content.
#[derive(Debug, Default)]
pub(super) struct Offer {
    length: u64,
    readers: Mutex<Vec<Arc<Reader>>>,
}

impl Offer {
    pub(super) fn new(length: u64) -> Offer {
        Offer {
            length,
            readers: Mutex::default(),
        }
    }

    pub(super) fn add(&self, reader: Arc<Reader>) {
        self.readers().push(reader);
    }

    pub(super) fn remove(&self, reader: &Arc<Reader>) {
        self.readers().retain(|known| !Arc::ptr_eq(known, reader));
    }

    /// From the first source that has it.
    fn chunk(&self, offset: u64, size: u64) -> Result<Said, Refusal> {
        if size > MOST_CHUNK {
            return Err(refusal(format!("at most {MOST_CHUNK} bytes at a time")));
        }
        if offset > self.length {
            return Err(refusal(format!("it has {} bytes", self.length)));
        }
        let readers = self.readers().clone();
        for reader in &readers {
            if let Some(content) = reader.read(offset, size) {
                let done = offset + content.len() as u64;
                for reader in &readers {
                    reader.tell(done);
                }
                return Ok(Said::Chunk { offset, content });
            }
        }
        // Why, is nobody's business but ours.
        Err(refusal("it is not there any more".to_owned()))
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a provider is told about a file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Said {
    #[serde(rename_all = "camelCase")]
    Metadata { file_size: u64 },
    Chunk {
        offset: u64,
        #[serde(serialize_with = "as_blob")]
        content: Vec<u8>,
    },
}

fn as_blob<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

impl Serve for Offer {
    const METHODS: &'static [&'static str] = &["GetMetadata", "GetChunk"];

    type Answer = Said;

    fn call(
        self: &Arc<Self>,
        method: &str,
        payload: Payload,
    ) -> BoxFuture<'static, Result<Said, Refusal>> {
        let this = Arc::clone(self);
        let part = (payload.number("offset"), payload.number("size"));
        let is_chunk = method == "GetChunk";
        Box::pin(async move {
            match part {
                (Some(offset), Some(size)) if is_chunk => {
                    blocking(move || this.chunk(offset, size)).await
                }
                _ if is_chunk => Err(refusal("which part of it?".to_owned())),
                _ => Ok(Said::Metadata {
                    file_size: this.length,
                }),
            }
        })
    }

    // Nothing is lost: who asks like this gets no answer.
    fn too_long(&self) {}
}

fn refusal(text: String) -> Refusal {
    Refusal {
        kind: "ReadError",
        text,
    }
}
