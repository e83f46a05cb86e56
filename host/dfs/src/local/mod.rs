//! The embedded store: pods of this machine's users, kept in one directory, without a server.
//!
//! Content lies in files named by their Swarm reference ([`blobs`]), so equal content is kept once and can be
//! checked; what belongs where is a SQLite database ([`index`]). A file is first stored under its reference and
//! then becomes visible by one transaction, so it appears whole or not at all, and content that nothing points to
//! any more is deleted by a transaction of its own. The database's write lock orders all of this between
//! processes; there is no other state. A process that dies at any moment leaves at most content without a place,
//! which the next one to open the store deletes.
//!
//! A reference reads a pod of any user of the store. There are no keys in between: one account of this machine owns
//! the whole directory.
//!
//! Rejected: pods as plain directories (two names that differ in case cannot be told apart on every file system,
//! replacing a file is atomic but listing and caps are not), and content inside the database (no streaming).

mod blobs;
mod index;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use self::blobs::{Blobs, Sealed};
use self::index::{Fault, View};
use crate::joined::joined;
use crate::{
    Dfs, DfsPath, Entry, Error, OpenFile, Place, Pod, PodName, Reference, ShareInfo, UserName,
};

/// Bytes that move at once from a stream to the disk: enough for all cores to hash. While one piece is stored the
/// next one is read, so a write holds two.
const PIECE: usize = 1 << 20;
/// Bytes that are read from the disk at once, whatever the reader's own buffer holds: each time costs a change of
/// threads.
const READ_AHEAD: u64 = 256 << 10;

/// What a store may grow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Pods that one user knows, own and received.
    pub pods: u64,
    /// Files and directories of one pod.
    pub entries: u64,
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of all files of one pod.
    pub pod: u64,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps {
            pods: 1_000,
            entries: 10_000,
            file: 16 << 30,
            pod: 64 << 30,
        }
    }
}

/// The embedded store as one user sees it.
pub struct LocalDfs {
    store: Arc<Store>,
}

struct Store {
    user: UserName,
    user_id: i64,
    caps: Caps,
    blobs: Blobs,
    connection: Mutex<Connection>,
}

impl LocalDfs {
    /// Opens, or makes, the store in the directory `root` for `user`. Blocks on the disk for a moment.
    ///
    /// # Errors
    /// [`Error::Storage`] when the directory cannot be used or was written by a newer program.
    pub fn open(root: &Path, user: &UserName, caps: Caps) -> Result<LocalDfs, Error> {
        let open = || -> Result<LocalDfs, Fault> {
            let blobs = Blobs::open(root)?;
            // Two processes that make the database at the same moment would disturb each other.
            let guard = File::options()
                .create(true)
                .append(true)
                .open(root.join("opening.lock"))?;
            guard.lock()?;
            let (connection, user_id) = index::open(&root.join("index.sqlite"), user)?;
            let store = Store {
                user: user.clone(),
                user_id,
                caps,
                blobs,
                connection: Mutex::new(connection),
            };
            store.sweep()?;
            Ok(LocalDfs {
                store: Arc::new(store),
            })
        };
        open().map_err(|fault| fault.into_error(&format!("open its directory {}", root.display())))
    }

    /// Runs `work` in one transaction on a thread that may block.
    async fn transaction<T: Send + 'static>(
        &self,
        attempted: String,
        behavior: TransactionBehavior,
        work: impl FnOnce(&View<'_>, &Blobs) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        blocking(move || {
            store
                .transaction(behavior, work)
                .map_err(|fault| fault.into_error(&attempted))
        })
        .await
    }

    async fn look<T: Send + 'static>(
        &self,
        attempted: String,
        work: impl FnOnce(&View<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.transaction(attempted, TransactionBehavior::Deferred, |view, _| {
            work(view)
        })
        .await
    }

    async fn change<T: Send + 'static>(
        &self,
        attempted: String,
        work: impl FnOnce(&View<'_>, &Blobs) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.transaction(attempted, TransactionBehavior::Immediate, work)
            .await
    }

    /// Deletes content that nothing points to any more. What cannot be deleted now is deleted by a later call.
    async fn sweep(&self) {
        let store = self.store.clone();
        let _ = tokio::task::spawn_blocking(move || store.sweep()).await;
    }
}

