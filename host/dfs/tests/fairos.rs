//! The real FairOS-dfs server: the common test-suite, and what is particular to this kind of storage.
//!
//! The server is one program for all tests, so each test has users of its own. Where the server is not built the tests
//! are left out, and that is said.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use sovr_dfs::fairos::{FairosDfs, Password, Settings};
use sovr_dfs::testsuite::{self, Fixture};
use sovr_dfs::{Dfs, UserName};
use sovr_test_fairos::{Server, program};
use tempfile::TempDir;
use tokio::sync::Mutex;

const PASSWORD: &str = "correct horse battery staple";

/// Users of one test, on a server that has others.
struct Users {
    server: Server,
    tag: String,
    locks: TempDir,
    signed_up: Mutex<HashMap<String, ()>>,
}

impl Users {
    fn new() -> Users {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Users {
            server: Server::dev(),
            tag: format!("{}-{number}", std::process::id()),
            locks: tempfile::tempdir().unwrap(),
            signed_up: Mutex::default(),
        }
    }

    fn name(&self, name: &str) -> UserName {
        format!("{name}-{}", self.tag).parse().unwrap()
    }

    fn session(&self, name: &str, password: &str) -> FairosDfs {
        let settings = Settings {
            server: self.server.url().parse().unwrap(),
            user: self.name(name),
            password: Some(Password::new(password.to_owned())),
            login: None,
            allow_plain_http: false,
        };
        FairosDfs::new(settings, self.locks.path()).unwrap()
    }

    async fn fairos(&self, name: &str) -> FairosDfs {
        let dfs = self.session(name, PASSWORD);
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
            tokio::runtime::Runtime::new()?.block_on(testsuite::run(case, &Users::new()));
            Ok(())
        };
        Trial::test(*case, run).with_ignored_flag(missing.is_some())
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(server);
    conclusion.exit_code()
}
