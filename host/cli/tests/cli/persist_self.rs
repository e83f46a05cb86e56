//! The program as a pod. The original packs the directory it lies in, with the user's credentials (S18).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::place::Place;

/// All files beneath a directory, from there.
fn files(root: &Path, directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(root, &path, found);
        } else {
            found.insert(
                path.strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
}

#[test]
fn credentials_beside_the_program_and_in_the_current_directory_do_not_travel() {
    let place = Place::new();
    let alice = place.user("alice");
    let beside = alice.path("bin");
    fs::create_dir(&beside).unwrap();
    let program = beside.join("sovr-host");
    fs::copy(env!("CARGO_BIN_EXE_sovr-host"), &program).unwrap();
    for directory in [beside, alice.path("")] {
        for secret in ["creds.json", "id_rsa", "wallet.txt"] {
            fs::write(directory.join(secret), "hunter2 is the password").unwrap();
        }
    }
    let ours = alice.command(&["persist-self"]);
    let mut copied = std::process::Command::new(&program);
    copied
        .args(ours.get_args())
        .env_clear()
        .envs(
            ours.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(alice.path(""));
    let output = copied.output().unwrap();
    let reference = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && reference.len() == 65,
        "{reference}"
    );

    alice.does(&["import", "Sovr", "--into", "unpacked"]);
    let unpacked = alice.path("unpacked");
    let mut found = BTreeSet::new();
    files(&unpacked, &unpacked, &mut found);
    let expected = [
        "LICENSE",
        "README.md",
        "recipe.json",
        "sovr-host",
        "templates/pods/hello-world-js/payload/date.zip",
        "templates/pods/hello-world-js/recipe.json",
        "templates/pods/hello-world-js/script/hello-world-js.wasm",
        "templates/pods/hello-world/payload/date.zip",
        "templates/pods/hello-world/recipe.json",
        "templates/pods/hello-world/script/hello-world.wasm",
        "templates/pods/render/payload/renderer.zip",
        "templates/pods/render/payload/scene.json",
        "templates/pods/render/recipe.json",
        "templates/pods/render/script/render.wasm",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
    for file in found {
        let content = fs::read(unpacked.join(&file)).unwrap();
        if file == "sovr-host" {
            assert!(content == fs::read(&program).unwrap());
            continue;
        }
        let leaked = content.windows(7).any(|window| window == b"hunter2");
        assert!(!leaked, "{file}");
    }
    let list = alice.does(&["list"]).stdout;
    assert!(
        list.contains("program") && !list.contains("cannot run"),
        "{list}"
    );
}
