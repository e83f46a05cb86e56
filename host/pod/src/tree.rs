//! The files of a pod, for the host's own use.
//!
//! A stranger filled the directory, and a guest changes it while the host works in it. So no path is ever resolved by
//! the ordinary rules: each is opened relative to the pod's root by `openat2`, which the kernel resolves beneath that
//! root and without any symbolic or magic link, whatever is swapped meanwhile. There is no check before use. What was
//! opened is looked at afterwards: only a regular file with a single name is read, since a FIFO would block, a device
//! would act, and a hard link would be a file that also lies elsewhere.
//!
//! A file is written in a directory of the host's own inside the pod, [`STAGING`], which guests do not see, and renamed
//! to its place when it is complete and on the disk. So nobody ever sees half a file under its name, a guest cannot
//! touch one in the making, and what a crash leaves lies in one known place. The directory goes at the end of the run.
//!
//! Rejected: cap-std. Without `openat2` it walks paths by hand, and its walk had an escape in 2026. Linux before 5.6 is
//! not supported instead. Also rejected: `RESOLVE_NO_XDEV`. A user may have mounted a disk on `payload/`; a guest cannot
//! mount anything.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use sovr_capability::{Digest, Untrusted};

use crate::error::io_error;
use crate::quota::{Exceeded, Usage};
use crate::{Area, Error, GuestPath, Quota, remove};

/// Directory in the pod's root where the host writes files that are not complete.
pub const STAGING: &str = ".sovr-partial";

/// Deepest nesting of directories in an area.
pub const MOST_DEPTH: usize = 64;

/// Most entries of a directory that is digested.
const MOST_ENTRIES: usize = 1_000_000;

/// Tries of an `openat2` that something moving nearby disturbs.
const TRIES: usize = 64;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// The directory of a pod, held open.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    handle: OwnedFd,
}

/// Why a path of the tree was not opened, written or listed. Messages are safe to show and name no place of the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Nothing is there.
    #[error("{path}: there is nothing")]
    NotFound {
        /// The path.
        path: GuestPath,
    },
    /// It may not be touched in this way.
    #[error("{path}: {problem}")]
    Refused {
        /// The path.
        path: GuestPath,
        /// Why.
        problem: &'static str,
    },
    /// The run has used what it was granted.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// The system refused.
    #[error("{path}: cannot {doing}: {source}")]
    Io {
        /// The path.
        path: GuestPath,
        /// The verb.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl TreeError {
    fn refused(path: &GuestPath, problem: &'static str) -> Self {
        Self::Refused {
            path: path.clone(),
            problem,
        }
    }

    /// What an error of the system means for a path.
    fn from_errno(path: &GuestPath, doing: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound { path: path.clone() },
            Errno::LOOP => Self::refused(path, "a part of it is a symbolic link"),
            Errno::XDEV => Self::refused(path, "it leads out of the pod"),
            Errno::NOTDIR => Self::refused(path, "a part of it is not a directory"),
            Errno::ISDIR => Self::refused(path, "it is a directory"),
            Errno::NXIO | Errno::NODEV => Self::refused(path, "it is not a regular file"),
            errno => Self::Io {
                path: path.clone(),
                doing,
                source: errno.into(),
            },
        }
    }
}

/// A file found in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the pod's root. A guest chose the name, and it need not be a [`GuestPath`].
    pub path: Untrusted,
    /// Length in bytes.
    pub size: u64,
    /// Last change.
    pub modified: SystemTime,
}

/// Something that a walk through an area came past.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// From the pod's root, byte for byte.
    pub(crate) path: &'a Path,
    pub(crate) kind: FileType,
    pub(crate) stat: &'a Stat,
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walked {
    Whole,
    TooDeep,
    Stopped,
}

