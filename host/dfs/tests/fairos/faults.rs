//! The released server on a node that fails: what was acknowledged stays, and nothing half is shown.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sovr_dfs::fairos::{AccountError, FairosDfs, Login, Password, Settings};
use sovr_dfs::{Dfs, Error, Place, PodName};
use sovr_test_fairos::{Effect, Endpoint, FakeBee, Fault, Server, Stamp};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::{PASSWORD, block_on, data, names, path, read, tests, write};

tests! {
    a_refused_stamp_is_named_and_leaves_what_was_there
    a_stamp_refused_in_mid_replacement_leaves_the_old_or_the_new
    a_fork_waits_for_a_slow_replacement
    an_upload_that_failed_late_is_not_shown
    a_deletion_that_broke_off_keeps_nobody_from_reading_what_is_shared
    what_the_network_lost_is_not_confirmed
    a_file_comes_over_slow_chunks
    a_listing_of_what_is_shared_reads_no_whole_file
    a_missing_block_is_an_error_and_never_a_short_file
    a_server_killed_in_mid_upload_shows_nothing_half
    a_server_killed_in_mid_download_is_an_error
    a_restart_between_calls_is_one_more_login_and_no_second_write
    a_login_without_its_password_ends_with_the_server
    an_account_that_cannot_be_used_is_said_to_be_so
}

const ALICE: &str = "alice";
/// Three blocks.
const LARGE: usize = 3_000_000;

struct World {
    // Before its node.
    server: Server,
    bee: FakeBee,
    locks: TempDir,
}

impl World {
    /// With a user who has a pod.
    async fn new() -> World {
        let world = World::empty();
        world.server.sign_up(ALICE, PASSWORD);
        world.alice().create_pod(&data()).await.unwrap();
        world
    }

    fn empty() -> World {
        let bee = FakeBee::start();
        World {
            server: Server::real(&bee),
            bee,
            locks: tempfile::tempdir().unwrap(),
        }
    }

    fn session(&self, user: &str, password: Option<&str>, login: Option<Login>) -> FairosDfs {
        let settings = Settings {
            server: self.server.url().parse().unwrap(),
            user: user.parse().unwrap(),
            password: password.map(|password| Password::new(password.to_owned())),
            login,
            allow_plain_http: false,
        };
        FairosDfs::new(settings, self.locks.path()).unwrap()
    }

    /// A session that knows nothing.
    fn alice(&self) -> FairosDfs {
        self.session(ALICE, Some(PASSWORD), None)
    }
}

fn here() -> Place {
    data().into()
}

/// Different at each place.
fn large() -> Vec<u8> {
    (0..LARGE).map(|index| (index % 251) as u8).collect()
}

const STAMPS: [(Stamp, &str); 3] = [
    (Stamp::NotFound, "batch with id not found"),
    (Stamp::Unusable, "batch not usable yet"),
    (Stamp::Overissued, "batch is overissued"),
];

fn a_refused_stamp_is_named_and_leaves_what_was_there() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        write(&alice, "/old", b"old").await.unwrap();
        for (stamp, words) in STAMPS {
            for endpoint in [Endpoint::UploadBytes, Endpoint::UploadFeed] {
                world
                    .bee
                    .inject(Fault::new(endpoint, Effect::Refused(stamp)));
                for file in ["/old", "/new"] {
                    let error = write(&alice, file, b"newer").await.unwrap_err();
                    assert!(matches!(error, Error::Storage { .. }), "{error:?}");
                    let told = error.to_string();
                    assert!(told.contains(words) && told.contains("stamp"), "{told}");
                    assert!(told.contains(file) && told.contains("data"), "{told}");
                }
                world.bee.heal();
                for dfs in [&alice, &world.alice()] {
                    assert_eq!(read(dfs, &here(), "/old").await.unwrap(), b"old");
                    assert_eq!(
                        names(dfs, &here(), "/").await,
                        ["old"],
                        "{words} {endpoint:?}"
                    );
                }
            }
        }
        world.server.restart();
        for dfs in [&alice, &world.alice()] {
            assert_eq!(read(dfs, &here(), "/old").await.unwrap(), b"old");
            assert_eq!(names(dfs, &here(), "/").await, ["old"]);
        }
        write(&alice, "/old", b"newer").await.unwrap();
        assert_eq!(
            read(&world.alice(), &here(), "/old").await.unwrap(),
            b"newer"
        );
    });
}

