//! A program's connection to the service bus of a daemon: it serves addresses and calls others'.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use flexbuffers::MapReader;
use serde::Serialize;
use serde_json::Value;
use sovr_golem::bus::{CallReply, CallRequest, Packet};

use crate::wire;

/// The bus does not say when the far side of a call is gone.
const PATIENCE: Duration = Duration::from_secs(20);
const BAD_REQUEST: u32 = 400;

/// Answers calls, each on a thread of its own.
pub(crate) trait Service: Send + Sync {
    /// Answers one. Without an answer the caller waits.
    fn call(&self, call: &CallRequest, reply: Answering<'_>);
}

/// A connection. Dropping it ends it.
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    stream: TcpStream,
    is_open: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    calls: HashMap<String, Sender<CallReply>>,
    /// In the order of the requests, which have no number.
    registrations: Vec<Sender<u32>>,
}

impl Link {
    /// Connects to `tcp://address` and serves.
    pub(crate) fn open(url: &str, service: Arc<dyn Service>) -> io::Result<Link> {
        let address = url.strip_prefix("tcp://").unwrap_or(url);
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(wire::Prompt(stream.try_clone()?));
        let inner = Arc::new(Inner {
            stream,
            is_open: AtomicBool::new(true),
            waiting: Mutex::default(),
        });
        inner.send(&wire::hello("sovr-test-provider")?)?;
        let weak = Arc::downgrade(&inner);
        thread::spawn(move || {
            while let Ok(Some(packet)) = wire::read(&mut reader) {
                let Some(inner) = weak.upgrade() else { return };
                inner.take(packet, &weak, &service);
            }
            // Whoever waits hears that nothing comes.
            if let Some(inner) = weak.upgrade() {
                inner.is_open.store(false, Ordering::Relaxed);
                *inner.waiting() = Waiting::default();
            }
        });
        Ok(Link(inner))
    }

    /// Whether the daemon is still there.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_open.load(Ordering::Relaxed)
    }

    /// Asks for all calls beneath an address.
    pub(crate) fn register(&self, address: &str) -> io::Result<()> {
        let service = address.to_owned();
        self.confirmed(&Packet::Register { service })
    }

    /// Takes that back.
    pub(crate) fn unregister(&self, address: &str) -> io::Result<()> {
        let service = address.to_owned();
        self.confirmed(&Packet::Unregister { service })
    }

    /// Calls a method and answers the value of its `Ok`.
    pub(crate) fn call(&self, address: &str, body: &impl Serialize) -> io::Result<Vec<u8>> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(io::Error::other)?;
        // Fewer digits than a float has, as the original does.
        let number = u64::from_le_bytes(number) >> 11;
        let request_id = number.to_string();
        let (sender, receiver) = mpsc::channel();
        self.0.waiting().calls.insert(request_id.clone(), sender);
        self.0.send(&Packet::CallRequest(CallRequest {
            caller: String::new(),
            address: address.to_owned(),
            request_id: request_id.clone(),
            data: encode(body)?,
            no_reply: false,
        }))?;
        let reply = within(&receiver, address);
        self.0.waiting().calls.remove(&request_id);
        let reply = reply?;
        if reply.code != 0 || reply.data.is_empty() {
            let told = String::from_utf8_lossy(&reply.data);
            return Err(io::Error::other(format!(
                "{address} answers {}: {told}",
                reply.code
            )));
        }
        Ok(reply.data)
    }

    /// Ends it without a word, as a crash would.
    pub(crate) fn close(&self) {
        let _ = self.0.stream.shutdown(Shutdown::Both);
    }

    fn confirmed(&self, packet: &Packet) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel();
        {
            // Sent under the lock, so that the order is the same.
            let mut waiting = self.0.waiting();
            waiting.registrations.push(sender);
            wire::write(&mut &self.0.stream, packet)?;
        }
        match within(&receiver, "the bus")? {
            0 => Ok(()),
            code => Err(io::Error::other(format!("{packet:?} is answered {code}"))),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whole packets, whichever thread they come from.
    fn send(&self, packet: &Packet) -> io::Result<()> {
        let _whole = self.waiting();
        wire::write(&mut &self.stream, packet)
    }

    fn take(&self, packet: Packet, weak: &Weak<Inner>, service: &Arc<dyn Service>) {
        match packet {
            Packet::CallRequest(call) => {
                let (weak, service) = (Weak::clone(weak), Arc::clone(service));
                thread::spawn(move || {
                    let answering = Answering {
                        link: &weak,
                        call: &call,
                    };
                    service.call(&call, answering);
                });
            }
            Packet::CallReply(reply) => {
                if let Some(waiting) = self.waiting().calls.get(&reply.request_id) {
                    let _ = waiting.send(reply);
                }
            }
            Packet::RegisterReply { code, .. } | Packet::UnregisterReply { code } => {
                let mut waiting = self.waiting();
                if !waiting.registrations.is_empty() {
                    let _ = waiting.registrations.remove(0).send(code);
                }
            }
            Packet::Ping => drop(self.send(&Packet::Pong)),
            _ => {}
        }
    }
}

/// Where the answer to a call goes.
pub(crate) struct Answering<'a> {
    link: &'a Weak<Inner>,
    call: &'a CallRequest,
}

impl Answering<'_> {
    /// The answer is this.
    pub(crate) fn ok(self, value: &impl Serialize) {
        self.reply(0, false, encode(&Ok::<_, ()>(value)));
    }

    /// It fails like this.
    pub(crate) fn error(self, value: &Value) {
        self.reply(0, false, encode(&serde_json::json!({ "Err": value })));
    }

    /// A part of the answer is this.
    pub(crate) fn part(&self, value: &Value) -> bool {
        self.reply(0, true, encode(&serde_json::json!({ "Ok": value })))
    }

    /// No more parts.
    pub(crate) fn end(self) {
        self.reply(0, false, Ok(Vec::new()));
    }

    /// Nobody listens here.
    pub(crate) fn not_found(self) {
        self.reply(
            BAD_REQUEST,
            false,
            Ok(b"endpoint address not found".to_vec()),
        );
    }

    fn reply(&self, code: u32, partial: bool, data: io::Result<Vec<u8>>) -> bool {
        let (Some(link), Ok(data)) = (self.link.upgrade(), data) else {
            return false;
        };
        let reply = CallReply {
            request_id: self.call.request_id.clone(),
            code,
            partial,
            data,
        };
        link.send(&Packet::CallReply(reply)).is_ok()
    }
}

/// A body as the bus has it.
pub(crate) fn encode(body: &impl Serialize) -> io::Result<Vec<u8>> {
    flexbuffers::to_vec(body).map_err(io::Error::other)
}

/// A body without bytes in it.
pub(crate) fn decode(data: &[u8]) -> io::Result<Value> {
    flexbuffers::from_slice(data).map_err(io::Error::other)
}

/// The bytes of a part of a file.
pub(crate) fn blob(chunk: &MapReader<&[u8]>) -> Option<Vec<u8>> {
    let content = chunk.index("content").ok()?;
    Some(content.get_blob().ok()?.0.to_vec())
}

fn within<T>(receiver: &Receiver<T>, whom: &str) -> io::Result<T> {
    receiver
        .recv_timeout(PATIENCE)
        .map_err(|_| io::Error::other(format!("{whom} does not answer")))
}
