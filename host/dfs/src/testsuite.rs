//! What every implementation of [`Dfs`] must do, as tests that know nothing of the implementation.
//!
//! An implementation writes a [`Fixture`] and calls [`dfs_testsuite!`](crate::dfs_testsuite) with an expression
//! that makes one; the macro defines one test for each case of this module.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::{Access, Dfs, DfsPath, Entry, Error, ErrorKind, Kind, PodName, Reference};

/// A store on which no user of the case has anything yet.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The user's view of the store; each call is a session of its own, as another process would have it.
    async fn user(&self, name: &str) -> Arc<dyn Dfs>;
}

/// Defines a test for each case, on the [`Fixture`] that `$fixture` makes.
#[macro_export]
macro_rules! dfs_testsuite {
    ($fixture:expr) => {
        $crate::dfs_testsuite!(@cases $fixture;
            pods_are_made_and_listed
            names_of_pods_differ_in_more_than_case
            files_come_back_as_they_were_written
            directories_list_what_they_hold
            a_file_is_replaced_as_a_whole
            an_open_file_does_not_change
            what_is_not_there_is_not_found
            files_are_not_directories
            names_in_a_directory_differ_in_more_than_spelling
            only_what_is_empty_is_removed
            the_root_stays
            content_that_fails_changes_nothing
            a_write_that_is_dropped_changes_nothing
            writers_of_one_file_do_not_mix
            writers_of_one_directory_lose_nothing
            a_shared_pod_is_received_and_followed
            a_received_pod_cannot_be_changed
            a_pod_is_received_once
            references_that_cannot_be_received
        );
    };
    (@cases $fixture:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::testsuite::$case(&$fixture).await;
            }
        )*
    };
}

const ALICE: &str = "alice";
const BOB: &str = "bob";

fn pod(name: &str) -> PodName {
    name.parse().unwrap()
}

fn path(text: &str) -> DfsPath {
    text.parse().unwrap()
}

fn file(name: &str, size: u64) -> Entry {
    Entry {
        name: name.to_owned(),
        kind: Kind::File,
        size,
    }
}

fn directory(name: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        kind: Kind::Directory,
        size: 0,
    }
}

/// Bytes that differ from place to place and from seed to seed.
fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|index| (index % 251) as u8 ^ seed)
        .collect()
}

async fn write(dfs: &dyn Dfs, name: &str, at: &str, content: &[u8]) -> Result<u64, Error> {
    let mut content = content;
    dfs.write(&pod(name), &path(at), &mut content).await
}

async fn read(dfs: &dyn Dfs, name: &str, at: &str) -> Result<Vec<u8>, Error> {
    let mut opened = dfs.read(&pod(name), &path(at)).await?;
    let mut content = Vec::new();
    opened.content.read_to_end(&mut content).await.unwrap();
    assert_eq!(content.len() as u64, opened.size);
    Ok(content)
}

/// Alice with an empty pod `data`.
async fn alice_with_data(fixture: &dyn Fixture) -> Arc<dyn Dfs> {
    let alice = fixture.user(ALICE).await;
    alice.create_pod(&pod("data")).await.unwrap();
    alice
}

