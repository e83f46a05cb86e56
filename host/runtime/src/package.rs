//! WASI packages in Golem's own format: a zip archive with a manifest, modules and data.
//!
//! An archive from a stranger is unpacked in a confined child that reaches one empty directory. All names are checked
//! before anything is written, sizes are counted as bytes come out and not as the archive claims them, and everything
//! that is not a plain file or directory is refused rather than left out: a package that means something else than it
//! shows is not one to run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sovr_capability::Untrusted;
use sovr_sandbox::{Confinement, Role};

use crate::errand::{self, Allowed, ErrandError};

mod archive;
mod manifest;

/// What unpacking may take beside the limits of the package.
const TIME: Duration = Duration::from_secs(60);

/// See [`TIME`]. The directory of an archive is held in memory.
const MEMORY: u64 = 512 << 20;

/// `manifest.json` of a package. Its texts are the author's; escape them before a terminal sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Identifier, chosen by the author.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// What can be run.
    pub entry_points: Vec<EntryPoint>,
    /// Where the program wants directories.
    pub mount_points: Vec<MountPoint>,
}

/// A program of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPoint {
    /// What a requestor calls it by.
    pub id: String,
    /// Path of its wasm in the archive; beneath the unpacked directory after [`unpack`].
    pub wasm_path: String,
}

/// A directory that a package wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Absolute, normalised guest path, such as `/golem/work`, whichever way the manifest wrote it.
    pub path: String,
    /// How.
    pub access: Access,
}

/// How a program may use a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// `ro`: the program reads, the requestor writes.
    ReadOnly,
    /// `rw`: both read and write.
    ReadWrite,
    /// `wo`: the program writes, the requestor reads.
    WriteOnly,
    /// `private`: the program alone.
    Private,
}

impl Manifest {
    /// The entry point of that name.
    pub fn entry_point(&self, id: &str) -> Option<&EntryPoint> {
        self.entry_points.iter().find(|entry| entry.id == id)
    }
}

/// What a package may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageLimits {
    /// Bytes of all files, unpacked.
    pub size: u64,
    /// Files and directories in the archive.
    pub entries: u64,
}

impl Default for PackageLimits {
    /// 1 GiB in 10,000 entries.
    fn default() -> Self {
        Self {
            size: 1 << 30,
            entries: 10_000,
        }
    }
}

/// Why a package was not unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The directory cannot be used.
    #[error("cannot unpack a package into {}: {reason}", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        reason: String,
    },
    /// The package is not one that is accepted.
    #[error("the package is refused: {0}")]
    Refused(#[from] Refusal),
    /// Unpacking took too much.
    #[error("unpacking the package was stopped: {0}")]
    Limit(String),
    /// The child that unpacks failed.
    #[error("the package could not be unpacked: {0}")]
    Child(String),
}

/// What is wrong with a package.
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
    /// One entry is not acceptable.
    #[error("the entry \"{}\" {reason}", .name.escaped_within(80))]
    Entry {
        /// Its name in the archive.
        name: Untrusted,
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest is missing or wrong.
    #[error("its manifest.json {}", .0.escaped())]
    Manifest(Untrusted),
}

impl From<ErrandError> for PackageError {
    fn from(error: ErrandError) -> Self {
        if error.is_limit() {
            Self::Limit(error.to_string())
        } else {
            Self::Child(error.to_string())
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    limits: PackageLimits,
}

/// What a child answers.
type Answer = Result<Manifest, Fault>;

#[derive(Debug, Serialize, Deserialize)]
enum Fault {
    Refused(Refusal),
    /// The machine failed.
    Io(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Unpacks a package into `directory`, which must be empty, and answers its manifest. After an error the directory may
/// hold part of the package.
///
/// # Errors
/// The package is refused, or the machine failed.
pub async fn unpack(
    package: File,
    directory: &Path,
    limits: PackageLimits,
) -> Result<Manifest, PackageError> {
    let unusable = |reason: String| PackageError::Directory {
        directory: directory.to_owned(),
        reason,
    };
    let mut inside = std::fs::read_dir(directory).map_err(|error| unusable(error.to_string()))?;
    if inside.next().is_some() {
        return Err(unusable("it is not empty".to_owned()));
    }
    let directory = std::path::absolute(directory).map_err(|error| unusable(error.to_string()))?;
    let allowed = Allowed {
        time: TIME,
        memory: MEMORY,
        file_size: limits.size,
        threads: false,
    };
    let confinement = Confinement {
        write: vec![directory],
        ..allowed.confinement()
    };
    let answer: Answer = errand::send(
        Role::Unpack,
        &confinement,
        vec![package.into()],
        &Order { limits },
        TIME,
    )
    .await?;
    answer.map_err(|fault| match fault {
        Fault::Refused(refusal) => PackageError::Refused(refusal),
        Fault::Io(reason) => PackageError::Child(reason),
    })
}

/// The unpack child.
pub(crate) fn main() -> ExitCode {
    errand::serve(|order: Order, files: Vec<File>, confinement| -> Answer {
        let (Some(package), Some(directory)) =
            (files.into_iter().next(), confinement.write.first())
        else {
            return Err(Fault::Io("a package and a directory are needed".to_owned()));
        };
        let entries = archive::unpack(package, directory, order.limits)?;
        manifest::read(&entries.manifest, &entries.files)
            .map_err(|why| Refusal::Manifest(why.into()).into())
    })
}
