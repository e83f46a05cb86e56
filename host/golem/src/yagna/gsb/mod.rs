//! Services of this program on the daemon's bus, which any node can call.
//!
//! A service is registered by REST; its calls come over a WebSocket, several at a time, and each answer names its call,
//! so answers go back as they are ready. The daemon keeps a service for as long as it runs: it is taken back when the
//! handle is dropped, and registered again after a restart of the daemon, for a provider may try again what failed
//! meanwhile. Calls do not say who calls.
//!
//! The connection is one of the REST client's, made a WebSocket: one set-up for addresses, TLS, time limits and the
//! app-key, which goes in a header and so into no address.
//!
//! Rejected: the bus socket itself, which serves as well and names callers, but asks nobody for a key, so that it is
//! only to be had on the daemon's own machine.

mod frame;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{SinkExt, StreamExt};
use reqwest::Upgraded;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use self::frame::Call;
pub(super) use self::frame::{Payload, Refusal};
use super::connection::{Daemon, Part};
use super::error::{DaemonError, ErrorKind};

/// Most calls of a service that are worked on at a time; the daemon keeps the others. Stock providers have 8 under way.
pub(super) const AT_ONCE: usize = 16;
/// Longest frame that is accepted, in bytes: the longest body, and what goes around it.
const MOST_FRAME: usize = MOST_BODY + (64 << 10);
/// Longest bytes in the body of a call. Chunks of files have 40 KiB in practice.
pub(super) const MOST_BODY: usize = 1 << 20;
/// What a connection keeps of a stream, each way. There may be hundreds.
const BUFFER: usize = 16 << 10;
/// The daemon has so long to take an answer.
const STALL: Duration = Duration::from_secs(60);
/// How long a daemon may be away before a service is given up.
const AWAY: Duration = Duration::from_secs(30);
/// Between two tries to reach it again.
const PAUSE: Duration = Duration::from_millis(500);

const PROTOCOL: &str = "gsb+flexbuffers";
const OPEN: &str = "serve calls of other nodes";

/// Answers calls.
pub(super) trait Serve: Send + Sync + 'static {
    /// The methods there are.
    const METHODS: &'static [&'static str];

    /// What one says.
    type Answer: serde::Serialize + Send + 'static;

    /// Answers a call. What is refused is told to the caller.
    fn call(
        self: &Arc<Self>,
        method: &str,
        payload: Payload,
    ) -> BoxFuture<'static, Result<Self::Answer, Refusal>>;

    /// A call was not read because it is longer than any can be.
    fn too_long(&self);
}

/// A service. Dropping it ends it, in the background.
#[derive(Debug)]
pub(super) struct Service {
    /// Dropped to end it.
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
    failed: watch::Receiver<Option<DaemonError>>,
}

type Socket = WebSocketStream<Upgraded>;
type Calls = FuturesUnordered<BoxFuture<'static, Vec<u8>>>;

impl Service {
    /// Registers it at an address and begins to answer.
    pub(super) async fn start<S: Serve>(
        daemon: &Daemon,
        address: String,
        serve: Arc<S>,
    ) -> Result<Service, DaemonError> {
        let (end, ended) = oneshot::channel();
        let (started, starts) = oneshot::channel();
        let (fails, failed) = watch::channel(None);
        let place = Place {
            daemon: daemon.clone(),
            address,
            methods: S::METHODS,
        };
        // A task from the beginning, so that nothing stays registered if the caller goes away meanwhile.
        let task = tokio::spawn(run(place, serve, ended, started, fails));
        let service = Service { end, task, failed };
        match starts.await {
            Ok(Ok(())) => Ok(service),
            Ok(Err(error)) => Err(error),
            // The task is gone without a word: the runtime is being shut down and about to drop this, too.
            Err(_) => std::future::pending().await,
        }
    }

    /// Why it was given up, once it is.
    pub(super) fn watch(&self) -> watch::Receiver<Option<DaemonError>> {
        self.failed.clone()
    }

