//! Storage that lies and fails as it is told, and is the embedded store otherwise.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use async_trait::async_trait;
use sovr_capability::Untrusted;
use sovr_dfs::local::LocalDfs;
use sovr_dfs::{
    Content, Dfs, DfsPath, Entry, Error, Kind, OpenFile, Place, Pod, PodName, Reference, ShareInfo,
    UserName,
};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// What a read of a file answers instead of its content.
#[derive(Debug, Clone)]
pub(crate) enum Reading {
    /// The content.
    Honest,
    /// An error of the store.
    Fails,
    /// So many bytes of it, under its whole length.
    Short(usize),
    /// It, and more bytes after its end.
    Long(usize),
    /// A length that it does not have.
    Claims(u64),
    /// An error after so many bytes.
    Breaks(u64),
    /// Other bytes.
    Other(Vec<u8>),
    /// Nothing, for ever, after so many bytes.
    Hangs(u64),
}

/// What a write of a file does instead of storing its content.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Writing {
    /// Store it.
    Honest,
    /// Fail after so many bytes.
    Fails(u64),
    /// Store it, and answer another length.
    Claims(u64),
    /// Never end, after so many bytes.
    Hangs(u64),
    /// Store it, and not know of it any more when it is asked afresh.
    Forgets,
}

#[derive(Default)]
struct Lies {
    share_name: Option<String>,
    entries: Vec<(String, u64)>,
    readings: HashMap<String, VecDeque<Reading>>,
    writings: HashMap<String, VecDeque<Writing>>,
    pods_fail: bool,
    forgotten: Vec<DfsPath>,
}

/// One user's view of the store.
pub(crate) struct Hostile {
    pub(crate) inner: LocalDfs,
    lies: Mutex<Lies>,
}

impl Hostile {
    pub(crate) fn new(inner: LocalDfs) -> Self {
        Self {
            inner,
            lies: Mutex::default(),
        }
    }

    /// What every shared pod is said to be called.
    pub(crate) fn share_name(&self, name: &str) {
        self.lies.lock().unwrap().share_name = Some(name.to_owned());
    }

    /// A file that every root is said to hold, and does not.
    pub(crate) fn invent(&self, name: &str, size: u64) {
        let mut lies = self.lies.lock().unwrap();
        lies.entries.push((name.to_owned(), size));
    }

    /// What the next reads of a path answer, in whatever pod; the last of them all later ones too.
    pub(crate) fn on_read(&self, path: &str, readings: &[Reading]) {
        let mut lies = self.lies.lock().unwrap();
        lies.readings
            .insert(path.to_owned(), readings.to_vec().into());
    }

    /// What the next writes of a path do, in whatever pod; the last of them all later ones too.
    pub(crate) fn on_write(&self, path: &str, writings: &[Writing]) {
        let mut lies = self.lies.lock().unwrap();
        lies.writings
            .insert(path.to_owned(), writings.to_vec().into());
    }

    /// The list of pods cannot be had.
    pub(crate) fn pods_fail(&self) {
        self.lies.lock().unwrap().pods_fail = true;
    }

    /// No more lies.
    pub(crate) fn be_honest(&self) {
        *self.lies.lock().unwrap() = Lies::default();
    }

    fn reading(&self, path: &DfsPath) -> Reading {
        let mut lies = self.lies.lock().unwrap();
        next(&mut lies.readings, path).unwrap_or(Reading::Honest)
    }

    fn writing(&self, path: &DfsPath) -> Writing {
        let mut lies = self.lies.lock().unwrap();
        next(&mut lies.writings, path).unwrap_or(Writing::Honest)
    }
}

fn next<T: Clone>(told: &mut HashMap<String, VecDeque<T>>, path: &DfsPath) -> Option<T> {
    let queue = told.get_mut(path.as_str())?;
    match queue.len() {
        1 => queue.front().cloned(),
        _ => queue.pop_front(),
    }
}

fn broken(attempted: &str) -> Error {
    Error::Storage {
        attempted: attempted.to_owned(),
        reason: "the line is dead".to_owned(),
        next: "try again",
    }
}

/// Fails, or waits for ever, once it is read.
struct Stuck {
    fails: bool,
}

impl AsyncRead for Stuck {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.fails {
            true => Poll::Ready(Err(io::Error::other("the line is dead"))),
            false => Poll::Pending,
        }
    }
}

#[async_trait]
impl Dfs for Hostile {
    fn user(&self) -> &UserName {
        self.inner.user()
    }

    async fn create_pod(&self, pod: &PodName) -> Result<(), Error> {
        self.inner.create_pod(pod).await
    }

