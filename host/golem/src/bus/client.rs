//! A program's connection to the service bus of a daemon: it calls others and serves addresses of its own.
//!
//! The bus asks nobody who they are, so whoever can connect to it is trusted as the daemon's own user is. What comes
//! over it from other nodes is not: packets, calls at a time and everything that waits are bounded. The bus does not
//! say when the far side of a call is gone, so each call has a time limit.
//!
//! A connection that is lost stays lost. [`Line`] makes a new one when it is next needed and registers again what was
//! registered.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use sovr_capability::Untrusted;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::body::{self, Body};
use super::packet::{self, CallReply, CallRequest, Packet};

/// Where the bus is unless somebody says otherwise.
const DEFAULT: &str = "unix:/tmp/yagna.sock";
const CONNECT: Duration = Duration::from_secs(10);
/// How long a registration may take.
const CONFIRM: Duration = Duration::from_secs(10);
/// After so long without a word the other side is asked whether it is there, and after as long again it is not.
const IDLE: Duration = Duration::from_secs(15);
/// How long the other side may not read.
const STALL: Duration = Duration::from_secs(30);
/// Most calls of others that are served at a time.
const SERVED: usize = 256;
/// Most calls of ours that are under way at a time; more wait.
const CALLING: usize = 128;
/// Packets that wait to be sent.
const QUEUE: usize = 64;
/// What the bus answers where nobody listens.
const BAD_REQUEST: u32 = 400;
/// What the bus answers where somebody fails.
const FAILED: u32 = 500;
/// Most characters of a refusal that are kept.
const WORDS: usize = 500;

/// Where a bus is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host and a port.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// From the variable that Golem's own programs read, `GSB_URL`; without it, where daemons have it by default.
    ///
    /// # Errors
    /// If it is no address.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, AddressError> {
        let url = variable("GSB_URL").filter(|value| !value.is_empty());
        url.as_deref().unwrap_or(DEFAULT).parse()
    }
}

/// An address that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "GSB_URL is no address of a service bus: write it like {DEFAULT} or tcp://127.0.0.1:7464, as the daemon has it"
)]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Self, AddressError> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(AddressError),
            };
        }
        let host = url.strip_prefix("tcp://").ok_or(AddressError)?;
        let host = host.strip_suffix('/').unwrap_or(host);
        let (name, port) = host.rsplit_once(':').ok_or(AddressError)?;
        match (name.is_empty(), port.parse::<u16>()) {
            (false, Ok(_)) => Ok(Self::Tcp(host.to_owned())),
            _ => Err(AddressError),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why something on the bus failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// There is no connection, and none can be made.
    #[error(
        "cannot reach the service bus of the Golem daemon at {address}: {reason}; check that the daemon runs \
         (`yagna service run`) and that GSB_URL is the same for both"
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The connection broke. What was asked may have been done.
    #[error("the connection to the service bus of the Golem daemon is lost: {0}; try again")]
    Lost(String),
    /// An address is served by somebody else already, or cannot be served.
    #[error("cannot serve {address} on the service bus: it answers {code}")]
    Refused {
        /// Which.
        address: String,
        /// 400 for a bad one, 409 for one that is taken.
        code: u32,
    },
    /// Nobody answered in time.
    #[error("{address} does not answer within {} s; try again, it may be away", .limit.as_secs())]
    TimedOut {
        /// Who was called.
        address: String,
        /// How long it had.
        limit: Duration,
    },
    /// Somebody answered that it does not work.
    #[error("{address} answers {code}: {}", .reason.escaped())]
    Failed {
        /// Who was called.
        address: String,
        /// 400 where nobody listens, 500 where somebody failed.
        code: u32,
        /// In the words of the other side.
        reason: Untrusted,
    },
    /// The answer is empty, which is how the bus says that nobody there understands the call.
    #[error("{address} is not there: the answer is empty")]
    Empty {
        /// Who was called.
        address: String,
    },
    /// The answer cannot be read, or the call cannot be written.
    #[error("{address}: {reason}")]
    Nonsense {
        /// Who was called.
        address: String,
        /// What is wrong.
        reason: String,
    },
}

/// Serves calls. Each has a task of its own.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers one call. If it returns without an answer, the caller is told that it failed.
    async fn call(&self, call: Call);
}

