//! What is particular to the embedded store; the rest is in the common test-suite.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::ErrorKind;
use crate::swarm::reference_of;
use crate::testsuite::Fixture;

struct Directory(TempDir);

impl Directory {
    fn new() -> Directory {
        Directory(tempfile::tempdir().unwrap())
    }

    fn open(&self, caps: Caps) -> LocalDfs {
        LocalDfs::open(self.0.path(), &"alice".parse().unwrap(), caps).unwrap()
    }

    /// All stored content and all partial files, by name.
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        let content = fs::read_dir(self.0.path().join("content"))
            .unwrap()
            .map(|shard| shard.unwrap().path());
        for directory in content.chain([self.0.path().join("partial")]) {
            for file in fs::read_dir(directory).unwrap() {
                names.push(file.unwrap().file_name().into_string().unwrap());
            }
        }
        names.sort();
        names
    }

    fn place(&self, content: &[u8]) -> PathBuf {
        let name = reference_of(content).to_string();
        self.0.path().join("content").join(&name[..2]).join(name)
    }
}

#[async_trait]
impl Fixture for Directory {
    async fn user(&self, name: &str) -> Arc<dyn Dfs> {
        Arc::new(LocalDfs::open(self.0.path(), &name.parse().unwrap(), Caps::default()).unwrap())
    }
}

crate::dfs_testsuite!(Directory::new());

fn pod(name: &str) -> PodName {
    name.parse().unwrap()
}

fn path(text: &str) -> DfsPath {
    text.parse().unwrap()
}

async fn write(dfs: &LocalDfs, at: &str, mut content: &[u8]) -> Result<u64, Error> {
    dfs.write(&pod("data"), &path(at), &mut content).await
}

#[tokio::test]
async fn content_lies_under_its_reference_once_and_only_while_it_is_used() {
    let directory = Directory::new();
    let dfs = directory.open(Caps::default());
    dfs.create_pod(&pod("data")).await.unwrap();
    write(&dfs, "/a", b"hello world").await.unwrap();
    write(&dfs, "/b", b"hello world").await.unwrap();
    let hello = "92672a471f4419b255d7cb0cf313474a6f5856fb347c5ece85fb706d644b630f";
    assert_eq!(directory.files(), [hello]);

    write(&dfs, "/a", b"foo").await.unwrap();
    let foo = "2387e8e7d8a48c2a9339c97c1dc3461a9a7aa07e994c5cb8b38fd7c1b3e6ea48";
    assert_eq!(directory.files(), [foo, hello]);
    dfs.remove(&pod("data"), &path("/b")).await.unwrap();
    assert_eq!(directory.files(), [foo]);
    // The same content again: what is replaced by itself is not superfluous.
    write(&dfs, "/a", b"foo").await.unwrap();
    assert_eq!(directory.files(), [foo]);
    write(&dfs, "/a", b"").await.unwrap();
    let empty = "b34ca8c22b9e982354f9c7f50b470d66db428d880c8a904d5fe4ec9713171526";
    assert_eq!(directory.files(), [empty]);
    dfs.remove(&pod("data"), &path("/a")).await.unwrap();
    assert_eq!(directory.files(), [""; 0]);
}

#[tokio::test]
async fn a_write_that_stops_leaves_no_file() {
    let directory = Directory::new();
    let dfs = directory.open(Caps {
        file: 1_000_000,
        ..Caps::default()
    });
    dfs.create_pod(&pod("data")).await.unwrap();
    let error = write(&dfs, "/large", &vec![1; 1_000_001])
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Full { cap: 1_000_000, .. }),
        "{error}"
    );
    assert_eq!(directory.files(), [""; 0]);
}

