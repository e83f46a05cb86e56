//! Directories made, and files and directories removed.

use std::sync::Arc;

use serde_json::json;

use super::dialect::Refusal;
use super::http::Fault;
use super::session::Call;
use super::tree::{GONE, KEPT, SWAP, View, stored_path};
use super::{Inner, unlockable};
use crate::{DfsPath, Error, Kind, PodName};

impl Inner {
    /// Asks afresh for files.
    pub(super) async fn confirm(
        &self,
        pod: &PodName,
        files: &[(DfsPath, u64)],
    ) -> Result<(), Error> {
        self.forget(pod).await;
        let _reading = self.reading(pod).await?;
        let tree = self.tree(View::Named(pod.clone()));
        for (file, size) in files {
            let found = match tree.find(file).await {
                Ok(found) => Some(found.entry.size),
                Err(Error::NoSuchPath { .. } | Error::NoSuchPod { .. }) => None,
                Err(error) => return Err(error),
            };
            if found != Some(*size) {
                return Err(Error::Storage {
                    attempted: format!("find `{file}` in pod `{pod}` again"),
                    reason: match found {
                        Some(found) => format!(
                            "the server took {size} bytes, and has {found} when it is asked afresh"
                        ),
                        None => "the server took it, and does not have it when it is asked afresh"
                            .to_owned(),
                    },
                    next: "write it again",
                });
            }
        }
        Ok(())
    }

    pub(super) async fn delete_file(
        &self,
        pod: &PodName,
        at: &DfsPath,
        name: &str,
    ) -> Result<(), Error> {
        let path = stored_path(at, name);
        let body = json!({ "podName": pod.as_str(), "filePath": path });
        let deleted = self
            .session
            .tell(Call::delete("v1/file/delete", body))
            .await;
        match deleted {
            Err(fault) if fault.refusal() != Some(Refusal::NoSuchFile) => {
                Err(fault.into_error(format!("remove `{path}` in pod `{pod}`")))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn make_directory(
        self: Arc<Self>,
        pod: PodName,
        path: DfsPath,
    ) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::Root {
                pod,
                attempted: "made",
            });
        };
        ours(name)?;
        let held = self.writing(&pod).await?;
        let directory = self
            .tree(View::Named(pod.clone()))
            .directory(&parent)
            .await?;
        let exists = |existing: &str| Error::PathExists {
            pod: pod.clone(),
            path: path.clone(),
            existing: existing.to_owned(),
        };
        if let Some(found) = directory.like(name) {
            return Err(exists(&found.entry.name));
        }
        let body = json!({ "podName": pod.as_str(), "dirPath": path.as_str() });
        let made = self.session.tell(Call::post("v1/dir/mkdir", body)).await;
        made.map_err(|fault| match fault.refusal() {
            Some(Refusal::Exists) => exists(name),
            _ => fault.into_error(format!("make `{path}` in pod `{pod}`")),
        })?;
        held.done().await
    }

    pub(super) async fn remove(self: Arc<Self>, pod: PodName, path: DfsPath) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::Root {
                pod,
                attempted: "removed",
            });
        };
        let held = self.writing(&pod).await?;
        let tree = self.tree(View::Named(pod.clone()));
        let directory = tree.directory(&parent).await?;
        let Some(found) = directory.find(name) else {
            return Err(tree.no_such_path(&directory, &path));
        };
        if found.entry.kind == Kind::File {
            // What is shown goes last, or an older one would be.
            let versions: Vec<_> = directory.versions(name).collect();
            for version in versions.iter().rev() {
                self.delete_file(&pod, &parent, version).await?;
            }
            return held.done().await;
        }
        if !tree.directory(&path).await?.empty {
            return Err(Error::NotEmpty { pod, path });
        }
        let failed = |fault: Fault| fault.into_error(format!("remove `{path}` in pod `{pod}`"));
        let mut removed = path.as_str().to_owned();
        let full = self.session.dialect().await.map_err(&failed)?.is_full();
        if full && !parent.is_root() {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|error| unlockable(error.into()))?;
            removed = format!("/{GONE}{}", hex::encode(random));
            let body =
                json!({ "podName": pod.as_str(), "oldPath": path.as_str(), "newPath": removed });
            let moved = self.session.tell(Call::post("v1/dir/rename", body)).await;
            moved.map_err(&failed)?;
        }
        let body = json!({ "podName": pod.as_str(), "dirPath": removed });
        let done = self.session.tell(Call::delete("v1/dir/rmdir", body)).await;
        done.map_err(failed)?;
        held.done().await
    }
}

/// Refuses a name that this module keeps for itself.
pub(super) fn ours(name: &str) -> Result<(), Error> {
    if [SWAP, KEPT, GONE].iter().any(|ours| name.starts_with(ours)) {
        return Err(crate::NameError::new(
            crate::name::PATH,
            name,
            "this storage keeps such names for files that are about to change",
        )
        .into());
    }
    Ok(())
}
