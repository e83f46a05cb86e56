//! The runner: the child process in which a pod's script runs.
//!
//! It knows one guest, the directories of its pod and one socket. It keeps the guest's limits so that a guest that
//! hits one is told about in the best words there are; that it keeps them is not relied upon, because whoever escapes
//! from wasm is here. The broker and the kernel keep the same limits from outside.
//!
//! It starts often and runs briefly, so it does nothing that can be left out: one thread runs guest and tasks alike,
//! native code is mapped and not compiled or copied, and the end is not tidied up but left to the kernel.

pub(crate) mod broker;

use std::process::ExitCode;

use sovr_capability::Untrusted;
use sovr_sandbox::frame::{self, FrameError};
use sovr_sandbox::{EnterError, Entered};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::Notify;
use wasmtime::component::Linker;
use wasmtime::{Store, WasmBacktrace};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx};

use crate::bindings::ScriptPre;
use crate::engine::{self, Ticker};
use crate::interfaces::{self, Bars, Guest, Log};
use crate::limits::{self, Limit, Limiter};
use crate::output::{Allowance, Printer, Stream};
use crate::wire::{
    BACKTRACE, BACKTRACE_LINE, Directories, FRAME_TO_RUNNER, REASON, RunEnd, Start, ToRunner,
    VERSION, cut,
};
use broker::{Broker, Fault};