    /// Whether it is given up.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// Ends it. The address is free when this has returned.
    pub(super) async fn end(self) {
        drop(self.end);
        // It does not panic, and is aborted by nobody.
        let _ = self.task.await;
    }
}

async fn run<S: Serve>(
    place: Place,
    serve: Arc<S>,
    mut ended: oneshot::Receiver<()>,
    started: oneshot::Sender<Result<(), DaemonError>>,
    failed: watch::Sender<Option<DaemonError>>,
) {
    let mut id = match place.register().await {
        Ok(id) => id,
        Err(error) => return drop(started.send(Err(error))),
    };
    match place.open(&id).await {
        Ok(socket) => {
            let _ = started.send(Ok(()));
            tokio::select! {
                _ = &mut ended => {}
                error = place.serve(&serve, &mut id, socket) => {
                    failed.send_replace(Some(error));
                }
            }
        }
        Err(error) => drop(started.send(Err(error))),
    }
    place.withdraw(&id).await;
}

/// Where a service is.
struct Place {
    daemon: Daemon,
    address: String,
    methods: &'static [&'static str],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    services_id: String,
}

impl Place {
    /// Answers the daemon's name for it.
    async fn register(&self) -> Result<String, DaemonError> {
        let listen = json!({ "listen": { "on": self.address, "components": self.methods } });
        let request = self.daemon.post(
            "register a service for other nodes",
            Part::Gsb,
            &["services"],
        );
        let registered: Registered = request.body(&listen).json().await?;
        Ok(registered.services_id)
    }

    async fn open(&self, id: &str) -> Result<Socket, DaemonError> {
        let request = self.daemon.get(OPEN, Part::Gsb, &["services", id]);
        let stream = request.upgrade(PROTOCOL).await?;
        let bounds = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(Some(MOST_FRAME))
            .max_frame_size(Some(MOST_FRAME));
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(bounds)).await)
    }

    /// The daemon forgets it. If it does not hear of that, it has gone and forgotten it already.
    async fn withdraw(&self, id: &str) {
        let request = self
            .daemon
            .delete("take a service back", Part::Gsb, &["services", id]);
        let _ = request.done().await;
    }

    /// Answers calls until the daemon is away for too long.
    async fn serve<S: Serve>(
        &self,
        serve: &Arc<S>,
        id: &mut String,
        mut socket: Socket,
    ) -> DaemonError {
        let mut calls = Calls::new();
        loop {
            // Why a connection ends does not matter: what follows shows whether the daemon is still there.
            converse(socket, serve, &mut calls).await;
            let deadline = Instant::now() + AWAY;
            socket = loop {
                sleep(PAUSE).await;
                match self.reopen(id).await {
                    Ok(socket) => break socket,
                    Err(error) if Instant::now() > deadline => return error,
                    // One that is starting says many things.
                    Err(_) => {}
                }
            };
        }
    }

    async fn reopen(&self, id: &mut String) -> Result<Socket, DaemonError> {
        match self.open(id).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                *id = self.register().await?;
                self.open(id).await
            }
            opened => opened,
        }
    }
}

/// Answers calls until the connection ends. Calls that are under way then are answered on the next.
async fn converse<S: Serve>(socket: Socket, serve: &Arc<S>, calls: &mut Calls) {
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            Some(answer) = calls.next(), if !calls.is_empty() => {
                let sent = timeout(STALL, sink.send(Message::binary(answer))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
            message = stream.next(), if calls.len() < AT_ONCE => match message {
                Some(Ok(Message::Binary(frame))) => {
                    // What is no call has nobody to be told so.
                    if let Some(Call { id, method, payload }) = frame::read(&frame) {
                        let answer = serve.call(&method, payload);
                        calls.push(Box::pin(async move { frame::answer(&id, answer.await) }));
                    }
                }
                Some(Ok(Message::Close(_))) | None => return,
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    if matches!(error, SocketError::Capacity(_)) {
                        serve.too_long();
                    }
                    return;
                }
            }
        }
    }
}
