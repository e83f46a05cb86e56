//! The calls of the contract against the gate, the tree, the ledger and the embedded storage, without a guest.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use sovr_capability::ledger::Ceilings;
use sovr_capability::{Amount, Capabilities, Home, Ledger, Policy, RunId, audit};
use sovr_dfs::local::{Caps, LocalDfs};
use sovr_golem::local::{LocalNetwork, Settings};
use sovr_golem::network::{Market, NetworkError};
use sovr_pod::{Quota, Tree};
use sovr_runtime::bindings::dfs::Location;
use sovr_runtime::bindings::golem::{
    Demand, DownloadBytes, Options, RunCommand, Step, Upload, UploadBytes,
};
use sovr_runtime::code;
use sovr_runtime::wire::Place;
use tempfile::TempDir;

use super::*;
use crate::event::Event;

/// A run without a guest.
struct Run {
    desk: Desk,
    home: Home,
    id: RunId,
    seen: Arc<Seen>,
    directory: TempDir,
}

/// Denials that a watcher was told.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn observe(&self, event: &Event) {
        if let Event::Denied { denial } = event {
            self.0.lock().unwrap().push(denial.capability.clone());
        }
    }
}

fn run(capabilities: Value) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let pod = directory.path().join("pod");
    std::fs::create_dir_all(pod.join("payload")).unwrap();
    std::fs::write(pod.join("payload/data"), "seven b").unwrap();
    std::fs::write(directory.path().join("secret"), "not for pods").unwrap();
    let home = Home::at(&directory.path().join("home"));
    home.prepare().unwrap();
    let mut policy = Policy::default();
    policy.dfs.as_mut().unwrap().share = true;
    let (grants, _) = policy.grant(&Capabilities::parse(Some(&capabilities)).unwrap());
    let id = RunId::generate().unwrap();
    let seen = Arc::new(Seen::default());
    let log = audit::Log::create(&home, &id, Value::Null).unwrap();
    let gate = Arc::new(Gate::new(
        grants,
        log,
        Arc::clone(&seen) as Arc<dyn Observer>,
    ));
    let tree = Arc::new(Tree::open(&pod).unwrap());
    tree.prepare().unwrap();
    let ceilings = Ceilings {
        run: Amount::glm(1),
        day: Amount::glm(100),
        month: Amount::glm(100),
    };
    let account = Ledger::open(&home).unwrap().account(&id, ceilings).unwrap();
    let code = code::Cache::open(&home.code(), [7; 32]).unwrap();
    let desk = Desk {
        files: Files {
            tree,
            quota: Arc::new(Quota::new(gate.grants().limits())),
            scratch: home.work(),
            waiting: Arc::new(AtomicUsize::new(0)),
        },
        gate,
        account: Some(Arc::new(account)),
        network: Arc::new(LocalNetwork::new(
            Settings::new(home.work()),
            Arc::new(code),
        )),
        public_subnet: "public".to_owned(),
        dfs: Some(Arc::new(
            LocalDfs::open(&home.dfs(), &"me".parse().unwrap(), Caps::default()).unwrap(),
        )),
        observer: Arc::clone(&seen) as Arc<dyn Observer>,
        tally: Arc::default(),
        objects: Objects::default(),
    };
    Run {
        desk,
        home,
        id,
        seen,
        directory,
    }
}

impl Run {
    /// The audit log's lines after the first, as kind and call.
    fn lines(&self) -> Vec<(audit::Kind, String)> {
        let lines = audit::read(&self.home, &self.id).unwrap();
        lines
            .skip(1)
            .map(|line| line.unwrap())
            .map(|line| (line.kind, line.what))
            .collect()
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(self.directory.path().join("pod").join(path))
    }

    async fn copy(&self, source: Place, destination: Place) -> Result<Reply, Error> {
        self.desk
            .serve(Call::Copy {
                source,
                destination,
            })
            .await
    }
}

fn here(path: &str) -> Place {
    Place::Workspace(path.to_owned())
}

fn at(pod: &str, path: &str) -> Location {
    Location {
        pod: pod.to_owned(),
        path: path.to_owned(),
    }
}

