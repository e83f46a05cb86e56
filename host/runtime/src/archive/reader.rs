//! What an archive may hold, and writing it out.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use sovr_capability::Untrusted;
use sovr_capability::member::{self, Kind, Members};
use zip::read::{ZipArchiveMetadata, ZipFile, ZipFileEntry, ZipReadOptions};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::window::Window;
use super::{ArchiveLimits, Fault, Refusal, Unpacked};

/// Bytes that are written at once.
const PIECE: usize = 256 << 10;

/// The bits of a Unix mode that say what kind of file it is, the kinds that are allowed, and the bits that lend the
/// rights of the file's owner.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SPECIAL: u32 = 0o7_000;

/// What stands before the data of an entry: a signature, fixed fields, and then its name and more of two lengths.
const LOCAL: usize = 30;
const LOCAL_SIGNATURE: &[u8] = b"PK\x03\x04";

/// What stands before an entry's name in the directory.
const CENTRAL: usize = 46;
const CENTRAL_SIGNATURE: &[u8] = b"PK\x01\x02";

/// What was unpacked.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) unpacked: Unpacked,
    /// Names of all files.
    pub(super) files: HashSet<String>,
}

/// A member of the archive, checked.
struct Found {
    name: String,
    kind: Kind,
    /// Where it stands in the directory.
    index: usize,
}

/// An archive and its directory.
struct Archive {
    window: Window,
    directory: Arc<ZipArchiveMetadata>,
}

/// Unpacks an archive into an empty directory.
pub(super) fn unpack(
    archive: File,
    directory: &Path,
    limits: &ArchiveLimits,
) -> Result<Written, Fault> {
    let mut archive = Archive::open(archive, limits)?;
    let found = archive.check(limits)?;
    let mut target = Target::open(directory)?;
    let mut files = HashSet::new();
    let mut room = Room::new(limits, archive.window.length());
    let mut buffer = vec![0; PIECE];
    for Found { name, kind, index } in found {
        if kind == Kind::Directory {
            target.make_directory(&name)?;
            continue;
        }
        let mut file = target.make_file(&name)?;
        let mut content = archive.content(index, &name)?;
        let mut written = 0;
        loop {
            let piece = fill(&mut content, &mut buffer).map_err(|error| damaged(&name, &error))?;
            if piece.is_empty() {
                break;
            }
            room.take(piece.len() as u64)?;
            file.write_all(piece)
                .map_err(|error| failed(&name, &error))?;
            written += piece.len() as u64;
        }
        if written != content.size() {
            return Err(refuse(&name, "has another size than it says").into());
        }
        target.unpacked.files += 1;
        target.unpacked.bytes += written;
        drop(content);
        files.insert(name);
    }
    Ok(Written {
        unpacked: target.unpacked,
        files,
    })
}

/// The content of one file. Other members are looked at only as far as they could be taken for this one.
pub(super) fn member(
    archive: File,
    name: &str,
    most: u64,
    limits: &ArchiveLimits,
) -> Result<Option<Vec<u8>>, Fault> {
    let mut archive = Archive::open(archive, limits)?;
    let Some(index) = archive.find(name)? else {
        return Ok(None);
    };
    let mut content = Vec::new();
    archive
        .content(index, name)?
        .take(most + 1)
        .read_to_end(&mut content)
        .map_err(|error| damaged(name, &error))?;
    if content.len() as u64 > most {
        return Err(refuse(name, format!("has more than {most} bytes")).into());
    }
    Ok(Some(content))
}

impl Archive {
    fn open(archive: File, limits: &ArchiveLimits) -> Result<Self, Fault> {
        let window = Window::new(archive)
            .map_err(|error| Fault::Io(format!("cannot look at the archive: {error}")))?;
        let archive = ZipArchive::new(window).map_err(unreadable)?;
        let directory = archive.metadata();
        let (start, entries) = (archive.central_directory_start(), archive.len() as u64);
        let mut window = archive.into_inner();
        if entries > limits.entries {
            return Err(Refusal::Entries {
                entries,
                most: limits.entries,
            }
            .into());
        }
        // The library has kept only the last of them.
        if directory.has_duplicate_names() {
            return Err(duplicate(&mut window, start)?.into());
        }
        Ok(Self { window, directory })
    }

