//! A deployed package's file system, as transfers see it.
//!
//! A program may leave anything it likes in its volumes, symbolic links included. So a path of a transfer is resolved by
//! the kernel, beneath the volume and without following links, and what is opened must be a regular file.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2};
use rustix::io::Errno;
use sovr_runtime::package::{Access, MountPoint};
use sovr_runtime::work::Volume;

use super::copy::CopyError;

pub(crate) struct Container {
    mounts: Vec<Mount>,
}

struct Mount {
    guest: String,
    host: PathBuf,
    access: Access,
}

/// A file in a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    volume: PathBuf,
    /// Names of the directories and of the file, beneath the volume.
    names: Vec<String>,
}

impl Container {
    /// Makes an empty directory for each mount point.
    pub(crate) fn new(mount_points: &[MountPoint], directory: &Path) -> io::Result<Self> {
        let mut mounts = Vec::with_capacity(mount_points.len());
        for (index, mount) in mount_points.iter().enumerate() {
            let host = directory.join(format!("volume-{index}"));
            std::fs::create_dir(&host)?;
            mounts.push(Mount {
                guest: mount.path.clone(),
                host,
                access: mount.access,
            });
        }
        Ok(Self { mounts })
    }

    /// What a program sees.
    pub(crate) fn volumes(&self) -> Vec<Volume> {
        self.mounts
            .iter()
            .map(|mount| Volume {
                guest: mount.guest.clone(),
                host: mount.host.clone(),
                writable: mount.access != Access::ReadOnly,
            })
            .collect()
    }

    pub(crate) fn resolve_for_upload(&self, path: &str) -> Result<Place, CopyError> {
        let (mount, place) = self.resolve(path)?;
        match mount.access {
            Access::ReadOnly | Access::ReadWrite => Ok(place),
            Access::WriteOnly | Access::Private => Err(CopyError::Closed {
                mount: mount.guest.clone(),
                what: "receives no files",
            }),
        }
    }

    pub(crate) fn resolve_for_download(&self, path: &str) -> Result<Place, CopyError> {
        let (mount, place) = self.resolve(path)?;
        match mount.access {
            Access::ReadOnly | Access::ReadWrite | Access::WriteOnly => Ok(place),
            Access::Private => Err(CopyError::Closed {
                mount: mount.guest.clone(),
                what: "gives no files away",
            }),
        }
    }

    /// The innermost mount point that the path lies beneath.
    fn resolve(&self, path: &str) -> Result<(&Mount, Place), CopyError> {
        let not_found = || CopyError::NotInContainer(path.to_owned());
        let (mount, rest) = self
            .mounts
            .iter()
            .filter_map(|mount| Some((mount, path.strip_prefix(&mount.guest)?.strip_prefix('/')?)))
            .max_by_key(|(mount, _)| mount.guest.len())
            .ok_or_else(not_found)?;
        let names: Vec<_> = rest.split('/').map(str::to_owned).collect();
        if names
            .iter()
            .any(|name| matches!(name.as_str(), "" | "." | "..") || name.contains('\0'))
        {
            return Err(not_found());
        }
        let place = Place {
            volume: mount.host.clone(),
            names,
        };
        Ok((mount, place))
    }
}

impl Place {
    /// Opens the file, which must be a regular one, and answers its length.
    pub(crate) fn open(&self) -> io::Result<(File, u64)> {
        open_regular(&self.volume, &self.names.join("/"))
    }

