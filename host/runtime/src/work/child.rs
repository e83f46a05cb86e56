//! The work child: one program, its volumes, and a socket to tell what it does.
//!
//! There is one guest and nothing beside it, so whatever may block does so on the only thread: files, and the socket
//! when the parent does not keep up with the output. Deadlines hold all the same, because the parent kills.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sovr_capability::Untrusted;
use sovr_sandbox::frame::{self, FrameError};
use sovr_sandbox::{Entered, enter};
use tokio::io::AsyncWrite;
use wasmtime::Store;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxView, WasiView};

use super::{MESSAGE_MAX, Message, ORDER_MAX, Order, WorkEnd, broken};
use crate::engine::{self, Ticker};
use crate::limits::{self, Limit, Limiter};
use crate::output::Allowance;
use crate::wasi;
use crate::wire::{REASON, cut};

/// Bytes of output in one message.
const CHUNK: usize = 64 << 10;

/// The work child.
pub(crate) fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let Entered {
        mut channel, files, ..
    } = enter()?;
    let order: Order = frame::read(&mut channel, ORDER_MAX)?.ok_or(FrameError::Closed)?;
    let code = files.into_iter().next().ok_or("no code was given")?;
    let parent = Parent(Arc::new(Mutex::new(channel)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let end = runtime
        .block_on(run(&order, &code, &parent))
        .unwrap_or_else(|end| end);
    parent.tell(&Message::End(end))?;
    Ok(())
}

/// What the guest's host functions need.
struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    limiter: Limiter,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

async fn run(order: &Order, code: &File, parent: &Parent) -> Result<WorkEnd, WorkEnd> {
    let engine = engine::without_compiler()
        .map_err(|error| broken(format!("cannot make the wasm engine: {error:#}")))?;
    // SAFETY: the parent gives what its cache made or verified, and the cache compiles with this same engine.
    let component = unsafe { engine::load(&engine, code) }
        .map_err(|error| broken(format!("cannot load the compiled code: {error:#}")))?;
    let mut linker = Linker::new(&engine);
    wasi::link(&mut linker, &component)
        .map_err(|error| broken(format!("cannot link WASI: {error:#}")))?;
    let program = linker
        .instantiate_pre(&component)
        .and_then(CommandPre::new)
        .map_err(|error| WorkEnd::Refused(Untrusted::new(cut(format!("{error:#}"), REASON))))?;
    let _ticker = Ticker::start(&engine)
        .map_err(|error| broken(format!("cannot start the clock: {error}")))?;
    let guest = Guest {
        wasi: context(order, parent)
            .map_err(|error| broken(format!("cannot open the volumes: {error:#}")))?,
        table: limits::host_objects(),
        limiter: Limiter::new(order.limits.memory),
    };
    let mut store = Store::new(&engine, guest);
    parent
        .tell(&Message::Ready)
        .map_err(|error| broken(error.to_string()))?;
    let ended = call(&mut store, &program, order.limits.time).await;
    Ok(end_of(ended, &store.data().limiter))
}

fn context(order: &Order, parent: &Parent) -> wasmtime::Result<WasiCtx> {
    let allowance = Allowance::new(order.limits.output);
    let printer = |message| Printer {
        message,
        parent: parent.clone(),
        allowance: allowance.clone(),
    };
    let mut wasi = WasiCtx::builder();
    wasi.args(&order.args)
        .envs(&order.env)
        .initial_cwd("/")
        .stdout(printer(Message::Stdout))
        .stderr(printer(Message::Stderr))
        .max_random_size(limits::RANDOM_BYTES)
        .allow_blocking_current_thread(true);
    for volume in &order.volumes {
        let access = if volume.writable {
            FsPerms::ReadWrite
        } else {
            FsPerms::ReadOnly
        };
        wasi.preopened_dir(&volume.host, &volume.guest, access)?;
    }
    Ok(wasi.build())
}

/// Makes the instance, which may run code of the guest already, and calls it; for no longer than `time`.
async fn call(
    store: &mut Store<Guest>,
    program: &CommandPre<Guest>,
    time: Duration,
) -> wasmtime::Result<Result<(), ()>> {
    limits::apply(store, time, |guest| &mut guest.limiter);
    let called = async {
        let program = program.instantiate_async(&mut *store).await?;
        program.wasi_cli_run().call_run(store).await
    };
    // For a guest that waits. One that computes is trapped.
    tokio::time::timeout(time, called)
        .await
        .unwrap_or_else(|_| Err(Limit::Time.into()))
}

fn end_of(ended: wasmtime::Result<Result<(), ()>>, limiter: &Limiter) -> WorkEnd {
    let error = match ended {
        Ok(Ok(())) => return WorkEnd::Exited(0),
        Ok(Err(())) => return WorkEnd::Exited(1),
        Err(error) => error,
    };
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return WorkEnd::Exited(exit.0);
    }
    // A guest whose allocator got nothing traps by a means of its own.
    match limits::limit_of(&error).or_else(|| limiter.refused().then_some(Limit::Memory)) {
        Some(limit) => WorkEnd::Limit(limit),
        None => WorkEnd::Trapped(Untrusted::new(cut(error.root_cause().to_string(), REASON))),
    }
}

/// The socket to the parent.
#[derive(Debug, Clone)]
struct Parent(Arc<Mutex<UnixStream>>);

impl Parent {
    fn channel(&self) -> MutexGuard<'_, UnixStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, message: &Message) -> Result<(), FrameError> {
        frame::write(&mut *self.channel(), message, MESSAGE_MAX)
    }
}

/// Standard output or standard error of the program.
#[derive(Debug, Clone)]
struct Printer {
    message: fn(Vec<u8>) -> Message,
    parent: Parent,
    allowance: Allowance,
}

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    /// For WASI 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Printer {
    async fn ready(&mut self) {}
}

impl OutputStream for Printer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let fits = self.allowance.take_up_to(bytes.len());
        for chunk in bytes[..fits].chunks(CHUNK) {
            self.parent
                .tell(&(self.message)(chunk.to_vec()))
                .map_err(|error| StreamError::Trap(error.into()))?;
        }
        if fits < bytes.len() {
            Err(StreamError::Trap(Limit::Log.into()))
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}
