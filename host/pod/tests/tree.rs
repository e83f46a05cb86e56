//! Attacks on the tree of a pod, from the side of somebody who prepared the directory or changes it meanwhile.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};
use sovr_capability::{Limits, Size};
use sovr_pod::tree::{STAGING, TreeError};
use sovr_pod::{Area, GuestPath, Quota, Tree};

struct Pod {
    dir: tempfile::TempDir,
    tree: Arc<Tree>,
    quota: Arc<Quota>,
}

impl Pod {
    fn new() -> Self {
        Self::with_quota(1 << 20, 1000)
    }

    fn with_quota(bytes: u64, files: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = Arc::new(Tree::open(dir.path()).unwrap());
        tree.prepare().unwrap();
        let limits = Limits {
            output: Size::bytes(bytes),
            files,
            ..Limits::DEFAULT
        };
        Self {
            dir,
            tree,
            quota: Arc::new(Quota::new(&limits)),
        }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn read(&self, at: &str) -> Result<String, TreeError> {
        let mut text = String::new();
        self.tree
            .open_read(&path(at))?
            .read_to_string(&mut text)
            .unwrap();
        Ok(text)
    }

    fn write(&self, at: &str, content: &str) -> Result<(), TreeError> {
        let mut file = self.tree.create(&path(at), &self.quota)?;
        file.write_all(content.as_bytes()).unwrap();
        file.commit()
    }

    fn refusal(&self, at: &str) -> String {
        match self.read(at) {
            Err(TreeError::Refused { problem, .. }) => problem.to_owned(),
            other => panic!("{at}: {other:?}"),
        }
    }
}

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

fn secret() -> tempfile::TempDir {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    outside
}

#[test]
fn files_are_read_and_written_by_their_path_in_the_pod() {
    let pod = Pod::new();
    fs::write(pod.path("payload/scene.json"), "{}").unwrap();
    assert_eq!(pod.read("/payload/scene.json").unwrap(), "{}");
    pod.write("output/frame.png", "one").unwrap();
    pod.write("output/frame.png", "two").unwrap();
    assert_eq!(pod.read("output/frame.png").unwrap(), "two");
    assert!(matches!(
        pod.read("payload/absent"),
        Err(TreeError::NotFound { .. })
    ));
    pod.tree.clean().unwrap();
    assert!(!pod.path(STAGING).exists());
}

#[test]
fn symbolic_links_are_followed_nowhere_in_a_path() {
    let pod = Pod::new();
    let outside = secret();
    symlink(outside.path().join("secret"), pod.path("payload/absolute")).unwrap();
    symlink("../recipe.json", pod.path("payload/parent")).unwrap();
    symlink(outside.path(), pod.path("payload/directory")).unwrap();
    symlink("loop", pod.path("payload/loop")).unwrap();
    fs::write(pod.path("payload/real"), "x").unwrap();
    symlink("real", pod.path("payload/inside")).unwrap();
    for at in [
        "payload/absolute",
        "payload/parent",
        "payload/directory/secret",
        "payload/loop",
        "payload/inside",
    ] {
        assert_eq!(pod.refusal(at), "a part of it is a symbolic link", "{at}");
    }
}

#[test]
fn magic_links_of_proc_lead_nowhere() {
    let pod = Pod::new();
    let outside = secret();
    let open = fs::File::open(outside.path().join("secret")).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&open);
    symlink(format!("/proc/self/fd/{fd}"), pod.path("payload/fd")).unwrap();
    symlink("/proc/self/root", pod.path("payload/root")).unwrap();
    symlink("/proc/self/cwd", pod.path("payload/cwd")).unwrap();
    for at in [
        "payload/fd",
        "payload/root/etc/passwd",
        "payload/cwd/Cargo.toml",
    ] {
        assert_eq!(pod.refusal(at), "a part of it is a symbolic link", "{at}");
    }
}

