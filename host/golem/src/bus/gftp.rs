//! Files of other nodes: `gftp://<node>/<name>`, moved in chunks over the service bus.
//!
//! A [`Remote`] is a [`Source`] and a [`Sink`] as any other, so its calls block; what they wait for happens in tasks of
//! the runtime. Several chunks are on their way at a time, and no more are held than that, however large the file is.
//! A file whose name is its SHA3-256, as those are that official requestors publish, is checked against it; so is one
//! that was given with a hash.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::json;
use sha3::{Digest as _, Sha3_224, Sha3_256, Sha3_384, Sha3_512};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::body::{Blob, Body};
use super::client::{BusError, Line};
use crate::network::NodeId;
use crate::transfer::{Content, Partial, Sink, Source};

/// Bytes of a chunk; what official clients use.
const CHUNK: u64 = 40_960;
/// Chunks that are asked for at a time.
const READS: usize = 12;
/// Chunks that are sent at a time.
const WRITES: usize = 3;
/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Longest name of a file.
const NAME: usize = 256;

/// What the content of a file must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected(Vec<u8>);

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    node: NodeId,
    name: String,
    expected: Option<Expected>,
}

/// A text that names no file that can be moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It is of a kind that nobody moves here. The words are those of Golem's own supervisor.
    #[error("Unsupported scheme: {0}")]
    Scheme(String),
    /// It is cut off, or wrong in another way.
    #[error("`{0}` is no address of a file")]
    Malformed(String),
}

impl Location {
    /// Reads `gftp://<node>/<name>` or `hash:sha3:<hexadecimal digits>:gftp://<node>/<name>`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn read(text: &str) -> Result<Self, LocationError> {
        let malformed = || LocationError::Malformed(text.to_owned());
        let (url, given) = match text.strip_prefix("hash:") {
            None => (text, None),
            Some(rest) => {
                let (digits, url) = rest
                    .strip_prefix("sha3:")
                    .and_then(|rest| rest.split_once(':'))
                    .ok_or_else(malformed)?;
                (url, Some(Expected::read(digits).ok_or_else(malformed)?))
            }
        };
        let Some(path) = url.strip_prefix("gftp://") else {
            let scheme = url.split(':').next().unwrap_or_default();
            return Err(LocationError::Scheme(scheme.to_owned()));
        };
        let (node, name) = path.split_once('/').ok_or_else(malformed)?;
        let is_name = !name.is_empty()
            && name.len() <= NAME
            && !name.contains(|char: char| char == '/' || char.is_control());
        let node = node.to_ascii_lowercase().parse().ok();
        let node = node.filter(|_| is_name).ok_or_else(malformed)?;
        // Official requestors publish files by their hash, and receive them by names of another length.
        let named = (name.len() == 64).then(|| Expected::read(name)).flatten();
        Ok(Self {
            node,
            name: name.to_owned(),
            expected: given.or(named),
        })
    }

    fn method(&self, method: &str) -> String {
        // The daemon moves bulk data on a way of its own.
        format!("/transfer/net/{}/gftp/{}/{method}", self.node, self.name)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gftp://{}/{}", self.node, self.name)
    }
}

impl Expected {
    /// A hash of the SHA-3 family, which one by its length.
    fn read(digits: &str) -> Option<Self> {
        let bytes = hex::decode(digits).ok()?;
        matches!(bytes.len(), 28 | 32 | 48 | 64).then_some(Self(bytes))
    }

    fn hasher(&self) -> Hasher {
        match self.0.len() {
            28 => Hasher::Sha224(Sha3_224::new()),
            48 => Hasher::Sha384(Sha3_384::new()),
            64 => Hasher::Sha512(Sha3_512::new()),
            _ => Hasher::Sha256(Sha3_256::new()),
        }
    }
}

#[derive(Clone)]
enum Hasher {
    Sha224(Sha3_224),
    Sha256(Sha3_256),
    Sha384(Sha3_384),
    Sha512(Sha3_512),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha224(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha224(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha384(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
        }
    }
}

/// A file of another node. Blocks where it is opened, read and written, so it belongs on threads that may, of the
/// runtime that made it.
#[derive(Clone)]
pub struct Remote {
    line: Arc<Line>,
    location: Location,
    /// Once true, everything that waits is given up.
    stop: watch::Receiver<bool>,
    runtime: Handle,
}

impl Remote {
    /// Nothing is asked yet. Must be made inside of a runtime. Once `stop` is true, or gone, all of it fails.
    pub fn new(line: Arc<Line>, location: Location, stop: watch::Receiver<bool>) -> Self {
        Self {
            line,
            location,
            stop,
            runtime: Handle::current(),
        }
    }