/// Wherever it fails, one of the two is there for everybody, whole.
fn a_stamp_refused_in_mid_replacement_leaves_the_old_or_the_new() {
    block_on(async {
        let world = World::new().await;
        let refused = Effect::Refused(Stamp::Overissued);
        // As many as there are, but of those that store a new list of a directory's files, which are alike, some.
        let feeds = (0..13).map(|spared| (Endpoint::UploadFeed, spared));
        let bytes = (0..15)
            .step_by(3)
            .map(|spared| (Endpoint::UploadBytes, spared));
        for (endpoint, spared) in feeds.chain(bytes) {
            // A new directory takes its first changes quickly.
            let directory = format!("/{endpoint:?}-{spared}");
            world
                .alice()
                .make_directory(&data(), &path(&directory))
                .await
                .unwrap();
            let at = format!("{directory}/file");
            write(&world.alice(), &at, b"old").await.unwrap();
            let alice = world.alice();
            world
                .bee
                .inject(Fault::new(endpoint, refused).after(spared));
            let done = write(&alice, &at, b"newer").await;
            world.bee.heal();
            for dfs in [&alice, &world.alice()] {
                let seen = read(dfs, &here(), &at).await;
                let seen = seen.unwrap_or_else(|error| panic!("{at} {done:?}: {error}"));
                let expected: &[&[u8]] = match done {
                    Ok(_) => &[b"newer"],
                    Err(_) => &[b"old", b"newer"],
                };
                assert!(expected.contains(&&*seen), "{at} {done:?}: {seen:?}");
            }
            write(&world.alice(), &at, b"newest").await.unwrap();
            assert_eq!(read(&alice, &here(), &at).await.unwrap(), b"newest");
        }
    });
}

/// The server cannot copy a file while it renames it, however long that takes.
fn a_fork_waits_for_a_slow_replacement() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        let mut old = b"old".to_vec();
        write(&alice, "/file", &old).await.unwrap();
        let reference = alice.share(&data()).await.unwrap();
        world.server.sign_up("bob", PASSWORD);
        let bob = world.session("bob", Some(PASSWORD), None);
        bob.pods().await.unwrap();
        // Among them are the updates in the middle of the renaming.
        for spared in 2..6 {
            let slow = Effect::Slow(Duration::from_secs(2));
            let slow = Fault::new(Endpoint::UploadFeed, slow);
            world.bee.inject(slow.after(spared).times(1));
            let before = world.bee.requests(Endpoint::UploadFeed);
            let newer = format!("newer {spared}");
            let fork: PodName = format!("fork{spared}").parse().unwrap();
            tokio::join!(
                async { write(&alice, "/file", newer.as_bytes()).await.unwrap() },
                async {
                    // The slow one is under way.
                    while world.bee.requests(Endpoint::UploadFeed) <= before + spared {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    bob.fork_pod(&reference.into(), &fork).await.unwrap();
                }
            );
            world.bee.heal();
            let seen = read(&bob, &fork.into(), "/file").await.unwrap();
            assert!(seen == old || seen == newer.as_bytes(), "{seen:?}");
            old = newer.into_bytes();
        }
    });
}

/// The server lists it until it is told to forget what it remembers.
fn an_upload_that_failed_late_is_not_shown() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        // The file has its metadata, and its directory does not get it.
        let late = Fault::new(Endpoint::UploadFeed, Effect::Refused(Stamp::Overissued)).after(1);
        world.bee.inject(late);
        write(&alice, "/file", b"content").await.unwrap_err();
        world.bee.heal();
        assert_eq!(names(&alice, &here(), "/").await, [""; 0]);
        assert_eq!(names(&world.alice(), &here(), "/").await, [""; 0]);
        write(&alice, "/other", b"content").await.unwrap();
        assert_eq!(names(&world.alice(), &here(), "/").await, ["other"]);
    });
}

/// Asked to list this, the server itself would never end.
fn a_deletion_that_broke_off_keeps_nobody_from_reading_what_is_shared() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        write(&alice, "/gone", b"content").await.unwrap();
        write(&alice, "/there", b"content").await.unwrap();
        let shared: Place = alice.share(&data()).await.unwrap().into();
        let late = Fault::new(Endpoint::UploadFeed, Effect::Refused(Stamp::Overissued)).after(1);
        world.bee.inject(late);
        alice.remove(&data(), &path("/gone")).await.unwrap_err();
        world.bee.heal();
        let server = world.server.url().parse().unwrap();
        let stranger = FairosDfs::anonymous(&server, false).unwrap();
        assert_eq!(names(&stranger, &shared, "/").await, ["there"]);
        assert_eq!(
            read(&stranger, &shared, "/there").await.unwrap(),
            b"content"
        );
    });
}

