//! Zip archives from strangers.
//!
//! An archive is read in a confined child that reaches one empty directory and nothing else. All members are checked
//! before the first is written, sizes are counted as bytes come out and not as the archive claims them, and everything
//! that is not a plain file or directory is refused rather than left out: an archive that means something else than it
//! shows is not one to use. What is unpacked belongs to the user, is never executable, and is as old as its unpacking.
//!
//! The files are not forced to the disk, each by itself: whoever gives the directory its name does that once for all.
//!
//! Rejected: the unpacking of the zip library. It repairs names, makes links and takes the last of two members with one
//! name. Also rejected: unpacking as the archive comes in. What lies before a member's data need not be what the
//! directory at the end says, and only there can all names be seen before anything is written.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sovr_capability::{Untrusted, member};
use sovr_sandbox::{Confinement, Role};

use crate::errand::{self, Allowed, ErrandError};
use crate::package::{self, Manifest};

mod reader;
mod window;

/// What reading an archive may take. Its directory is held in memory.
const MEMORY: u64 = 512 << 20;

/// What looking for one member may take.
const MEMBER_TIME: Duration = Duration::from_secs(60);

/// Bytes of the largest member that is handed over instead of being written.
pub const MEMBER_MAX: u64 = 2 << 20;

/// What an archive may hold and take. The defaults are for the archives of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveLimits {
    /// Bytes of all files, unpacked.
    pub size: u64,
    /// Files and directories in the archive.
    pub entries: u64,
    /// Directories around a file, or around and including an empty directory.
    pub depth: usize,
    /// Bytes that come out for each byte of the archive. The first [`member::ALWAYS_CONTENT`] are not counted.
    pub ratio: u64,
    /// Wall clock.
    pub time: Duration,
}

impl Default for ArchiveLimits {
    /// 16 GiB in 100,000 entries, 64 directories deep, 200 bytes for one, 15 minutes.
    fn default() -> Self {
        Self {
            size: member::MOST_CONTENT,
            entries: member::MOST_MEMBERS,
            depth: member::MOST_DEPTH,
            ratio: member::MOST_RATIO,
            time: Duration::from_secs(15 * 60),
        }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unpacked {
    /// Files.
    pub files: u64,
    /// Directories, also those that are no members of their own.
    pub directories: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Why an archive was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The directory cannot be used.
    #[error("cannot unpack into {}: {reason}", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        reason: String,
    },
    /// The archive is not one that is accepted.
    #[error("the archive is refused: {0}")]
    Refused(#[from] Refusal),
    /// It took too much.
    #[error("reading the archive was stopped: {0}")]
    Limit(String),
    /// The child that reads it failed.
    #[error("the archive could not be read: {0}")]
    Child(String),
}

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no zip archive, or a damaged one.
    #[error("it is not a zip archive that can be read: {}", .0.escaped())]
    Archive(Untrusted),
    /// It has more entries than are allowed.
    #[error("it has {entries} entries, and at most {most} are allowed")]
    Entries {
        /// How many it has.
        entries: u64,
        /// How many it may have.
        most: u64,
    },
    /// It unpacks to more bytes than are allowed.
    #[error("it unpacks to more than the {most} bytes that are allowed")]
    Size {
        /// How many it may have.
        most: u64,
    },
    /// It unpacks to far more bytes than it has itself.
    #[error("it unpacks to more than {ratio} times its own size, as bombs do")]
    Ratio {
        /// How many times its size it may have.
        ratio: u64,
    },
    /// One member is not acceptable.
    #[error("the entry \"{}\" {reason}", .name.escaped_within(80))]
    Entry {
        /// Its name in the archive.
        name: Untrusted,
        /// What is wrong with it; continues a sentence and is safe to show.
        reason: String,
    },
}

impl From<ErrandError> for ArchiveError {
    fn from(error: ErrandError) -> Self {
        if error.is_limit() {
            Self::Limit(error.to_string())
        } else {
            Self::Child(error.to_string())
        }
    }
}

/// What the child is to do with an archive.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Write all of it.
    Unpack(ArchiveLimits),
    /// Write all of it, and read the manifest of a WASI package in it.
    Package(ArchiveLimits),
    /// Hand over one file.
    Member { name: String, most: u64 },
}

impl Order {
    fn limits(&self) -> ArchiveLimits {
        match self {
            Self::Unpack(limits) | Self::Package(limits) => *limits,
            Self::Member { .. } => ArchiveLimits {
                size: 0,
                time: MEMBER_TIME,
                ..ArchiveLimits::default()
            },
        }
    }
}

