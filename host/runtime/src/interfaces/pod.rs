//! `sovr:pod/pod`: what the broker said at the start.

use super::Guest;
use crate::bindings::pod::{Host, Identity};

impl Host for Guest {
    async fn who_am_i(&mut self) -> wasmtime::Result<Identity> {
        Ok(self.identity.clone())
    }

    async fn grants(&mut self) -> wasmtime::Result<String> {
        Ok(self.grants.clone())
    }
}
