//! The common test-suite on the server in development mode, and the users of tests. The server is one program for all
//! tests, so each test has users of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use sovr_dfs::fairos::{FairosDfs, Password, Settings};
use sovr_dfs::testsuite::{self, Fixture};
use sovr_dfs::{Dfs, UserName};
use sovr_test_fairos::Server;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::PASSWORD;

/// Users of one test, on a server that may have others.
pub(crate) struct Users<S = Server> {
    pub(crate) server: S,
    url: String,
    tag: String,
    locks: TempDir,
    signed_up: Mutex<HashMap<String, ()>>,
}

impl Users {
    pub(crate) fn new() -> Users {
        let server = Server::dev();
        let url = server.url().to_owned();
        Users::on(server, url)
    }
}

impl<S> Users<S> {
    pub(crate) fn on(server: S, url: String) -> Users<S> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Users {
            server,
            url,
            tag: format!("{}-{number}", std::process::id()),
            locks: tempfile::tempdir().unwrap(),
            signed_up: Mutex::default(),
        }
    }

    pub(crate) fn name(&self, name: &str) -> UserName {
        format!("{name}-{}", self.tag).parse().unwrap()
    }

    pub(crate) fn settings(&self, name: &str, password: Option<&str>) -> Settings {
        Settings {
            server: self.url.parse().unwrap(),
            user: self.name(name),
            password: password.map(|password| Password::new(password.to_owned())),
            login: None,
            allow_plain_http: false,
        }
    }

    pub(crate) fn session(&self, settings: Settings) -> FairosDfs {
        FairosDfs::new(settings, self.locks.path()).unwrap()
    }

    pub(crate) async fn fairos(&self, name: &str) -> FairosDfs {
        let dfs = self.session(self.settings(name, Some(PASSWORD)));
        let mut signed_up = self.signed_up.lock().await;
        if signed_up.insert(name.to_owned(), ()).is_none() {
            dfs.signup(None).await.unwrap();
        }
        dfs
    }
}

#[async_trait]
impl<S: Send + Sync> Fixture for Users<S> {
    async fn user(&self, name: &str) -> Arc<dyn Dfs> {
        Arc::new(self.fairos(name).await)
    }
}

/// Runs one case.
pub(crate) fn run(case: &str) {
    crate::block_on(testsuite::run(case, &Users::new()));
}
