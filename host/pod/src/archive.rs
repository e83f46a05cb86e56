//! Packing a pod, a task or a shared directory into a zip archive.
//!
//! [`plan`] looks at everything before the first byte is written and names all that cannot be packed at once: a guest
//! may have left a link in `output/`, and an archive that follows it publishes what it points to. What is no part of a
//! pod is left out by its name and reported: secrets that lie about, histories, what editors leave, and results unless
//! they are asked for. Nothing else is dropped silently, and every file is opened like any other file of a [`Tree`].
//!
//! The same tree gives the same bytes, whatever its times, modes and the order in which it was made: members are sorted
//! by bytes, times and modes are fixed. So an archive that is stored twice has one digest, and nobody learns from it
//! when and by whom a file was touched. Names follow [`sovr_capability::member`], as they do where it is unpacked.
//!
//! Rejected: following links within the pod. What a link points to can change between the look and the reading, and
//! the original's unpacking makes plain files of links.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use flate2::{Compress, Compression, FlushCompress, Status};
use rustix::io::Errno;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sovr_capability::{Digest, Untrusted, member};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::{Area, Finding, GuestPath, Tree};

mod ignored;
mod plan;

/// Deflate's level: the usual one.
const LEVEL: i64 = 6;

/// Bytes of a file's beginning that tell whether it is worth compressing, and how long a file is to be for that: one
/// that is compressed already, such as a picture, is stored as it is, a dozen times faster.
const SAMPLE: usize = 64 << 10;
/// A sample that shrinks by less than a fiftieth does not shrink.
const WORTH: usize = SAMPLE - SAMPLE / 50;

/// Bytes that are read and written at once.
const PIECE: usize = 256 << 10;

/// Bytes from which on a file's sizes are written with 64 bits: 4 GiB, less what deflate may add to what it cannot
/// compress.
const LARGE: u64 = (4 << 30) - (16 << 20);

/// What is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A pod. Its directories are in the archive even if they are missing or empty, because the original's pods expect
    /// them: `script/`, `payload/`, `output/`, `logs/`.
    Pod,
    /// A task. The pods that a run forked into it are left out; they are fetched again. `payload/` is always there.
    Task,
}

/// What goes into an archive beside the files of the tree.
#[derive(Debug, Clone)]
pub struct Contents {
    /// What is packed.
    pub kind: Kind,
    /// Whether what lies in `output/` and `logs/` is packed too.
    pub outputs: bool,
    /// The archive's `recipe.json`, whatever file the recipe was read from.
    pub recipe: Vec<u8>,
    /// The archive's `sovr.lock`. The tree's own is never packed.
    pub lock: Option<Vec<u8>>,
}

/// An archive that can be written.
#[derive(Debug)]
pub struct Archive {
    tree: Tree,
    /// Sorted by the bytes of their names.
    members: Vec<Member>,
    left_out: Vec<LeftOut>,
    bytes: u64,
}

/// One file or directory of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    name: String,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Directory,
    Given(Vec<u8>),
    /// A file of the tree, at this path from the tree's root.
    File {
        path: String,
        size: u64,
    },
}

impl Member {
    /// Its name in the archive; a directory's ends with `/`. It is a stranger's, but has no hidden characters.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of a file; none for a directory.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match &self.content {
            Content::Directory => None,
            Content::Given(bytes) => Some(bytes.len() as u64),
            Content::File { size, .. } => Some(*size),
        }
    }
}

