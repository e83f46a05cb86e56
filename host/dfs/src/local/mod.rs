//! The embedded store: pods of this machine's users, kept in one directory, without a server.
//!
//! Content lies in files named by their Swarm reference ([`blobs`]), so equal content is kept once and can be
//! checked; what belongs where is a SQLite database ([`index`]). A file is first stored under its reference and
//! then becomes visible by one transaction, so it appears whole or not at all, and content that nothing points to
//! any more is deleted by a transaction of its own. The database's write lock orders all of this between
//! processes; there is no other state.
//!
//! Rejected: pods as plain directories (two names that differ in case cannot be told apart on every file system,
//! replacing a file is atomic but listing and caps are not), and content inside the database (no streaming).

mod blobs;
mod index;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};
use tokio::io::{AsyncRead, AsyncReadExt};

use self::blobs::{Blobs, Staged};
use self::index::{Fault, View};
use crate::{Dfs, DfsPath, Entry, Error, OpenFile, Pod, PodName, Reference, UserName};

/// Bytes that move at once from a stream to the disk.
const PIECE: usize = 256 << 10;

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
            view.create_pod(&name)
        })
        .await
    }

    async fn pods(&self) -> Result<Vec<Pod>, Error> {
        self.look("list the pods".to_owned(), |view| view.pods())
            .await
    }

    async fn pod(&self, pod: &PodName) -> Result<Pod, Error> {
        let name = pod.clone();
        self.look(format!("find the pod `{pod}`"), move |view| {
            Ok(Pod {
                access: view.pod(&name)?.access,
                name,
            })
        })
        .await
    }

    async fn list(&self, pod: &PodName, directory: &DfsPath) -> Result<Vec<Entry>, Error> {
        let (name, path) = (pod.clone(), directory.clone());
        self.look(format!("list `{directory}` in pod `{pod}`"), move |view| {
            view.list(&name, &path)
        })
        .await
    }

    async fn stat(&self, pod: &PodName, path: &DfsPath) -> Result<Entry, Error> {
        let (name, at) = (pod.clone(), path.clone());
        self.look(format!("look at `{path}` in pod `{pod}`"), move |view| {
            view.stat(&name, &at)
        })
        .await
    }

    async fn read(&self, pod: &PodName, file: &DfsPath) -> Result<OpenFile, Error> {
        let (name, path) = (pod.clone(), file.clone());
        // With the write lock held nobody deletes the content between looking it up and opening it.
        let (size, content) = self
            .change(
                format!("open `{file}` in pod `{pod}`"),
                move |view, blobs| {
                    let (size, reference) = view.file(&name, &path)?;
                    Ok((size, blobs.read(&reference, size)?))
                },
            )
            .await?;
        Ok(OpenFile {
            size,
            content: Box::new(tokio::fs::File::from_std(content)),
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
        let mut piece = vec![0; PIECE];
        loop {
            let filled = fill(content, &mut piece)
                .await
                .map_err(|source| Error::Content {
                    pod: pod.clone(),
                    path: file.clone(),
                    source,
                })?;
            if filled == 0 {
                break;
            }
            room.check(staged.size().saturating_add(filled as u64))?;
            let storing = attempted();
            (staged, piece) = blocking(move || {
                staged
                    .push(&piece[..filled])
                    .map_err(|source| Fault::from(source).into_error(&storing))?;
                Ok((staged, piece))
            })
            .await?;
        }

        let (name, path) = (pod.clone(), file.clone());
        let storing = attempted();
        let sealed = blocking(move || {
            Staged::seal(staged).map_err(|source| Fault::from(source).into_error(&storing))
        })
        .await?;
        let size = sealed.size;
        let replaced = self
            .change(attempted(), move |view, blobs| {
                let replaced = view.put_file(&name, &path, sealed.size, &sealed.reference)?;
                blobs.keep(sealed)?;
                Ok(replaced)
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

    async fn receive(&self, reference: &Reference, name: &PodName) -> Result<Pod, Error> {
        let (reference, name) = (*reference, name.clone());
        self.change(
            format!("receive the pod shared as {reference}"),
            move |view, _| view.receive(&reference, name),
        )
        .await
    }
}

/// Runs what may block. A panic in it goes on here.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down.
            Err(_) => Err(Error::Storage {
                attempted: "finish its work".to_owned(),
                reason: "the program is ending".to_owned(),
                next: "try again",
            }),
        },
    }
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
