//! The provider's side of an activity.
//!
//! An [`ExeUnit`] takes batches of commands and keeps the order that Golem's own supervisor keeps: deploy, start, then
//! programs and transfers, until it is terminated. Where the order is broken it answers with the supervisor's words,
//! because people search for them. Programs run in confined children; files enter and leave by the unit alone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sovr_runtime::package::Manifest;
use tokio::sync::{mpsc, watch};

use crate::blocking::blocking;
use crate::demand::WasiPackage;
use crate::failure::{Failure, FailureKind};
use crate::step::{BatchEvent, Command, MOST_BYTES, Step, StepResult};
use crate::transfer::{Sink, Source};

mod clock;
pub(crate) mod container;
pub(crate) mod copy;
mod output;
pub mod runtime;
pub(crate) mod scratch;
mod storage;

use clock::Clock;
use container::Container;
use copy::{Gate, Memory};
use output::Capture;
use runtime::{ProgramEnd, ProgramEvent, Runtime, Start};

/// Events of a batch that may wait for the listener.
const QUEUE: usize = 64;

/// What an activity of this unit may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of a program, in bytes.
    pub memory: u64,
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of all files in the volumes together.
    pub storage: u64,
    /// Files and directories in the volumes.
    pub files: u64,
    /// Bytes that a program may print.
    pub output: u64,
    /// Time of one program.
    pub time: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Initialized,
    Deployed,
    Ready,
    Terminated,
}

/// One activity's runtime.
pub struct ExeUnit {
    runtime: Arc<dyn Runtime>,
    package: WasiPackage,
    limits: Limits,
    /// The unit's own directory; somebody else removes it.
    directory: PathBuf,
    state: State,
    deployment: Option<Deployment>,
    stop: watch::Receiver<bool>,
    gate: Arc<Gate>,
    clock: Arc<Clock>,
}

struct Deployment {
    manifest: Manifest,
    package: PathBuf,
    container: Container,
}

/// Ends a unit from outside.
#[derive(Clone)]
pub struct Ending {
    stop: watch::Sender<bool>,
    gate: Arc<Gate>,
    clock: Arc<Clock>,
}

impl Ending {
    /// Stops what runs, and lets nothing run or be committed any more. The batch that runs ends soon after.
    pub fn end(&self) {
        self.gate.close();
        self.stop.send_replace(true);
    }

    /// Whether the unit was ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.stop.borrow()
    }

    /// Processor time that programs have taken so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.clock.time()
    }
}

/// A batch that is over, and a place in its channel to say so.
#[must_use = "the listener waits for the end"]
pub struct BatchEnd {
    permit: mpsc::OwnedPermit<BatchEvent>,
    result: Result<(), Failure>,
}

impl BatchEnd {
    /// Tells the listener.
    pub fn tell(self) {
        self.permit.send(BatchEvent::Ended(self.result));
    }
}

/// Why a batch ends before its end.
enum Abort {
    /// A command failed, and this is why.
    Failed(Box<Failure>),
    /// The unit was ended, or nobody listens any more.
    Stopped,
}

impl From<Failure> for Abort {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

fn state_error(message: &str) -> Failure {
    Failure::new(
        FailureKind::CommandFailed,
        format!("Local service error: State error: {message}"),
    )
}

/// What is answered to a batch that comes while another one runs.
#[must_use]
pub fn busy() -> String {
    "Local service error: State error: Busy: StatePair(Ready, Some(Ready))".to_owned()
}

impl ExeUnit {
    /// A unit that keeps its files beneath `directory`, which must exist and be its own.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        package: WasiPackage,
        limits: Limits,
        directory: &Path,
    ) -> (Self, Ending) {
        let (stop, stopped) = watch::channel(false);
        let clock = Arc::new(Clock::default());
        let gate = Arc::new(Gate::default());
        let ending = Ending {
            stop,
            gate: Arc::clone(&gate),
            clock: Arc::clone(&clock),
        };
        let unit = Self {
            runtime,
            package,
            limits,
            directory: directory.to_owned(),
            state: State::Initialized,
            deployment: None,
            stop: stopped,
            gate,
            clock,
        };
        (unit, ending)
    }