#[tokio::test]
async fn an_endless_stream_is_cut_off_at_the_cap() {
    let directory = Directory::new();
    let dfs = directory.open(Caps {
        pod: 3_000_000,
        ..Caps::default()
    });
    dfs.create_pod(&pod("data")).await.unwrap();
    write(&dfs, "/before", &[0; 1_000_000]).await.unwrap();
    let error = dfs
        .write(&pod("data"), &path("/endless"), &mut tokio::io::repeat(7))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.to_string(),
        "pod `data` with `/endless` would pass the cap of 3000000 bytes: remove something, or split the data"
    );
    // A file makes room for what replaces it.
    write(&dfs, "/before", &[1; 3_000_000]).await.unwrap();
    assert!(write(&dfs, "/more", &[2; 1]).await.is_err());
}

#[tokio::test]
async fn pods_and_entries_are_capped() {
    let directory = Directory::new();
    let dfs = directory.open(Caps {
        pods: 2,
        entries: 3,
        ..Caps::default()
    });
    for name in ["data", "more"] {
        dfs.create_pod(&pod(name)).await.unwrap();
    }
    assert!(matches!(
        dfs.create_pod(&pod("third")).await,
        Err(Error::Full { cap: 2, .. })
    ));

    dfs.make_directory(&pod("data"), &path("/d")).await.unwrap();
    for name in ["/d/1", "/d/2"] {
        write(&dfs, name, b"").await.unwrap();
    }
    assert!(matches!(
        write(&dfs, "/d/3", b"").await,
        Err(Error::Full { cap: 3, .. })
    ));
    assert!(matches!(
        dfs.make_directory(&pod("data"), &path("/e")).await,
        Err(Error::Full { cap: 3, .. })
    ));
    write(&dfs, "/d/2", b"replaced").await.unwrap();
    dfs.remove(&pod("data"), &path("/d/1")).await.unwrap();
    write(&dfs, "/d/3", b"").await.unwrap();
}

#[tokio::test]
async fn damaged_content_is_not_given_out() {
    let directory = Directory::new();
    let dfs = directory.open(Caps::default());
    dfs.create_pod(&pod("data")).await.unwrap();
    write(&dfs, "/file", b"content").await.unwrap();
    let place = directory.place(b"content");

    fs::remove_file(&place).unwrap();
    fs::write(&place, b"cont").unwrap();
    let error = dfs
        .read(&pod("data").into(), &path("/file"))
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("has 4 bytes instead of 7"),
        "{error}"
    );
    fs::remove_file(&place).unwrap();
    let error = dfs
        .read(&pod("data").into(), &path("/file"))
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("changed from outside"),
        "{error}"
    );
    // As the message says, writing the file again heals it.
    write(&dfs, "/file", b"content").await.unwrap();
    assert_eq!(
        dfs.read(&pod("data").into(), &path("/file"))
            .await
            .unwrap()
            .size,
        7
    );
}

#[tokio::test]
async fn what_a_dead_process_left_is_removed() {
    let directory = Directory::new();
    let dfs = directory.open(Caps::default());
    dfs.create_pod(&pod("data")).await.unwrap();
    write(&dfs, "/file", b"content").await.unwrap();
    // As if a process had died after the transaction that removed the file, before the deletion of its content,
    dfs.change("test".to_owned(), |view, _| {
        view.remove(&pod("data"), &path("/file"))
    })
    .await
    .unwrap();
    // another one while a file arrived,
    fs::write(directory.0.path().join("partial/abandoned"), b"half").unwrap();
    // and a third when it had put the content into its place, before the transaction that makes it visible.
    let mut staged = dfs.store.blobs.stage().unwrap();
    staged.push(b"never visible").unwrap();
    let sealed = staged.seal().unwrap();
    let reference = sealed.reference;
    dfs.change("test".to_owned(), move |view, _| view.announce(&reference))
        .await
        .unwrap();
    dfs.store.blobs.keep(sealed).unwrap();
    let living = dfs.store.blobs.stage().unwrap();
    assert_eq!(directory.files().len(), 4);

    directory.open(Caps::default());
    assert_eq!(directory.files().len(), 1);
    let sealed = living.seal().expect("what is being written stays");
    dfs.store.blobs.keep(sealed).unwrap();
}

