//! Somebody who uses the program with a daemon of their own.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sovr_e2e::{Home, Pod, Running};
use sovr_test_golem::Node;

/// Where demands and offers of these tests meet.
pub(crate) const SUBNET: &str = "test";

/// Somebody with a home of their own and a daemon.
pub(crate) struct User<'n> {
    home: Home,
    node: &'n Node,
}

/// What a command line gave.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl<'n> User<'n> {
    pub(crate) fn of(node: &'n Node) -> User<'n> {
        User {
            home: Home::new(),
            node,
        }
    }

    /// With a file of settings, such as `networks.toml`.
    pub(crate) fn with(self, name: &str, text: &str) -> User<'n> {
        User {
            home: self.home.with(name, text),
            ..self
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The program, about to be started, with nothing of the tester's own environment.
    pub(crate) fn command(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = self.home.command(words);
        command
            .env("YAGNA_API_URL", self.node.api_url())
            .env("YAGNA_APPKEY", self.node.app_key())
            .env("GSB_URL", self.node.gsb_url());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Given {
        self.run_with(words, &[])
    }

    pub(crate) fn run_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Given {
        let Output {
            status,
            stdout,
            stderr,
        } = self
            .command(words)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Given {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }

    /// Has a pod's work done on the daemon's network.
    pub(crate) fn start_pod(&self, pod: &Pod, script_arguments: &[&str]) -> Running {
        let path = pod.path();
        let mut words = vec!["run", path.to_str().unwrap()];
        words.extend(["--yes", "--json", "--network", "yagna", "--"]);
        words.extend(script_arguments);
        let mut command = self.command(&words);
        command.env("YAGNA_SUBNET", SUBNET);
        Running::start(command)
    }
}

impl Given {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
