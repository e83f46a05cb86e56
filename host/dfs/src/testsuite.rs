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

use crate::swarm::reference_of;
use crate::{Access, Dfs, DfsPath, Entry, Error, ErrorKind, Kind, Place, PodName, Reference};

/// A store on which no user of the case has anything yet.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The user's view of the store; each call is a session of its own, as another process would have it. Where
    /// others use the store too, the user's name there is `name` with something behind it.
    async fn user(&self, name: &str) -> Arc<dyn Dfs>;
}

/// Defines a test for each case, on the [`Fixture`] that `$fixture` makes. Tests that have a
/// main of their own use [`CASES`] and [`run`].
#[macro_export]
macro_rules! dfs_testsuite {
    ($fixture:expr) => {
        $crate::dfs_testsuite!(@all tests $fixture);
    };
    (@all $kind:ident $fixture:expr) => {
        $crate::dfs_testsuite!(@$kind $fixture;
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
            a_large_file_streams_in_and_out
            a_shared_pod_is_read_by_its_reference
            a_reference_says_what_it_stands_for
            reading_by_reference_leaves_no_trace
            a_made_up_reference_opens_nothing
            a_reference_is_no_key_to_other_pods
            a_name_is_no_key_to_anothers_pod
            a_fork_is_independent
            a_fork_takes_no_name_that_is_taken
            a_fork_that_fails_leaves_no_pod
            what_can_be_read_can_be_forked
            forks_of_one_pod_at_one_time
            a_fork_is_of_one_moment
            a_deleted_pod_is_gone
            a_received_pod_is_forgotten_by_its_receiver_only
            an_ended_share_cannot_be_used_again
            a_share_is_ended_by_its_owner_only
        );
    };
    (@tests $fixture:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::testsuite::$case(&$fixture).await;
            }
        )*
    };
    (@named $unused:expr; $($case:ident)*) => {
        /// The names of all cases.
        pub const CASES: &[&str] = &[$(stringify!($case)),*];

        /// Runs one of [`CASES`].
        pub async fn run(case: &str, fixture: &dyn Fixture) {
            match case {
                $(stringify!($case) => $case(fixture).await,)*
                _ => panic!("there is no case {case}"),
            }
        }
    };
}

dfs_testsuite!(@all named ());

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
    let mut opened = dfs.read(&pod(name).into(), &path(at)).await?;
    let mut content = Vec::new();
    opened.content.read_to_end(&mut content).await.unwrap();
    assert_eq!(content.len() as u64, opened.size);
    Ok(content)
}

/// Reads by reference.
async fn read_shared(dfs: &dyn Dfs, reference: Reference, at: &str) -> Result<Vec<u8>, Error> {
    let mut opened = dfs.read(&reference.into(), &path(at)).await?;
    let mut content = Vec::new();
    opened.content.read_to_end(&mut content).await.unwrap();
    assert_eq!(content.len() as u64, opened.size);
    Ok(content)
}

/// Every way to use a reference says that it stands for nothing, and leaves nothing behind.
async fn assert_dead(dfs: &dyn Dfs, reference: Reference) {
    let before = dfs.pods().await.unwrap();
    let (place, root, fresh) = (Place::from(reference), DfsPath::root(), pod("fresh"));
    assert_kind(dfs.list(&place, &root).await, ErrorKind::NotFound);
    assert_kind(dfs.stat(&place, &root).await, ErrorKind::NotFound);
    assert_kind(dfs.stat(&place, &path("/file")).await, ErrorKind::NotFound);
    assert_kind(dfs.read(&place, &path("/file")).await, ErrorKind::NotFound);
    assert_kind(dfs.share_info(&reference).await, ErrorKind::NotFound);
    assert_kind(dfs.fork_pod(&place, &fresh).await, ErrorKind::NotFound);
    assert_kind(dfs.receive(&reference, &fresh).await, ErrorKind::NotFound);
    assert_eq!(dfs.pods().await.unwrap(), before);
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
    assert!(alice.user().as_str().starts_with(ALICE));
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
            .list(&pod("apple").into(), &DfsPath::root())
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
            alice.stat(&pod("data").into(), &path(&at)).await.unwrap(),
            file(&at[1..], length as u64)
        );
    }
}

