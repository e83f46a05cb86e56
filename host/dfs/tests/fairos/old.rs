//! The older dialect, on the real server of the original Sovr's users, v0.8.1.

use std::future::poll_fn;
use std::task::Poll;

use libtest_mimic::Trial;
use sovr_dfs::fairos::{AccountError, FairosDfs, Login};
use sovr_dfs::testsuite;
use sovr_dfs::{Dfs, DfsPath, Error, Place, Pod, PodName};
use sovr_test_fairos::{FakeBee, Server, program};
use tokio::io::AsyncReadExt;

use crate::suite::Users;
use crate::{PASSWORD, block_on, path};

/// Cases that cannot hold on a server of the older dialect, and why.
const CANNOT: &[(&str, &str)] = &[
    (
        "a_deleted_pod_is_gone",
        "a new pod takes the lowest key that is free, which a deleted one may have had, and with it its reference",
    ),
    ("writers_of_one_file_do_not_mix", ENDS),
    ("a_fork_is_of_one_moment", ENDS),
];

/// The place of a feed's next change follows from the second. The server has none left for the second or third change
/// within one, writes over the last, remembers what it wrote in another form than what it reads, and takes some of it
/// for a length.
const ENDS: &str = "the server ends when a directory changes several times within a second";

/// A server of its own for each test, and the node beneath it.
struct Old {
    server: Server,
    _bee: FakeBee,
}

pub(crate) fn trials() -> Vec<Trial> {
    let cannot = |case: &str| CANNOT.iter().any(|(name, _)| *name == case);
    assert!(
        CANNOT
            .iter()
            .all(|(name, _)| testsuite::CASES.contains(name)),
        "a case that is not one of the suite"
    );
    let mut trials: Vec<Trial> = testsuite::CASES
        .iter()
        .filter(|case| !cannot(case))
        .map(|case| {
            Trial::test(format!("old::{case}"), move || {
                block_on(testsuite::run(case, &users()));
                Ok(())
            })
        })
        .collect();
    macro_rules! particular {
        ($($name:ident),* $(,)?) => {
            $(trials.push(Trial::test(concat!("old::", stringify!($name)), || {
                block_on($name());
                Ok(())
            }));)*
        };
    }
    particular![
        a_deleted_pod_is_gone_until_a_new_one_has_its_key,
        a_login_that_is_forgotten_is_made_again_and_pods_are_opened_again,
        a_kept_login_lists_the_pods_but_opens_none,
        nobody_reads_without_an_account,
        a_shared_pod_of_a_name_that_the_reader_has_cannot_be_read,
        a_wrong_password_and_an_unknown_user_are_told_apart,
        a_reader_who_loses_interest_leaves_no_pod_behind,
        who_signed_up_by_other_means_keeps_lists_shares_and_forks,
        changes_that_follow_each_other_fast_end_the_server,
    ];
    let missing = program::OLD.missing();
    if let Some(why) = &missing {
        println!("{why}");
    }
    let trials = trials.into_iter();
    trials
        .map(|trial| trial.with_ignored_flag(missing.is_some()))
        .collect()
}

fn users() -> Users<Old> {
    let bee = FakeBee::start();
    let server = Server::old(&bee);
    let url = server.url().to_owned();
    Users::on(Old { server, _bee: bee }, url)
}

fn pod(name: &str) -> PodName {
    name.parse().unwrap()
}

async fn write(dfs: &FairosDfs, at: &str, mut content: &[u8]) {
    let size = content.len() as u64;
    let written = dfs.write(&pod("data"), &path(at), &mut content).await;
    assert_eq!(written.unwrap(), size);
}

async fn read(dfs: &FairosDfs, place: impl Into<Place>, at: &str) -> Result<Vec<u8>, Error> {
    let mut opened = dfs.read(&place.into(), &path(at)).await?;
    let mut content = Vec::new();
    opened.content.read_to_end(&mut content).await.unwrap();
    Ok(content)
}

async fn with_data(users: &Users<Old>, name: &str) -> FairosDfs {
    let dfs = users.fairos(name).await;
    dfs.create_pod(&pod("data")).await.unwrap();
    dfs
}

