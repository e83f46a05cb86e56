//! `transfer`: files between the pod's tree, the storage and a provider.
//!
//! One end of every copy is a file of this machine: of the tree if the script named one, otherwise a spool file that
//! nobody else sees. So there are two halves, putting a file somewhere and getting one from somewhere, and every pair
//! of places is made of them.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sovr_capability::{Grants, Untrusted};
use sovr_dfs::{DfsPath, PodName};
use sovr_golem as golem;
use sovr_golem::transfer::{BUFFER, Partial};
use sovr_golem::{Sink, Source};
use sovr_pod::GuestPath;
use sovr_protocol::Told;
use sovr_protocol::event::Direction;
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::wire::{Handle, Place, Reply};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::mpsc;

use super::objects::Rented;
use super::{Desk, blocking, dfs, steps};
use crate::convert;
use crate::event::{Event, Forwarded};
use crate::gate::{Action, Refusal, Used};

/// A place whose words make sense.
#[derive(Debug, Clone)]
enum End {
    Tree(GuestPath),
    Dfs(PodName, DfsPath),
    Provider(Handle, String),
}

impl End {
    fn parse(field: &str, place: Place) -> Result<Self, Error> {
        Ok(match place {
            Place::Workspace(path) => End::Tree(steps::tree_path(field, &path)?),
            Place::Dfs(location) => {
                let (pod, path) = dfs::location(field, &location)?;
                End::Dfs(pod, path)
            }
            Place::Provider { activity, path } => {
                End::Provider(activity, steps::remote_path(field, path)?)
            }
        })
    }

    fn describe(&self) -> String {
        match self {
            End::Tree(path) => path.to_string(),
            End::Dfs(pod, path) => format!("dfs:{pod}{path}"),
            End::Provider(activity, path) => format!("provider:{activity}{path}"),
        }
    }
}

#[derive(Debug)]
struct Copy {
    source: End,
    destination: End,
}

impl Copy {
    fn parse(source: Place, destination: Place) -> Result<Self, Error> {
        Ok(Self {
            source: End::parse("source", source)?,
            destination: End::parse("destination", destination)?,
        })
    }
}

impl Action for Copy {
    type Terms = ();

    fn what(&self) -> &'static str {
        "transfer.copy"
    }

    fn detail(&self) -> Value {
        json!({ "source": self.source.describe(), "destination": self.destination.describe() })
    }

    fn check(&self, grants: &Grants, used: &mut Used) -> Result<(), Refusal> {
        match &self.source {
            End::Tree(_) => {}
            End::Dfs(pod, _) => dfs::check_read(grants, used, pod)?,
            End::Provider(..) => {
                grants.golem(self.what())?;
            }
        }
        match &self.destination {
            End::Tree(path) => steps::check_writable(path)?,
            End::Dfs(pod, _) => grants.dfs(self.what())?.check_write(pod.as_str())?,
            End::Provider(..) => {
                grants.golem(self.what())?;
            }
        }
        Ok(())
    }
}

impl Desk {
    pub(super) async fn copy(&self, source: Place, destination: Place) -> Result<Reply, Error> {
        let copy = self
            .gate
            .read("transfer.copy", Copy::parse(source, destination))?;
        self.gate
            .pass(copy, async |permit| {
                let Copy {
                    source,
                    destination,
                } = permit.action;
                let receipt = match (&source, &destination) {
                    (End::Tree(path), to) => self.put(self.files.source(path.clone()), to).await?,
                    (from, End::Tree(path)) => {
                        self.get(from, self.files.sink(path.clone())).await?
                    }
                    (from, to) => {
                        let spool = Arc::new(self.files.spool().map_err(local)?);
                        self.get(from, Arc::clone(&spool) as Arc<dyn Sink>).await?;
                        self.put(spool, to).await?
                    }
                };
                self.observer.observe(&Event::Copied {
                    source: Untrusted::new(source.describe()),
                    destination: Untrusted::new(destination.describe()),
                    bytes: receipt.bytes,
                });
                Ok(Reply::Receipt {
                    bytes: receipt.bytes,
                    sha256: receipt.sha256,
                })
            })
            .await
    }

