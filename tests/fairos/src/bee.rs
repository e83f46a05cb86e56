//! A Swarm node in memory, with the part of Bee's interface that FairOS-dfs uses, and faults on demand.
//!
//! It keeps uploads whole by their reference, which is computed as Bee does, and single-owner chunks by their address.
//! It does not cut files into chunks (nobody asks for those below a file's root), does not check signatures, and
//! gives encrypted uploads random references without encrypting them: who asks has the reference. Everything it
//! does answer is held against the real one.
//!
//! The same port answers the questions that FairOS-dfs has for a chain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sovr_dfs::swarm;
use sovr_test_support::http::{Listener, Request, Response};

use crate::chain::Chain;
use crate::keccak::keccak256;

/// What a node says of itself; FairOS-dfs looks for exactly this.
const GREETING: &str = "Ethereum Swarm Bee\n";
const CHAIN_PATH: &str = "chain";
/// The one postage batch, made up.
const BATCH: &str = "5a1dba7c5a1dba7c5a1dba7c5a1dba7c5a1dba7c5a1dba7c5a1dba7c5a1dba7c";

const NO_STAMP: &str =
    "Either 'Swarm-Postage-Stamp' or 'Swarm-Postage-Batch-Id' header must be set in the request";

const REFERENCE: usize = 32;
const OWNER: usize = 20;
const SIGNATURE: usize = 65;
const SPAN: usize = 8;
const CHUNK: usize = 4096;

const JSON: &str = "application/json; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// A kind of request to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /bytes`: blocks of files, lists of blocks, directories, records of shared pods.
    UploadBytes,
    /// `POST /soc/…`: updates of feeds, after which an upload, a directory or a pod is there for its readers.
    UploadFeed,
    /// `GET /bytes/…`.
    DownloadBytes,
    /// `GET /chunks/…`: updates of feeds.
    DownloadFeed,
    /// `POST` and `GET /tags`.
    Tags,
}

/// What keeps a stamp from being put on an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// 404 `batch with id not found`.
    NotFound,
    /// 422 `batch not usable yet or does not exist`.
    Unusable,
    /// 402 `batch is overissued`.
    Overissued,
}

impl Stamp {
    fn refusal(self) -> Response {
        match self {
            Stamp::NotFound => failure(404, "batch with id not found"),
            Stamp::Unusable => failure(422, "batch not usable yet or does not exist"),
            Stamp::Overissued => failure(402, "batch is overissued"),
        }
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// An upload is refused for its stamp.
    Refused(Stamp),
    /// It is answered so much later.
    Slow(Duration),
    /// What is asked for is not found.
    Missing,
    /// It is answered with 500.
    Fails,
    /// The connection ends after so many bytes of the answer's content; with none, without any answer. An upload is
    /// kept all the same.
    Cut(usize),
    /// An upload is answered as if it were kept, and is not.
    Lost,
    /// The content has one wrong byte. A real node checks what others give it; this is for checks above.
    Corrupt,
}

/// Requests that go wrong. By itself, all of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    endpoint: Endpoint,
    effect: Effect,
    spared: usize,
    hit: usize,
}

impl Fault {
    /// Every request of a kind.
    pub fn new(endpoint: Endpoint, effect: Effect) -> Fault {
        Fault {
            endpoint,
            effect,
            spared: 0,
            hit: usize::MAX,
        }
    }

    /// The next `requests` of the kind go well.
    #[must_use]
    pub fn after(self, requests: usize) -> Fault {
        Fault {
            spared: requests,
            ..self
        }
    }

    /// Only so many are hit.
    #[must_use]
    pub fn times(self, requests: usize) -> Fault {
        Fault {
            hit: requests,
            ..self
        }
    }

    /// Counts a request. Whether it is hit.
    fn meets(&mut self, endpoint: Endpoint) -> bool {
        if self.endpoint != endpoint || self.hit == 0 {
            return false;
        }
        if self.spared > 0 {
            self.spared -= 1;
            return false;
        }
        self.hit -= 1;
        true
    }
}

/// The node. It ends when dropped; servers on it fail from then on.
pub struct FakeBee {
    state: Shared,
    url: String,
    chain_url: String,
    _listener: Listener,
}

type Shared = Arc<Mutex<State>>;

/// The chain of a node, for a server that signs users up.
#[derive(Clone)]
pub(crate) struct Names(Shared);

