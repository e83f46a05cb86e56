//! The real FairOS-dfs server: the common test-suite, and what is particular to this kind of storage.
//!
//! The server is one program for all tests, so each test has users of its own. Where the server is not built the tests
//! are left out, and that is said.
//!
//! The tests under `old::` do the same on a server that speaks the older dialect. That one is a stand-in of our own,
//! as [`OldServer`] says, so they are always run.

#[path = "fairos/old.rs"]
mod old;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use sovr_dfs::fairos::{FairosDfs, Password, Settings};
use sovr_dfs::testsuite::{self, Fixture};
use sovr_dfs::{Dfs, UserName};
use sovr_test_fairos::{OldServer, Server, program};
use tempfile::TempDir;
use tokio::sync::Mutex;

const PASSWORD: &str = "correct horse battery staple";

/// Users of one test, on a server that may have others.
struct Users {
    server: AnyServer,
    tag: String,
    locks: TempDir,
    signed_up: Mutex<HashMap<String, ()>>,
}

enum AnyServer {
    New(Server),
    Old(OldServer),
}

impl AnyServer {
    fn url(&self) -> &str {
        match self {
            AnyServer::New(server) => server.url(),
            AnyServer::Old(server) => server.url(),
        }
    }
}

impl Users {
    fn on(server: AnyServer) -> Users {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Users {
            server,
            tag: format!("{}-{number}", std::process::id()),
            locks: tempfile::tempdir().unwrap(),
            signed_up: Mutex::default(),
        }
    }

    fn name(&self, name: &str) -> UserName {
        format!("{name}-{}", self.tag).parse().unwrap()
    }

    fn settings(&self, name: &str, password: Option<&str>) -> Settings {
        Settings {
            server: self.server.url().parse().unwrap(),
            user: self.name(name),
            password: password.map(|password| Password::new(password.to_owned())),
            login: None,
            allow_plain_http: false,
        }
    }

    fn session(&self, settings: Settings) -> FairosDfs {
        FairosDfs::new(settings, self.locks.path()).unwrap()
    }

    async fn fairos(&self, name: &str) -> FairosDfs {
        let dfs = self.session(self.settings(name, Some(PASSWORD)));
        let mut signed_up = self.signed_up.lock().await;
        if signed_up.insert(name.to_owned(), ()).is_none() {
            dfs.signup(None).await.unwrap();
        }
        dfs
    }
}

#[async_trait]
impl Fixture for Users {
    async fn user(&self, name: &str) -> Arc<dyn Dfs> {
        Arc::new(self.fairos(name).await)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = program::missing();
    if let Some(why) = &missing {
        println!("{why}");
    }
    // Kept from the first test to the last.
    let server = (missing.is_none() && !arguments.list).then(Server::dev);
    let trials = testsuite::CASES.iter().map(|case| {
        let run = move || {
            let users = Users::on(AnyServer::New(Server::dev()));
            tokio::runtime::Runtime::new()?.block_on(testsuite::run(case, &users));
            Ok(())
        };
        Trial::test(*case, run).with_ignored_flag(missing.is_some())
    });
    let trials = trials.chain(old::trials()).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(server);
    conclusion.exit_code()
}
