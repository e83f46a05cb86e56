//! `dfs`: the user's storage pods.

use std::fmt::Display;
use std::sync::Arc;

use serde_json::{Value, json};
use sovr_capability::{Denial, Grants};
use sovr_dfs::{Dfs, DfsPath, Error as DfsError, ErrorKind, Kind, PodName, Reference};
use sovr_runtime::bindings::dfs::{Entry, Kind as EntryKind, Location};
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::wire::Reply;
use tokio::io::AsyncReadExt;

use super::Desk;
use crate::convert::invalid;
use crate::gate::{Action, Refusal, Used};

/// Most bytes of a file that is read or written as one value.
const MOST_CONTENT: u64 = 1 << 20;
/// Most entries of a directory in one answer, so that it fits into a frame.
const MOST_ENTRIES: usize = 4096;

/// What a call does to one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Share,
}

/// A call on one pod, or on one path of it.
#[derive(Debug)]
struct OnPod {
    what: &'static str,
    access: Access,
    pod: PodName,
    path: Option<DfsPath>,
}

impl Action for OnPod {
    type Terms = ();

    fn what(&self) -> &'static str {
        self.what
    }

    fn detail(&self) -> Value {
        json!({ "pod": self.pod.as_str(), "path": self.path.as_ref().map(DfsPath::as_str) })
    }

    fn check(&self, grants: &Grants, used: &mut Used) -> Result<(), Refusal> {
        match self.access {
            Access::Read => check_read(grants, used, &self.pod),
            Access::Write => Ok(grants.dfs(self.what)?.check_write(self.pod.as_str())?),
            Access::Share => Ok(grants.dfs(self.what)?.check_share(self.pod.as_str())?),
        }
    }
}

/// Whether a pod may be read: because the recipe names it, or because this run received it.
pub(super) fn check_read(grants: &Grants, used: &Used, pod: &PodName) -> Result<(), Refusal> {
    let grant = grants.dfs("dfs.read")?;
    if used.received.contains(pod.as_str()) {
        return Ok(());
    }
    Ok(grant.check_read(pod.as_str())?)
}

/// Listing the pods that the run may read.
#[derive(Debug)]
struct ListPods;

impl Action for ListPods {
    /// Names that may be answered.
    type Terms = Vec<String>;

    fn what(&self) -> &'static str {
        "dfs.pods"
    }

    fn detail(&self) -> Value {
        Value::Null
    }

    fn check(&self, grants: &Grants, used: &mut Used) -> Result<Vec<String>, Refusal> {
        let grant = grants.dfs(self.what())?;
        Ok(grant
            .read
            .iter()
            .chain(&grant.write)
            .chain(&used.received)
            .cloned()
            .collect())
    }
}

/// Adding a shared pod to the user's own.
#[derive(Debug)]
struct Receive {
    reference: Reference,
}

impl Action for Receive {
    type Terms = ();

    fn what(&self) -> &'static str {
        "dfs.receive"
    }

    fn detail(&self) -> Value {
        json!({ "reference": self.reference.to_string() })
    }

    fn check(&self, grants: &Grants, _: &mut Used) -> Result<(), Refusal> {
        if grants.dfs(self.what())?.share {
            return Ok(());
        }
        Err(Denial::new("dfs.share", "true", "false").into())
    }
}

/// A pod and an absolute path in it.
pub(super) fn location(field: &str, location: &Location) -> Result<(PodName, DfsPath), Error> {
    Ok((
        pod_name(&format!("{field}.pod"), &location.pod)?,
        parse(&format!("{field}.path"), &location.path)?,
    ))
}

fn pod_name(field: &str, text: &str) -> Result<PodName, Error> {
    parse(field, text)
}

fn parse<T: std::str::FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error| invalid(field, error))
}

/// A store's refusal in the script's terms.
pub(super) fn error(error: DfsError) -> Error {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Invalid => Error::Invalid(text),
        ErrorKind::NotFound => Error::NotFound(text),
        ErrorKind::AlreadyExists => Error::AlreadyExists(text),
        ErrorKind::Unavailable => Error::Unavailable(text),
    }
}

fn entry(entry: sovr_dfs::Entry) -> Entry {
    Entry {
        name: entry.name,
        kind: match entry.kind {
            Kind::File => EntryKind::File,
            Kind::Directory => EntryKind::Directory,
        },
        size: entry.size,
    }
}

impl Desk {
    pub(super) fn store(&self) -> Result<&Arc<dyn Dfs>, Error> {
        self.dfs.as_ref().ok_or_else(|| super::absent("storage"))
    }

    /// Passes the gate with a call on one path, and runs `effect` on it.
    async fn on_path(
        &self,
        what: &'static str,
        access: Access,
        at: Location,
        effect: impl AsyncFnOnce(&dyn Dfs, &PodName, &DfsPath) -> Result<Reply, DfsError>,
    ) -> Result<Reply, Error> {
        let (pod, path) = self.gate.read(what, location("location", &at))?;
        self.gate
            .pass(
                OnPod {
                    what,
                    access,
                    pod: pod.clone(),
                    path: Some(path.clone()),
                },
                async |_| effect(&**self.store()?, &pod, &path).await.map_err(error),
            )
            .await
    }