fn golem() -> Value {
    json!({ "golem": {
        "budget": "1", "max-workers": 3, "max-tasks": 2, "timeout": "5m",
        "packages": { "tool": [ { "wasi": "payload/tool.zip" } ] },
    } })
}

fn options() -> Options {
    Options {
        demand: Demand {
            package: "tool".to_owned(),
            min_mem_gib: None,
            min_storage_gib: None,
            min_cpu_threads: None,
        },
        max_workers: None,
        budget: None,
        timeout: None,
        subnet: None,
        max_attempts: None,
    }
}

/// The capability a call was denied for.
fn denied(result: Result<Reply, Error>) -> String {
    match result {
        Err(Error::Denied(denial)) => denial.capability,
        other => panic!("not denied: {other:?}"),
    }
}

fn invalid(result: Result<Reply, Error>) -> String {
    match result {
        Err(Error::Invalid(why)) => why,
        other => panic!("not invalid: {other:?}"),
    }
}

#[tokio::test]
async fn a_file_is_copied_inside_the_tree_and_measured() {
    let run = run(json!({}));
    match run
        .copy(here("payload/data"), here("output/copy"))
        .await
        .unwrap()
    {
        Reply::Receipt { bytes, sha256 } => {
            assert_eq!(bytes, 7);
            assert_eq!(sha256, sovr_capability::Digest::of("seven b").to_string());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(run.file("output/copy").unwrap(), "seven b");
    use audit::Kind::{Allowed, Outcome};
    let call = "transfer.copy".to_owned();
    assert_eq!(run.lines(), [(Allowed, call.clone()), (Outcome, call)]);
}

#[tokio::test]
async fn no_copy_reaches_outside_the_tree() {
    let run = run(json!({}));
    let outside = run.directory.path().join("secret");
    std::os::unix::fs::symlink(&outside, run.directory.path().join("pod/tmp/link")).unwrap();
    for source in [
        "../secret",
        "payload/../../secret",
        outside.to_str().unwrap(),
        "recipe.json",
        "tmp/link",
        "payload",
    ] {
        let result = run.copy(here(source), here("output/stolen")).await;
        assert!(result.is_err(), "{source}: {result:?}");
        assert!(run.file("output/stolen").is_err(), "{source}");
    }
    for destination in [
        "../out",
        "payload/new",
        "script/new",
        "recipe.json",
        "tmp/link",
        "/etc/new",
    ] {
        let result = run.copy(here("payload/data"), here(destination)).await;
        // A link is replaced as a name, never followed.
        assert!(
            result.is_err() || destination == "tmp/link",
            "{destination}: {result:?}"
        );
    }
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "not for pods");
    assert!(
        run.lines()
            .iter()
            .filter(|(kind, _)| *kind == audit::Kind::Denied)
            .count()
            >= 6
    );
}

#[tokio::test]
async fn what_the_script_wrote_itself_counts_against_a_copy() {
    let run = run(json!({ "limits": { "output": "8192" } }));
    std::fs::write(run.directory.path().join("pod/tmp/own"), [0; 8000]).unwrap();
    let why = invalid(run.copy(here("payload/data"), here("output/copy")).await);
    assert!(why.contains("limits.output"), "{why}");
    std::fs::remove_file(run.directory.path().join("pod/tmp/own")).unwrap();
    run.copy(here("payload/data"), here("output/copy"))
        .await
        .unwrap();
}

#[tokio::test]
async fn without_a_grant_nothing_is_stored_or_submitted() {
    let run = run(json!({}));
    assert_eq!(denied(run.desk.serve(Call::Pods).await), "dfs");
    assert_eq!(
        denied(run.desk.serve(Call::CreatePod("mine".to_owned())).await),
        "dfs"
    );
    assert_eq!(
        denied(
            run.desk
                .serve(Call::Read {
                    file: at("mine", "/x"),
                    most: 1
                })
                .await
        ),
        "dfs"
    );
    assert_eq!(
        denied(run.desk.serve(Call::OpenExecutor(options())).await),
        "golem"
    );
    assert_eq!(
        denied(run.desk.serve(Call::OpenActivity(options())).await),
        "golem"
    );
    assert_eq!(
        *run.seen.0.lock().unwrap(),
        ["dfs", "golem"],
        "each capability is told once"
    );
    assert_eq!(run.desk.gate.denials(), 5);
    assert!(
        run.lines()
            .iter()
            .all(|(kind, _)| *kind == audit::Kind::Denied),
        "{:?}",
        run.lines()
    );
}

#[tokio::test]
async fn storage_is_limited_to_the_pods_granted() {
    let run = run(json!({ "dfs": { "read": ["theirs"], "write": ["mine"] } }));
    let serve = |call| run.desk.serve(call);
    serve(Call::CreatePod("mine".to_owned())).await.unwrap();
    assert_eq!(
        denied(serve(Call::CreatePod("theirs".to_owned())).await),
        "dfs.write"
    );
    assert_eq!(
        denied(serve(Call::CreatePod("other".to_owned())).await),
        "dfs.write"
    );

    serve(Call::Write {
        file: at("mine", "/note"),
        content: b"hello".to_vec(),
    })
    .await
    .unwrap();
    let read = |most| Call::Read {
        file: at("mine", "/note"),
        most,
    };
    assert!(matches!(serve(read(5)).await, Ok(Reply::Bytes(bytes)) if bytes == b"hello"));
    assert!(invalid(serve(read(4)).await).contains("5 bytes"));
    serve(Call::MakeDirectory(at("mine", "/frames")))
        .await
        .unwrap();
    run.copy(here("payload/data"), Place::Dfs(at("mine", "/frames/1")))
        .await
        .unwrap();
    run.copy(Place::Dfs(at("mine", "/frames/1")), here("output/back"))
        .await
        .unwrap();
    assert_eq!(run.file("output/back").unwrap(), "seven b");
    match serve(Call::List(at("mine", "/frames"))).await.unwrap() {
        Reply::Entries(entries) => {
            assert_eq!((entries[0].name.as_str(), entries[0].size), ("1", 7))
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(serve(Call::Pods).await, Ok(Reply::Names(names)) if names == ["mine"]));
    serve(Call::Remove(at("mine", "/frames/1"))).await.unwrap();
    assert!(matches!(
        serve(Call::Stat(at("mine", "/frames/1"))).await,
        Err(Error::NotFound(_))
    ));

    assert_eq!(
        denied(
            serve(Call::Read {
                file: at("other", "/x"),
                most: 1
            })
            .await
        ),
        "dfs.read"
    );
    assert_eq!(
        denied(
            serve(Call::Write {
                file: at("theirs", "/x"),
                content: Vec::new()
            })
            .await
        ),
        "dfs.write"
    );
    assert_eq!(
        denied(serve(Call::Share("mine".to_owned())).await),
        "dfs.share"
    );
    assert_eq!(
        denied(serve(Call::Receive("ab".repeat(32))).await),
        "dfs.share"
    );
}

#[tokio::test]
async fn what_is_shared_has_a_reference_and_what_is_unknown_is_not_received() {
    let run = run(json!({ "dfs": { "write": ["mine"], "share": true } }));
    run.desk
        .serve(Call::CreatePod("mine".to_owned()))
        .await
        .unwrap();
    match run
        .desk
        .serve(Call::Share("mine".to_owned()))
        .await
        .unwrap()
    {
        Reply::Text(reference) => assert_eq!(reference.len(), 64),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        run.desk.serve(Call::Receive("ab".repeat(32))).await,
        Err(Error::NotFound(_))
    ));
    assert!(
        invalid(run.desk.serve(Call::Receive("../..".to_owned())).await).starts_with("reference")
    );
}

#[tokio::test]
async fn a_job_gets_no_more_than_granted() {
    let run = run(golem());
    let open = |change: &dyn Fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        run.desk.serve(Call::OpenExecutor(options))
    };
    assert_eq!(
        denied(open(&|options| options.max_workers = Some(4)).await),
        "golem.max-workers"
    );
    assert_eq!(
        denied(open(&|options| options.budget = Some("1.000000000000000001".to_owned())).await),
        "golem.budget"
    );
    assert_eq!(
        denied(open(&|options| options.timeout = Some(301_000_000_000)).await),
        "golem.timeout"
    );
    assert_eq!(
        denied(open(&|options| options.subnet = Some("private".to_owned())).await),
        "golem.subnets"
    );
    assert_eq!(
        denied(open(&|options| options.demand.package = "other".to_owned()).await),
        "golem.packages"
    );
    for change in [
        |options: &mut Options| options.max_workers = Some(0),
        |options: &mut Options| options.budget = Some("-1".to_owned()),
        |options: &mut Options| options.budget = Some("1e3".to_owned()),
        |options: &mut Options| options.timeout = Some(0),
        |options: &mut Options| options.max_attempts = Some(0),
        |options: &mut Options| options.demand.min_mem_gib = Some(f64::NAN),
    ] {
        invalid(open(&change).await);
    }
}

