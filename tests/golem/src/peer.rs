//! The far side of a file transfer: what a provider does with `gftp:` addresses, and what a hostile one might.

use std::io;

use flexbuffers::Reader;
use serde_json::{Value, json};
use sha3::{Digest, Sha3_256};
use sovr_golem::bus::CallRequest;

use crate::Node;
use crate::files::{Chunk, Upload, address};
use crate::link::{Answering, Link, Service, blob, decode};

/// What official clients move at a time.
pub const CHUNK: usize = 40_960;

/// Calls what other nodes serve, on behalf of a node. Threads may share it.
pub struct Peer(Link);

/// Nobody calls a peer.
struct Nothing;

impl Service for Nothing {
    fn call(&self, _: &CallRequest, reply: Answering<'_>) {
        reply.not_found();
    }
}

impl Peer {
    /// Connects to the node's bus.
    ///
    /// # Panics
    ///
    /// When the daemon is gone.
    pub fn of(node: &Node) -> Peer {
        let link = Link::open(node.gsb_url(), std::sync::Arc::new(Nothing));
        Peer(link.unwrap_or_else(|error| panic!("no service bus: {error}")))
    }

    /// Calls any method with any body. An error is one that came as an answer, or that none came.
    pub fn call(&self, url: &str, method: &str, body: &Value) -> io::Result<()> {
        let answer = self.0.call(&address(url, method)?, body)?;
        ok(url, &answer).map(drop)
    }

    /// Fetches a part of a file.
    pub fn chunk(&self, url: &str, offset: u64, size: u64) -> io::Result<Vec<u8>> {
        chunk(&self.0, url, offset, size)
    }

    /// How long a file is.
    pub fn size(&self, url: &str) -> io::Result<u64> {
        size(&self.0, url)
    }

    /// Puts a part of a file.
    pub fn put(&self, url: &str, offset: usize, content: &[u8]) -> io::Result<()> {
        put(&self.0, url, offset, content)
    }

    /// Says that a file is complete.
    pub fn finish(&self, url: &str, hash: Option<&str>) -> io::Result<()> {
        finish(&self.0, url, hash)
    }

    /// Goes away. Who waits for an answer hears that none comes.
    pub fn close(&self) {
        self.0.close();
    }

    /// Fetches a file.
    pub fn download(&self, url: &str) -> io::Result<Vec<u8>> {
        download(&self.0, url)
    }

    /// Puts a file.
    pub fn upload(&self, url: &str, content: &[u8]) -> io::Result<()> {
        upload(&self.0, url, content)
    }
}

/// The name that Golem's programs give to a content: SHA3-256.
pub fn hash(content: &[u8]) -> String {
    hex::encode(Sha3_256::digest(content))
}

pub(crate) fn download(link: &Link, url: &str) -> io::Result<Vec<u8>> {
    let size = size(link, url)?;
    let mut content = Vec::new();
    while (content.len() as u64) < size {
        let chunk = chunk(link, url, content.len() as u64, CHUNK as u64)?;
        if chunk.is_empty() {
            return Err(io::Error::other(format!("{url} ends early")));
        }
        content.extend(chunk);
    }
    Ok(content)
}

pub(crate) fn upload(link: &Link, url: &str, content: &[u8]) -> io::Result<()> {
    for (index, chunk) in content.chunks(CHUNK).enumerate() {
        put(link, url, index * CHUNK, chunk)?;
    }
    finish(link, url, Some(&hash(content)))
}

fn size(link: &Link, url: &str) -> io::Result<u64> {
    let answer = link.call(&address(url, "GetMetadata")?, &())?;
    let size = ok(url, &answer)?.get_map().ok().and_then(|metadata| {
        let size = metadata.index("fileSize").ok()?;
        // golem-js writes it as a number with a sign.
        let signed = || u64::try_from(size.get_i64().ok()?).ok();
        size.get_u64().ok().or_else(signed)
    });
    size.ok_or_else(|| io::Error::other(format!("{url} has no length")))
}

fn chunk(link: &Link, url: &str, offset: u64, size: u64) -> io::Result<Vec<u8>> {
    let question = json!({ "offset": offset, "size": size });
    let answer = link.call(&address(url, "GetChunk")?, &question)?;
    let chunk = ok(url, &answer)?.get_map().ok();
    let chunk = chunk.and_then(|chunk| blob(&chunk));
    chunk.ok_or_else(|| io::Error::other(format!("{url} has no bytes")))
}

fn put(link: &Link, url: &str, offset: usize, content: &[u8]) -> io::Result<()> {
    let chunk = Chunk { offset, content };
    let answer = link.call(&address(url, "UploadChunk")?, &Upload { chunk })?;
    ok(url, &answer).map(drop)
}

fn finish(link: &Link, url: &str, hash: Option<&str>) -> io::Result<()> {
    let answer = link.call(&address(url, "UploadFinished")?, &json!({ "hash": hash }))?;
    ok(url, &answer).map(drop)
}

/// The value of an answer's `Ok`.
fn ok<'a>(url: &str, answer: &'a [u8]) -> io::Result<Reader<&'a [u8]>> {
    let root = Reader::get_root(answer).and_then(|root| root.get_map());
    let found = root.map_err(io::Error::other)?.index("Ok");
    found.map_err(|_| {
        let told = decode(answer).unwrap_or_default();
        io::Error::other(format!("{url} is answered {told}"))
    })
}