/// A listing is sorted and has one level; `stat` says the same of each entry.
pub async fn directories_list_what_they_hold(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let data = pod("data");
    assert_eq!(
        alice
            .list(&data.clone().into(), &DfsPath::root())
            .await
            .unwrap(),
        []
    );
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

    let root = alice
        .list(&data.clone().into(), &DfsPath::root())
        .await
        .unwrap();
    assert_eq!(
        root,
        [file("a.txt", 0), directory("frames"), file("z.txt", 4)]
    );
    assert_eq!(
        alice
            .list(&data.clone().into(), &path("/frames"))
            .await
            .unwrap(),
        [directory("small")]
    );
    assert_eq!(
        alice
            .list(&data.clone().into(), &path("/frames/small"))
            .await
            .unwrap(),
        [file("1.png", 1)]
    );
    assert_eq!(
        alice
            .stat(&data.clone().into(), &path("/frames/small"))
            .await
            .unwrap(),
        directory("small")
    );
    assert_eq!(
        alice
            .stat(&data.clone().into(), &DfsPath::root())
            .await
            .unwrap(),
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
        alice
            .list(&pod("data").into(), &DfsPath::root())
            .await
            .unwrap(),
        [file("file", 70_000)]
    );
}

/// A stream gives the content as it was when it was opened, though the file is replaced and removed meanwhile.
pub async fn an_open_file_does_not_change(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let old = bytes(3_000_000, 7);
    write(&*alice, "data", "/file", &old).await.unwrap();
    let mut opened = alice
        .read(&pod("data").into(), &path("/file"))
        .await
        .unwrap();
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
        assert_kind(
            alice.read(&name.clone().into(), &at).await,
            ErrorKind::NotFound,
        );
        assert_kind(
            alice.stat(&name.clone().into(), &at).await,
            ErrorKind::NotFound,
        );
        assert_kind(
            alice.list(&name.clone().into(), &at).await,
            ErrorKind::NotFound,
        );
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
    assert_kind(
        alice.list(&data.clone().into(), &path("/file")).await,
        ErrorKind::Invalid,
    );
    assert_kind(
        alice.stat(&data.clone().into(), &path("/file/below")).await,
        ErrorKind::Invalid,
    );
    assert_kind(
        write(&*alice, "data", "/file/below", b"").await,
        ErrorKind::Invalid,
    );
    assert_kind(
        alice.read(&data.clone().into(), &path("/directory")).await,
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
            alice.read(&pod("data").into(), &path(other)).await,
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
    assert_eq!(
        alice
            .list(&data.clone().into(), &DfsPath::root())
            .await
            .unwrap(),
        []
    );
    write(&*alice, "data", "/a", b"a file now").await.unwrap();
    assert_eq!(read(&*alice, "data", "/a").await.unwrap(), b"a file now");
}

/// The root is a directory that cannot be written, made or removed.
pub async fn the_root_stays(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let (data, root) = (pod("data"), DfsPath::root());
    assert_kind(alice.remove(&data, &root).await, ErrorKind::Invalid);
    assert_kind(alice.make_directory(&data, &root).await, ErrorKind::Invalid);
    assert_kind(
        alice.read(&data.clone().into(), &root).await,
        ErrorKind::Invalid,
    );
    assert_kind(write(&*alice, "data", "/", b"").await, ErrorKind::Invalid);
    assert_eq!(alice.list(&data.clone().into(), &root).await.unwrap(), []);
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
        alice
            .list(&pod("data").into(), &DfsPath::root())
            .await
            .unwrap(),
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
        alice
            .list(&data.clone().into(), &DfsPath::root())
            .await
            .unwrap(),
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
        .list(&pod("data").into(), &DfsPath::root())
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
        .list(&pod("from-alice").into(), &DfsPath::root())
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
        alice
            .list(&pod("data").into(), &DfsPath::root())
            .await
            .unwrap(),
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

/// Bytes that follow from their position, so that nobody needs to hold them.
struct Generated {
    at: u64,
    end: u64,
}

impl Generated {
    fn byte(at: u64) -> u8 {
        (at % 251) as u8 ^ (at >> 16) as u8
    }
}

impl AsyncRead for Generated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let now = (self.end - self.at).min(buffer.remaining() as u64);
        let piece: Vec<u8> = (self.at..self.at + now).map(Generated::byte).collect();
        buffer.put_slice(&piece);
        self.at += now;
        Poll::Ready(Ok(()))
    }
}

