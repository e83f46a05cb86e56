//! What is in a directory of a shared pod, without asking the server to list it.
//!
//! The server lists what is shared, too (`public-dir`), but where the owner deletes a file in the middle of that, or a
//! deletion was never completed, v0.10.1 waits for one entry more than there will be: for ever, with a core and with
//! more memory each second, whether or not anybody waits for the answer. So its own record of the directory is read,
//! which is a file like others from v0.10.0 on, and each file in it is opened for its length. Servers before that have
//! no such file, and are asked to list.
//!
//! Rejected: HEAD. The server answers it by reading the whole file from the network and sending nothing.

use std::time::Duration;

use futures::{FutureExt, future};
use reqwest::Response;
use serde::Deserialize;
use sovr_capability::Untrusted;

use super::dialect::{Listing, Named, Refusal, Sized, none_as_empty};
use super::http::{self, Fault};
use super::session::{Call, Session};
use super::tree::stored_path;
use crate::DfsPath;

/// The server's name for the record.
const RECORD: &str = "index.dfs";
/// Questions for lengths that are under way at once. The server looks up four files at a time when it lists.
const AT_ONCE: usize = 4;
/// How often a directory is looked at whose owner changes it meanwhile.
const TRIES: usize = 4;
/// A file of so many bytes comes together with its length.
const SMALL: u64 = 16 << 10;
/// How long the rest of one is waited for.
const SOON: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "fileOrDirNames", default, deserialize_with = "none_as_empty")]
    entries: Vec<String>,
}

/// Lists a directory of what is shared under `reference`.
pub(super) async fn list(
    session: &Session,
    reference: &str,
    at: &DfsPath,
) -> Result<Listing, Fault> {
    let mut entries = match record(session, reference, at).await {
        Err(fault) if fault.refusal() == Some(Refusal::Missing) => {
            let call = Call::get("public-dir").public();
            let call = call.with("sharingRef", reference);
            return session.ask(call.with("dirPath", at.as_str())).await;
        }
        record => record?,
    };
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let (listing, gone) = look(session, reference, at, &entries).await?;
        if !gone || tries == 0 {
            return Ok(listing);
        }
        // What is gone may have another name by now.
        let now = record(session, reference, at).await?;
        if now == entries {
            return Ok(listing);
        }
        entries = now;
    }
}

async fn record(session: &Session, reference: &str, at: &DfsPath) -> Result<Vec<String>, Fault> {
    let path = stored_path(at, RECORD);
    let call = Call::get("public-file").public();
    let call = call.with("sharingRef", reference).with("filePath", &path);
    let record: Record = session.ask(call).await?;
    Ok(record.entries)
}

/// What the entries of a record are, and whether one of them is gone.
async fn look(
    session: &Session,
    reference: &str,
    at: &DfsPath,
    entries: &[String],
) -> Result<(Listing, bool), Fault> {
    let names = |prefix: &'static str| {
        let names = entries.iter().map(move |entry| entry.strip_prefix(prefix));
        names.flatten().map(str::to_owned)
    };
    let dirs = names("_D_").map(|name| Named { name }).collect();
    let names: Vec<String> = names("_F_").collect();
    let mut files = Vec::with_capacity(names.len());
    for names in names.chunks(AT_ONCE) {
        let some: Vec<_> = names
            .iter()
            .map(|name| file(session, reference, at, name).boxed())
            .collect();
        files.extend(future::try_join_all(some).await?);
    }
    let gone = files.iter().any(Option::is_none);
    let files = files.into_iter().flatten().collect();
    Ok((Listing { dirs, files }, gone))
}

/// A file with its length; none if it was deleted.
async fn file(
    session: &Session,
    reference: &str,
    at: &DfsPath,
    name: &str,
) -> Result<Option<Sized>, Fault> {
    let path = &stored_path(at, name);
    let call = Call::get("public-file").public();
    let call = call.with("sharingRef", reference).with("filePath", path);
    match session.open(call).await {
        Ok(answer) => {
            let size = http::announced(&answer)?;
            leave(answer, size).await;
            let name = name.to_owned();
            Ok(Some(Sized { name, size }))
        }
        Err(fault) => match fault.refusal() {
            Some(Refusal::Deleted) => Ok(None),
            Some(Refusal::Missing) => Err(Fault::Connection(format!(
                "the server lists `{}` and cannot find it in the network now",
                Untrusted::new(path).escaped()
            ))),
            _ => Err(fault),
        },
    }
}

/// Ends an answer whose content nobody wants. What is not read to its end costs the connection, and keeps the server from
/// reading on.
async fn leave(answer: Response, size: u64) {
    if size <= SMALL {
        // Only the connection is lost if it does not come.
        let _ = tokio::time::timeout(SOON, answer.bytes()).await;
    }
}
