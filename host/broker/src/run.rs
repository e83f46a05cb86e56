//! One run, from the pod's lock to the report.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sovr_capability::ledger::{Account, Ceilings};
use sovr_capability::{Amount, Grants, Journal, Ledger, Policy, RunId, Size, audit};
use sovr_dfs::Dfs;
use sovr_golem::Network;
use sovr_golem::local::LocalNetwork;
use sovr_golem::yagna::YagnaNetwork;
use sovr_pod::{Area, GuestPath, Quota, Tree};
use sovr_runtime::bindings::pod::Identity;
use sovr_runtime::run::{End, Ended, RunRequest};
use sovr_runtime::wire::Directories;
use sovr_sandbox::Strength;

use crate::calls::{Desk, Objects};
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::files::Files;
use crate::gate::Gate;
use crate::host::{Examined, Host, Prepared};
use crate::interrupt::Interrupt;
use crate::journal::RunJournal;
use crate::report::{Ending, OutputFile, Report};
use crate::run_log::RunLog;
use crate::serve::{self, Served};
use crate::settings;
use crate::settings::networks::{NetworkKind, Networks};
use crate::tally::Tally;

pub(crate) async fn run(
    host: &Host,
    pod: Prepared,
    observer: Arc<dyn Observer>,
    interrupt: Interrupt,
) -> Result<Report, Error> {
    host.home().prepare()?;
    let id = RunId::generate().map_err(Error::Random)?;
    let log = audit::Log::create(host.home(), &id, opened(&pod.pod))?;
    let gate = Arc::new(Gate::new(
        pod.pod.grants.clone(),
        log,
        Arc::clone(&observer),
    ));
    let result = Box::pin(run_gated(host, pod, &id, &gate, &observer, interrupt)).await;
    let closing = match &result {
        Ok(report) => json!({
            "ending": report.ending.word(),
            "detail": report.ending,
            "cost": report.cost,
            "denials": report.denials,
            "tasks": report.tasks.len(),
        }),
        Err(error) => json!({ "ending": "not-run", "detail": error.to_string() }),
    };
    gate.log()
        .close(closing)
        .map_err(|source| audit_error(&gate, source))?;
    if let Ok(report) = &result {
        observer.observe(&Event::Finished(Box::new(report.clone())));
    }
    result
}

async fn run_gated(
    host: &Host,
    Prepared {
        pod,
        lock: _lock,
        compiled,
    }: Prepared,
    id: &RunId,
    gate: &Arc<Gate>,
    observer: &Arc<dyn Observer>,
    interrupt: Interrupt,
) -> Result<Report, Error> {
    let tree = Arc::clone(pod.loaded.pod.tree());
    let started = SystemTime::now();
    let cleaner = Workspace::prepare(&tree)?;
    let log_path: GuestPath = format!("logs/{id}.jsonl").parse().map_err(Error::Path)?;
    let log = tree.create_log(&log_path).map_err(|source| Error::Tree {
        doing: "begin the run's log",
        source,
    })?;
    let log = RunLog::new(log, tree.root().join(log_path.as_str()));
    let log_path = log.path().to_owned();

    let desk = desk(host, &pod, id, gate, observer, &tree).await?;
    let budget = budget(gate.grants());
    for wall in sovr_sandbox::walls()
        .iter()
        .filter(|wall| wall.strength != Strength::Full)
    {
        let text = format!(
            "this machine's {} is {}: {}",
            wall.name, wall.found, wall.meaning
        );
        observer.observe(&Event::Notice { text });
    }
    let runner = sovr_runtime::run::start(request(&pod, compiled.file, &tree, gate.grants()))
        .map_err(Error::Sandbox)?;
    observer.observe(&Event::Started {
        run: id.to_string(),
        pod: pod.name(),
        budget,
    });
    let Served { end, audit } = Box::pin(serve::serve(runner, &desk, log, interrupt)).await;
    if let Some(source) = audit {
        return Err(audit_error(gate, source));
    }

    let tally = std::mem::take(&mut *desk.tally.lock().unwrap_or_else(PoisonError::into_inner));
    let (cost, left_open) = match desk.account {
        // Everything that held the account is gone: the objects are ended and the calls dropped.
        Some(account) => (account.spent()?, left_open(host, id)?),
        None => (Amount::ZERO, 0),
    };
    cleaner.clean();
    let (outputs, more_outputs) = outputs(&tree, started);
    let (time, peak_memory) = end
        .as_ref()
        .map_or((Duration::ZERO, None), |end| (end.time, end.peak_memory));
    Ok(Report {
        run: id.to_string(),
        pod: pod.name(),
        ending: ending(end, gate.grants()),
        time,
        cost,
        budget,
        providers: tally.providers(),
        tasks: tally.rows(),
        output_directory: tree.area(Area::Output),
        outputs,
        more_outputs,
        log: log_path,
        audit: gate.log().path().to_owned(),
        denials: gate.denials(),
        left_open,
        peak_memory,
    })
}