impl Names {
    /// Gives a name to an account, and answers its mnemonic.
    pub(crate) fn give(&self, name: &str) -> &'static str {
        lock(&self.0).chain.give(name)
    }
}

#[derive(Default)]
struct State {
    /// By reference in hexadecimal, as it was given out.
    uploads: HashMap<String, Arc<Vec<u8>>>,
    /// By address in hexadecimal: id, signature, span, payload.
    feeds: HashMap<String, Vec<u8>>,
    tags: u64,
    chain: Chain,
    faults: Vec<Fault>,
    seen: HashMap<Endpoint, usize>,
}

impl FakeBee {
    /// An empty node on a free port.
    ///
    /// # Panics
    ///
    /// When there is no port.
    pub fn start() -> FakeBee {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let listener = Listener::start(move |request| answer(&shared, &request))
            .expect("the loopback interface has a free port");
        let url = format!("http://{}", listener.address());
        FakeBee {
            state,
            chain_url: format!("{url}/{CHAIN_PATH}"),
            url,
            _listener: listener,
        }
    }

    /// Its address without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the chain is asked.
    pub fn chain_url(&self) -> &str {
        &self.chain_url
    }

    pub(crate) fn names(&self) -> Names {
        Names(Arc::clone(&self.state))
    }

    /// The postage batch that it accepts.
    pub fn batch(&self) -> &str {
        BATCH
    }

    /// From now on some requests go wrong. Of several faults that a request meets, the first is what happens.
    pub fn inject(&self, fault: Fault) {
        lock(&self.state).faults.push(fault);
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        lock(&self.state).faults.clear();
    }