/// A call of somebody else.
pub struct Call {
    /// Who calls. The daemon has seen to it for calls of other nodes: what they claim is overwritten.
    pub caller: String,
    /// What is called.
    pub address: String,
    /// What it says; see [`Body::read`].
    pub body: Vec<u8>,
    reply: Reply,
}

impl Call {
    /// Takes it apart.
    pub fn split(self) -> (String, Vec<u8>, Reply) {
        (self.address, self.body, self.reply)
    }
}

/// Where the answer to a call goes.
pub struct Reply {
    inner: Weak<Inner>,
    request_id: String,
    wanted: bool,
    done: bool,
    /// Counts as one of the calls that are served.
    _served: OwnedSemaphorePermit,
}

/// What a service answers: a value, or why not.
#[derive(Serialize)]
enum Answer<'a, T> {
    Ok(&'a T),
    Err(&'a T),
}

impl Reply {
    /// The answer is this.
    pub async fn ok(mut self, value: &impl Serialize) {
        self.send(false, 0, body::encode(&Answer::Ok(value))).await;
    }

    /// It fails like this.
    pub async fn error(mut self, value: &impl Serialize) {
        self.send(false, 0, body::encode(&Answer::Err(value))).await;
    }

    /// A part of the answer is this. Says whether the connection is still there.
    pub async fn part(&mut self, value: &impl Serialize) -> bool {
        self.send(true, 0, body::encode(&Answer::Ok(value))).await
    }

    /// No more parts.
    pub async fn end(mut self) {
        self.send(false, 0, Some(Vec::new())).await;
    }

    /// Nobody listens here.
    pub async fn not_found(mut self) {
        let words = b"endpoint address not found".to_vec();
        self.send(false, BAD_REQUEST, Some(words)).await;
    }

    async fn send(&mut self, partial: bool, code: u32, data: Option<Vec<u8>>) -> bool {
        self.done |= !partial;
        if !self.wanted {
            return true;
        }
        let Some(inner) = self.inner.upgrade() else {
            return false;
        };
        let reply = reply(&self.request_id, partial, code, data);
        inner.send(reply).await.is_ok()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.done || !self.wanted {
            return;
        }
        if let Some(inner) = self.inner.upgrade() {
            // Where there is no room the caller's own time limit has to do.
            let _ = inner
                .packets
                .try_send(reply(&self.request_id, false, FAILED, None));
        }
    }
}

fn reply(request_id: &str, partial: bool, code: u32, data: Option<Vec<u8>>) -> Packet {
    let (code, data) = match data {
        Some(data) => (code, data),
        None => (FAILED, b"the service failed".to_vec()),
    };
    Packet::CallReply(CallReply {
        request_id: request_id.to_owned(),
        code,
        partial,
        data,
    })
}

/// A connection to a bus. Cheap to clone; the last one that is dropped ends it.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    packets: mpsc::Sender<Packet>,
    waiting: Mutex<Waiting>,
    calling: Semaphore,
    /// Why it is lost, once it is.
    lost: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct Waiting {
    calls: HashMap<String, oneshot::Sender<CallReply>>,
    /// In the order of the requests, which have no number.
    confirmations: VecDeque<oneshot::Sender<u32>>,
}

impl Bus {
    /// Connects. `name` is how this program calls itself; `service` is asked for what comes to registered addresses.
    ///
    /// # Errors
    /// [`BusError::Unreachable`].
    pub async fn connect(
        address: &Address,
        name: &str,
        service: Arc<dyn Service>,
    ) -> Result<Bus, BusError> {
        let unreachable = |reason: String| BusError::Unreachable {
            address: address.to_string(),
            reason,
        };
        let too_long = |_| unreachable(format!("no answer within {} s", CONNECT.as_secs()));
        match address {
            Address::Tcp(host) => {
                let connected = timeout(CONNECT, TcpStream::connect(host.as_str()));
                let stream = connected.await.map_err(too_long)?;
                let stream = stream.map_err(|error| unreachable(error.to_string()))?;
                // Packets are whole; waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                Bus::over(reader, writer, name, service)
            }
            Address::Unix(path) => {
                let connected = timeout(CONNECT, UnixStream::connect(path));
                let stream = connected.await.map_err(too_long)?;
                let stream = stream.map_err(|error| unreachable(error.to_string()))?;
                let (reader, writer) = stream.into_split();
                Bus::over(reader, writer, name, service)
            }
        }
    }

    /// Speaks over what is connected already.
    fn over(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        name: &str,
        service: Arc<dyn Service>,
    ) -> Result<Bus, BusError> {
        let instance = random::<16>()?.to_vec();
        let (packets, queue) = mpsc::channel(QUEUE);
        let hello = Packet::Hello {
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance,
        };
        // The queue is empty and has room.
        let _ = packets.try_send(hello);
        let inner = Arc::new(Inner {
            packets,
            waiting: Mutex::default(),
            calling: Semaphore::new(CALLING),
            lost: watch::Sender::new(None),
        });
        let writing = tokio::spawn(write(writer, queue));
        let weak = Arc::downgrade(&inner);
        let mut ended = inner.lost.subscribe();
        tokio::spawn(async move {
            let writing = writing;
            let mut reading = Reading {
                inner: Weak::clone(&weak),
                service,
                served: Arc::new(Semaphore::new(SERVED)),
            };
            let abort = writing.abort_handle();
            let reason = tokio::select! {
                reason = reading.read(reader) => reason,
                ended = writing => match ended {
                    Ok(Err(error)) => error.to_string(),
                    _ => "it was closed".to_owned(),
                },
                // It was given up, or everybody who used it is gone.
                _ = ended.wait_for(Option::is_some) => return abort.abort(),
            };
            abort.abort();
            if let Some(inner) = weak.upgrade() {
                inner.lose(reason);
            }
        });
        Ok(Bus(inner))
    }

    /// Asks for all calls beneath an address.
    ///
    /// # Errors
    /// [`BusError::Refused`] if it is taken, and others.
    pub async fn register(&self, address: &str) -> Result<(), BusError> {
        let service = address.to_owned();
        let code = self.0.confirmed(Packet::Register { service }).await?;
        match code {
            0 => Ok(()),
            code => Err(BusError::Refused {
                address: address.to_owned(),
                code,
            }),
        }
    }

    /// Takes that back. What is not registered is no error.
    ///
    /// # Errors
    /// [`BusError::Lost`].
    pub async fn unregister(&self, address: &str) -> Result<(), BusError> {
        let service = address.to_owned();
        let confirmed = self.0.confirmed(Packet::Unregister { service }).await;
        confirmed.map(drop)
    }

    /// Calls somebody and answers the value of their `Ok`, or what else they say.
    ///
    /// # Errors
    /// If they answer nothing, nonsense, or that it failed; if they do not answer in time; if the connection breaks.
    pub async fn call(
        &self,
        address: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<Body, BusError> {
        let nonsense = |reason: String| BusError::Nonsense {
            address: address.to_owned(),
            reason,
        };
        let data = body::encode(body).ok_or_else(|| nonsense("it cannot be written".to_owned()))?;
        let asked = timeout(limit, self.0.ask(address, data));
        let reply = asked.await.map_err(|_| BusError::TimedOut {
            address: address.to_owned(),
            limit,
        })??;
        let address = || address.to_owned();
        if reply.code != 0 {
            let words: String = String::from_utf8_lossy(&reply.data)
                .chars()
                .take(WORDS)
                .collect();
            return Err(BusError::Failed {
                address: address(),
                code: reply.code,
                reason: Untrusted::new(words),
            });
        }
        if reply.data.is_empty() {
            return Err(BusError::Empty { address: address() });
        }
        let body = Body::read(&reply.data).map_err(|error| nonsense(error.to_string()))?;
        if let Some(refusal) = body.get("Err") {
            let words: String = refusal.clone().into_json().to_string();
            return Err(BusError::Failed {
                address: address(),
                code: 0,
                reason: Untrusted::new(words.chars().take(WORDS).collect::<String>()),
            });
        }
        body.take("Ok")
            .ok_or_else(|| nonsense("the answer is neither a value nor a failure".to_owned()))
    }

    /// Whether it is lost.
    pub fn is_lost(&self) -> bool {
        self.0.lost.borrow().is_some()
    }

    /// Waits until it is lost.
    pub async fn lost(&self) {
        // An error is not possible: the sender is held here.
        let _ = self.0.lost.subscribe().wait_for(Option::is_some).await;
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, reason: String) {
        self.lost.send_replace(Some(reason));
        // Whoever waits hears that nothing comes.
        *self.waiting() = Waiting::default();
    }

    fn why(&self) -> BusError {
        let reason = self.lost.borrow().clone();
        BusError::Lost(reason.unwrap_or_else(|| "it was closed".to_owned()))
    }

    async fn send(&self, packet: Packet) -> Result<(), BusError> {
        self.packets.send(packet).await.map_err(|_| self.why())
    }

    async fn confirmed(&self, packet: Packet) -> Result<u32, BusError> {
        let place = timeout(CONFIRM, self.packets.reserve()).await;
        let place = place.map_err(|_| self.why())?.map_err(|_| self.why())?;
        let (sender, answer) = oneshot::channel();
        {
            // Sent under the lock, so that the order is the same.
            let mut waiting = self.waiting();
            waiting.confirmations.push_back(sender);
            place.send(packet);
        }
        if self.lost.borrow().is_some() {
            return Err(self.why());
        }
        match timeout(CONFIRM, answer).await {
            Ok(Ok(code)) => Ok(code),
            Ok(Err(_)) => Err(self.why()),
            Err(_) => {
                // Confirmations have no number: one that comes late, or never, would be taken for that of the next.
                self.lose("it does not confirm what it is asked".to_owned());
                Err(BusError::TimedOut {
                    address: "the service bus".to_owned(),
                    limit: CONFIRM,
                })
            }
        }
    }

    async fn ask(&self, address: &str, data: Vec<u8>) -> Result<CallReply, BusError> {
        let _turn = self.calling.acquire().await.map_err(|_| self.why())?;
        // As many digits as others use. Random, because a router may know a call by nothing else.
        let number = u64::from_le_bytes(random::<8>()?) >> 11;
        let request_id = number.to_string();
        let (sender, answer) = oneshot::channel();
        self.waiting().calls.insert(request_id.clone(), sender);
        let _forgotten = Forget {
            inner: self,
            request_id: &request_id,
        };
        if self.lost.borrow().is_some() {
            return Err(self.why());
        }
        self.send(Packet::CallRequest(CallRequest {
            caller: String::new(),
            address: address.to_owned(),
            request_id: request_id.clone(),
            data,
            no_reply: false,
        }))
        .await?;
        answer.await.map_err(|_| self.why())
    }
}

/// A call of ours that is under way; dropping it, nobody waits for an answer any more.
struct Forget<'a> {
    inner: &'a Inner,
    request_id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.inner.waiting().calls.remove(self.request_id);
    }
}