    async fn call(&self, method: &str, body: &impl Serialize) -> io::Result<Body> {
        let mut stop = self.stop.clone();
        let call = async {
            let bus = self.line.bus().await?;
            bus.call(&self.location.method(method), body, LIMIT).await
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(io::Error::other("it was given up")),
            answer = call => answer.map_err(|error: BusError| io::Error::other(error)),
        }
    }

    async fn size(&self) -> io::Result<u64> {
        let answer = self.call("GetMetadata", &()).await?;
        let size = answer.get("fileSize").and_then(Body::as_u64);
        size.ok_or_else(|| self.nonsense("GetMetadata"))
    }

    async fn read_chunk(&self, offset: u64, size: u64) -> io::Result<Vec<u8>> {
        let body = json!({ "offset": offset, "size": size });
        let answer = self.call("GetChunk", &body).await?;
        let is_asked_for = answer.get("offset").and_then(Body::as_u64) == Some(offset);
        answer
            .take("content")
            .and_then(Body::into_blob)
            .filter(|content| is_asked_for && content.len() as u64 == size)
            .ok_or_else(|| self.nonsense("GetChunk"))
    }

    async fn write_chunk(&self, offset: u64, content: Vec<u8>) -> io::Result<()> {
        #[derive(Serialize)]
        struct Upload<'a> {
            chunk: Chunk<'a>,
        }
        #[derive(Serialize)]
        struct Chunk<'a> {
            offset: u64,
            content: Blob<'a>,
        }
        let content = Blob(&content);
        let chunk = Chunk { offset, content };
        let done = self.call("UploadChunk", &Upload { chunk }).await;
        done.map(drop)
    }

    async fn finish(&self, hash: &str) -> io::Result<()> {
        let done = self.call("UploadFinished", &json!({ "hash": hash })).await;
        done.map(drop)
    }

    fn nonsense(&self, method: &str) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} answers {method} with something else", self.location),
        )
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.location)
    }
}

impl Source for Remote {
    fn describe(&self) -> String {
        self.location.to_string()
    }

    fn open(&self) -> io::Result<Box<dyn Content>> {
        let size = self.runtime.block_on(self.size())?;
        Ok(Box::new(Incoming {
            remote: self.clone(),
            size,
            position: 0,
            chunks: None,
            chunk: Vec::new(),
            taken: 0,
            hash: self.location.expected.as_ref().map(Expected::hasher),
        }))
    }
}

/// A file that is being fetched.
struct Incoming {
    remote: Remote,
    size: u64,
    /// Of the next byte.
    position: u64,
    /// What comes, in order; none before it is asked for.
    chunks: Option<mpsc::Receiver<io::Result<Vec<u8>>>>,
    /// What has come last, and how much of it is read.
    chunk: Vec<u8>,
    taken: usize,
    /// Of what was read, if it is to be checked; none where it was not read from its start to its end.
    hash: Option<Hasher>,
}

impl Incoming {
    fn begin(&self) -> mpsc::Receiver<io::Result<Vec<u8>>> {
        let (sender, chunks) = mpsc::channel(1);
        let (remote, from, size) = (self.remote.clone(), self.position, self.size);
        self.remote.runtime.spawn(async move {
            let offsets = (from..size).step_by(CHUNK as usize);
            let chunks = stream::iter(offsets)
                .map(|offset| remote.read_chunk(offset, CHUNK.min(size - offset)))
                .buffered(READS);
            let mut chunks = std::pin::pin!(chunks);
            while let Some(chunk) = chunks.next().await {
                let failed = chunk.is_err();
                // Nobody reads on: the rest is not fetched.
                if sender.send(chunk).await.is_err() || failed {
                    return;
                }
            }
        });
        chunks
    }

    fn check(&mut self) -> io::Result<()> {
        let expected = &self.remote.location.expected;
        let (Some(hash), Some(expected)) = (self.hash.take(), expected) else {
            return Ok(());
        };
        let found = hash.finish();
        if found == expected.0 {
            return Ok(());
        }
        // In the supervisor's words.
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "Incorrect hash provided or downloaded image is corrupted: calculated hash {} differs from {}",
                hex::encode(found),
                hex::encode(&expected.0)
            ),
        ))
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.taken == self.chunk.len() {
            if self.position >= self.size {
                return self.check().map(|()| 0);
            }
            if self.chunks.is_none() {
                self.chunks = Some(self.begin());
            }
            let next = self.chunks.as_mut().and_then(mpsc::Receiver::blocking_recv);
            let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
            self.chunk = next.ok_or_else(gone)??;
            self.taken = 0;
        }
        let rest = &self.chunk[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        if let Some(hash) = &mut self.hash {
            hash.update(&rest[..count]);
        }
        self.taken += count;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Incoming {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let position = position.ok_or(io::ErrorKind::InvalidInput)?;
        if position != self.position {
            self.position = position;
            self.chunks = None;
            (self.chunk, self.taken) = (Vec::new(), 0);
            let expected = self.remote.location.expected.as_ref();
            self.hash = expected.filter(|_| position == 0).map(Expected::hasher);
        }
        Ok(position)
    }
}

