//! What the server is known to do wrong when all is well beneath it, and that none of it is seen.

use std::collections::BTreeSet;
use std::sync::Arc;

use sovr_dfs::fairos::{AccountError, FairosDfs};
use sovr_dfs::swarm::reference_of;
use sovr_dfs::{Dfs, DfsPath, Error, Kind, Place, PodName};

use crate::suite::Users;
use crate::{block_on, data, names, path, read, tests, write};

tests! {
    listings_at_one_time_are_whole
    a_directory_in_a_directory_can_be_removed_and_the_pod_deleted
    a_fork_of_an_unknown_reference_leaves_no_pod
    pods_made_at_one_time_are_all_there
    writers_at_one_time_lose_nothing
    without_an_account_what_is_shared_is_read_and_nothing_else
}

async fn alice(users: &Users) -> FairosDfs {
    let alice = users.fairos("alice").await;
    alice.create_pod(&data()).await.unwrap();
    alice
}

/// The server leaves out of one listing what another is looking up.
fn listings_at_one_time_are_whole() {
    block_on(async {
        let users = Users::new();
        let alice = alice(&users).await;
        for file in ["/a", "/b", "/c", "/d"] {
            write(&alice, file, b"content").await.unwrap();
        }
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let dfs = users.fairos("alice").await;
            tasks.push(tokio::spawn(async move {
                for _ in 0..20 {
                    assert_eq!(names(&dfs, &data().into(), "/").await, ["a", "b", "c", "d"]);
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Removed the server's way, it would spoil the pod for good.
fn a_directory_in_a_directory_can_be_removed_and_the_pod_deleted() {
    block_on(async {
        let users = Users::new();
        let alice = alice(&users).await;
        for directory in ["/a", "/a/b", "/a/b/c"] {
            alice
                .make_directory(&data(), &path(directory))
                .await
                .unwrap();
        }
        write(&alice, "/a/file", b"content").await.unwrap();
        for directory in ["/a/b/c", "/a/b"] {
            alice.remove(&data(), &path(directory)).await.unwrap();
        }
        for dfs in [&alice, &users.fairos("alice").await] {
            assert_eq!(names(dfs, &data().into(), "/a").await, ["file"]);
            assert_eq!(names(dfs, &data().into(), "/").await, ["a"]);
        }
        alice.remove(&data(), &path("/a/file")).await.unwrap();
        alice.remove(&data(), &path("/a")).await.unwrap();
        assert_eq!(names(&alice, &data().into(), "/").await, [""; 0]);
        alice.delete_pod(&data()).await.unwrap();
        assert_eq!(alice.pods().await.unwrap(), []);
    });
}

fn a_fork_of_an_unknown_reference_leaves_no_pod() {
    block_on(async {
        let users = Users::new();
        let alice = users.fairos("alice").await;
        let copy: PodName = "copy".parse().unwrap();
        let unknown = reference_of(b"nothing was ever shared under this");
        let error = alice.fork_pod(&unknown.into(), &copy).await.unwrap_err();
        assert!(matches!(error, Error::NoSuchShare { .. }), "{error:?}");
        assert_eq!(alice.pods().await.unwrap(), []);
        assert_eq!(users.fairos("alice").await.pods().await.unwrap(), []);
    });
}

fn pods_made_at_one_time_are_all_there() {
    block_on(async {
        const PODS: usize = 6;
        let users = Users::new();
        let name = |number: usize| format!("pod-{number}").parse::<PodName>().unwrap();
        users.fairos("alice").await;
        let mut tasks = Vec::new();
        for number in 0..PODS {
            let dfs = users.fairos("alice").await;
            tasks.push(tokio::spawn(
                async move { dfs.create_pod(&name(number)).await },
            ));
        }
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let pods = users.fairos("alice").await.pods().await.unwrap();
        let pods: Vec<_> = pods.into_iter().map(|pod| pod.name).collect();
        assert_eq!(pods, (0..PODS).map(name).collect::<Vec<_>>());
    });
}

/// On the server itself two of so many are gone afterwards, each answered with 200.
fn writers_at_one_time_lose_nothing() {
    block_on(async {
        const WRITERS: u8 = 64;
        let users = Users::new();
        let alice = Arc::new(alice(&users).await);
        let mut tasks = Vec::new();
        for number in 0..WRITERS {
            let dfs = alice.clone();
            tasks.push(tokio::spawn(async move {
                write(&*dfs, &format!("/{number}"), &[number; 100]).await
            }));
        }
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), 100);
        }
        let other = users.fairos("alice").await;
        let listed = names(&other, &data().into(), "/").await;
        let expected = (0..WRITERS).map(|number| number.to_string());
        assert_eq!(
            listed.into_iter().collect::<BTreeSet<_>>(),
            expected.collect()
        );
        for number in [0, WRITERS / 2, WRITERS - 1] {
            let content = read(&other, &data().into(), &format!("/{number}"))
                .await
                .unwrap();
            assert_eq!(content, [number; 100]);
        }
    });
}

fn without_an_account_what_is_shared_is_read_and_nothing_else() {
    block_on(async {
        let users = Users::new();
        let alice = alice(&users).await;
        alice.make_directory(&data(), &path("/d")).await.unwrap();
        write(&alice, "/d/file", b"content").await.unwrap();
        let reference = alice.share(&data()).await.unwrap();
        let shared = Place::from(reference);

        let url = users.server.url().parse().unwrap();
        let nobody = FairosDfs::anonymous(&url, false).unwrap();
        assert_eq!(names(&nobody, &shared, "/").await, ["d"]);
        assert_eq!(names(&nobody, &shared, "/d").await, ["file"]);
        let entry = nobody.stat(&shared, &path("/d/file")).await.unwrap();
        assert_eq!((entry.kind, entry.size), (Kind::File, 7));
        assert_eq!(read(&nobody, &shared, "/d/file").await.unwrap(), b"content");
        let error = nobody.read(&shared, &path("/d/other")).await.err().unwrap();
        assert!(matches!(error, Error::NoSuchPath { .. }), "{error:?}");
        let error = nobody.read(&shared, &path("/d")).await.err().unwrap();
        assert!(matches!(error, Error::IsDirectory { .. }), "{error:?}");

        let (pod, root) = (data(), DfsPath::root());
        let here = Place::from(&pod);
        let refused = [
            nobody.create_pod(&pod).await.err(),
            nobody.pods().await.err(),
            nobody.pod(&pod).await.err(),
            nobody.list(&here, &root).await.err(),
            nobody.stat(&here, &root).await.err(),
            nobody.read(&here, &path("/d/file")).await.err(),
            write(&nobody, "/file", b"content").await.err(),
            nobody.make_directory(&pod, &path("/e")).await.err(),
            nobody.remove(&pod, &path("/d")).await.err(),
            nobody.share(&pod).await.err(),
            nobody.unshare(&pod).await.err(),
            nobody.share_info(&reference).await.err(),
            nobody.receive(&reference, &pod).await.err(),
            nobody.fork_pod(&shared, &pod).await.err(),
            nobody.delete_pod(&pod).await.err(),
            nobody.login().await.err(),
            nobody.signup(None).await.err(),
            nobody.whoami().await.err(),
        ];
        for (number, error) in refused.into_iter().enumerate() {
            let needed = Error::Account(AccountError::LoginNeeded {
                attempted: String::new(),
            });
            let error = error.unwrap_or_else(|| panic!("{number} went well"));
            assert_eq!(
                std::mem::discriminant(&error),
                std::mem::discriminant(&needed),
                "{number}: {error:?}"
            );
            assert!(
                error.to_string().contains("log in first"),
                "{number}: {error}"
            );
        }
    });
}