fn random<const N: usize>() -> Result<[u8; N], BusError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| BusError::Lost(error.to_string()))?;
    Ok(bytes)
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Packet>,
) -> io::Result<()> {
    while let Some(packet) = queue.recv().await {
        // One that is too long is not sent; who waits for its answer has a time limit.
        let Ok(bytes) = packet.to_bytes() else {
            continue;
        };
        let written = timeout(STALL, writer.write_all(&bytes));
        written.await.map_err(io::Error::from)??;
    }
    Ok(())
}

/// What takes packets in.
struct Reading {
    inner: Weak<Inner>,
    service: Arc<dyn Service>,
    served: Arc<Semaphore>,
}

impl Reading {
    /// Until the connection is lost; answers why.
    async fn read(&mut self, mut reader: impl AsyncRead + Unpin) -> String {
        loop {
            let packet = match self.next(&mut reader).await {
                Ok(bytes) => Packet::from_bytes(&bytes),
                Err(reason) => return reason,
            };
            let taken = match packet {
                Ok(packet) => self.take(packet).await,
                // Something newer than this program. That it was whole is known, so the next one can be read.
                Err(packet::PacketError::Unknown(_)) => Some(()),
                Err(error) => return error.to_string(),
            };
            if taken.is_none() {
                return "it was closed".to_owned();
            }
        }
    }

