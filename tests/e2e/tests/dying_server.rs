//! A FairOS-dfs server that dies while the program works with it, at one point after the other: what others see is
//! whole, the books of before are kept, no half directory is left, and with the server back everything goes on.
//!
//! A point is a request to the Swarm node beneath the server that gets no answer; the server is killed while it waits.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use sovr_e2e::each::needs_server;
use sovr_e2e::{Ended, Pod, Running, Storage, User, exit, wasm};
use sovr_test_fairos::{Effect, Endpoint, FakeBee, Fault, Server};

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);
const PERIOD: Duration = Duration::from_millis(2);
/// Of so many points at which a persist can be cut short one is tried: each costs a restart.
const STEP: usize = 5;

fn main() -> ExitCode {
    let test = |name: &str, run: fn()| {
        needs_server(Trial::test(name, move || {
            run();
            Ok(())
        }))
    };
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let trials = tests![
        while_a_pod_is_persisted_for_the_first_time,
        while_a_pod_is_persisted_again,
        while_the_books_are_read,
        while_a_pod_is_forked,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A server and the node beneath it.
struct World {
    bee: FakeBee,
    storage: Storage,
}

impl World {
    fn new() -> World {
        let bee = FakeBee::start();
        let storage = Storage::fairos(Server::real(&bee));
        World { bee, storage }
    }

    fn server(&self) -> &Server {
        self.storage.server().expect("it is a server")
    }

    /// Runs the program and kills the server at its request `point` of a kind, counted from 0. None if there is no such
    /// request.
    fn killed_at(
        &self,
        endpoint: Endpoint,
        point: usize,
        user: &User,
        words: &[&str],
    ) -> Option<Ended> {
        let seen = self.bee.requests(endpoint);
        self.bee
            .inject(Fault::new(endpoint, Effect::Slow(PATIENCE)).after(point));
        let mut command = user.home.command(words);
        command.current_dir(user.path(""));
        let mut running = Running::start(command);
        let begun = Instant::now();
        while self.bee.requests(endpoint) <= seen + point {
            if running.has_ended() {
                self.bee.heal();
                running.wait().expect(exit::OK);
                return None;
            }
            assert!(begun.elapsed() < PATIENCE, "{endpoint:?} {point}: it hangs");
            thread::sleep(PERIOD);
        }
        self.server().kill();
        self.bee.heal();
        let ended = running.wait().expect(exit::UNAVAILABLE);
        self.server().restart();
        Some(ended)
    }
}

fn pod(name: &str) -> Pod {
    let pod = Pod::from_component(name, &wasm::nothing(), json!({}));
    pod.edit_recipe(|recipe| recipe["public"] = json!(true));
    pod
}

fn set_version(pod: &Pod, version: usize) {
    pod.edit_recipe(|recipe| recipe["version"] = json!(version.to_string()));
}

fn entry<'a>(listed: &'a Value, pod: &str) -> Option<&'a Value> {
    let own = listed["own"].as_array().unwrap();
    own.iter().find(|entry| entry["pod"] == pod)
}

/// The version that others get by a reference, after a look at whether it is whole.
fn forked(world: &World, reference: &str) -> usize {
    let stranger = world.storage.stranger();
    let forked = stranger.document(&["fork", reference]);
    let directory = Path::new(forked["directory"].as_str().unwrap());
    let recipe = fs::read(directory.join("recipe.json")).unwrap();
    let recipe: Value = serde_json::from_slice(&recipe).unwrap();
    let script = fs::read(directory.join("script/script.wasm")).unwrap();
    assert_eq!(script, wasm::nothing());
    recipe["version"].as_str().unwrap().parse().unwrap()
}

fn while_a_pod_is_persisted_for_the_first_time() {
    let world = World::new();
    let alice = world.storage.user("alice");
    let kept = alice.persist(&pod("kept").path());
    for point in (0..).step_by(STEP) {
        let name = format!("new-{point}");
        let new = pod(&name);
        let path = new.path();
        let words = ["persist", path.to_str().unwrap()];
        let killed = world.killed_at(Endpoint::UploadBytes, point, &alice, &words);
        let listed = alice.document(&["list"]);
        let before = entry(&listed, "kept").unwrap_or_else(|| panic!("{point}: {listed:#}"));
        assert_eq!(before["references"], json!([kept]), "{point}");
        assert_eq!(forked(&world, &kept), 1);
        // What is shown of the new one can be had by everybody.
        if let Some(shown) = entry(&listed, &name) {
            for reference in shown["references"].as_array().unwrap() {
                assert_eq!(forked(&world, reference.as_str().unwrap()), 1, "{point}");
            }
        }
        let reference = alice.persist(&path);
        assert_eq!(forked(&world, &reference), 1, "{point}");
        let listed = alice.document(&["list"]);
        assert_eq!(
            entry(&listed, &name).unwrap()["references"],
            json!([reference])
        );
        if killed.is_none() {
            assert!(point > 0, "the server was not killed once");
            return;
        }
    }
}

fn while_a_pod_is_persisted_again() {
    again(Endpoint::UploadFeed);
}

fn while_the_books_are_read() {
    again(Endpoint::DownloadBytes);
}

/// Each time the old version or the new one is there, and the books have the entries of before.
fn again(endpoint: Endpoint) {
    let world = World::new();
    let alice = world.storage.user("alice");
    let kept = alice.persist(&pod("kept").path());
    let changed = pod("changed");
    let path = changed.path();
    let reference = alice.persist(&path);
    let mut version = 1;
    for point in (0..).step_by(STEP) {
        let new = version + 1;
        set_version(&changed, new);
        let words = ["persist", path.to_str().unwrap()];
        let killed = world.killed_at(endpoint, point, &alice, &words);
        let listed = alice.document(&["list"]);
        for (pod, reference) in [("kept", &kept), ("changed", &reference)] {
            let entry = entry(&listed, pod).unwrap_or_else(|| panic!("{point}: {listed:#}"));
            assert_eq!(entry["references"], json!([reference]), "{point}");
        }
        let found = forked(&world, &reference);
        assert!(found == version || found == new, "{point}: {found}");
        assert_eq!(alice.persist(&path), reference, "{point}");
        version = forked(&world, &reference);
        assert_eq!(version, new, "{point}");
        if killed.is_none() {
            assert!(point > 0, "the server was not killed once");
            return;
        }
    }
}

fn while_a_pod_is_forked() {
    let world = World::new();
    let (alice, bob) = (world.storage.user("alice"), world.storage.user("bob"));
    let reference = alice.persist(&pod("forked").path());
    for user in [&bob, &world.storage.stranger()] {
        // Nothing is in the server's memory.
        world.server().restart();
        for point in 0.. {
            let killed =
                world.killed_at(Endpoint::DownloadBytes, point, user, &["fork", &reference]);
            if killed.is_none() {
                assert!(point > 0, "the server was not killed once");
                assert!(user.path("forked/recipe.json").exists());
                break;
            }
            let left: Vec<_> = fs::read_dir(user.path("")).unwrap().collect();
            assert!(left.is_empty(), "{point}: {left:?}");
            if !user.name.is_empty() {
                assert_eq!(user.document(&["list"])["forked"], json!([]), "{point}");
            }
        }
    }
}
