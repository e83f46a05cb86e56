//! Files to and from providers: Golem's own file transfer, `gftp`, over the daemon's bus.
//!
//! Whoever has an address of a file may fetch it or fill it, any node, and more than one at a time; calls do not say
//! who they are from. So addresses are only given to the provider that is to use them. A file that is sent has its
//! SHA3-256 for a name, by which a provider can check it; the same content sent twice at a time is served once. One that
//! is received has a random name, and counts as whole only by the hash that the provider states at its end.
//!
//! Files are read and written a chunk at a time on threads that may block; what is in memory does not depend on how
//! long they are.

mod error;
mod incoming;
mod outgoing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

pub use self::error::FilesError;
use self::incoming::Upload;
use self::outgoing::{Offer, Print, Reader};
use super::connection::Daemon;
use super::error::{DaemonError, ErrorKind};
use super::gsb::Service;
use crate::blocking::blocking;
use crate::network::NodeId;
use crate::transfer::{Sink, Source};

/// Where the bus has files.
const PLACE: &str = "/public/gftp/";
/// Random bytes of a name that nobody can guess.
const NAME: usize = 40;

/// Serves files on behalf of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    daemon: Daemon,
    node: NodeId,
    /// What is being sent, by its hash.
    published: Mutex<HashMap<String, Weak<Published>>>,
}

/// A file that is being sent, by one or more.
#[derive(Debug)]
struct Published {
    offer: Arc<Offer>,
    /// None before the first who sends it has registered it.
    served: tokio::sync::Mutex<Option<Served>>,
}

#[derive(Debug)]
struct Served {
    url: String,
    service: Service,
}

/// How far a transfer is, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// So many are across. It goes back when a provider begins anew; where several fetch the same content, it tells
    /// of the one that is furthest.
    pub done: u64,
    /// Of so many, if known.
    pub total: Option<u64>,
}

/// A file that providers can fetch, until this is dropped or ended.
#[derive(Debug)]
pub struct Sending {
    published: Option<Arc<Published>>,
    reader: Arc<Reader>,
    url: String,
    lost: watch::Receiver<Option<DaemonError>>,
}

/// A place where a provider can put a file, once. Dropping it discards what came.
#[derive(Debug)]
pub struct Receiving {
    upload: Arc<Upload>,
    url: String,
    service: Option<Service>,
    lost: watch::Receiver<Option<DaemonError>>,
}

impl Files {
    /// Nothing is sent yet. `node` is the identity of the daemon's app-key.
    pub fn new(daemon: Daemon, node: NodeId) -> Files {
        Files(Arc::new(Inner {
            daemon,
            node,
            published: Mutex::default(),
        }))
    }

    /// Serves a source until the answer is dropped or ended. It is read once before this returns, for its hash.
    ///
    /// # Errors
    /// [`FilesError::Local`] if it cannot be read, [`FilesError::Daemon`].
    pub async fn send(&self, source: Arc<dyn Source>) -> Result<Sending, FilesError> {
        let read = Arc::clone(&source);
        let print = blocking(move || {
            Print::of(&*read).map_err(|error| FilesError::Local {
                what: read.describe(),
                reason: error.to_string(),
            })
        });
        let print = print.await?;
        let published = self.0.published(&print);
        let reader = Arc::new(Reader::new(source, print.length));
        published.offer.add(Arc::clone(&reader));
        // From here on it is taken back if this is dropped.
        let mut sending = Sending {
            published: Some(Arc::clone(&published)),
            reader,
            url: String::new(),
            lost: watch::channel(None).1,
        };
        let mut served = published.served.lock().await;
        let running = match served.take() {
            Some(running) if !running.service.has_failed() => running,
            _ => self.0.serve(&print.hash, &published.offer).await?,
        };
        sending.url.clone_from(&running.url);
        sending.lost = running.service.watch();
        *served = Some(running);
        drop(served);
        Ok(sending)
    }

    /// Takes one upload into a sink.
    ///
    /// # Errors
    /// [`FilesError::Local`] if nothing can be written there, [`FilesError::Daemon`].
    pub async fn receive(&self, sink: Arc<dyn Sink>) -> Result<Receiving, FilesError> {
        let upload = Arc::new(blocking(move || Upload::begin(sink)).await?);
        let name = random_name();
        let place = format!("{PLACE}{name}");
        let service = Service::start(&self.0.daemon, place, Arc::clone(&upload)).await?;
        Ok(Receiving {
            upload,
            url: self.0.url(&name),
            lost: service.watch(),
            service: Some(service),
        })
    }
}