/// A file of many buffers and a bit comes back as it was, read in pieces that do not fit any of them.
pub async fn a_large_file_streams_in_and_out(fixture: &dyn Fixture) {
    const SIZE: u64 = (20 << 20) + 12_345;
    let alice = alice_with_data(fixture).await;
    let at = path("/large");
    let mut content = Generated { at: 0, end: SIZE };
    let written = alice.write(&pod("data"), &at, &mut content).await.unwrap();
    assert_eq!(written, SIZE);
    let mut opened = alice.read(&pod("data").into(), &at).await.unwrap();
    assert_eq!(opened.size, SIZE);
    let (mut seen, mut piece) = (0, vec![0; 99_991]);
    loop {
        let now = opened.content.read(&mut piece).await.unwrap();
        if now == 0 {
            break;
        }
        let expected = (seen..).map(Generated::byte);
        assert!(
            piece[..now].iter().copied().eq(expected.take(now)),
            "other bytes after {seen}"
        );
        seen += now as u64;
    }
    assert_eq!(seen, SIZE);
}

/// Anybody with the reference lists and reads, and sees what the owner changes, without receiving.
pub async fn a_shared_pod_is_read_by_its_reference(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    alice
        .make_directory(&pod("data"), &path("/frames"))
        .await
        .unwrap();
    write(&*alice, "data", "/frames/1", b"one").await.unwrap();
    let reference = alice.share(&pod("data")).await.unwrap();
    let shared = Place::from(reference);
    for dfs in [&alice, &bob] {
        assert_eq!(
            dfs.list(&shared, &DfsPath::root()).await.unwrap(),
            [directory("frames")]
        );
        assert_eq!(
            dfs.list(&shared, &path("/frames")).await.unwrap(),
            [file("1", 3)]
        );
        assert_eq!(
            dfs.stat(&shared, &path("/frames/1")).await.unwrap(),
            file("1", 3)
        );
        assert_eq!(
            dfs.stat(&shared, &DfsPath::root()).await.unwrap(),
            directory("")
        );
        assert_eq!(
            read_shared(&**dfs, reference, "/frames/1").await.unwrap(),
            b"one"
        );
        let none = path("/frames/2");
        assert_kind(dfs.stat(&shared, &none).await, ErrorKind::NotFound);
        assert_kind(dfs.read(&shared, &none).await, ErrorKind::NotFound);
        assert_kind(
            dfs.read(&shared, &path("/frames")).await,
            ErrorKind::Invalid,
        );
        assert_kind(
            dfs.list(&shared, &path("/frames/1")).await,
            ErrorKind::Invalid,
        );
    }

    write(&*alice, "data", "/frames/1", b"another")
        .await
        .unwrap();
    write(&*alice, "data", "/frames/2", b"two").await.unwrap();
    let bob = fixture.user(BOB).await;
    assert_eq!(
        read_shared(&*bob, reference, "/frames/1").await.unwrap(),
        b"another"
    );
    assert_eq!(
        bob.list(&shared, &path("/frames")).await.unwrap(),
        [file("1", 7), file("2", 3)]
    );
    alice
        .remove(&pod("data"), &path("/frames/1"))
        .await
        .unwrap();
    let bob = fixture.user(BOB).await;
    assert_kind(
        read_shared(&*bob, reference, "/frames/1").await,
        ErrorKind::NotFound,
    );
}

