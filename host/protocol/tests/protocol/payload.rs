//! `payload/external`: gathered, pinned, and never half of it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use sovr_capability::Digest;
use sovr_dfs::{Dfs, DfsPath, Reference};
use sovr_pod::lock::{Checked, Lock, Pin};
use sovr_pod::recipe::ExternalPayload;
use sovr_pod::{Area, GuestPath, Tree};
use sovr_protocol::{Error, Gathered, Kind, SourceDirectory, Sources};

use crate::hostile::Reading;
use crate::world::{User, World, assert_says, names_in, pod_archive, recipe, tree, write, zip};

crate::tests![
    archives_are_laid_over_each_other_in_their_order_and_told,
    own_archives_the_tasks_payload_and_the_previous_output_are_all_there_in_this_order,
    a_missing_payload_directory_is_made,
    without_sources_nothing_is_touched,
    s20_no_output_of_another_pod_replaces_or_becomes_a_package,
    s20_no_second_archive_replaces_a_package,
    content_is_pinned_on_first_use,
    s19_a_changed_payload_is_refused_with_both_digests_and_nothing_is_touched,
    a_missing_payload_stops_with_an_error,
    s26_a_payload_that_is_cut_or_lengthened_is_refused,
    s9_a_bomb_in_a_payload_is_refused,
    s17_a_link_in_an_earlier_output_is_refused,
    a_link_in_the_place_of_the_directory_is_replaced_and_not_followed,
    s19_a_pod_whose_archive_got_another_name_is_still_held_against_its_pin,
    locking_pins_payloads_and_pods_and_updates_only_when_it_is_meant,
];

struct Pod {
    tree: Arc<Tree>,
    directory: std::path::PathBuf,
}

impl Pod {
    fn new(user: &User) -> Self {
        Self::at(user.make_pod("render", |_| ()))
    }

    fn at(directory: std::path::PathBuf) -> Self {
        let tree = Arc::new(Tree::open(&directory).unwrap());
        Self { tree, directory }
    }

    async fn gather(&self, user: &User, sources: Sources<'_>) -> Result<Gathered, Error> {
        let gathered = user.protocol.gather(&self.tree, sources).await;
        let staging = self.directory.join(".sovr-partial");
        if staging.exists() {
            assert_eq!(
                names_in(&staging),
                [""; 0],
                "something was left in the staging place"
            );
        }
        gathered
    }

    fn external(&self) -> std::path::PathBuf {
        self.directory.join("payload/external")
    }
}

fn entry(reference: &Reference, data: &str) -> ExternalPayload {
    ExternalPayload {
        reference: reference.to_string(),
        data: data.into(),
    }
}

fn directory(at: &Path, words: &str) -> SourceDirectory {
    SourceDirectory {
        tree: Arc::new(Tree::open(at).unwrap()),
        directory: Area::Output.into(),
        words: words.to_owned(),
    }
}

fn collisions(gathered: &Gathered) -> Vec<String> {
    let collisions = gathered.collisions.iter();
    collisions
        .map(|one| format!("{}: {} -> {}", one.path.escaped(), one.replaced, one.by))
        .collect()
}

async fn archives_are_laid_over_each_other_in_their_order_and_told() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let first = zip(&[
        ("images/", b""),
        ("images/1.jpg", b"one"),
        ("same", b"same"),
        ("Case", b"1"),
    ]);
    let second = zip(&[
        ("images/1.jpg", b"ONE"),
        ("images/2.jpg", b"two"),
        ("same", b"same"),
        ("case", b"2"),
    ]);
    ann.put("data", "/first.zip", &first).await;
    ann.put("data", "/sub.zip", &second).await;
    let by = ann.share("data").await;
    let pod = Pod::new(&ben);
    let archives = [entry(&by, "/first.zip"), entry(&by, "/sub.zip")];
    let gathered = pod
        .gather(
            &ben,
            Sources {
                archives: &archives,
                ..Sources::default()
            },
        )
        .await
        .unwrap();
    let found = tree(&pod.external());
    assert_eq!(
        found
            .iter()
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect::<Vec<_>>(),
        [
            ("case", &b"2"[..]),
            ("images/", b""),
            ("images/1.jpg", b"ONE"),
            ("images/2.jpg", b"two"),
            ("same", b"same"),
        ]
    );
    let words = |path: &str| format!("the archive {path} of the pod shared as {by}");
    assert_eq!(
        collisions(&gathered),
        ["case", "images/1.jpg"].map(|name| format!(
            "{name}: {} -> {}",
            words("/first.zip"),
            words("/sub.zip")
        ))
    );

    // And the other way round; nothing of before stays.
    write(&pod.external(), "stale", b"stale");
    let archives = [entry(&by, "/sub.zip"), entry(&by, "/first.zip")];
    pod.gather(
        &ben,
        Sources {
            archives: &archives,
            ..Sources::default()
        },
    )
    .await
    .unwrap();
    let found = tree(&pod.external());
    assert_eq!(found["images/1.jpg"], b"one");
    assert!(!found.contains_key("stale"));
}