    /// A channel for the events of one batch.
    #[must_use]
    pub fn events() -> (mpsc::Sender<BatchEvent>, mpsc::Receiver<BatchEvent>) {
        // One place is kept for the end of the batch.
        mpsc::channel(QUEUE + 1)
    }

    /// Runs a batch to its end, which whoever calls tells when the next batch may come. The listener hears of the end
    /// even if it has not heard everything before. None if nobody listens.
    pub async fn run(
        &mut self,
        batch: Vec<Command>,
        events: mpsc::Sender<BatchEvent>,
    ) -> Option<BatchEnd> {
        let permit = events.clone().reserve_owned().await.ok()?;
        let mut teller = Teller {
            events,
            stop: self.stop.clone(),
        };
        let result = match self.commands(batch, &mut teller).await {
            Ok(()) => Ok(()),
            Err(Abort::Failed(failure)) => Err(*failure),
            Err(Abort::Stopped) => Err(Failure::new(
                FailureKind::Cancelled,
                "the activity was ended",
            )),
        };
        Some(BatchEnd { permit, result })
    }

    async fn commands(&mut self, batch: Vec<Command>, teller: &mut Teller) -> Result<(), Abort> {
        for (index, command) in (0..).zip(batch) {
            teller.tell(BatchEvent::Started(index)).await?;
            let result = match self.command(index, command, teller).await {
                Err(Abort::Failed(mut failure)) => {
                    failure.step = Some(index);
                    if failure.kind == FailureKind::ProviderLost {
                        self.state = State::Terminated;
                    }
                    return Err(Abort::Failed(failure));
                }
                result => result?,
            };
            teller.tell(BatchEvent::Finished(index, result)).await?;
        }
        Ok(())
    }

    async fn command(
        &mut self,
        index: u32,
        command: Command,
        teller: &mut Teller,
    ) -> Result<StepResult, Abort> {
        self.check_order(&command)?;
        match command {
            Command::Deploy => {
                if let Err(abort) = self.deploy(teller.progress(index)).await {
                    let _ = self.undeploy().await;
                    return Err(abort);
                }
                self.state = State::Deployed;
                Ok(StepResult::default())
            }
            Command::Start => {
                self.state = State::Ready;
                Ok(StepResult::default())
            }
            Command::Terminate => {
                // What stays of it is in the way of the next deployment, which tries again.
                let _ = self.undeploy().await;
                self.state = State::Initialized;
                Ok(StepResult::default())
            }
            Command::Step(Step::Send {
                source,
                destination,
            }) => self.send(index, source, destination, teller).await,
            Command::Step(Step::Download { source, sink }) => {
                self.fetch(index, source, sink, teller).await
            }
            Command::Step(Step::DownloadBytes { source, most }) => {
                let memory = Arc::new(Memory::new(most.min(MOST_BYTES)));
                let sink = Arc::clone(&memory) as Arc<dyn Sink>;
                let result = self.fetch(index, source, sink, teller).await?;
                Ok(StepResult {
                    bytes: Some(memory.take()),
                    ..result
                })
            }
            Command::Step(Step::Run { program, args }) => {
                self.program(index, &program, args, teller).await
            }
        }
    }

    fn check_order(&self, command: &Command) -> Result<(), Failure> {
        let expected = match (self.state, command) {
            (State::Initialized, Command::Deploy | Command::Terminate)
            | (State::Deployed, Command::Start | Command::Terminate)
            | (
                State::Deployed,
                Command::Step(
                    Step::Send { .. } | Step::Download { .. } | Step::DownloadBytes { .. },
                ),
            )
            | (State::Ready, Command::Step(_) | Command::Terminate) => return Ok(()),
            (State::Initialized, _) => "Activity is initialized - deploy() command is expected now",
            (State::Deployed, _) => "Activity is deployed - start() command is expected now",
            (State::Ready, _) => "Cannot send command after a successful start()",
            (State::Terminated, _) => "Activity is terminated",
        };
        Err(state_error(expected))
    }

    /// Where the deployment is. There is one place, so that whoever deploys again and again fills it once.
    fn place(&self) -> PathBuf {
        self.directory.join("deployment")
    }

