//! A runtime whose programs are played, so that jobs can be tested with a clock that jumps.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sovr_runtime::package::{Access, EntryPoint, Manifest, MountPoint};

use super::{Faults, LocalNetwork, ProviderSettings, Settings};
use crate::demand::{Demand, Form, Package, WasiPackage};
use crate::exe_unit::runtime::{Program, ProgramEnd, ProgramEvent, Runtime, Start};
use crate::network::conformance::Subject;
use crate::step::Step;
use crate::transfer::Bytes;

/// Entry points:
/// - `echo WORDS...` prints them;
/// - `sleep SECONDS` ends after that time;
/// - `fail CODE` prints `sorry` to standard error and exits with the code;
/// - `cat PATH` prints a file, or fails;
/// - `write PATH TEXT` makes a file;
/// - `flood` prints 200 KiB.
pub(crate) struct Stage {
    pub(crate) started: AtomicUsize,
}

impl Stage {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: AtomicUsize::new(0),
        })
    }
}

const PROGRAMS: [&str; 6] = ["echo", "sleep", "fail", "cat", "write", "flood"];

#[async_trait]
impl Runtime for Stage {
    async fn unpack(&self, _archive: File, _directory: &Path) -> Result<Manifest, String> {
        Ok(Manifest {
            id: "stage".to_owned(),
            name: "stage".to_owned(),
            entry_points: PROGRAMS
                .iter()
                .map(|program| EntryPoint {
                    id: (*program).to_owned(),
                    wasm_path: format!("{program}.wasm"),
                })
                .collect(),
            mount_points: [
                ("/golem/work", Access::ReadWrite),
                ("/golem/resource", Access::ReadOnly),
            ]
            .map(|(path, access)| MountPoint {
                path: path.to_owned(),
                access,
            })
            .into(),
        })
    }

    async fn start(&self, start: Start<'_>) -> Result<Box<dyn Program>, String> {
        self.started.fetch_add(1, Ordering::SeqCst);
        let (program, args) = start.args.split_first().ok_or("a program without a name")?;
        let host = |path: &str| -> PathBuf {
            let volume = start
                .volumes
                .iter()
                .find(|volume| path.starts_with(&volume.guest))
                .unwrap();
            volume
                .host
                .join(path[volume.guest.len()..].trim_start_matches('/'))
        };
        let mut play = Play {
            wait: Duration::ZERO,
            events: VecDeque::new(),
        };
        let mut code = 0;
        match program.as_str() {
            "echo" => play.stdout(format!("{}\n", args.join(" "))),
            "sleep" => play.wait = Duration::from_secs_f64(args[0].parse().unwrap()),
            "fail" => {
                play.events
                    .push_back(ProgramEvent::Stderr(b"sorry\n".to_vec()));
                code = args[0].parse().unwrap();
            }
            "cat" => match std::fs::read_to_string(host(&args[0])) {
                Ok(text) => play.stdout(text),
                Err(_) => code = 1,
            },
            "write" => std::fs::write(host(&args[0]), &args[1]).unwrap(),
            "flood" => (0..50).for_each(|_| play.stdout("x".repeat(4096))),
            _ => return Err("no such program".to_owned()),
        }
        play.events
            .push_back(ProgramEvent::End(ProgramEnd::Exited(code)));
        Ok(Box::new(play))
    }
}

struct Play {
    wait: Duration,
    events: VecDeque<ProgramEvent>,
}

impl Play {
    fn stdout(&mut self, text: String) {
        self.events
            .push_back(ProgramEvent::Stdout(text.into_bytes()));
    }
}

#[async_trait]
impl Program for Play {
    async fn next(&mut self) -> Option<ProgramEvent> {
        // Forgotten if dropped, which only a program that is ended can be.
        tokio::time::sleep(std::mem::take(&mut self.wait)).await;
        self.events.pop_front()
    }
}

pub(crate) fn run(program: &str, args: &[&str]) -> Step {
    Step::Run {
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
    }
}

pub(crate) fn demand() -> Demand {
    Demand {
        package: Package {
            name: "stage".to_owned(),
            forms: vec![Form::Wasi(WasiPackage {
                archive: Arc::new(Bytes::new(*b"nothing")),
                digest: None,
                url: None,
            })],
        },
        min_mem_gib: None,
        min_storage_gib: None,
        min_cpu_threads: None,
        subnet: "public".to_owned(),
        lifetime: Duration::from_secs(3600),
        budget: sovr_capability::Amount::glm(1000),
    }
}

/// A network with its scratch directory.
pub(crate) struct Scene {
    pub(crate) network: Arc<LocalNetwork>,
    pub(crate) scratch: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new(providers: usize, faults: Faults) -> Self {
        Self::with(
            (0..providers).map(ProviderSettings::numbered).collect(),
            faults,
        )
    }

    pub(crate) fn with(providers: Vec<ProviderSettings>, faults: Faults) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let settings = Settings {
            providers,
            faults,
            ..Settings::new(scratch.path())
        };
        Self {
            network: Arc::new(LocalNetwork::with_runtime(settings, Stage::new())),
            scratch,
        }
    }

    /// Nothing is open and nothing lies about.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.network.open_agreements(), 0, "agreements are open");
        assert_eq!(self.network.open_activities(), 0, "activities are open");
        let left: Vec<_> = std::fs::read_dir(self.scratch.path()).unwrap().collect();
        assert!(left.is_empty(), "files are left: {left:?}");
    }
}

fn subject(scene: &Scene) -> Subject {
    Subject {
        network: Arc::clone(&scene.network) as _,
        demand: demand(),
        print: run("echo", &["hello"]),
        fail: run("fail", &["1"]),
        hang: run("sleep", &["1000000"]),
        path: "/golem/work/file".to_owned(),
    }
}

#[tokio::test]
async fn the_local_network_keeps_the_laws_on_any_runtime() {
    for (name, case) in crate::network::conformance::cases() {
        let scene = Scene::new(2, Faults::new());
        if let Err(saw) = case(subject(&scene)).await {
            panic!("{name}: {saw}");
        }
        // What is dropped ends beside the case.
        tokio::time::timeout(Duration::from_secs(5), async {
            while scene.network.open_activities() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{name}: activities are left open"));
        scene.assert_empty();
    }
}