/// The owner's name for the pod, and addresses that are the same for all pods of a user and differ between pods.
pub async fn a_reference_says_what_it_stands_for(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    alice.create_pod(&pod("Other-1.0")).await.unwrap();
    let data = alice.share(&pod("data")).await.unwrap();
    let other = alice.share(&pod("Other-1.0")).await.unwrap();
    assert_ne!(data, other);
    let info = bob.share_info(&data).await.unwrap();
    assert_eq!(alice.share_info(&data).await.unwrap(), info);
    let of_other = bob.share_info(&other).await.unwrap();
    assert_eq!(info.pod_name.raw(), "data");
    assert_eq!(of_other.pod_name.raw(), "Other-1.0");
    assert_eq!(info.user_address, of_other.user_address);
    assert_ne!(info.pod_address, of_other.pod_address);
    assert_ne!(info.pod_address, info.user_address);

    bob.create_pod(&pod("data")).await.unwrap();
    let his = bob.share(&pod("data")).await.unwrap();
    assert_ne!(his, data, "pods of one name are different pods");
    let info_of_his = alice.share_info(&his).await.unwrap();
    assert_ne!(info_of_his.user_address, info.user_address);
}

/// The name that a stranger gave a pod does not get among the reader's own by looking at it.
pub async fn reading_by_reference_leaves_no_trace(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    write(&*alice, "data", "/file", b"hers").await.unwrap();
    let reference = alice.share(&pod("data")).await.unwrap();
    read_shared(&*bob, reference, "/file").await.unwrap();
    bob.share_info(&reference).await.unwrap();
    bob.list(&reference.into(), &DfsPath::root()).await.unwrap();
    assert_eq!(bob.pods().await.unwrap(), []);
    assert_kind(read(&*bob, "data", "/file").await, ErrorKind::NotFound);
}

/// Neither a reference of nothing, nor one that is nearly right, nor the reference of a file's content.
pub async fn a_made_up_reference_opens_nothing(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    write(&*alice, "data", "/file", b"hers").await.unwrap();
    let reference = alice.share(&pod("data")).await.unwrap();
    let mut nearly = reference.to_string();
    let last = if nearly.pop() == Some('0') { '1' } else { '0' };
    nearly.push(last);
    for made_up in [
        Reference::from_bytes([0; 32]),
        Reference::from_bytes([0xff; 32]),
        nearly.parse().unwrap(),
        reference_of(b"hers"),
    ] {
        assert_dead(&*alice, made_up).await;
        assert_dead(&*bob, made_up).await;
    }
}

/// Only the pod that was shared is read, not its owner's others.
pub async fn a_reference_is_no_key_to_other_pods(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    alice.create_pod(&pod("private")).await.unwrap();
    write(&*alice, "private", "/secret", b"hers").await.unwrap();
    let reference = alice.share(&pod("data")).await.unwrap();
    assert_eq!(
        bob.list(&reference.into(), &DfsPath::root()).await.unwrap(),
        []
    );
    for at in ["/secret", "/private/secret"] {
        assert_kind(read_shared(&*bob, reference, at).await, ErrorKind::NotFound);
    }
}

/// What another user calls a pod does not open it, shared or not.
pub async fn a_name_is_no_key_to_anothers_pod(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    write(&*alice, "data", "/file", b"hers").await.unwrap();
    alice.share(&pod("data")).await.unwrap();
    let (data, copy) = (pod("data"), pod("copy"));
    assert_kind(read(&*bob, "data", "/file").await, ErrorKind::NotFound);
    assert_kind(
        bob.fork_pod(&(&data).into(), &copy).await,
        ErrorKind::NotFound,
    );
    assert_kind(bob.delete_pod(&data).await, ErrorKind::NotFound);
    assert_kind(bob.unshare(&data).await, ErrorKind::NotFound);
    assert_eq!(bob.pods().await.unwrap(), []);
    assert_eq!(read(&*alice, "data", "/file").await.unwrap(), b"hers");
}