impl Store {
    fn transaction<T>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&View<'_>, &Blobs) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // A panic in another call has rolled its transaction back; the connection is good.
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(behavior)?;
        let view = View {
            transaction,
            user: self.user_id,
            user_name: &self.user,
            caps: self.caps,
        };
        let result = work(&view, &self.blobs)?;
        view.transaction.commit()?;
        Ok(result)
    }

    /// Makes or replaces a file; true if content may have become superfluous.
    fn put(&self, sealed: Sealed, pod: &PodName, path: &DfsPath) -> Result<bool, Fault> {
        let mut waiting = sealed;
        loop {
            self.transaction(TransactionBehavior::Immediate, |view, _| {
                view.announce(&waiting.reference)
            })?;
            let sealed = waiting;
            let done = self.transaction(TransactionBehavior::Immediate, |view, blobs| {
                if !view.arrives(&sealed.reference)? {
                    return Ok(ControlFlow::Continue(sealed));
                }
                let replaced = view.put_file(pod, path, sealed.size, &sealed.reference)?;
                blobs.keep(sealed)?;
                Ok(ControlFlow::Break(replaced))
            })?;
            match done {
                ControlFlow::Break(replaced) => return Ok(replaced),
                ControlFlow::Continue(sealed) => waiting = sealed,
            }
        }
    }

    fn sweep(&self) -> Result<(), Fault> {
        self.transaction(TransactionBehavior::Immediate, |view, blobs| {
            for content in view.leftovers()? {
                blobs.remove(&content)?;
            }
            view.forget_leftovers()
        })
    }
}

#[async_trait]
impl Dfs for LocalDfs {
    fn user(&self) -> &UserName {
        &self.store.user
    }

    async fn create_pod(&self, pod: &PodName) -> Result<(), Error> {
        let name = pod.clone();
        self.change(format!("make the pod `{pod}`"), move |view, _| {
            view.create_pod(&name).map(|_| ())
        })
        .await
    }

    async fn pods(&self) -> Result<Vec<Pod>, Error> {
        self.look("list the pods".to_owned(), |view| view.pods())
            .await
    }

    async fn pod(&self, pod: &PodName) -> Result<Pod, Error> {
        let name = pod.clone();
        self.look(format!("find the pod `{pod}`"), move |view| view.pod(&name))
            .await
    }

    async fn list(&self, place: &Place, directory: &DfsPath) -> Result<Vec<Entry>, Error> {
        let (at, path) = (place.clone(), directory.clone());
        self.look(format!("list `{directory}` in {place}"), move |view| {
            view.list(&at, &path)
        })
        .await
    }

    async fn stat(&self, place: &Place, path: &DfsPath) -> Result<Entry, Error> {
        let (at, below) = (place.clone(), path.clone());
        self.look(format!("look at `{path}` in {place}"), move |view| {
            view.stat(&at, &below)
        })
        .await
    }

    async fn read(&self, place: &Place, file: &DfsPath) -> Result<OpenFile, Error> {
        let (at, path) = (place.clone(), file.clone());
        // With the write lock held nobody deletes the content between looking it up and opening it.
        let (size, content) = self
            .change(format!("open `{file}` in {place}"), move |view, blobs| {
                let (size, reference) = view.file(&at, &path)?;
                Ok((size, blobs.read(&reference, size)?))
            })
            .await?;
        Ok(OpenFile {
            size,
            content: Box::new(BufReader::with_capacity(
                size.clamp(1, READ_AHEAD) as usize,
                tokio::fs::File::from_std(content),
            )),
        })
    }

