//! What the program costs next to others that do the same, as ratios of one run on one machine. Absolute times say
//! more about the machine.
//!
//! ```sh
//! cargo install wasmtime-cli --version 48.0.8 --locked --root target/bench-tools
//! cargo xtask guests
//! cargo build --release
//! cargo build --release --manifest-path plugins/Cargo.toml --package renderer --bin renderer
//! apt-get install zip unzip curl golang
//! cargo xtask fairos
//! cargo bench --package sovr-e2e               # all; or: -- start, -- render, -- deadline, -- storage, -- fairos,
//!                                              # and those of the bench beside this one: -- golem, -- embedded
//! ```
//!
//! Peers are installed for the bench only and nothing else uses them. Whatever is missing is said, and left out.
//! Runs of the candidates alternate, so that a busy moment of the machine hits all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sovr_e2e::measure::{self, at_most, line, medians, milliseconds, peer, quantile, ratio, time};
use sovr_e2e::users::PASSWORD;
use sovr_e2e::{Home, Pod, Storage, User, exit, paths, wasm};
use sovr_test_fairos::{Server, program};

/// Rounds of what takes milliseconds.
const ROUNDS: usize = 40;
/// Rounds of what takes many seconds.
const LONG_ROUNDS: usize = 3;
/// Deadlines that are waited for, per way of not ending.
const DEADLINES: usize = 50;

fn main() {
    measure::groups(&[
        ("start", &start),
        ("render", &render),
        ("deadline", &deadline),
        ("storage", &storage),
        ("fairos", &fairos),
    ]);
}

/// A warm start: code compiled, consent given.
fn start() {
    let home = Home::new();
    // A program that any host of WASI runs: it looks at its environment, which is empty, and prints a word.
    let plain = Pod::from_guest("environment", json!({}));
    let hello = Pod::from_template("hello-world");
    let mut candidates: Vec<Command> = [&plain, &hello]
        .map(|pod| home.command(["run".as_ref(), pod.path().as_os_str(), "--yes".as_ref()]))
        .into();
    let mut python = Command::new(python_itself());
    python.args(["-c", "pass"]);
    candidates.push(python);
    let precompiled = home.path().join("plain.cwasm");
    let peer = peer(&paths::guest("environment"), &precompiled);
    candidates.extend(peer);

    let medians = medians(ROUNDS, &mut candidates);
    let [plain, hello, python] = medians[..3] else {
        unreachable!("three candidates are always there")
    };
    line("run, a plain script, ms", milliseconds(plain), None);
    line(
        "run hello-world (a provider, a package, money), ms",
        milliseconds(hello),
        None,
    );
    line("python3 -c pass, ms", milliseconds(python), None);
    if let Some(peer) = medians.get(3) {
        line(
            "wasmtime run --allow-precompiled, the plain script, ms",
            milliseconds(*peer),
            None,
        );
        at_most(
            "run / wasmtime, the same script",
            plain.div_duration_f64(*peer),
            1.5,
        );
        at_most(
            "run hello-world / wasmtime",
            hello.div_duration_f64(*peer),
            1.5,
        );
    }
    at_most(
        "run, a plain script / python3",
        plain.div_duration_f64(python),
        0.3,
    );
    at_most(
        "run hello-world / python3",
        hello.div_duration_f64(python),
        0.3,
    );
}

