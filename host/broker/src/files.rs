//! What a script sends and fetches, as the two ends of a transfer: files of its tree, and bytes it handed over.
//!
//! A path is opened anew for each try, beneath the tree's root and through no link; what the script did to the tree in
//! the meantime changes which file that is, never whose.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sovr_capability::Size;
use sovr_golem::transfer::{Bytes, Content, Partial};
use sovr_golem::{Sink, Source};
use sovr_pod::tree::TreeError;
use sovr_pod::{GuestPath, PartialFile, Quota, Tree};
use sovr_runtime::bindings::errors::Error;

/// The files of a run.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) tree: Arc<Tree>,
    pub(crate) quota: Arc<Quota>,
    /// Where spool files lie.
    pub(crate) scratch: PathBuf,
    /// Bytes of scripts that wait in memory to be sent.
    pub(crate) waiting: Arc<AtomicUsize>,
}

/// Most bytes that wait in memory to be sent, in all tasks of a run together.
const MOST_WAITING: usize = 64 << 20;

impl Files {
    /// The file at `path`, to be read.
    pub(crate) fn source(&self, path: GuestPath) -> Arc<dyn Source> {
        Arc::new(TreeSource {
            tree: Arc::clone(&self.tree),
            path,
        })
    }

    /// Bytes to be sent, held in memory until nobody needs them any more.
    pub(crate) fn bytes(&self, content: Vec<u8>) -> Result<Arc<dyn Source>, Error> {
        let length = content.len();
        let held = Held {
            waiting: Arc::clone(&self.waiting),
            length,
        };
        if self.waiting.fetch_add(length, Ordering::Relaxed) + length > MOST_WAITING {
            return Err(Error::Invalid(format!(
                "more than {} of bytes wait to be sent; write them to a file and send that",
                Size::bytes(MOST_WAITING as u64)
            )));
        }
        Ok(Arc::new(HeldBytes {
            bytes: Bytes::new(content),
            _held: held,
        }))
    }

    /// A file that nobody sees, for what passes through this machine without being the pod's.
    pub(crate) fn spool(&self) -> io::Result<Spool> {
        Ok(Spool {
            file: tempfile::NamedTempFile::new_in(&self.scratch)?,
            most: self.quota.left(),
        })
    }

    /// The file at `path`, to be written.
    pub(crate) fn sink(&self, path: GuestPath) -> Arc<dyn Sink> {
        Arc::new(TreeSink {
            files: self.clone(),
            path,
        })
    }
}

/// A file between two transfers; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Spool {
    file: tempfile::NamedTempFile,
    most: u64,
}

impl Source for Spool {
    fn describe(&self) -> String {
        "a file on its way".to_owned()
    }

    fn open(&self) -> io::Result<Box<dyn Content>> {
        Ok(Box::new(self.file.reopen()?))
    }
}

impl Sink for Spool {
    fn describe(&self) -> String {
        "a file on its way".to_owned()
    }

    fn most(&self) -> u64 {
        self.most
    }

    fn create(&self) -> io::Result<Box<dyn Partial>> {
        let file = self.file.reopen()?;
        file.set_len(0)?;
        Ok(Box::new(SpoolPartial(file)))
    }
}

struct SpoolPartial(File);

impl Write for SpoolPartial {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Partial for SpoolPartial {
    fn commit(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct HeldBytes {
    bytes: Bytes,
    _held: Held,
}

impl Source for HeldBytes {
    fn describe(&self) -> String {
        self.bytes.describe()
    }

    fn open(&self) -> io::Result<Box<dyn Content>> {
        self.bytes.open()
    }
}

/// A share of [`Files::waiting`].
#[derive(Debug)]
struct Held {
    waiting: Arc<AtomicUsize>,
    length: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.length, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct TreeSource {
    tree: Arc<Tree>,
    path: GuestPath,
}

impl Source for TreeSource {
    fn describe(&self) -> String {
        self.path.to_string()
    }

    fn open(&self) -> io::Result<Box<dyn Content>> {
        Ok(Box::new(self.tree.open_read(&self.path).map_err(as_io)?))
    }
}

#[derive(Debug)]
struct TreeSink {
    files: Files,
    path: GuestPath,
}

impl Sink for TreeSink {
    fn describe(&self) -> String {
        self.path.to_string()
    }

    fn most(&self) -> u64 {
        self.files.quota.left()
    }

    fn create(&self) -> io::Result<Box<dyn Partial>> {
        // What the script wrote by itself counts as well, and is known only by looking.
        let Files { tree, quota, .. } = &self.files;
        tree.account(quota).map_err(as_io)?;
        let file = tree.create(&self.path, quota).map_err(as_io)?;
        Ok(Box::new(TreePartial(file)))
    }
}

struct TreePartial(PartialFile);

impl Write for TreePartial {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Partial for TreePartial {
    fn commit(self: Box<Self>) -> io::Result<()> {
        self.0.commit().map_err(as_io)
    }
}

fn as_io(error: TreeError) -> io::Error {
    let kind = match &error {
        TreeError::NotFound { .. } => io::ErrorKind::NotFound,
        TreeError::Refused { .. } => io::ErrorKind::PermissionDenied,
        TreeError::Exceeded(_) => io::ErrorKind::QuotaExceeded,
        TreeError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