    /// How many requests of a kind there were so far.
    pub fn requests(&self, endpoint: Endpoint) -> usize {
        lock(&self.state).seen.get(&endpoint).copied().unwrap_or(0)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &Mutex<State>, request: &Request) -> Response {
    let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let (endpoint, work): (_, Work<'_>) = match (request.method.as_str(), path.as_slice()) {
        ("GET", [""]) => return plain(GREETING.into()),
        ("POST", [CHAIN_PATH]) => return respond(200, &lock(state).chain.answer(&request.body)),
        ("DELETE", ["pins", _]) => return failure(404, "Not Found"),
        ("POST", ["bytes"]) => (
            Endpoint::UploadBytes,
            Box::new(|state| upload(state, request)),
        ),
        ("POST", ["soc", owner, id]) => (
            Endpoint::UploadFeed,
            Box::new(move |state| upload_feed(state, owner, id, request)),
        ),
        ("GET", ["bytes", reference]) => (
            Endpoint::DownloadBytes,
            Box::new(move |state| download(state, reference)),
        ),
        ("GET", ["chunks", address]) => (
            Endpoint::DownloadFeed,
            Box::new(move |state| download_chunk(state, address)),
        ),
        ("POST", ["tags"]) => (Endpoint::Tags, Box::new(new_tag)),
        ("GET", ["tags", tag]) => (Endpoint::Tags, Box::new(move |state| show_tag(state, tag))),
        _ => return failure(404, "Not Found"),
    };

    let effect = {
        let mut state = lock(state);
        *state.seen.entry(endpoint).or_default() += 1;
        let mut faults = state.faults.iter_mut();
        faults.find_map(|fault| fault.meets(endpoint).then_some(fault.effect))
    };
    match effect {
        Some(Effect::Refused(stamp)) => return stamp.refusal(),
        Some(Effect::Missing) => return not_found(endpoint),
        Some(Effect::Fails) => return failure(500, "Internal Server Error"),
        Some(Effect::Slow(by)) => thread::sleep(by),
        Some(Effect::Cut(_) | Effect::Corrupt | Effect::Lost) | None => {}
    }
    let mut response = match effect {
        Some(Effect::Lost) => work(&mut State::default()),
        _ => work(&mut lock(state)),
    };
    match effect {
        Some(Effect::Cut(after)) => response.cut = Some(after),
        Some(Effect::Corrupt) => {
            if let Some(byte) = response.body.last_mut() {
                *byte ^= 1;
            }
        }
        _ => {}
    }
    response
}

type Work<'a> = Box<dyn FnOnce(&mut State) -> Response + 'a>;

fn upload(state: &mut State, request: &Request) -> Response {
    if let Err(refusal) = check_stamp(request, "invalid header params") {
        return refusal;
    }
    let root = swarm::reference_of(&request.body);
    let mut reference = root.to_string();
    if request.header("swarm-encrypt") == Some("true") {
        let mut bytes = [0; 2 * REFERENCE];
        getrandom::fill(&mut bytes).expect("the system has random bytes");
        reference = hex::encode(bytes);
    }
    let content = Arc::new(request.body.clone());
    state.uploads.insert(reference.clone(), content);
    created(&json!({ "reference": reference }))
}

fn upload_feed(state: &mut State, owner: &str, id: &str, request: &Request) -> Response {
    let signature = request
        .query
        .split('&')
        .find_map(|pair| pair.strip_prefix("sig="));
    let Some(signature) = signature.and_then(|signature| hex::decode(signature).ok()) else {
        return failure(400, "invalid query params");
    };
    if let Err(refusal) = check_stamp(request, NO_STAMP) {
        return refusal;
    }
    if request.body.len() < SPAN {
        return failure(400, "short chunk data");
    }
    if request.body.len() > SPAN + CHUNK {
        return failure(413, "payload too large");
    }
    let (Ok(owner), Ok(id)) = (hex::decode(owner), hex::decode(id)) else {
        return failure(400, "invalid path params");
    };
    if owner.len() != OWNER || id.len() != REFERENCE {
        return failure(401, "invalid address");
    }
    if signature.len() != SIGNATURE {
        return failure(401, "invalid chunk");
    }
    let address = hex::encode(keccak256(&[id.as_slice(), &owner].concat()));
    let chunk = [id.as_slice(), &signature, &request.body].concat();
    state.feeds.insert(address.clone(), chunk);
    created(&json!({ "reference": address }))
}

fn download(state: &mut State, reference: &str) -> Response {
    if hex::decode(reference).is_err() {
        return failure(400, "invalid path params");
    }
    let content = state.uploads.get(&reference.to_ascii_lowercase());
    content.map_or_else(
        || not_found(Endpoint::DownloadBytes),
        |content| plain(content.to_vec()),
    )
}

fn download_chunk(state: &mut State, address: &str) -> Response {
    if hex::decode(address).is_err() {
        return failure(400, "invalid path params");
    }
    let address = address.to_ascii_lowercase();
    if let Some(chunk) = state.feeds.get(&address) {
        return plain(chunk.clone());
    }
    // An upload of one chunk is that chunk.
    match state.uploads.get(&address) {
        Some(content) if content.len() <= CHUNK => {
            let span = (content.len() as u64).to_le_bytes();
            plain([&span[..], content].concat())
        }
        _ => not_found(Endpoint::DownloadFeed),
    }
}

fn new_tag(state: &mut State) -> Response {
    state.tags += 1;
    created(&tag(state.tags))
}

fn show_tag(state: &mut State, number: &str) -> Response {
    match number.parse::<u64>() {
        Ok(number) if (1..=state.tags).contains(&number) => respond(200, &tag(number)),
        _ => not_found(Endpoint::Tags),
    }
}

fn tag(number: u64) -> Value {
    json!({
        "uid": number,
        "startedAt": "2024-11-01T00:00:00Z",
        "split": 0,
        "seen": 0,
        "stored": 0,
        "sent": 0,
        "synced": 0,
    })
}

/// Endpoints word it differently that there is no stamp.
fn check_stamp(request: &Request, without: &str) -> Result<(), Response> {
    match request.header("swarm-postage-batch-id") {
        None => Err(failure(400, without)),
        Some(batch) if batch == BATCH => Ok(()),
        Some(_) => Err(Stamp::NotFound.refusal()),
    }
}

fn not_found(endpoint: Endpoint) -> Response {
    match endpoint {
        Endpoint::DownloadFeed => failure(404, "chunk not found"),
        Endpoint::Tags => failure(404, "tag not present"),
        _ => failure(404, "Not Found"),
    }
}

fn failure(status: u16, message: &str) -> Response {
    respond(status, &json!({ "code": status, "message": message }))
}

fn created(value: &Value) -> Response {
    respond(201, value)
}

fn respond(status: u16, value: &Value) -> Response {
    Response {
        status,
        content_type: JSON,
        body: value.to_string().into_bytes(),
        cut: None,
    }
}

fn plain(body: Vec<u8>) -> Response {
    Response {
        status: 200,
        content_type: BYTES,
        body,
        cut: None,
    }
}