    /// The bytes of the next packet.
    async fn next(&self, reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, String> {
        let words = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "it was closed".to_owned(),
            _ => error.to_string(),
        };
        let mut head = [0; packet::LENGTH];
        let mut filled = 0;
        let mut asked = false;
        while filled < head.len() {
            match timeout(IDLE, reader.read(&mut head[filled..])).await {
                Ok(Ok(0)) => return Err("it was closed".to_owned()),
                Ok(Ok(read)) => filled += read,
                Ok(Err(error)) => return Err(words(error)),
                Err(_) if asked => return Err("the other side says nothing".to_owned()),
                Err(_) => {
                    asked = true;
                    let inner = self.inner.upgrade().ok_or("it was closed")?;
                    let sent = inner.send(Packet::Ping).await;
                    sent.map_err(|_| "it was closed".to_owned())?;
                }
            }
        }
        let length = packet::length(head).map_err(|error| error.to_string())?;
        // It grows with what comes, not with what is promised.
        let mut bytes = Vec::new();
        let mut rest = reader.take(length as u64);
        while bytes.len() < length {
            match timeout(STALL, rest.read_buf(&mut bytes)).await {
                Ok(Ok(0)) => return Err("it was closed".to_owned()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(words(error)),
                Err(_) => return Err("the other side stopped in the middle of a packet".to_owned()),
            }
        }
        Ok(bytes)
    }

    /// None when nobody uses the connection any more.
    async fn take(&mut self, packet: Packet) -> Option<()> {
        let inner = self.inner.upgrade()?;
        match packet {
            Packet::CallRequest(call) => self.serve(&inner, call).await?,
            // A part of an answer: nothing that is called here has any, and the whole comes yet.
            Packet::CallReply(reply) if reply.partial => {}
            Packet::CallReply(reply) => {
                let waiting = inner.waiting().calls.remove(&reply.request_id);
                if let Some(waiting) = waiting {
                    let _ = waiting.send(reply);
                }
            }
            Packet::RegisterReply { code, .. } | Packet::UnregisterReply { code } => {
                let waiting = inner.waiting().confirmations.pop_front();
                if let Some(waiting) = waiting {
                    let _ = waiting.send(code);
                }
            }
            Packet::Ping => inner.send(Packet::Pong).await.ok()?,
            _ => {}
        }
        Some(())
    }

    async fn serve(&self, inner: &Arc<Inner>, call: CallRequest) -> Option<()> {
        let Ok(permit) = Arc::clone(&self.served).try_acquire_owned() else {
            let words = b"too many calls at a time".to_vec();
            let refusal = reply(&call.request_id, false, FAILED, Some(words));
            return inner.send(refusal).await.ok();
        };
        let call = Call {
            caller: call.caller,
            address: call.address,
            body: call.data,
            reply: Reply {
                inner: Arc::downgrade(inner),
                request_id: call.request_id,
                wanted: !call.no_reply,
                done: false,
                _served: permit,
            },
        };
        let service = Arc::clone(&self.service);
        tokio::spawn(async move { service.call(call).await });
        Some(())
    }
}

/// A connection that is made anew when it is lost, with what was registered.
pub struct Line {
    address: Address,
    name: &'static str,
    service: Arc<dyn Service>,
    state: tokio::sync::Mutex<LineState>,
}

#[derive(Default)]
struct LineState {
    bus: Option<Bus>,
    registered: Vec<String>,
}

impl Line {
    /// Nothing is connected yet.
    pub fn new(address: Address, name: &'static str, service: Arc<dyn Service>) -> Self {
        Self {
            address,
            name,
            service,
            state: tokio::sync::Mutex::default(),
        }
    }