/// What is left of the case of the suite, and what is not as it should be: a day on which this fails is a good one.
async fn a_deleted_pod_is_gone_until_a_new_one_has_its_key() {
    let users = users();
    let alice = with_data(&users, "alice").await;
    write(&alice, "/file", b"hers").await;
    let reference = alice.share(&pod("data")).await.unwrap();
    let bob = users.fairos("bob").await;
    bob.receive(&reference, &pod("theirs")).await.unwrap();
    alice.delete_pod(&pod("data")).await.unwrap();
    for dfs in [&alice, &bob] {
        let error = read(dfs, reference, "/file").await.unwrap_err();
        assert!(matches!(error, Error::NoSuchShare { .. }), "{error}");
        let error = dfs.share_info(&reference).await.unwrap_err();
        assert!(matches!(error, Error::NoSuchShare { .. }), "{error}");
    }
    let error = read(&bob, pod("theirs"), "/file").await.unwrap_err();
    assert!(matches!(error, Error::NoSuchPod { .. }), "{error}");

    alice.create_pod(&pod("data")).await.unwrap();
    write(&alice, "/new", b"new").await;
    let later = alice.share(&pod("data")).await.unwrap();
    assert_ne!(later, reference);
    assert_eq!(read(&bob, reference, "/new").await.unwrap(), b"new");
    let error = read(&bob, reference, "/file").await.unwrap_err();
    assert!(matches!(error, Error::NoSuchPath { .. }), "{error}");
}

async fn a_login_that_is_forgotten_is_made_again_and_pods_are_opened_again() {
    let users = users();
    let alice = with_data(&users, "alice").await;
    write(&alice, "/file", b"before").await;
    users.server.server.restart();
    assert_eq!(read(&alice, pod("data"), "/file").await.unwrap(), b"before");
    users.server.server.restart();
    write(&alice, "/file", b"after").await;
    users.server.server.restart();
    alice.remove(&pod("data"), &path("/file")).await.unwrap();
    alice.delete_pod(&pod("data")).await.unwrap();
    assert_eq!(alice.pods().await.unwrap(), []);
}

async fn a_kept_login_lists_the_pods_but_opens_none() {
    let users = users();
    let alice = with_data(&users, "alice").await;
    let login = alice.login().await.unwrap();
    assert!(!format!("{login:?}").contains(login.reveal()));
    let mut settings = users.settings("alice", None);
    settings.login = Some(Login::new(login.reveal().to_owned()));
    let kept = users.session(settings.clone());
    assert_eq!(kept.pods().await.unwrap().len(), 1);
    let account = kept.whoami().await.unwrap();
    assert_eq!(account.user.raw(), users.name("alice").as_str());
    for error in [
        kept.list(&pod("data").into(), &DfsPath::root())
            .await
            .unwrap_err(),
        kept.create_pod(&pod("more")).await.unwrap_err(),
        kept.share(&pod("data")).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Account(AccountError::PasswordNeeded { .. })),
            "{error}"
        );
    }
    kept.logout().await.unwrap();
    let ended = users.session(settings).pods().await.unwrap_err();
    assert!(
        matches!(ended, Error::Account(AccountError::LoginEnded { .. })),
        "{ended}"
    );
}

async fn nobody_reads_without_an_account() {
    let users = users();
    let alice = with_data(&users, "alice").await;
    let reference = alice.share(&pod("data")).await.unwrap();
    let nobody = FairosDfs::anonymous(&users.server.server.url().parse().unwrap(), false).unwrap();
    for error in [
        nobody
            .list(&reference.into(), &DfsPath::root())
            .await
            .unwrap_err(),
        nobody
            .read(&reference.into(), &path("/file"))
            .await
            .map(|_| ())
            .unwrap_err(),
        nobody.share_info(&reference).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Account(AccountError::LoginNeeded { .. })),
            "{error}"
        );
    }
    assert!(nobody.version().await.unwrap().raw().starts_with("0.8.1"));
}

