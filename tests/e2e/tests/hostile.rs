//! Guests that abuse their host, one test each. What they did is asserted from outside, and a table at the end says
//! for each which limit ended it, how long after the deadline its process was gone, and what it cost the host.
//!
//! A guest prints `EVIL:` before what it achieved and `held:` before what it was answered instead.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use sovr_e2e::{Ended, Home, Pod, exit, paths, wasm};

/// A process is gone this soon after its deadline, on a machine that is busy with other tests. The benches measure
/// what it is on a quiet one.
const LATEST: Duration = Duration::from_millis(500);
/// What any guest may cost the program itself in memory.
const MOST_GROWTH: u64 = 32 << 20;
/// What compiling may take, in the program.
const COMPILE_TIME: Duration = Duration::from_secs(90);

const MIB: u64 = 1 << 20;

/// Every test, by name.
const TESTS: [(&str, fn()); 27] = [
    ("endless_loop", endless_loop),
    ("endless_sleep", endless_sleep),
    ("loop_in_start_function", loop_in_start_function),
    ("memory_bomb", memory_bomb),
    ("memory_bomb_of_many_pieces", memory_bomb_that_fits),
    (
        "huge_memory_from_the_beginning",
        huge_memory_from_the_beginning,
    ),
    ("read_outside", read_outside),
    ("write_outside", write_outside),
    ("errands", errands),
    ("golem_errands", golem_errands),
    ("symlink_in_the_payload", symlink_in_the_payload),
    ("hard_link_in_the_payload", hard_link_in_the_payload),
    ("fifo_in_the_payload", fifo_in_the_payload),
    ("fifo_that_appears_later", fifo_that_appears_later),
    ("environment", environment),
    ("sockets_connect", sockets_connect),
    ("sockets_send", sockets_send),
    ("sockets_listen", sockets_listen),
    ("sockets_resolve", sockets_resolve),
    ("flood_of_stdout", || output_flood("stdout")),
    ("flood_of_stderr", || output_flood("stderr")),
    ("flood_of_log", || output_flood("log")),
    ("many_files", many_files),
    ("one_growing_file", one_growing_file),
    ("many_growing_files", many_growing_files),
    ("overspend", overspend),
    ("compile_bomb", compile_bomb),
];

/// Guests of the same build that other tests use.
const TESTED_ELSEWHERE: [&str; 3] = ["jobs", "storage_errands", "task_pod"];