/// The writable directories of a run; `tmp/` goes with it.
struct Workspace<'tree> {
    tree: &'tree Tree,
    clean: bool,
}

impl<'tree> Workspace<'tree> {
    fn prepare(tree: &'tree Tree) -> Result<Self, Error> {
        tree.prepare().map_err(|source| Error::File {
            doing: "prepare the writable directories of",
            path: tree.root().to_owned(),
            source,
        })?;
        Ok(Self { tree, clean: false })
    }

    fn clean(mut self) {
        self.remove();
    }

    fn remove(&mut self) {
        if !std::mem::replace(&mut self.clean, true) {
            // What is left over is removed when the pod runs the next time.
            let _ = self.tree.clean();
        }
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

fn opened(pod: &Examined) -> Value {
    json!({
        "pod": pod.name(),
        "root": pod.loaded.pod.root(),
        "component": pod.component(),
        "request": pod.request(),
        "args": pod.loaded.args,
        "grants": pod.grants,
        "program": env!("CARGO_PKG_VERSION"),
    })
}

fn budget(grants: &Grants) -> Option<Amount> {
    grants
        .capabilities()
        .golem
        .as_ref()
        .map(|golem| golem.budget)
}

async fn desk(
    host: &Host,
    pod: &Examined,
    id: &RunId,
    gate: &Arc<Gate>,
    observer: &Arc<dyn Observer>,
    tree: &Arc<Tree>,
) -> Result<Desk, Error> {
    let home = host.home();
    let grants = gate.grants();
    let account = match budget(grants) {
        Some(budget) => Some(Arc::new(account(host, id, budget)?)),
        None => None,
    };
    let dfs: Option<Arc<dyn Dfs>> = match grants.capabilities().dfs {
        Some(_) => Some(Arc::clone(host.storage().await?)),
        None => None,
    };
    let networks = host.networks()?;
    let public_subnet = networks.public_subnet().to_owned();
    let network = network(host, networks, id, account.is_some()).await?;
    Ok(Desk {
        gate: Arc::clone(gate),
        files: Files {
            tree: Arc::clone(tree),
            quota: Arc::new(Quota::new(pod.grants.limits())),
            scratch: home.work(),
            waiting: Arc::new(AtomicUsize::new(0)),
        },
        account,
        network,
        public_subnet,
        dfs,
        observer: Arc::clone(observer),
        tally: Arc::new(Mutex::new(Tally::default())),
        objects: Objects::default(),
    })
}

/// The network that was chosen. A daemon is asked for nothing unless the run may work there.
async fn network(
    host: &Host,
    networks: Networks,
    id: &RunId,
    may_work: bool,
) -> Result<Arc<dyn Network>, Error> {
    Ok(match networks.kind {
        NetworkKind::Yagna if may_work => {
            let journal = RunJournal::open(host.home(), id.clone())?;
            let settings = networks.yagna.with_key()?;
            Arc::new(YagnaNetwork::connect(settings, Arc::new(journal)).await?)
        }
        NetworkKind::Local | NetworkKind::Yagna => {
            Arc::new(LocalNetwork::new(networks.local, Arc::clone(host.code()?)))
        }
    })
}

/// Sessions of a run that is over and should have closed them.
fn left_open(host: &Host, id: &RunId) -> Result<usize, Error> {
    let sessions = Journal::open(host.home())?.sessions()?;
    Ok(sessions.iter().filter(|session| session.run == *id).count())
}

fn account(host: &Host, id: &RunId, budget: Amount) -> Result<Account, Error> {
    let Policy { golem, .. } = host.policy();
    let ceilings = Ceilings {
        run: budget,
        day: golem
            .as_ref()
            .map_or(Amount::ZERO, |golem| golem.budget_per_day),
        month: golem
            .as_ref()
            .map_or(Amount::ZERO, |golem| golem.budget_per_month),
    };
    Ok(Ledger::open(host.home())?.account(id, ceilings)?)
}

/// A variable of the environment, but for those that no pod is to see, whatever was granted.
fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|_| !settings::is_secret(name))
}