impl Tree {
    /// Opens a directory as the root of a tree. The path itself is the user's and may lead through symbolic links.
    ///
    /// # Errors
    /// When it is not a directory or cannot be opened.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let handle = rustix::fs::open(&root, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { root, handle })
    }

    /// A second handle of the same directory.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            root: self.root.clone(),
            handle: self.handle.try_clone()?,
        })
    }

    /// The root, absolute and without symbolic links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The place of an area on this machine, to be named to the sandbox.
    #[must_use]
    pub fn area(&self, area: Area) -> PathBuf {
        self.root.join(area.name())
    }

    /// Makes the areas that are missing, empties `tmp/`, and removes what a run that died left behind. The caller holds
    /// the pod's lock.
    ///
    /// # Errors
    /// When something else is in the place of one, or it cannot be made.
    pub fn prepare(&self) -> io::Result<()> {
        remove::tree(self.handle(), c"tmp")?;
        self.remove_staging()?;
        for area in Area::ALL {
            match rustix::fs::mkdirat(self.handle(), area.name(), Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            // What is there must be a directory, and no link to one.
            self.open_directory(Path::new(area.name()))?;
        }
        Ok(())
    }

    /// Removes what only the run needed: `tmp/`, and files that were not completed.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn clean(&self) -> io::Result<()> {
        remove::tree(self.handle(), c"tmp")?;
        self.remove_staging()
    }

    fn remove_staging(&self) -> io::Result<()> {
        let name = std::ffi::CString::new(STAGING)?;
        Ok(remove::tree(self.handle(), &name)?)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When there is none, or it lies outside, or it is something else than a regular file with one name.
    pub fn open_read(&self, path: &GuestPath) -> Result<File, TreeError> {
        // Without NONBLOCK, a FIFO would hold this thread until somebody writes.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self
            .open_beneath(
                self.handle(),
                Path::new(path.as_str()),
                flags,
                Mode::empty(),
            )
            .map_err(|errno| TreeError::from_errno(path, "open it", errno))?;
        let stat = rustix::fs::fstat(&file)
            .map_err(|errno| TreeError::from_errno(path, "look at it", errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if stat.st_nlink > 1 => Err(TreeError::refused(
                path,
                "it has a second name (a hard link), perhaps outside the pod",
            )),
            FileType::RegularFile => Ok(file.into()),
            FileType::Directory => Err(TreeError::refused(path, "it is a directory")),
            _ => Err(TreeError::refused(path, "it is not a regular file")),
        }
    }

    /// Begins a file that appears under its name when it is complete. Its directory must exist.
    ///
    /// # Errors
    /// When the path is not writable for a guest, its directory does not exist, or the quota has no room.
    pub fn create(&self, path: &GuestPath, quota: &Arc<Quota>) -> Result<PartialFile, TreeError> {
        if !path.area().is_writable() {
            return Err(TreeError::refused(
                path,
                "it can only be read; write beneath output/, logs/ or tmp/",
            ));
        }
        let Some(parent) = path.parent() else {
            return Err(TreeError::refused(path, "it is a directory"));
        };
        let failed = |doing| move |errno| TreeError::from_errno(path, doing, errno);
        let directory = self
            .open_directory(Path::new(parent))
            .map_err(|errno| match errno {
                Errno::NOENT => {
                    TreeError::refused(path, "its directory does not exist; make it first")
                }
                errno => TreeError::from_errno(path, "open its directory", errno),
            })?;
        match rustix::fs::statat(&directory, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(TreeError::refused(path, "it is a directory"));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(TreeError::from_errno(path, "look at it", errno)),
        }
        let staging = self.open_staging().map_err(failed("begin it"))?;
        let device = |fd: &OwnedFd| {
            rustix::fs::fstat(fd)
                .map(|stat| stat.st_dev)
                .map_err(failed("look at its disk"))
        };
        if device(&directory)? != device(&staging)? {
            return Err(TreeError::refused(
                path,
                "its directory lies on another file system than the pod",
            ));
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| TreeError::Io {
            path: path.clone(),
            doing: "begin it",
            source: error.into(),
        })?;
        let name = hex::encode(random);
        quota.begin_file()?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match self.open_beneath(
            staging.as_fd(),
            Path::new(&name),
            flags,
            Mode::from_raw_mode(0o666),
        ) {
            Ok(file) => Ok(PartialFile {
                file: file.into(),
                quota: Arc::clone(quota),
                path: path.clone(),
                directory,
                staging,
                name,
                length: 0,
                complete: false,
            }),
            Err(errno) => {
                quota.end_file(0, false);
                Err(TreeError::from_errno(path, "begin it", errno))
            }
        }
    }

    /// Makes a new file in `logs/` that is written line by line and seen as it grows. What goes into it is the caller's
    /// to bound.
    ///
    /// # Errors
    /// When the path is not beneath `logs/`, or something has the name.
    pub fn create_log(&self, path: &GuestPath) -> Result<File, TreeError> {
        if path.area() != Area::Logs {
            return Err(TreeError::refused(path, "a log lies beneath logs/"));
        }
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        self.open_beneath(
            self.handle(),
            Path::new(path.as_str()),
            flags,
            Mode::from_raw_mode(0o666),
        )
        .map(File::from)
        .map_err(|errno| TreeError::from_errno(path, "make it", errno))
    }

    /// All regular files beneath a directory, sorted by path, at most `most`.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn files(&self, directory: &GuestPath, most: usize) -> Result<Vec<Entry>, TreeError> {
        let mut files = Vec::new();
        self.walk(Path::new(directory.as_str()), &mut |found| {
            if found.kind == FileType::RegularFile {
                files.push(Entry {
                    path: Untrusted::new(found.path.to_string_lossy()),
                    size: u64::try_from(found.stat.st_size).unwrap_or_default(),
                    modified: modified(found.stat),
                });
            }
            files.len() < most
        })
        .map_err(|errno| TreeError::from_errno(directory, "list it", errno))?;
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Digest of all that lies beneath a directory: names, kinds and contents. Nothing there is an empty directory.
    ///
    /// # Errors
    /// When it cannot be read, holds something else than files, or more than a million entries.
    pub fn digest(&self, directory: &GuestPath) -> Result<Digest, Error> {
        let top = Path::new(directory.as_str());
        let failed = |errno: Errno| io_error("look through", &self.root.join(top), errno.into());
        let mut found = Vec::new();
        let walked = self.walk(top, &mut |entry| {
            found.push((entry.path.to_owned(), entry.kind));
            found.len() < MOST_ENTRIES
        });
        match walked {
            Ok(Walked::Whole) | Err(Errno::NOENT) => {}
            Ok(_) => return Err(failed(Errno::TOOBIG)),
            Err(errno) => return Err(failed(errno)),
        }
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut all = Sha256::new();
        for (path, kind) in found {
            let content = match kind {
                FileType::RegularFile => self
                    .open_file(&path)
                    .map_err(io::Error::from)
                    .and_then(Digest::of_reader)
                    .map_err(|source| io_error("read", &self.root.join(&path), source))?
                    .to_string(),
                FileType::Directory => String::new(),
                _ => {
                    return Err(io_error(
                        "read",
                        &self.root.join(&path),
                        Errno::NODEV.into(),
                    ));
                }
            };
            // Neither part can hold the byte that ends it.
            let name = path.as_os_str().as_bytes();
            for part in [name, content.as_bytes()] {
                all.update(part);
                all.update([0]);
            }
        }
        Ok(Digest::from_bytes(all.finalize().into()))
    }

    /// Counts what lies in the writable directories and tells the quota. Stops where there are more files than granted.
    ///
    /// # Errors
    /// When it is more than granted, or directories are nested too deep to be counted.
    pub fn account(&self, quota: &Quota) -> Result<Usage, TreeError> {
        let look = quota.begin_look();
        let granted = quota.granted();
        let mut usage = Usage::default();
        for area in Area::ALL.into_iter().filter(|area| area.is_writable()) {
            let walked = self.walk(Path::new(area.name()), &mut |found| {
                usage.files = usage.files.saturating_add(1);
                usage.bytes = usage.bytes.saturating_add(size_on_disk(found));
                usage.files <= granted.files
            });
            match walked {
                Ok(Walked::TooDeep) => {
                    return Err(TreeError::Exceeded(Exceeded {
                        limit: "limits.files",
                        used: format!("directories nested deeper than {MOST_DEPTH}"),
                        granted: format!("{MOST_DEPTH} levels"),
                    }));
                }
                Ok(Walked::Whole | Walked::Stopped) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(TreeError::from_errno(
                        &area.into(),
                        "count what is in it",
                        errno,
                    ));
                }
            }
        }
        Ok(quota.end_look(&look, usage)?)
    }

    /// Comes past everything beneath a directory, in no order, until `visit` answers false. What vanishes meanwhile is
    /// left out.
    pub(crate) fn walk(
        &self,
        directory: &Path,
        visit: &mut dyn FnMut(&Found<'_>) -> bool,
    ) -> Result<Walked, Errno> {
        let mut pending = vec![(directory.to_owned(), 1)];
        let mut deepest = Walked::Whole;
        let mut first = true;
        while let Some((path, depth)) = pending.pop() {
            let handle = match self.open_directory(&path) {
                Ok(handle) => handle,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !first => continue,
                Err(errno) => return Err(errno),
            };
            first = false;
            let mut entries = Dir::read_from(&handle)?;
            while let Some(entry) = entries.read() {
                let entry = entry?;
                let name = entry.file_name();
                if is_dot(name) {
                    continue;
                }
                let stat = match rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(errno),
                };
                let path = path.join(OsStr::from_bytes(name.to_bytes()));
                let kind = FileType::from_raw_mode(stat.st_mode);
                if !visit(&Found {
                    path: &path,
                    kind,
                    stat: &stat,
                }) {
                    return Ok(Walked::Stopped);
                }
                if kind == FileType::Directory {
                    if depth < MOST_DEPTH {
                        pending.push((path, depth + 1));
                    } else {
                        deepest = Walked::TooDeep;
                    }
                }
            }
        }
        Ok(deepest)
    }

    /// Opens a directory beneath the root.
    pub(crate) fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open_beneath(self.handle(), path, DIRECTORY, Mode::empty())
    }

    /// A small regular file in the root itself, such as a recipe; none if nothing has the name.
    ///
    /// # Errors
    /// When it is something else, longer than `most` bytes, or cannot be read.
    pub fn read_in_root(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open_in_root(OsStr::new(name)) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(bytes))
    }

    /// Opens a regular file with one name, whatever its name is made of.
    pub(crate) fn open_file(&self, path: &Path) -> Result<File, Errno> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.open_beneath(self.handle(), path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if stat.st_nlink > 1 => Err(Errno::MLINK),
            FileType::RegularFile => Ok(file.into()),
            _ => Err(Errno::NODEV),
        }
    }

    /// Opens a regular file in the root itself, such as the recipe.
    pub(crate) fn open_in_root(&self, name: &OsStr) -> Result<File, Errno> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file: File = self
            .open_beneath(self.handle(), Path::new(name), flags, Mode::empty())?
            .into();
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            Ok(file)
        } else {
            Err(Errno::NODEV)
        }
    }

    /// The handle of the root.
    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Opens, or makes, the directory of what is not complete.
    pub(crate) fn open_staging(&self) -> Result<OwnedFd, Errno> {
        match rustix::fs::mkdirat(self.handle(), STAGING, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => self.open_directory(Path::new(STAGING)),
            Err(errno) => Err(errno),
        }
    }

    fn open_beneath(
        &self,
        start: BorrowedFd<'_>,
        path: &Path,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(start, path, flags, mode, BENEATH) {
                // The kernel could not rule out that a rename beside it led the path out, or a signal came.
                Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
                opened => return opened,
            }
        }
    }
}

