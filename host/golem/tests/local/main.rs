//! The network of this machine with real packages in real confined children: this program starts itself again for them.

mod guest;
mod job;
mod money;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use sovr_golem::local::{Faults, LocalNetwork, ProviderSettings, Settings};
use sovr_golem::network::conformance::{Subject, cases};
use sovr_golem::transfer::Bytes;
use sovr_golem::{Demand, Form, Package, Step};
use sovr_runtime::code::Cache;

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    if let Some(role) = sovr_sandbox::role() {
        return sovr_runtime::child(role);
    }
    let laws = cases().into_iter().map(|(name, case)| {
        Trial::test(name, move || {
            run(async {
                let scene = Scene::new(2, Faults::new());
                case(scene.subject()).await?;
                scene.wait_until_empty().await
            })
        })
    });
    let tests = [job::tests(), money::tests()].concat();
    let tests = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), laws.chain(tests).collect()).exit_code()
}

type Test = (&'static str, fn());

fn run<T>(test: impl Future<Output = Result<T, String>>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await });
    Ok(result.map_err(|_| "it took too long")??)
}

/// Runs a test that panics when it fails.
fn run_test(test: impl Future<Output = ()>) {
    let result = run(async {
        test.await;
        Ok(())
    });
    if let Err(error) = result {
        panic!("{}", error.message().unwrap_or("it failed"));
    }
}

/// The compile cache that all tests of this process share: each program is compiled once.
fn code() -> Arc<Cache> {
    static CODE: OnceLock<(Arc<Cache>, tempfile::TempDir)> = OnceLock::new();
    let (code, _) = CODE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        (
            Arc::new(Cache::open(directory.path(), [7; 32]).unwrap()),
            directory,
        )
    });
    Arc::clone(code)
}

/// A network with its scratch directory.
struct Scene {
    network: Arc<LocalNetwork>,
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new(providers: usize, faults: Faults) -> Self {
        Self::with(
            (0..providers).map(ProviderSettings::numbered).collect(),
            faults,
        )
    }

    fn with(providers: Vec<ProviderSettings>, faults: Faults) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let settings = Settings {
            providers,
            faults,
            ..Settings::new(scratch.path())
        };
        Self {
            network: Arc::new(LocalNetwork::new(settings, code())),
            scratch,
        }
    }

    fn subject(&self) -> Subject {
        Subject {
            network: Arc::clone(&self.network) as _,
            demand: demand(),
            print: program("print"),
            fail: program("fail"),
            hang: program("hang"),
            path: format!("{}/file", guest::MOUNT),
        }
    }

    /// Nothing is open, nothing runs and nothing lies about; what was dropped may still be ending.
    async fn wait_until_empty(&self) -> Result<(), String> {
        for _ in 0..500 {
            if self.leftovers().is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(self.leftovers())
    }

    fn leftovers(&self) -> String {
        let mut left = Vec::new();
        for (count, what) in [
            (self.network.open_agreements(), "agreements"),
            (self.network.open_activities(), "activities"),
            (
                std::fs::read_dir(self.scratch.path()).unwrap().count(),
                "directories",
            ),
        ] {
            if count > 0 {
                left.push(format!("{count} {what} are left"));
            }
        }
        left.join(", ")
    }
}

fn program(name: &str) -> Step {
    Step::Run {
        program: name.to_owned(),
        args: Vec::new(),
    }
}

fn demand() -> Demand {
    static PACKAGE: OnceLock<Arc<[u8]>> = OnceLock::new();
    let archive = PACKAGE.get_or_init(|| guest::package().into());
    Demand {
        package: Package {
            name: "test".to_owned(),
            forms: vec![Form::Wasi(sovr_golem::demand::WasiPackage {
                archive: Arc::new(Bytes::new(Arc::clone(archive))),
                digest: None,
                url: None,
            })],
        },
        min_mem_gib: None,
        min_storage_gib: None,
        min_cpu_threads: None,
        subnet: "public".to_owned(),
        lifetime: Duration::from_secs(600),
        budget: sovr_capability::Amount::glm(1000),
    }
}
