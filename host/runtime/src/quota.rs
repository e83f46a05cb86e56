//! Counts what lies in a pod's writable directories.
//!
//! Neither the wasm engine nor an ordinary file system knows a quota. The kernel caps the single file
//! (`RLIMIT_FSIZE`); this module counts the whole from outside the runner, so that nothing a guest does to its own
//! process changes the count.
//!
//! The kernel says when something changes (inotify), then everything is counted anew, at most once in [`PACE`] and
//! with a pause that grows with the time a count takes. Counting anew is dearer than following each event and cannot
//! be led astray: events get lost, and a guest may rename, link and replace faster than anybody can follow. A count
//! stops as soon as it is over the cap, which bounds it by the cap on files. What inotify does not report is found by
//! a count every [`HEARTBEAT`]; where there is no inotify, by one every [`BLIND`].
//!
//! Files that were unlinked and are still open take disk as well. They are found among the process's descriptors,
//! and while there are any, counts follow each other without waiting for events, which such files do not cause.
//!
//! What a guest writes between two counts is written. A run that is over is counted once more, so none that ends over
//! its cap counts as a success.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use crate::limits::Limit;

/// Shortest time between two counts.
pub const PACE: Duration = Duration::from_millis(25);

/// In the beginning of a run the kernel is not asked for events and every [`PACE`] brings a count: closing an inotify
/// descriptor waits for every processor, which takes longer than a brief run.
const BRIEF: Duration = Duration::from_millis(250);

/// Longest time between two counts.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// Time between two counts where the kernel does not say that something changed.
pub const BLIND: Duration = Duration::from_millis(100);

/// A count pauses at least so many times as long as it took, so that counting takes a small part of one processor.
const REST: u32 = 9;

/// Directories nested deeper than this count as too many files. Each level takes a descriptor while it is counted.
pub const DEPTH: u32 = 64;

/// What is of interest about a directory.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ONLYDIR);

/// What lies in the directories together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sum of the sizes of files.
    pub bytes: u64,
    /// Number of files and directories, the given directories themselves not counted.
    pub files: u64,
}

impl Usage {
    /// The limit that this is over, if it is over one.
    #[must_use]
    pub fn over(&self, cap: &Usage) -> Option<Limit> {
        if self.bytes > cap.bytes {
            Some(Limit::Output)
        } else if self.files > cap.files {
            Some(Limit::Files)
        } else {
            None
        }
    }
}

/// Counts once what lies in `directories`; beyond `cap` it is not counted to the end.
pub async fn count(directories: Vec<PathBuf>, cap: Usage) -> Usage {
    let counter = Counter {
        directories: Arc::new(directories),
        cap,
        process: None,
    };
    let counted = tokio::task::spawn_blocking(move || counter.count(None));
    counted.await.unwrap_or_default().usage
}

/// What the last count of a [`Watch`] found. Clones read the same.
#[derive(Clone, Debug, Default)]
pub struct Reading(Arc<Mutex<Usage>>);

impl Reading {
    /// What it found; nothing before the first count.
    #[must_use]
    pub fn get(&self) -> Usage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, usage: Usage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }
}

/// Watches directories until dropped.
#[derive(Debug)]
pub struct Watch {
    counter: Counter,
    last: Reading,
    task: JoinHandle<Limit>,
}

impl Watch {
    /// Starts to watch `directories` and the unlinked files of the process `process`. To be called inside a tokio
    /// runtime.
    #[must_use]
    pub fn start(directories: Vec<PathBuf>, cap: Usage, process: Option<u32>) -> Self {
        // Descriptors name their files by the path without links.
        let directories = directories
            .into_iter()
            .map(|path| path.canonicalize().unwrap_or(path))
            .collect();
        let counter = Counter {
            directories: Arc::new(directories),
            cap,
            process,
        };
        let last = Reading::default();
        let task = tokio::spawn(watch(counter.clone(), last.clone()));
        Self {
            counter,
            last,
            task,
        }
    }

    /// Waits until there is more than the cap allows, and answers which limit that is.
    pub async fn exceeded(&mut self) -> Limit {
        match (&mut self.task).await {
            Ok(limit) => limit,
            // The task does not panic and is not aborted before this is dropped; without it there is nothing to tell.
            Err(_) => std::future::pending().await,
        }
    }