async fn own_archives_the_tasks_payload_and_the_previous_output_are_all_there_in_this_order() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let own = zip(&[
        ("own", b"own"),
        ("all", b"own"),
        ("own-task", b"own"),
        ("own-previous", b"own"),
    ]);
    ann.put("data", "/own.zip", &own).await;
    let by = ann.share("data").await;
    let pod = Pod::new(&ben);
    for (at, name, both) in [
        ("task", "task", "own-task"),
        ("previous", "previous", "own-previous"),
    ] {
        for file in [name, both, "all", "task-previous", "deep/file"] {
            write(
                &ben.desk.join(at),
                &format!("output/{file}"),
                name.as_bytes(),
            );
        }
    }
    let handed = vec![
        directory(&ben.desk.join("task"), "the task's payload"),
        directory(&ben.desk.join("previous"), "the output of first"),
    ];
    let archives = [entry(&by, "/own.zip")];
    let gathered = pod
        .gather(
            &ben,
            Sources {
                archives: &archives,
                directories: handed,
                ..Sources::default()
            },
        )
        .await
        .unwrap();
    let found = tree(&pod.external());
    let found: Vec<String> = found
        .iter()
        .map(|(name, content)| format!("{name}={}", String::from_utf8_lossy(content)))
        .collect();
    assert_eq!(
        found,
        [
            "all=previous",
            "deep/=",
            "deep/file=previous",
            "own=own",
            "own-previous=previous",
            "own-task=task",
            "previous=previous",
            "task=task",
            "task-previous=previous",
        ]
    );
    assert_eq!(gathered.collisions.len(), 6);
    assert!(
        collisions(&gathered)
            .contains(&"all: the task's payload -> the output of first".to_owned())
    );
}