#[track_caller]
fn assert_kind<T>(result: Result<T, Error>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("expected {kind:?}, and it succeeded"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

/// Pods are made once, found by name, and listed sorted; another user does not see them.
pub async fn pods_are_made_and_listed(fixture: &dyn Fixture) {
    let alice = fixture.user(ALICE).await;
    assert_eq!(alice.user().as_str(), ALICE);
    assert_eq!(alice.pods().await.unwrap(), []);
    for name in ["zebra", "apple", "m.2-x_3"] {
        alice.create_pod(&pod(name)).await.unwrap();
    }
    let pods = alice.pods().await.unwrap();
    assert_eq!(
        pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(),
        ["apple", "m.2-x_3", "zebra"]
    );
    assert!(pods.iter().all(|pod| pod.access == Access::Own));
    assert_eq!(alice.pod(&pod("apple")).await.unwrap(), pods[0]);
    assert_eq!(
        fixture.user(ALICE).await.pods().await.unwrap(),
        pods,
        "another session sees the same"
    );
    assert_eq!(fixture.user(BOB).await.pods().await.unwrap(), []);
    assert_kind(alice.pod(&pod("pear")).await, ErrorKind::NotFound);
    assert_kind(
        fixture
            .user(BOB)
            .await
            .list(&pod("apple"), &DfsPath::root())
            .await,
        ErrorKind::NotFound,
    );
}

/// A second pod whose name differs only in case is refused, and is not the first.
pub async fn names_of_pods_differ_in_more_than_case(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    for name in ["data", "Data", "DATA"] {
        assert_kind(alice.create_pod(&pod(name)).await, ErrorKind::AlreadyExists);
    }
    assert_kind(alice.pod(&pod("Data")).await, ErrorKind::NotFound);
    assert_eq!(alice.pods().await.unwrap().len(), 1);
}

/// Lengths around the sizes of chunks and buffers, and names that are not ASCII.
pub async fn files_come_back_as_they_were_written(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    for (index, length) in [0, 1, 4095, 4096, 4097, 262_143, 262_144, 262_145, 3_000_000]
        .into_iter()
        .enumerate()
    {
        let (at, content) = (
            format!("/{length} bytes of blåbær"),
            bytes(length, index as u8),
        );
        assert_eq!(
            write(&*alice, "data", &at, &content).await.unwrap(),
            length as u64
        );
        assert!(read(&*alice, "data", &at).await.unwrap() == content, "{at}");
        assert_eq!(
            alice.stat(&pod("data"), &path(&at)).await.unwrap(),
            file(&at[1..], length as u64)
        );
    }
}

/// A listing is sorted and has one level; `stat` says the same of each entry.
pub async fn directories_list_what_they_hold(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let data = pod("data");
    assert_eq!(alice.list(&data, &DfsPath::root()).await.unwrap(), []);
    alice.make_directory(&data, &path("/frames")).await.unwrap();
    alice
        .make_directory(&data, &path("/frames/small"))
        .await
        .unwrap();
    write(&*alice, "data", "/z.txt", b"last").await.unwrap();
    write(&*alice, "data", "/a.txt", b"").await.unwrap();
    write(&*alice, "data", "/frames/small/1.png", b"1")
        .await
        .unwrap();

    let root = alice.list(&data, &DfsPath::root()).await.unwrap();
    assert_eq!(
        root,
        [file("a.txt", 0), directory("frames"), file("z.txt", 4)]
    );
    assert_eq!(
        alice.list(&data, &path("/frames")).await.unwrap(),
        [directory("small")]
    );
    assert_eq!(
        alice.list(&data, &path("/frames/small")).await.unwrap(),
        [file("1.png", 1)]
    );
    assert_eq!(
        alice.stat(&data, &path("/frames/small")).await.unwrap(),
        directory("small")
    );
    assert_eq!(
        alice.stat(&data, &DfsPath::root()).await.unwrap(),
        directory("")
    );
}

/// A shorter content leaves nothing of a longer one.
pub async fn a_file_is_replaced_as_a_whole(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    for content in [bytes(500_000, 1), bytes(3, 2), Vec::new(), bytes(70_000, 3)] {
        write(&*alice, "data", "/file", &content).await.unwrap();
        assert!(read(&*alice, "data", "/file").await.unwrap() == content);
    }
    assert_eq!(
        alice.list(&pod("data"), &DfsPath::root()).await.unwrap(),
        [file("file", 70_000)]
    );
}

/// A stream gives the content as it was when it was opened, though the file is replaced and removed meanwhile.
pub async fn an_open_file_does_not_change(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let old = bytes(3_000_000, 7);
    write(&*alice, "data", "/file", &old).await.unwrap();
    let mut opened = alice.read(&pod("data"), &path("/file")).await.unwrap();
    let mut content = vec![0; 10];
    opened.content.read_exact(&mut content).await.unwrap();
    write(&*alice, "data", "/file", b"new").await.unwrap();
    alice.remove(&pod("data"), &path("/file")).await.unwrap();
    opened.content.read_to_end(&mut content).await.unwrap();
    assert!(content == old);
}

/// Each call says so when the pod, the path or a directory on the way does not exist.
pub async fn what_is_not_there_is_not_found(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    for (name, at) in [
        ("other", "/file"),
        ("data", "/file"),
        ("data", "/directory/file"),
    ] {
        let (name, at) = (pod(name), path(at));
        assert_kind(alice.read(&name, &at).await, ErrorKind::NotFound);
        assert_kind(alice.stat(&name, &at).await, ErrorKind::NotFound);
        assert_kind(alice.list(&name, &at).await, ErrorKind::NotFound);
        assert_kind(alice.remove(&name, &at).await, ErrorKind::NotFound);
    }
    assert_kind(
        write(&*alice, "data", "/directory/file", b"").await,
        ErrorKind::NotFound,
    );
    assert_kind(
        write(&*alice, "other", "/file", b"").await,
        ErrorKind::NotFound,
    );
    assert_kind(
        alice.make_directory(&pod("data"), &path("/a/b")).await,
        ErrorKind::NotFound,
    );
    assert_kind(alice.share(&pod("other")).await, ErrorKind::NotFound);
}

/// A file has no entries, a directory has no content, and neither takes the other's name.
pub async fn files_are_not_directories(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let data = pod("data");
    write(&*alice, "data", "/file", b"content").await.unwrap();
    alice
        .make_directory(&data, &path("/directory"))
        .await
        .unwrap();
    assert_kind(alice.list(&data, &path("/file")).await, ErrorKind::Invalid);
    assert_kind(
        alice.stat(&data, &path("/file/below")).await,
        ErrorKind::Invalid,
    );
    assert_kind(
        write(&*alice, "data", "/file/below", b"").await,
        ErrorKind::Invalid,
    );
    assert_kind(
        alice.read(&data, &path("/directory")).await,
        ErrorKind::Invalid,
    );
    assert_kind(
        write(&*alice, "data", "/directory", b"").await,
        ErrorKind::Invalid,
    );
    assert_kind(
        alice.make_directory(&data, &path("/file")).await,
        ErrorKind::AlreadyExists,
    );
    assert_kind(
        alice.make_directory(&data, &path("/directory")).await,
        ErrorKind::AlreadyExists,
    );
    assert_eq!(read(&*alice, "data", "/file").await.unwrap(), b"content");
}

/// Names that another file system would take for the same are refused, and do not reach each other's content.
pub async fn names_in_a_directory_differ_in_more_than_spelling(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    write(&*alice, "data", "/caf\u{e9}", b"composed")
        .await
        .unwrap();
    for other in ["/cafe\u{301}", "/CAF\u{c9}", "/Cafe\u{301}"] {
        assert_kind(
            write(&*alice, "data", other, b"x").await,
            ErrorKind::AlreadyExists,
        );
        assert_kind(
            alice.make_directory(&pod("data"), &path(other)).await,
            ErrorKind::AlreadyExists,
        );
        assert_kind(
            alice.read(&pod("data"), &path(other)).await,
            ErrorKind::NotFound,
        );
        assert_kind(
            alice.remove(&pod("data"), &path(other)).await,
            ErrorKind::NotFound,
        );
    }
    assert_eq!(
        read(&*alice, "data", "/caf\u{e9}").await.unwrap(),
        b"composed"
    );
}

/// Files and empty directories go, and their names can be taken again.
pub async fn only_what_is_empty_is_removed(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let data = pod("data");
    alice.make_directory(&data, &path("/a")).await.unwrap();
    write(&*alice, "data", "/a/file", b"content").await.unwrap();
    assert_kind(alice.remove(&data, &path("/a")).await, ErrorKind::Invalid);
    alice.remove(&data, &path("/a/file")).await.unwrap();
    alice.remove(&data, &path("/a")).await.unwrap();
    assert_eq!(alice.list(&data, &DfsPath::root()).await.unwrap(), []);
    write(&*alice, "data", "/a", b"a file now").await.unwrap();
    assert_eq!(read(&*alice, "data", "/a").await.unwrap(), b"a file now");
}

/// The root is a directory that cannot be written, made or removed.
pub async fn the_root_stays(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let (data, root) = (pod("data"), DfsPath::root());
    assert_kind(alice.remove(&data, &root).await, ErrorKind::Invalid);
    assert_kind(alice.make_directory(&data, &root).await, ErrorKind::Invalid);
    assert_kind(alice.read(&data, &root).await, ErrorKind::Invalid);
    assert_kind(write(&*alice, "data", "/", b"").await, ErrorKind::Invalid);
    assert_eq!(alice.list(&data, &root).await.unwrap(), []);
}

/// Gives some bytes, and then what `then` says for ever.
struct Broken {
    left: usize,
    then: fn() -> Poll<io::Result<()>>,
}

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let now = self.left.min(buffer.remaining());
        if now == 0 {
            return (self.then)();
        }
        buffer.put_slice(&vec![b'x'; now]);
        self.left -= now;
        Poll::Ready(Ok(()))
    }
}

