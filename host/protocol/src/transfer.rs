//! Files between storage and this machine: streamed, counted, and told by their digest.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use sovr_capability::Digest;
use sovr_dfs::{DfsPath, Place, PodName};
use sovr_pod::archive::{Archive, ArchiveError, Written};
use sovr_pod::lock::Pin;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::event::Direction;
use crate::pipe;
use crate::{Error, Protocol, Told};

/// Most bytes of an archive that is fetched.
const MOST_ARCHIVE: u64 = 16 << 30;

/// Bytes that move at once.
const PIECE: usize = 1 << 20;

impl Protocol {
    /// Packs `archive` straight into a file of the user's pod.
    pub(crate) async fn store_archive(
        &self,
        pod: &PodName,
        file: &DfsPath,
        archive: Archive,
    ) -> Result<Written, Error> {
        let (mut writer, reader) = pipe::pipe();
        let packing = tokio::task::spawn_blocking(move || {
            let written = archive.write(&mut writer)?;
            // That the other end is gone is the other end's error to tell.
            let _ = writer.finish();
            Ok::<_, Error>(written)
        });
        let what = format!("{file} of pod {pod}");
        let mut content = Told::begin(&*self.observer, Direction::Up, &what, None, reader);
        let stored = self.dfs().write(pod, file, &mut content).await;
        match stored {
            Ok(_) => content.complete(),
            Err(_) => drop(content),
        }
        let packed = match packing.await {
            Ok(packed) => packed,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        match (packed, stored) {
            // Packing failed only because storage took no more.
            (Err(Error::Packing(ArchiveError::Output(_))), Err(error)) => Err(error.into()),
            // Storage can only say that its content failed; why is known here.
            (Err(error), _) => Err(error),
            (Ok(_), Err(error)) => Err(error.into()),
            (Ok(written), Ok(stored)) if stored == written.size => Ok(written),
            (Ok(written), Ok(stored)) => Err(Error::Stored {
                what,
                expected: written.size,
                found: stored,
            }),
        }
    }

    /// Fetches a file of storage into one without a name on the disk of `near`, and tells what came.
    pub(crate) async fn fetch(
        &self,
        place: &Place,
        file: &DfsPath,
        near: &Path,
    ) -> Result<(File, Pin), Error> {
        let what = format!("{file} of {place}");
        let opened = self.dfs().read(place, file).await?;
        if opened.size > MOST_ARCHIVE {
            return Err(Error::TooLarge {
                what,
                bytes: opened.size,
                most: MOST_ARCHIVE,
            });
        }
        let failed = || Error::io("keep what is fetched in", near);
        let into = tempfile::tempfile_in(near).map_err(failed())?;
        let size = opened.size;
        // One byte more than it has: a stream that does not end there is not taken for the file.
        let content = opened.content.take(size + 1);
        let mut content = Told::begin(&*self.observer, Direction::Down, &what, Some(size), content);
        let copied = copy(&mut content, into).await;
        let (file, found, sha256) = copied.map_err(|fault| match fault {
            Fault::Read(source) => Error::Read {
                what: what.clone(),
                source,
            },
            Fault::Write(source) => failed()(source),
        })?;
        if found != size {
            return Err(Error::Length {
                what,
                expected: size,
                found,
            });
        }
        content.complete();
        Ok((file, Pin { sha256, size }))
    }

    /// Reads a small file of storage; none if the pod has no such file. That it could not be read is an error, and
    /// never taken for its absence.
    pub(crate) async fn read_small(
        &self,
        place: &Place,
        file: &DfsPath,
        most: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let what = || format!("{file} of {place}");
        let opened = match self.dfs().read(place, file).await {
            Ok(opened) => opened,
            Err(sovr_dfs::Error::NoSuchPath { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if opened.size > most {
            return Err(Error::TooLarge {
                what: what(),
                bytes: opened.size,
                most,
            });
        }
        let mut bytes = Vec::new();
        opened
            .content
            .take(most + 1)
            .read_to_end(&mut bytes)
            .await
            .map_err(|source| Error::Read {
                what: what(),
                source,
            })?;
        if bytes.len() as u64 == opened.size {
            Ok(Some(bytes))
        } else {
            Err(Error::Length {
                what: what(),
                expected: opened.size,
                found: bytes.len() as u64,
            })
        }
    }
}

/// Which side of a copy failed.
enum Fault {
    Read(io::Error),
    Write(io::Error),
}

/// Writes all of `content` into a file, hashing and writing on a thread beside the one that reads.
async fn copy(
    content: &mut (dyn AsyncRead + Send + Unpin),
    mut file: File,
) -> Result<(File, u64, Digest), Fault> {
    let (pieces, mut incoming) = tokio::sync::mpsc::channel::<Vec<u8>>(2);
    let writing = tokio::task::spawn_blocking(move || {
        let mut hasher = Sha256::new();
        let mut size = 0;
        while let Some(piece) = incoming.blocking_recv() {
            hasher.update(&piece);
            file.write_all(&piece)?;
            size += piece.len() as u64;
        }
        Ok((file, size, Digest::from_bytes(hasher.finalize().into())))
    });
    let mut read = Ok(());
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        match (&mut *content)
            .take(PIECE as u64)
            .read_to_end(&mut piece)
            .await
        {
            Ok(0) => break,
            // A writer that is gone has failed; its own error is told below.
            Ok(_) if pieces.send(piece).await.is_err() => break,
            Ok(_) => {}
            Err(source) => {
                read = Err(Fault::Read(source));
                break;
            }
        }
    }
    drop(pieces);
    let written = match writing.await {
        Ok(written) => written.map_err(Fault::Write),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    read.and(written)
}