    async fn write(
        &self,
        pod: &PodName,
        file: &DfsPath,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, Error> {
        let attempted = || format!("write `{file}` in pod `{pod}`");
        let (name, path) = (pod.clone(), file.clone());
        let room = self
            .look(attempted(), move |view| view.room_for_file(&name, &path))
            .await?;

        let store = self.store.clone();
        let storing = attempted();
        let mut staged = blocking(move || {
            store
                .blobs
                .stage()
                .map_err(|source| Fault::from(source).into_error(&storing))
        })
        .await?;
        let unreadable = |source| Error::Content {
            pod: pod.clone(),
            path: file.clone(),
            source,
        };
        let (mut piece, mut next) = (vec![0; PIECE], vec![0; PIECE]);
        let mut filled = fill(content, &mut piece).await.map_err(unreadable)?;
        while filled > 0 {
            room.check(staged.size().saturating_add(filled as u64))?;
            let storing = attempted();
            let store = blocking(move || {
                staged
                    .push(&piece[..filled])
                    .map_err(|source| Fault::from(source).into_error(&storing))?;
                Ok((staged, piece))
            });
            let read = async {
                match filled {
                    PIECE => fill(content, &mut next).await,
                    _ => Ok(0),
                }
            };
            let (stored, read) = tokio::join!(store, read);
            (staged, piece) = stored?;
            filled = read.map_err(unreadable)?;
            std::mem::swap(&mut piece, &mut next);
        }

        let (name, path) = (pod.clone(), file.clone());
        let (store, storing) = (self.store.clone(), attempted());
        let (size, replaced) = blocking(move || {
            let put = || {
                let sealed = staged.seal()?;
                let size = sealed.size;
                Ok((size, store.put(sealed, &name, &path)?))
            };
            put().map_err(|fault: Fault| fault.into_error(&storing))
        })
        .await?;
        if replaced {
            self.sweep().await;
        }
        Ok(size)
    }

    async fn make_directory(&self, pod: &PodName, directory: &DfsPath) -> Result<(), Error> {
        let (name, path) = (pod.clone(), directory.clone());
        self.change(
            format!("make `{directory}` in pod `{pod}`"),
            move |view, _| view.make_directory(&name, &path),
        )
        .await
    }

    async fn remove(&self, pod: &PodName, path: &DfsPath) -> Result<(), Error> {
        let (name, at) = (pod.clone(), path.clone());
        self.change(format!("remove `{path}` in pod `{pod}`"), move |view, _| {
            view.remove(&name, &at)
        })
        .await?;
        self.sweep().await;
        Ok(())
    }

    async fn share(&self, pod: &PodName) -> Result<Reference, Error> {
        let name = pod.clone();
        self.change(format!("share the pod `{pod}`"), move |view, _| {
            view.share(&name)
        })
        .await
    }

    async fn unshare(&self, pod: &PodName) -> Result<(), Error> {
        let name = pod.clone();
        self.change(
            format!("end the share of the pod `{pod}`"),
            move |view, _| view.unshare(&name),
        )
        .await
    }

    async fn share_info(&self, reference: &Reference) -> Result<ShareInfo, Error> {
        let reference = *reference;
        self.look(
            format!("look up what is shared as {reference}"),
            move |view| view.share_info(&reference),
        )
        .await
    }

    async fn receive(&self, reference: &Reference, name: &PodName) -> Result<Pod, Error> {
        let (reference, name) = (*reference, name.clone());
        self.change(
            format!("receive the pod shared as {reference}"),
            move |view, _| view.receive(&reference, name),
        )
        .await
    }

    async fn fork_pod(&self, from: &Place, name: &PodName) -> Result<(), Error> {
        let (source, fork) = (from.clone(), name.clone());
        self.change(
            format!("copy {from} to the pod `{name}`"),
            move |view, _| view.fork_pod(&source, &fork),
        )
        .await
    }

    async fn delete_pod(&self, pod: &PodName) -> Result<(), Error> {
        let name = pod.clone();
        self.change(format!("delete the pod `{pod}`"), move |view, _| {
            view.delete_pod(&name)
        })
        .await?;
        self.sweep().await;
        Ok(())
    }
}

/// Runs what may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// Reads until the buffer is full or the content ends.
async fn fill(
    content: &mut (dyn AsyncRead + Send + Unpin),
    buffer: &mut [u8],
) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]).await? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
