//! What work on Golem costs on the machine of the one who asks for it, next to yapapi, Golem's own client, and by itself.
//!
//! ```sh
//! cargo install wasmtime-cli --version 48.0.8 --locked --root target/bench-tools
//! cargo xtask guests
//! cargo xtask golem
//! cargo build --release
//! apt-get install unzip
//! cargo bench --package sovr-e2e --bench golem           # all; or: -- golem, -- embedded
//! ```
//!
//! A bench of its own, because it moves into a network of its own before it does anything, as daemons want it, and the
//! others are not to be measured there. Whatever is missing is said, and left out. Runs of the candidates alternate, so
//! that a busy moment of the machine hits all of them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use sovr_e2e::measure::{
    self, Cost, at_most, cost, line, milliseconds, peer, quantile, ratio, ratios,
};
use sovr_e2e::{Home, Pod, paths};
use sovr_test_golem::client::{Client, Job};
use sovr_test_golem::{Network, Node, Provider, Terms};

/// Rounds on the network.
const ROUNDS: usize = 3;
const TASKS: u32 = 200;
/// Rounds here.
const LOCAL_ROUNDS: usize = 3;
const LOCAL_TASKS: u32 = 1000;
const SUBNET: &str = "bench";
const RUNTIME: &str = "sovr-wasi";
const PROGRAM: &str = "/bin/date";
/// Where a task puts its file and takes it from, and how long that is, as the guest `jobs` has it.
const NOTE: &str = "/golem/work/note";
const NOTE_BYTES: usize = 20_000;

fn main() {
    // The first thing of all: only a program with one thread can move.
    let missing = sovr_test_golem::prepare().or_else(|| Client::Yapapi.missing());
    measure::groups(&[
        ("golem", &|| match &missing {
            Some(why) => println!("  {why}"),
            None => golem(),
        }),
        ("embedded", &embedded),
    ]);
}

/// The same 200 tasks by `run --network yagna` and by yapapi, over the same daemons and with the same provider: each sends
/// a file of 20 kB, runs a program and fetches the file.
///
/// The provider is the scripted one of the tests: it waits for nothing and computes nothing, so what is measured is the
/// client and the daemons. One that runs packages would spend on this machine, for both, most of what there is to see.
/// For yapapi a stand-in of ours moves files, which uses less than the original and counts as a part of it.
fn golem() {
    let network = Network::start();
    let _provider = Provider::start(network.provider(), terms());
    let home = Home::new();
    let pod = pod(TASKS, None);
    let mut package = std::fs::read(pod.join("payload/date.zip")).unwrap();
    // A daemon never gives a name on its bus free that a program had by its REST interface, and names are of content.
    package.push(0);
    let job = Job {
        subnet: SUBNET.to_owned(),
        runtime: RUNTIME.to_owned(),
        package,
        program: PROGRAM.to_owned(),
        arguments: Vec::new(),
        input: vec![b'n'; NOTE_BYTES],
        send_to: NOTE.to_owned(),
        fetch_from: NOTE.to_owned(),
        tasks: TASKS,
        talks: false,
    };

    let [mut ours, mut theirs] = [const { Costs::new() }; 2];
    let mut helpers = Vec::new();
    for round in 0..=ROUNDS {
        let our = run(&home, &pod, daemon(network.requestor()));
        assert_eq!(pod.files("output").len(), TASKS as usize);
        std::fs::remove_dir_all(pod.join("output")).unwrap();
        let report = Client::Yapapi.run(network.requestor(), &job);
        // The first compiles the guest, and files of Python.
        if round > 0 {
            ours.add(our);
            theirs.add(Cost {
                wall: report.took,
                cpu: report.cpu + report.cpu_of_helpers,
            });
            helpers.push(report.cpu_of_helpers);
        }
    }
    ours.tell("run --network yagna");
    theirs.tell("yapapi");
    let helpers = quantile(&mut helpers, 0.5).as_secs_f64();
    line("  of that, what moves its files, s", helpers, None);
    spread("processor time, of each round", &ours.cpu, &theirs.cpu);
    at_most(
        "processor time: run / yapapi",
        ratio(&ours.cpu, &theirs.cpu),
        0.5,
    );
    spread("time, of each round", &ours.wall, &theirs.wall);
    at_most("time: run / yapapi", ratio(&ours.wall, &theirs.wall), 1.0);
}

