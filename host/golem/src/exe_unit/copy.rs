//! Moves files between a requestor and a volume. All of it blocks and runs on threads that may.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::container::Place;
use super::runtime::Runtime;
use crate::demand::WasiPackage;
use crate::transfer::{BUFFER, Partial, Sink, Source};

/// Progress is told each time this many bytes have moved, and at the end.
const PROGRESS: u64 = 1024 * 1024;

/// Why a file was not moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("path not found in container: {0}")]
    NotInContainer(String),
    #[error("`{mount}` {what}")]
    Closed { mount: String, what: &'static str },
    #[error("IO error: {0}")]
    Io(#[from] io::Error),
    #[error("it is larger than the {most} bytes that are accepted")]
    TooLarge { most: u64 },
    #[error("it ended after {done} of {stated} bytes")]
    Short { done: u64, stated: u64 },
    #[error("it goes on after the {stated} bytes that were stated")]
    Long { stated: u64 },
    #[error("its SHA-256 is {found}, and {expected} was expected")]
    Digest { found: String, expected: String },
    /// The activity was ended.
    #[error("the activity was ended")]
    Stopped,
}

/// Whether transfers may go on. Once closed, nothing is committed any more.
#[derive(Default)]
pub(crate) struct Gate(Mutex<bool>);

impl Gate {
    pub(crate) fn close(&self) {
        *self.closed() = true;
    }

    fn check(&self) -> Result<(), CopyError> {
        match *self.closed() {
            true => Err(CopyError::Stopped),
            false => Ok(()),
        }
    }

    /// Commits, unless closed; closing waits for it.
    fn commit(&self, partial: Box<dyn Partial>) -> Result<(), CopyError> {
        let closed = self.closed();
        if *closed {
            return Err(CopyError::Stopped);
        }
        Ok(partial.commit()?)
    }

    fn closed(&self) -> MutexGuard<'_, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a source to a place.
pub(crate) fn send(
    source: &dyn Source,
    place: &Place,
    most: u64,
    gate: &Gate,
    progress: &dyn Fn(u64, Option<u64>),
) -> Result<(), CopyError> {
    gate.check()?;
    let mut content = source.open()?;
    let length = content.seek(SeekFrom::End(0))?;
    content.rewind()?;
    let mut file = place.create()?;
    transfer(&mut content, length, &mut file, most, gate, progress)
}

/// Fetches a file from a place.
pub(crate) fn fetch(
    place: &Place,
    runtime: &dyn Runtime,
    sink: &dyn Sink,
    gate: &Gate,
    progress: &dyn Fn(u64, Option<u64>),
) -> Result<(), CopyError> {
    gate.check()?;
    let (file, length) = place.open()?;
    let mut content = runtime.outgoing(file, length);
    let mut partial = sink.create()?;
    transfer(
        &mut *content,
        length,
        &mut *partial,
        sink.most(),
        gate,
        progress,
    )?;
    gate.commit(partial)
}

/// Copies a package's archive and checks its digest if it is known. The copy lies in `directory` without a name, so it
/// is gone once it is unpacked.
pub(crate) fn fetch_archive(
    package: &WasiPackage,
    directory: &Path,
    most: u64,
    gate: &Gate,
    progress: &dyn Fn(u64, Option<u64>),
) -> Result<File, CopyError> {
    let mut content = package.archive.open()?;
    let length = content.seek(SeekFrom::End(0))?;
    content.rewind()?;
    let mut file = tempfile::tempfile_in(directory)?;
    let mut hashing = Hashing {
        inner: &mut file,
        hash: Sha256::new(),
    };
    transfer(&mut content, length, &mut hashing, most, gate, progress)?;
    let found = hashing.hash.finalize();
    if let Some(expected) = &package.digest
        && found[..] != expected[..]
    {
        return Err(CopyError::Digest {
            found: hex::encode(found),
            expected: hex::encode(expected),
        });
    }
    file.rewind()?;
    Ok(file)
}

/// Moves exactly the stated bytes, or fails.
fn transfer(
    from: &mut (impl Read + ?Sized),
    stated: u64,
    to: &mut (impl Write + ?Sized),
    most: u64,
    gate: &Gate,
    progress: &dyn Fn(u64, Option<u64>),
) -> Result<(), CopyError> {
    if stated > most {
        return Err(CopyError::TooLarge { most });
    }
    let mut buffer = vec![0; BUFFER];
    let mut done: u64 = 0;
    let mut told: u64 = 0;
    loop {
        gate.check()?;
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        done += read as u64;
        if done > stated {
            return Err(CopyError::Long { stated });
        }
        to.write_all(&buffer[..read])?;
        if done - told >= PROGRESS {
            told = done;
            progress(done, Some(stated));
        }
    }
    if done < stated {
        return Err(CopyError::Short { done, stated });
    }
    to.flush()?;
    if done > told {
        progress(done, Some(stated));
    }
    Ok(())
}

struct Hashing<'a> {
    inner: &'a mut File,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A sink in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    most: u64,
    content: Arc<Mutex<Vec<u8>>>,
}

impl Memory {
    pub(crate) fn new(most: u64) -> Self {
        Self {
            most,
            content: Arc::default(),
        }
    }

    /// What was committed.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Memory {
    fn describe(&self) -> String {
        "the script".to_owned()
    }

    fn most(&self) -> u64 {
        self.most
    }

    fn create(&self) -> io::Result<Box<dyn Partial>> {
        Ok(Box::new(PartialMemory {
            bytes: Vec::new(),
            content: Arc::clone(&self.content),
        }))
    }
}

struct PartialMemory {
    bytes: Vec<u8>,
    content: Arc<Mutex<Vec<u8>>>,
}

impl Write for PartialMemory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Partial for PartialMemory {
    fn commit(self: Box<Self>) -> io::Result<()> {
        *self.content.lock().unwrap_or_else(PoisonError::into_inner) = self.bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends the activity when the last byte has been written.
    struct Ending<'a>(&'a Gate, Arc<Mutex<bool>>);

    impl Write for Ending<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.close();
            Ok(())
        }
    }

    impl Partial for Ending<'static> {
        fn commit(self: Box<Self>) -> io::Result<()> {
            *self.1.lock().unwrap() = true;
            Ok(())
        }
    }

    #[test]
    fn a_file_that_has_arrived_when_the_activity_ends_is_not_committed() {
        static GATE: Gate = Gate(Mutex::new(false));
        let committed = Arc::new(Mutex::new(false));
        let mut partial = Box::new(Ending(&GATE, Arc::clone(&committed)));
        transfer(&mut &b"picture"[..], 7, &mut *partial, 7, &GATE, &|_, _| {}).unwrap();
        let error = GATE.commit(partial).unwrap_err();
        assert!(matches!(error, CopyError::Stopped), "{error}");
        assert!(!*committed.lock().unwrap());
    }

    #[test]
    fn exactly_the_stated_bytes_are_moved() {
        let gate = Gate::default();
        let moved = |content: &[u8], stated, most| {
            let mut to = Vec::new();
            let progress = Mutex::new(0);
            transfer(
                &mut &*content,
                stated,
                &mut to,
                most,
                &gate,
                &|done, total| {
                    assert_eq!(total, Some(stated));
                    *progress.lock().unwrap() = done;
                },
            )
            .map(|()| {
                assert_eq!(*progress.lock().unwrap(), stated);
                to
            })
            .map_err(|error| error.to_string())
        };
        assert_eq!(moved(b"picture", 7, 7).unwrap(), b"picture");
        assert_eq!(moved(b"", 0, 0).unwrap(), b"");
        for (content, stated, most, why) in [
            (
                &b"picture"[..],
                7,
                6,
                "it is larger than the 6 bytes that are accepted",
            ),
            (b"pict", 7, 7, "it ended after 4 of 7 bytes"),
            (
                b"pictures",
                7,
                9,
                "it goes on after the 7 bytes that were stated",
            ),
        ] {
            assert_eq!(moved(content, stated, most).unwrap_err(), why);
        }
    }
}