static TABLE: Mutex<Vec<Row>> = Mutex::new(Vec::new());

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = TESTS
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok(())
            })
        })
        .collect();
    trials.push(Trial::test("every_guest_is_tested", || {
        every_guest_is_tested();
        Ok(())
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    print_table();
    conclusion.exit_code()
}

/// A line of the table.
struct Row {
    guest: String,
    ended_by: String,
    ran: Duration,
    late: Option<Duration>,
    growth: u64,
}

fn print_table() {
    let mut rows = TABLE.lock().unwrap();
    rows.sort_by(|a, b| a.guest.cmp(&b.guest));
    if rows.is_empty() {
        return;
    }
    println!(
        "{:32} {:28} {:>10} {:>22} {:>12}",
        "guest", "ended by", "ran", "gone after deadline", "host grew"
    );
    for Row {
        guest,
        ended_by,
        ran,
        late,
        growth,
    } in rows.iter()
    {
        let late = late.map_or("-".to_owned(), |late| format!("{} ms", late.as_millis()));
        let (ran, growth) = (
            format!("{} ms", ran.as_millis()),
            format!("{:.1} MiB", *growth as f64 / MIB as f64),
        );
        println!("{guest:32} {ended_by:28} {ran:>10} {late:>22} {growth:>12}");
    }
    println!();
}

/// Adds a line for a run, and checks what holds for all: the host did not grow, and nothing was left running.
#[track_caller]
fn note(guest: &str, ended: &Ended, deadline: Option<Duration>) {
    let report = ended.report();
    let started = ended.event("started").at;
    // A runner that lives for a few milliseconds may be overlooked; the broker tells its end when it is gone.
    let gone = ended
        .children_in_role("runner")
        .filter_map(|runner| runner.gone)
        .max();
    let gone = gone.unwrap_or_else(|| ended.event("finished").at);
    let ran = gone.saturating_duration_since(started);
    let late = deadline.map(|deadline| ran.saturating_sub(deadline));
    let ended_by = match report["limit"].as_str() {
        Some(limit) => limit.to_owned(),
        None => format!("itself ({})", report["ending"].as_str().unwrap_or("?")),
    };
    add_row(
        Row {
            guest: guest.to_owned(),
            ended_by,
            ran,
            late,
            growth: ended.growth_since(started),
        },
        ended,
    );
}

#[track_caller]
fn add_row(row: Row, ended: &Ended) {
    ended.expect_no_process_left();
    assert!(
        row.growth <= MOST_GROWTH,
        "the host grew by {} MiB\n{ended}",
        row.growth / MIB
    );
    if let Some(late) = row.late {
        assert!(
            late <= LATEST,
            "it was there {late:?} after its deadline\n{ended}"
        );
    }
    TABLE.lock().unwrap().push(row);
}

/// Limits for all but the one that a test is about.
fn limits(changed: Value) -> Value {
    let mut limits = json!({ "memory": "64MiB", "time": "30s", "output": "64MiB", "files": 1000, "log": "1MiB" });
    for (key, value) in changed.as_object().unwrap() {
        limits[key] = value.clone();
    }
    json!({ "limits": limits })
}

fn with_arguments(pod: Pod, arguments: &str) -> Pod {
    pod.edit_recipe(|recipe| {
        recipe["golem"]["exec"] = json!(format!("script/script.wasm {arguments}"))
    });
    pod
}

/// The guest ran to its own end and reached nothing.
#[track_caller]
fn expect_held(guest: &str, ended: &Ended) {
    let output = ended.script_output();
    assert!(output.contains("held:"), "it tried nothing\n{ended}");
    assert!(!output.contains("EVIL:"), "it succeeded\n{ended}");
    note(guest, ended, None);
}

#[track_caller]
fn expect_limit(guest: &str, ended: &Ended, limit: &str, deadline: Option<Duration>) {
    let report = ended.report();
    assert_eq!(
        (&report["ending"], &report["limit"]),
        (&json!("limit-hit"), &json!(limit)),
        "{ended}"
    );
    assert!(
        !ended.script_output().contains("EVIL:"),
        "it succeeded\n{ended}"
    );
    note(guest, ended, deadline);
}

fn every_guest_is_tested() {
    let source = include_str!("hostile.rs");
    for guest in paths::all_guests() {
        let tested =
            TESTED_ELSEWHERE.contains(&guest.as_str()) || source.contains(&format!("\"{guest}\""));
        assert!(tested, "no test uses the guest {guest}");
    }
}

fn never_ends(name: &str, pod: &Pod) {
    let ended = Home::new().run_pod(pod, &[]).expect(exit::LIMIT);
    expect_limit(name, &ended, "limits.time", Some(Duration::from_secs(1)));
}

fn endless_loop() {
    never_ends(
        "endless_loop",
        &Pod::from_guest("endless_loop", limits(json!({ "time": "1s" }))),
    );
}

fn endless_sleep() {
    never_ends(
        "endless_sleep",
        &Pod::from_guest("endless_sleep", limits(json!({ "time": "1s" }))),
    );
}

fn loop_in_start_function() {
    let pod = Pod::from_component(
        "loop_in_start",
        &wasm::loop_in_start(),
        limits(json!({ "time": "1s" })),
    );
    never_ends("loop_in_start_function", &pod);
}

fn memory_bomb() {
    let pod = Pod::from_guest("memory_bomb", limits(json!({ "memory": "64MiB" })));
    let ended = Home::new().run_pod(&pod, &[]);
    expect_runner_below(&ended, 64 * MIB);
    match ended.code() {
        // The guest was refused more and took it well.
        exit::OK => expect_held("memory_bomb", &ended),
        _ => expect_limit(
            "memory_bomb",
            &ended.expect(exit::LIMIT),
            "limits.memory",
            None,
        ),
    }
}

/// What it was granted, a guest gets.
fn memory_bomb_that_fits() {
    let pod = with_arguments(
        Pod::from_guest("memory_bomb", limits(json!({ "memory": "256MiB" }))),
        "128",
    );
    let ended = Home::new().run_pod(&pod, &[]).expect(exit::OK);
    assert!(ended.script_output().contains("holds 128 MiB"), "{ended}");
}

fn huge_memory_from_the_beginning() {
    let pod = Pod::from_component(
        "huge_memory",
        &wasm::huge_memory(),
        limits(json!({ "memory": "64MiB" })),
    );
    let ended = Home::new().run_pod(&pod, &[]).expect(exit::LIMIT);
    expect_runner_below(&ended, 64 * MIB);
    expect_limit("huge_memory", &ended, "limits.memory", None);
}

/// The runner had what the guest was granted, and what the engine needs itself.
#[track_caller]
fn expect_runner_below(ended: &Ended, granted: u64) {
    const ENGINE: u64 = 64 * MIB;
    let peak = ended
        .children_in_role("runner")
        .map(|runner| runner.peak())
        .max()
        .unwrap_or(0);
    assert!(
        0 < peak && peak <= granted + ENGINE,
        "the runner had {} MiB\n{ended}",
        peak / MIB
    );
}

/// A file beside the pod that no pod may touch.
fn secret_beside(pod: &Pod) -> std::path::PathBuf {
    let path = pod.path().with_file_name("secret.txt");
    fs::write(&path, "secret").unwrap();
    path
}

fn read_outside() {
    let pod = Pod::from_guest("read_outside", limits(json!({})));
    let secret = secret_beside(&pod);
    let home = Home::new();
    let database = home.path().join("state/state.sqlite");
    let ended = home
        .run_pod(
            &pod,
            &[secret.to_str().unwrap(), database.to_str().unwrap()],
        )
        .expect(exit::OK);
    expect_held("read_outside", &ended);
}

fn write_outside() {
    let pod = Pod::from_guest("write_outside", limits(json!({})));
    let secret = secret_beside(&pod);
    fs::write(pod.join("payload/data"), "payload").unwrap();
    let before = [
        pod.join("recipe.json"),
        pod.join("script/script.wasm"),
        pod.join("payload/data"),
        secret.clone(),
    ]
    .map(|path| (fs::read(&path).unwrap(), path));
    let ended = Home::new()
        .run_pod(&pod, &[secret.to_str().unwrap()])
        .expect(exit::OK);
    expect_held("write_outside", &ended);
    for (content, path) in before {
        assert!(
            fs::read(&path).unwrap() == content,
            "{} was changed",
            path.display()
        );
    }
    for directory in ["payload", "script"] {
        assert_eq!(
            pod.files(directory).len(),
            1,
            "something was added to {directory}"
        );
    }
    assert!(!Path::new("/var/tmp/sovr-hostile-was-here").exists());
    let around = fs::read_dir(pod.path().parent().unwrap()).unwrap().count();
    assert_eq!(around, 2, "something was left beside the pod");
}

fn errands() {
    let pod = Pod::from_guest("errands", limits(json!({})));
    let secret = secret_beside(&pod);
    let recipe = fs::read(pod.join("recipe.json")).unwrap();
    let ended = Home::new()
        .run_pod(&pod, &[secret.to_str().unwrap()])
        .expect(exit::OK);
    expect_held("errands", &ended);
    assert!(fs::read(pod.join("recipe.json")).unwrap() == recipe);
    assert!(!pod.join("output/loot").exists() && !pod.join("escaped").exists());
    assert_eq!(fs::read_to_string(secret).unwrap(), "secret");
}

/// Capabilities to run the package `date`, and the package itself.
fn with_golem(guest: &str, budget: &str) -> Pod {
    let mut capabilities = limits(json!({}));
    capabilities["golem"] = json!({
        "budget": budget, "max-workers": 2, "max-tasks": 1000, "timeout": "5m", "subnets": ["public"],
        "packages": { "date": [ { "wasi": "payload/date.zip" } ] },
    });
    let pod = Pod::from_guest(guest, capabilities);
    fs::copy(
        paths::template("hello-world").join("payload/date.zip"),
        pod.join("payload/date.zip"),
    )
    .unwrap();
    pod
}

fn golem_errands() {
    let pod = with_golem("golem_errands", "10");
    pod.edit_recipe(|recipe| recipe["capabilities"]["limits"]["time"] = json!("5m"));
    let secret = secret_beside(&pod);
    let recipe = fs::read(pod.join("recipe.json")).unwrap();
    let ended = Home::new()
        .run_pod(&pod, &["date", secret.to_str().unwrap()])
        .expect(exit::OK);
    expect_held("golem_errands", &ended);
    assert!(fs::read(pod.join("recipe.json")).unwrap() == recipe);
    assert_eq!(fs::read_to_string(secret).unwrap(), "secret");
}

fn overspend() {
    let ended = Home::new()
        .run_pod(&with_golem("overspend", "1"), &["date", "1"])
        .expect(exit::OK);
    expect_held("overspend", &ended);
    assert_eq!(ended.report()["cost"], "0");
}

/// A pod that is not what it seems is not run at all.
#[track_caller]
fn expect_refused(pod: &Pod, name: &str) {
    let ended = Home::new().run_pod(pod, &[]).expect(exit::INVALID_POD);
    assert_eq!(
        ended.children_in_role("runner").count(),
        0,
        "it was run\n{ended}"
    );
    assert!(
        ended.stderr.contains(name),
        "the message does not name {name}\n{ended}"
    );
}

fn symlink_in_the_payload() {
    let pod = Pod::from_guest("read_outside", limits(json!({})));
    std::os::unix::fs::symlink("/etc/passwd", pod.join("payload/link")).unwrap();
    expect_refused(&pod, "payload/link");
}

fn hard_link_in_the_payload() {
    let pod = Pod::from_guest("read_outside", limits(json!({})));
    fs::hard_link(secret_beside(&pod), pod.join("payload/second-name")).unwrap();
    expect_refused(&pod, "payload/second-name");
}

fn make_fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn fifo_in_the_payload() {
    let pod = Pod::from_guest("fifo", limits(json!({ "time": "1s" })));
    make_fifo(&pod.join("payload/pipe"));
    expect_refused(&pod, "payload/pipe");
}

/// Nobody can look before each time a guest opens a file: a pipe that another process makes meanwhile may hold the
/// runner in the kernel. Its deadline ends it all the same.
fn fifo_that_appears_later() {
    let time = Duration::from_secs(2);
    let pod = with_arguments(
        Pod::from_guest("fifo", limits(json!({ "time": "2s" }))),
        "/output/pipe",
    );
    fs::create_dir_all(pod.join("output")).unwrap();
    let path = pod.join("output/pipe");
    let home = Home::new();
    // Compiled before, so that the pipe can come between the look at the tree and the guest's own.
    let warm = home.run_pod(&pod, &[]);
    assert!(warm.script_output().contains("opening"), "{warm}");
    for _ in 0..20 {
        let mut running = home.start_pod(&pod, &[]).within(Duration::from_secs(30));
        running
            .wait_for(|event| event["event"] == "started")
            .expect("it starts");
        make_fifo(&path);
        let ended = running.wait();
        fs::remove_file(&path).unwrap();
        if ended.code() == exit::LIMIT {
            return expect_limit("fifo_that_appears_later", &ended, "limits.time", Some(time));
        }
        // The guest was first: fine, but not what is to be shown.
        let ended = ended.expect(exit::OK);
        assert!(ended.script_output().contains("held:"), "{ended}");
        ended.expect_no_process_left();
    }
    println!("fifo_that_appears_later: the guest was always first");
}

fn environment() {
    let mut capabilities = limits(json!({}));
    // The user's secrets are not given even where the user's policy would allow it.
    let secrets = [
        "SOVR_FAIROS_PASSWORD",
        "YAGNA_APPKEY",
        "YAGNA_AUTOCONF_APPKEY",
        "YAGNA_AUTOCONF_ID_SECRET",
    ];
    let asked = [&["LANG"], &secrets[..]].concat();
    capabilities["env"] = json!(asked);
    let guest = Pod::from_guest("environment", capabilities);
    let pod = with_arguments(guest, &asked.join(" "));
    let home = Home::new().with("policy.toml", "env = ['*']");
    let path = pod.path();
    let mut command = home.command(["run", path.to_str().unwrap(), "--yes", "--json"]);
    command
        .env("LANG", "de_AT.UTF-8")
        .env("LC_ALL", "C")
        .env("AWS_SECRET_ACCESS_KEY", "hunter2")
        .envs(secrets.map(|name| (name, "hunter2")));
    let ended = sovr_e2e::Running::start(command).wait().expect(exit::OK);
    let output = ended.script_output();
    assert_eq!(output, "looking\ngranted: LANG=de_AT.UTF-8\n", "{ended}");
    note("environment", &ended, None);
}

fn sockets(how: &str, peer: &str) {
    let pod = Pod::from_guest("sockets", limits(json!({})));
    let ended = Home::new().run_pod(&pod, &[how, peer]);
    assert!(
        [exit::OK, exit::POD_FAILED].contains(&ended.code()),
        "{ended}"
    );
    assert!(
        ended.script_output().contains("trying to"),
        "it tried nothing\n{ended}"
    );
    assert!(
        !ended.script_output().contains("EVIL:"),
        "it succeeded\n{ended}"
    );
    note(&format!("sockets_{how}"), &ended, None);
}

fn sockets_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    sockets("connect", &listener.local_addr().unwrap().to_string());
    assert!(listener.accept().is_err(), "somebody connected");
}

fn sockets_send() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    sockets("send", &socket.local_addr().unwrap().to_string());
    assert!(
        socket.recv(&mut [0; 16]).is_err(),
        "somebody sent something"
    );
}

