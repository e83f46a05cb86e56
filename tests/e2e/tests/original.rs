//! What the original client stored is forked, listed and rebuilt, and what this program stores is what the original
//! expects, on each kind of storage.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use serde_json::{Value, json};
use sovr_dfs::Place;
use sovr_e2e::{Pod, Storage, User, block_on, each, exit, on_each_storage, paths, tests, tree};

const NO_PYTHON: &str = "python3 is missing: install it with `apt-get install python3`";

fn main() -> ExitCode {
    let mut trials = on_each_storage(&tests![
        a_pod_of_the_original_is_forked_and_shown_and_run_says_how_to_port_it,
        registries_of_the_original_are_listed_and_kept,
        a_lost_registry_is_rebuilt_from_the_pods_themselves,
        a_task_of_the_original_is_persisted_and_forked,
    ]);
    // In CI a missing interpreter is a failure, elsewhere a skip that counts as ignored.
    let skipped = python().is_none() && std::env::var_os("CI").is_none();
    for trial in on_each_storage(&tests![what_is_persisted_here_is_forked_by_the_original]) {
        if skipped {
            println!("skipped: {}: {NO_PYTHON}", trial.name());
        }
        trials.push(match skipped {
            true => trial.with_ignored_flag(true),
            false => trial,
        });
    }
    each::run(trials)
}

