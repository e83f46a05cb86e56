//! A file on its way to the server.
//!
//! The server takes the whole request before it does anything, so content flows without a lock for as long as its
//! source needs, and one that breaks off changes nothing. Only the request's last bytes wait: for the pod's lock, and
//! for another look at the directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use serde_json::json;
use tokio::io::{self, AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::change::ours;
use super::dialect::{Refusal, Uploaded};
use super::http::{self, Download, Fault, STALL, STORING};
use super::session::Call;
use super::tree::{Directory, View, stored_path, versions};
use super::{Inner, PAUSES, to_the_end};
use crate::{DfsPath, Error, Kind, PodName};

/// Bytes that move at once.
const PIECE: usize = 256 << 10;
/// Pieces that wait for the network.
const WAITING: usize = 2;
/// The server cuts a file into blocks of this to [`BLOCK_MAX`] bytes.
const BLOCK_MIN: u64 = 1_000_000;
const BLOCK_MAX: u64 = 8_000_000;
/// Blocks that a file of middling size has: the server stores several at a time.
const BLOCKS: u64 = 16;

fn block_size(size: u64) -> u64 {
    (size / BLOCKS).clamp(BLOCK_MIN, BLOCK_MAX)
}

enum Piece {
    Bytes(Bytes),
    /// Without it the content has broken off.
    End,
}

/// A request that is being sent.
struct Sending {
    pieces: mpsc::Sender<Piece>,
    answer: JoinHandle<Result<Uploaded, Fault>>,
    size: u64,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

impl Inner {
    /// Writes a file of an own pod.
    pub(super) async fn put(
        self: &Arc<Self>,
        pod: &PodName,
        file: &DfsPath,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, Error> {
        let (Some(parent), Some(name)) = (file.parent(), file.name()) else {
            return Err(Error::Root {
                pod: pod.clone(),
                attempted: "written",
            });
        };
        ours(name)?;
        let tree = self.tree(View::Named(pod.clone()));
        let before = {
            let _reading = self.reading(pod).await?;
            let directory = tree.directory(&parent).await;
            if matches!(directory, Err(Error::NoSuchPod { .. })) {
                self.set_own(pod, false);
            }
            directory?
        };
        let stored = takes(&before, pod, file, name)?;
        let attempted = || format!("write `{file}` in pod `{pod}`");
        let mut sending = self
            .start(pod, &parent, &stored)
            .await
            .map_err(|fault| fault.into_error(attempted()))?;
        self.pump(&mut sending, pod, file, content).await?;
        let work = self
            .clone()
            .finish(sending, pod.clone(), file.clone(), stored);
        to_the_end(work).await
    }

    /// Sends content, but not its end.
    async fn pump(
        &self,
        sending: &mut Sending,
        pod: &PodName,
        file: &DfsPath,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<(), Error> {
        let mut buffer = vec![0; PIECE];
        loop {
            let now = match content.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(now) => now,
                Err(source) => {
                    return Err(Error::Content {
                        pod: pod.clone(),
                        path: file.clone(),
                        source,
                    });
                }
            };
            sending.size += now as u64;
            let piece = Piece::Bytes(Bytes::copy_from_slice(&buffer[..now]));
            match timeout(STALL, sending.pieces.send(piece)).await {
                Ok(Ok(())) => {}
                // The server has answered before the end.
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    let reason = format!("the server took nothing for {} s", STALL.as_secs());
                    return Err(Fault::Connection(reason)
                        .into_error(format!("write `{file}` in pod `{pod}`")));
                }
            }
        }
    }

    /// Stores a file under a name that is free. The caller has the pod for itself.
    pub(super) async fn store(
        &self,
        pod: &PodName,
        file: &DfsPath,
        stored: &str,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<(), Error> {
        let parent = file.parent().unwrap_or_else(DfsPath::root);
        let mut sending = self
            .start(pod, &parent, stored)
            .await
            .map_err(|fault| fault.into_error(format!("write `{file}` in pod `{pod}`")))?;
        self.pump(&mut sending, pod, file, content).await?;
        self.end(&mut sending, pod, file, stored).await.map(|_| ())
    }

    /// Gives a file another name in its directory, where that is free. The caller has the pod for itself.
    pub(super) async fn rename(
        &self,
        pod: &PodName,
        at: &DfsPath,
        from: &str,
        to: &str,
    ) -> Result<(), Error> {
        let (older, newer) = (stored_path(at, from), stored_path(at, to));
        let failed =
            |fault: Fault| fault.into_error(format!("name a new file `{newer}` in pod `{pod}`"));
        if self.session.dialect().await.map_err(failed)?.is_full() {
            return self
                .rename_at_once(pod, &older, &newer)
                .await
                .map_err(failed);
        }
        // An older server cannot: the file is stored once more, and both are there until that is done.
        let head = self.tree(View::Named(pod.clone())).open(&older).await;
        let mut content = head.and_then(Download::new).map_err(failed)?;
        self.store(pod, &at.join(to)?, to, &mut content).await?;
        self.delete_file(pod, at, from).await
    }

    /// A newer server may still remember what had the name a moment ago, or find an old update of it in the network:
    /// then it is told to forget, and asked again.
    async fn rename_at_once(&self, pod: &PodName, from: &str, to: &str) -> Result<(), Fault> {
        let body = json!({ "podName": pod.as_str(), "oldPath": from, "newPath": to });
        let mut pauses = PAUSES.into_iter();
        loop {
            let rename = Call::post("v1/file/rename", body.clone());
            let fault = match self.session.tell(rename).await {
                Err(fault) if fault.refusal() == Some(Refusal::Exists) => fault,
                renamed => return renamed,
            };
            let Some(pause) = pauses.next() else {
                return Err(fault);
            };
            tokio::time::sleep(pause).await;
            self.close(pod).await?;
        }
    }

    /// Begins a request, up to the content.
    async fn start(&self, pod: &PodName, parent: &DfsPath, stored: &str) -> Result<Sending, Fault> {
        let login = self.session.login(None).await?;
        let dialect = login.dialect();
        let (pieces, waiting) = mpsc::channel(WAITING);
        let size = Arc::new(AtomicU64::new(0));
        let counted = size.clone();
        let content = stream::unfold(Some(waiting), move |waiting| {
            let counted = counted.clone();
            async move {
                let mut waiting: mpsc::Receiver<Piece> = waiting?;
                match waiting.recv().await {
                    Some(Piece::Bytes(bytes)) => {
                        counted.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        Some((Ok(bytes), Some(waiting)))
                    }
                    Some(Piece::End) => None,
                    None => Some((Err(io::Error::other("the content broke off")), None)),
                }
            }
        });
        // It follows the content, whose length nobody knows before.
        let blocks = stream::once(async move {
            let blocks = block_size(size.load(Ordering::Relaxed)).to_string();
            Ok::<_, io::Error>(Bytes::from(blocks))
        });
        let form = Form::new()
            .text(dialect.field("podName"), pod.to_string())
            .text(dialect.field("dirPath"), parent.to_string())
            .text("overwrite", "true")
            .part(
                "files",
                Part::stream(Body::wrap_stream(content)).file_name(stored.to_owned()),
            )
            .part(
                dialect.field("blockSize"),
                Part::stream(Body::wrap_stream(blocks)),
            );
        let request = self
            .session
            .http
            .request(Method::POST, "v1/file/upload", Some(&login))
            .multipart(form);
        let answer = tokio::spawn(async move {
            http::object(http::send(request, dialect).await?, dialect).await
        });
        Ok(Sending {
            pieces,
            answer,
            size: 0,
        })
    }

    /// Ends the request, with the pod for itself, looks whether the file is there, and gives it its name.
    async fn finish(
        self: Arc<Self>,
        mut sending: Sending,
        pod: PodName,
        file: DfsPath,
        stored: String,
    ) -> Result<u64, Error> {
        let attempted = || format!("write `{file}` in pod `{pod}`");
        let (Some(parent), Some(name)) = (file.parent(), file.name()) else {
            unreachable!("it was looked at before the content was sent");
        };
        let held = self.writing(&pod).await?;
        let tree = self.tree(View::Named(pod.clone()));
        let before = tree.directory(&parent).await?;
        // Whoever made the same new file meanwhile has it replaced by the server, in its less careful way.
        let free = takes(&before, &pod, &file, name)?;
        let dialect = self.session.dialect().await;
        let full = dialect
            .map_err(|fault| fault.into_error(attempted()))?
            .is_full();
        if !full && stored != name && before.has_stored(&stored) {
            // An older server would keep it under a name of its own.
            if free == stored {
                self.delete_file(&pod, &parent, &stored).await?;
            } else {
                self.rename(&pod, &parent, &stored, name).await?;
            }
        }
        let now = self.end(&mut sending, &pod, &file, &stored).await?;
        if !full {
            for other in now.stored_names() {
                if !before.has_stored(other) && is_set_aside(other, &stored) {
                    self.delete_file(&pod, &parent, other).await?;
                }
            }
        }
        if stored != name {
            self.swap(&pod, &parent, &now, name, &stored, full).await?;
        }
        held.done().await?;
        Ok(sending.size)
    }

    /// Ends a request and looks whether the file is there. Gives what is in the directory then.
    async fn end(
        &self,
        sending: &mut Sending,
        pod: &PodName,
        file: &DfsPath,
        stored: &str,
    ) -> Result<Directory, Error> {
        let attempted = || format!("write `{file}` in pod `{pod}`");
        let parent = file.parent().unwrap_or_else(DfsPath::root);
        let _ = sending.pieces.send(Piece::End).await;
        let answer = match timeout(STORING, &mut sending.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Fault::Connection("the request was given up".to_owned())),
            Err(_) => Err(Fault::Connection(format!(
                "the server has not stored it within {} s",
                STORING.as_secs()
            ))),
        };
        let uploaded = answer.map_err(|fault| match fault.refusal() {
            Some(Refusal::NoSuchDirectory) => Error::NoSuchPath {
                place: pod.into(),
                path: parent.clone(),
            },
            Some(Refusal::NoSuchPod) => self.no_such_pod(pod),
            Some(Refusal::ReadOnly) => Error::ReadOnly {
                pod: pod.clone(),
                attempted: "written",
            },
            _ => fault.into_error(attempted()),
        })?;
        let wrong = |reason: String| Error::Storage {
            attempted: attempted(),
            reason,
            next: "look at what is there and try again",
        };
        if let Some(fault) = uploaded.fault() {
            return Err(wrong(format!("the server answered: {}", fault.escaped())));
        }
        let tree = self.tree(View::Named(pod.clone()));
        let now = tree.directory(&parent).await?;
        match now.stored_size(stored) {
            Some(size) if size == sending.size => {}
            Some(size) => {
                return Err(wrong(format!(
                    "the server has {size} bytes of the {} that were sent",
                    sending.size
                )));
            }
            None => return Err(wrong("the server does not list it".to_owned())),
        }
        Ok(now)
    }

    /// Gives a new version its name. At each moment there is a whole one beside the one that is renamed.
    async fn swap(
        &self,
        pod: &PodName,
        at: &DfsPath,
        now: &Directory,
        name: &str,
        new: &str,
        full: bool,
    ) -> Result<(), Error> {
        let [_, swap, kept] = versions(name);
        let old = if new == swap { &kept } else { &swap };
        // An older server renames nothing: the new version is stored once more and stays until that is done.
        if full && now.has_stored(name) {
            // Also one that is not listed would be in the way.
            self.delete_file(pod, at, old).await?;
            self.rename(pod, at, name, old).await?;
        } else if full || now.has_stored(name) {
            self.delete_file(pod, at, name).await?;
        }
        self.rename(pod, at, new, name).await?;
        // An older server's word for what is not there is the same as for what it does not find now.
        if full || now.has_stored(old) {
            self.delete_file(pod, at, old).await?;
        }
        Ok(())
    }
}

/// Whether an older server gave a file this name because another came under its own: the second of the day, and the
/// name.
fn is_set_aside(other: &str, name: &str) -> bool {
    other
        .strip_suffix(name)
        .and_then(|rest| rest.strip_suffix('_'))
        .is_some_and(|second| !second.is_empty() && second.bytes().all(|b| b.is_ascii_digit()))
}

/// The name under which a file can be stored without touching what is shown under its own.
fn takes(
    directory: &Directory,
    pod: &PodName,
    file: &DfsPath,
    name: &str,
) -> Result<String, Error> {
    let [own, swap, kept] = versions(name);
    match directory.like(name) {
        // What was left out may be the one, or what is left of it.
        None if directory.left_out > 0 => Ok(swap),
        None => Ok(own),
        Some(found) if found.entry.name != name => Err(Error::PathExists {
            pod: pod.clone(),
            path: file.clone(),
            existing: found.entry.name.clone(),
        }),
        Some(found) if found.entry.kind == Kind::Directory => Err(Error::IsDirectory {
            place: pod.into(),
            path: file.clone(),
        }),
        Some(found) if found.stored == swap => Ok(kept),
        Some(_) => Ok(swap),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_server_keeps_what_is_replaced_under_the_time_and_the_name() {
        assert!(is_set_aside("1665000000_a.txt", "a.txt"));
        assert!(is_set_aside("1665000000_.sovr-swap.a", ".sovr-swap.a"));
        for other in [
            "a.txt",
            "_a.txt",
            "x_a.txt",
            "1665000000_b.txt",
            "1665000000-a.txt",
        ] {
            assert!(!is_set_aside(other, "a.txt"), "{other}");
        }
    }

    #[test]
    fn blocks_grow_with_the_file_within_what_the_server_takes() {
        for (size, expected) in [
            (0, BLOCK_MIN),
            (16_000_000, BLOCK_MIN),
            (64_000_000, 4_000_000),
            (u64::MAX, BLOCK_MAX),
        ] {
            assert_eq!(block_size(size), expected);
        }
    }
}
