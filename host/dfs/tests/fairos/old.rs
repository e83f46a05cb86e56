//! The older dialect, on the stand-in.

use std::future::poll_fn;
use std::task::Poll;

use libtest_mimic::Trial;
use sovr_dfs::fairos::{AccountError, FairosDfs, Login};
use sovr_dfs::testsuite;
use sovr_dfs::{Dfs, DfsPath, Error, Place, Pod, PodName};
use sovr_test_fairos::OldServer;
use tokio::io::AsyncReadExt;

use crate::suite::Users;
use crate::{PASSWORD, block_on, path};

/// Cases that cannot hold on a server of the older dialect, and why.
const CANNOT: &[(&str, &str)] = &[(
    "a_deleted_pod_is_gone",
    "a new pod takes the lowest key that is free, which a deleted one may have had, and with it its reference",
)];

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
                block_on(testsuite::run(case, &users(OldServer::start())));
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
        a_user_of_the_name_registry_logs_in,
        a_wrong_password_and_an_unknown_user_are_told_apart,
        a_reader_who_loses_interest_leaves_no_pod_behind,
    ];
    trials
}

fn users(server: OldServer) -> Users<OldServer> {
    let url = server.url().to_owned();
    Users::on(server, url)
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

async fn with_data(users: &Users<OldServer>, name: &str) -> FairosDfs {
    let dfs = users.fairos(name).await;
    dfs.create_pod(&pod("data")).await.unwrap();
    dfs
}

/// What is left of the case of the suite, and what is not as it should be: a day on which this fails is a good one.
async fn a_deleted_pod_is_gone_until_a_new_one_has_its_key() {
    let users = users(OldServer::start());
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
    let users = users(OldServer::start());
    let alice = with_data(&users, "alice").await;
    write(&alice, "/file", b"before").await;
    users.server.forget_logins();
    assert_eq!(read(&alice, pod("data"), "/file").await.unwrap(), b"before");
    users.server.forget_logins();
    write(&alice, "/file", b"after").await;
    users.server.forget_logins();
    alice.remove(&pod("data"), &path("/file")).await.unwrap();
    alice.delete_pod(&pod("data")).await.unwrap();
    assert_eq!(alice.pods().await.unwrap(), []);
}

async fn a_kept_login_lists_the_pods_but_opens_none() {
    let users = users(OldServer::start());
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
    let users = users(OldServer::start());
    let alice = with_data(&users, "alice").await;
    let reference = alice.share(&pod("data")).await.unwrap();
    let nobody = FairosDfs::anonymous(&users.server.url().parse().unwrap(), false).unwrap();
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
    assert!(nobody.version().await.unwrap().raw().starts_with("v0.8"));
}

async fn a_shared_pod_of_a_name_that_the_reader_has_cannot_be_read() {
    let users = users(OldServer::start());
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

async fn a_user_of_the_name_registry_logs_in() {
    let users = users(OldServer::with_registry());
    let alice = with_data(&users, "alice").await;
    write(&alice, "/file", b"hers").await;
    users.server.register(users.name("bob").as_str(), PASSWORD);
    let bob = users.session(users.settings("bob", Some(PASSWORD)));
    bob.create_pod(&pod("data")).await.unwrap();
    write(&bob, "/file", b"his").await;
    assert_eq!(read(&bob, pod("data"), "/file").await.unwrap(), b"his");
    assert_eq!(read(&alice, pod("data"), "/file").await.unwrap(), b"hers");
}

async fn a_wrong_password_and_an_unknown_user_are_told_apart() {
    for server in [OldServer::start(), OldServer::with_registry()] {
        let users = users(server);
        with_data(&users, "alice").await;
        let wrong = users.session(users.settings("alice", Some("another password")));
        let error = wrong.login().await.unwrap_err();
        assert!(
            matches!(error, Error::Account(AccountError::WrongPassword { .. })),
            "{error}"
        );
        let unknown = users.session(users.settings("carol", Some(PASSWORD)));
        let error = unknown.pods().await.unwrap_err();
        assert!(
            matches!(error, Error::Account(AccountError::NoSuchUser { .. })),
            "{error}"
        );
        let again = users.session(users.settings("alice", Some(PASSWORD)));
        let error = again.signup(None).await.unwrap_err();
        assert!(
            matches!(error, Error::Account(AccountError::UserExists { .. })),
            "{error}"
        );
    }
}

/// However far the reading had come.
async fn a_reader_who_loses_interest_leaves_no_pod_behind() {
    let users = users(OldServer::start());
    let alice = with_data(&users, "alice").await;
    let reference = alice.share(&pod("data")).await.unwrap();
    let place = Place::from(reference);
    let bob = users.fairos("bob").await;
    let receives = |calls: &[String]| calls.iter().filter(|c| *c == "GET /v1/pod/receive").count();
    let mut cut_short = 0;
    for steps in 0_usize.. {
        let root = DfsPath::root();
        let before = receives(&users.server.calls());
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
        cut_short += receives(&users.server.calls()) - before;
        // It waits until the list is free, so what was begun has ended.
        bob.create_pod(&pod(&format!("pod{steps}"))).await.unwrap();
        let pods = bob.pods().await.unwrap();
        assert_eq!(pods.len(), steps + 1, "{pods:?}");
        if let Some(listed) = listed {
            assert_eq!(listed.unwrap(), []);
            break;
        }
    }
    assert!(cut_short > 0);
}