#[tokio::test]
async fn what_is_announced_and_cleaned_up_by_another_process_is_announced_again() {
    let directory = Directory::new();
    let dfs = directory.open(Caps::default());
    let reference = reference_of(b"content");
    let arrives = |dfs: &LocalDfs| {
        let store = dfs.store.clone();
        store
            .transaction(TransactionBehavior::Immediate, |view, _| {
                view.arrives(&reference)
            })
            .unwrap()
    };
    dfs.change("test".to_owned(), move |view, _| view.announce(&reference))
        .await
        .unwrap();
    directory.open(Caps::default());
    assert!(!arrives(&dfs), "opening the store cleaned it up");
    dfs.change("test".to_owned(), move |view, _| view.announce(&reference))
        .await
        .unwrap();
    assert!(arrives(&dfs));
}

#[tokio::test]
async fn a_fork_costs_no_content_and_keeps_it_when_the_original_goes() {
    let directory = Directory::new();
    let dfs = directory.open(Caps::default());
    dfs.create_pod(&pod("data")).await.unwrap();
    dfs.make_directory(&pod("data"), &path("/d")).await.unwrap();
    dfs.make_directory(&pod("data"), &path("/d/e"))
        .await
        .unwrap();
    write(&dfs, "/d/e/a", b"hello world").await.unwrap();
    write(&dfs, "/b", b"foo").await.unwrap();
    let files = directory.files();
    // Forks of forks: numbers of entries do not run away.
    let mut from = pod("data");
    for name in (0..70).map(|index| format!("fork{index}")) {
        dfs.fork_pod(&from.into(), &pod(&name)).await.unwrap();
        from = pod(&name);
    }
    assert_eq!(directory.files(), files);
    let highest: i64 = dfs
        .look("test".to_owned(), |view| {
            let sql = "SELECT max(id) FROM entry";
            Ok(view.transaction.query_row(sql, [], |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(highest, 4 * 71);

    dfs.delete_pod(&pod("data")).await.unwrap();
    assert_eq!(directory.files(), files);
    let at = path("/d/e/a");
    assert_eq!(dfs.stat(&from.clone().into(), &at).await.unwrap().size, 11);
    dfs.remove(&from, &at).await.unwrap();
    assert!(dfs.stat(&pod("fork68").into(), &at).await.is_ok());
    for name in (0..70).map(|index| format!("fork{index}")) {
        dfs.delete_pod(&pod(&name)).await.unwrap();
    }
    assert_eq!(directory.files(), [""; 0]);
}

#[tokio::test]
async fn a_fork_cannot_be_used_to_pass_the_caps() {
    let directory = Directory::new();
    let dfs = directory.open(Caps::default());
    dfs.create_pod(&pod("data")).await.unwrap();
    for name in ["/1", "/2", "/3"] {
        write(&dfs, name, &[7; 1000]).await.unwrap();
    }
    let fork = async |caps, name: &str| {
        let dfs = directory.open(caps);
        let result = dfs.fork_pod(&pod("data").into(), &pod(name)).await;
        result.map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            error.to_string()
        })
    };
    let caps = Caps::default();
    let next = "remove something, or split the data";
    assert_eq!(
        fork(Caps { entries: 2, ..caps }, "x").await.unwrap_err(),
        format!(
            "pod `x`, a copy of pod `data`, would pass the cap of 2 files and directories: {next}"
        )
    );
    assert_eq!(
        fork(Caps { pod: 2999, ..caps }, "x").await.unwrap_err(),
        format!("pod `x`, a copy of pod `data`, would pass the cap of 2999 bytes: {next}")
    );
    assert_eq!(
        fork(Caps { file: 999, ..caps }, "x").await.unwrap_err(),
        format!("a file of pod `x`, a copy of pod `data`, would pass the cap of 999 bytes: {next}")
    );
    fork(Caps { pods: 1, ..caps }, "x").await.unwrap_err();
    assert_eq!(dfs.pods().await.unwrap().len(), 1);
    let just = Caps {
        pods: 2,
        entries: 3,
        file: 1000,
        pod: 3000,
    };
    fork(just, "x").await.unwrap();
}

#[tokio::test]
async fn a_deleted_pod_takes_no_content_that_somebody_else_stored_too() {
    let directory = Directory::new();
    let alice = directory.open(Caps::default());
    let bob = directory.user("bob").await;
    alice.create_pod(&pod("data")).await.unwrap();
    bob.create_pod(&pod("his")).await.unwrap();
    write(&alice, "/same", b"the same").await.unwrap();
    write(&alice, "/hers", b"hers").await.unwrap();
    let mut same = &b"the same"[..];
    bob.write(&pod("his"), &path("/own"), &mut same)
        .await
        .unwrap();

    alice.delete_pod(&pod("data")).await.unwrap();
    assert_eq!(directory.files(), [reference_of(b"the same").to_string()]);
    let own = bob.read(&pod("his").into(), &path("/own")).await.unwrap();
    assert_eq!(own.size, 8);
}

#[tokio::test]
async fn receivers_lose_a_pod_whose_share_ends_or_that_is_deleted() {
    let directory = Directory::new();
    let alice = directory.open(Caps::default());
    let bob = directory.user("bob").await;
    for ends_by_deletion in [false, true] {
        alice.create_pod(&pod("data")).await.unwrap();
        let reference = alice.share(&pod("data")).await.unwrap();
        bob.receive(&reference, &pod("theirs")).await.unwrap();
        if ends_by_deletion {
            alice.delete_pod(&pod("data")).await.unwrap();
        } else {
            alice.unshare(&pod("data")).await.unwrap();
        }
        assert_eq!(bob.pods().await.unwrap(), []);
        let root = DfsPath::root();
        assert_eq!(
            bob.list(&reference.into(), &root)
                .await
                .unwrap_err()
                .to_string(),
            format!(
                "no pod is shared as {reference}, or not any more: ask its owner for the reference that it has now"
            )
        );
        // The name is free for something else.
        bob.create_pod(&pod("theirs")).await.unwrap();
        bob.delete_pod(&pod("theirs")).await.unwrap();
        if !ends_by_deletion {
            assert_eq!(
                alice.unshare(&pod("data")).await.unwrap_err().to_string(),
                "the pod `data` is not shared, so there is no reference to end: nobody but its owner can read it"
            );
            alice.delete_pod(&pod("data")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn messages_name_a_shared_pod_by_its_reference() {
    let directory = Directory::new();
    let dfs = directory.open(Caps::default());
    dfs.create_pod(&pod("data")).await.unwrap();
    write(&dfs, "/file", b"content").await.unwrap();
    let reference = dfs.share(&pod("data")).await.unwrap();
    let shared = Place::from(reference);
    assert_eq!(
        dfs.stat(&shared, &path("/none"))
            .await
            .unwrap_err()
            .to_string(),
        format!(
            "there is nothing at `/none` in the pod shared as {reference}: list the directory to see what is there"
        )
    );
    assert_eq!(
        dfs.list(&pod("data").into(), &path("/file"))
            .await
            .unwrap_err()
            .to_string(),
        "`/file` in pod `data` is a file: name a directory"
    );
    fs::remove_file(directory.place(b"content")).unwrap();
    let error = dfs.read(&shared, &path("/file")).await.err().unwrap();
    assert!(
        error.to_string().starts_with(&format!(
            "the storage could not open `/file` in the pod shared as {reference}: "
        )),
        "{error}"
    );
}

#[tokio::test]
async fn a_newer_programs_store_is_left_alone() {
    let directory = Directory::new();
    drop(directory.open(Caps::default()));
    let database = Connection::open(directory.0.path().join("index.sqlite")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    let error = LocalDfs::open(
        directory.0.path(),
        &"alice".parse().unwrap(),
        Caps::default(),
    )
    .err()
    .unwrap();
    assert!(
        error.to_string().contains("use a newer sovr-host"),
        "{error}"
    );
}

#[test]
fn only_the_user_may_look_into_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("dfs");
    LocalDfs::open(&root, &"alice".parse().unwrap(), Caps::default()).unwrap();
    assert_eq!(
        fs::metadata(&root).unwrap().permissions().mode() & 0o777,
        0o700
    );
}