    /// A file of this machine to somewhere.
    async fn put(&self, source: Arc<dyn Source>, to: &End) -> Result<Receipt, Error> {
        match to {
            End::Tree(path) => {
                let sink = self.files.sink(path.clone());
                blocking(move || copy_here(&*source, &*sink))
                    .await?
                    .map_err(local)
            }
            End::Dfs(pod, path) => {
                let mut stream = FileStream::open(source);
                let observer = Forwarded(Arc::clone(&self.observer));
                let what = Untrusted::new(to.describe()).escaped();
                let mut told = Told::begin(&observer, Direction::Up, what, None, &mut stream);
                self.store()?
                    .write(pod, path, &mut told)
                    .await
                    .map_err(dfs::error)?;
                told.complete();
                Ok(stream.meter.receipt())
            }
            End::Provider(activity, path) => {
                let step = golem::Step::Send {
                    source: Arc::clone(&source),
                    destination: path.clone(),
                };
                let rented = self.objects.rented(*activity)?;
                one_step(&rented, step).await?;
                blocking(move || measure(&*source)).await?.map_err(local)
            }
        }
    }

    /// A file from somewhere to this machine.
    async fn get(&self, from: &End, sink: Arc<dyn Sink>) -> Result<Receipt, Error> {
        match from {
            End::Tree(path) => {
                let source = self.files.source(path.clone());
                blocking(move || copy_here(&*source, &*sink))
                    .await?
                    .map_err(local)
            }
            End::Dfs(pod, path) => {
                let file = self
                    .store()?
                    .read(&pod.into(), path)
                    .await
                    .map_err(dfs::error)?;
                if file.size > sink.most() {
                    return Err(Error::Invalid(format!(
                        "{} has {} bytes; {} are left of limits.output",
                        from.describe(),
                        file.size,
                        sink.most()
                    )));
                }
                let observer = Forwarded(Arc::clone(&self.observer));
                let what = Untrusted::new(from.describe()).escaped();
                let (size, content) = (Some(file.size), file.content);
                let mut told = Told::begin(&observer, Direction::Down, what, size, content);
                let receipt = receive(&mut told, sink).await?;
                told.complete();
                Ok(receipt)
            }
            End::Provider(activity, path) => {
                let metered = Arc::new(MeteredSink {
                    sink,
                    meter: Arc::default(),
                });
                let step = golem::Step::Download {
                    source: path.clone(),
                    sink: Arc::clone(&metered) as Arc<dyn Sink>,
                };
                let rented = self.objects.rented(*activity)?;
                one_step(&rented, step).await?;
                Ok(metered.receipt())
            }
        }
    }
}

/// Runs a batch of one step on a rented provider that has nothing else to do.
async fn one_step(rented: &Rented, step: golem::Step) -> Result<(), Error> {
    let batch = rented.batch.try_lock().map_err(|_| super::golem::busy())?;
    if batch.is_some() {
        return Err(super::golem::busy());
    }
    let mut events = rented
        .rental
        .exec(vec![step], None)
        .await
        .map_err(convert::executor_error)?;
    while let Some(event) = events.recv().await {
        if let golem::BatchEvent::Ended(end) = event {
            return end.map_err(convert::failure_as_error);
        }
    }
    Err(Error::Unavailable(
        "the provider's batch ended without a word".to_owned(),
    ))
}

/// What was copied.
#[derive(Debug)]
struct Receipt {
    bytes: u64,
    /// 64 hexadecimal digits.
    sha256: String,
}

/// Counts and hashes what passes.
#[derive(Debug, Default)]
struct Meter {
    bytes: u64,
    hash: Sha256,
}

impl Meter {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    fn receipt(&self) -> Receipt {
        Receipt {
            bytes: self.bytes,
            sha256: hex::encode(self.hash.clone().finalize()),
        }
    }
}

/// A sink that measures what it is given.
#[derive(Debug)]
struct MeteredSink {
    sink: Arc<dyn Sink>,
    /// Of the last file that was begun.
    meter: Arc<Mutex<Meter>>,
}

impl MeteredSink {
    fn receipt(&self) -> Receipt {
        self.meter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .receipt()
    }
}

impl Sink for MeteredSink {
    fn describe(&self) -> String {
        self.sink.describe()
    }