    /// For reading what the last count found, also after this is gone.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.last.clone()
    }

    /// Counts a last time, and answers the limit that was exceeded, if one was.
    pub async fn finish(self) -> Option<Limit> {
        self.task.abort();
        let counter = self.counter.clone();
        let count = tokio::task::spawn_blocking(move || counter.count(None))
            .await
            .unwrap_or_default();
        self.last.set(count.usage);
        count.usage.over(&self.counter.cap)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(counter: Counter, last: Reading) -> Limit {
    let started = Instant::now();
    let mut asked = false;
    let mut events = None;
    loop {
        let begun = Instant::now();
        if !asked && started.elapsed() >= BRIEF {
            asked = true;
            events = Events::open().map(Arc::new);
        }
        let (one, inotify) = (counter.clone(), events.clone());
        let counting = tokio::task::spawn_blocking(move || one.count(inotify.as_deref()));
        let Ok(count) = counting.await else {
            // The runtime is shutting down.
            return std::future::pending().await;
        };
        last.set(count.usage);
        if let Some(limit) = count.usage.over(&counter.cap) {
            return limit;
        }
        tokio::time::sleep(PACE.max(begun.elapsed() * REST)).await;
        match &events {
            _ if count.unlinked || !asked => {}
            // Running out of time is as good a reason to count as an event.
            Some(events) => _ = tokio::time::timeout(HEARTBEAT, events.changed()).await,
            None => tokio::time::sleep(BLIND).await,
        }
    }
}

/// The kernel's word that something changed.
#[derive(Debug)]
struct Events(AsyncFd<OwnedFd>);

impl Events {
    /// None where the kernel has no inotify left to give.
    fn open() -> Option<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        // SAFETY: an `OwnedFd` is open, and names the same file, as long as it lives.
        unsafe { AsyncFd::register(fd) }.ok().map(Self)
    }

    fn add(&self, directory: &OwnedFd) {
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        // When the kernel has no watch left to give, the heartbeat has to do.
        let _ = inotify::add_watch(self.0.get_ref(), path, EVENTS);
    }

    /// Waits for an event and forgets all that are there.
    async fn changed(&self) {
        let Ok(mut ready) = self.0.readable().await else {
            return std::future::pending().await;
        };
        let mut buffer = [0; 16 << 10];
        // The kernel's queue is bounded; what comes while it is emptied may wait for the next time.
        for _ in 0..64 {
            match rustix::io::read(self.0.get_ref(), &mut buffer) {
                Ok(_) => {}
                Err(_) => {
                    ready.clear_ready();
                    break;
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Counter {
    directories: Arc<Vec<PathBuf>>,
    cap: Usage,
    process: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    usage: Usage,
    /// Whether there are files that no directory names any more.
    unlinked: bool,
}

impl Counter {
    /// Counts until all is counted or the cap is exceeded. Directories that come or go meanwhile are counted or not;
    /// the change that made the difference brings the next count.
    fn count(&self, events: Option<&Events>) -> Count {
        let mut count = Count::default();
        for directory in self.directories.iter() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(fd) = rustix::fs::openat(CWD, directory, flags, Mode::empty()) {
                // A directory that cannot be read is one that has gone.
                let _ = self.count_directory(fd, 0, events, &mut count.usage);
            }
        }
        if let Some(process) = self.process {
            // The process is gone, or its descriptors are not ours to see.
            let _ = self.count_unlinked(process, &mut count);
        }
        count
    }

    fn count_directory(
        &self,
        fd: OwnedFd,
        depth: u32,
        events: Option<&Events>,
        usage: &mut Usage,
    ) -> io::Result<()> {
        if depth > DEPTH {
            usage.files = u64::MAX;
            return Ok(());
        }
        // First watched and then read, so that nothing falls between the two.
        if let Some(events) = events {
            events.add(&fd);
        }
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if usage.over(&self.cap).is_some() {
                return Ok(());
            }
            usage.files = usage.files.saturating_add(1);
            let Ok(stat) = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => usage.bytes = usage.bytes.saturating_add(size(&stat)),
                FileType::Directory => {
                    let flags =
                        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    if let Ok(inner) = rustix::fs::openat(&fd, name, flags, Mode::empty()) {
                        self.count_directory(inner, depth + 1, events, usage)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn count_unlinked(&self, process: u32, count: &mut Count) -> io::Result<()> {
        for entry in std::fs::read_dir(format!("/proc/{process}/fd"))? {
            let path = entry?.path();
            let ours = |target: &Path| {
                self.directories
                    .iter()
                    .any(|directory| target.starts_with(directory))
            };
            if !std::fs::read_link(&path).is_ok_and(|target| ours(&target)) {
                continue;
            }
            let Ok(stat) = rustix::fs::stat(&path) else {
                continue;
            };
            if stat.st_nlink == 0 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            {
                count.unlinked = true;
                count.usage.files = count.usage.files.saturating_add(1);
                count.usage.bytes = count.usage.bytes.saturating_add(size(&stat));
            }
        }
        Ok(())
    }
}

fn size(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    const PLENTY: Usage = Usage {
        bytes: 1 << 30,
        files: 1000,
    };

    async fn within<T>(time: Duration, future: impl Future<Output = T>) -> T {
        tokio::time::timeout(time, future)
            .await
            .expect("did not happen in time")
    }

    #[tokio::test]
    async fn counts_bytes_files_and_directories_and_not_what_links_point_to() {
        let root = tempfile::tempdir().unwrap();
        let output = root.path().join("output");
        fs::create_dir_all(output.join("a/b")).unwrap();
        fs::write(output.join("one"), [0; 100]).unwrap();
        fs::write(output.join("a/b/two"), [0; 23]).unwrap();
        fs::write(root.path().join("outside"), [0; 5000]).unwrap();
        std::os::unix::fs::symlink(root.path().join("outside"), output.join("link")).unwrap();
        std::os::unix::fs::symlink(root.path(), output.join("up")).unwrap();
        let watch = Watch::start(vec![output], PLENTY, None);
        assert_eq!(
            watch.counter.count(None).usage,
            Usage {
                bytes: 123,
                files: 6
            }
        );
        assert_eq!(watch.finish().await, None);
    }

    #[tokio::test]
    async fn many_files_in_a_new_directory_are_noticed() {
        let root = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(
            vec![root.path().into()],
            Usage {
                files: 10,
                ..PLENTY
            },
            None,
        );
        tokio::time::sleep(PACE * 3).await;
        fs::create_dir_all(root.path().join("deep/er")).unwrap();
        tokio::time::sleep(PACE * 3).await;
        for number in 0..20 {
            fs::write(root.path().join(format!("deep/er/{number}")), "").unwrap();
        }
        assert_eq!(within(HEARTBEAT / 2, watch.exceeded()).await, Limit::Files);
    }

    #[tokio::test]
    async fn a_growing_file_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let mut file = fs::File::create(root.path().join("file")).unwrap();
        let mut watch = Watch::start(
            vec![root.path().into()],
            Usage {
                bytes: 1000,
                ..PLENTY
            },
            None,
        );
        file.write_all(&[0; 1000]).unwrap();
        assert!(
            tokio::time::timeout(PACE * 4, watch.exceeded())
                .await
                .is_err()
        );
        assert_eq!(
            watch.reading().get(),
            Usage {
                bytes: 1000,
                files: 1
            }
        );
        file.write_all(b"1").unwrap();
        assert_eq!(within(HEARTBEAT / 2, watch.exceeded()).await, Limit::Output);
    }

    #[tokio::test]
    async fn an_unlinked_file_still_counts_while_it_is_open() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let mut file = fs::File::create(&path).unwrap();
        let mut watch = Watch::start(
            vec![root.path().into()],
            Usage {
                bytes: 1000,
                ..PLENTY
            },
            Some(std::process::id()),
        );
        fs::remove_file(&path).unwrap();
        tokio::time::sleep(PACE * 3).await;
        file.write_all(&[0; 1001]).unwrap();
        assert_eq!(within(HEARTBEAT / 2, watch.exceeded()).await, Limit::Output);
    }

    #[tokio::test]
    async fn a_chain_of_directories_is_too_many_files() {
        let root = tempfile::tempdir().unwrap();
        let mut path = root.path().to_owned();
        for _ in 0..=DEPTH {
            path.push("d");
        }
        fs::create_dir_all(path).unwrap();
        let watch = Watch::start(vec![root.path().into()], PLENTY, None);
        assert_eq!(watch.finish().await, Some(Limit::Files));
    }

    #[tokio::test]
    async fn what_was_written_last_is_counted_at_the_end() {
        let root = tempfile::tempdir().unwrap();
        let watch = Watch::start(
            vec![root.path().into()],
            Usage {
                bytes: 10,
                ..PLENTY
            },
            None,
        );
        fs::write(root.path().join("late"), [0; 11]).unwrap();
        assert_eq!(watch.finish().await, Some(Limit::Output));
    }
}
