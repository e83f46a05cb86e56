//! An exe-unit on played programs; the order of commands is tested with the laws of networks.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sovr_runtime::package::Manifest;

use super::runtime::{Meter, Program, ProgramEvent, Runtime, Start};
use super::{ExeUnit, Limits};
use crate::demand::WasiPackage;
use crate::failure::{Failure, FailureKind};
use crate::local::testing::{Stage, demand, run};
use crate::step::{BatchEvent, CAPTURE, Command, Step, StepResult};
use crate::transfer::Bytes;

const LIMITS: Limits = Limits {
    memory: 1 << 20,
    file: 1000,
    storage: 1500,
    files: 10,
    output: 1 << 20,
    time: Duration::from_secs(60),
};

fn package() -> WasiPackage {
    demand().package.wasi().unwrap().clone()
}

async fn batch_of(
    package: WasiPackage,
    steps: Vec<Step>,
) -> (Vec<StepResult>, Result<(), Failure>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut unit, _ending) = ExeUnit::new(Stage::new(), package, LIMITS, directory.path());
    let batch = [Command::Deploy, Command::Start]
        .into_iter()
        .chain(steps.into_iter().map(Command::Step))
        .collect();
    results_of(&mut unit, batch).await
}

async fn results_of(
    unit: &mut ExeUnit,
    batch: Vec<Command>,
) -> (Vec<StepResult>, Result<(), Failure>) {
    let (sender, mut events) = ExeUnit::events();
    let listen = async {
        let mut results = Vec::new();
        while let Some(event) = events.recv().await {
            match event {
                BatchEvent::Finished(_, result) => results.push(result),
                BatchEvent::Ended(end) => return (results, end),
                _ => {}
            }
        }
        panic!("the batch did not end");
    };
    let work = async {
        if let Some(end) = unit.run(batch, sender).await {
            end.tell();
        }
    };
    tokio::join!(work, listen).1
}

#[tokio::test]
async fn output_is_kept_up_to_the_cap() {
    let (results, end) = batch_of(package(), vec![run("flood", &[])]).await;
    end.unwrap();
    assert_eq!(results[2].stdout.len(), CAPTURE);
}

#[tokio::test]
async fn an_entry_point_that_is_not_there_is_named_with_those_that_are() {
    let (_, end) = batch_of(package(), vec![run("dance", &[])]).await;
    let failure = end.unwrap_err();
    assert_eq!(
        (failure.kind, failure.step),
        (FailureKind::CommandFailed, Some(2))
    );
    assert_eq!(
        failure.reason,
        "the package `stage` has no entry point `dance`; it has: echo, sleep, fail, cat, write, flood"
    );
}

#[tokio::test]
async fn transfers_say_what_was_wrong() {
    let send = |length: usize, destination: &str| Step::Send {
        source: Arc::new(Bytes::new(vec![0; length])),
        destination: destination.to_owned(),
    };
    let fetch = |source: &str| Step::DownloadBytes {
        source: source.to_owned(),
        most: 10,
    };
    for (step, reason) in [
        (
            send(1001, "/golem/work/a"),
            "cannot send 1001 bytes given by the script to `/golem/work/a`: it is larger than the 1000 bytes that are \
             accepted",
        ),
        (
            send(1, "/elsewhere/a"),
            "cannot send 1 bytes given by the script to `/elsewhere/a`: path not found in container: /elsewhere/a",
        ),
        (
            fetch("/golem/work/a"),
            "cannot fetch `/golem/work/a` to the script: IO error: No such file or directory (os error 2)",
        ),
    ] {
        let (_, end) = batch_of(package(), vec![step]).await;
        let failure = end.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TransferFailed);
        assert_eq!(failure.reason, reason);
    }
}

#[tokio::test]
async fn many_files_that_are_small_enough_do_not_fill_the_disk() {
    let send = |path: &str| Step::Send {
        source: Arc::new(Bytes::new(vec![0; 700])),
        destination: format!("/golem/work/{path}"),
    };
    let (_, end) = batch_of(
        package(),
        vec![send("a"), send("a"), send("b"), send("b"), send("c")],
    )
    .await;
    let failure = end.unwrap_err();
    assert_eq!(
        (failure.kind, failure.step),
        (FailureKind::TransferFailed, Some(6))
    );
    assert!(
        failure.reason.ends_with("the 100 bytes that are accepted"),
        "{}",
        failure.reason
    );
}

#[tokio::test]
async fn an_archive_that_is_not_the_promised_one_is_not_deployed() {
    let package = WasiPackage {
        digest: Some([0; 32]),
        url: None,
        ..package()
    };
    let (results, end) = batch_of(package, Vec::new()).await;
    let failure = end.unwrap_err();
    assert_eq!((results.len(), failure.step), (0, Some(0)));
    assert!(
        failure.reason.contains("its SHA-256 is 1785"),
        "{}",
        failure.reason
    );
}

/// Leaves a file of each package that it unpacks, also where that fails.
struct Unpacking {
    stage: Arc<Stage>,
    fails: AtomicBool,
}

