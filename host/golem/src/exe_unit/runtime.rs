//! What an exe-unit stands on: something that unpacks packages and runs their programs.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sovr_runtime::code::{self, CompileLimits, Purpose};
use sovr_runtime::limits::Limit;
use sovr_runtime::package::{Manifest, PackageLimits, unpack};
use sovr_runtime::quota::Watch;
use sovr_runtime::work::{Volume, Work, WorkEnd, WorkEvent, WorkLimits, WorkRequest};

pub use super::clock::Meter;
use super::container::open_package_file;
use super::{Limits, storage};

/// Unpacks packages and runs programs. Errors are for people.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Unpacks an archive into a directory that is empty.
    async fn unpack(&self, archive: File, directory: &Path) -> Result<Manifest, String>;

    /// Starts a program.
    async fn start(&self, start: Start<'_>) -> Result<Box<dyn Program>, String>;

    /// What is sent of a file that a requestor fetches.
    fn outgoing(&self, file: File, length: u64) -> Box<dyn Read + Send> {
        let _ = length;
        Box::new(file)
    }
}

/// A program to be started.
#[derive(Debug)]
pub struct Start<'a> {
    /// Directory of the unpacked package.
    pub package: &'a Path,
    /// Path of the program's wasm in it.
    pub wasm: &'a str,
    /// Arguments, the program's own name first.
    pub args: Vec<String>,
    /// What it sees of the file system.
    pub volumes: Vec<Volume>,
    /// What it may take.
    pub limits: Limits,
}

/// A program that runs. Dropping it ends it.
#[async_trait]
pub trait Program: Send {
    /// The next thing that happened; none after its end. May be dropped while it waits.
    async fn next(&mut self) -> Option<ProgramEvent>;

    /// Its processor time. Without it, the time that it runs stands for that: it computes in one thread.
    fn meter(&self) -> Option<Meter> {
        None
    }
}

/// What a running program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramEvent {
    /// It printed this.
    Stdout(Vec<u8>),
    /// It printed this to standard error.
    Stderr(Vec<u8>),
    /// It is over.
    End(ProgramEnd),
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramEnd {
    /// By itself, with this code.
    Exited(i32),
    /// A limit or its own fault ended it.
    Stopped(String),
    /// What it ran on is gone.
    Lost(String),
}

/// Programs in confined children of this process.
pub struct Children {
    code: Arc<code::Cache>,
}

impl Children {
    /// Programs are compiled through this cache.
    #[must_use]
    pub fn new(code: Arc<code::Cache>) -> Self {
        Self { code }
    }
}

#[async_trait]
impl Runtime for Children {
    async fn unpack(&self, archive: File, directory: &Path) -> Result<Manifest, String> {
        unpack(archive, directory, PackageLimits::default())
            .await
            .map_err(|error| error.to_string())
    }

    async fn start(&self, start: Start<'_>) -> Result<Box<dyn Program>, String> {
        let wasm = open_package_file(start.package, start.wasm)
            .map_err(|error| format!("cannot open `{}` of the package: {error}", start.wasm))?;
        let compiled = self
            .code
            .get_or_compile(&wasm, Purpose::Work, &CompileLimits::default())
            .await
            .map_err(|error| error.to_string())?;
        let volumes = start.volumes.clone();
        let work = Work::start(WorkRequest {
            code: compiled.file,
            args: start.args,
            env: Vec::new(),
            volumes: start.volumes,
            limits: WorkLimits {
                memory: start.limits.memory,
                time: start.limits.time,
                output: start.limits.output,
                file_size: start.limits.file,
            },
        })
        .await
        .map_err(|error| error.to_string())?;
        Ok(Box::new(Child {
            storage: Some(storage::watch(&volumes, &start.limits, Some(work.id()))),
            work,
            limits: start.limits,
            exceeded: None,
        }))
    }
}

struct Child {
    work: Work,
    /// Until the end of the program, or until it keeps too much.
    storage: Option<Watch>,
    limits: Limits,
    /// What it kept too much of.
    exceeded: Option<Limit>,
}

impl Child {
    /// The next thing that happened. A program that keeps too much is killed, which is seen as its end.
    async fn event(&mut self) -> Option<WorkEvent> {
        if let Some(storage) = &mut self.storage {
            let limit = tokio::select! {
                biased;
                limit = storage.exceeded() => limit,
                event = self.work.next() => return event,
            };
            self.storage = None;
            self.exceeded = Some(limit);
            self.work.kill();
        }
        self.work.next().await
    }
}

#[async_trait]
impl Program for Child {
    async fn next(&mut self) -> Option<ProgramEvent> {
        let event = self.event().await?;
        if matches!(event, WorkEvent::End(_)) {
            if let Some(storage) = self.storage.take() {
                self.exceeded = storage.finish().await;
            }
            if let Some(limit) = &self.exceeded {
                let reason = storage::exceeded(limit, &self.limits);
                return Some(ProgramEvent::End(ProgramEnd::Stopped(reason)));
            }
        }
        Some(match event {
            WorkEvent::Stdout(bytes) => ProgramEvent::Stdout(bytes),
            WorkEvent::Stderr(bytes) => ProgramEvent::Stderr(bytes),
            WorkEvent::End(end) => ProgramEvent::End(match end {
                WorkEnd::Exited(code) => ProgramEnd::Exited(code),
                WorkEnd::Limit(limit) => ProgramEnd::Stopped(limit.to_string()),
                WorkEnd::Trapped(text) | WorkEnd::Refused(text) => {
                    ProgramEnd::Stopped(text.into_raw())
                }
                WorkEnd::Killed => ProgramEnd::Lost("it was killed".to_owned()),
                WorkEnd::Broken(text) => ProgramEnd::Lost(text.into_raw()),
            }),
        })
    }

    fn meter(&self) -> Option<Meter> {
        let meter = self.work.meter();
        Some(Arc::new(move || meter.time()))
    }
}