/// Why there was nothing to run.
#[derive(Debug, thiserror::Error)]
enum RunnerError {
    #[error("cannot enter the sandbox: {0}")]
    Enter(#[from] EnterError),
    #[error("cannot use the channel to the broker: {0}")]
    Channel(#[from] std::io::Error),
    #[error("cannot understand the broker: {0}")]
    Frame(#[from] FrameError),
    #[error("the broker went away before it said what to run")]
    Gone,
    #[error("the broker began with something else than what to run")]
    OutOfOrder,
}

/// What the process does, from its start to its end.
pub(crate) fn main() -> ExitCode {
    let served = sovr_sandbox::enter()
        .map_err(RunnerError::from)
        .and_then(|entered| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build()?;
            runtime.block_on(serve(entered))
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error goes to the broker, which keeps its beginning for whoever looks for the cause.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(entered: Entered) -> Result<(), RunnerError> {
    entered.channel.set_nonblocking(true)?;
    let (reader, writer) = UnixStream::from_std(entered.channel)?.into_split();
    let mut reader = frame::Reader::new(reader, FRAME_TO_RUNNER);
    let start = match reader.next().await? {
        Some(ToRunner::Start(start)) => *start,
        Some(_) => return Err(RunnerError::OutOfOrder),
        None => return Err(RunnerError::Gone),
    };

    let broker = Broker::new();
    let cancelled = Notify::new();
    let guest = async {
        let end = run(start, &entered.files, &broker, &cancelled).await;
        broker.end(end);
        // Nothing follows. The broker ends this process when it has read so far.
        std::future::pending().await
    };
    tokio::select! {
        () = guest => Ok(()),
        ended = listen(&mut reader, &broker, &cancelled) => Ok(ended?),
        ended = broker.write(writer) => Ok(ended?),
    }
}

/// Takes what the broker says, until it goes away.
async fn listen(
    reader: &mut frame::Reader<OwnedReadHalf>,
    broker: &Broker,
    cancelled: &Notify,
) -> Result<(), FrameError> {
    while let Some(message) = reader.next().await? {
        match message {
            ToRunner::Answer { id, result } => broker.answered(id, result),
            ToRunner::Cancel => cancelled.notify_one(),
            // Said once and taken already.
            ToRunner::Start(_) => {}
        }
    }
    Ok(())
}

/// Runs the guest to its end, whichever that is.
async fn run(start: Start, files: &[std::fs::File], broker: &Broker, cancelled: &Notify) -> RunEnd {
    if start.version != VERSION {
        return broken(format!(
            "the broker speaks version {} of the protocol instead of {VERSION}",
            start.version
        ));
    }
    let time = start.limits.time.duration();
    let loaded = match load(start, files, broker) {
        Ok(loaded) => loaded,
        Err(end) => return end,
    };
    let Loaded {
        mut store,
        script,
        ticker: _ticker,
    } = loaded;
    broker.ready().await;
    limits::apply(&mut store, time, |guest| &mut guest.limiter);
    let ended = tokio::select! {
        biased;
        () = cancelled.notified() => Err(RunEnd::Cancelled),
        // For a guest that waits. One that computes is trapped, which tells where it was.
        () = tokio::time::sleep(time) => Err(RunEnd::Limit { limit: Limit::Time, backtrace: Vec::new() }),
        result = call(&mut store, &script) => Ok(result),
    };
    store.data_mut().log.account(broker);
    match ended {
        Ok(result) => end_of(result, &store.data().limiter),
        Err(end) => end,
    }
}

struct Loaded {
    store: Store<Guest>,
    script: ScriptPre<Guest>,
    ticker: Ticker,
}

fn load(start: Start, files: &[std::fs::File], broker: &Broker) -> Result<Loaded, RunEnd> {
    let Some(code) = files.first() else {
        return Err(broken("no code was given"));
    };
    let engine = engine::without_compiler()
        .map_err(|error| broken(format!("cannot make the wasm engine: {error:#}")))?;
    // SAFETY: the broker gives what its cache made or verified, and the cache compiles with this same engine.
    let component = unsafe { engine::load(&engine, code) }
        .map_err(|error| broken(format!("cannot load the compiled code: {error:#}")))?;
    let mut linker = Linker::new(&engine);
    interfaces::link(&mut linker, &component)
        .map_err(|error| broken(format!("cannot link the host's interfaces: {error:#}")))?;
    let script = linker
        .instantiate_pre(&component)
        .and_then(ScriptPre::new)
        .map_err(|error| RunEnd::Refused {
            reason: Untrusted::new(cut(format!("{error:#}"), REASON)),
        })?;
    let ticker = Ticker::start(&engine)
        .map_err(|error| broken(format!("cannot start the clock: {error}")))?;
    let allowance = Allowance::new(start.limits.log.as_bytes());
    let guest = Guest {
        wasi: wasi(&start, broker, &allowance)
            .map_err(|error| broken(format!("cannot open the pod's directories: {error:#}")))?,
        table: limits::host_objects(),
        limiter: Limiter::new(start.limits.memory.as_bytes()),
        broker: broker.clone(),
        identity: start.identity,
        grants: start.grants,
        log: Log::new(allowance),
        bars: Bars::new(),
    };
    Ok(Loaded {
        store: Store::new(&engine, guest),
        script,
        ticker,
    })
}

fn wasi(start: &Start, broker: &Broker, allowance: &Allowance) -> wasmtime::Result<WasiCtx> {
    let mut wasi = WasiCtx::builder();
    wasi.args(&start.args)
        .envs(&start.env)
        .initial_cwd("/")
        .stdout(Printer::new(
            Stream::Stdout,
            broker.clone(),
            allowance.clone(),
        ))
        .stderr(Printer::new(
            Stream::Stderr,
            broker.clone(),
            allowance.clone(),
        ))
        .max_random_size(limits::RANDOM_BYTES)
        // There is one guest and one thread: to hand each read and write to another thread would only cost time. A
        // call that blocks for ever is ended from outside.
        .allow_blocking_current_thread(true);
    let Directories {
        payload,
        script,
        output,
        logs,
        tmp,
    } = &start.directories;
    for (path, name) in [(payload, "/payload"), (script, "/script")] {
        if let Some(path) = path {
            wasi.preopened_dir(path, name, FsPerms::ReadOnly)?;
        }
    }
    for (path, name) in [(output, "/output"), (logs, "/logs"), (tmp, "/tmp")] {
        wasi.preopened_dir(path, name, FsPerms::ReadWrite)?;
    }
    Ok(wasi.build())
}

/// Makes the instance, which may run code of the guest already, and calls it.
async fn call(
    store: &mut Store<Guest>,
    script: &ScriptPre<Guest>,
) -> wasmtime::Result<Result<(), ()>> {
    let script = script.instantiate_async(&mut *store).await?;
    script.wasi_cli_run().call_run(store).await
}

/// What the end of a guest means.
fn end_of(result: wasmtime::Result<Result<(), ()>>, limiter: &Limiter) -> RunEnd {
    let error = match result {
        Ok(Ok(())) => return RunEnd::Completed,
        Ok(Err(())) => return RunEnd::Failed { code: 1 },
        Err(error) => error,
    };
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return if exit.0 == 0 {
            RunEnd::Completed
        } else {
            RunEnd::Failed { code: exit.0 }
        };
    }
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return broken(fault.to_string());
    }
    let backtrace = backtrace(&error);
    // A guest whose allocator got nothing traps by a means of its own.
    match limits::limit_of(&error).or_else(|| limiter.refused().then_some(Limit::Memory)) {
        Some(limit) => RunEnd::Limit { limit, backtrace },
        None => RunEnd::Trapped {
            reason: Untrusted::new(cut(error.root_cause().to_string(), REASON)),
            backtrace,
        },
    }
}

/// The guest's frames, innermost first, by the names its own code gives them.
fn backtrace(error: &wasmtime::Error) -> Vec<Untrusted> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let line = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => name.to_owned(),
        None => format!("function {}", frame.func_index()),
    };
    backtrace
        .frames()
        .iter()
        .take(BACKTRACE)
        .map(|frame| Untrusted::new(cut(line(frame), BACKTRACE_LINE)))
        .collect()
}

fn broken(reason: impl Into<String>) -> RunEnd {
    RunEnd::Broken {
        reason: Untrusted::new(cut(reason.into(), REASON)),
    }
}