#[async_trait]
impl Runtime for Unpacking {
    async fn unpack(&self, archive: File, directory: &Path) -> Result<Manifest, String> {
        std::fs::write(directory.join("file"), "content").unwrap();
        match self.fails.load(Ordering::SeqCst) {
            true => Err("it is broken".to_owned()),
            false => self.stage.unpack(archive, directory).await,
        }
    }

    async fn start(&self, start: Start<'_>) -> Result<Box<dyn Program>, String> {
        self.stage.start(start).await
    }
}

#[tokio::test]
async fn deploying_again_and_again_does_not_fill_the_disk() {
    let files = |directory: &Path| {
        let mut files = Vec::new();
        let mut left = vec![directory.to_owned()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => left.push(entry.path()),
                    false => files.push(entry.path()),
                }
            }
        }
        files
    };
    let directory = tempfile::tempdir().unwrap();
    let runtime = Arc::new(Unpacking {
        stage: Stage::new(),
        fails: AtomicBool::new(false),
    });
    let (mut unit, _ending) = ExeUnit::new(
        Arc::clone(&runtime) as _,
        package(),
        LIMITS,
        directory.path(),
    );
    let write = Command::Step(run("write", &["/golem/work/a", "words"]));
    let deployed = [Command::Deploy, Command::Start, write];
    for _ in 0..2 {
        let (_, end) = results_of(&mut unit, deployed.to_vec()).await;
        end.unwrap();
        // The package and the volume.
        assert_eq!(files(directory.path()).len(), 2);
        let (_, end) = results_of(&mut unit, vec![Command::Terminate]).await;
        end.unwrap();
        assert_eq!(files(directory.path()), [] as [&Path; 0]);
    }
    runtime.fails.store(true, Ordering::SeqCst);
    let (_, end) = results_of(&mut unit, deployed.to_vec()).await;
    assert!(end.unwrap_err().reason.ends_with("it is broken"));
    assert_eq!(files(directory.path()), [] as [&Path; 0]);
    runtime.fails.store(false, Ordering::SeqCst);
    let (_, end) = results_of(&mut unit, deployed.to_vec()).await;
    end.unwrap();
}

/// Programs take seven milliseconds of a processor, however long they run.
struct Thrifty(Arc<Stage>);

#[async_trait]
impl Runtime for Thrifty {
    async fn unpack(&self, archive: File, directory: &Path) -> Result<Manifest, String> {
        self.0.unpack(archive, directory).await
    }

    async fn start(&self, start: Start<'_>) -> Result<Box<dyn Program>, String> {
        let program = self.0.start(start).await?;
        Ok(Box::new(Metered(program)))
    }
}

struct Metered(Box<dyn Program>);

#[async_trait]
impl Program for Metered {
    async fn next(&mut self) -> Option<ProgramEvent> {
        self.0.next().await
    }

    fn meter(&self) -> Option<Meter> {
        Some(Arc::new(|| Duration::from_millis(7)))
    }
}

#[tokio::test(start_paused = true)]
async fn processor_time_is_what_programs_take_of_it() {
    for (runtime, taken) in [
        (Arc::new(Thrifty(Stage::new())) as Arc<dyn Runtime>, 14),
        // Without a meter it is the time that goes by.
        (Stage::new(), 2_000_000),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (mut unit, ending) = ExeUnit::new(runtime, package(), LIMITS, directory.path());
        let waits = Command::Step(run("sleep", &["1000"]));
        let batch = vec![Command::Deploy, Command::Start, waits.clone(), waits];
        let (_, end) = results_of(&mut unit, batch).await;
        end.unwrap();
        assert_eq!(ending.cpu(), Duration::from_millis(taken));
    }
}

#[tokio::test]
async fn a_batch_that_nobody_hears_stops() {
    let directory = tempfile::tempdir().unwrap();
    let (mut unit, _ending) = ExeUnit::new(Stage::new(), package(), LIMITS, directory.path());
    let (sender, events) = ExeUnit::events();
    drop(events);
    let batch = vec![
        Command::Deploy,
        Command::Start,
        Command::Step(run("sleep", &["100000"])),
    ];
    let end = tokio::time::timeout(Duration::from_secs(10), unit.run(batch, sender))
        .await
        .unwrap();
    assert!(end.is_none());
}

#[tokio::test]
async fn a_listener_that_does_not_listen_makes_the_batch_wait() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::new();
    let (mut unit, ending) = ExeUnit::new(stage.clone(), package(), LIMITS, directory.path());
    let (sender, mut events) = ExeUnit::events();
    let steps = (0..200).map(|_| Command::Step(run("echo", &["x"])));
    let batch = [Command::Deploy, Command::Start]
        .into_iter()
        .chain(steps)
        .collect();
    let running = tokio::spawn(async move { unit.run(batch, sender).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = stage.started.load(std::sync::atomic::Ordering::SeqCst);
    assert!(started < 100, "{started} programs were started");
    ending.end();
    let end = tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .unwrap()
        .unwrap();
    end.unwrap().tell();
    let mut last = None;
    while let Some(event) = events.recv().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(BatchEvent::Ended(Err(_)))), "{last:?}");
}