/// A thousand tasks that do next to nothing, on a provider of this machine, one after the other.
///
/// What one costs is what a thousand cost beyond a single one, so the start of the program and of its provider does not
/// count. A task that sends one byte is nothing but our own doing. One that runs a program is that and a confined process
/// with an engine in it; beside it stands `wasmtime` with the same program, started as often by a shell.
fn embedded() {
    let home = Home::new();
    let count = LOCAL_TASKS.to_string();
    let kinds = ["send", "run"].map(|kind| [1, LOCAL_TASKS].map(|tasks| pod(tasks, Some(kind))));
    let program = program(
        kinds[0][0]
            .path()
            .parent()
            .expect("a pod lies in a directory"),
    );
    let mut each = [const { Costs::new() }; 2];
    let mut plain = Costs::new();
    for round in 0..=LOCAL_ROUNDS {
        for ([one, all], each) in kinds.iter().zip(&mut each) {
            let [one, all] = [one, all].map(|pod| run(&home, pod, Vec::new()));
            if round > 0 {
                each.add(Cost {
                    wall: all.wall.saturating_sub(one.wall) / (LOCAL_TASKS - 1),
                    cpu: all.cpu.saturating_sub(one.cpu) / (LOCAL_TASKS - 1),
                });
            }
        }
        if let Some(program) = &program {
            let often = r#"i=0; while [ $i -lt "$0" ]; do "$@"; i=$((i + 1)); done"#;
            let words = std::iter::once(program.get_program()).chain(program.get_args());
            let words = words.map(|word| word.to_str().expect("paths here are text").to_owned());
            let arguments = ["-ec".to_owned(), often.to_owned(), count.clone()];
            let all = cost(
                "/bin/sh".into(),
                arguments.into_iter().chain(words).collect(),
                Vec::new(),
            );
            if round > 0 {
                plain.add(Cost {
                    wall: all.wall / LOCAL_TASKS,
                    cpu: all.cpu / LOCAL_TASKS,
                });
            }
        }
    }
    let [send, run] = &mut each;
    send.tell_each("a task that sends a byte");
    run.tell_each("a task that runs a program");
    if program.is_some() {
        plain.tell_each("wasmtime run --allow-precompiled, the same program");
        line("a task / wasmtime", ratio(&run.wall, &plain.wall), None);
        line(
            "processor time: a task / wasmtime",
            ratio(&run.cpu, &plain.cpu),
            None,
        );
    }
}

/// What the rounds of one candidate took.
struct Costs {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Costs {
    const fn new() -> Costs {
        Costs {
            wall: Vec::new(),
            cpu: Vec::new(),
        }
    }

    fn add(&mut self, cost: Cost) {
        self.wall.push(cost.wall);
        self.cpu.push(cost.cpu);
    }

    fn medians(&self) -> Cost {
        let median = |times: &[Duration]| quantile(&mut times.to_vec(), 0.5);
        Cost {
            wall: median(&self.wall),
            cpu: median(&self.cpu),
        }
    }

    fn tell(&self, who: &str) {
        let Cost { wall, cpu } = self.medians();
        line(&format!("{who}, s"), wall.as_secs_f64(), None);
        line(
            &format!("{who}, processor time, s"),
            cpu.as_secs_f64(),
            None,
        );
    }

    fn tell_each(&self, what: &str) {
        let Cost { wall, cpu } = self.medians();
        line(&format!("{what}, ms"), milliseconds(wall), None);
        line(
            &format!("{what}, processor time, ms"),
            milliseconds(cpu),
            None,
        );
    }
}

/// The least and the most of all rounds.
fn spread(what: &str, ours: &[Duration], theirs: &[Duration]) {
    let ratios = ratios(ours, theirs);
    if let [least, .., most] = ratios[..] {
        println!("  {what}: from {least:.2} to {most:.2}");
    }
}

/// A start costs something and nothing else does: what the scripted provider claims to have used has nothing to do with
/// the time that passed.
fn terms() -> Terms {
    let mut terms = Terms::of(SUBNET);
    terms.runtime = RUNTIME.to_owned();
    let free = || "0".parse().expect("zero is an amount");
    terms.price.cpu_second = free();
    terms.price.duration_second = free();
    terms
}

/// A pod that does so many tasks on one worker.
fn pod(tasks: u32, kind: Option<&str>) -> Pod {
    let pod = Pod::from_guest(
        "jobs",
        json!({
            "golem": {
                "budget": "5", "max-workers": 1, "max-tasks": tasks, "timeout": "10m", "subnets": ["public"],
                "packages": { "date": [ { "wasi": "payload/date.zip" } ] },
            },
            "limits": { "memory": "64MiB", "time": "10m", "output": "64MiB", "files": 1000, "log": "4MiB" },
        }),
    );
    let package = paths::template("hello-world").join("payload/date.zip");
    std::fs::copy(package, pod.join("payload/date.zip")).unwrap();
    let kind = kind.unwrap_or_default();
    pod.edit_recipe(|recipe| {
        recipe["golem"]["exec"] = json!(format!("script/script.wasm 1 {tasks} 5 60 {kind}"));
    });
    pod
}

fn run(home: &Home, pod: &Pod, mut environment: Vec<(&'static str, String)>) -> Cost {
    environment.push(("SOVR_HOME", home.path().display().to_string()));
    let pod = pod.path().display().to_string();
    let words = ["run", &pod, "--yes"].map(str::to_owned);
    cost(paths::program(), words.into(), environment)
}

/// What says that work goes to this daemon.
fn daemon(node: &Node) -> Vec<(&'static str, String)> {
    vec![
        ("SOVR_NETWORK", "yagna".to_owned()),
        ("YAGNA_API_URL", node.api_url()),
        ("YAGNA_APPKEY", node.app_key().to_owned()),
        ("YAGNA_SUBNET", SUBNET.to_owned()),
    ]
}

/// `wasmtime` with the program of the package, if it is installed.
fn program(directory: &Path) -> Option<Command> {
    let package = paths::template("hello-world").join("payload/date.zip");
    let mut unzip = Command::new("unzip");
    unzip
        .args(["-q", "-o"])
        .arg(package)
        .arg("-d")
        .arg(directory);
    measure::time(&mut unzip);
    peer(&directory.join("date.wasm"), &directory.join("date.cwasm"))
}