async fn a_missing_payload_directory_is_made() {
    let world = World::new();
    let user = world.user("ann");
    user.put("data", "/a.zip", &zip(&[("a", b"a")])).await;
    let by = user.share("data").await;
    let pod = Pod::new(&user);
    fs::remove_dir_all(pod.directory.join("payload")).unwrap();
    let archives = [entry(&by, "/a.zip")];
    pod.gather(
        &user,
        Sources {
            archives: &archives,
            ..Sources::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(names_in(&pod.external()), ["a"]);
}

async fn without_sources_nothing_is_touched() {
    let user = World::new().user("ann");
    let pod = Pod::new(&user);
    write(&pod.external(), "by-hand", b"x");
    let before = tree(&pod.directory);
    pod.gather(&user, Sources::default()).await.unwrap();
    assert_eq!(tree(&pod.directory), before);
}

async fn s20_no_output_of_another_pod_replaces_or_becomes_a_package() {
    let world = World::new();
    let user = world.user("ann");
    user.put(
        "data",
        "/with.zip",
        &zip(&[("r.zip", b"code"), ("lib/", b"")]),
    )
    .await;
    user.put("data", "/without.zip", &zip(&[("data", b"x")]))
        .await;
    let by = user.share("data").await;
    let pod = Pod::new(&user);
    let package: GuestPath = "payload/external/r.zip".parse().unwrap();
    for (archive, left, says) in [
        ("/with.zip", "r.zip", "is not replaced"),
        ("/with.zip", "R.ZIP", "is not replaced"),
        ("/without.zip", "r.zip", "from nobody else"),
        ("/without.zip", "R.zip", "from nobody else"),
        ("/with.zip", "r.zip/x", "has a file of that name"),
        ("/without.zip", "r.zip/x", "from nobody else"),
    ] {
        let previous = user
            .desk
            .join(format!("previous-{}", names_in(&user.desk).len()));
        write(&previous, &format!("output/{left}"), b"evil");
        let archives = [entry(&by, archive)];
        let sources = Sources {
            archives: &archives,
            packages: vec![package.clone()],
            directories: vec![directory(&previous, "the output of evil")],
        };
        let before = tree(&pod.directory);
        let error = assert_says(
            pod.gather(&user, sources).await,
            &["payload/external/", "the output of evil", says],
        );
        assert_eq!(error.kind(), Kind::InvalidPod);
        let mut after = tree(&pod.directory);
        after.remove(".sovr-partial/");
        assert_eq!(
            after,
            before
                .into_iter()
                .filter(|(name, _)| name != ".sovr-partial/")
                .collect()
        );
    }
    // What it handed on unchanged is no harm.
    let previous = user.desk.join("harmless");
    write(&previous, "output/r.zip", b"code");
    let archives = [entry(&by, "/with.zip")];
    let sources = Sources {
        archives: &archives,
        packages: vec![package],
        directories: vec![directory(&previous, "the output of good")],
    };
    assert_eq!(pod.gather(&user, sources).await.unwrap().collisions, []);
}

async fn s20_no_second_archive_replaces_a_package() {
    let world = World::new();
    let user = world.user("ann");
    user.put("data", "/a.zip", &zip(&[("r.zip", b"code")]))
        .await;
    user.put("data", "/b.zip", &zip(&[("r.zip", b"evil")]))
        .await;
    let by = user.share("data").await;
    let pod = Pod::new(&user);
    let archives = [entry(&by, "/a.zip"), entry(&by, "/b.zip")];
    let sources = Sources {
        archives: &archives,
        packages: vec!["payload/external/r.zip".parse().unwrap()],
        ..Sources::default()
    };
    assert_says(
        pod.gather(&user, sources).await,
        &["r.zip", "/a.zip", "not replaced"],
    );
    assert!(!pod.external().exists());
    assert!(!pod.directory.join("sovr.lock").exists());
}

async fn content_is_pinned_on_first_use() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let archive = zip(&[("a", b"a")]);
    ann.put("data", "/a.zip", &archive).await;
    let by = ann.share("data").await;
    let pod = Pod::new(&ben);
    let archives = [entry(&by, "/a.zip")];
    let sources = || Sources {
        archives: &archives,
        ..Sources::default()
    };
    let gathered = pod.gather(&ben, sources()).await.unwrap();
    assert_eq!(gathered.archives[0].state, Checked::New);
    let lock = fs::read(pod.directory.join("sovr.lock")).unwrap();
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&lock).unwrap(),
        json!({
            "version": 1,
            "references": {
                by.to_string(): { "/a.zip": { "sha256": Digest::of(&archive), "size": archive.len() } }
            }
        })
    );
    let again = pod.gather(&ben, sources()).await.unwrap();
    assert_eq!(again.archives[0].state, Checked::Same);
    assert_eq!(fs::read(pod.directory.join("sovr.lock")).unwrap(), lock);
}

async fn s19_a_changed_payload_is_refused_with_both_digests_and_nothing_is_touched() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let (good, bad) = (zip(&[("a", b"good")]), zip(&[("a", b"evil")]));
    eve.put("data", "/a.zip", &good).await;
    eve.put("data", "/new.zip", &good).await;
    let by = eve.share("data").await;
    let pod = Pod::new(&ann);
    let archives = [entry(&by, "/a.zip")];
    pod.gather(
        &ann,
        Sources {
            archives: &archives,
            ..Sources::default()
        },
    )
    .await
    .unwrap();
    let before = tree(&pod.directory);
    eve.put("data", "/a.zip", &bad).await;
    // One that was not pinned yet comes first: its pin is not kept either.
    let archives = [entry(&by, "/new.zip"), entry(&by, "/a.zip")];
    let (old, new) = (Digest::of(&good).to_string(), Digest::of(&bad).to_string());
    let refused = pod
        .gather(
            &ann,
            Sources {
                archives: &archives,
                ..Sources::default()
            },
        )
        .await;
    let error = assert_says(
        refused,
        &["/a.zip", &by.to_string(), &old, &new, "lock --update"],
    );
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(tree(&pod.directory), before);
}

async fn a_missing_payload_stops_with_an_error() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    ann.put("data", "/a.zip", &zip(&[("a", b"a")])).await;
    let by = ann.share("data").await;
    let pod = Pod::new(&ben);
    write(&pod.external(), "earlier", b"x");
    let before = tree(&pod.external());
    let nowhere: Reference = "ab".repeat(32).parse().unwrap();
    for (missing, says) in [
        (entry(&by, "/b.zip"), "nothing at `/b.zip`"),
        (entry(&nowhere, "/a.zip"), "no pod is shared as"),
        (entry(&by, "/../x.zip"), "path in a pod"),
        (
            ExternalPayload {
                reference: "xyz".into(),
                data: "/a.zip".into(),
            },
            "a reference in the recipe is \"xyz\"",
        ),
    ] {
        let archives = [entry(&by, "/a.zip"), missing];
        let refused = pod
            .gather(
                &ben,
                Sources {
                    archives: &archives,
                    ..Sources::default()
                },
            )
            .await;
        assert_says(refused, &[says]);
        assert_eq!(tree(&pod.external()), before);
        assert!(!pod.directory.join("sovr.lock").exists());
    }
}