fn fixture(name: &str) -> Vec<u8> {
    let path = paths::project()
        .join("tests/e2e/fixtures/original")
        .join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Stores files as the original client does: pod, path, fixture.
fn store(storage: &Storage, user: &User, files: &[(&str, &str, &str)]) {
    let dfs = storage.open(user);
    block_on(async {
        for (pod, path, name) in files {
            let pod = pod.parse().unwrap();
            if dfs.pod(&pod).await.is_err() {
                dfs.create_pod(&pod).await.unwrap();
            }
            let content = fixture(name);
            dfs.write(&pod, &path.parse().unwrap(), &mut content.as_slice())
                .await
                .unwrap();
        }
    });
}

fn share(storage: &Storage, user: &User, pod: &str) -> String {
    block_on(storage.open(user).share(&pod.parse().unwrap()))
        .unwrap()
        .to_string()
}

fn read(storage: &Storage, user: &User, pod: &str, path: &str) -> Vec<u8> {
    use tokio::io::AsyncReadExt;
    let dfs = storage.open(user);
    block_on(async {
        let place = Place::Pod(pod.parse().unwrap());
        let mut file = dfs.read(&place, &path.parse().unwrap()).await.unwrap();
        let mut content = Vec::new();
        file.content.read_to_end(&mut content).await.unwrap();
        content
    })
}

const STORED: [(&str, &str, &str); 4] = [
    ("HelloWorld", "/HelloWorld.zip", "HelloWorld.zip"),
    ("HelloWorld", "/recipe.json", "HelloWorld.recipe.json"),
    ("XCeption", "/XCeption.zip", "XCeption.zip"),
    ("XCeption", "/recipe.json", "XCeption.recipe.json"),
];

const BOOKS: [(&str, &str, &str); 2] = [
    ("ComputePodRegistry", "/Registry.json", "Registry.json"),
    ("SharedPods", "/SharedPods.json", "SharedPods.json"),
];

fn a_pod_of_the_original_is_forked_and_shown_and_run_says_how_to_port_it(storage: &Storage) {
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    store(storage, &alice, &STORED);
    for (pod, script) in [
        ("HelloWorld", "script/hello.py"),
        ("XCeption", "script/classify.py"),
    ] {
        let reference = share(storage, &alice, pod);
        let ended = bob.run(["--fork", &reference]).expect(exit::OK);
        let told = format!("{}{}", ended.stdout(), ended.stderr);
        assert!(
            told.contains("python3") && told.contains("WebAssembly component"),
            "{ended}"
        );
        assert!(bob.path(pod).join(script).exists());
        // Its scripts expect these, and its archive need not have them.
        for directory in ["output", "logs", "payload"] {
            assert!(bob.path(pod).join(directory).is_dir(), "{directory}");
        }
        let ended = bob.run(["run", pod, "--yes"]).expect(exit::INVALID_POD);
        for word in ["python3", "component", "script/NAME.wasm"] {
            assert!(ended.stderr.contains(word), "{ended}");
        }
    }
}

fn registries_of_the_original_are_listed_and_kept(storage: &Storage) {
    let alice = storage.user("alice");
    store(storage, &alice, &STORED);
    store(storage, &alice, &BOOKS);
    let listed = alice.document(&["--list-pods"]);
    let names: Vec<_> = listed["own"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| pod["pod"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["HelloWorld", "XCeption"]);
    assert_eq!(
        listed["own"][0]["references"],
        json!(["ab".repeat(32), "cd".repeat(32)])
    );
    assert_eq!(listed["skipped"], json!([]));

    // Persisting another pod leaves what the original wrote as it was.
    alice.persist(&Pod::from_template("contact-sheet").path());
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    for (pod, path, name) in BOOKS {
        let (before, after) = (
            parse(&fixture(name)),
            parse(&read(storage, &alice, pod, path)),
        );
        for (key, value) in before.as_object().unwrap() {
            assert_eq!(&after[key], value, "{name}: {key}");
        }
        assert_eq!(
            after.as_object().unwrap().len(),
            before.as_object().unwrap().len() + 1
        );
    }
    let shared = parse(&read(storage, &alice, "SharedPods", "/SharedPods.json"));
    let entry = shared["contact-sheet"][0].as_object().unwrap();
    assert_eq!(
        entry.keys().collect::<Vec<_>>(),
        ["recipe", "sharing_reference"]
    );
}

fn a_lost_registry_is_rebuilt_from_the_pods_themselves(storage: &Storage) {
    let alice = storage.user("alice");
    store(storage, &alice, &STORED);
    // A pod whose recipe is in its archive alone, and one that has only the documented marker.
    store(
        storage,
        &alice,
        &[
            ("Zipped", "/Zipped.zip", "HelloWorld.zip"),
            ("Marked", "/XCeption.recipe", "XCeption.recipe.json"),
            ("no-pod", "/picture.bin", "README.md"),
        ],
    );
    let rebuilt = alice.document(&["--generate-pod-registry"]);
    let names: Vec<_> = rebuilt["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| pod["pod"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["HelloWorld", "Marked", "XCeption", "Zipped"]);
    let registry: Value = serde_json::from_slice(&read(
        storage,
        &alice,
        "ComputePodRegistry",
        "/Registry.json",
    ))
    .unwrap();
    let original: Value = serde_json::from_slice(&fixture("HelloWorld.recipe.json")).unwrap();
    assert_eq!(registry["HelloWorld"], original);
    assert_eq!(registry["Zipped"], original);
    assert_eq!(
        alice.document(&["list"])["own"].as_array().unwrap().len(),
        4
    );
}

fn a_task_of_the_original_is_persisted_and_forked(storage: &Storage) {
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let directory = alice.path("keras");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("recipe.json"), fixture("keras.json")).unwrap();
    let recipe = directory.join("recipe.json");
    alice
        .run(["--recipe", recipe.to_str().unwrap(), "--persist"])
        .expect(exit::OK);
    let reference = share(storage, &alice, "keras");
    bob.document(&["fork", &reference]);
    assert_eq!(
        fs::read(bob.path("keras/recipe.json")).unwrap(),
        fixture("keras.json")
    );
}

/// What the original does with a stored pod: unpack `NAME.zip` with Python's own library, read the recipe in it.
const ORIGINAL_FORK: &str = "
import json, os, shutil, sys
where, name = sys.argv[1], sys.argv[2]
shutil.unpack_archive(os.path.join(where, name + '.zip'), os.path.join(where, name))
recipe = json.load(open(os.path.join(where, name, 'recipe.json')))
beside = json.load(open(os.path.join(where, 'recipe.json')))
assert recipe == beside and recipe['name'] == name and recipe['golem']['exec'], recipe
for directory in ('script', 'payload', 'output', 'logs'):
    assert os.path.isdir(os.path.join(where, name, directory)), directory
";

fn what_is_persisted_here_is_forked_by_the_original(storage: &Storage) {
    let alice = storage.user("alice");
    let pod = Pod::from_template("contact-sheet");
    alice.persist(&pod.path());
    let place = alice.path("original");
    fs::create_dir(&place).unwrap();
    for name in ["contact-sheet.zip", "recipe.json"] {
        let content = read(storage, &alice, "contact-sheet", &format!("/{name}"));
        fs::write(place.join(name), content).unwrap();
    }
    let python = python().expect(NO_PYTHON);
    let forked = Command::new(python)
        .args(["-c", ORIGINAL_FORK])
        .args([place.as_os_str(), "contact-sheet".as_ref()])
        .output()
        .unwrap();
    assert!(
        forked.status.success(),
        "{}",
        String::from_utf8_lossy(&forked.stderr)
    );
    assert_eq!(tree(&place.join("contact-sheet")), tree(&pod.path()));
}

/// The interpreter that the original runs on.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|place| place.join("python3"))
        .find(|place| place.exists())
}