/// The server remembers what it wrote, whatever became of it.
fn what_the_network_lost_is_not_confirmed() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        // A file's metadata, and the list of its directory.
        for spared in [0, 1] {
            world
                .bee
                .inject(Fault::new(Endpoint::UploadFeed, Effect::Lost).after(spared));
            let written = write(&alice, "/file", b"content").await;
            world.bee.heal();
            let files = [(path("/file"), 7)];
            assert_eq!(written.is_ok(), spared == 1, "{written:?}");
            let error = match written {
                Ok(_) => alice.confirm(&data(), &files).await.unwrap_err(),
                // The server looks that up again when it lists.
                Err(error) => error,
            };
            assert!(error.to_string().contains("/file"), "{error}");
            write(&alice, "/file", b"content").await.unwrap();
            alice.confirm(&data(), &files).await.unwrap();
            alice
                .confirm(&data(), &[(path("/file"), 8)])
                .await
                .unwrap_err();
            alice.remove(&data(), &path("/file")).await.unwrap();
        }
    });
}

fn a_file_comes_over_slow_chunks() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        write(&alice, "/file", &large()).await.unwrap();
        let slow = Effect::Slow(Duration::from_millis(100));
        for endpoint in [
            Endpoint::DownloadBytes,
            Endpoint::DownloadFeed,
            Endpoint::UploadBytes,
        ] {
            world.bee.inject(Fault::new(endpoint, slow));
        }
        assert_eq!(
            read(&world.alice(), &here(), "/file").await.unwrap(),
            large()
        );
        write(&alice, "/other", b"content").await.unwrap();
        assert_eq!(names(&world.alice(), &here(), "/").await, ["file", "other"]);
    });
}

/// The server goes on reading for as long as it is listened to, and to HEAD it answers when it has read all.
fn a_listing_of_what_is_shared_reads_no_whole_file() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        // Twelve blocks.
        write(&alice, "/file", &large().repeat(4)).await.unwrap();
        let reference = alice.share(&data()).await.unwrap();
        let slow = Effect::Slow(Duration::from_millis(100));
        world.bee.inject(Fault::new(Endpoint::DownloadBytes, slow));
        let before = world.bee.requests(Endpoint::DownloadBytes);
        assert_eq!(names(&alice, &reference.into(), "/").await, ["file"]);
        // What goes on after the answer, too.
        let mut blocks = 0;
        while blocks < world.bee.requests(Endpoint::DownloadBytes) - before {
            blocks = world.bee.requests(Endpoint::DownloadBytes) - before;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(blocks < 12, "{blocks}");
    });
}

fn a_missing_block_is_an_error_and_never_a_short_file() {
    block_on(async {
        let world = World::new().await;
        write(&world.alice(), "/file", &large()).await.unwrap();
        for effect in [Effect::Missing, Effect::Fails, Effect::Cut(1000)] {
            // The directory, the list of blocks, then each of the blocks.
            for spared in 0..8 {
                let alice = world.alice();
                alice.list(&here(), &path("/")).await.unwrap();
                let seen = world.bee.requests(Endpoint::DownloadBytes);
                world
                    .bee
                    .inject(Fault::new(Endpoint::DownloadBytes, effect).after(spared));
                let got = read(&alice, &here(), "/file").await;
                let asked = world.bee.requests(Endpoint::DownloadBytes) - seen;
                world.bee.heal();
                match got {
                    Ok(content) => assert!(
                        content == large(),
                        "{effect:?} after {spared} of {asked}: {} bytes",
                        content.len()
                    ),
                    Err(_) => assert!(asked > spared),
                }
                assert!(read(&alice, &here(), "/file").await.unwrap() == large());
            }
        }
    });
}

/// Content that does something when it has given half of itself.
struct Half<'a, F> {
    content: &'a [u8],
    half: usize,
    act: Option<F>,
}

impl<F: FnOnce() + Unpin> AsyncRead for Half<'_, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.content.len() <= self.half
            && let Some(act) = self.act.take()
        {
            act();
        }
        let now = self.content.len().min(buffer.remaining());
        let (now, rest) = self.content.split_at(now);
        buffer.put_slice(now);
        self.content = rest;
        Poll::Ready(Ok(()))
    }
}