async fn s26_a_payload_that_is_cut_or_lengthened_is_refused() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let noise: Vec<u8> = (0..3_u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let archive = zip(&[("a", &noise)]);
    ann.put("data", "/a.zip", &archive).await;
    let by = ann.share("data").await;
    let pod = Pod::new(&ben);
    write(&pod.external(), "earlier", b"x");
    let archives = [entry(&by, "/a.zip")];
    let length = archive.len();
    for (reading, says) in [
        (Reading::Short(0), "was to give"),
        (Reading::Short(length - 1), "was to give"),
        (Reading::Long(1), "was to give"),
        (Reading::Long(4 << 20), "was to give"),
        (Reading::Claims(u64::MAX), "at most"),
        (Reading::Breaks(1000), "the line is dead"),
        (Reading::Fails, "the line is dead"),
    ] {
        ben.dfs.on_read("/a.zip", &[reading]);
        let refused = pod
            .gather(
                &ben,
                Sources {
                    archives: &archives,
                    ..Sources::default()
                },
            )
            .await;
        let _ = assert_says(refused, &[says]);
        assert_eq!(names_in(&pod.external()), ["earlier"]);
        assert!(!pod.directory.join("sovr.lock").exists());
    }
    ben.dfs.be_honest();
    pod.gather(
        &ben,
        Sources {
            archives: &archives,
            ..Sources::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(fs::read(pod.external().join("a")).unwrap(), noise);
    // Honest the first time, and other bytes for the same reference the second.
    ben.dfs
        .on_read("/a.zip", &[Reading::Other(zip(&[("a", b"evil")]))]);
    let refused = pod
        .gather(
            &ben,
            Sources {
                archives: &archives,
                ..Sources::default()
            },
        )
        .await;
    assert_eq!(
        assert_says(refused, &["is not what it was"]).kind(),
        Kind::Denied
    );
}

async fn s9_a_bomb_in_a_payload_is_refused() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let zeros = vec![0; 80 << 20];
    eve.put("data", "/bomb.zip", &zip(&[("zeros", &zeros)]))
        .await;
    eve.put(
        "data",
        "/slip.zip",
        &zip(&[("../../script/main.wasm", b"evil")]),
    )
    .await;
    let by = eve.share("data").await;
    let pod = Pod::new(&ann);
    let before = tree(&pod.directory);
    for (path, says) in [
        ("/bomb.zip", "bombs"),
        ("/slip.zip", "../../script/main.wasm"),
    ] {
        let archives = [entry(&by, path)];
        let refused = pod
            .gather(
                &ann,
                Sources {
                    archives: &archives,
                    ..Sources::default()
                },
            )
            .await;
        let error = assert_says(refused, &["the archive", path, "was not unpacked", says]);
        assert_eq!(error.kind(), Kind::InvalidPod);
        let mut after = tree(&pod.directory);
        after.remove(".sovr-partial/");
        assert_eq!(after, before);
    }
}

async fn s17_a_link_in_an_earlier_output_is_refused() {
    let user = World::new().user("ann");
    let pod = Pod::new(&user);
    let previous = user.desk.join("previous");
    write(&user.desk, "secret", b"secret");
    write(&previous, "output/a", b"a");
    std::os::unix::fs::symlink(user.desk.join("secret"), previous.join("output/link")).unwrap();
    let sources = Sources {
        directories: vec![directory(&previous, "the output of previous")],
        ..Sources::default()
    };
    let parts = [
        "payload/external/link of the output of previous",
        "neither a file nor a directory",
    ];
    assert_says(pod.gather(&user, sources).await, &parts);
    assert!(!pod.external().exists());
}

async fn a_link_in_the_place_of_the_directory_is_replaced_and_not_followed() {
    let world = World::new();
    let user = world.user("ann");
    user.put("data", "/a.zip", &zip(&[("a", b"a")])).await;
    let by = user.share("data").await;
    let pod = Pod::new(&user);
    write(&user.desk, "elsewhere/mine", b"mine");
    std::os::unix::fs::symlink(user.desk.join("elsewhere"), pod.external()).unwrap();
    let archives = [entry(&by, "/a.zip")];
    pod.gather(
        &user,
        Sources {
            archives: &archives,
            ..Sources::default()
        },
    )
    .await
    .unwrap();
    assert!(!pod.external().is_symlink());
    assert_eq!(names_in(&pod.external()), ["a"]);
    assert_eq!(names_in(&user.desk.join("elsewhere")), ["mine"]);
    // A link above it is not gone through.
    fs::rename(pod.directory.join("payload"), user.desk.join("moved")).unwrap();
    std::os::unix::fs::symlink(user.desk.join("moved"), pod.directory.join("payload")).unwrap();
    let before = tree(&user.desk.join("moved"));
    let refused = pod
        .gather(
            &user,
            Sources {
                archives: &archives,
                ..Sources::default()
            },
        )
        .await;
    assert_says(refused, &["payload/external"]);
    assert_eq!(tree(&user.desk.join("moved")), before);
}

async fn s19_a_pod_whose_archive_got_another_name_is_still_held_against_its_pin() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let good = pod_archive(&recipe("x"));
    let pod = eve.publish("x", &good, &recipe("x")).await;
    let task = ann.desk.join("task");
    let text = json!({ "name": "t", "pods": [pod.to_string()] }).to_string();
    write(&task, "recipe.json", text.as_bytes());
    ann.protocol.lock(&task, false).await.unwrap();

    let path = "/x.zip".parse().unwrap();
    eve.dfs.remove(&"x".parse().unwrap(), &path).await.unwrap();
    let bad = pod_archive(&recipe("evil"));
    eve.put("x", "/other.zip", &bad).await;
    let (old, new) = (Digest::of(&good).to_string(), Digest::of(&bad).to_string());
    let refused = ann.protocol.lock(&task, false).await;
    let error = assert_says(refused, &["/x.zip", &old, &new]);
    assert_eq!(error.kind(), Kind::Denied);
    // As the run of a task looks at it.
    let mut lock = Lock::read(&Tree::open(&task).unwrap()).unwrap().unwrap();
    let check = |path: &DfsPath, found: &Pin| {
        lock.check(&pod.to_string(), path.as_str(), found, false)?;
        Ok(())
    };
    let forked = ann.protocol.fork_checked(&pod, &task, None, check).await;
    assert_says(forked, &["/x.zip", &old, &new]);
    assert_eq!(names_in(&task), ["recipe.json", "sovr.lock"]);
}

