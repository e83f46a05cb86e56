//! Requestors of others, as independent checks of what a provider of ours does: the official clients of Golem.
//!
//! | | what it is |
//! |---|---|
//! | [`Client::Yapapi`] | yapapi 0.13.1, in Python; it moves files through a program `gftp`, which a stand-in of ours is |
//! | [`Client::GolemJs`] | golem-js 3.6.0, in JavaScript; it moves files over a WebSocket of the daemon |
//!
//! For each there is a small script in `clients/`, which does what [`Job`] says. They are installed by
//! `cargo xtask golem` and run as programs of their own: nothing of them is linked or shipped.

#[cfg(feature = "network")]
mod run;

use std::path::{Path, PathBuf};

use crate::place;

#[cfg(feature = "network")]
pub use self::run::{Done, Job, Report};

/// An official client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// In Python.
    Yapapi,
    /// In JavaScript.
    GolemJs,
}

impl Client {
    /// All of them.
    pub const ALL: [Client; 2] = [Client::Yapapi, Client::GolemJs];

    /// Its name, as its makers write it.
    pub fn name(self) -> &'static str {
        match self {
            Client::Yapapi => "yapapi",
            Client::GolemJs => "golem-js",
        }
    }

    /// Where its script lies, beside the files that say what is to be installed: for yapapi two that pip reads one after
    /// the other, `requirements-first.txt` and `requirements.txt`; for golem-js npm's `package.json` with its lock.
    pub fn sources(self) -> PathBuf {
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        clients.join(self.name())
    }

    /// Where it is installed, once it is: for yapapi a directory of Python modules, for golem-js one with `node_modules`.
    pub fn place(self) -> PathBuf {
        let named: &[&str] = match self {
            Client::Yapapi => &[
                include_str!("../../clients/yapapi/requirements-first.txt"),
                include_str!("../../clients/yapapi/requirements.txt"),
            ],
            Client::GolemJs => &[
                include_str!("../../clients/golem-js/package.json"),
                include_str!("../../clients/golem-js/package-lock.json"),
            ],
        };
        place::of(self.name(), named)
    }
}

#[cfg(test)]
mod tests {
    use super::Client;

    #[test]
    fn everything_that_is_installed_is_named_with_a_digest() {
        for file in ["requirements-first.txt", "requirements.txt"] {
            let text = std::fs::read_to_string(Client::Yapapi.sources().join(file)).unwrap();
            let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
            assert!(!lines.is_empty());
            for package in lines.chunks(2) {
                let [name, digest] = package else {
                    panic!("{package:?} has no digest")
                };
                assert!(name.contains("==") && name.ends_with(" \\"), "{name}");
                assert!(digest.trim().starts_with("--hash=sha256:"), "{digest}");
            }
        }
        let lock = Client::GolemJs.sources().join("package-lock.json");
        let lock: Vec<_> = std::fs::read_to_string(lock)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        let packages = |line: &String| line.starts_with("    \"node_modules/");
        let digests = |line: &String| line.trim().starts_with("\"integrity\": \"sha512-");
        let count =
            |which: &dyn Fn(&String) -> bool| lock.iter().filter(|line| which(line)).count();
        assert!(count(&packages) > 0);
        assert_eq!(count(&packages), count(&digests));
    }
}
