//! A task: pods one after the other, each with the output of the one before, or all at the same time.
//!
//! Everything that can be refused comes first. All pods are fetched, held against `sovr.lock` and examined, and the user
//! is asked about each of them, before any of them runs: nobody wants to be asked in the middle of the night, nor to pay
//! for three pods of which the fourth cannot run. Then each gets its inputs in the order that the Sovr Protocol documents:
//! its own archives, the task's payload, the previous output. Only the output of a pod that succeeded is handed on.
//!
//! Each pod lies in a directory of its own beside the task's recipe and keeps its outputs there. What a pod was run on is
//! remembered in [`progress`]: a task that is run again goes on where it ended, and a pod whose inputs, component and
//! output are what they were is not run, and not paid for, again.

mod progress;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use serde::Serialize;
use sovr_capability::causes::in_full;
use sovr_capability::{Digest, Untrusted};
use sovr_pod::pod::PodLock;
use sovr_pod::task::Mode;
use sovr_pod::{Area, GuestPath, Task, Tree};
use sovr_protocol::{SourceDirectory, Sources};

use self::progress::Progress;
use self::stage::Staged;
use crate::consent::{Ask, Consent};
use crate::error::{Error, Kind};
use crate::event::{Event, Forwarded, Observer};
use crate::host::{self, Host};
use crate::interrupt::Interrupt;
use crate::report::{Ending, Report};

/// Pods that run at the same time.
const MOST_AT_ONCE: usize = 8;

/// How a task is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Pods after one that failed are run as well; they get the output of the last that succeeded.
    pub keep_going: bool,
    /// No pod gets another's output, whatever the recipe says.
    pub parallel: bool,
    /// Pods are run again even if nothing has changed.
    pub afresh: bool,
}

/// A pod of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// From 1.
    pub number: usize,
    /// Pods in all.
    pub of: usize,
    /// Its directory beside the task's recipe, which is its name there.
    pub directory: String,
    /// The reference it came by.
    pub reference: String,
}

/// What became of a pod.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "outcome",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Outcome {
    /// It ran; how it ended is in the report.
    Ran {
        /// The run's report.
        report: Box<Report>,
    },
    /// Inputs, component and output are those of an earlier run.
    Unchanged {
        /// That run.
        run: String,
    },
    /// It could not be brought to run.
    Refused {
        /// Why; safe to show.
        why: String,
        /// What that means to the caller.
        #[serde(skip)]
        kind: Kind,
    },
    /// An earlier pod failed, or the user stopped the task.
    NotRun,
}

impl Outcome {
    /// Whether its output can be handed on.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        match self {
            Self::Ran { report } => matches!(report.ending, Ending::Completed),
            Self::Unchanged { .. } => true,
            Self::Refused { .. } | Self::NotRun => false,
        }
    }
}

/// How a task ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskReport {
    /// The task's name.
    pub task: Untrusted,
    /// Its directory.
    pub directory: PathBuf,
    /// Each pod and what became of it, in the task's order.
    pub steps: Vec<(Step, Outcome)>,
    /// Output of the last pod, if it succeeded and is what the others worked for.
    pub output: Option<PathBuf>,
    /// Whether the user stopped it.
    pub interrupted: bool,
}

/// Something that wants to know how a task goes on.
pub trait TaskObserver: Send + Sync {
    /// Who watches the work that comes before the pods: fetching, the task's payload.
    fn before(&self) -> Arc<dyn Observer>;

    /// A pod's turn begins; who watches it.
    fn begin(&self, step: &Step) -> Arc<dyn Observer>;

    /// A pod's turn is over.
    fn end(&self, step: &Step, outcome: &Outcome);
}

/// A task whose payload and pods lie in their directories.
pub struct Fetched {
    name: Untrusted,
    mode: Mode,
    tree: Arc<Tree>,
    lock: PodLock,
    shared: Option<SourceDirectory>,
    staged: Vec<Staged>,
}

/// A task that the user agreed to run.
pub struct Decided {
    task: Fetched,
    parallel: bool,
    steps: Vec<(Step, host::Decided)>,
}

impl Decided {
    /// Whether its pods run at the same time.
    #[must_use]
    pub fn is_parallel(&self) -> bool {
        self.parallel
    }
}