    /// The connection, made anew if it is lost.
    ///
    /// # Errors
    /// If it cannot be made, or what was registered cannot be registered again.
    pub async fn bus(&self) -> Result<Bus, BusError> {
        self.connected(&mut *self.state.lock().await).await
    }

    /// Asks for all calls beneath an address, on this connection and on those after it.
    ///
    /// # Errors
    /// [`BusError::Refused`] if it is taken, and others.
    pub async fn register(&self, address: &str) -> Result<(), BusError> {
        let mut state = self.state.lock().await;
        self.connected(&mut state).await?.register(address).await?;
        state.registered.push(address.to_owned());
        Ok(())
    }

    /// Takes that back.
    pub async fn unregister(&self, address: &str) {
        let mut state = self.state.lock().await;
        state.registered.retain(|known| known != address);
        if let Some(bus) = state.bus.as_ref().filter(|bus| !bus.is_lost()) {
            // One that is lost has no addresses any more.
            let _ = bus.unregister(address).await;
        }
    }

    async fn connected(&self, state: &mut LineState) -> Result<Bus, BusError> {
        if let Some(bus) = state.bus.as_ref().filter(|bus| !bus.is_lost()) {
            return Ok(bus.clone());
        }
        let bus = Bus::connect(&self.address, self.name, Arc::clone(&self.service)).await?;
        for address in &state.registered {
            bus.register(address).await?;
        }
        state.bus = Some(bus.clone());
        Ok(bus)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::DuplexStream;
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Answers nothing, ever.
    struct Hang;

    #[async_trait]
    impl Service for Hang {
        async fn call(&self, call: Call) {
            std::future::pending::<()>().await;
            drop(call);
        }
    }

    /// The other side of a connection.
    struct Peer(DuplexStream);

    impl Peer {
        /// A connection, and its greeting heard.
        async fn meet() -> (Bus, Peer) {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let (reader, writer) = tokio::io::split(ours);
            let bus = Bus::over(reader, writer, "test", Arc::new(Hang)).unwrap();
            let mut peer = Peer(theirs);
            assert!(matches!(peer.hear().await, Packet::Hello { .. }));
            (bus, peer)
        }

        async fn hear(&mut self) -> Packet {
            hear(&mut self.0).await
        }

        async fn say(&mut self, packet: &Packet) {
            self.0.write_all(&packet.to_bytes().unwrap()).await.unwrap();
        }
    }

    async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> Packet {
        let mut head = [0; packet::LENGTH];
        stream.read_exact(&mut head).await.unwrap();
        let mut bytes = vec![0; packet::length(head).unwrap()];
        stream.read_exact(&mut bytes).await.unwrap();
        Packet::from_bytes(&bytes).unwrap()
    }

    fn request(id: &str) -> Packet {
        Packet::CallRequest(CallRequest {
            address: "/public/x/Y".to_owned(),
            request_id: id.to_owned(),
            ..CallRequest::default()
        })
    }

    #[tokio::test]
    async fn a_socket_of_the_file_system_is_spoken_to_like_any() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bus.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let address: Address = format!("unix:{}", path.display()).parse().unwrap();
        let _bus = Bus::connect(&address, "test", Arc::new(Hang))
            .await
            .unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(matches!(hear(&mut stream).await, Packet::Hello { .. }));
    }

