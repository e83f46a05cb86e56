//! Both ends of a file transfer, as the caller sees them.
//!
//! A step names a [`Source`] or a [`Sink`], not a path: whoever built the step has decided which file that is and
//! whether it may be touched. Both are opened anew for each try of a task, so they must give the same file each time.
//! Files stream through a fixed buffer; what crosses is counted against a cap and against the length that the sender
//! stated, so that a file that ends early is an error and never a result.

use std::fmt;
use std::io::{self, Cursor, Read, Seek, Write};
use std::sync::Arc;

/// Bytes moved at a time.
pub const BUFFER: usize = 64 * 1024;

/// Something that can be read, again and again. Its calls block.
pub trait Source: fmt::Debug + Send + Sync {
    /// For messages: what it is, in the words of whoever built the step.
    fn describe(&self) -> String;

    /// Opens it at its start.
    fn open(&self) -> io::Result<Box<dyn Content>>;
}

/// An open source. Positions are needed because Golem's own transfer asks for chunks by offset.
pub trait Content: Read + Seek + Send {}

impl<T: Read + Seek + Send> Content for T {}

/// Somewhere a file can be put. Its calls block.
pub trait Sink: fmt::Debug + Send + Sync {
    /// For messages: what it is, in the words of whoever built the step.
    fn describe(&self) -> String;

    /// Most bytes it takes; one more fails the transfer.
    fn most(&self) -> u64;

    /// Begins a file that nobody sees yet.
    fn create(&self) -> io::Result<Box<dyn Partial>>;
}

/// A file that is being written. Dropping it discards what was written.
pub trait Partial: Write + Send {
    /// Shows the complete file under its name, replacing an older one.
    fn commit(self: Box<Self>) -> io::Result<()>;
}

/// A source in memory.
#[derive(Clone)]
pub struct Bytes(Arc<[u8]>);

impl Bytes {
    /// These bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

impl Source for Bytes {
    fn describe(&self) -> String {
        format!("{} bytes given by the script", self.0.len())
    }

    fn open(&self) -> io::Result<Box<dyn Content>> {
        Ok(Box::new(Cursor::new(Arc::clone(&self.0))))
    }
}
