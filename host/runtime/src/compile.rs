//! Compiling, in a child: the engine's promise of safety does not cover it. A small file can be made so that compiling
//! takes minutes and gigabytes, and no setting of the compiler prevents that; a deadline and a memory limit do.
//!
//! The child gets a copy of the wasm that nobody can change, and an empty file for the native code. It reaches no
//! path, so the worst that a taken-over compiler can do is to give wrong code, and that runs behind the walls of the
//! pod or work it came from.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use sovr_capability::Untrusted;
use sovr_sandbox::Role;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::ComponentEncoder;

use crate::code::{CodeError, CompileLimits};
use crate::engine;
use crate::errand::{self, Allowed, ErrandError};
use crate::examine::Kind;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    kind: Kind,
}

#[derive(Debug, Serialize, Deserialize)]
enum Fault {
    Adapt(Untrusted),
    Compile(Untrusted),
    /// The code has more bytes than it may have.
    TooLarge,
    Io(String),
}

/// Compiles `wasm`, which is of this kind, into the empty file `code`. A core module becomes a command component on the
/// way.
pub(crate) async fn compile(
    wasm: OwnedFd,
    kind: Kind,
    code: OwnedFd,
    limits: &CompileLimits,
) -> Result<(), CodeError> {
    let allowed = Allowed {
        time: limits.time,
        memory: limits.memory,
        file_size: limits.code,
        threads: true,
    };
    let answer: Result<(), Fault> = errand::send(
        Role::Compile,
        &allowed.confinement(),
        vec![wasm, code],
        &Order { kind },
        limits.time,
    )
    .await?;
    answer.map_err(|fault| match fault {
        Fault::Adapt(why) => CodeError::Adapt(why),
        Fault::Compile(why) => CodeError::Compile(why),
        Fault::TooLarge => CodeError::Limit(format!(
            "the native code has more than {} bytes",
            limits.code
        )),
        Fault::Io(why) => CodeError::Child(why),
    })
}

impl From<ErrandError> for CodeError {
    fn from(error: ErrandError) -> Self {
        if error.is_limit() {
            Self::Limit(error.to_string())
        } else {
            Self::Child(error.to_string())
        }
    }
}

/// The compile child.
pub(crate) fn main() -> ExitCode {
    errand::serve(|order: Order, files, _| work(&order, files))
}

fn work(order: &Order, files: Vec<File>) -> Result<(), Fault> {
    let Ok([mut source, mut target]) = <[File; 2]>::try_from(files) else {
        return Err(Fault::Io("two files are needed".to_owned()));
    };
    let mut wasm = errand::read_whole(&mut source).map_err(|error| Fault::Io(error.to_string()))?;
    if order.kind == Kind::Module {
        wasm = adapt(&wasm).map_err(|reason| Fault::Adapt(reason.into()))?;
    }
    let code = engine::new()
        .and_then(|engine| engine.precompile_component(&wasm))
        .map_err(|error| Fault::Compile(format!("{error:#}").into()))?;
    target.write_all(&code).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => Fault::TooLarge,
        _ => Fault::Io(format!("the native code could not be stored: {error}")),
    })
}

/// A component that does with WASI 0.2 what the module does with preview 1.
fn adapt(module: &[u8]) -> Result<Vec<u8>, String> {
    ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| {
            encoder.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
            )
        })
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| format!("{error:#}"))
}
