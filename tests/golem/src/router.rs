//! What joins daemons whose network is of the type `central`: a service bus that each of them is connected to.
//!
//! A daemon registers its own address, `/net/<its id>`, and subscribes to what is broadcast; offers, proposals, calls of
//! activities and files of one node to the other all pass here. Calls go to whoever registered the longest address that
//! theirs begins with. Each passes under a number of our own, so replies cannot be mixed up however callers count.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use sovr_golem::bus::{CallReply, CallRequest, Packet};

use crate::namespace::free_port;
use crate::wire;

const OK: u32 = 0;
const BAD_REQUEST: u32 = 400;
const NOT_FOUND: u32 = 404;
const CONFLICT: u32 = 409;

/// The service bus between nodes. Dropping it cuts all of them off.
pub struct Router {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

type Id = u64;

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    last: Id,
    connections: HashMap<Id, Connection>,
    services: HashMap<String, Id>,
    topics: HashMap<String, HashSet<Id>>,
    calls: HashMap<String, Call>,
}

struct Connection {
    /// What is sent there, by a thread of its own: a peer that does not read makes nobody else wait.
    packets: Sender<Packet>,
    stream: TcpStream,
}

/// A call that is not answered yet.
struct Call {
    caller: Id,
    callee: Id,
    /// As the caller numbered it.
    request_id: String,
}

impl Router {
    /// Starts on a free port of four digits: daemons take no longer one.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn start() -> Router {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("no router: {error}"));
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if served.ends.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&served);
                // A daemon that was killed is a test's business, not an error here.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Router {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the node is connected and can be called.
    pub fn knows(&self, node: &str) -> bool {
        let services = &self.shared.tables().services;
        services.contains_key(&format!("/net/{node}"))
    }

    /// Cuts all connections, as a network does that is away for a moment. Daemons come back by themselves.
    pub fn cut(&self) {
        let mut tables = self.shared.tables();
        let ids: Vec<_> = tables.connections.keys().copied().collect();
        for id in ids {
            if let Some(connection) = tables.connections.get(&id) {
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
            // Now, so that nobody is known who has not come back.
            tables.forget(id);
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.cut();
        // It looks at the flag when somebody comes.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(wire::Prompt(stream.try_clone()?));
        let mut writer = stream.try_clone()?;
        let (packets, received) = mpsc::channel();
        let id = self.tables().admit(Connection { packets, stream });
        thread::spawn(move || {
            // Until the connection is forgotten or broken.
            for packet in received {
                if wire::write(&mut writer, &packet).is_err() {
                    return;
                }
            }
        });
        self.tables().send(id, wire::hello("sovr-test-router")?);
        let result = loop {
            match wire::read(&mut reader) {
                Ok(Some(packet)) => self.tables().take(id, packet),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.tables().forget(id);
        result
    }
}

impl Tables {
    fn admit(&mut self, connection: Connection) -> Id {
        self.last += 1;
        self.connections.insert(self.last, connection);
        self.last
    }

    fn forget(&mut self, id: Id) {
        self.connections.remove(&id);
        self.services.retain(|_, owner| *owner != id);
        for topic in self.topics.values_mut() {
            topic.remove(&id);
        }
        // Nobody tells the callers: the real router does not either.
        self.calls
            .retain(|_, call| call.caller != id && call.callee != id);
    }

    fn send(&self, to: Id, packet: Packet) {
        if let Some(connection) = self.connections.get(&to) {
            // One that is broken is about to be forgotten.
            let _ = connection.packets.send(packet);
        }
    }

    fn take(&mut self, from: Id, packet: Packet) {
        let nothing = String::new;
        match packet {
            Packet::Register { service } => {
                let owner = *self.services.entry(service).or_insert(from);
                let code = if owner == from { OK } else { CONFLICT };
                let message = nothing();
                self.send(from, Packet::RegisterReply { code, message });
            }
            Packet::Unregister { service } => {
                let found = self.services.get(&service) == Some(&from);
                if found {
                    self.services.remove(&service);
                }
                let code = if found { OK } else { NOT_FOUND };
                self.send(from, Packet::UnregisterReply { code });
            }
            Packet::CallRequest(call) => self.forward(from, call),
            Packet::CallReply(reply) => self.bring_back(from, reply),
            Packet::Subscribe { topic } => {
                self.topics.entry(topic).or_default().insert(from);
                let (code, message) = (OK, nothing());
                self.send(from, Packet::SubscribeReply { code, message });
            }
            Packet::Unsubscribe { topic } => {
                let subscribers = self.topics.entry(topic).or_default();
                let code = if subscribers.remove(&from) {
                    OK
                } else {
                    NOT_FOUND
                };
                self.send(from, Packet::UnsubscribeReply { code });
            }
            Packet::Broadcast {
                caller,
                data,
                topic,
            } => {
                let (code, message) = (OK, nothing());
                self.send(from, Packet::BroadcastReply { code, message });
                for subscriber in self.topics.get(&topic).into_iter().flatten() {
                    let (caller, data, topic) = (caller.clone(), data.clone(), topic.clone());
                    self.send(
                        *subscriber,
                        Packet::Broadcast {
                            caller,
                            data,
                            topic,
                        },
                    );
                }
            }
            Packet::Ping => self.send(from, Packet::Pong),
            // Greetings, and answers to nothing that we asked.
            _ => {}
        }
    }

    fn forward(&mut self, caller: Id, mut call: CallRequest) {
        let Some(callee) = owner(&self.services, &call.address) else {
            let reply = CallReply {
                request_id: call.request_id,
                code: BAD_REQUEST,
                partial: false,
                data: b"endpoint address not found".to_vec(),
            };
            self.send(caller, Packet::CallReply(reply));
            return;
        };
        self.last += 1;
        let number = self.last.to_string();
        let request_id = std::mem::replace(&mut call.request_id, number.clone());
        if !call.no_reply {
            let waiting = Call {
                caller,
                callee,
                request_id,
            };
            self.calls.insert(number, waiting);
        }
        self.send(callee, Packet::CallRequest(call));
    }

    fn bring_back(&mut self, from: Id, mut reply: CallReply) {
        let number = &reply.request_id;
        let Some(call) = self.calls.get(number).filter(|call| call.callee == from) else {
            return;
        };
        let (caller, request_id) = (call.caller, call.request_id.clone());
        if !reply.partial {
            self.calls.remove(number);
        }
        reply.request_id = request_id;
        self.send(caller, Packet::CallReply(reply));
    }
}

/// Who registered the longest address that this one is or lies beneath.
fn owner<T: Copy>(services: &HashMap<String, T>, address: &str) -> Option<T> {
    let mut rest = address;
    loop {
        if let Some(owner) = services.get(rest) {
            return Some(*owner);
        }
        rest = &rest[..rest.rfind('/')?];
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::owner;

    #[test]
    fn the_longest_registered_address_gets_the_call() {
        let services = HashMap::from([("/net/a", 1), ("/net/a/gftp", 2), ("/net/ab", 3)]);
        let services: HashMap<_, _> = services
            .into_iter()
            .map(|(address, owner)| (address.to_owned(), owner))
            .collect();
        for (address, expected) in [
            ("/net/a", Some(1)),
            ("/net/a/market/Method", Some(1)),
            ("/net/a/gftp/file/GetChunk", Some(2)),
            ("/net/ab/x", Some(3)),
            ("/net/abc/x", None),
            ("/other", None),
            ("", None),
        ] {
            assert_eq!(owner(&services, address), expected, "{address}");
        }
    }
}
