//! Files of a node that others fetch and fill over the service bus: what a requestor does for `gftp:` addresses.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use sha3::{Digest, Sha3_224, Sha3_256};
use sovr_golem::bus::CallRequest;
use sovr_test_support::process;
use tempfile::TempDir;

use crate::link::{Answering, Link, Service, blob, decode};
use crate::{Node, place};

const PLACE: &str = "/public/gftp/";
/// Most that is read at a time, whatever is asked for. Official clients ask for 40 KiB.
const MOST: u64 = 1024 * 1024;
/// What is hashed at a time.
const BUFFER: usize = 64 * 1024;

/// Files of the test that are served on behalf of a node. Dropping it ends that.
pub struct Files {
    served: Served,
    directory: TempDir,
}

impl Files {
    /// Connects to the node's bus.
    ///
    /// # Panics
    ///
    /// When the daemon is gone.
    pub fn of(node: &Node) -> Files {
        let served = Served::open(node.gsb_url());
        Files {
            served: served.unwrap_or_else(|error| panic!("no service bus: {error}")),
            directory: process::directory_in(&place::target()),
        }
    }

    /// Makes a file, empty or not, that any node can read and write. Answers its address.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    pub fn put(&self, name: &str, content: &[u8]) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, content)
            .and_then(|()| self.served.add(name, &path))
            .unwrap_or_else(|error| panic!("cannot serve {name}: {error}"))
    }

    /// What is in a file.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.directory.path().join(name)).ok()
    }
}

/// Files on the disk that are served by a name on behalf of the node at the other end of a bus.
pub(crate) struct Served {
    node: String,
    link: Link,
    paths: Arc<Paths>,
}

impl Served {
    pub(crate) fn open(gsb_url: &str) -> io::Result<Served> {
        let paths = Arc::<Paths>::default();
        let service: Arc<dyn Service> = Arc::<Paths>::clone(&paths);
        let link = Link::open(gsb_url, service)?;
        let identity = decode(&link.call("/local/identity/Get", &"byDefault")?)?;
        let node = identity["Ok"]["nodeId"].as_str();
        let node = node.ok_or_else(|| io::Error::other(format!("who is it? {identity}")))?;
        Ok(Served {
            node: node.to_owned(),
            link,
            paths,
        })
    }

    /// Serves a file that is there, and answers its address. One that is served already may be added again.
    pub(crate) fn add(&self, name: &str, path: &Path) -> io::Result<String> {
        let before = self.paths.all().insert(name.to_owned(), path.to_owned());
        if before.is_none() {
            self.link.register(&format!("{PLACE}{name}"))?;
        }
        Ok(format!("gftp://{}/{name}", self.node))
    }

    /// No longer serves the file of an address. Answers whether it was served.
    pub(crate) fn remove(&self, url: &str) -> io::Result<bool> {
        let prefix = format!("gftp://{}/", self.node);
        let name = url.strip_prefix(&prefix);
        let Some(name) = name.filter(|name| self.paths.all().remove(*name).is_some()) else {
            return Ok(false);
        };
        self.link.unregister(&format!("{PLACE}{name}"))?;
        Ok(true)
    }
}

/// By name.
#[derive(Default)]
struct Paths(Mutex<HashMap<String, PathBuf>>);

impl Paths {
    fn all(&self) -> MutexGuard<'_, HashMap<String, PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing where the call makes no sense.
    fn answer(&self, call: &CallRequest, reply: Answering<'_>) -> Option<()> {
        let (name, method) = call.address.strip_prefix(PLACE)?.split_once('/')?;
        let path = self.all().get(name).cloned()?;
        match method {
            "GetMetadata" => {
                let size = fs::metadata(path).ok()?.len();
                reply.ok(&json!({ "fileSize": size }));
            }
            "GetChunk" => {
                let wanted = decode(&call.data).ok()?;
                let offset = wanted["offset"].as_u64()?;
                let content = read(&path, offset, wanted["size"].as_u64()?.min(MOST)).ok()?;
                let content = &content;
                let offset = usize::try_from(offset).ok()?;
                reply.ok(&Chunk { offset, content });
            }
            "UploadChunk" => {
                let (offset, content) = uploaded(&call.data)?;
                let file = OpenOptions::new().write(true).open(path).ok()?;
                file.write_all_at(&content, offset).ok()?;
                reply.ok(&());
            }
            "UploadFinished" => {
                let end = decode(&call.data).ok()?;
                match end["hash"].as_str() {
                    Some(hash) if hash != hash_of::<Sha3_256>(&path).ok()? => {
                        reply.error(&Value::from("IntegrityError"));
                    }
                    _ => reply.ok(&()),
                }
            }
            _ => return None,
        }
        Some(())
    }
}

impl Service for Paths {
    fn call(&self, call: &CallRequest, reply: Answering<'_>) {
        // What is not understood is not answered.
        let _ = self.answer(call, reply);
    }
}

/// What a file has there; less where it ends.
fn read(path: &Path, offset: u64, size: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = size.min(file.metadata()?.len().saturating_sub(offset));
    let mut content = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut content, offset)?;
    Ok(content)
}

/// The hash of a file, in hexadecimal digits.
pub(crate) fn hash_of<D: Digest>(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut digest, mut buffer) = (D::new(), vec![0; BUFFER]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(digest.finalize())),
            count => digest.update(&buffer[..count]),
        }
    }
}

/// Whether some bytes have a hash as it stands in `hash:sha3:HASH:address`; its length says which of the family it is.
pub(crate) fn has_hash(content: &[u8], hash: &str) -> bool {
    let found = match hash.len() {
        56 => hex::encode(Sha3_224::digest(content)),
        64 => hex::encode(Sha3_256::digest(content)),
        _ => return false,
    };
    found == hash
}

/// A part of a file.
#[derive(Serialize)]
pub(crate) struct Chunk<'a> {
    pub(crate) offset: usize,
    #[serde(serialize_with = "as_blob")]
    pub(crate) content: &'a [u8],
}

/// A part of a file on its way to who receives it.
#[derive(Serialize)]
pub(crate) struct Upload<'a> {
    pub(crate) chunk: Chunk<'a>,
}

fn as_blob<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

fn uploaded(body: &[u8]) -> Option<(u64, Vec<u8>)> {
    let root = flexbuffers::Reader::get_root(body).ok()?;
    let chunk = root.get_map().ok()?.index("chunk").ok()?.get_map().ok()?;
    let offset = chunk.index("offset").ok()?.get_u64().ok()?;
    Some((offset, blob(&chunk)?))
}

/// The address on the bus of a method for `gftp://node/name`.
pub(crate) fn address(url: &str, method: &str) -> io::Result<String> {
    let path = url.strip_prefix("gftp://");
    let (node, name) = path
        .and_then(|path| path.split_once('/'))
        .ok_or_else(|| io::Error::other(format!("Unsupported scheme: {url}")))?;
    Ok(format!("/net/{node}/gftp/{name}/{method}"))
}