/// Something in the tree that is not packed: one file, or a directory with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeftOut {
    /// From the root of what is packed; a directory's ends with `/`.
    pub path: Untrusted,
    /// Why.
    pub why: &'static str,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Bytes of the archive.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// Why something was not packed. Messages are safe to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Something lies there that cannot be packed.
    #[error("{} cannot be packed as it lies there:{}", .place.escaped(), Lines(.findings))]
    Refused {
        /// The pod's directory.
        place: Untrusted,
        /// What, each with its path.
        findings: Vec<Finding>,
    },
    /// A directory that may not be shared, or is none.
    #[error("{path} cannot be packed: {problem}")]
    Directory {
        /// The directory.
        path: GuestPath,
        /// Why.
        problem: String,
    },
    /// Something writes in the tree.
    #[error("\"{}\" {what} while it was packed; wait until nothing writes there, and try again", .path.escaped())]
    Changed {
        /// The file.
        path: Untrusted,
        /// What happened to it.
        what: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read \"{}\": {source}", .path.escaped())]
    Io {
        /// The file.
        path: Untrusted,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was packed compresses so well that nobody would unpack it.
    #[error(
        "the {bytes} bytes compress to {size}, and archives that unpack to more than {} times their size are refused as bombs; remove files that hold nothing but repetitions",
        member::MOST_RATIO
    )]
    Bomb {
        /// Bytes of all files.
        bytes: u64,
        /// Bytes of the archive.
        size: u64,
    },
    /// The archive could not be handed on.
    #[error("cannot write the archive: {0}")]
    Output(#[source] io::Error),
}

struct Lines<'a>(&'a [Finding]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

/// Looks at a whole pod or task and decides what goes into its archive. Nothing is read but names and sizes.
///
/// # Errors
/// When something lies there that cannot be packed; all of it is named.
pub fn plan(tree: &Tree, contents: Contents) -> Result<Archive, ArchiveError> {
    plan::whole(tree, contents)
}

/// Looks at one directory in `output/` or `payload/`, or one of these themselves. Its members' names are relative to it.
///
/// # Errors
/// As for [`plan`], and when it is another directory or none.
pub fn plan_directory(tree: &Tree, directory: &GuestPath) -> Result<Archive, ArchiveError> {
    let problem = |problem: &str| ArchiveError::Directory {
        path: directory.clone(),
        problem: problem.to_owned(),
    };
    if !matches!(directory.area(), Area::Output | Area::Payload) {
        return Err(problem(
            "only directories in output/ and payload/ can be shared",
        ));
    }
    tree.open_directory(Path::new(directory.as_str()))
        .map_err(|errno| match errno {
            Errno::NOENT => problem("there is nothing"),
            Errno::NOTDIR => problem("it is not a directory"),
            Errno::LOOP => problem("a part of it is a symbolic link"),
            errno => problem(&io::Error::from(errno).to_string()),
        })?;
    plan::directory(tree, directory)
}

impl Archive {
    /// Everything that is packed, in its order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Everything that is not, sorted.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Bytes of all files before compression.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes the archive. It is complete only when this answers without an error; the caller flushes and syncs.
    ///
    /// # Errors
    /// When a file is not what it was when it was looked at, or `to` fails.
    pub fn write(&self, to: &mut dyn Write) -> Result<Written, ArchiveError> {
        let over = Cell::new(false);
        let tally = Tally {
            to,
            hasher: Sha256::new(),
            size: 0,
            over: &over,
        };
        let mut zip = ZipWriter::new_stream(BufWriter::with_capacity(PIECE, tally));
        if let Err(error) = self.write_members(&mut zip) {
            over.set(true);
            return Err(error);
        }
        let tally = zip
            .finish()
            .map_err(output)?
            .into_inner()
            .into_inner()
            .map_err(|error| ArchiveError::Output(error.into_error()))?;
        let written = Written {
            size: tally.size,
            sha256: Digest::from_bytes(tally.hasher.finalize().into()),
        };
        if self.bytes > member::most_content(written.size, member::MOST_RATIO) {
            return Err(ArchiveError::Bomb {
                bytes: self.bytes,
                size: written.size,
            });
        }
        Ok(written)
    }