/// Alice's pod `data` with a tree in it, and its reference.
async fn shared_tree(alice: &dyn Dfs) -> Reference {
    let data = pod("data");
    for at in ["/a", "/a/b", "/empty"] {
        alice.make_directory(&data, &path(at)).await.unwrap();
    }
    for (at, content) in TREE {
        write(alice, "data", at, content.as_bytes()).await.unwrap();
    }
    alice.share(&data).await.unwrap()
}

const TREE: [(&str, &str); 4] = [
    ("/file", "at the root"),
    ("/a/file", "in a directory"),
    ("/a/b/file", "in a directory of it"),
    ("/a/b/equal", "at the root"),
];

/// The pod holds what [`shared_tree`] made, and nothing else.
async fn assert_tree(dfs: &dyn Dfs, name: &str) {
    let place = Place::from(pod(name));
    for (at, content) in TREE {
        assert_eq!(read(dfs, name, at).await.unwrap(), content.as_bytes());
    }
    for (at, entries) in [("/", 3), ("/a", 2), ("/a/b", 2), ("/empty", 0)] {
        let listed = dfs.list(&place, &path(at)).await.unwrap();
        assert_eq!(listed.len(), entries, "{at} in {name}: {listed:?}");
    }
}

/// What the owner changes or deletes later does not show in a fork, and the fork's changes not in the original.
pub async fn a_fork_is_independent(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    let reference = shared_tree(&*alice).await;
    bob.fork_pod(&reference.into(), &pod("fork")).await.unwrap();
    assert_eq!(
        bob.pod(&pod("fork")).await.unwrap().access,
        Access::Own,
        "a fork is one's own"
    );
    assert_tree(&*bob, "fork").await;

    write(&*bob, "fork", "/a/b/file", b"his").await.unwrap();
    write(&*bob, "fork", "/a/new", b"his").await.unwrap();
    bob.remove(&pod("fork"), &path("/file")).await.unwrap();
    assert_tree(&*alice, "data").await;

    bob.delete_pod(&pod("fork")).await.unwrap();
    bob.fork_pod(&reference.into(), &pod("fork")).await.unwrap();
    write(&*alice, "data", "/a/file", b"changed").await.unwrap();
    alice.remove(&pod("data"), &path("/file")).await.unwrap();
    write(&*alice, "data", "/a/later", b"later").await.unwrap();
    assert_tree(&*bob, "fork").await;
    alice.delete_pod(&pod("data")).await.unwrap();
    assert_tree(&*bob, "fork").await;

    let of_fork = bob.share(&pod("fork")).await.unwrap();
    assert_ne!(of_fork, reference, "a fork is another pod");
}

/// Not one's own pod, not one that differs in case, not a received one.
pub async fn a_fork_takes_no_name_that_is_taken(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    let reference = shared_tree(&*alice).await;
    bob.create_pod(&pod("mine")).await.unwrap();
    write(&*bob, "mine", "/file", b"his").await.unwrap();
    bob.receive(&reference, &pod("theirs")).await.unwrap();
    for name in ["mine", "MINE", "theirs", "Theirs"] {
        let result = bob.fork_pod(&reference.into(), &pod(name)).await;
        assert!(
            matches!(result, Err(Error::PodExists { .. })),
            "{name}: {result:?}"
        );
    }
    let itself = alice.fork_pod(&pod("data").into(), &pod("data")).await;
    assert_kind(itself, ErrorKind::AlreadyExists);
    assert_eq!(bob.pods().await.unwrap().len(), 2);
    assert_eq!(read(&*bob, "mine", "/file").await.unwrap(), b"his");
    assert_tree(&*alice, "data").await;
}

/// A wrong origin does not take the name.
pub async fn a_fork_that_fails_leaves_no_pod(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    let unknown = Reference::from_bytes([0x5a; 32]);
    for from in [Place::from(unknown), pod("none").into()] {
        assert_kind(
            alice.fork_pod(&from, &pod("fork")).await,
            ErrorKind::NotFound,
        );
    }
    assert_eq!(alice.pods().await.unwrap().len(), 1);
    alice.create_pod(&pod("fork")).await.unwrap();
}