#[test]
fn named_pipe_socket_and_directory_are_refused_at_once() {
    let pod = Pod::new();
    mkfifoat(CWD, pod.path("payload/pipe"), Mode::RWXU).unwrap();
    let _socket = UnixListener::bind(pod.path("payload/socket")).unwrap();
    fs::create_dir(pod.path("payload/directory")).unwrap();
    let start = Instant::now();
    assert_eq!(pod.refusal("payload/pipe"), "it is not a regular file");
    assert_eq!(pod.refusal("payload/socket"), "it is not a regular file");
    assert_eq!(pod.refusal("payload/directory"), "it is a directory");
    assert_eq!(pod.refusal("payload"), "it is a directory");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn hard_link_to_a_file_outside_is_neither_read_nor_written_through() {
    let pod = Pod::new();
    let outside = secret();
    fs::hard_link(outside.path().join("secret"), pod.path("output/link")).unwrap();
    assert!(
        pod.refusal("output/link")
            .starts_with("it has a second name")
    );
    pod.write("output/link", "mine").unwrap();
    assert_eq!(
        fs::read_to_string(outside.path().join("secret")).unwrap(),
        "secret"
    );
    assert_eq!(pod.read("output/link").unwrap(), "mine");
}

#[test]
fn read_only_areas_are_not_written() {
    let pod = Pod::new();
    for at in ["payload/x", "script/x.wasm"] {
        assert!(
            matches!(pod.write(at, "x"), Err(TreeError::Refused { .. })),
            "{at}"
        );
    }
    for at in ["output", "output/absent/x"] {
        assert!(
            matches!(pod.write(at, "x"), Err(TreeError::Refused { .. })),
            "{at}"
        );
    }
    assert!(pod.tree.create_log(&path("output/x")).is_err());
    assert_eq!(fs::read_dir(pod.path("payload")).unwrap().count(), 0);
}

#[test]
fn a_symbolic_link_in_the_place_of_an_output_is_replaced_and_not_followed() {
    let pod = Pod::new();
    let outside = secret();
    symlink(outside.path().join("secret"), pod.path("output/link")).unwrap();
    pod.write("output/link", "mine").unwrap();
    assert!(
        fs::symlink_metadata(pod.path("output/link"))
            .unwrap()
            .is_file()
    );
    symlink(outside.path(), pod.path("output/directory")).unwrap();
    assert!(matches!(
        pod.write("output/directory/new", "x"),
        Err(TreeError::Refused { .. })
    ));
    symlink(outside.path().join("log"), pod.path("logs/log")).unwrap();
    assert!(pod.tree.create_log(&path("logs/log")).is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(
        fs::read_to_string(outside.path().join("secret")).unwrap(),
        "secret"
    );
}

#[test]
fn a_staging_directory_or_area_that_is_a_link_is_refused() {
    let pod = Pod::new();
    let outside = secret();
    symlink(outside.path(), pod.path(STAGING)).unwrap();
    assert!(matches!(
        pod.write("output/x", "x"),
        Err(TreeError::Refused { .. })
    ));
    // A new run removes the link and leaves alone what it points to.
    pod.tree.prepare().unwrap();
    pod.write("output/x", "x").unwrap();

    fs::remove_dir(pod.path("logs")).unwrap();
    symlink(outside.path(), pod.path("logs")).unwrap();
    assert!(pod.tree.prepare().is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn directory_swapped_with_a_link_while_files_are_opened_never_leads_out() {
    let pod = Pod::new();
    let outside = secret();
    fs::create_dir(pod.path("output/d")).unwrap();
    fs::write(pod.path("output/d/secret"), "harmless").unwrap();
    symlink(outside.path(), pod.path("output/link")).unwrap();
    let over = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0_u64;
            while !over.load(Ordering::Relaxed) {
                renameat_with(
                    CWD,
                    pod.path("output/d"),
                    CWD,
                    pod.path("output/link"),
                    RenameFlags::EXCHANGE,
                )
                .unwrap();
                swaps += 1;
            }
            swaps
        });
        let (mut read, mut refused) = (0, 0);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            match pod.read("output/d/secret") {
                Ok(text) => {
                    assert_eq!(text, "harmless");
                    read += 1;
                }
                Err(TreeError::Refused { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            if let Ok(mut file) = pod.tree.create(&path("output/d/new"), &pod.quota) {
                file.write_all(b"x").unwrap();
                file.commit().unwrap();
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(
            read > 0 && refused > 0,
            "{read} read, {refused} refused: nothing raced"
        );
        swapper.join().unwrap()
    });
    assert!(swaps > 0);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn very_long_names_are_an_error() {
    let pod = Pod::new();
    let name = format!("output/{}", "x".repeat(255));
    pod.write(&name, "x").unwrap();
    assert_eq!(pod.read(&name).unwrap(), "x");
    assert!(format!("{name}x").parse::<GuestPath>().is_err());
}

#[test]
fn half_a_file_is_never_seen_and_leaves_nothing() {
    let pod = Pod::new();
    pod.write("output/x", "old").unwrap();
    let mut file = pod.tree.create(&path("output/x"), &pod.quota).unwrap();
    file.write_all(b"half of the new").unwrap();
    assert_eq!(file.len(), 15);
    assert_eq!(pod.read("output/x").unwrap(), "old");
    assert_eq!(fs::read_dir(pod.path("output")).unwrap().count(), 1);
    drop(file);
    assert_eq!(pod.read("output/x").unwrap(), "old");
    assert_eq!(fs::read_dir(pod.path(STAGING)).unwrap().count(), 0);
    pod.tree.account(&pod.quota).unwrap();
    assert_eq!(pod.quota.usage().files, 1);
}

#[test]
fn several_files_at_once_do_not_disturb_each_other() {
    let pod = Pod::new();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let pod = &pod;
            scope.spawn(move || {
                for n in 0..20 {
                    pod.write(&format!("output/{worker}-{n}"), &format!("{worker} {n}"))
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(
        pod.tree.files(&Area::Output.into(), 1000).unwrap().len(),
        160
    );
    assert_eq!(pod.read("output/7-19").unwrap(), "7 19");
}

#[test]
fn what_a_dead_run_left_is_removed_by_the_next() {
    let pod = Pod::new();
    fs::create_dir(pod.path(STAGING)).unwrap();
    fs::write(pod.path(STAGING).join("0123"), "half").unwrap();
    fs::create_dir_all(pod.path("tmp/a/b")).unwrap();
    pod.tree.prepare().unwrap();
    assert!(!pod.path(STAGING).exists());
    assert_eq!(fs::read_dir(pod.path("tmp")).unwrap().count(), 0);
    pod.tree.clean().unwrap();
    assert!(!pod.path("tmp").exists());
}

#[test]
fn an_endless_download_ends_at_the_quota() {
    let pod = Pod::with_quota(100_000, 10);
    let mut file = pod
        .tree
        .create(&path("output/endless"), &pod.quota)
        .unwrap();
    let error = std::io::copy(&mut std::io::repeat(b'x'), &mut file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert!(
        error.to_string().starts_with("`limits.output`: "),
        "{error}"
    );
    assert!(file.len() <= 100_000);
    drop(file);
    assert_eq!(pod.quota.left(), 100_000);
    assert!(!pod.path("output/endless").exists());
}

#[test]
fn what_the_guest_wrote_counts_against_what_the_host_may_write() {
    let pod = Pod::with_quota(1 << 20, 10);
    fs::write(pod.path("output/guest"), vec![1; 900 << 10]).unwrap();
    fs::write(pod.path("logs/guest"), vec![1; 100 << 10]).unwrap();
    pod.tree.account(&pod.quota).unwrap();
    let mut file = pod.tree.create(&path("output/host"), &pod.quota).unwrap();
    assert!(file.write_all(&[0; 100 << 10]).is_err());
}

#[test]
fn many_files_a_sparse_file_and_a_deep_chain_are_over_the_limit() {
    let exceeded = |make: &dyn Fn(&Path)| {
        let pod = Pod::with_quota(1 << 20, 100);
        make(&pod.path("output"));
        match pod.tree.account(&pod.quota) {
            Err(TreeError::Exceeded(exceeded)) => exceeded.limit,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        exceeded(
            &|output| (0..200).for_each(|n| fs::write(output.join(n.to_string()), "").unwrap())
        ),
        "limits.files"
    );
    assert_eq!(
        exceeded(&|output| fs::File::create(output.join("sparse"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap()),
        "limits.output"
    );
    assert_eq!(
        exceeded(&|output| fs::create_dir_all(output.join("d/".repeat(80))).unwrap()),
        "limits.files"
    );
}

#[test]
fn listed_are_regular_files_with_whatever_names_they_have() {
    let pod = Pod::new();
    fs::create_dir(pod.path("output/sub")).unwrap();
    for name in ["b", "a", "sub/c", "\u{1b}[2J"] {
        fs::write(pod.path("output").join(name), "1234").unwrap();
    }
    symlink("a", pod.path("output/link")).unwrap();
    let files = pod.tree.files(&Area::Output.into(), 100).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.path.raw()).collect();
    assert_eq!(
        names,
        ["output/\u{1b}[2J", "output/a", "output/b", "output/sub/c"]
    );
    assert!(
        files.iter().all(
            |file| file.size == 4 && file.modified.elapsed().unwrap() < Duration::from_secs(60)
        )
    );
    assert_eq!(pod.tree.files(&Area::Output.into(), 2).unwrap().len(), 2);
}

#[test]
fn outputs_are_ordinary_files_of_the_user() {
    let pod = Pod::new();
    pod.write("output/x", "x").unwrap();
    fs::write(pod.path("reference"), "x").unwrap();
    let mode = |name: &str| fs::metadata(pod.path(name)).unwrap().mode();
    assert_eq!(mode("output/x"), mode("reference"));
}

#[test]
fn messages_name_no_place_of_the_host() {
    let pod = Pod::new();
    let root = pod.dir.path().to_str().unwrap();
    symlink("x", pod.path("payload/link")).unwrap();
    for at in ["payload/absent", "payload/link", "payload"] {
        assert!(
            !pod.read(at).unwrap_err().to_string().contains(root),
            "{at}"
        );
    }
}