    fn write_members<W: Write + io::Seek>(
        &self,
        zip: &mut ZipWriter<W>,
    ) -> Result<(), ArchiveError> {
        let mut buffer = vec![0; PIECE];
        for Member { name, content } in &self.members {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .compression_level(Some(LEVEL))
                .last_modified_time(DateTime::default());
            match content {
                Content::Directory => {
                    let options = options
                        .compression_method(CompressionMethod::Stored)
                        .compression_level(None)
                        .unix_permissions(0o755);
                    zip.add_directory(name, options).map_err(output)?;
                }
                Content::Given(bytes) => {
                    zip.start_file(name, options.unix_permissions(0o644))
                        .map_err(output)?;
                    zip.write_all(bytes).map_err(ArchiveError::Output)?;
                }
                Content::File { path, size } => {
                    let mut options = options.unix_permissions(0o644).large_file(*size >= LARGE);
                    if !self.shrinks(path, *size, &mut buffer[..SAMPLE])? {
                        options = options
                            .compression_method(CompressionMethod::Stored)
                            .compression_level(None);
                    }
                    zip.start_file(name, options).map_err(output)?;
                    self.copy(path, *size, &mut buffer, zip)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a file seems to be worth compressing.
    fn shrinks(&self, path: &str, size: u64, sample: &mut [u8]) -> Result<bool, ArchiveError> {
        if size < sample.len() as u64 {
            return Ok(true);
        }
        let mut file = self.open(path)?;
        if file.read_exact(sample).is_err() {
            // Whatever is wrong with it, copying it tells.
            return Ok(true);
        }
        let mut compressed = Vec::with_capacity(WORTH);
        let mut deflate = Compress::new(Compression::fast(), false);
        let done = deflate.compress_vec(sample, &mut compressed, FlushCompress::Finish);
        // Without room for the rest of it, it has not come to its end.
        Ok(matches!(done, Ok(Status::StreamEnd)))
    }

    fn open(&self, path: &str) -> Result<File, ArchiveError> {
        let changed = |what| ArchiveError::Changed {
            path: path.into(),
            what,
        };
        self.tree
            .open_file(Path::new(path))
            .map_err(|errno| match errno {
                Errno::NOENT | Errno::NOTDIR => changed("vanished"),
                Errno::LOOP => changed("became a symbolic link"),
                Errno::MLINK => changed("got a second name (a hard link)"),
                Errno::NODEV | Errno::NXIO => changed("became something else than a file"),
                errno => ArchiveError::Io {
                    path: path.into(),
                    source: errno.into(),
                },
            })
    }

    /// A file of the tree, which must be as long as it was.
    fn copy(
        &self,
        path: &str,
        size: u64,
        buffer: &mut [u8],
        to: &mut impl Write,
    ) -> Result<(), ArchiveError> {
        let changed = |what| ArchiveError::Changed {
            path: path.into(),
            what,
        };
        let failed = |source| ArchiveError::Io {
            path: path.into(),
            source,
        };
        let mut file = self.open(path)?;
        let stamp = |file: &File| {
            let stat = rustix::fs::fstat(file).map_err(|errno| failed(errno.into()))?;
            Ok((stat.st_size, stat.st_mtime, stat.st_mtime_nsec))
        };
        let before = stamp(&file)?;
        let mut left = size;
        loop {
            let read = match file.read(buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            left = left
                .checked_sub(read as u64)
                .ok_or_else(|| changed("grew"))?;
            to.write_all(&buffer[..read])
                .map_err(ArchiveError::Output)?;
        }
        if left > 0 {
            return Err(changed("became shorter"));
        }
        if stamp(&file)? != before {
            return Err(changed("was written to"));
        }
        Ok(())
    }
}

fn output(error: ZipError) -> ArchiveError {
    ArchiveError::Output(match error {
        ZipError::Io(error) => error,
        error => io::Error::other(error),
    })
}

/// Hands on what is written and knows what it was.
struct Tally<'a> {
    to: &'a mut dyn Write,
    hasher: Sha256,
    size: u64,
    /// Whether what is still written goes nowhere.
    over: &'a Cell<bool>,
}

impl Write for Tally<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.over.get() {
            return Ok(buffer.len());
        }
        // The library completes the archive when it is dropped, and complains on standard error where it cannot.
        let written = self.to.write(buffer).inspect_err(|_| self.over.set(true))?;
        self.hasher.update(&buffer[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.over.get() {
            return Ok(());
        }
        self.to.flush()
    }
}