fn request(pod: &Examined, code: std::fs::File, tree: &Tree, grants: &Grants) -> RunRequest {
    let recipe = pod.loaded.pod.recipe();
    let at = |area: Area| tree.area(area);
    let if_there = |area: Area| Some(at(area)).filter(|path| path.is_dir());
    RunRequest {
        code,
        directories: Directories {
            payload: if_there(Area::Payload),
            script: if_there(Area::Script),
            output: at(Area::Output),
            logs: at(Area::Logs),
            tmp: at(Area::Tmp),
        },
        args: pod.loaded.args.clone(),
        env: grants.environment(variable),
        identity: Identity {
            name: recipe.name.clone(),
            version: recipe.version.raw().to_owned(),
            author: recipe.author.raw().to_owned(),
            description: recipe.description.raw().to_owned(),
        },
        grants: grants.to_json(),
        limits: *grants.limits(),
    }
}

fn ending(end: Option<End>, grants: &Grants) -> Ending {
    let Some(End {
        ended, diagnostics, ..
    }) = end
    else {
        return Ending::Broken {
            reason: "the runner went away without a word".into(),
        };
    };
    match ended {
        Ended::Completed => Ending::Completed,
        Ended::Failed { code } => Ending::Failed {
            reason: format!("it ended with exit code {code}").into(),
            backtrace: Vec::new(),
        },
        Ended::Limit { limit, backtrace } => Ending::LimitHit {
            limit: limit.path().unwrap_or("fixed by the host").to_owned(),
            detail: match limit.path().and_then(|path| granted(path, grants)) {
                Some(granted) => format!("{limit}; granted is {granted}"),
                None => limit.to_string(),
            },
            backtrace,
        },
        Ended::Trapped { reason, backtrace } => Ending::Failed { reason, backtrace },
        Ended::Refused { reason } => Ending::Failed {
            reason,
            backtrace: Vec::new(),
        },
        Ended::Cancelled => Ending::Interrupted,
        Ended::Violation(violation) => Ending::Violation {
            detail: format!("it {violation}"),
        },
        Ended::Killed => Ending::Broken {
            reason: "the host killed it".into(),
        },
        Ended::Broken { reason } if diagnostics.is_empty() => Ending::Broken { reason },
        Ended::Broken { reason } => Ending::Broken {
            reason: format!("{}: {}", reason.raw(), diagnostics.raw()).into(),
        },
    }
}

fn granted(path: &str, grants: &Grants) -> Option<String> {
    let limits = grants.limits();
    Some(match path {
        "limits.time" => limits.time.to_string(),
        "limits.memory" => limits.memory.to_string(),
        "limits.output" => limits.output.to_string(),
        "limits.files" => limits.files.to_string(),
        "limits.log" => limits.log.to_string(),
        _ => return None,
    })
}

/// Files in `output/` that were written since `since`, and how many there are beyond those listed.
fn outputs(tree: &Tree, since: SystemTime) -> (Vec<OutputFile>, u64) {
    // The kernel stamps files with a clock that ticks a few times a second.
    let since = since - Duration::from_millis(20);
    let files = Area::Output
        .name()
        .parse()
        .ok()
        .and_then(|directory: GuestPath| tree.files(&directory, 100_000).ok())
        .unwrap_or_default();
    let mut new: Vec<OutputFile> = files
        .into_iter()
        .filter(|file| file.modified >= since)
        .map(|file| OutputFile {
            path: file.path,
            size: Size::bytes(file.size),
        })
        .collect();
    let more = new.len().saturating_sub(Report::MOST_OUTPUTS) as u64;
    new.truncate(Report::MOST_OUTPUTS);
    (new, more)
}

fn audit_error(gate: &Gate, source: io::Error) -> Error {
    let path: &Path = gate.log().path();
    Error::Audit {
        path: path.to_owned(),
        source,
    }
}