    fn most(&self) -> u64 {
        self.sink.most()
    }

    fn create(&self) -> io::Result<Box<dyn Partial>> {
        let partial = self.sink.create()?;
        *self.meter.lock().unwrap_or_else(PoisonError::into_inner) = Meter::default();
        Ok(Box::new(MeteredPartial {
            partial,
            meter: Arc::clone(&self.meter),
        }))
    }
}

struct MeteredPartial {
    partial: Box<dyn Partial>,
    meter: Arc<Mutex<Meter>>,
}

impl Write for MeteredPartial {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.partial.write(buffer)?;
        self.meter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(&buffer[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.partial.flush()
    }
}

impl Partial for MeteredPartial {
    fn commit(self: Box<Self>) -> io::Result<()> {
        self.partial.commit()
    }
}

/// A source as a stream. Its end is a message of its own, so that a reader that dies does not look like a short file.
struct FileStream {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    /// What was received and not yet read; none after the end.
    rest: Option<io::Cursor<Vec<u8>>>,
    meter: Meter,
}

impl FileStream {
    fn open(source: Arc<dyn Source>) -> Self {
        let (sender, chunks) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
            let sent = source.open().and_then(|mut content| {
                pump(&mut *content, |bytes| {
                    sender.blocking_send(Ok(bytes.to_vec())).map_err(|_| gone())
                })
            });
            // An empty chunk is the end. Nobody listens any more if sending fails.
            let _ = sender.blocking_send(sent.map(|()| Vec::new()));
        });
        Self {
            chunks,
            rest: Some(io::Cursor::default()),
            meter: Meter::default(),
        }
    }
}

impl AsyncRead for FileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let Some(rest) = self.rest.as_mut() else {
                return Poll::Ready(Ok(()));
            };
            let start = usize::try_from(rest.position()).unwrap_or(usize::MAX);
            let left = rest.get_ref().get(start..).unwrap_or_default();
            if !left.is_empty() {
                let n = left.len().min(buffer.remaining());
                buffer.put_slice(&left[..n]);
                rest.set_position((start + n) as u64);
                return Poll::Ready(Ok(()));
            }
            let chunk = match ready!(self.chunks.poll_recv(context)) {
                Some(chunk) => chunk?,
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            };
            self.meter.take(&chunk);
            self.rest = (!chunk.is_empty()).then(|| io::Cursor::new(chunk));
        }
    }
}

fn copy_here(source: &dyn Source, sink: &dyn Sink) -> io::Result<Receipt> {
    let mut content = source.open()?;
    let mut partial = sink.create()?;
    let mut meter = Meter::default();
    pump(&mut *content, |bytes| {
        meter.take(bytes);
        partial.write_all(bytes)
    })?;
    partial.commit()?;
    Ok(meter.receipt())
}

fn measure(source: &dyn Source) -> io::Result<Receipt> {
    let mut meter = Meter::default();
    pump(&mut *source.open()?, |bytes| {
        meter.take(bytes);
        Ok(())
    })?;
    Ok(meter.receipt())
}

fn pump(from: &mut dyn Read, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => to(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes a stream to a sink, the blocking part off the run's own task.
async fn receive(
    content: &mut (dyn AsyncRead + Send + Unpin),
    sink: Arc<dyn Sink>,
) -> Result<Receipt, Error> {
    let most = sink.most();
    let mut partial = blocking(move || sink.create()).await?.map_err(local)?;
    let mut meter = Meter::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = content.read(&mut buffer).await.map_err(local)?;
        if n == 0 {
            break;
        }
        meter.take(&buffer[..n]);
        if meter.bytes > most {
            return Err(Error::Invalid(format!(
                "the file is longer than the {most} bytes left of limits.output"
            )));
        }
        (partial, buffer) =
            blocking(move || partial.write_all(&buffer[..n]).map(|()| (partial, buffer)))
                .await?
                .map_err(local)?;
    }
    blocking(move || partial.commit()).await?.map_err(local)?;
    Ok(meter.receipt())
}

/// A failure of a file of this machine, in the script's terms.
fn local(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(error.to_string()),
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::IsADirectory => Error::Invalid(error.to_string()),
        _ => Error::Unavailable(error.to_string()),
    }
}
