//! What is done on a provider, and what is heard from there.

use std::sync::Arc;

use crate::failure::Failure;
use crate::transfer::{Sink, Source};

/// Most bytes of a program's output that are kept, per stream and step.
pub const CAPTURE: usize = 64 * 1024;

/// Most bytes that a [`Step::DownloadBytes`] may ask for.
pub const MOST_BYTES: u64 = 1024 * 1024;

/// One thing to do on a provider. Paths there are absolute and lie beneath a mount point of the package.
#[derive(Debug, Clone)]
pub enum Step {
    /// Puts a file there.
    Send {
        /// What is sent.
        source: Arc<dyn Source>,
        /// Where it goes.
        destination: String,
    },
    /// Runs a program of the package.
    Run {
        /// Entry point's id in a WASI package; path of the program in a virtual machine image.
        program: String,
        /// Arguments after the program's own name.
        args: Vec<String>,
    },
    /// Fetches a file from there.
    Download {
        /// Which file.
        source: String,
        /// Where it goes.
        sink: Arc<dyn Sink>,
    },
    /// Fetches a small file into [`StepResult::bytes`].
    DownloadBytes {
        /// Which file.
        source: String,
        /// Most bytes accepted; never more than [`MOST_BYTES`].
        most: u64,
    },
}

/// An entry of a batch.
#[derive(Debug, Clone)]
pub enum Command {
    /// Prepares the package and its volumes.
    Deploy,
    /// Makes the deployed package ready to run programs.
    Start,
    /// One step.
    Step(Step),
    /// Stops the package; after it comes [`Command::Deploy`] again or nothing.
    Terminate,
}

/// What one step left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepResult {
    /// What the program printed, cut at [`CAPTURE`], invalid UTF-8 replaced. Empty for transfers.
    pub stdout: String,
    /// The same of its standard error.
    pub stderr: String,
    /// Exit code of a program.
    pub exit_code: Option<i32>,
    /// Content of a [`Step::DownloadBytes`].
    pub bytes: Option<Vec<u8>>,
}

impl StepResult {
    /// Bytes it takes in memory, by rough count.
    pub(crate) fn size(&self) -> usize {
        let bytes = self.bytes.as_ref().map_or(0, Vec::len);
        self.stdout.len() + self.stderr.len() + bytes
    }
}

/// What happens on a provider while a batch runs there. Its commands are counted from 0.
#[derive(Debug, Clone)]
pub enum BatchEvent {
    /// The step has begun.
    Started(u32),
    /// Its program printed this.
    Stdout(u32, String),
    /// Its program printed this to standard error.
    Stderr(u32, String),
    /// A transfer moved on.
    Progress {
        /// The step.
        step: u32,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// The step is done.
    Finished(u32, StepResult),
    /// The batch is over; nothing more comes from it.
    Ended(Result<(), Failure>),
}
