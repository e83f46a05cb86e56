//! Several processes that share one store. The program starts itself again as one of them, so it has a main of its own.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use sovr_dfs::local::{Caps, LocalDfs};
use sovr_dfs::{Dfs, DfsPath, Error, PodName};
use tokio::runtime::Runtime;

const STORE: &str = "SOVR_DFS_TEST_STORE";
const NUMBER: &str = "SOVR_DFS_TEST_NUMBER";
const PROCESSES: usize = 4;
const ROUNDS: usize = 10;

fn main() -> ExitCode {
    let runtime = Runtime::new().expect("a runtime");
    match (env::var(STORE), env::var(NUMBER)) {
        (Ok(store), Ok(number)) => {
            runtime.block_on(one_of_several(Path::new(&store), &number));
            ExitCode::SUCCESS
        }
        _ => {
            let test = Trial::test("processes_share_a_store", move || share(&runtime));
            libtest_mimic::run(&Arguments::from_args(), vec![test]).exit_code()
        }
    }
}

fn open(store: &Path) -> LocalDfs {
    let user = "alice".parse().expect("a user");
    LocalDfs::open(store, &user, Caps::default()).expect("a store")
}

fn pod() -> PodName {
    "data".parse().expect("a pod")
}

fn path(text: &str) -> DfsPath {
    text.parse().expect("a path")
}

async fn write(dfs: &LocalDfs, at: &str, mut content: &[u8]) {
    dfs.write(&pod(), &path(at), &mut content)
        .await
        .expect("written");
}

/// The store does not exist before; each process writes, replaces and removes in it.
fn share(runtime: &Runtime) -> Result<(), Failed> {
    let store = tempfile::tempdir()?;
    let children = (0..PROCESSES)
        .map(|number| {
            Command::new(env::current_exe()?)
                .env(STORE, store.path())
                .env(NUMBER, number.to_string())
                .stderr(Stdio::piped())
                .spawn()
        })
        .collect::<Result<Vec<_>, _>>()?;
    for child in children {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
    }

    let dfs = open(store.path());
    let listed = runtime.block_on(dfs.list(&pod(), &DfsPath::root()))?;
    assert_eq!(
        listed.len(),
        PROCESSES * ROUNDS + 1,
        "one file per round, and the common one"
    );
    // What nobody names any more is gone, and nothing is left half-written.
    let mut contents = 0;
    for shard in fs::read_dir(store.path().join("content"))? {
        contents += fs::read_dir(shard?.path())?.count();
    }
    assert_eq!(contents, PROCESSES * ROUNDS + 1);
    assert_eq!(fs::read_dir(store.path().join("partial"))?.count(), 0);
    Ok(())
}

async fn one_of_several(store: &Path, number: &str) {
    let dfs = open(store);
    match dfs.create_pod(&pod()).await {
        Ok(()) | Err(Error::PodExists { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    for round in 0..ROUNDS {
        // All processes write and remove equal content under names of their own.
        let scratch = format!("/scratch {number}");
        write(&dfs, &scratch, b"scratch").await;
        dfs.read(&pod(), &path(&scratch)).await.expect("read");
        dfs.remove(&pod(), &path(&scratch)).await.expect("removed");
        let own = format!("{number} {round}");
        write(&dfs, &format!("/{own}"), own.as_bytes()).await;
        write(&dfs, "/common", format!("common {round}").as_bytes()).await;
        dfs.read(&pod(), &path("/common")).await.expect("read");
    }
}