    pub(super) async fn pods(&self) -> Result<Reply, Error> {
        self.gate
            .pass(ListPods, async |permit| {
                let pods = self.store()?.pods().await.map_err(error)?;
                let names = pods.iter().map(|pod| pod.name.as_str());
                let allowed = |name: &&str| permit.terms.iter().any(|allowed| allowed == name);
                Ok(Reply::Names(
                    names.filter(allowed).map(str::to_owned).collect(),
                ))
            })
            .await
    }

    pub(super) async fn list(&self, directory: Location) -> Result<Reply, Error> {
        let listed = self
            .on_path(
                "dfs.list",
                Access::Read,
                directory,
                async |dfs, pod, path| {
                    Ok(Reply::Entries(
                        dfs.list(&pod.into(), path)
                            .await?
                            .into_iter()
                            .map(entry)
                            .collect(),
                    ))
                },
            )
            .await?;
        match listed {
            Reply::Entries(entries) if entries.len() > MOST_ENTRIES => {
                Err(Error::Invalid(format!(
                    "the directory has {} entries; at most {MOST_ENTRIES} are listed at once",
                    entries.len()
                )))
            }
            listed => Ok(listed),
        }
    }

    pub(super) async fn stat(&self, at: Location) -> Result<Reply, Error> {
        self.on_path("dfs.stat", Access::Read, at, async |dfs, pod, path| {
            Ok(Reply::Entry(entry(dfs.stat(&pod.into(), path).await?)))
        })
        .await
    }

    pub(super) async fn read(&self, file: Location, most: u64) -> Result<Reply, Error> {
        let most = most.min(MOST_CONTENT);
        const WHAT: &str = "dfs.read";
        let (pod, path) = self.gate.read(WHAT, location("file", &file))?;
        let on = OnPod {
            what: WHAT,
            access: Access::Read,
            pod: pod.clone(),
            path: Some(path.clone()),
        };
        self.gate
            .pass(on, async |_| {
                let file = self.store()?.read(&pod.clone().into(), &path).await.map_err(error)?;
                if file.size > most {
                    return Err(Error::Invalid(format!(
                        "the file has {} bytes and at most {most} are read; copy it with `transfer`",
                        file.size
                    )));
                }
                let mut content = Vec::new();
                file.content
                    .take(most + 1)
                    .read_to_end(&mut content)
                    .await
                    .map_err(|error| Error::Unavailable(format!("{path} in pod {pod} could not be read: {error}")))?;
                Ok(Reply::Bytes(content))
            })
            .await
    }

    pub(super) async fn write(&self, file: Location, content: Vec<u8>) -> Result<Reply, Error> {
        if content.len() as u64 > MOST_CONTENT {
            return Err(invalid(
                "content",
                format_args!("at most {MOST_CONTENT} bytes; copy a file with `transfer`"),
            ));
        }
        self.on_path("dfs.write", Access::Write, file, async |dfs, pod, path| {
            dfs.write(pod, path, &mut &content[..]).await?;
            Ok(Reply::Done)
        })
        .await
    }

    pub(super) async fn make_directory(&self, at: Location) -> Result<Reply, Error> {
        self.on_path(
            "dfs.make-directory",
            Access::Write,
            at,
            async |dfs, pod, path| {
                dfs.make_directory(pod, path).await?;
                Ok(Reply::Done)
            },
        )
        .await
    }

    pub(super) async fn remove(&self, at: Location) -> Result<Reply, Error> {
        self.on_path("dfs.remove", Access::Write, at, async |dfs, pod, path| {
            dfs.remove(pod, path).await?;
            Ok(Reply::Done)
        })
        .await
    }

    pub(super) async fn create_pod(&self, name: String) -> Result<Reply, Error> {
        const WHAT: &str = "dfs.create-pod";
        let pod = self.gate.read(WHAT, pod_name("name", &name))?;
        let on = OnPod {
            what: WHAT,
            access: Access::Write,
            pod: pod.clone(),
            path: None,
        };
        self.gate
            .pass(on, async |_| {
                self.store()?.create_pod(&pod).await.map_err(error)?;
                Ok(Reply::Done)
            })
            .await
    }

    pub(super) async fn share(&self, pod: String) -> Result<Reply, Error> {
        const WHAT: &str = "dfs.share";
        let pod = self.gate.read(WHAT, pod_name("pod", &pod))?;
        let on = OnPod {
            what: WHAT,
            access: Access::Share,
            pod: pod.clone(),
            path: None,
        };
        self.gate
            .pass(on, async |_| {
                Ok(Reply::Text(
                    self.store()?.share(&pod).await.map_err(error)?.to_string(),
                ))
            })
            .await
    }

    pub(super) async fn receive(&self, reference: String) -> Result<Reply, Error> {
        let reference: Reference = self
            .gate
            .read("dfs.receive", parse("reference", &reference))?;
        self.gate
            .pass(Receive { reference }, async |_| {
                // The sharer's own name for the pod is a stranger's text; this one cannot clash with a name that
                // somebody chose unless they set out to.
                let name = pod_name(
                    "name",
                    &format!("received-{}", &reference.to_string()[..16]),
                )?;
                let pod = self
                    .store()?
                    .receive(&reference, &name)
                    .await
                    .map_err(error)?;
                self.gate.change_used(|used| {
                    used.received.insert(pod.name.as_str().to_owned());
                });
                Ok(Reply::Text(pod.name.as_str().to_owned()))
            })
            .await
    }
}
