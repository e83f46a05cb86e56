//! Several processes that write one pod: none loses what another wrote.

use std::env;
use std::process::{Command, ExitCode, Stdio};

use sovr_dfs::fairos::{FairosDfs, Password, Settings};
use sovr_dfs::{Dfs, Place};
use sovr_test_fairos::{FakeBee, Server};

use crate::{PASSWORD, block_on, data, names, read, tests, write};

tests! {
    processes_that_write_one_pod_lose_nothing
}

/// The server's address, for a child.
const SERVER: &str = "SOVR_FAIROS_TEST_SERVER";
const LOCKS: &str = "SOVR_FAIROS_TEST_LOCKS";
const NUMBER: &str = "SOVR_FAIROS_TEST_NUMBER";

const PROCESSES: usize = 3;
const FILES: usize = 3;

fn alice(server: &str, locks: &str) -> FairosDfs {
    let settings = Settings {
        server: server.parse().unwrap(),
        user: "alice".parse().unwrap(),
        password: Some(Password::new(PASSWORD.to_owned())),
        login: None,
        allow_plain_http: false,
    };
    FairosDfs::new(settings, locks.as_ref()).unwrap()
}

pub(crate) fn is_child() -> bool {
    env::var_os(SERVER).is_some()
}

/// Writes files of its own and one that all write.
pub(crate) fn child() -> ExitCode {
    let set = |name| env::var(name).expect("set by the parent");
    let (dfs, number) = (alice(&set(SERVER), &set(LOCKS)), set(NUMBER));
    block_on(async {
        for file in 0..FILES {
            let content = format!("{number}-{file}");
            write(&dfs, &format!("/{content}"), content.as_bytes())
                .await
                .unwrap();
            write(&dfs, "/all", content.as_bytes()).await.unwrap();
        }
    });
    ExitCode::SUCCESS
}

fn processes_that_write_one_pod_lose_nothing() {
    let bee = FakeBee::start();
    let server = Server::real(&bee);
    server.sign_up("alice", PASSWORD);
    let directory = tempfile::tempdir().unwrap();
    let locks = directory.path().to_str().unwrap();
    let dfs = alice(server.url(), locks);
    block_on(dfs.create_pod(&data())).unwrap();
    let children = (0..PROCESSES).map(|number| {
        Command::new(env::current_exe().unwrap())
            .env(SERVER, server.url())
            .env(LOCKS, locks)
            .env(NUMBER, number.to_string())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    });
    for child in children.collect::<Vec<_>>() {
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
    }
    block_on(async {
        let here = Place::from(data());
        let mut expected: Vec<String> = (0..PROCESSES)
            .flat_map(|number| (0..FILES).map(move |file| format!("{number}-{file}")))
            .collect();
        let last = read(&dfs, &here, "/all").await.unwrap();
        assert!(expected.iter().any(|content| content.as_bytes() == last));
        for content in &expected {
            let at = format!("/{content}");
            assert_eq!(read(&dfs, &here, &at).await.unwrap(), content.as_bytes());
        }
        expected.push("all".to_owned());
        assert_eq!(
            names(&alice(server.url(), locks), &here, "/").await,
            expected
        );
    });
}