/// The old file is still there, whole, after its successor's stream broke off.
pub async fn content_that_fails_changes_nothing(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    write(&*alice, "data", "/file", b"old").await.unwrap();
    for at in ["/file", "/new"] {
        let mut broken = Broken {
            left: 600_000,
            then: || Poll::Ready(Err(io::Error::other("the provider vanished"))),
        };
        let error = alice
            .write(&pod("data"), &path(at), &mut broken)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            error.to_string().contains("the provider vanished"),
            "{error}"
        );
    }
    assert_eq!(
        alice.list(&pod("data"), &DfsPath::root()).await.unwrap(),
        [file("file", 3)]
    );
    assert_eq!(read(&*alice, "data", "/file").await.unwrap(), b"old");
}

/// The same when nobody waits for the write any more.
pub async fn a_write_that_is_dropped_changes_nothing(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    write(&*alice, "data", "/file", b"old").await.unwrap();
    let mut stalled = Broken {
        left: 600_000,
        then: || Poll::Pending,
    };
    let (data, at) = (pod("data"), path("/file"));
    let write = alice.write(&data, &at, &mut stalled);
    tokio::time::timeout(std::time::Duration::from_millis(200), write)
        .await
        .unwrap_err();
    assert_eq!(
        alice.list(&data, &DfsPath::root()).await.unwrap(),
        [file("file", 3)]
    );
    assert_eq!(read(&*alice, "data", "/file").await.unwrap(), b"old");
}