pub(crate) fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// A sparse file counts with its length, a directory with its blocks.
fn size_on_disk(found: &Found<'_>) -> u64 {
    let blocks = u64::try_from(found.stat.st_blocks)
        .unwrap_or_default()
        .saturating_mul(512);
    match found.kind {
        FileType::RegularFile => blocks.max(u64::try_from(found.stat.st_size).unwrap_or_default()),
        _ => blocks,
    }
}

fn modified(stat: &Stat) -> SystemTime {
    let seconds = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let time = if stat.st_mtime < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        let nanoseconds = Duration::from_nanos(stat.st_mtime_nsec);
        SystemTime::UNIX_EPOCH.checked_add(seconds + nanoseconds)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A file being written. Nobody sees it before [`PartialFile::commit`]; dropped, it is gone.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    quota: Arc<Quota>,
    path: GuestPath,
    directory: OwnedFd,
    staging: OwnedFd,
    name: String,
    length: u64,
    complete: bool,
}

impl PartialFile {
    /// Where it will be.
    #[must_use]
    pub fn path(&self) -> &GuestPath {
        &self.path
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Forces it to the disk and gives it its name, replacing an older file.
    ///
    /// # Errors
    /// When the disk is full or a directory has the name; an older file is then untouched.
    pub fn commit(mut self) -> Result<(), TreeError> {
        let path = &self.path;
        self.file.sync_all().map_err(|source| TreeError::Io {
            path: path.clone(),
            doing: "write it to the disk",
            source,
        })?;
        rustix::fs::renameat(
            &self.staging,
            self.name.as_str(),
            &self.directory,
            self.path.name(),
        )
        .map_err(|errno| TreeError::from_errno(path, "give it its name", errno))?;
        // It has its name; from here on it is the run's, whatever becomes of the directory's sync.
        self.complete = true;
        rustix::fs::fsync(&self.directory)
            .map_err(|errno| TreeError::from_errno(path, "write its name to the disk", errno))
    }
}

impl Write for PartialFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let asked = buffer.len() as u64;
        self.quota
            .grow_file(asked)
            .map_err(|exceeded| io::Error::new(io::ErrorKind::QuotaExceeded, exceeded))?;
        // What was written takes its part of the quota until the file ends; what was not, gives it back.
        let written = self.file.write(buffer);
        let taken = written.as_ref().map_or(0, |written| *written as u64);
        self.quota.shrink_file(asked - taken);
        self.length += taken;
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.complete {
            let _ = rustix::fs::unlinkat(&self.staging, self.name.as_str(), AtFlags::empty());
        }
        self.quota.end_file(self.length, self.complete);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`GuestPath`] has no spelling for these; the kernel would refuse them all the same.
    #[test]
    fn the_kernel_keeps_paths_beneath_the_root_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        tree.prepare().unwrap();
        for path in ["..", "/", "/etc", "payload/../..", "payload/../../etc"] {
            assert_eq!(
                tree.open_directory(Path::new(path)).unwrap_err(),
                Errno::XDEV,
                "{path}"
            );
        }
        assert_eq!(
            tree.open_in_root(OsStr::new("/etc/passwd")).unwrap_err(),
            Errno::XDEV
        );
        tree.open_directory(Path::new("payload/../output")).unwrap();
    }
}
