//! Files of a node that others fetch and fill over the service bus: what a requestor does for `gftp:` addresses.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use sovr_golem::bus::CallRequest;

use crate::Node;
use crate::link::{Answering, Link, Service, blob, decode};

const PLACE: &str = "/public/gftp/";

/// Files that are served on behalf of a node. Dropping it ends that.
pub struct Files {
    node: String,
    link: Link,
    contents: Arc<Contents>,
}

/// By name.
#[derive(Default)]
struct Contents(Mutex<HashMap<String, Vec<u8>>>);

impl Files {
    /// Connects to the node's bus.
    ///
    /// # Panics
    ///
    /// When the daemon is gone.
    pub fn of(node: &Node) -> Files {
        let contents = Arc::new(Contents::default());
        let service: Arc<dyn Service> = Arc::<Contents>::clone(&contents);
        let link = Link::open(node.gsb_url(), service)
            .unwrap_or_else(|error| panic!("no service bus: {error}"));
        Files {
            node: node.id().to_owned(),
            link,
            contents,
        }
    }

    /// Makes a file, empty or not, that any node can read and write. Answers its address.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    pub fn put(&self, name: &str, content: &[u8]) -> String {
        self.contents.put(name, content.to_vec());
        self.link
            .register(&format!("{PLACE}{name}"))
            .unwrap_or_else(|error| panic!("cannot serve {name}: {error}"));
        format!("gftp://{}/{name}", self.node)
    }

    /// What is in a file.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.contents.get(name)
    }
}

impl Contents {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        contents.get(name).cloned()
    }

    fn put(&self, name: &str, content: Vec<u8>) {
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        contents.insert(name.to_owned(), content);
    }

    fn answer(&self, call: &CallRequest, reply: Answering<'_>) -> Option<()> {
        let (name, method) = call.address.strip_prefix(PLACE)?.split_once('/')?;
        let mut content = self.get(name)?;
        let body = decode(&call.data).unwrap_or_default();
        let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
        match method {
            "GetMetadata" => reply.ok(&json!({ "fileSize": content.len() })),
            "GetChunk" => {
                let offset = number(&body["offset"])?;
                let rest = content.get(offset..)?;
                let size = number(&body["size"])?.min(rest.len());
                let content = &rest[..size];
                reply.ok(&Chunk { offset, content });
            }
            "UploadChunk" => {
                let (offset, chunk) = uploaded(&call.data)?;
                let end = offset.checked_add(chunk.len())?;
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[offset..end].copy_from_slice(&chunk);
                self.put(name, content);
                reply.ok(&());
            }
            "UploadFinished" => reply.ok(&()),
            _ => return None,
        }
        Some(())
    }
}

impl Service for Contents {
    fn call(&self, call: &CallRequest, reply: Answering<'_>) {
        // What is not understood is not answered.
        let _ = self.answer(call, reply);
    }
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

fn uploaded(body: &[u8]) -> Option<(usize, Vec<u8>)> {
    let root = flexbuffers::Reader::get_root(body).ok()?;
    let chunk = root.get_map().ok()?.index("chunk").ok()?.get_map().ok()?;
    let offset = chunk.index("offset").ok()?.get_u64().ok()?;
    Some((usize::try_from(offset).ok()?, blob(&chunk)?))
}

/// The address on the bus of a method for `gftp://node/name`.
pub(crate) fn address(url: &str, method: &str) -> io::Result<String> {
    let path = url.strip_prefix("gftp://");
    let (node, name) = path
        .and_then(|path| path.split_once('/'))
        .ok_or_else(|| io::Error::other(format!("Unsupported scheme: {url}")))?;
    Ok(format!("/net/{node}/gftp/{name}/{method}"))
}
