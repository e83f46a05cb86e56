//! The real FairOS-dfs server: the common test-suite, and what is particular to this kind of storage.
//!
//! The server is one program for all tests, so each test has users of its own. Where the server is not built the tests
//! are left out, and that is said.

use std::collections::HashMap;
use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use sovr_dfs::fairos::{FairosDfs, Password, Settings};
use sovr_dfs::testsuite::{self, Fixture};
use sovr_dfs::{Dfs, UserName};
use tempfile::TempDir;
use tokio::sync::Mutex;

const PASSWORD: &str = "correct horse battery staple";

/// Users of one test, on a server that has others.
struct Users {
    server: String,
    tag: String,
    locks: TempDir,
    signed_up: Mutex<HashMap<String, ()>>,
}

impl Users {
    fn new(server: &str) -> Users {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Users {
            server: server.to_owned(),
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
            server: self.server.parse().unwrap(),
            user: self.name(name),
            password: Password::new(password.to_owned()),
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
    let Ok(server) = env::var("SOVR_TEST_FAIROS_URL") else {
        eprintln!("no FairOS server is tested: SOVR_TEST_FAIROS_URL names none");
        return ExitCode::SUCCESS;
    };
    let mut trials = Vec::new();
    for case in testsuite::CASES {
        let server = server.clone();
        trials.push(Trial::test(*case, move || {
            let start = Instant::now();
            tokio::runtime::Runtime::new()?.block_on(testsuite::run(case, &Users::new(&server)));
            eprintln!("{case}: {:.1} s", start.elapsed().as_secs_f64());
            Ok(())
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
