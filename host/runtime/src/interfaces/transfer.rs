//! `sovr:pod/transfer`: the broker copies; only names go there.

use super::Guest;
use crate::bindings::errors::Error;
use crate::bindings::transfer::{Host, Place, Receipt};
use crate::wire::{self, Call, Reply};

impl Guest {
    /// A place with the activity's handle in place of the borrowed object.
    fn place(&self, place: Place) -> wasmtime::Result<wire::Place> {
        Ok(match place {
            Place::Workspace(path) => wire::Place::Workspace(path),
            Place::Dfs(location) => wire::Place::Dfs(location),
            Place::Provider((activity, path)) => wire::Place::Provider {
                activity: self.table.get(&activity)?.handle,
                path,
            },
        })
    }
}

impl Host for Guest {
    async fn copy(
        &mut self,
        source: Place,
        destination: Place,
    ) -> wasmtime::Result<Result<Receipt, Error>> {
        let call = Call::Copy {
            source: self.place(source)?,
            destination: self.place(destination)?,
        };
        self.broker
            .ask(call, |reply| match reply {
                Reply::Receipt { bytes, sha256 } => Some(Receipt { bytes, sha256 }),
                _ => None,
            })
            .await
    }
}