fn a_server_killed_in_mid_upload_shows_nothing_half() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        write(&alice, "/old", b"old").await.unwrap();
        let large = large();
        for file in ["/old", "/new"] {
            let mut content = Half {
                content: &large,
                half: LARGE / 2,
                act: Some(|| world.server.kill()),
            };
            let error = alice
                .write(&data(), &path(file), &mut content)
                .await
                .unwrap_err();
            assert!(matches!(error, Error::Storage { .. }), "{error:?}");
            let down = read(&alice, &here(), "/old").await.unwrap_err();
            assert!(down.contains("reach"), "{down}");
            world.server.restart();
            for dfs in [&alice, &world.alice()] {
                assert_eq!(names(dfs, &here(), "/").await, ["old"]);
                assert_eq!(read(dfs, &here(), "/old").await.unwrap(), b"old");
            }
        }
        write(&alice, "/new", &large).await.unwrap();
        assert!(read(&world.alice(), &here(), "/new").await.unwrap() == large);
    });
}

fn a_server_killed_in_mid_download_is_an_error() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        write(&alice, "/file", &large()).await.unwrap();
        // The last block is still to come when the first has arrived.
        let held = Effect::Slow(Duration::from_secs(1));
        world.bee.inject(Fault::new(Endpoint::DownloadBytes, held));
        let mut file = alice.read(&here(), &path("/file")).await.unwrap();
        let mut first = vec![0; 1000];
        file.content.read_exact(&mut first).await.unwrap();
        world.server.kill();
        let mut rest = Vec::new();
        let error = file.content.read_to_end(&mut rest).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        world.bee.heal();
        world.server.restart();
        assert!(read(&alice, &here(), "/file").await.unwrap() == large());
    });
}

fn a_restart_between_calls_is_one_more_login_and_no_second_write() {
    block_on(async {
        let world = World::new().await;
        let alice = world.alice();
        let updates = || world.bee.requests(Endpoint::UploadFeed);
        let mut costs = Vec::new();
        for restarted in [false, true] {
            let pod = if restarted { "more" } else { "some" }.parse().unwrap();
            let again = || {
                if restarted {
                    world.server.restart();
                }
            };
            again();
            let before = updates();
            alice.create_pod(&pod).await.unwrap();
            again();
            let made = updates();
            alice.make_directory(&pod, &path("/d")).await.unwrap();
            again();
            let stored = updates();
            alice
                .write(&pod, &path("/d/f"), &mut &b"content"[..])
                .await
                .unwrap();
            again();
            let removed = updates();
            alice.remove(&pod, &path("/d/f")).await.unwrap();
            again();
            assert_eq!(
                alice.pods().await.unwrap().len(),
                if restarted { 3 } else { 2 }
            );
            costs.push([
                made - before,
                stored - made,
                removed - stored,
                updates() - removed,
            ]);
        }
        assert_eq!(costs[0], costs[1]);
    });
}

fn a_login_without_its_password_ends_with_the_server() {
    block_on(async {
        let world = World::new().await;
        let login = world.alice().login().await.unwrap();
        let alice = world.session(ALICE, None, Some(login));
        write(&alice, "/file", b"content").await.unwrap();
        world.server.restart();
        let mut seen = Vec::new();
        seen.push(alice.pods().await.unwrap_err());
        let error = write(&alice, "/file", b"other").await.unwrap_err();
        assert!(
            matches!(
                seen[0],
                Error::Account(AccountError::LoginEnded { ref user, .. }) if user.as_str() == ALICE
            ),
            "{seen:?}"
        );
        assert!(
            matches!(error, Error::Account(AccountError::LoginEnded { .. })),
            "{error:?}"
        );
        assert_eq!(
            read(&world.alice(), &here(), "/file").await.unwrap(),
            b"content"
        );
    });
}

fn an_account_that_cannot_be_used_is_said_to_be_so() {
    block_on(async {
        let world = World::empty();
        world.server.sign_up(ALICE, PASSWORD);
        let wrong = world.session(ALICE, Some("another long password"), None);
        let error = wrong.pods().await.unwrap_err();
        assert!(
            matches!(error, Error::Account(AccountError::WrongPassword { .. })),
            "{error:?}"
        );
        assert!(!error.to_string().contains("another long"), "{error}");
        let error = world
            .session("bob", Some(PASSWORD), None)
            .login()
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Account(AccountError::NoSuchUser { .. })),
            "{error:?}"
        );
        let error = world.alice().signup(None).await.unwrap_err();
        assert!(
            matches!(error, Error::Account(AccountError::UserExists { .. })),
            "{error:?}"
        );
        let short = world.session("carol", Some("short"), None);
        let error = short.signup(None).await.unwrap_err();
        assert!(
            matches!(error, Error::Account(AccountError::UnfitPassword { .. })),
            "{error:?}"
        );
    });
}