    #[test]
    fn addresses_are_read() {
        for (url, shown) in [
            ("tcp://127.0.0.1:7464", "tcp://127.0.0.1:7464"),
            ("tcp://[::1]:7464/", "tcp://[::1]:7464"),
            ("unix:/tmp/yagna.sock", "unix:/tmp/yagna.sock"),
            ("unix:///tmp/yagna.sock", "unix:/tmp/yagna.sock"),
        ] {
            assert_eq!(url.parse::<Address>().unwrap().to_string(), shown);
        }
        for url in [
            "",
            "tcp://",
            "tcp://host",
            "tcp://:1",
            "tcp://h:99999",
            "unix:x",
            "http://h:1",
        ] {
            assert_eq!(url.parse::<Address>(), Err(AddressError), "{url}");
        }
        let default = Address::from_variables(|_| None).unwrap();
        assert_eq!(default.to_string(), DEFAULT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_asked_and_then_lost() {
        let (bus, mut peer) = Peer::meet().await;
        assert_eq!(peer.hear().await, Packet::Ping);
        peer.say(&Packet::Pong).await;
        assert_eq!(peer.hear().await, Packet::Ping);
        let asked = Instant::now();
        bus.lost().await;
        assert_eq!(asked.elapsed(), IDLE);
        let lost = bus.call("/x", &(), LIMIT).await.unwrap_err();
        assert_eq!(
            lost,
            BusError::Lost("the other side says nothing".to_owned())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_comes_to_its_end() {
        let (bus, mut peer) = Peer::meet().await;
        let called = tokio::spawn({
            let bus = bus.clone();
            async move { bus.call("/x", &(), LIMIT).await }
        });
        let Packet::CallRequest(call) = peer.hear().await else {
            panic!("no call")
        };
        // None of these is the answer.
        let mut answer = CallReply {
            request_id: call.request_id.clone(),
            partial: true,
            ..CallReply::default()
        };
        peer.say(&Packet::CallReply(answer.clone())).await;
        answer.partial = false;
        answer.request_id.push('0');
        peer.say(&Packet::CallReply(answer.clone())).await;
        peer.say(&Packet::UnregisterReply { code: 0 }).await;
        let end = called.await.unwrap().unwrap_err();
        assert!(matches!(end, BusError::TimedOut { .. }), "{end}");
        // It comes too late.
        answer.request_id = call.request_id;
        peer.say(&Packet::CallReply(answer)).await;
        peer.say(&Packet::Ping).await;
        assert_eq!(peer.hear().await, Packet::Pong);
        assert_eq!(bus.0.waiting().calls.len(), 0);
    }

    #[tokio::test]
    async fn an_answer_is_a_value_a_failure_or_nonsense() {
        let (bus, mut peer) = Peer::meet().await;
        let ok = body::encode(&serde_json::json!({ "Ok": [1] })).unwrap();
        let refused = body::encode(&serde_json::json!({ "Err": { "notFound": "x" } })).unwrap();
        let neither = body::encode(&7).unwrap();
        for (code, data, told) in [
            (0, ok, "List([UInt(1)])"),
            (0, refused, "notFound"),
            (0, neither, "neither a value nor a failure"),
            (0, Vec::new(), "is not there"),
            (0, vec![1, 2, 3], "cannot be read"),
            (
                400,
                b"endpoint address not found".to_vec(),
                "endpoint address not found",
            ),
            (500, b"bad \x1b[2J".to_vec(), "answers 500"),
        ] {
            let called = tokio::spawn({
                let bus = bus.clone();
                async move { bus.call("/x", &(), LIMIT).await }
            });
            let Packet::CallRequest(call) = peer.hear().await else {
                panic!("no call")
            };
            peer.say(&Packet::CallReply(CallReply {
                request_id: call.request_id,
                code,
                partial: false,
                data,
            }))
            .await;
            let shown = match called.await.unwrap() {
                Ok(body) => format!("{body:?}"),
                Err(error) => error.to_string(),
            };
            assert!(shown.contains(told), "{told}: {shown}");
            assert!(!shown.contains('\u{1b}'), "{shown}");
        }
    }

    #[tokio::test]
    async fn what_is_no_packet_ends_the_connection() {
        for (bytes, why) in [
            (&[0xff, 0xff, 0xff, 0xff][..], "more than"),
            (&[0, 0, 0, 2, 0x0a, 0x05], "cannot be read"),
        ] {
            let (bus, mut peer) = Peer::meet().await;
            peer.0.write_all(bytes).await.unwrap();
            bus.lost().await;
            let lost = bus.register("/x").await.unwrap_err();
            assert!(lost.to_string().contains(why), "{lost}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_calls_too_often_is_told_so() {
        let (_bus, mut peer) = Peer::meet().await;
        for number in 0..=SERVED {
            peer.say(&request(&number.to_string())).await;
        }
        let Packet::CallReply(refusal) = peer.hear().await else {
            panic!("no reply")
        };
        assert_eq!(refusal.request_id, SERVED.to_string());
        assert_eq!(
            (refusal.code, refusal.data),
            (FAILED, b"too many calls at a time".to_vec())
        );
    }

    #[tokio::test]
    async fn confirmations_come_in_the_order_of_requests() {
        let (bus, mut peer) = Peer::meet().await;
        let register = |address: &'static str| {
            let bus = bus.clone();
            tokio::spawn(async move { bus.register(address).await })
        };
        let mut asked = Vec::new();
        for address in ["/a", "/b", "/c"] {
            asked.push(register(address));
            assert!(
                matches!(peer.hear().await, Packet::Register { service } if service == address)
            );
        }
        for code in [0, 409, 0] {
            peer.say(&Packet::RegisterReply {
                code,
                message: String::new(),
            })
            .await;
        }
        let mut codes = Vec::new();
        for asked in asked {
            codes.push(asked.await.unwrap());
        }
        assert_eq!(codes[0], Ok(()));
        assert!(
            matches!(&codes[1], Err(BusError::Refused { address, code: 409 }) if address == "/b")
        );
        assert_eq!(codes[2], Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_a_confirmation_is_missing_is_given_up() {
        let (bus, mut peer) = Peer::meet().await;
        let late = tokio::spawn({
            let bus = bus.clone();
            async move { bus.register("/a").await }
        });
        assert!(matches!(peer.hear().await, Packet::Register { .. }));
        let late = late.await.unwrap().unwrap_err();
        assert!(matches!(late, BusError::TimedOut { .. }), "{late}");
        // The other side hears of it at once, so that the addresses are free for the next connection.
        assert_eq!(peer.0.read(&mut [0]).await.unwrap(), 0);
        let lost = bus.register("/b").await.unwrap_err();
        assert!(
            matches!(&lost, BusError::Lost(why) if why.contains("confirm")),
            "{lost}"
        );
    }

    #[tokio::test]
    async fn a_connection_that_nobody_uses_is_closed() {
        let (bus, mut peer) = Peer::meet().await;
        drop(bus);
        assert_eq!(peer.0.read(&mut [0]).await.unwrap(), 0);
    }
}