    /// Makes the file, and the directories it lies in, or empties it.
    pub(crate) fn create(&self) -> io::Result<File> {
        let mut directory = open_directory(&self.volume)?;
        let (file, parents) = self.names.split_last().ok_or(Errno::ISDIR)?;
        for parent in parents {
            match mkdirat(&directory, parent, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            directory = beneath(
                &directory,
                parent,
                OFlags::DIRECTORY | OFlags::PATH,
                Mode::empty(),
            )?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK;
        let file = File::from(beneath(&directory, file, flags, Mode::RUSR | Mode::WUSR)?);
        regular(&file)?;
        Ok(file)
    }
}

/// Opens a file of an unpacked package.
pub(crate) fn open_package_file(package: &Path, path: &str) -> io::Result<File> {
    open_regular(package, path).map(|(file, _)| file)
}

fn open_regular(directory: &Path, path: &str) -> io::Result<(File, u64)> {
    let directory = open_directory(directory)?;
    // Without NONBLOCK, opening a FIFO would wait for its writer.
    let file = File::from(beneath(
        &directory,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK,
        Mode::empty(),
    )?);
    let length = regular(&file)?;
    Ok((file, length))
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(
        path,
        OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn beneath(directory: impl AsFd, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(
        directory,
        path,
        flags | OFlags::CLOEXEC,
        mode,
        resolve,
    )?)
}

fn regular(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    Ok(metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(path: &str, access: Access) -> MountPoint {
        MountPoint {
            path: path.to_owned(),
            access,
        }
    }

    fn container(directory: &Path) -> Container {
        let mounts = [
            mount("/golem/work", Access::ReadWrite),
            mount("/golem/work/inner", Access::ReadOnly),
            mount("/golem/output", Access::WriteOnly),
            mount("/secret", Access::Private),
        ];
        Container::new(&mounts, directory).unwrap()
    }

    #[test]
    fn a_path_belongs_to_the_innermost_mount_point() {
        let directory = tempfile::tempdir().unwrap();
        let container = container(directory.path());
        for (path, volume, names) in [
            ("/golem/work/a", "volume-0", &["a"][..]),
            ("/golem/work/b/c", "volume-0", &["b", "c"]),
            ("/golem/work/inner/a", "volume-1", &["a"]),
            ("/golem/work/innermost", "volume-0", &["innermost"]),
        ] {
            let place = container.resolve_for_upload(path).unwrap();
            assert_eq!(place.volume, directory.path().join(volume), "{path}");
            assert_eq!(place.names, names, "{path}");
        }
    }

    #[test]
    fn paths_outside_of_mount_points_are_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let container = container(directory.path());
        for path in [
            "",
            "/",
            "golem/work/a",
            "/golem/work",
            "/golem/work/",
            "/golem/worker/a",
            "/etc/passwd",
            "/golem/work/../output/a",
            "/golem/work/./a",
            "/golem/work//a",
            "/golem/work/a/..",
            "/golem/work/a\0b",
        ] {
            let error = container.resolve_for_download(path).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("path not found in container: {path}")
            );
        }
    }

    #[test]
    fn mount_points_are_open_in_their_direction_only() {
        let directory = tempfile::tempdir().unwrap();
        let container = container(directory.path());
        assert_eq!(
            container
                .resolve_for_upload("/golem/output/a")
                .unwrap_err()
                .to_string(),
            "`/golem/output` receives no files"
        );
        assert_eq!(
            container
                .resolve_for_download("/secret/a")
                .unwrap_err()
                .to_string(),
            "`/secret` gives no files away"
        );
        container.resolve_for_download("/golem/output/a").unwrap();
    }

    #[test]
    fn links_that_a_program_left_lead_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        let container = container(directory.path());
        let volume = directory.path().join("volume-0");
        std::os::unix::fs::symlink(&outside, volume.join("directory")).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), volume.join("file")).unwrap();
        for path in ["/golem/work/directory/secret", "/golem/work/file"] {
            let place = container.resolve_for_upload(path).unwrap();
            place.open().unwrap_err();
            place.create().unwrap_err();
        }
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"secret");
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let container = container(directory.path());
        let volume = directory.path().join("volume-0");
        std::fs::create_dir(volume.join("directory")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            volume.join("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        for path in ["/golem/work/directory", "/golem/work/fifo"] {
            let place = container.resolve_for_upload(path).unwrap();
            place.open().unwrap_err();
            place.create().unwrap_err();
        }
        let missing = container
            .resolve_for_download("/golem/work/none")
            .unwrap()
            .open()
            .unwrap_err();
        assert_eq!(
            missing.to_string(),
            "No such file or directory (os error 2)"
        );
    }
}
