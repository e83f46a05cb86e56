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
use tokio::io::{self, AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::dialect::{Refusal, Uploaded};
use super::http::{self, Fault, STALL, STORING};
use super::tree::{Directory, SWAP, View};
use super::{Inner, ours, to_the_end};
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
        let swap = takes(&before, pod, file, name)?;
        let stored = match swap {
            true => format!("{SWAP}{name}"),
            false => name.to_owned(),
        };
        let attempted = || format!("write `{file}` in pod `{pod}`");
        let mut sending = self
            .start(pod, &parent, &stored)
            .await
            .map_err(|fault| fault.into_error(attempted()))?;
        let mut buffer = vec![0; PIECE];
        loop {
            let now = match content.read(&mut buffer).await {
                Ok(0) => break,
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
                Ok(Err(_)) => break,
                Err(_) => {
                    let reason = format!("the server took nothing for {} s", STALL.as_secs());
                    return Err(Fault::Connection(reason).into_error(attempted()));
                }
            }
        }
        let work = self
            .clone()
            .finish(sending, pod.clone(), file.clone(), stored);
        to_the_end(work).await
    }

    /// Begins a request, up to the content.
    async fn start(&self, pod: &PodName, parent: &DfsPath, stored: &str) -> Result<Sending, Fault> {
        let token = self.session.token(None).await?;
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
            .text("podName", pod.to_string())
            .text("dirPath", parent.to_string())
            .text("overwrite", "true")
            .part(
                "files",
                Part::stream(Body::wrap_stream(content)).file_name(stored.to_owned()),
            )
            .part("blockSize", Part::stream(Body::wrap_stream(blocks)));
        let request = self
            .session
            .http
            .request(Method::POST, "v1/file/upload", Some(&token))
            .multipart(form);
        let answer = tokio::spawn(async move { http::object(http::send(request).await?).await });
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
        let _held = self.writing(&pod).await?;
        let tree = self.tree(View::Named(pod.clone()));
        takes(&tree.directory(&parent).await?, &pod, &file, name)?;
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
                place: (&pod).into(),
                path: parent.clone(),
            },
            Some(Refusal::NoSuchPod) => self.no_such_pod(&pod),
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
        let now = tree.directory(&parent).await?;
        match now.stored_size(&stored) {
            Some(size) if size == sending.size => {}
            Some(size) => {
                return Err(wrong(format!(
                    "the server has {size} bytes of the {} that were sent",
                    sending.size
                )));
            }
            None => return Err(wrong("the server does not list it".to_owned())),
        }
        if stored != name {
            if now.has_stored(name) {
                self.delete_file(&pod, &parent, name).await?;
            }
            self.rename(&pod, &parent, &stored, name).await?;
        }
        Ok(sending.size)
    }
}

/// Whether a file of this name would replace another.
fn takes(directory: &Directory, pod: &PodName, file: &DfsPath, name: &str) -> Result<bool, Error> {
    match directory.like(name) {
        // What was left out may be the one, or what is left of it.
        None => Ok(directory.left_out > 0),
        Some(found) if found.entry.name != name => Err(Error::PathExists {
            pod: pod.clone(),
            path: file.clone(),
            existing: found.entry.name.clone(),
        }),
        Some(found) if found.entry.kind == Kind::Directory => Err(Error::IsDirectory {
            place: pod.into(),
            path: file.clone(),
        }),
        Some(_) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