/// By reference, from one's own pod (shared or not), from a received one, and from a fork.
pub async fn what_can_be_read_can_be_forked(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    let reference = shared_tree(&*alice).await;
    bob.receive(&reference, &pod("received")).await.unwrap();
    let mut forks = 0;
    for (dfs, from) in [
        (&alice, Place::from(reference)),
        (&alice, pod("data").into()),
        (&bob, pod("received").into()),
        (&alice, pod("fork1").into()),
    ] {
        forks += 1;
        let name = format!("fork{forks}");
        dfs.fork_pod(&from, &pod(&name)).await.unwrap();
        assert_tree(&**dfs, &name).await;
    }
    // An empty pod too.
    bob.create_pod(&pod("empty")).await.unwrap();
    bob.fork_pod(&pod("empty").into(), &pod("also-empty"))
        .await
        .unwrap();
    assert_eq!(
        bob.list(&pod("also-empty").into(), &DfsPath::root())
            .await
            .unwrap(),
        []
    );
}

/// Each is whole, and of those who want one name one gets it.
pub async fn forks_of_one_pod_at_one_time(fixture: &dyn Fixture) {
    const FORKS: usize = 4;
    let alice = alice_with_data(fixture).await;
    let reference = shared_tree(&*alice).await;
    let mut tasks = Vec::new();
    for index in 0..FORKS {
        let bob = fixture.user(BOB).await;
        tasks.push(tokio::spawn(async move {
            let name = format!("fork{index}");
            bob.fork_pod(&reference.into(), &pod(&name)).await.unwrap();
            assert_tree(&*bob, &name).await;
            bob.fork_pod(&reference.into(), &pod("wanted")).await
        }));
    }
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => made += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
        }
    }
    assert_eq!(made, 1);
    let bob = fixture.user(BOB).await;
    assert_tree(&*bob, "wanted").await;
    assert_eq!(bob.pods().await.unwrap().len(), FORKS + 1);
}

/// While the owner writes, a fork has each file whole, in one version.
pub async fn a_fork_is_of_one_moment(fixture: &dyn Fixture) {
    let alice = alice_with_data(fixture).await;
    write(&*alice, "data", "/file", &[0; 1000]).await.unwrap();
    let reference = alice.share(&pod("data")).await.unwrap();
    let writer = tokio::spawn(async move {
        for version in 1..=8_u8 {
            write(
                &*alice,
                "data",
                "/file",
                &vec![version; 1000 + 100 * usize::from(version)],
            )
            .await
            .unwrap();
        }
    });
    let bob = fixture.user(BOB).await;
    for index in 0..4 {
        let name = format!("fork{index}");
        bob.fork_pod(&reference.into(), &pod(&name)).await.unwrap();
        let seen = read(&*bob, &name, "/file").await.unwrap();
        assert_eq!(seen, vec![seen[0]; 1000 + 100 * usize::from(seen[0])]);
    }
    writer.await.unwrap();
}

/// Its name is free, its files, its reference and what its receivers could read are gone, other pods are not.
pub async fn a_deleted_pod_is_gone(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    let reference = shared_tree(&*alice).await;
    alice.create_pod(&pod("other")).await.unwrap();
    write(&*alice, "other", "/equal", b"at the root")
        .await
        .unwrap();
    bob.receive(&reference, &pod("theirs")).await.unwrap();
    let mut opened = alice.read(&reference.into(), &path("/file")).await.unwrap();

    assert_kind(alice.delete_pod(&pod("DATA")).await, ErrorKind::NotFound);
    alice.delete_pod(&pod("data")).await.unwrap();
    assert_kind(alice.delete_pod(&pod("data")).await, ErrorKind::NotFound);
    let alice = fixture.user(ALICE).await;
    let bob = fixture.user(BOB).await;
    assert_eq!(alice.pods().await.unwrap().len(), 1);
    assert_kind(read(&*alice, "data", "/file").await, ErrorKind::NotFound);
    assert_kind(read(&*bob, "theirs", "/file").await, ErrorKind::NotFound);
    assert_dead(&*alice, reference).await;
    assert_dead(&*bob, reference).await;
    assert_eq!(
        read(&*alice, "other", "/equal").await.unwrap(),
        b"at the root"
    );
    let mut content = String::new();
    opened.content.read_to_string(&mut content).await.unwrap();
    assert_eq!(content, "at the root", "what is open stays open");

    // A new pod of the name is not the old one.
    alice.create_pod(&pod("data")).await.unwrap();
    assert_eq!(
        alice
            .list(&pod("data").into(), &DfsPath::root())
            .await
            .unwrap(),
        []
    );
    assert_ne!(alice.share(&pod("data")).await.unwrap(), reference);
    assert_dead(&*bob, reference).await;
}

