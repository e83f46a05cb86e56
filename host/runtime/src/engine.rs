//! The one engine configuration that compile, runner and work children share.
//!
//! Native code made by one process is loaded by another, so all of them must agree on every setting that changes
//! code. The settings live here and nowhere else, and [`fingerprint`] names them: code compiled under one
//! fingerprint is never loaded under another.
//!
//! What toolchains do not need is off: each wasm proposal is attack surface in the compiler and in the runtime.
//! Instances are made on demand. A pool saves microseconds that a program with one instance does not notice, costs
//! address space, and has leaked data between instances in the past. Linear memories keep the default reservation
//! of 4 GiB of address space, because it lets the compiler leave out bounds checks; what a pod really uses is capped
//! by [`crate::limits`] and, should that fail, by the process's own limit on data.

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm, Strategy};

/// How often a running guest is interrupted to let the host look at deadlines.
pub const TICK: Duration = Duration::from_millis(10);

/// Stack of a guest. Interpreters inside guests recurse deeply; the default of half of this is tight for them.
const WASM_STACK: usize = 1 << 20;

/// Stack of the fiber on which a guest and the host functions it calls run.
const FIBER_STACK: usize = 2 << 20;

/// Frames kept of a guest's backtrace.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::new(32).unwrap();

/// The configuration, for a process that compiles as well as for one that only runs what was compiled.
fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES))
        .wasm_component_model(true)
        .concurrency_support(false)
        // Tail calls stay on: the JavaScript engine in components uses them. Multiple memories stay on: between two
        // instances of one component, wasmtime puts an adapter module that has the memories of both. The limiter sums
        // them all.
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_stack_switching(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .shared_memory(false);
    config
}

/// Makes the engine of a process that compiles. One per process: objects of two engines must not meet.
///
/// # Errors
/// The configuration is not possible on this machine.
pub fn new() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// Makes the engine of a process that only runs what was compiled: the same, without setting up a compiler.
///
/// # Errors
/// The configuration is not possible on this machine.
pub fn without_compiler() -> wasmtime::Result<Engine> {
    Engine::new(config().enable_compiler(false))
}

/// Names everything that decides whether native code fits this engine: wasmtime's version, the target, processor
/// features, compiler flags and proposals. 64 hexadecimal digits.
#[must_use]
pub fn fingerprint(engine: &Engine) -> String {
    struct Digester(Sha256);
    impl Hasher for Digester {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            let digest = self.0.clone().finalize();
            digest
                .iter()
                .take(8)
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        }
    }
    let mut digester = Digester(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut digester);
    hex::encode(digester.0.finalize())
}

/// Maps native code from an open file, without copying it.
///
/// The file is opened again through `/proc/self/fd`, which names the very file that is open and not a path that
/// somebody may have replaced since.
///
/// # Errors
/// The file cannot be mapped, or was made by another version or configuration.
///
/// # Safety
/// The file must hold what [`Engine::precompile_component`] made under the same [`fingerprint`], and nobody may
/// change it while the component lives: forged content is native code of the forger's choice.
pub unsafe fn load(engine: &Engine, code: &File) -> wasmtime::Result<Component> {
    let path = format!("/proc/self/fd/{}", code.as_raw_fd());
    // SAFETY: what this needs is what the caller promises.
    unsafe { Component::deserialize_file(engine, path) }
}

/// Moves the engine's epoch on, every [`TICK`], on a thread of its own until dropped.
///
/// A thread and not a task: while a guest computes, it holds the only thread that runs tasks.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<AtomicBool>,
}

impl Ticker {
    /// Starts ticking.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(engine: &Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let engine = engine.weak();
        std::thread::Builder::new()
            .name("epoch".into())
            .stack_size(64 << 10)
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    std::thread::sleep(TICK);
                    match engine.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => break,
                    }
                }
            })?;
        Ok(Self { stop })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_engines_have_one_fingerprint() {
        let first = fingerprint(&new().unwrap());
        assert_eq!(first, fingerprint(&new().unwrap()));
        assert_eq!(first.len(), 64);
    }

    #[test]
    fn another_setting_is_another_fingerprint() {
        let mut other = config();
        other.cranelift_nan_canonicalization(true);
        let other = Engine::new(&other).unwrap();
        assert_ne!(fingerprint(&new().unwrap()), fingerprint(&other));
    }

    #[test]
    fn proposals_nobody_needs_are_refused() {
        let engine = new().unwrap();
        // (memory i64 1): the memory's limits flag 4 asks for memory64.
        let memory64 = b"\0asm\x01\0\0\0\x05\x03\x01\x04\x01";
        assert!(wasmtime::Module::validate(&engine, memory64).is_err());
        // (memory 1 1 shared): flag 2 says so, and its maximum follows its minimum.
        let shared = b"\0asm\x01\0\0\0\x05\x04\x01\x03\x01\x01";
        assert!(wasmtime::Module::validate(&engine, shared).is_err());
        // One plain memory is fine, so the two above fail for the right reason.
        let plain = b"\0asm\x01\0\0\0\x05\x03\x01\x00\x01";
        wasmtime::Module::validate(&engine, plain).unwrap();
    }
}
