//! Where the program, the templates and the hostile guests are.

use std::path::{Path, PathBuf};

/// The source tree.
pub fn project() -> &'static Path {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_root
        .ancestors()
        .nth(2)
        .expect("this crate lies in tests/e2e")
}

/// `target/<profile>`: test programs lie in `deps` beneath it.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own program");
    test.ancestors()
        .nth(2)
        .expect("test programs lie in target/<profile>/deps")
        .to_path_buf()
}

/// The built program, of the same profile as the test.
pub fn program() -> PathBuf {
    existing(
        profile().join("sovr-host"),
        "cargo build --package sovr-host",
    )
}

/// The component of a hostile guest.
pub fn guest(name: &str) -> PathBuf {
    existing(guests().join(format!("{name}.wasm")), "cargo xtask guests")
}

/// The components of all hostile guests, by name.
pub fn all_guests() -> Vec<String> {
    let entries = std::fs::read_dir(guests()).unwrap_or_else(|error| {
        panic!(
            "cannot list {}: {error}; run `cargo xtask guests`",
            guests().display()
        );
    });
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .into_string()
                .ok()?
                .strip_suffix(".wasm")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

fn guests() -> PathBuf {
    profile().with_file_name("guests")
}

/// A pod template.
pub fn template(name: &str) -> PathBuf {
    existing(
        project().join("templates/pods").join(name),
        "cargo xtask guests --update",
    )
}

/// A pod template with its guests built from their sources, which the committed ones may lag behind.
pub fn rebuilt(name: &str) -> PathBuf {
    existing(guests().join("pods").join(name), "cargo xtask guests")
}

/// A reference picture.
pub fn reference(name: &str) -> PathBuf {
    project().join("tests/e2e/reference").join(name)
}

fn existing(path: PathBuf, made_by: &str) -> PathBuf {
    assert!(
        path.exists(),
        "{} does not exist: run `{made_by}`",
        path.display()
    );
    path
}