/// Deleting what was received takes nothing from its owner, nor from other receivers.
pub async fn a_received_pod_is_forgotten_by_its_receiver_only(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    let carol = fixture.user("carol").await;
    let reference = shared_tree(&*alice).await;
    for dfs in [&bob, &carol] {
        dfs.receive(&reference, &pod("theirs")).await.unwrap();
    }
    bob.delete_pod(&pod("theirs")).await.unwrap();
    assert_eq!(bob.pods().await.unwrap(), []);
    assert_kind(read(&*bob, "theirs", "/file").await, ErrorKind::NotFound);
    assert_tree(&*alice, "data").await;
    assert_tree(&*carol, "theirs").await;
    let again = bob.receive(&reference, &pod("again")).await.unwrap();
    assert_eq!(again.name, pod("again"));
    assert_tree(&*bob, "again").await;
}

/// A dead reference stays dead, also for who received the pod, and after it was shared anew. Where a share cannot be
/// ended, that is said, and nothing has changed.
pub async fn an_ended_share_cannot_be_used_again(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    let reference = shared_tree(&*alice).await;
    bob.receive(&reference, &pod("theirs")).await.unwrap();
    bob.fork_pod(&reference.into(), &pod("fork")).await.unwrap();
    if let Err(error) = alice.unshare(&pod("data")).await {
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(alice.share(&pod("data")).await.unwrap(), reference);
        assert_tree(&*bob, "theirs").await;
        return;
    }
    let (alice, bob) = (fixture.user(ALICE).await, fixture.user(BOB).await);
    assert_tree(&*alice, "data").await;
    assert_tree(&*bob, "fork").await;
    assert_kind(read(&*bob, "theirs", "/file").await, ErrorKind::NotFound);
    assert_dead(&*bob, reference).await;
    assert_dead(&*alice, reference).await;

    let later = alice.share(&pod("data")).await.unwrap();
    assert_ne!(later, reference);
    assert_dead(&*bob, reference).await;
    assert_kind(read(&*bob, "theirs", "/file").await, ErrorKind::NotFound);
    assert_eq!(
        read_shared(&*bob, later, "/file").await.unwrap(),
        b"at the root"
    );
    alice.unshare(&pod("data")).await.unwrap();
    assert_dead(&*bob, later).await;
}

/// Not by who received the pod, and only where there is a share to end.
pub async fn a_share_is_ended_by_its_owner_only(fixture: &dyn Fixture) {
    let (alice, bob) = (alice_with_data(fixture).await, fixture.user(BOB).await);
    assert_kind(alice.unshare(&pod("none")).await, ErrorKind::NotFound);
    let unshared = alice.unshare(&pod("data")).await.unwrap_err();
    assert!(
        matches!(
            unshared,
            Error::NotShared { .. } | Error::Unsupported { .. }
        ),
        "{unshared}"
    );
    let reference = shared_tree(&*alice).await;
    bob.receive(&reference, &pod("theirs")).await.unwrap();
    assert_kind(bob.unshare(&pod("theirs")).await, ErrorKind::Invalid);
    assert_tree(&*bob, "theirs").await;
    assert_eq!(
        read_shared(&*bob, reference, "/file").await.unwrap(),
        b"at the root"
    );
}
