//! Looking at a place: where the server is asked for it, and opening a file there.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::catalogue::Known;
use super::dialect::Refusal;
use super::http::{Download, Fault};
use super::loan::{List, Loan};
use super::memory::Reading;
use super::tree::{Tree, View, stored_path};
use super::{Inner, PAUSES};
use crate::{DfsPath, Error, Kind, OpenFile, Place};

/// What keeps a place readable.
pub(super) struct Keeping {
    pub(super) reading: Option<Reading>,
    pub(super) loan: Option<Loan>,
}

impl Keeping {
    pub(super) async fn end(self) {
        drop(self.reading);
        if let Some(loan) = self.loan {
            loan.end().await;
        }
    }
}

impl Inner {
    /// Where the server is asked for a place, and what keeps it meanwhile.
    pub(super) async fn view(
        self: &Arc<Self>,
        place: &Place,
        list: List,
    ) -> Result<(View, Keeping), Error> {
        let reference = match place {
            Place::Shared(reference) => *reference,
            Place::Pod(pod) => match self.known(pod).await? {
                Known::Received(reference) => reference,
                Known::Own | Known::Listed => {
                    let kept = Keeping {
                        reading: Some(self.reading(pod).await?),
                        loan: None,
                    };
                    return Ok((View::Named(pod.clone()), kept));
                }
            },
        };
        let dialect = self.session.dialect().await;
        let dialect = dialect.map_err(|fault| fault.into_error(format!("read {place}")))?;
        if !dialect.is_full() {
            return self.borrow(&reference, list).await;
        }
        let kept = Keeping {
            reading: None,
            loan: None,
        };
        Ok((View::Shared(reference), kept))
    }

    /// Runs `look` on a place. A pod that was the user's own a moment ago and is not any more is looked for again.
    pub(super) async fn look<'a, T>(
        self: &Arc<Self>,
        place: &'a Place,
        list: List,
        look: impl Fn(Tree) -> BoxFuture<'a, Result<T, Error>> + Send + Sync,
    ) -> Result<T, Error> {
        let mut again = true;
        loop {
            let (view, kept) = self.view(place, list).await?;
            let result = look(self.tree(view)).await;
            kept.end().await;
            if let (Err(Error::NoSuchPod { .. }), Place::Pod(pod)) = (&result, place) {
                self.set_own(pod, false);
                if std::mem::take(&mut again) {
                    continue;
                }
            }
            // What a received pod's reference has become is a matter of the pod.
            if let (Err(Error::NoSuchShare { .. }), Place::Pod(pod)) = (&result, place) {
                return Err(self.no_such_pod(pod));
            }
            return result.map_err(|error| in_place(error, place));
        }
    }
}

/// Opens a file. What its owner replaces just then is looked for again.
pub(super) async fn open(tree: &Tree, file: &DfsPath) -> Result<OpenFile, Error> {
    let attempted = || format!("read `{file}`");
    // A file is listed under a name that it has, but for a moment.
    let mut pauses = PAUSES.into_iter().take(3);
    loop {
        let found = tree.find(file).await?;
        let parent = match (found.entry.kind, file.parent()) {
            (Kind::File, Some(parent)) => parent,
            _ => {
                return Err(Error::IsDirectory {
                    place: tree.place(),
                    path: file.clone(),
                });
            }
        };
        let head = tree.open(&stored_path(&parent, &found.stored)).await;
        let fault = match head.and_then(Download::new) {
            Ok(download) if download.size() == found.entry.size => {
                return Ok(OpenFile {
                    size: download.size(),
                    content: Box::new(download),
                });
            }
            Ok(download) => Fault::Nonsense(format!(
                "the server lists {} bytes and sends {}",
                found.entry.size,
                download.size()
            )),
            Err(fault) => match fault.refusal() {
                Some(Refusal::NoSuchFile | Refusal::Missing) => fault,
                _ => return Err(fault.into_error(attempted())),
            },
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(fault.into_error(attempted())),
        }
    }
}

/// The place that the caller named, in an error about where it was looked for.
fn in_place(error: Error, place: &Place) -> Error {
    let place = place.clone();
    match error {
        Error::NoSuchPath { path, .. } => Error::NoSuchPath { place, path },
        Error::IsDirectory { path, .. } => Error::IsDirectory { place, path },
        Error::IsFile { path, .. } => Error::IsFile { place, path },
        other => other,
    }
}
