//! What a guest can call, one file per interface of the contract.
//!
//! Nothing is decided here. A call becomes a message to the broker, which knows what was granted; its answer goes back
//! to the guest as it came. What the broker said at the start (identity, grants) and what it said when an object was
//! made (terms, provider) is kept, so that asking again costs nothing.

mod dfs;
pub(crate) mod golem;
mod log;
mod pod;
pub(crate) mod progress;
mod transfer;

use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::pod::Identity;
use crate::bindings::{self, errors};
use crate::limits::Limiter;
use crate::runner::broker::Broker;

/// Everything the host keeps for the guest.
pub(crate) struct Guest {
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) broker: Broker,
    pub(crate) identity: Identity,
    pub(crate) grants: String,
    pub(crate) log: log::Log,
    pub(crate) bars: progress::Bars,
}

pub(crate) use log::Log;
pub(crate) use progress::Bars;

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl errors::Host for Guest {}

/// Links what the world `sovr:pod/script` offers. What a component imports beyond it is found missing when it is
/// instantiated, by name.
pub(crate) fn link(linker: &mut Linker<Guest>, component: &Component) -> wasmtime::Result<()> {
    crate::wasi::link(linker, component)?;
    bindings::errors::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::pod::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::progress::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::transfer::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::golem::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::dfs::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}