fn sockets_listen() {
    sockets("listen", "127.0.0.1:0");
}

fn sockets_resolve() {
    sockets("resolve", "localhost");
}

fn output_flood(stream: &str) {
    let pod = with_arguments(
        Pod::from_guest(
            "output_flood",
            limits(json!({ "log": "1MiB", "time": "3s" })),
        ),
        stream,
    );
    let home = Home::new();
    // As people see it first: nothing that a terminal obeys may come through.
    let path = pod.path();
    let plain = home
        .start(["run", path.to_str().unwrap(), "--yes", "--color", "never"])
        .wait();
    for printed in [plain.stdout(), plain.stderr.clone()] {
        let obeyed = printed
            .chars()
            .find(|c| matches!(c, '\u{1b}' | '\u{7}' | '\u{8}' | '\u{202e}' | '\u{200b}'));
        assert_eq!(obeyed, None, "a terminal would obey this");
        assert!(
            printed.len() < 8 << 20,
            "{} bytes were printed",
            printed.len()
        );
    }

    let ended = home.run_pod(&pod, &[]);
    assert!(
        ended.stdout().len() < 16 << 20,
        "{} bytes came out",
        ended.stdout().len()
    );
    let logs: u64 = pod.files("logs").iter().map(|(_, size)| size).sum();
    assert!(logs < 16 << 20, "{logs} bytes are in logs/");
    let name = format!("output_flood_{stream}");
    let limit = ended.report()["limit"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let ended = ended.expect(exit::LIMIT);
    // A log line too many is dropped, so a guest that logs for ever runs into its time.
    let deadline = (limit == "limits.time").then_some(Duration::from_secs(3));
    assert!(
        limit == "limits.log" || (stream == "log" && deadline.is_some()),
        "{ended}"
    );
    expect_limit(&name, &ended, &limit, deadline);
}

fn many_files() {
    let pod = Pod::from_guest("many_files", limits(json!({ "files": 1000 })));
    let ended = Home::new().run_pod(&pod, &[]).expect(exit::LIMIT);
    expect_limit("many_files", &ended, "limits.files", None);
    // Files are counted by looking, so there are more than granted by as many as fit between two looks.
    let files = pod.files("output").len();
    assert!((1000..50_000).contains(&files), "{files} files");
}

fn one_growing_file() {
    let pod = with_arguments(
        Pod::from_guest("growing_file", limits(json!({ "output": "16MiB" }))),
        "16384",
    );
    let ended = Home::new().run_pod(&pod, &[]);
    let size: u64 = pod.files("output").iter().map(|(_, size)| size).sum();
    assert!(size <= 16 * MIB, "{size} bytes");
    match ended.code() {
        // The kernel refused more and the guest took it well.
        exit::OK => expect_held("one_growing_file", &ended),
        _ => expect_limit(
            "one_growing_file",
            &ended.expect(exit::LIMIT),
            "limits.output",
            None,
        ),
    }
}

fn many_growing_files() {
    let pod = with_arguments(
        Pod::from_guest("growing_file", limits(json!({ "output": "16MiB" }))),
        "16384 16",
    );
    let ended = Home::new().run_pod(&pod, &[]).expect(exit::LIMIT);
    expect_limit("many_growing_files", &ended, "limits.output", None);
    // Counted by looking as well; no single file passes the limit.
    let sizes: Vec<u64> = pod.files("output").iter().map(|(_, size)| *size).collect();
    assert!(
        sizes.iter().all(|size| *size <= 16 * MIB) && sizes.iter().sum::<u64>() <= 256 * MIB,
        "{sizes:?}"
    );
}

fn compile_bomb() {
    let pod = Pod::from_component(
        "compile_bomb",
        &wasm::compile_bomb(49_000),
        limits(json!({})),
    );
    let begun = Instant::now();
    let ended = Home::new().run_pod(&pod, &[]).expect(exit::LIMIT);
    assert_eq!(
        ended.children_in_role("runner").count(),
        0,
        "it was run\n{ended}"
    );
    let compiler = ended
        .children_in_role("compile")
        .next()
        .unwrap_or_else(|| panic!("nothing compiled\n{ended}"));
    let ran = compiler.gone.unwrap().duration_since(compiler.first);
    let row = Row {
        guest: "compile_bomb".to_owned(),
        ended_by: "compile time".to_owned(),
        ran,
        late: Some(ran.saturating_sub(COMPILE_TIME)),
        growth: ended.growth_since(ended.event("compiling").at),
    };
    add_row(row, &ended);
    assert!(begun.elapsed() < COMPILE_TIME + Duration::from_secs(10));
}