async fn locking_pins_payloads_and_pods_and_updates_only_when_it_is_meant() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let first = pod_archive(&recipe("x"));
    let pod = eve.publish("x", &first, &recipe("x")).await;
    eve.put("data", "/a.zip", &zip(&[("a", b"a")])).await;
    let data = eve.share("data").await;
    let task = ann.desk.join("task");
    let recipe_of_task = json!({
        "name": "t",
        "pods": [pod.to_string()],
        "payload": [{ "ref": data.to_string(), "data": "/a.zip" }]
    });
    write(&task, "recipe.json", recipe_of_task.to_string().as_bytes());
    let pinned = ann.protocol.lock(&task, false).await.unwrap();
    let states: Vec<_> = pinned
        .iter()
        .map(|one| (one.path.escaped(), one.state))
        .collect();
    assert_eq!(
        states,
        [
            ("/x.zip".to_owned(), Checked::New),
            ("/a.zip".to_owned(), Checked::New)
        ]
    );
    assert_eq!(names_in(&task), ["recipe.json", "sovr.lock"]);
    let before = tree(&task);

    let mut changed = recipe("x");
    changed["version"] = json!("2");
    let second = pod_archive(&changed);
    eve.publish("x", &second, &changed).await;
    let (old, new) = (
        Digest::of(&first).to_string(),
        Digest::of(&second).to_string(),
    );
    let refused = ann.protocol.lock(&task, false).await;
    assert_eq!(
        assert_says(refused, &["/x.zip", &old, &new, "--update"]).kind(),
        Kind::Denied
    );
    assert_eq!(tree(&task), before);
    let pinned = ann.protocol.lock(&task, true).await.unwrap();
    let states: Vec<_> = pinned.iter().map(|one| one.state).collect();
    assert_eq!(states, [Checked::Updated, Checked::Same]);
    assert!(
        ann.protocol
            .lock(&task, false)
            .await
            .unwrap()
            .iter()
            .all(|one| one.state == Checked::Same)
    );
    // A store that cannot be read pins nothing.
    let before = tree(&task);
    ann.dfs.on_read("/a.zip", &[Reading::Fails]);
    assert_says(ann.protocol.lock(&task, true).await, &["the line is dead"]);
    assert_eq!(tree(&task), before);
}
