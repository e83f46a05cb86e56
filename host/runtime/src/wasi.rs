//! WASI 0.2 without a network.
//!
//! Every interface of `wasi:cli/imports` is there but `wasi:sockets`. Many language runtimes import sockets although
//! the program never touches them, so a component that imports them links, to functions that trap. They are not
//! linked to the real ones with everything forbidden: what is not there cannot have a bug.

use wasmtime::bail;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::WasiCli;
use wasmtime_wasi::filesystem::WasiFilesystem;
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};
use wasmtime_wasi::random::WasiRandom;

/// Interfaces that trap when they are called.
const SOCKETS: &str = "wasi:sockets/";

/// Links everything of WASI that a guest may have, and what traps.
///
/// # Errors
/// Only if something was linked before under the same names, or a socket import has no form that sockets have.
pub(crate) fn link<T: WasiView + 'static>(
    linker: &mut Linker<T>,
    component: &Component,
) -> wasmtime::Result<()> {
    // The interfaces of wasi:http/proxy: io, clocks, random/random and the standard streams.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    cli::environment::add_to_linker::<T, WasiCli>(linker, wasmtime_wasi::cli::WasiCliView::cli)?;
    cli::exit::add_to_linker::<T, WasiCli>(linker, wasmtime_wasi::cli::WasiCliView::cli)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(linker, wasmtime_wasi::cli::WasiCliView::cli)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(
        linker,
        wasmtime_wasi::cli::WasiCliView::cli,
    )?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(linker, wasmtime_wasi::cli::WasiCliView::cli)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(
        linker,
        wasmtime_wasi::cli::WasiCliView::cli,
    )?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(
        linker,
        wasmtime_wasi::cli::WasiCliView::cli,
    )?;
    filesystem::types::add_to_linker::<T, WasiFilesystem>(
        linker,
        wasmtime_wasi::filesystem::WasiFilesystemView::filesystem,
    )?;
    filesystem::preopens::add_to_linker::<T, WasiFilesystem>(
        linker,
        wasmtime_wasi::filesystem::WasiFilesystemView::filesystem,
    )?;
    random::insecure::add_to_linker::<T, WasiRandom>(
        linker,
        wasmtime_wasi::random::WasiRandomView::random,
    )?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(
        linker,
        wasmtime_wasi::random::WasiRandomView::random,
    )?;
    link_sockets(linker, component)
}

fn link_sockets<T: 'static>(linker: &mut Linker<T>, component: &Component) -> wasmtime::Result<()> {
    /// Stands for every resource of sockets; none is ever made.
    enum Nothing {}

    let engine = component.engine().clone();
    for (import, item) in component.component_type().imports(&engine) {
        let (true, ComponentItem::ComponentInstance(interface)) =
            (import.starts_with(SOCKETS), item.ty)
        else {
            continue;
        };
        let mut instance = linker.instance(import)?;
        for (name, item) in interface.exports(&engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    let function = format!("{import}#{name}");
                    instance.func_new(name, move |_, _, _, _| {
                        bail!("called {function}, but a pod has no network of its own")
                    })?;
                }
                // Resources of other interfaces that this one uses must be the real ones.
                ComponentItem::Resource(_) => {
                    let resource = match name {
                        "pollable" => ResourceType::host::<DynPollable>(),
                        "input-stream" => ResourceType::host::<DynInputStream>(),
                        "output-stream" => ResourceType::host::<DynOutputStream>(),
                        "error" => ResourceType::host::<wasmtime::Error>(),
                        _ => ResourceType::host::<Nothing>(),
                    };
                    instance.resource(name, resource, |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}
