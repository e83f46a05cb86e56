//! Copies of whole pods.
//!
//! The server copies by itself, and may copy a pod that changes meanwhile, or copy in part. So what is there afterwards is
//! compared with what was there before.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use serde_json::json;

use super::dialect::Refusal;
use super::http::WHOLE_POD;
use super::loan::List;
use super::lock::Mode;
use super::look::open;
use super::session::Call;
use super::tree::{Tree, View};
use super::{Inner, LIST, PAUSES};
use crate::{DfsPath, Error, Kind, Place, PodName};

impl Inner {
    pub(super) async fn fork(self: Arc<Self>, from: Place, name: PodName) -> Result<(), Error> {
        let _list = self.hold(LIST, Mode::Write).await?;
        let look = |tree: Tree| async move { tree.directory(&DfsPath::root()).await }.boxed();
        self.look(&from, List::Held, look).await?;
        self.free(&name).await?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let error = match self.fork_once(&from, &name).await {
                Ok(true) => return self.settle(&name).await,
                Ok(false) => Error::Storage {
                    attempted: format!("copy {from} to the pod `{name}`"),
                    reason: "it changed each time while it was copied".to_owned(),
                    next: "try again when its owner has finished",
                },
                Err(error) => error,
            };
            // Also where nothing was copied the server may have made the pod.
            match self.drop_pod(&name).await {
                Ok(()) | Err(Error::NoSuchPod { .. }) => {}
                Err(error) => return Err(error),
            }
            let may_pass = matches!(error, Error::Storage { .. } | Error::NoSuchPath { .. });
            match pauses.next() {
                Some(pause) if may_pass => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    /// Copies, and says whether the copy has everything in its full length.
    async fn fork_once(self: &Arc<Self>, from: &Place, name: &PodName) -> Result<bool, Error> {
        let held = self.writing(name).await?;
        let look = |tree: Tree| self.clone().copy(tree, from, name).boxed();
        let whole = self.look(from, List::Held, look).await?;
        held.done().await?;
        Ok(whole)
    }

    pub(super) async fn copy(
        self: Arc<Self>,
        tree: Tree,
        from: &Place,
        name: &PodName,
    ) -> Result<bool, Error> {
        let before = tree.everything().await?;
        let reason = || format!("copy {from} to the pod `{name}`");
        let dialect = self.session.dialect().await;
        if !dialect
            .map_err(|fault| fault.into_error(reason()))?
            .is_full()
        {
            self.copy_by_hand(&tree, &before, name).await?;
            let copy = self.tree(View::Named(name.clone())).everything().await?;
            return Ok(copy == before && copy == tree.everything().await?);
        }
        let call = match &tree.view {
            View::Named(pod) => Call::post(
                "v1/pod/fork",
                json!({ "podName": pod.as_str(), "forkName": name.as_str() }),
            ),
            View::Shared(reference) | View::Borrowed { reference, .. } => Call::post(
                "v1/pod/fork-from-reference",
                json!({ "forkName": name.as_str(), "podSharingReference": reference.to_string() }),
            ),
        };
        let forked = self.session.tell(call.within(WHOLE_POD)).await;
        forked.map_err(|fault| match fault.refusal() {
            Some(Refusal::PodExists) => self.not_made(fault, name),
            _ => fault.into_error(reason()),
        })?;
        let copy = self.tree(View::Named(name.clone())).everything().await?;
        Ok(copy == before || copy == tree.everything().await?)
    }

    /// Copies what was listed, for a server that cannot. The caller has the new pod for itself.
    async fn copy_by_hand(
        &self,
        from: &Tree,
        all: &BTreeSet<(DfsPath, Option<u64>)>,
        name: &PodName,
    ) -> Result<(), Error> {
        let new = Call::post("v1/pod/new", json!({ "podName": name.as_str() }));
        let made = self.session.tell(new).await;
        made.map_err(|fault| self.not_made(fault, name))?;
        // A directory comes before what it holds.
        for (path, size) in all {
            if size.is_none() {
                let body = json!({ "podName": name.as_str(), "dirPath": path.as_str() });
                let made = self.session.tell(Call::post("v1/dir/mkdir", body)).await;
                made.map_err(|fault| fault.into_error(format!("make `{path}` in pod `{name}`")))?;
                continue;
            }
            let mut file = open(from, path).await?;
            let stored = path.name().unwrap_or_default();
            self.store(name, path, stored, &mut file.content).await?;
        }
        Ok(())
    }

    /// Gives what was copied in mid-replacement its name.
    async fn settle(self: &Arc<Self>, pod: &PodName) -> Result<(), Error> {
        self.set_own(pod, true);
        let held = self.writing(pod).await?;
        let tree = self.tree(View::Named(pod.clone()));
        let mut directories = vec![DfsPath::root()];
        let all = tree.everything().await?;
        directories.extend(
            all.into_iter()
                .filter_map(|(path, size)| size.is_none().then_some(path)),
        );
        for at in directories {
            let directory = tree.directory(&at).await?;
            for found in &directory.found {
                let name = &found.entry.name;
                if found.entry.kind == Kind::File && found.stored != *name {
                    self.rename(pod, &at, &found.stored, name).await?;
                }
                for left in directory.versions(name).skip(1) {
                    self.delete_file(pod, &at, &left).await?;
                }
            }
        }
        held.done().await
    }
}
