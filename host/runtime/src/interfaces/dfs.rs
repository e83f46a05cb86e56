//! `sovr:pod/dfs`: each call is one call of the broker.

use super::Guest;
use crate::bindings::dfs::{Entry, Host, Location};
use crate::bindings::errors::Error;
use crate::wire::{Call, Reply};

impl Host for Guest {
    async fn pods(&mut self) -> wasmtime::Result<Result<Vec<String>, Error>> {
        self.broker
            .ask(Call::Pods, |reply| match reply {
                Reply::Names(names) => Some(names),
                _ => None,
            })
            .await
    }

    async fn list(&mut self, directory: Location) -> wasmtime::Result<Result<Vec<Entry>, Error>> {
        self.broker
            .ask(Call::List(directory), |reply| match reply {
                Reply::Entries(entries) => Some(entries),
                _ => None,
            })
            .await
    }

    async fn stat(&mut self, at: Location) -> wasmtime::Result<Result<Entry, Error>> {
        self.broker
            .ask(Call::Stat(at), |reply| match reply {
                Reply::Entry(entry) => Some(entry),
                _ => None,
            })
            .await
    }

    async fn read(
        &mut self,
        file: Location,
        most: u64,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        self.broker
            .ask(Call::Read { file, most }, |reply| match reply {
                Reply::Bytes(bytes) => Some(bytes),
                _ => None,
            })
            .await
    }

    async fn write(
        &mut self,
        file: Location,
        content: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.broker.order(Call::Write { file, content }).await
    }

    async fn make_directory(&mut self, at: Location) -> wasmtime::Result<Result<(), Error>> {
        self.broker.order(Call::MakeDirectory(at)).await
    }

    async fn remove(&mut self, at: Location) -> wasmtime::Result<Result<(), Error>> {
        self.broker.order(Call::Remove(at)).await
    }

    async fn create_pod(&mut self, name: String) -> wasmtime::Result<Result<(), Error>> {
        self.broker.order(Call::CreatePod(name)).await
    }

    async fn share(&mut self, pod: String) -> wasmtime::Result<Result<String, Error>> {
        self.broker.ask(Call::Share(pod), text).await
    }

    async fn receive(&mut self, reference: String) -> wasmtime::Result<Result<String, Error>> {
        self.broker.ask(Call::Receive(reference), text).await
    }
}

/// A reply that is a text.
fn text(reply: Reply) -> Option<String> {
    match reply {
        Reply::Text(text) => Some(text),
        _ => None,
    }
}