/// What it answers, in the order of [`Order`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Done {
    Unpacked(Unpacked),
    Package(Manifest),
    Member(Option<Vec<u8>>),
}

/// Why it did not.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Fault {
    Refused(Refusal),
    Manifest(Untrusted),
    /// The machine failed.
    Io(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Unpacks an archive into `directory`, which must be empty. After an error it may hold part of the archive.
///
/// # Errors
/// The archive is refused, or the machine failed.
pub async fn unpack(
    archive: File,
    directory: &Path,
    limits: &ArchiveLimits,
) -> Result<Unpacked, ArchiveError> {
    match unpack_as(Order::Unpack(*limits), archive, directory).await?? {
        Done::Unpacked(unpacked) => Ok(unpacked),
        other => Err(unasked(&other)),
    }
}

/// One file of an archive of a pod, or none where no file has exactly this name. Only what concerns this member is
/// checked: whether the archive would be unpacked is not said. At most [`MEMBER_MAX`] bytes are handed over, whatever
/// `most` says.
///
/// # Errors
/// The archive cannot be read, or the member is not a plain file of at most `most` bytes.
pub async fn read_member(
    archive: File,
    name: &str,
    most: u64,
) -> Result<Option<Vec<u8>>, ArchiveError> {
    if name.len() > member::MOST_BYTES {
        return Ok(None);
    }
    let order = Order::Member {
        name: name.to_owned(),
        most: most.min(MEMBER_MAX),
    };
    match send(&order, archive, Vec::new()).await?? {
        Done::Member(content) => Ok(content),
        other => Err(unasked(&other)),
    }
}

impl From<Fault> for ArchiveError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refusal) => Self::Refused(refusal),
            Fault::Manifest(_) => Self::Child("it asked for a manifest".to_owned()),
            Fault::Io(reason) => Self::Child(reason),
        }
    }
}

/// An answer to another order.
pub(crate) fn unasked(done: &Done) -> ArchiveError {
    let what = match done {
        Done::Unpacked(_) => "files",
        Done::Package(_) => "a package",
        Done::Member(_) => "a member",
    };
    ArchiveError::Child(format!("its process answered with {what}, unasked"))
}

/// Has an archive written into a directory that is empty.
pub(crate) async fn unpack_as(
    order: Order,
    archive: File,
    directory: &Path,
) -> Result<Result<Done, Fault>, ArchiveError> {
    let unusable = |reason: String| ArchiveError::Directory {
        directory: directory.to_owned(),
        reason,
    };
    let mut inside = std::fs::read_dir(directory).map_err(|error| unusable(error.to_string()))?;
    if inside.next().is_some() {
        return Err(unusable("it is not empty".to_owned()));
    }
    let directory = std::path::absolute(directory).map_err(|error| unusable(error.to_string()))?;
    send(&order, archive, vec![directory]).await
}

async fn send(
    order: &Order,
    archive: File,
    write: Vec<PathBuf>,
) -> Result<Result<Done, Fault>, ArchiveError> {
    let limits = order.limits();
    let allowed = Allowed {
        time: limits.time,
        memory: MEMORY,
        file_size: limits.size,
        threads: false,
    };
    let confinement = Confinement {
        write,
        ..allowed.confinement()
    };
    let files: Vec<OwnedFd> = vec![archive.into()];
    Ok(errand::send(Role::Unpack, &confinement, files, order, limits.time).await?)
}

/// The unpack child.
pub(crate) fn main() -> ExitCode {
    errand::serve(|order: Order, files: Vec<File>, confinement| {
        let Some(archive) = files.into_iter().next() else {
            return Err(Fault::Io("an archive is needed".to_owned()));
        };
        let directory = || {
            let needed = || Fault::Io("a directory is needed".to_owned());
            confinement.write.first().ok_or_else(needed)
        };
        let limits = order.limits();
        Ok(match order {
            Order::Unpack(_) => {
                Done::Unpacked(reader::unpack(archive, directory()?, &limits)?.unpacked)
            }
            Order::Package(_) => {
                let directory = directory()?;
                let files = reader::unpack(archive, directory, &limits)?.files;
                Done::Package(package::manifest::find(directory, &files)?)
            }
            Order::Member { name, most } => {
                Done::Member(reader::member(archive, &name, most, &limits)?)
            }
        })
    })
}
