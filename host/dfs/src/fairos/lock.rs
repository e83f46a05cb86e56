//! One writer of a pod at a time, among all processes of this machine.
//!
//! The server has no locks: of files that are written into one directory at the same time some are lost without a
//! word, and so are pods that one user makes at the same time. So whoever changes something holds a lock of the
//! operating system, which goes with its process however that ends. Each change leaves a new mark in the lock's file;
//! a session that finds another mark than it last saw has an old listing in the server's memory.
//!
//! Other machines are not kept out. Rejected: a lock inside the pod, which the server cannot make exclusively.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::swarm::reference_of;

/// What the last change left; none before the first.
pub(super) type Mark = Option<[u8; 16]>;

#[derive(Debug, Clone)]
pub(super) struct Locks {
    directory: PathBuf,
    /// The server and the user.
    scope: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    Write,
}

/// A lock until it is dropped.
#[derive(Debug)]
pub(super) struct Held(File);

impl Locks {
    pub(super) fn new(directory: &Path, server: &str, user: &str) -> io::Result<Locks> {
        fs::create_dir_all(directory)?;
        Ok(Locks {
            directory: directory.to_owned(),
            scope: format!("{server}\n{user}"),
        })
    }

    /// Waits until nobody else lists a pod.
    pub(super) async fn listing(&self, pod: &str) -> io::Result<Held> {
        // No pod has a name of two lines.
        self.hold(&format!("{pod}\nlisting"), Mode::Write).await
    }

    /// Waits for the lock of a pod, or with an empty name for that of the list of pods.
    pub(super) async fn hold(&self, pod: &str, mode: Mode) -> io::Result<Held> {
        let name = reference_of(format!("{}\n{pod}", self.scope).as_bytes());
        let path = self.directory.join(format!("{name}.lock"));
        let waiting = tokio::task::spawn_blocking(move || {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            match mode {
                Mode::Read => file.lock_shared()?,
                Mode::Write => file.lock()?,
            }
            Ok(Held(file))
        });
        waiting.await.map_err(io::Error::other)?
    }
}

impl Held {
    pub(super) fn mark(&self) -> io::Result<Mark> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0))?;
        let mut text = String::new();
        file.take(64).read_to_string(&mut text)?;
        let mut mark = [0; 16];
        Ok(hex::decode_to_slice(text.trim(), &mut mark)
            .ok()
            .map(|()| mark))
    }

    /// Says that something is about to change, or has.
    pub(super) fn renew(&self) -> io::Result<Mark> {
        let mut mark = [0; 16];
        getrandom::fill(&mut mark).map_err(io::Error::other)?;
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0))?;
        // Always the same length, so nothing of an older mark stays.
        file.write_all(hex::encode(mark).as_bytes())?;
        Ok(Some(mark))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn writers_wait_for_each_other_and_for_readers() {
        let directory = tempfile::tempdir().unwrap();
        let one = Locks::new(directory.path(), "http://localhost", "alice").unwrap();
        let other = Locks::new(directory.path(), "http://localhost", "alice").unwrap();
        let bob = Locks::new(directory.path(), "http://localhost", "bob").unwrap();
        let held = one.hold("data", Mode::Write).await.unwrap();
        let mark = held.renew().unwrap();
        let waiting = tokio::spawn(async move { other.hold("data", Mode::Read).await });
        bob.hold("data", Mode::Write).await.unwrap();
        one.hold("else", Mode::Write).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        drop(held);
        let read = waiting.await.unwrap().unwrap();
        assert_eq!(read.mark().unwrap(), mark);
        one.hold("data", Mode::Read).await.unwrap();
    }
}