#[tokio::test]
async fn workers_and_money_are_shared_by_all_jobs_and_come_back() {
    let run = run(golem());
    let open = |workers, budget: Option<&str>| {
        let budget = budget.map(str::to_owned);
        run.desk.serve(Call::OpenExecutor(Options {
            max_workers: workers,
            budget,
            ..options()
        }))
    };
    let handle = |reply: Result<Reply, Error>| match reply {
        Ok(Reply::Executor { executor, terms }) => (executor, terms.max_workers),
        other => panic!("{other:?}"),
    };
    let (first, _) = handle(open(Some(2), Some("0.6")).await);
    let (second, workers) = handle(open(None, Some("0.4")).await);
    assert_eq!(workers, 1, "what is left");
    assert_eq!(denied(open(None, None).await), "golem.max-workers");
    run.desk.serve(Call::CloseExecutor(first)).await.unwrap();
    assert!(
        matches!(open(Some(1), Some("0.7")).await, Err(Error::OverBudget(_))),
        "0.6 came back"
    );
    let (third, _) = handle(open(Some(2), Some("0.6")).await);
    // What the refused one had taken came back as well.
    for executor in [second, third] {
        run.desk.serve(Call::CloseExecutor(executor)).await.unwrap();
        assert!(
            invalid(run.desk.serve(Call::NextOutcome(executor)).await).contains("no open executor")
        );
    }
}