impl Host {
    /// Fetches a task's payload and pods. `path` is the task's directory or its recipe. Dropped before it is done, it
    /// leaves what is complete.
    ///
    /// # Errors
    /// When there is no task, or something of it is not there, has changed or is refused.
    pub async fn fetch_task(
        &self,
        path: &Path,
        observer: &dyn TaskObserver,
    ) -> Result<Fetched, Error> {
        let task = Task::load(path)?;
        let lock = task.lock()?;
        let tree = Arc::clone(task.tree());
        let observer = observer.before();
        let protocol = self
            .protocol(Arc::new(Forwarded(Arc::clone(&observer))))
            .await?;
        let recipe = task.task();
        let sources = Sources {
            archives: &recipe.payload,
            ..Sources::default()
        };
        let gathered = protocol.gather(&tree, sources).await?;
        let shared = match recipe.payload.is_empty() {
            true => None,
            false => {
                observer.observe(&Event::Supplied(gathered));
                Some(external(&tree)?)
            }
        };
        let staged = stage::stage(&protocol, &task, &observer).await?;
        Ok(Fetched {
            name: Untrusted::new(recipe.name.as_str()),
            mode: recipe.mode,
            tree,
            lock,
            shared,
            staged,
        })
    }

    /// Examines a task's pods and asks the user about each of them. May block on the user.
    ///
    /// # Errors
    /// When a pod cannot run here, or nobody agreed to it; none is run then.
    pub async fn decide_task(
        &self,
        task: Fetched,
        options: &Options,
        consent: &Consent,
        ask: &mut dyn Ask,
    ) -> Result<Decided, Error> {
        let mut steps = Vec::new();
        for Staged { step, directory } in &task.staged {
            let in_step = |source| Error::Step {
                number: step.number,
                directory: step.directory.clone(),
                source: Box::new(source),
            };
            let loaded = self.load(directory, &[]).map_err(in_step)?;
            let examined = self.examine(loaded).await.map_err(in_step)?;
            let decided = self
                .decide(examined, consent.clone(), ask)
                .map_err(in_step)?;
            steps.push((step.clone(), decided));
        }
        Ok(Decided {
            parallel: options.parallel || task.mode == Mode::Parallel,
            task,
            steps,
        })
    }

    /// Runs the pods of a task. How each ended is in the report; that one failed is no error.
    ///
    /// # Errors
    /// When what was done cannot be written down.
    pub async fn run_task(
        &self,
        task: Decided,
        options: &Options,
        observer: &dyn TaskObserver,
        interrupt: Interrupt,
    ) -> Result<TaskReport, Error> {
        let Decided {
            task,
            parallel,
            steps,
        } = task;
        let Fetched {
            name,
            tree,
            lock: _lock,
            shared,
            ..
        } = task;
        let directory = tree.root().to_owned();
        let runner = Runner {
            host: self,
            options,
            observer,
            interrupt,
            progress: Progress::open(&tree)?,
            tree,
            shared,
        };
        let steps = match parallel {
            true => runner.side_by_side(steps).await?,
            false => runner.one_by_one(steps).await?,
        };
        let last = steps.last();
        let last = last.filter(|(_, outcome)| !parallel && outcome.succeeded());
        let output = last.map(|(step, _)| {
            let pod = directory.join(&step.directory);
            pod.join(Area::Output.name())
        });
        let interrupted = steps.iter().any(|(_, outcome)| was_interrupted(outcome));
        Ok(TaskReport {
            task: name,
            directory,
            steps,
            output,
            interrupted,
        })
    }
}

/// What all pods of one run of a task have in common.
struct Runner<'a> {
    host: &'a Host,
    options: &'a Options,
    observer: &'a dyn TaskObserver,
    interrupt: Interrupt,
    progress: Progress,
    tree: Arc<Tree>,
    shared: Option<SourceDirectory>,
}

