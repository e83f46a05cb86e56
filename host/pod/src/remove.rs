//! Removes a directory and all that is in it, whatever a guest built there.
//!
//! A guest can nest directories a hundred thousand deep. A recursive removal would run out of stack or of descriptors,
//! and the path to the innermost directory is longer than the system accepts. So nothing here recurses: a directory
//! that is not empty has its own subdirectories moved up beside it first, until all lie in the top directory.
//! At most two directories are open at a time, and no symbolic link is followed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::tree::is_dot;

/// Removes what `name` stands for in `parent`; nothing there is fine.
pub(crate) fn tree(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match remove_one(parent, name)? {
        Removed::Gone => return Ok(()),
        Removed::NotEmpty => {}
    }
    let top = open(parent, name)?;
    let mut moved = 0_u64;
    loop {
        let mut emptied = true;
        for entry in names(top.as_fd())? {
            emptied = false;
            if let Removed::NotEmpty = remove_one(top.as_fd(), &entry)? {
                let inner = open(top.as_fd(), &entry)?;
                lift(inner.as_fd(), top.as_fd(), &mut moved)?;
                remove_one(top.as_fd(), &entry)?;
            }
        }
        if emptied {
            break;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Empties `inner`, by moving into `top` the directories in it that are not empty.
fn lift(inner: BorrowedFd<'_>, top: BorrowedFd<'_>, moved: &mut u64) -> Result<(), Errno> {
    for name in names(inner)? {
        if let Removed::NotEmpty = remove_one(inner, &name)? {
            loop {
                *moved += 1;
                // A name that is taken, by whatever, is passed over.
                let new = format!("{moved}");
                match rustix::fs::renameat_with(
                    inner,
                    &name,
                    top,
                    new,
                    rustix::fs::RenameFlags::NOREPLACE,
                ) {
                    Err(Errno::EXIST) => {}
                    done => break done?,
                }
            }
        }
    }
    Ok(())
}

enum Removed {
    Gone,
    NotEmpty,
}

fn remove_one(parent: BorrowedFd<'_>, name: &CStr) -> Result<Removed, Errno> {
    let is_directory = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        Err(Errno::NOENT) => return Ok(Removed::Gone),
        Err(errno) => return Err(errno),
    };
    let flags = if is_directory {
        AtFlags::REMOVEDIR
    } else {
        AtFlags::empty()
    };
    match rustix::fs::unlinkat(parent, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(Removed::Gone),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Removed::NotEmpty),
        Err(errno) => Err(errno),
    }
}

fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut entries = Dir::read_from(directory)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.read() {
        let entry = entry?;
        if !is_dot(entry.file_name()) {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, mkdirat};

    use super::*;

    fn removed(make: impl FnOnce(&std::path::Path)) {
        let dir = tempfile::tempdir().unwrap();
        let parent = open(CWD, &CString::new(dir.path().to_str().unwrap()).unwrap()).unwrap();
        make(&dir.path().join("tmp"));
        tree(parent.as_fd(), c"tmp").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_a_file_a_link_and_an_ordinary_tree_are_removed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        removed(|_| {});
        removed(|tmp| fs::write(tmp, "x").unwrap());
        removed(|tmp| symlink(outside.path(), tmp).unwrap());
        removed(|tmp| {
            for name in ["a/b/c", "a/d", "1/2/3/4", "2/1"] {
                fs::create_dir_all(tmp.join(name)).unwrap();
                fs::write(tmp.join(name).join("file"), "x").unwrap();
            }
            symlink(outside.path(), tmp.join("a/link")).unwrap();
            symlink("/", tmp.join("root")).unwrap();
        });
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn a_chain_of_directories_longer_than_any_path_is_removed() {
        removed(|tmp| {
            fs::create_dir(tmp).unwrap();
            let mut inner = open(CWD, &CString::new(tmp.to_str().unwrap()).unwrap()).unwrap();
            for _ in 0..1200 {
                mkdirat(&inner, "directory", Mode::RWXU).unwrap();
                inner = open(inner.as_fd(), c"directory").unwrap();
            }
        });
    }
}