async fn a_shared_pod_of_a_name_that_the_reader_has_cannot_be_read() {
    let users = users();
    let alice = with_data(&users, "alice").await;
    write(&alice, "/file", b"hers").await;
    let reference = alice.share(&pod("data")).await.unwrap();
    let bob = with_data(&users, "bob").await;
    write(&bob, "/file", b"his").await;
    bob.receive(&reference, &pod("theirs")).await.unwrap();
    for error in [
        read(&bob, reference, "/file").await.unwrap_err(),
        read(&bob, pod("theirs"), "/file").await.unwrap_err(),
        bob.fork_pod(&reference.into(), &pod("fork"))
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    assert_eq!(read(&bob, pod("data"), "/file").await.unwrap(), b"his");
    let names: Vec<Pod> = bob.pods().await.unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
    bob.delete_pod(&pod("data")).await.unwrap();
    assert_eq!(read(&bob, pod("theirs"), "/file").await.unwrap(), b"hers");
}

async fn a_wrong_password_and_an_unknown_user_are_told_apart() {
    let users = users();
    with_data(&users, "alice").await;
    let wrong = users.session(users.settings("alice", Some("another password")));
    let error = wrong.login().await.unwrap_err();
    assert!(
        matches!(error, Error::Account(AccountError::WrongPassword { .. })),
        "{error}"
    );
    let unknown = users.session(users.settings("carol", Some(PASSWORD)));
    let asks = || users.server.server.log().matches("/v2/user/login").count();
    let before = asks();
    let error = unknown.pods().await.unwrap_err();
    assert!(
        matches!(error, Error::Account(AccountError::NoSuchUser { .. })),
        "{error}"
    );
    assert_eq!(
        asks() - before,
        2,
        "once in the newer dialect, and once because the name registry may know the user"
    );
    let again = users.session(users.settings("alice", Some(PASSWORD)));
    let error = again.signup(None).await.unwrap_err();
    assert!(
        matches!(error, Error::Account(AccountError::UserExists { .. })),
        "{error}"
    );
}

/// However far the reading had come.
async fn a_reader_who_loses_interest_leaves_no_pod_behind() {
    let users = users();
    let alice = with_data(&users, "alice").await;
    let reference = alice.share(&pod("data")).await.unwrap();
    let place = Place::from(reference);
    let bob = users.fairos("bob").await;
    // The server logs each call.
    let receives = || {
        users
            .server
            .server
            .log()
            .matches("/v1/pod/receive?")
            .count()
    };
    for steps in 0_usize.. {
        let root = DfsPath::root();
        let mut listing = Box::pin(bob.list(&place, &root));
        let mut left = steps;
        // It is given up after so many things happened to it.
        let listed = poll_fn(|context| match left.checked_sub(1) {
            None => Poll::Ready(None),
            Some(fewer) => {
                left = fewer;
                listing.as_mut().poll(context).map(Some)
            }
        })
        .await;
        drop(listing);
        // It waits until the list is free, so what was begun has ended.
        bob.create_pod(&pod(&format!("pod{steps}"))).await.unwrap();
        let pods = bob.pods().await.unwrap();
        assert_eq!(pods.len(), steps + 1, "{pods:?}");
        if let Some(listed) = listed {
            assert_eq!(listed.unwrap(), []);
            break;
        }
    }
    assert!(
        receives() > 1,
        "the last reader was the only one that came so far"
    );
}

/// As users of the original have it: their account is there, and its password may be short.
async fn who_signed_up_by_other_means_keeps_lists_shares_and_forks() {
    const SHORT: &str = "secret";
    let users = users();
    for name in ["alice", "bob"] {
        let name = users.name(name);
        users.server.server.sign_up(name.as_str(), SHORT);
    }
    let user = |name| users.session(users.settings(name, Some(SHORT)));
    let alice = user("alice");
    alice.login().await.unwrap();
    let account = alice.whoami().await.unwrap();
    assert_eq!(account.user.raw(), users.name("alice").as_str());
    assert!(account.address.raw().starts_with("0x"), "{account:?}");

    alice.create_pod(&pod("data")).await.unwrap();
    let inside = path("/inside");
    alice.make_directory(&pod("data"), &inside).await.unwrap();
    write(&alice, "/inside/file", b"kept").await;
    write(&alice, "/inside/file", b"kept again").await;
    alice
        .fork_pod(&pod("data").into(), &pod("own"))
        .await
        .unwrap();
    let reference = alice.share(&pod("data")).await.unwrap();
    let bob = user("bob");
    bob.fork_pod(&reference.into(), &pod("fork")).await.unwrap();

    users.server.server.restart();
    for (name, pods) in [("alice", &["data", "own"][..]), ("bob", &["fork"])] {
        // A new session, which remembers nothing.
        let dfs = user(name);
        let listed = dfs.pods().await.unwrap();
        let names: Vec<&str> = listed.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, pods);
        for name in pods {
            let place = Place::from(pod(name));
            let entries = dfs.list(&place, &inside).await.unwrap();
            let entries: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.size)).collect();
            assert_eq!(entries, [("file", 10)], "{name}");
            let content = read(&dfs, place, "/inside/file").await.unwrap();
            assert_eq!(content, b"kept again", "{name}");
        }
    }
}

/// Why cases are left out. A day on which this fails is a good one, too.
async fn changes_that_follow_each_other_fast_end_the_server() {
    let users = users();
    let alice = with_data(&users, "alice").await;
    for number in 0..200 {
        let directory = path(&format!("/{number}"));
        if let Err(error) = alice.make_directory(&pod("data"), &directory).await {
            let log = users.server.server.log();
            assert!(log.contains("makeslice: len out of range"), "{error}");
            return;
        }
    }
    panic!("it still runs: what is left out for it may be taken in again");
}