impl Runner<'_> {
    async fn one_by_one(
        &self,
        steps: Vec<(Step, host::Decided)>,
    ) -> Result<Vec<(Step, Outcome)>, Error> {
        let mut done: Vec<(Step, Outcome)> = Vec::new();
        let mut previous = None;
        let mut stopped = false;
        for (step, decided) in steps {
            let outcome = match stopped {
                true => Outcome::NotRun,
                false => self.step(&step, decided, previous.clone()).await?,
            };
            self.observer.end(&step, &outcome);
            if outcome.succeeded() {
                previous = Some(self.output_of(&step)?);
            } else {
                stopped |= !self.options.keep_going || was_interrupted(&outcome);
            }
            done.push((step, outcome));
        }
        Ok(done)
    }

    async fn side_by_side(
        &self,
        steps: Vec<(Step, host::Decided)>,
    ) -> Result<Vec<(Step, Outcome)>, Error> {
        let stopped = std::sync::atomic::AtomicBool::new(false);
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        let stopped = &stopped;
        let run = stream::iter(steps).map(|(step, decided)| async move {
            let outcome = match stopped.load(relaxed) {
                true => Outcome::NotRun,
                false => self.step(&step, decided, None).await?,
            };
            if !outcome.succeeded() && (!self.options.keep_going || was_interrupted(&outcome)) {
                stopped.store(true, relaxed);
            }
            self.observer.end(&step, &outcome);
            Ok::<_, Error>((step, outcome))
        });
        let mut done: Vec<(Step, Outcome)> = Vec::new();
        let mut failed = None;
        let mut running = std::pin::pin!(run.buffer_unordered(MOST_AT_ONCE));
        // An error of one does not cut off the others: they hold money.
        while let Some(ended) = running.next().await {
            match ended {
                Ok(ended) => done.push(ended),
                Err(error) => {
                    stopped.store(true, relaxed);
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => {
                done.sort_unstable_by_key(|(step, _)| step.number);
                Ok(done)
            }
        }
    }

    /// One pod. That it cannot be brought to run is its outcome; only what concerns the whole task is an error.
    async fn step(
        &self,
        step: &Step,
        decided: host::Decided,
        previous: Option<SourceDirectory>,
    ) -> Result<Outcome, Error> {
        let observer = self.observer.begin(step);
        let handed = self.shared.iter().cloned().chain(previous).collect();
        let supplied = match self
            .host
            .supply(decided, handed, &observer, self.interrupt.clone())
            .await
        {
            Ok(supplied) => supplied,
            Err(error) => return Ok(refused(&error)),
        };
        let inputs = supplied.fingerprint()?;
        let tree = Arc::clone(supplied.pod().tree());
        if !self.options.afresh
            && let Some(run) = self.progress.finished(step, inputs, output_digest(&tree)?)
        {
            return Ok(Outcome::Unchanged { run });
        }
        let prepared = match self
            .host
            .prepare(supplied, &*observer, self.interrupt.clone())
            .await
        {
            Ok(prepared) => prepared,
            Err(error) => return Ok(refused(&error)),
        };
        self.progress.begin(step)?;
        let report = match Box::pin(self.host.run(prepared, observer, self.interrupt.clone())).await
        {
            Ok(report) => report,
            Err(error) => return Ok(refused(&error)),
        };
        if matches!(report.ending, Ending::Completed) {
            self.progress
                .finish(step, inputs, output_digest(&tree)?, &report.run)?;
        }
        Ok(Outcome::Ran {
            report: Box::new(report),
        })
    }

    fn output_of(&self, step: &Step) -> Result<SourceDirectory, Error> {
        let root = self.tree.root().join(&step.directory);
        let tree = Tree::open(&root).map_err(|source| Error::File {
            doing: "open the output in",
            path: root,
            source,
        })?;
        Ok(SourceDirectory {
            tree: Arc::new(tree),
            directory: Area::Output.into(),
            words: format!("the output of {}", step.directory),
        })
    }
}

fn output_digest(tree: &Tree) -> Result<Digest, Error> {
    Ok(tree.digest(&Area::Output.into())?)
}

/// The task's payload, where it was laid out.
fn external(tree: &Arc<Tree>) -> Result<SourceDirectory, Error> {
    let directory: GuestPath = sovr_pod::path::EXTERNAL.parse().map_err(Error::Path)?;
    Ok(SourceDirectory {
        tree: Arc::clone(tree),
        directory,
        words: "the task's payload".to_owned(),
    })
}

fn was_interrupted(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Ran { report } => matches!(report.ending, Ending::Interrupted),
        Outcome::Refused { kind, .. } => *kind == Kind::Interrupted,
        Outcome::Unchanged { .. } | Outcome::NotRun => false,
    }
}

/// Why a pod was not run, with the causes.
fn refused(error: &Error) -> Outcome {
    Outcome::Refused {
        why: in_full(error),
        kind: error.kind(),
    }
}