#[tokio::test]
async fn a_job_that_was_let_go_of_makes_room_for_the_next() {
    let run = run(golem());
    let executor = match run.desk.serve(Call::OpenExecutor(options())).await.unwrap() {
        Reply::Executor { executor, .. } => executor,
        other => panic!("{other:?}"),
    };
    let ending = run.desk.let_go(&Note::DropExecutor(executor)).unwrap();
    assert!(run.desk.let_go(&Note::DropExecutor(executor)).is_none());
    let (next, ()) = tokio::join!(run.desk.serve(Call::OpenExecutor(options())), ending);
    assert!(matches!(next, Ok(Reply::Executor { .. })), "{next:?}");
}

#[tokio::test]
async fn the_public_subnet_is_where_the_user_says() {
    let mut run = run(golem());
    run.desk.public_subnet = "mine".to_owned();
    match run.desk.serve(Call::OpenExecutor(options())).await.unwrap() {
        Reply::Executor { terms, .. } => assert_eq!(terms.subnet, "mine"),
        other => panic!("{other:?}"),
    }
}

/// A network on which publishing a demand takes some time.
struct Slow(Arc<dyn Network>);

impl Network for Slow {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn driver(&self) -> &str {
        self.0.driver()
    }

    fn publish<'a, 'b, 'c>(
        &'a self,
        demand: &'b sovr_golem::Demand,
    ) -> BoxFuture<'c, Result<Box<dyn Market>, NetworkError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.0.publish(demand).await
        })
    }
}

