//! A new directory that is there as a whole or not at all.
//!
//! What comes from a stranger (a fork, an import) or is made in several steps (a new pod) is built beside its place under
//! a hidden name that nobody else can enter, and gets its own name at the end. The kernel refuses that last step where
//! anything has the name, so that nothing is ever merged into or laid over what the user has.
//!
//! A crash leaves the hidden directory behind. It is not looked for later: removing directories by the look of their
//! names is how things of the user's get lost.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::io_error;
use crate::{Error, names, remove};

/// Beginning of the hidden names.
const PREFIX: &str = ".sovr-fresh-";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// A directory in the making. Dropped, it is gone with all that is in it.
#[derive(Debug)]
pub struct FreshDirectory {
    parent: OwnedFd,
    handle: OwnedFd,
    hidden: CString,
    path: PathBuf,
    target: PathBuf,
    name: String,
    kept: bool,
}

impl FreshDirectory {
    /// Begins a directory that is to be `parent/name`.
    ///
    /// # Errors
    /// When the name is not acceptable, something has it already, or the directory cannot be made.
    pub fn new(parent: &Path, name: &str) -> Result<Self, Error> {
        names::check_directory(name).map_err(|problem| Error::Name {
            name: name.to_owned(),
            problem,
        })?;
        let root = parent
            .canonicalize()
            .map_err(|source| io_error("use the directory", parent, source))?;
        let target = root.join(name);
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |errno: Errno| io_error(doing, &path, errno.into())
        };
        let parent = rustix::fs::open(&root, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .map_err(failed("open the directory", &root))?;
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(_) => return Err(Error::Exists { path: target }),
            Err(errno) => return Err(failed("look at", &target)(errno)),
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| io_error("choose a name beside", &target, error.into()))?;
        let hidden = format!("{PREFIX}{}", hex::encode(random));
        let path = root.join(&hidden);
        let hidden = CString::new(hidden)
            .map_err(|error| io_error("make the directory", &path, error.into()))?;
        rustix::fs::mkdirat(&parent, &hidden, Mode::RWXU)
            .map_err(failed("make the directory", &path))?;
        let opened = rustix::fs::openat(
            &parent,
            &hidden,
            DIRECTORY | OFlags::NOFOLLOW,
            Mode::empty(),
        );
        match opened {
            Ok(handle) => Ok(Self {
                parent,
                handle,
                hidden,
                path,
                target,
                name: name.to_owned(),
                kept: false,
            }),
            Err(errno) => {
                let _ = rustix::fs::unlinkat(&parent, &hidden, AtFlags::REMOVEDIR);
                Err(failed("open the directory", &path)(errno))
            }
        }
    }

    /// Where it lies meanwhile.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it will lie.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The directory itself, held open.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Forces all of it to the disk and gives it its name. Answers the place.
    ///
    /// # Errors
    /// When something has the name by now, or the disk refuses; then it is gone, and what has the name untouched. Only
    /// where the disk refuses the very last step, to remember the new name, does it lie in its place already.
    pub fn keep(mut self) -> Result<PathBuf, Error> {
        let failed = |doing| {
            let path = self.target.clone();
            move |errno: Errno| io_error(doing, &path, errno.into())
        };
        rustix::fs::fchmod(&self.handle, Mode::from_raw_mode(0o755))
            .map_err(failed("open to others"))?;
        // One call for all the files in it. It also waits for what others write to the same disk, once.
        rustix::fs::syncfs(&self.handle).map_err(failed("write to the disk"))?;
        match rustix::fs::renameat_with(
            &self.parent,
            &self.hidden,
            &self.parent,
            self.name.as_str(),
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(Error::Exists {
                    path: self.target.clone(),
                });
            }
            Err(errno) => return Err(failed("give its name to")(errno)),
        }
        // It has its name; from here on it is the user's, whatever becomes of the parent's sync.
        self.kept = true;
        rustix::fs::fsync(&self.parent).map_err(failed("write to the disk the name of"))?;
        Ok(self.target.clone())
    }
}

impl Drop for FreshDirectory {
    fn drop(&mut self) {
        if !self.kept {
            let _ = remove::tree(self.parent.as_fd(), &self.hidden);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names_in(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept_appears_whole_and_what_is_dropped_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let fresh = FreshDirectory::new(dir.path(), "render").unwrap();
        fs::create_dir_all(fresh.path().join("a/b")).unwrap();
        fs::write(fresh.path().join("a/b/c"), "x").unwrap();
        assert!(!dir.path().join("render").exists());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(fresh.path()), 0o700);
        let place = fresh.keep().unwrap();
        assert_eq!(place, dir.path().canonicalize().unwrap().join("render"));
        assert_eq!(mode(&place), 0o755);
        assert_eq!(fs::read_to_string(place.join("a/b/c")).unwrap(), "x");

        let fresh = FreshDirectory::new(dir.path(), "other").unwrap();
        fs::create_dir_all(fresh.path().join("a/b")).unwrap();
        symlink(place, fresh.path().join("link")).unwrap();
        drop(fresh);
        assert_eq!(names_in(dir.path()), ["render"]);
        assert!(dir.path().join("render/a/b/c").exists());
    }

    #[test]
    fn a_fork_named_like_a_directory_of_the_user_does_not_replace_or_merge_over_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("file"), "mine").unwrap();
        symlink("/nowhere", dir.path().join("link")).unwrap();
        for name in ["src", "file", "link"] {
            let error = FreshDirectory::new(dir.path(), name).unwrap_err();
            assert!(
                error.to_string().ends_with(
                    "exists already and is left as it is; choose another directory or another name"
                ),
                "{error}"
            );
        }
        assert_eq!(names_in(dir.path()), ["file", "link", "src"]);
    }

    #[test]
    fn what_appears_under_the_name_meanwhile_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for make in [
            (|path: &Path| fs::create_dir(path).unwrap()) as fn(&Path),
            |path| fs::write(path, "mine").unwrap(),
            |path| symlink("/nowhere", path).unwrap(),
        ] {
            let fresh = FreshDirectory::new(dir.path(), "render").unwrap();
            let place = dir.path().join("render");
            make(&place);
            assert!(matches!(fresh.keep(), Err(Error::Exists { .. })));
            assert_eq!(names_in(dir.path()), ["render"]);
            remove::tree(
                rustix::fs::open(dir.path(), DIRECTORY, Mode::empty())
                    .unwrap()
                    .as_fd(),
                c"render",
            )
            .unwrap();
        }
    }

    #[test]
    fn a_name_that_leads_out_of_the_directory_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        for name in [
            "../x",
            "..",
            ".",
            "",
            ".git",
            "/tmp/x",
            "a/b",
            "nul",
            "x\0",
            "\u{1b}[2J",
        ] {
            let error = FreshDirectory::new(&inner, name).unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{name:?}: {error}");
            assert!(!error.to_string().contains('\u{1b}'));
        }
        assert_eq!(names_in(dir.path()), ["inner"]);
        assert_eq!(names_in(&inner), [""; 0]);
        let error = FreshDirectory::new(&dir.path().join("absent"), "x").unwrap_err();
        assert!(
            error.to_string().starts_with("cannot use the directory"),
            "{error}"
        );
    }
}