/// The interpreter, and not a script that chooses one of several.
fn python_itself() -> String {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    let output = output.unwrap_or_else(|error| panic!("cannot run python3: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Six frames on one and on two workers, and natively one after the other.
fn render() {
    const SIZE: [&str; 6] = ["--width", "400", "--height", "300", "--samples", "64"];
    const FRAMES: [&str; 6] = ["0", "10", "20", "30", "40", "50"];
    let home = Home::new();
    let pods = [1, 2].map(|workers| {
        let pod = Pod::from_template("render");
        pod.edit_recipe(|recipe| recipe["capabilities"]["golem"]["max-workers"] = json!(workers));
        pod
    });
    let native = native_renderer();
    // Compiles everything once.
    home.run_pod(
        &pods[0],
        &[
            "--frames",
            "0",
            "--width",
            "16",
            "--height",
            "12",
            "--samples",
            "1",
        ],
    )
    .expect(exit::OK);

    let mut times = [const { Vec::new() }; 3];
    for _ in 0..LONG_ROUNDS {
        for (pod, times) in pods.iter().zip(&mut times) {
            let path = pod.path();
            let words = [
                "run".as_ref(),
                path.as_os_str(),
                "--yes".as_ref(),
                "--".as_ref(),
            ];
            times.push(time(home.command(words).args(SIZE)));
        }
        if let Some(renderer) = &native {
            let begun = Instant::now();
            for frame in FRAMES {
                let mut command = Command::new(renderer);
                command
                    .arg("--scene")
                    .arg(paths::template("render").join("payload/scene.json"));
                command
                    .args(["--frame", frame])
                    .args(SIZE)
                    .arg("--output")
                    .arg(home.path().join("native.png"));
                time(&mut command);
            }
            times[2].push(begun.elapsed());
        }
    }
    let [one, two] = [0, 1].map(|index| quantile(&mut times[index], 0.5));
    line("one worker, s", one.as_secs_f64(), None);
    line("two workers, s", two.as_secs_f64(), None);
    let speed_up = one.div_duration_f64(two);
    line(
        "speed-up of two workers over one",
        speed_up,
        Some(("at least 1.8", speed_up >= 1.8)),
    );
    if !times[2].is_empty() {
        let native = quantile(&mut times[2], 0.5);
        line(
            "native, one frame after the other, s",
            native.as_secs_f64(),
            None,
        );
        line("one worker / native", one.div_duration_f64(native), None);
        line("two workers / native", two.div_duration_f64(native), None);
    }
}

fn native_renderer() -> Option<PathBuf> {
    let renderer = paths::project().join("plugins/target/release/renderer");
    if !renderer.exists() {
        println!(
            "  {} is not there: see the head of this bench for how to build it",
            renderer.display()
        );
        return None;
    }
    Some(renderer)
}

/// From the deadline until the process is gone, for a guest that computes, one that waits in the host, and one that
/// does not even come to its `main`.
fn deadline() {
    const TIME: Duration = Duration::from_secs(1);
    let guests = [
        ("computes", fs::read(paths::guest("endless_loop")).unwrap()),
        ("waits", fs::read(paths::guest("endless_sleep")).unwrap()),
        ("starts", wasm::loop_in_start()),
    ];
    let mut all = Vec::new();
    for (name, guest) in guests {
        let (home, pod) = (
            Home::new(),
            Pod::from_component(name, &guest, json!({ "limits": { "time": "1s" } })),
        );
        home.run_pod(&pod, &[]).expect(exit::LIMIT);
        let mut late: Vec<Duration> = (0..DEADLINES)
            .map(|_| {
                let ended = home.run_pod(&pod, &[]).expect(exit::LIMIT);
                let begun = ended.event("started").at;
                let gone = ended
                    .children_in_role("runner")
                    .filter_map(|runner| runner.gone)
                    .max();
                gone.expect("the runner was seen")
                    .duration_since(begun)
                    .saturating_sub(TIME)
            })
            .collect();
        all.extend_from_slice(&late);
        line(
            &format!("a guest that {name}: deadline to process gone, p50, ms"),
            milliseconds(quantile(&mut late, 0.5)),
            None,
        );
    }
    line("all: p50, ms", milliseconds(quantile(&mut all, 0.5)), None);
    at_most(
        "all: p99, ms",
        milliseconds(quantile(&mut all, 0.99)),
        100.0,
    );
}

/// A pod of 500 MB into storage and out again, next to Info-ZIP and `cp`, which do the same steps: an archive is made and
/// put into its place; it is copied from there and unpacked. What counts as done is on the disk.
fn storage() {
    let users = Storage::new();
    let alice = users.user("alice");
    let pod = large_pod();
    let path = pod.path();
    let reference = alice.persist(&path);
    let (archive, stored) = (alice.path("pod.zip"), alice.path("stored.zip"));
    let shell = |script: &str, directory: &Path| {
        let mut command = Command::new("sh");
        command
            .args(["-ec", script, "sh"])
            .args([&archive, &stored])
            .current_dir(directory);
        command
    };
    let make = "zip -rq \"$1\" . && cp \"$1\" \"$2\" && sync -f \"$2\" && rm \"$1\"";
    let take =
        "cp \"$2\" \"$1\" && mkdir taken && unzip -q \"$1\" -d taken && rm \"$1\" && sync -f taken";

    let mut times = [const { Vec::new() }; 4];
    for round in 0..=LONG_ROUNDS {
        let mut commands = [
            alice.home.command(["persist".as_ref(), path.as_os_str()]),
            shell(make, &path),
            alice.home.command(["fork", &reference, "--into", "forked"]),
            shell(take, &alice.path("")),
        ];
        commands[2].current_dir(alice.path(""));
        for (command, times) in commands.iter_mut().zip(&mut times) {
            let took = time(command);
            if round > 0 {
                times.push(took);
            }
        }
        for name in ["forked", "taken"] {
            fs::remove_dir_all(alice.path(name)).unwrap();
        }
    }
    let [persist, zip, fork, unzip] = [0, 1, 2, 3].map(|index| quantile(&mut times[index], 0.5));
    line("persist, s", persist.as_secs_f64(), None);
    line("zip and cp, s", zip.as_secs_f64(), None);
    at_most("persist / zip and cp", persist.div_duration_f64(zip), 1.2);
    line("fork, s", fork.as_secs_f64(), None);
    line("cp and unzip, s", unzip.as_secs_f64(), None);
    at_most("fork / cp and unzip", fork.div_duration_f64(unzip), 1.2);
}

/// A pod of 100 MB onto a FairOS-dfs server and back, next to `curl` that sends and fetches the pod's archive: the same
/// bytes to and from the same server, in blocks of the same size, each time into a new pod. What persist and fork do
/// beyond that counts for them: archive, digests, recipe, books, sharing, unpacking, and to look whether it has arrived.
///
/// Noise, because the archive is to have as many bytes as the pod. The server keeps all in memory.
fn fairos() {
    if let Some(why) = program::missing() {
        println!("  {why}");
        return;
    }
    let users = Storage::fairos(Server::dev());
    let alice = users.user("alice");
    let curl = Curl::log_in(&users, &alice);
    let pod = noisy_pod(10);
    let path = pod.path();
    let (sent, fetched) = (alice.path("sent.zip"), alice.path("fetched.zip"));

    let mut times = [const { Vec::new() }; 4];
    for round in 0..=LONG_ROUNDS {
        let (name, plain) = (format!("noisy-{round}"), format!("plain-{round}"));
        pod.edit_recipe(|recipe| recipe["name"] = json!(name));
        let persist = time(&mut alice.home.command(["persist".as_ref(), path.as_os_str()]));
        let listed = alice.document(&["list"]);
        let own = listed["own"].as_array().unwrap();
        let entry = own.iter().find(|entry| entry["pod"] == name.as_str());
        let reference = entry.unwrap()["references"][0].as_str().unwrap();

        time(&mut curl.fetch(&name, &format!("{name}.zip"), &sent));
        time(&mut curl.make(&plain));
        let send = time(&mut curl.send(&plain, &sent));
        let mut fork = alice.home.command(["fork", reference, "--into", "forked"]);
        let fork = time(fork.current_dir(alice.path("")));
        let fetch = time(&mut curl.fetch(&plain, "sent.zip", &fetched));
        assert_eq!(fs::read(&sent).unwrap(), fs::read(&fetched).unwrap());
        fs::remove_dir_all(alice.path("forked")).unwrap();
        if round > 0 {
            for (times, took) in times.iter_mut().zip([persist, send, fork, fetch]) {
                times.push(took);
            }
        }
    }
    let persist = ratio(&times[0], &times[1]);
    let fork = ratio(&times[2], &times[3]);
    let words = [
        "persist, s",
        "curl, sending, s",
        "fork, s",
        "curl, fetching, s",
    ];
    for (what, times) in words.into_iter().zip(&mut times) {
        line(what, quantile(times, 0.5).as_secs_f64(), None);
    }
    at_most("persist / curl, sending", persist, 1.1);
    at_most("fork / curl, fetching", fork, 1.1);

    let peaks = [1, 10].map(|files| {
        let pod = noisy_pod(files);
        pod.edit_recipe(|recipe| recipe["name"] = json!(format!("size-{files}")));
        let path = pod.path();
        let persisted = alice
            .run(["persist", path.to_str().unwrap(), "--json"])
            .expect(exit::OK);
        let reference: Value = serde_json::from_str(&persisted.stdout()).unwrap();
        let reference = reference["reference"].as_str().unwrap();
        let forked = alice
            .run(["fork", reference, "--into", "forked"])
            .expect(exit::OK);
        fs::remove_dir_all(alice.path("forked")).unwrap();
        [persisted, forked].map(|ended| {
            let children = ended.children.iter().map(|child| child.peak());
            let parent = ended.parent.iter().map(|parent| parent.peak());
            children.chain(parent).max().unwrap_or_default() as f64 / 1e6
        })
    });
    for (index, what) in ["persist", "fork"].into_iter().enumerate() {
        let [small, large] = peaks.map(|peaks| peaks[index]);
        line(
            &format!("{what}: peak of memory with 10 MB, MB"),
            small,
            None,
        );
        at_most(
            &format!("{what}: what 90 MB more add to it, MB"),
            large - small,
            8.0,
        );
    }
}

/// The server's interface as its documentation shows it.
struct Curl {
    server: String,
    token: String,
}

impl Curl {
    fn log_in(users: &Storage, user: &User) -> Curl {
        let server = users.server().expect("it is a server").url().to_owned();
        let login = json!({ "userName": user.name, "password": PASSWORD });
        let answer = Command::new("curl")
            .args(["-sSf", "-H", "Content-Type: application/json", "-d"])
            .args([login.to_string(), format!("{server}/v2/user/login")])
            .output()
            .expect("curl is there");
        let answer: Value = serde_json::from_slice(&answer.stdout).expect("the login is answered");
        let token = answer["accessToken"].as_str().expect("a login has a token");
        Curl {
            server,
            token: token.to_owned(),
        }
    }

    fn call(&self, path: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["-sSf", "-H"])
            .arg(format!("Authorization: Bearer {}", self.token))
            .arg(format!("{}{path}", self.server));
        command
    }

    fn make(&self, pod: &str) -> Command {
        let mut command = self.call("/v1/pod/new");
        command.args(["-H", "Content-Type: application/json", "-d"]);
        command.arg(json!({ "podName": pod }).to_string());
        command
    }

    fn send(&self, pod: &str, file: &Path) -> Command {
        /// As the program chooses it.
        const BLOCKS: u64 = 16;
        let size = fs::metadata(file).expect("the archive is there").len();
        let block = (size / BLOCKS).clamp(1_000_000, 8_000_000);
        let mut command = self.call("/v1/file/upload");
        for field in [
            format!("podName={pod}"),
            "dirPath=/".to_owned(),
            "overwrite=true".to_owned(),
            format!("blockSize={block}"),
            format!("files=@{}", file.display()),
        ] {
            command.args(["-F", &field]);
        }
        command
    }

    fn fetch(&self, pod: &str, file: &str, into: &Path) -> Command {
        let mut command = self.call(&format!("/v1/file/download?podName={pod}&filePath=/{file}"));
        command.arg("-o").arg(into);
        command
    }
}

/// A pod of so many files of 10 MB that nothing makes smaller.
fn noisy_pod(files: usize) -> Pod {
    let pod = Pod::from_template("hello-world");
    let mut next = noise();
    for number in 0..files {
        let bytes: Vec<u8> = (0..10_000_000 / 8)
            .flat_map(|_| next().to_le_bytes())
            .collect();
        fs::write(pod.join(&format!("payload/noise-{number}.bin")), bytes).unwrap();
    }
    pod
}

/// Numbers with no order in them, always the same.
fn noise() -> impl FnMut() -> u64 {
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise
    }
}

/// 500 MB: noise as in pictures, text, and many small files.
fn large_pod() -> Pod {
    let pod = noisy_pod(25);
    pod.edit_recipe(|recipe| recipe["name"] = json!("large"));
    let payload = pod.join("payload");
    let mut next = noise();
    let mut text = |bytes: usize| {
        let mut text = String::new();
        while text.len() < bytes {
            let word = WORDS[(next() % WORDS.len() as u64) as usize];
            text.push_str(&format!("{word} {} ", next() % 1000));
        }
        text
    };
    for number in 0..20 {
        fs::write(payload.join(format!("text-{number}.txt")), text(10_000_000)).unwrap();
    }
    fs::create_dir(payload.join("small")).unwrap();
    for number in 0..5_000 {
        fs::write(payload.join(format!("small/{number}.txt")), text(10_000)).unwrap();
    }
    pod
}

const WORDS: [&str; 12] = [
    "frame",
    "provider",
    "pod",
    "agreement",
    "payload",
    "scene",
    "vertex",
    "normal",
    "texture",
    "budget",
    "activity",
    "reference",
];