    async fn pods(&self) -> Result<Vec<Pod>, Error> {
        if self.lies.lock().unwrap().pods_fail {
            return Err(broken("list the pods"));
        }
        self.inner.pods().await
    }

    async fn pod(&self, pod: &PodName) -> Result<Pod, Error> {
        self.inner.pod(pod).await
    }

    async fn list(&self, place: &Place, directory: &DfsPath) -> Result<Vec<Entry>, Error> {
        let mut entries = self.inner.list(place, directory).await?;
        for (name, size) in &self.lies.lock().unwrap().entries {
            entries.push(Entry {
                name: name.clone(),
                kind: Kind::File,
                size: *size,
            });
        }
        Ok(entries)
    }

    async fn stat(&self, place: &Place, path: &DfsPath) -> Result<Entry, Error> {
        self.inner.stat(place, path).await
    }

    async fn read(&self, place: &Place, file: &DfsPath) -> Result<OpenFile, Error> {
        let reading = self.reading(file);
        if matches!(reading, Reading::Fails) {
            return Err(broken("open a file"));
        }
        let OpenFile { size, content } = self.inner.read(place, file).await?;
        let instead = |size, content: Content| Ok(OpenFile { size, content });
        match reading {
            Reading::Honest | Reading::Fails => instead(size, content),
            Reading::Short(bytes) => instead(size, Box::new(content.take(bytes as u64))),
            Reading::Long(bytes) => {
                let more = io::Cursor::new(vec![0; bytes]);
                instead(size, Box::new(content.chain(more)))
            }
            Reading::Claims(size) => instead(size, content),
            Reading::Breaks(bytes) => {
                let end = Stuck { fails: true };
                instead(size, Box::new(content.take(bytes).chain(end)))
            }
            Reading::Hangs(bytes) => {
                let end = Stuck { fails: false };
                instead(size, Box::new(content.take(bytes).chain(end)))
            }
            Reading::Other(bytes) => instead(bytes.len() as u64, Box::new(io::Cursor::new(bytes))),
        }
    }

    async fn write(
        &self,
        pod: &PodName,
        file: &DfsPath,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, Error> {
        match self.writing(file) {
            Writing::Honest => self.inner.write(pod, file, content).await,
            Writing::Forgets => {
                self.lies.lock().unwrap().forgotten.push(file.clone());
                self.inner.write(pod, file, content).await
            }
            Writing::Claims(bytes) => {
                self.inner.write(pod, file, content).await?;
                Ok(bytes)
            }
            Writing::Fails(bytes) => {
                let mut taken = Vec::new();
                let read = content.take(bytes).read_to_end(&mut taken).await;
                read.map(|_| Err(broken("write a file")))
                    .unwrap_or_else(|source| {
                        Err(Error::Content {
                            pod: pod.clone(),
                            path: file.clone(),
                            source,
                        })
                    })
            }
            Writing::Hangs(bytes) => {
                let mut stuck = content.take(bytes).chain(Stuck { fails: false });
                self.inner.write(pod, file, &mut stuck).await
            }
        }
    }

    async fn confirm(&self, pod: &PodName, files: &[(DfsPath, u64)]) -> Result<(), Error> {
        self.inner.confirm(pod, files).await?;
        let forgotten = &self.lies.lock().unwrap().forgotten;
        match files.iter().any(|(file, _)| forgotten.contains(file)) {
            true => Err(broken("find a file again")),
            false => Ok(()),
        }
    }

    async fn make_directory(&self, pod: &PodName, directory: &DfsPath) -> Result<(), Error> {
        self.inner.make_directory(pod, directory).await
    }

    async fn remove(&self, pod: &PodName, path: &DfsPath) -> Result<(), Error> {
        self.inner.remove(pod, path).await
    }

    async fn share(&self, pod: &PodName) -> Result<Reference, Error> {
        self.inner.share(pod).await
    }

    async fn unshare(&self, pod: &PodName) -> Result<(), Error> {
        self.inner.unshare(pod).await
    }

    async fn share_info(&self, reference: &Reference) -> Result<ShareInfo, Error> {
        let mut info = self.inner.share_info(reference).await?;
        if let Some(name) = &self.lies.lock().unwrap().share_name {
            info.pod_name = Untrusted::new(name.as_str());
        }
        Ok(info)
    }

    async fn receive(&self, reference: &Reference, name: &PodName) -> Result<Pod, Error> {
        self.inner.receive(reference, name).await
    }

    async fn fork_pod(&self, from: &Place, name: &PodName) -> Result<(), Error> {
        self.inner.fork_pod(from, name).await
    }

    async fn delete_pod(&self, pod: &PodName) -> Result<(), Error> {
        self.inner.delete_pod(pod).await
    }
}
