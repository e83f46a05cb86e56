//! What each call of the contract does, once it is permitted: one file per interface.

mod dfs;
mod golem;
mod objects;
mod steps;
#[cfg(test)]
mod tests;
mod transfer;

use std::sync::{Arc, Mutex};

use sovr_capability::ledger::Account;
use sovr_dfs::Dfs;
use sovr_golem::Network;
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::wire::{Call, Handle, Note, Place, Reply};

use crate::event::Observer;
use crate::files::Files;
use crate::gate::Gate;
use crate::tally::Tally;

pub(crate) use objects::{Counted, Objects};

/// What the calls of one run work with.
pub(crate) struct Desk {
    pub(crate) gate: Arc<Gate>,
    pub(crate) files: Files,
    /// None without a grant on Golem work; the gate lets no job through then.
    pub(crate) account: Option<Arc<Account>>,
    pub(crate) network: Arc<dyn Network>,
    /// Where a demand goes that is for the subnet `public`.
    pub(crate) public_subnet: String,
    /// None without a grant on storage; the gate lets no call through then.
    pub(crate) dfs: Option<Arc<dyn Dfs>>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) tally: Arc<Mutex<Tally>>,
    pub(crate) objects: Objects,
}

impl Desk {
    /// A handle in the call that this run was never given. No script can make its runner say one; whoever says it is
    /// not our runner any more.
    pub(crate) fn never_given(&self, call: &Call) -> Option<Handle> {
        handles(call)
            .into_iter()
            .flatten()
            .find(|handle| !self.objects.gave(*handle))
    }

    /// Serves one call. May be dropped while it waits; the audit log says so then.
    pub(crate) async fn serve(&self, call: Call) -> Result<Reply, Error> {
        match call {
            Call::Copy {
                source,
                destination,
            } => self.copy(source, destination).await,
            Call::OpenExecutor(options) => self.open_executor(options).await,
            Call::OnWorkerStart { executor, steps } => self.on_worker_start(executor, steps).await,
            Call::Submit {
                executor,
                label,
                steps,
                timeout,
            } => self.submit(executor, label, steps, timeout).await,
            Call::NextOutcome(executor) => self.next_outcome(executor).await,
            Call::Accept { executor, task } => self.accept(executor, task).await,
            Call::Reject {
                executor,
                task,
                reason,
                retry,
            } => self.reject(executor, task, reason, retry).await,
            Call::CloseExecutor(executor) => self.close_executor(executor).await,
            Call::OpenActivity(options) => self.open_activity(options).await,
            Call::Exec {
                activity,
                steps,
                timeout,
            } => self.exec(activity, steps, timeout).await,
            Call::NextEvent(activity) => self.next_event(activity).await,
            Call::CloseActivity(activity) => self.close_activity(activity).await,
            Call::Pods => self.pods().await,
            Call::List(directory) => self.list(directory).await,
            Call::Stat(at) => self.stat(at).await,
            Call::Read { file, most } => self.read(file, most).await,
            Call::Write { file, content } => self.write(file, content).await,
            Call::MakeDirectory(at) => self.make_directory(at).await,
            Call::Remove(at) => self.remove(at).await,
            Call::CreatePod(name) => self.create_pod(name).await,
            Call::Share(pod) => self.share(pod).await,
            Call::Receive(reference) => self.receive(reference).await,
        }
    }

    /// For a note that the script let go of an object: what ends that object.
    pub(crate) fn let_go(&self, note: &Note) -> Option<impl Future<Output = ()> + use<>> {
        match note {
            Note::DropExecutor(handle) | Note::DropActivity(handle) => self.objects.let_go(*handle),
            _ => None,
        }
    }
}

/// The handles that a call names.
fn handles(call: &Call) -> [Option<Handle>; 2] {
    let of_place = |place: &Place| match place {
        Place::Provider { activity, .. } => Some(*activity),
        Place::Workspace(_) | Place::Dfs(_) => None,
    };
    match call {
        Call::Copy {
            source,
            destination,
        } => [of_place(source), of_place(destination)],
        Call::OnWorkerStart { executor, .. }
        | Call::Submit { executor, .. }
        | Call::NextOutcome(executor)
        | Call::Accept { executor, .. }
        | Call::Reject { executor, .. }
        | Call::CloseExecutor(executor) => [Some(*executor), None],
        Call::Exec { activity, .. } | Call::NextEvent(activity) | Call::CloseActivity(activity) => {
            [Some(*activity), None]
        }
        Call::OpenExecutor(_)
        | Call::OpenActivity(_)
        | Call::Pods
        | Call::List(_)
        | Call::Stat(_)
        | Call::Read { .. }
        | Call::Write { .. }
        | Call::MakeDirectory(_)
        | Call::Remove(_)
        | Call::CreatePod(_)
        | Call::Share(_)
        | Call::Receive(_) => [None, None],
    }
}

/// What the gate lets through without there being anything behind it; cannot happen, and does no harm.
fn absent(what: &str) -> Error {
    Error::Unavailable(format!("there is no {what} in this run"))
}

/// Runs what blocks, such as a database or a slow disk, where it keeps nobody waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Unavailable(format!("a part of the host failed: {error}")))
}