#[tokio::test]
async fn a_provider_that_was_being_rented_when_the_script_went_away_is_let_go_of_within_the_run() {
    let mut run = run(golem());
    run.desk.network = Arc::new(Slow(Arc::clone(&run.desk.network)));
    let opening = run.desk.serve(Call::OpenActivity(options()));
    let opening = tokio::time::timeout(Duration::from_millis(250), opening);
    assert!(opening.await.is_err(), "it was rented at once");
    run.desk.objects.over().await;
    let finished = (audit::Kind::Note, "golem.job-finished".to_owned());
    assert!(run.lines().contains(&finished), "{:?}", run.lines());
    // Its money is back: the whole budget can be had again.
    let all = Options {
        budget: Some("1".to_owned()),
        ..options()
    };
    let executor = match run.desk.serve(Call::OpenExecutor(all)).await {
        Ok(Reply::Executor { executor, .. }) => executor,
        other => panic!("{other:?}"),
    };
    run.desk.serve(Call::CloseExecutor(executor)).await.unwrap();
    run.desk.objects.over().await;
}

#[tokio::test]
async fn tasks_are_counted_and_their_paths_checked() {
    let run = run(golem());
    let executor = match run.desk.serve(Call::OpenExecutor(options())).await.unwrap() {
        Reply::Executor { executor, .. } => executor,
        other => panic!("{other:?}"),
    };
    let submit = |steps| {
        run.desk.serve(Call::Submit {
            executor,
            label: "x".to_owned(),
            steps,
            timeout: None,
        })
    };
    let send = |source: &str, destination: &str| {
        vec![Step::SendFile(Upload {
            source: source.to_owned(),
            destination: destination.to_owned(),
        })]
    };
    invalid(submit(Vec::new()).await);
    for (source, destination) in [
        ("../secret", "/golem/work/x"),
        ("/etc/passwd", "/golem/work/x"),
        ("payload/data", "golem/work/x"),
        ("payload/data", "/golem/../x"),
        ("payload/data", "/golem//x"),
    ] {
        assert!(invalid(submit(send(source, destination)).await).starts_with("steps[0]."));
    }
    let bytes = |length| {
        vec![Step::SendBytes(UploadBytes {
            content: vec![0; length],
            destination: "/golem/work/x".to_owned(),
        })]
    };
    invalid(submit(bytes((1 << 20) + 1)).await);
    let fetch = |count| {
        let step = Step::DownloadBytes(DownloadBytes {
            source: "/golem/work/x".to_owned(),
            most: 1 << 20,
        });
        vec![step; count]
    };
    invalid(submit(fetch(5)).await);
    invalid(submit(vec![send("payload/data", "/golem/work/x").remove(0); 65]).await);
    // Each is within its own bounds; together they would fill the host's memory, task by task.
    for args in [vec!["x".repeat(4096); 16], vec![String::new(); 256]] {
        let command = Step::Run(RunCommand {
            program: "/bin/tool".to_owned(),
            args,
        });
        assert!(invalid(submit(vec![command; 64]).await).contains("paths and arguments"));
    }
    submit(bytes(10)).await.unwrap();
    submit(send("payload/data", "/golem/work/x")).await.unwrap();
    assert_eq!(
        denied(submit(send("payload/data", "/golem/work/x")).await),
        "golem.max-tasks"
    );
    run.desk.serve(Call::CloseExecutor(executor)).await.unwrap();
}

#[tokio::test]
async fn bytes_that_wait_to_be_sent_are_bounded() {
    let run = run(json!({}));
    let megabyte = || run.desk.files.bytes(vec![0; 1 << 20]);
    let held: Vec<_> = (0..64).map(|_| megabyte().unwrap()).collect();
    assert!(matches!(megabyte(), Err(Error::Invalid(_))));
    drop(held);
    assert!(
        megabyte().is_ok(),
        "what is not needed any more does not count"
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_its_outcome() {
    let run = run(json!({ "dfs": { "read": ["theirs"] } }));
    {
        let call = run.desk.serve(Call::Pods);
        let mut call = std::pin::pin!(call);
        // Begins and is let go of at its first wait, whichever that is.
        let _ = futures::poll!(&mut call);
    }
    let lines = run.lines();
    assert_eq!(
        lines.first().map(|(kind, _)| *kind),
        Some(audit::Kind::Allowed),
        "{lines:?}"
    );
    assert_eq!(
        lines.last().map(|(kind, _)| *kind),
        Some(audit::Kind::Outcome),
        "{lines:?}"
    );
}