    /// An entry to be read.
    fn content<'a>(&'a mut self, index: usize, name: &str) -> Result<ZipFile<'a, Window>, Refusal> {
        let entry = self.directory.entry(index).map_err(unreadable)?;
        entry
            .with_reader(&mut self.window, ZipReadOptions::new())
            .map_err(|error| damaged(name, &error))
    }

    /// Where a file of this name stands in the directory, after checking it.
    fn find(&mut self, name: &str) -> Result<Option<usize>, Refusal> {
        if name.ends_with('/') {
            return Ok(None);
        }
        for index in 0..self.directory.len() {
            let entry = self.directory.entry(index).map_err(unreadable)?;
            if entry.name_raw() == name.as_bytes() {
                check_entry(&entry, name, Kind::File)?;
                extent(&mut self.window, &entry, name)?;
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Checks every entry before the first is written.
    fn check(&mut self, limits: &ArchiveLimits) -> Result<Vec<Found>, Refusal> {
        let entries = self.directory.len();
        let mut members = Members::new(limits.depth);
        let mut room = Room::new(limits, self.window.length());
        let mut extents = Vec::with_capacity(entries);
        let mut found = Vec::with_capacity(entries);
        let mut directory_start = u64::MAX;
        for index in 0..entries {
            let entry = self.directory.entry(index).map_err(unreadable)?;
            let Ok(full_name) = std::str::from_utf8(entry.name_raw()) else {
                let name = String::from_utf8_lossy(entry.name_raw());
                return Err(refuse(&name, "has a name that is not UTF-8"));
            };
            let (name, kind) = match full_name.strip_suffix('/') {
                Some(name) => (name, Kind::Directory),
                None => (full_name, Kind::File),
            };
            members
                .add(name, kind)
                .map_err(|reason| refuse(full_name, reason))?;
            check_entry(&entry, full_name, kind)?;
            room.take(entry.size())?;
            directory_start = directory_start.min(entry.central_header_start());
            extents.push((extent(&mut self.window, &entry, full_name)?, index));
            found.push(Found {
                name: name.to_owned(),
                kind,
                index,
            });
        }
        extents.sort_unstable_by_key(|(extent, _)| (extent.start, extent.end));
        let starts = extents
            .iter()
            .skip(1)
            .map(|(extent, _)| extent.start)
            .chain([directory_start]);
        for ((extent, index), next) in extents.iter().zip(starts) {
            if extent.end > next {
                return Err(shares(&found[*index].name));
            }
        }
        Ok(found)
    }
}

/// What is wrong with a directory that has a name twice.
fn duplicate(window: &mut Window, start: u64) -> Result<Refusal, Fault> {
    let mut seen = HashSet::new();
    let mut at = start;
    loop {
        let mut central = [0; CENTRAL];
        read_at(window, at, &mut central).map_err(|error| unreadable(error.into()))?;
        if !central.starts_with(CENTRAL_SIGNATURE) {
            // Two names became one by a field that gives a name in other letters.
            let reason = "two entries have the same name";
            return Ok(Refusal::Archive(reason.into()));
        }
        let [name, extra, comment] =
            [28, 30, 32].map(|at| u16::from_le_bytes([central[at], central[at + 1]]));
        let mut listed = vec![0; usize::from(name)];
        window
            .read_exact(&mut listed)
            .map_err(|error| unreadable(error.into()))?;
        if let Some(listed) = seen.replace(listed) {
            return Ok(refuse(&String::from_utf8_lossy(&listed), "is there twice"));
        }
        at += CENTRAL as u64 + u64::from(name) + u64::from(extra) + u64::from(comment);
    }
}

/// What the directory says of one entry, except its name.
fn check_entry(entry: &ZipFileEntry<'_>, name: &str, kind: Kind) -> Result<(), Refusal> {
    let expected = match kind {
        Kind::Directory => DIRECTORY,
        Kind::File => REGULAR,
    };
    // The upper half is a Unix mode on whatever system the archive was made; archives made elsewhere have none.
    let mode = entry.external_attributes() >> 16;
    if ![0, expected].contains(&(mode & KIND)) {
        return Err(refuse(
            name,
            "is neither a plain file nor a directory, such as a symbolic link",
        ));
    }
    if mode & SPECIAL != 0 {
        return Err(refuse(
            name,
            "has a setuid, setgid or sticky bit, which lend rights",
        ));
    }
    if entry.encrypted() {
        return Err(refuse(name, "is encrypted"));
    }
    match entry.compression() {
        CompressionMethod::Deflated => {}
        CompressionMethod::Stored if entry.compressed_size() == entry.size() => {}
        CompressionMethod::Stored => {
            return Err(refuse(name, "has another size than it says"));
        }
        _ => {
            return Err(refuse(name, "is compressed in another way than by deflate"));
        }
    }
    if kind == Kind::Directory && entry.size() > 0 {
        return Err(refuse(name, "is a directory with content"));
    }
    Ok(())
}

/// The bytes of the archive that belong to an entry, after checking that it says the same about itself as the directory.
/// Programs that read an archive from its beginning would otherwise see another one.
fn extent(
    window: &mut Window,
    entry: &ZipFileEntry<'_>,
    name: &str,
) -> Result<Range<u64>, Refusal> {
    let unreadable = |error: io::Error| damaged(name, &error);
    let mut central = [0; CENTRAL];
    read_at(window, entry.central_header_start(), &mut central).map_err(unreadable)?;
    let mut listed = vec![0; usize::from(u16::from_le_bytes([central[28], central[29]]))];
    window.read_exact(&mut listed).map_err(unreadable)?;
    let mut local = [0; LOCAL];
    read_at(window, entry.header_start(), &mut local).map_err(unreadable)?;
    if !local.starts_with(LOCAL_SIGNATURE) {
        return Err(refuse(name, "is not where the archive's directory says"));
    }
    let [name_length, extra_length] =
        [26, 28].map(|at| u16::from_le_bytes([local[at], local[at + 1]]));
    let mut named = vec![0; usize::from(name_length)];
    window.read_exact(&mut named).map_err(unreadable)?;
    // There is also a field for a second name in other letters, which the library has already taken for the name.
    if named != listed || entry.name_raw() != listed {
        return Err(refuse(name, "has a second name in the archive"));
    }
    // The way of compression; of the flags, whether it is encrypted.
    if local[8..10] != central[10..12] || (local[6] ^ central[8]) & 1 != 0 {
        return Err(refuse(
            name,
            "is described in two ways that contradict each other",
        ));
    }
    entry
        .header_start()
        .checked_add(LOCAL as u64 + u64::from(name_length) + u64::from(extra_length))
        .and_then(|start| start.checked_add(entry.compressed_size()))
        .map(|end| entry.header_start()..end)
        .ok_or_else(|| shares(name))
}

fn read_at(window: &mut Window, at: u64, buffer: &mut [u8]) -> io::Result<()> {
    window.seek(SeekFrom::Start(at))?;
    window.read_exact(buffer)
}

/// As many bytes as there are, up to the whole buffer.
fn fill<'a>(from: &mut impl Read, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}

/// What may still come out.
struct Room {
    limits: ArchiveLimits,
    archive: u64,
    taken: u64,
}

impl Room {
    fn new(limits: &ArchiveLimits, archive: u64) -> Self {
        Self {
            limits: *limits,
            archive,
            taken: 0,
        }
    }

    fn take(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.taken = self.taken.saturating_add(bytes);
        let ArchiveLimits { size, ratio, .. } = self.limits;
        if self.taken > size {
            return Err(Refusal::Size { most: size });
        }
        if self.taken > member::most_content(self.archive, ratio) {
            return Err(Refusal::Ratio { ratio });
        }
        Ok(())
    }
}

/// The directory that is written to. All names were checked, and nobody else writes there.
struct Target {
    root: OwnedFd,
    made: HashSet<String>,
    unpacked: Unpacked,
}

impl Target {
    fn open(directory: &Path) -> Result<Self, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, directory, flags, Mode::empty())
            .map_err(|errno| Fault::Io(format!("cannot open the directory: {errno}")))?;
        Ok(Self {
            root,
            made: HashSet::new(),
            unpacked: Unpacked::default(),
        })
    }

    /// Makes a directory and all around it, where they are missing.
    fn make_directory(&mut self, name: &str) -> Result<(), Fault> {
        if self.made.contains(name) {
            return Ok(());
        }
        let ends = name.match_indices('/').map(|(end, _)| end);
        for end in ends.chain([name.len()]) {
            let directory = &name[..end];
            if self.made.contains(directory) {
                continue;
            }
            rustix::fs::mkdirat(&self.root, directory, Mode::from_raw_mode(0o755))
                .map_err(|errno| failed(name, &errno.into()))?;
            self.made.insert(directory.to_owned());
            self.unpacked.directories += 1;
        }
        Ok(())
    }

    fn make_file(&mut self, name: &str) -> Result<File, Fault> {
        if let Some((directory, _)) = name.rsplit_once('/') {
            self.make_directory(directory)?;
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.root, name, flags, Mode::from_raw_mode(0o644))
            .map(File::from)
            .map_err(|errno| failed(name, &errno.into()))
    }
}

fn refuse(name: &str, reason: impl Into<String>) -> Refusal {
    Refusal::Entry {
        name: name.into(),
        reason: reason.into(),
    }
}

fn shares(name: &str) -> Refusal {
    refuse(name, "shares its bytes with another part of the archive")
}

fn damaged(name: &str, error: &dyn std::fmt::Display) -> Refusal {
    let error = Untrusted::from(error.to_string());
    refuse(name, format!("cannot be unpacked: {}", error.escaped()))
}

fn unreadable(error: ZipError) -> Refusal {
    Refusal::Archive(error.to_string().into())
}

fn failed(name: &str, error: &io::Error) -> Fault {
    Fault::Io(format!(
        "cannot write \"{}\": {error}",
        Untrusted::from(name).escaped()
    ))
}