    /// Removes the deployment with all its files.
    async fn undeploy(&mut self) -> io::Result<()> {
        self.deployment = None;
        let place = self.place();
        match blocking(move || std::fs::remove_dir_all(place)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Unpacks the package, with a fresh volume for each of its mount points.
    async fn deploy(
        &mut self,
        progress: impl Fn(u64, Option<u64>) + Send + 'static,
    ) -> Result<(), Abort> {
        let failed = |reason: String| {
            Failure::new(
                FailureKind::CommandFailed,
                format!("cannot deploy the package: {reason}"),
            )
        };
        let removed = self.undeploy().await;
        removed.map_err(|error| failed(format!("the one before it cannot be removed: {error}")))?;
        let directory = self.place();
        let archive = self.archive(&directory, progress).await?;
        let package = directory.join("package");
        let unpack = async {
            tokio::fs::create_dir(&package)
                .await
                .map_err(|error| error.to_string())?;
            self.runtime.unpack(archive, &package).await
        };
        let manifest = self.unless_stopped(unpack).await?.map_err(failed)?;
        let container = Container::new(&manifest.mount_points, &directory)
            .map_err(|error| failed(format!("its volumes cannot be made: {error}")))?;
        self.deployment = Some(Deployment {
            manifest,
            package,
            container,
        });
        Ok(())
    }

    /// Copies the archive to the provider and checks its digest there.
    async fn archive(
        &self,
        directory: &Path,
        progress: impl Fn(u64, Option<u64>) + Send + 'static,
    ) -> Result<std::fs::File, Abort> {
        let package = self.package.clone();
        let directory = directory.to_owned();
        let gate = Arc::clone(&self.gate);
        let most = self.limits.file;
        let copied = blocking(move || {
            std::fs::create_dir(&directory)?;
            copy::fetch_archive(&package, &directory, most, &gate, &progress)
        })
        .await;
        copied.map_err(|error| {
            let what = self.package.archive.describe();
            self.transfer_error(format!("cannot fetch the package {what}"), error)
        })
    }

    fn deployment(&self) -> Result<&Deployment, Failure> {
        self.deployment.as_ref().ok_or_else(|| {
            state_error("Activity is initialized - deploy() command is expected now")
        })
    }

    async fn send(
        &self,
        index: u32,
        source: Arc<dyn Source>,
        destination: String,
        teller: &Teller,
    ) -> Result<StepResult, Abort> {
        let doing = format!("cannot send {} to `{destination}`", source.describe());
        let container = &self.deployment()?.container;
        let place = container
            .resolve_for_upload(&destination)
            .map_err(|error| self.transfer_error(doing.clone(), error))?;
        let left = storage::left(&container.volumes(), &self.limits).await;
        let (gate, file, progress) = (
            Arc::clone(&self.gate),
            self.limits.file,
            teller.progress(index),
        );
        let send = move || {
            // What it replaces makes room for it.
            let replaced = place.open().map_or(0, |(_, length)| length);
            let most = file.min(left.saturating_add(replaced));
            copy::send(&*source, &place, most, &gate, &progress)
        };
        blocking(send)
            .await
            .map_err(|error| self.transfer_error(doing, error))?;
        Ok(StepResult::default())
    }

    async fn fetch(
        &self,
        index: u32,
        source: String,
        sink: Arc<dyn Sink>,
        teller: &Teller,
    ) -> Result<StepResult, Abort> {
        let doing = format!("cannot fetch `{source}` to {}", sink.describe());
        let place = self
            .deployment()?
            .container
            .resolve_for_download(&source)
            .map_err(|error| self.transfer_error(doing.clone(), error))?;
        let (gate, progress) = (Arc::clone(&self.gate), teller.progress(index));
        let runtime = Arc::clone(&self.runtime);
        blocking(move || copy::fetch(&place, &*runtime, &*sink, &gate, &progress))
            .await
            .map_err(|error| self.transfer_error(doing, error))?;
        Ok(StepResult::default())
    }

    fn transfer_error(&self, doing: String, error: copy::CopyError) -> Abort {
        match error {
            copy::CopyError::Stopped => Abort::Stopped,
            error => Failure::new(FailureKind::TransferFailed, format!("{doing}: {error}")).into(),
        }
    }

    async fn program(
        &self,
        index: u32,
        program: &str,
        args: Vec<String>,
        teller: &mut Teller,
    ) -> Result<StepResult, Abort> {
        let deployment = self.deployment()?;
        let failed = |reason: String| Failure::new(FailureKind::CommandFailed, reason);
        let Some(entry) = deployment.manifest.entry_point(program) else {
            let known: Vec<_> = deployment
                .manifest
                .entry_points
                .iter()
                .map(|entry| entry.id.as_str())
                .collect();
            let reason = format!(
                "the package `{}` has no entry point `{program}`; it has: {}",
                deployment.manifest.name,
                known.join(", ")
            );
            return Err(failed(reason).into());
        };
        let start = Start {
            package: &deployment.package,
            wasm: &entry.wasm_path,
            args: std::iter::once(program.to_owned()).chain(args).collect(),
            volumes: deployment.container.volumes(),
            limits: self.limits,
        };
        let started = self.unless_stopped(self.runtime.start(start)).await?;
        let mut running =
            started.map_err(|reason| failed(format!("cannot run `{program}`: {reason}")))?;
        let ticking = self.clock.start(running.meter());
        let mut stdout = Capture::default();
        let mut stderr = Capture::default();
        let end = loop {
            let Some(event) = self.unless_stopped(running.next()).await? else {
                break ProgramEnd::Lost("its process is gone".to_owned());
            };
            match event {
                ProgramEvent::Stdout(bytes) => {
                    if let Some(text) = stdout.take(&bytes) {
                        teller.tell(BatchEvent::Stdout(index, text)).await?;
                    }
                }
                ProgramEvent::Stderr(bytes) => {
                    if let Some(text) = stderr.take(&bytes) {
                        teller.tell(BatchEvent::Stderr(index, text)).await?;
                    }
                }
                ProgramEvent::End(end) => break end,
            }
        };
        drop(ticking);
        let (stdout, stderr) = (stdout.finish(), stderr.finish());
        let (kind, reason) = match end {
            ProgramEnd::Exited(0) => {
                return Ok(StepResult {
                    stdout,
                    stderr,
                    exit_code: Some(0),
                    bytes: None,
                });
            }
            ProgramEnd::Exited(code) => (
                FailureKind::CommandFailed,
                format!("`{program}`: ExeScript command exited with code {code}"),
            ),
            ProgramEnd::Stopped(reason) => (
                FailureKind::CommandFailed,
                format!("`{program}` was stopped: {reason}"),
            ),
            ProgramEnd::Lost(reason) => (
                FailureKind::ProviderLost,
                format!("`{program}` was lost: {reason}"),
            ),
        };
        Err(Failure {
            stdout,
            stderr,
            ..Failure::new(kind, reason)
        }
        .into())
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Abort> {
        unless_stopped(&mut self.stop.clone(), work).await
    }
}

async fn unless_stopped<T>(
    stop: &mut watch::Receiver<bool>,
    work: impl Future<Output = T>,
) -> Result<T, Abort> {
    tokio::select! {
        biased;
        // An error means that whoever could end the unit is gone, and with it everybody who wants its work.
        _ = stop.wait_for(|stop| *stop) => Err(Abort::Stopped),
        done = work => Ok(done),
    }
}

/// Tells the listener, for as long as there is one.
struct Teller {
    events: mpsc::Sender<BatchEvent>,
    stop: watch::Receiver<bool>,
}

impl Teller {
    async fn tell(&mut self, event: BatchEvent) -> Result<(), Abort> {
        unless_stopped(&mut self.stop, self.events.send(event))
            .await?
            .map_err(|_| Abort::Stopped)
    }

    /// Progress is told when there is room; the next one says more anyway.
    fn progress(&self, step: u32) -> impl Fn(u64, Option<u64>) + Send + 'static {
        let events = self.events.clone();
        move |done, total| {
            let _ = events.try_send(BatchEvent::Progress { step, done, total });
        }
    }
}

#[cfg(test)]
mod tests;