/// Of several writers one wins; a reader in between sees one of the contents, never a mixture or nothing.
pub async fn writers_of_one_file_do_not_mix(fixture: &dyn Fixture) {
    const WRITERS: u8 = 4;
    let alice = alice_with_data(fixture).await;
    write(&*alice, "data", "/file", &[0; 1000]).await.unwrap();
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let dfs = fixture.user(ALICE).await;
        tasks.push(tokio::spawn(async move {
            for round in 1..=5_usize {
                write(&*dfs, "data", "/file", &vec![writer; 1000 * round])
                    .await
                    .unwrap();
                let seen = read(&*dfs, "data", "/file").await.unwrap();
                assert!(
                    seen.iter().all(|byte| *byte == seen[0] && *byte < WRITERS),
                    "a mixture"
                );
                assert!(
                    seen.len() % 1000 == 0 && !seen.is_empty(),
                    "{} bytes",
                    seen.len()
                );
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Files that are written into one directory at the same time are all there afterwards.
pub async fn writers_of_one_directory_lose_nothing(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let mut tasks = Vec::new();
    for index in 0..16_u8 {
        let dfs = if index % 2 == 0 {
            alice.clone()
        } else {
            fixture.user(ALICE).await
        };
        tasks.push(tokio::spawn(async move {
            write(&*dfs, "data", &format!("/{index}"), &[index; 100])
                .await
                .unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let listed = fixture
        .user(ALICE)
        .await
        .list(&pod("data"), &DfsPath::root())
        .await
        .unwrap();
    let names: BTreeSet<_> = listed.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, (0..16).map(|index| index.to_string()).collect());
    for index in 0..16_u8 {
        assert_eq!(
            read(&*alice, "data", &format!("/{index}")).await.unwrap(),
            [index; 100]
        );
    }
}

/// Sharing twice gives one reference, and who received the pod sees later changes too.
pub async fn a_shared_pod_is_received_and_followed(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    write(&*alice, "data", "/before", b"1").await.unwrap();
    let reference = alice.share(&pod("data")).await.unwrap();
    assert_eq!(alice.share(&pod("data")).await.unwrap(), reference);

    let received = bob.receive(&reference, &pod("from-alice")).await.unwrap();
    assert_eq!(
        (received.name.as_str(), received.access),
        ("from-alice", Access::Received)
    );
    assert_eq!(bob.pods().await.unwrap(), std::slice::from_ref(&received));
    assert_eq!(bob.pod(&pod("from-alice")).await.unwrap(), received);
    assert_eq!(read(&*bob, "from-alice", "/before").await.unwrap(), b"1");

    write(&*alice, "data", "/after", b"22").await.unwrap();
    let listed = fixture
        .user(BOB)
        .await
        .list(&pod("from-alice"), &DfsPath::root())
        .await
        .unwrap();
    assert_eq!(listed, [file("after", 2), file("before", 1)]);
    assert_eq!(
        alice.share(&pod("data")).await.unwrap(),
        reference,
        "a change does not change the reference"
    );
}

/// Whoever received a pod reads it and does nothing else to it.
pub async fn a_received_pod_cannot_be_changed(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    write(&*alice, "data", "/file", b"hers").await.unwrap();
    let reference = alice.share(&pod("data")).await.unwrap();
    let theirs = pod("theirs");
    bob.receive(&reference, &theirs).await.unwrap();
    assert_kind(
        write(&*bob, "theirs", "/file", b"his").await,
        ErrorKind::Invalid,
    );
    assert_kind(
        write(&*bob, "theirs", "/new", b"his").await,
        ErrorKind::Invalid,
    );
    assert_kind(
        bob.remove(&theirs, &path("/file")).await,
        ErrorKind::Invalid,
    );
    assert_kind(
        bob.make_directory(&theirs, &path("/new")).await,
        ErrorKind::Invalid,
    );
    assert_kind(bob.share(&theirs).await, ErrorKind::Invalid);
    assert_eq!(
        alice.list(&pod("data"), &DfsPath::root()).await.unwrap(),
        [file("file", 4)]
    );
    assert_eq!(read(&*alice, "data", "/file").await.unwrap(), b"hers");
}

/// Received again, it keeps its name; a name that is taken is not given twice.
pub async fn a_pod_is_received_once(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    let reference = alice.share(&pod("data")).await.unwrap();
    bob.create_pod(&pod("mine")).await.unwrap();
    for name in ["mine", "MINE"] {
        assert_kind(
            bob.receive(&reference, &pod(name)).await,
            ErrorKind::AlreadyExists,
        );
    }
    let first = bob.receive(&reference, &pod("first")).await.unwrap();
    assert_eq!(
        bob.receive(&reference, &pod("second")).await.unwrap(),
        first
    );
    assert_eq!(bob.pods().await.unwrap().len(), 2);
    assert_kind(
        bob.create_pod(&pod("First")).await,
        ErrorKind::AlreadyExists,
    );
}

/// An unknown reference and one's own are refused without leaving a pod behind.
pub async fn references_that_cannot_be_received(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let unknown = Reference::from_bytes([0x5a; 32]);
    assert_kind(
        alice.receive(&unknown, &pod("unknown")).await,
        ErrorKind::NotFound,
    );
    let own = alice.share(&pod("data")).await.unwrap();
    assert_kind(
        alice.receive(&own, &pod("again")).await,
        ErrorKind::AlreadyExists,
    );
    assert_eq!(alice.pods().await.unwrap().len(), 1);
}