impl Sink for Remote {
    fn describe(&self) -> String {
        self.location.to_string()
    }

    /// As much as there is: whoever asked for the file says how much they take.
    fn most(&self) -> u64 {
        u64::MAX
    }

    fn create(&self) -> io::Result<Box<dyn Partial>> {
        let (sender, chunks) = mpsc::channel(1);
        let remote = self.clone();
        let sending = self.runtime.spawn(async move {
            let chunks = stream::unfold(chunks, |mut chunks| async {
                let chunk: Option<(u64, Vec<u8>)> = chunks.recv().await;
                chunk.map(|chunk| (Ok::<_, io::Error>(chunk), chunks))
            });
            chunks
                .try_for_each_concurrent(WRITES, |(offset, content)| {
                    remote.write_chunk(offset, content)
                })
                .await
        });
        Ok(Box::new(Outgoing {
            remote: self.clone(),
            chunk: Vec::new(),
            offset: 0,
            hash: Sha3_256::new(),
            chunks: Some(sender),
            sending,
        }))
    }
}

/// A file that is being put.
struct Outgoing {
    remote: Remote,
    /// What is not yet sent, and where it belongs.
    chunk: Vec<u8>,
    offset: u64,
    hash: Sha3_256,
    /// None once the last one was sent.
    chunks: Option<mpsc::Sender<(u64, Vec<u8>)>>,
    sending: JoinHandle<io::Result<()>>,
}

impl Outgoing {
    fn send(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        let offset = self.offset;
        self.offset += chunk.len() as u64;
        let sent = match &self.chunks {
            Some(chunks) => chunks.blocking_send((offset, chunk)).is_ok(),
            None => false,
        };
        // The task has ended early, and knows why.
        if sent { Ok(()) } else { self.end() }
    }

    /// Waits until everything is there.
    fn end(&mut self) -> io::Result<()> {
        if self.chunks.take().is_none() {
            return Err(io::Error::other("it was finished before"));
        }
        let ended = self.remote.runtime.block_on(&mut self.sending);
        ended.map_err(io::Error::other)?
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK as usize - self.chunk.len();
        let bytes = &bytes[..bytes.len().min(room)];
        self.chunk.extend_from_slice(bytes);
        self.hash.update(bytes);
        if self.chunk.len() == CHUNK as usize {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Partial for Outgoing {
    fn commit(mut self: Box<Self>) -> io::Result<()> {
        self.send()?;
        self.end()?;
        let hash = hex::encode(self.hash.finalize_reset());
        self.remote.runtime.block_on(self.remote.finish(&hash))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, Location, LocationError};

    const NODE: &str = "0x00112233445566778899aabbccddeeff00112233";

    #[test]
    fn addresses_of_files_are_read() {
        let hash = "ab".repeat(32);
        for (text, shown, expected) in [
            (
                format!("gftp://{NODE}/name"),
                format!("gftp://{NODE}/name"),
                None,
            ),
            (
                format!("gftp://{NODE}/{hash}"),
                format!("gftp://{NODE}/{hash}"),
                Some(&hash),
            ),
            (
                format!("hash:sha3:{}:gftp://{NODE}/a", "cd".repeat(28)),
                format!("gftp://{NODE}/a"),
                Some(&"cd".repeat(28)),
            ),
        ] {
            let location = Location::read(&text).unwrap();
            assert_eq!(location.to_string(), shown);
            let expected = expected.map(|digits| Expected(hex::decode(digits).unwrap()));
            assert_eq!(location.expected, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_file_is_refused() {
        for text in [
            "gftp://",
            "gftp:///name",
            &format!("gftp://{NODE}"),
            &format!("gftp://{NODE}/"),
            &format!("gftp://{NODE}/a/b"),
            &format!("gftp://{NODE}/{}", "x".repeat(257)),
            "gftp://0x00/name",
            &format!("hash:sha3:abc:gftp://{NODE}/a"),
            &format!("hash:md5:{}:gftp://{NODE}/a", "ab".repeat(32)),
        ] {
            let refused = Location::read(text).unwrap_err();
            assert_eq!(refused, LocationError::Malformed(text.to_owned()));
        }
        let refused = Location::read("file:///etc/passwd").unwrap_err();
        assert_eq!(refused.to_string(), "Unsupported scheme: file");
    }
}