impl Inner {
    /// What is known of this content, or a beginning.
    fn published(&self, print: &Print) -> Arc<Published> {
        let published = self.published.lock();
        let mut published = published.unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = published.get(&print.hash).and_then(Weak::upgrade) {
            return known;
        }
        published.retain(|_, known| known.strong_count() > 0);
        let new = Arc::new(Published {
            offer: Arc::new(Offer::new(print.length)),
            served: tokio::sync::Mutex::default(),
        });
        published.insert(print.hash.clone(), Arc::downgrade(&new));
        new
    }

    async fn serve(&self, hash: &str, offer: &Arc<Offer>) -> Result<Served, DaemonError> {
        let start =
            |name: &str| Service::start(&self.daemon, format!("{PLACE}{name}"), Arc::clone(offer));
        let mut name = hash.to_owned();
        let service = match start(&name).await {
            // Another program sends the same, or the daemon has not heard yet that we do so no more.
            Err(error) if error.kind == ErrorKind::Refused => {
                name = random_name();
                start(&name).await?
            }
            started => started?,
        };
        Ok(Served {
            url: self.url(&name),
            service,
        })
    }

    fn url(&self, name: &str) -> String {
        format!("gftp://{}/{name}", self.node)
    }
}

fn random_name() -> String {
    let mut bytes = [0; NAME];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    hex::encode(bytes)
}

impl Sending {
    /// Where providers fetch it: `gftp://0x…/…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How far it is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.reader.progress()
    }

    /// Waits until it can be fetched no more, and answers why; else for ever. It may be dropped while it waits.
    pub async fn failed(&self) -> FilesError {
        failed(self.reader.failed(), self.lost.clone()).await
    }

    /// Serves it no more. Nothing is read from the source when this has returned.
    pub async fn end(mut self) {
        let reader = Arc::clone(&self.reader);
        blocking(move || reader.end()).await;
        if let Some(published) = self.withdraw()
            && let Some(served) = published.served.into_inner()
        {
            served.service.end().await;
        }
    }

    /// Nobody is given it any more. Answers what else is to be ended.
    fn withdraw(&mut self) -> Option<Published> {
        let published = self.published.take()?;
        published.offer.remove(&self.reader);
        // Only the last of those who send it.
        Arc::into_inner(published)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.reader.end();
        drop(self.withdraw());
    }
}

impl Receiving {
    /// Where a provider puts it: `gftp://0x…/…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How far it is. The length is known at the end.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.upload.progress()
    }

    /// Waits until it cannot come whole any more, and answers why; else for ever. It may be dropped while it waits.
    pub async fn failed(&self) -> FilesError {
        failed(self.upload.failed(), self.lost.clone()).await
    }

    /// Commits the sink if the provider has sent the whole file and said so, which it has when its transfer is told
    /// to be done. Answers the bytes. If this is dropped before it returns, the sink is committed by then or never.
    ///
    /// # Errors
    /// [`FilesError::Broken`] if it is not whole, [`FilesError::Local`] and [`FilesError::Daemon`]; nothing is
    /// committed then.
    pub async fn finish(mut self) -> Result<u64, FilesError> {
        let upload = Arc::clone(&self.upload);
        let service = self.service.take();
        let end = async {
            if let Some(service) = service {
                service.end().await;
            }
        };
        let (committed, ()) = tokio::join!(blocking(move || upload.commit()), end);
        // Whose fault it is that it did not come.
        let lost = self.lost.borrow().clone();
        match (committed, lost) {
            (Err(FilesError::Broken { .. }), Some(lost)) => Err(lost.into()),
            (committed, _) => committed,
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.upload.end();
    }
}

async fn failed(
    file: watch::Receiver<Option<FilesError>>,
    service: watch::Receiver<Option<DaemonError>>,
) -> FilesError {
    tokio::select! {
        error = told(file) => error,
        error = told(service) => error.into(),
    }
}

async fn told<T: Clone>(mut failed: watch::Receiver<Option<T>>) -> T {
    let told = failed.wait_for(Option::is_some).await;
    match told.ok().and_then(|told| told.clone()) {
        Some(error) => error,
        // Whoever would tell is gone without a failure.
        None => std::future::pending().await,
    }
}
