//! WASI packages in Golem's own format: a zip archive with a manifest, modules and data.
//!
//! A stranger's package is unpacked like any other archive, see [`archive`], and the child that unpacks it also reads
//! its manifest: what a stranger wrote is parsed nowhere else.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sovr_capability::Untrusted;

use crate::archive::{self, ArchiveError, ArchiveLimits, Done, Fault, Order};

pub(crate) mod manifest;

/// What unpacking may take beside the limits of the package.
const TIME: Duration = Duration::from_secs(60);

/// Deflate makes no more of a byte, so a package is bounded by its size alone.
const RATIO: u64 = 1032;

/// No name has room for more directories.
const DEPTH: usize = sovr_capability::member::MOST_BYTES / 2;

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

impl From<PackageLimits> for ArchiveLimits {
    fn from(PackageLimits { size, entries }: PackageLimits) -> Self {
        Self {
            size,
            entries,
            depth: DEPTH,
            ratio: RATIO,
            time: TIME,
        }
    }
}

/// Why a package was not unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// It cannot be unpacked.
    #[error("the package cannot be used: {0}")]
    Archive(#[from] ArchiveError),
    /// The manifest is missing or wrong.
    #[error("the package is refused: its manifest.json {}", .0.escaped())]
    Manifest(Untrusted),
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
    let order = Order::Package(limits.into());
    match archive::unpack_as(order, package, directory).await? {
        Ok(Done::Package(manifest)) => Ok(manifest),
        Ok(other) => Err(archive::unasked(&other).into()),
        Err(Fault::Manifest(why)) => Err(PackageError::Manifest(why)),
        Err(fault) => Err(ArchiveError::from(fault).into()),
    }
}
