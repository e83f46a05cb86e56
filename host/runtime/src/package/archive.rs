//! The archive: what a zip may hold, and writing it out.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write as _};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::{Fault, PackageLimits, Refusal};

/// The manifest's name.
const MANIFEST: &str = "manifest.json";

/// Bytes of the largest manifest.
const MANIFEST_MAX: u64 = 1 << 20;

/// Bytes of the longest name of one directory or file; what file systems allow.
const COMPONENT_MAX: usize = 255;

/// Bytes of the longest name of an entry.
const NAME_MAX: usize = 1024;

/// The bits of a Unix mode that say what kind of file it is, and the kinds that are allowed.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// What was unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// Content of the manifest.
    pub(super) manifest: Vec<u8>,
    /// Names of all files.
    pub(super) files: HashSet<String>,
}

/// Unpacks an archive into an empty directory.
pub(super) fn unpack(
    package: File,
    directory: &Path,
    limits: PackageLimits,
) -> Result<Unpacked, Fault> {
    let mut archive = ZipArchive::new(package).map_err(unreadable)?;
    let entries = archive.len() as u64;
    if entries > limits.entries {
        return Err(Refusal::Entries {
            entries,
            most: limits.entries,
        }
        .into());
    }
    // The reader keeps only the last entry of a name.
    if archive.has_duplicate_names() {
        return Err(Refusal::Archive("two entries have the same name".into()).into());
    }
    let names = check(&mut archive)?;
    if archive.has_overlapping_entries().map_err(unreadable)? {
        return Err(Refusal::Archive("entries share their bytes".into()).into());
    }

    let mut unpacked = Unpacked {
        manifest: Vec::new(),
        files: HashSet::new(),
    };
    let mut left = limits.size;
    for (index, name) in names.into_iter().enumerate() {
        let mut entry = archive.by_index(index).map_err(unreadable)?;
        let path = directory.join(&name);
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(|error| failed(&name, &error))?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(&name, &error))?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| failed(&name, &error))?;
        left -= copy(&mut entry, left, limits.size, |bytes| {
            file.write_all(bytes).map_err(|error| failed(&name, &error))
        })
        .map_err(|fault| named(&name, fault))?;
        unpacked.files.insert(name);
    }

    if !unpacked.files.contains(MANIFEST) {
        return Err(
            Refusal::Manifest("is missing; it must lie at the top of the archive".into()).into(),
        );
    }
    let manifest =
        File::open(directory.join(MANIFEST)).map_err(|error| failed(MANIFEST, &error))?;
    manifest
        .take(MANIFEST_MAX + 1)
        .read_to_end(&mut unpacked.manifest)
        .map_err(|error| failed(MANIFEST, &error))?;
    if unpacked.manifest.len() as u64 > MANIFEST_MAX {
        return Err(
            Refusal::Manifest(format!("is longer than {MANIFEST_MAX} bytes").into()).into(),
        );
    }
    Ok(unpacked)
}

/// What reading an entry brought instead of bytes.
enum Copying {
    Fault(Fault),
    /// The entry's data is damaged.
    Damaged(String),
}

fn named(name: &str, copying: Copying) -> Fault {
    match copying {
        Copying::Fault(fault) => fault,
        Copying::Damaged(reason) => refuse(name, format!("cannot be unpacked: {reason}")).into(),
    }
}

/// Hands on all bytes of an entry, and answers how many there were.
fn copy(
    entry: &mut impl Read,
    left: u64,
    most: u64,
    mut hand_on: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<u64, Copying> {
    let mut buffer = vec![0; 64 << 10];
    let mut copied = 0;
    loop {
        let read = entry
            .read(&mut buffer)
            .map_err(|error| Copying::Damaged(error.to_string()))?;
        if read == 0 {
            return Ok(copied);
        }
        copied += read as u64;
        if copied > left {
            return Err(Copying::Fault(Refusal::Size { most }.into()));
        }
        hand_on(&buffer[..read]).map_err(Copying::Fault)?;
    }
}

/// Checks every entry before the first is written, and answers their names.
fn check(archive: &mut ZipArchive<File>) -> Result<Vec<String>, Fault> {
    // What is at each name, in lower case: on some file systems, names that differ in case are one.
    let mut seen: HashMap<String, Kind> = HashMap::new();
    let mut names = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(unreadable)?;
        let Ok(name) = std::str::from_utf8(entry.name_raw()) else {
            let name = String::from_utf8_lossy(entry.name_raw());
            return Err(refuse(&name, "has a name that is not UTF-8").into());
        };
        let kind = if name.ends_with('/') {
            Kind::Directory
        } else {
            Kind::File
        };
        let expected = if kind == Kind::Directory {
            DIRECTORY
        } else {
            REGULAR
        };
        match entry.unix_mode().map(|mode| mode & KIND) {
            // Archives made elsewhere have no kind.
            None | Some(0) => {}
            Some(found) if found == expected => {}
            Some(_) => {
                return Err(refuse(
                    name,
                    "is neither a plain file nor a directory, such as a symbolic link",
                )
                .into());
            }
        }
        if entry.encrypted() {
            return Err(refuse(name, "is encrypted").into());
        }
        if !matches!(
            entry.compression(),
            CompressionMethod::Stored | CompressionMethod::Deflated
        ) {
            return Err(refuse(name, "is compressed in another way than by deflate").into());
        }
        let plain = name.strip_suffix('/').unwrap_or(name);
        super::manifest::check_path(plain).map_err(|reason| refuse(name, reason))?;
        if plain.len() > NAME_MAX
            || plain
                .split('/')
                .any(|component| component.len() > COMPONENT_MAX)
        {
            return Err(refuse(name, "has too long a name").into());
        }
        let lower = plain.to_lowercase();
        for (end, _) in lower.match_indices('/') {
            if seen.insert(lower[..end].to_owned(), Kind::Directory) == Some(Kind::File) {
                return Err(refuse(name, "lies beneath a file of the archive").into());
            }
        }
        match seen.insert(lower, kind) {
            None => {}
            Some(Kind::Directory) if kind == Kind::Directory => {}
            Some(_) => {
                return Err(refuse(
                    name,
                    "differs from another entry only in case, or is a file and a directory",
                )
                .into());
            }
        }
        names.push(plain.to_owned());
    }
    Ok(names)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
}

fn refuse(name: &str, reason: impl Into<String>) -> Refusal {
    Refusal::Entry {
        name: name.into(),
        reason: reason.into(),
    }
}

fn unreadable(error: zip::result::ZipError) -> Fault {
    Refusal::Archive(error.to_string().into()).into()
}

fn failed(name: &str, error: &std::io::Error) -> Fault {
    Fault::Io(format!(
        "cannot write \"{}\": {error}",
        sovr_capability::Untrusted::from(name).escaped()
    ))
}
