//! What was persisted, shared and forked, and what happens when that is not what it should be.

use std::fs;

use serde_json::json;
use sovr_dfs::Dfs;
use sovr_protocol::{Contents, Kind};

use crate::hostile::{Reading, Writing};
use crate::world::{World, assert_says, pod_archive, recipe, write, zip};

crate::tests![
    without_books_there_is_nothing,
    s28_a_book_that_cannot_be_read_is_never_an_empty_one,
    s22_a_book_that_is_none_stops_everything_and_is_left_as_it_is,
    s22_wrong_entries_are_told_skipped_and_kept,
    s22_a_book_of_endless_length_is_not_read,
    books_of_the_original_are_listed,
    a_received_pod_that_cannot_be_read_does_not_hide_the_others,
    rebuilding_finds_recipes_in_the_root_markers_and_archives,
    rebuilding_keeps_the_registry_of_before_until_it_is_the_same,
    rebuilding_mends_a_registry_that_cannot_be_taken_apart,
    rebuilding_skips_bad_pods_with_the_reason,
    s28_rebuilding_stops_when_storage_fails,
    two_processes_at_once_lose_nothing,
    what_is_shared_no_more_leads_nowhere_and_is_out_of_the_book,
    a_share_that_ended_before_is_taken_out_of_the_book,
    a_deleted_pod_is_gone_with_its_output_and_its_entries,
    a_fork_is_forgotten_and_stays_its_owners,
    a_fork_outlives_an_own_pod_of_its_name,
    what_no_book_can_hold_is_not_stored,
    the_books_themselves_are_not_deleted,
];

const BOOKS: [(&str, &str); 3] = [
    ("ComputePodRegistry", "/Registry.json"),
    ("SharedPods", "/SharedPods.json"),
    ("ForkedPods", "/ForkedPods.json"),
];

async fn without_books_there_is_nothing() {
    let user = World::new().user("ann");
    let listing = user.protocol.list().await.unwrap();
    assert!(listing.own.is_empty() && listing.forked.is_empty() && listing.skipped.is_empty());
    assert!(user.storage().await.is_empty());
    let rebuilt = user.protocol.rebuild().await.unwrap();
    assert!(rebuilt.found.is_empty() && rebuilt.before.is_none());
}

async fn s28_a_book_that_cannot_be_read_is_never_an_empty_one() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let theirs = ben
        .publish("theirs", &pod_archive(&recipe("theirs")), &recipe("theirs"))
        .await;
    let public = ann.make_pod("public", |recipe| recipe["public"] = json!(true));
    ann.protocol
        .persist(&public, Contents::default())
        .await
        .unwrap();
    ann.protocol.fork(&theirs, &ann.desk, None).await.unwrap();
    let other = ann.make_pod("other", |recipe| recipe["public"] = json!(true));
    let (before, desk) = (ann.storage().await, ann.on_desk());
    for (pod, file) in BOOKS {
        for reading in [
            Reading::Fails,
            Reading::Breaks(0),
            Reading::Short(0),
            Reading::Short(9),
            Reading::Long(1),
        ] {
            ann.dfs.be_honest();
            ann.dfs.on_read(file, &[reading]);
            let listed = ann.protocol.list().await;
            assert_eq!(listed.unwrap_err().kind(), Kind::Unavailable);
            if pod == "ForkedPods" {
                let forked = ann.protocol.fork(&theirs, &ann.desk, Some("again")).await;
                assert_eq!(forked.unwrap_err().kind(), Kind::Unavailable);
                assert!(
                    ann.protocol
                        .import("theirs", &ann.desk, Some("again"), true)
                        .await
                        .is_err()
                );
            } else {
                let persisted = ann.protocol.persist(&other, Contents::default()).await;
                assert_eq!(persisted.unwrap_err().kind(), Kind::Unavailable);
            }
            if pod == "SharedPods" {
                assert!(ann.protocol.unshare("public").await.is_err());
            }
            if pod != "ForkedPods" {
                assert!(ann.protocol.rebuild().await.is_err());
            }
            assert!(ann.protocol.delete("public").await.is_err());
            ann.dfs.be_honest();
            assert_eq!(ann.storage().await, before, "{pod}");
            assert_eq!(ann.on_desk(), desk);
        }
    }
}

async fn s22_a_book_that_is_none_stops_everything_and_is_left_as_it_is() {
    let world = World::new();
    let user = world.user("ann");
    let pod = user.make_pod("render", |_| ());
    let deep = "[".repeat(1 << 20);
    for text in ["", "[]", "{", "{\"a\":{},\"a\":{}}", "\u{1b}[2J", &deep] {
        user.put("ComputePodRegistry", "/Registry.json", text.as_bytes())
            .await;
        let before = user.storage().await;
        let parts = [
            "/Registry.json",
            "`ComputePodRegistry`",
            "nothing was written",
            "registry rebuild",
        ];
        assert_says(user.protocol.list().await, &parts);
        assert_says(
            user.protocol.persist(&pod, Contents::default()).await,
            &parts,
        );
        assert_eq!(user.storage().await, before);
    }
}

async fn s22_wrong_entries_are_told_skipped_and_kept() {
    let world = World::new();
    let user = world.user("ann");
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    user.put(
        "ComputePodRegistry",
        "/Registry.json",
        json!({
            "good": recipe("good"),
            "../../x": recipe("x"),
            "number": 7,
            "deep": { "name": deep },
            "\u{1b}[2J": {}
        })
        .to_string()
        .as_bytes(),
    )
    .await;
    let reference = "AB".repeat(32);
    user.put(
        "SharedPods",
        "/SharedPods.json",
        json!({
            "good": [
                { "recipe": recipe("good"), "sharing_reference": reference },
                { "recipe": [], "sharing_reference": reference },
                { "recipe": {}, "sharing_reference": "../x" },
                "nothing"
            ],
            "list": {}
        })
        .to_string()
        .as_bytes(),
    )
    .await;
    let listing = user.protocol.list().await.unwrap();
    let names: Vec<&str> = listing.own.iter().map(|own| own.pod.as_str()).collect();
    assert_eq!(names, ["good"]);
    assert_eq!(listing.own[0].references, [reference.to_lowercase()]);
    assert_eq!(listing.skipped.len(), 8, "{:?}", listing.skipped);
    for skipped in &listing.skipped {
        assert!(!skipped.to_string().contains('\u{1b}'));
    }

    let before = user.json("ComputePodRegistry", "/Registry.json").await;
    let pod = user.make_pod("new", |recipe| recipe["public"] = json!(true));
    user.protocol
        .persist(&pod, Contents::default())
        .await
        .unwrap();
    let mut after = user.json("ComputePodRegistry", "/Registry.json").await;
    assert!(after.as_object_mut().unwrap().remove("new").is_some());
    assert_eq!(after, before);
    let shared = user.json("SharedPods", "/SharedPods.json").await;
    assert_eq!(shared["good"].as_array().unwrap().len(), 4);
    assert_eq!(shared["list"], json!({}));
}

async fn s22_a_book_of_endless_length_is_not_read() {
    let world = World::new();
    let user = world.user("ann");
    let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(17 << 20));
    user.put("ComputePodRegistry", "/Registry.json", huge.as_bytes())
        .await;
    let parts = ["/Registry.json", "bytes, and at most"];
    assert_says(user.protocol.list().await, &parts);
    user.dfs
        .on_read("/Registry.json", &[Reading::Claims(u64::MAX)]);
    assert_says(user.protocol.list().await, &parts);
    user.dfs.be_honest();
    // Made anew it is good again, and what it was is kept.
    let rebuilt = user.protocol.rebuild().await.unwrap();
    assert!(rebuilt.before.is_some());
    assert!(user.protocol.list().await.unwrap().own.is_empty());
    let kept = user
        .get("ComputePodRegistry", "/Registry-before-rebuild.json")
        .await;
    assert_eq!(kept.unwrap(), huge.as_bytes());
}

async fn books_of_the_original_are_listed() {
    let world = World::new();
    let user = world.user("ann");
    // Written by hand after what Python's json.dump gives.
    let registry = br#"{"HelloWorld": {"name": "HelloWorld", "description": "says \u00fc", "version": "1.0", "author": "reza", "public": true, "golem": {"exec": "python3 script/hello.py", "script": "script", "output": "output", "log": "logs"}}, "keras": {"name": "keras", "public": true, "pods": ["de54ac9d00000000000000000000000000000000000000000000000000a988b1"]}}"#;
    let shared = br#"{"HelloWorld": [{"recipe": {"name": "HelloWorld", "public": true}, "sharing_reference": "a61d11e7335ed41e56494ae4bee5446f7785737938a35454e3190c5ccae283ea"}, {"recipe": {"name": "HelloWorld", "public": true}, "sharing_reference": "b61d11e7335ed41e56494ae4bee5446f7785737938a35454e3190c5ccae283ea"}]}"#;
    user.put("ComputePodRegistry", "/Registry.json", registry)
        .await;
    user.put("SharedPods", "/SharedPods.json", shared).await;
    let listing = user.protocol.list().await.unwrap();
    assert!(listing.skipped.is_empty(), "{:?}", listing.skipped);
    let [hello, keras] = listing.own.as_slice() else {
        panic!("{:?}", listing.own);
    };
    assert_eq!(hello.card.description.raw(), "says ü");
    assert_eq!(hello.references.len(), 2);
    assert!(hello.references[0].starts_with("a61d11e7"));
    assert!(hello.card.obstacle.as_ref().unwrap().contains("python3"));
    assert_eq!((keras.pod.as_str(), keras.card.pods), ("keras", 1));
}

async fn a_received_pod_that_cannot_be_read_does_not_hide_the_others() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let mine = ann.make_pod("mine", |_| ());
    ann.protocol
        .persist(&mine, Contents::default())
        .await
        .unwrap();
    for (name, text) in [
        ("good", recipe("good").to_string()),
        ("none", "{".to_owned()),
    ] {
        eve.put(name, "/recipe.json", text.as_bytes()).await;
        let reference = eve.share(name).await;
        ann.dfs
            .receive(&reference, &name.parse().unwrap())
            .await
            .unwrap();
    }
    eve.put("bare", "/huge.zip", b"never read").await;
    let reference = eve.share("bare").await;
    ann.dfs
        .receive(&reference, &"bare".parse().unwrap())
        .await
        .unwrap();
    ann.dfs.on_read("/huge.zip", &[Reading::Fails]);
    let listing = ann.protocol.list().await.unwrap();
    let forked: Vec<(&str, bool)> = listing
        .forked
        .iter()
        .map(|forked| (forked.pod.as_str(), forked.card.is_some()))
        .collect();
    assert_eq!(forked, [("bare", false), ("good", true), ("none", false)]);
    assert_eq!(listing.skipped.len(), 1);
    assert!(listing.skipped[0].why.contains("not valid JSON"));
    ann.dfs.on_read("/recipe.json", &[Reading::Breaks(2)]);
    let listing = ann.protocol.list().await.unwrap();
    assert_eq!(
        (
            listing.own.len(),
            listing.forked.len(),
            listing.skipped.len()
        ),
        (1, 3, 2)
    );
}

async fn rebuilding_finds_recipes_in_the_root_markers_and_archives() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let text = |name: &str| recipe(name).to_string();
    ann.put("root", "/recipe.json", text("root").as_bytes())
        .await;
    ann.put("marker", "/marker.recipe", text("marker").as_bytes())
        .await;
    ann.put("other-marker", "/blender.recipe", text("other").as_bytes())
        .await;
    ann.put("archive", "/archive.zip", &pod_archive(&recipe("archive")))
        .await;
    ann.put("data", "/images.zip", &zip(&[("images/1.jpg", b"jpg")]))
        .await;
    ann.put("notes", "/notes.txt", b"notes").await;
    ann.put(
        "output-root",
        "/output-root.zip",
        &zip(&[("recipe.json", b"{}")]),
    )
    .await;
    ann.put("SharedPods", "/SharedPods.json", b"{}").await;
    ann.dfs.create_pod(&"empty".parse().unwrap()).await.unwrap();
    eve.put("hers", "/recipe.json", text("hers").as_bytes())
        .await;
    let reference = eve.share("hers").await;
    ann.dfs
        .receive(&reference, &"hers".parse().unwrap())
        .await
        .unwrap();

    let rebuilt = ann.protocol.rebuild().await.unwrap();
    let found: Vec<&str> = rebuilt.found.iter().map(|own| own.pod.as_str()).collect();
    assert_eq!(found, ["archive", "marker", "other-marker", "root"]);
    assert!(rebuilt.skipped.is_empty(), "{:?}", rebuilt.skipped);
    assert_eq!(rebuilt.before, None);
    assert_eq!(
        ann.json("ComputePodRegistry", "/Registry.json").await,
        json!({
            "archive": recipe("archive"),
            "marker": recipe("marker"),
            "other-marker": recipe("other"),
            "root": recipe("root")
        })
    );
}

async fn rebuilding_keeps_the_registry_of_before_until_it_is_the_same() {
    let world = World::new();
    let user = world.user("ann");
    let before = json!({ "gone": recipe("gone"), "wrong": 7 }).to_string();
    user.put("ComputePodRegistry", "/Registry.json", before.as_bytes())
        .await;
    user.put(
        "root",
        "/recipe.json",
        recipe("root").to_string().as_bytes(),
    )
    .await;
    for again in [false, true] {
        let rebuilt = user.protocol.rebuild().await.unwrap();
        assert_eq!(rebuilt.before.is_none(), again, "{:?}", rebuilt.before);
        let kept = user
            .get("ComputePodRegistry", "/Registry-before-rebuild.json")
            .await;
        assert_eq!(kept.unwrap(), before.as_bytes());
    }
}

async fn rebuilding_mends_a_registry_that_cannot_be_taken_apart() {
    let world = World::new();
    let user = world.user("ann");
    user.put(
        "root",
        "/recipe.json",
        recipe("root").to_string().as_bytes(),
    )
    .await;
    user.put("ComputePodRegistry", "/Registry.json", b"{ broken")
        .await;
    user.put("SharedPods", "/SharedPods.json", b"[]").await;
    let rebuilt = user.protocol.rebuild().await.unwrap();
    assert_eq!(rebuilt.found.len(), 1);
    assert!(
        rebuilt
            .before
            .unwrap()
            .contains("Registry-before-rebuild.json")
    );
    // A book that is not rebuilt is not touched.
    assert_eq!(
        user.get("SharedPods", "/SharedPods.json").await.unwrap(),
        b"[]"
    );
}

async fn rebuilding_skips_bad_pods_with_the_reason() {
    let world = World::new();
    let user = world.user("ann");
    let nested = format!("{{\"a\":{}1{}}}", "[".repeat(60), "]".repeat(60));
    let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
    for (pod, path, content, _) in BAD.iter().copied().chain([
        ("nested", "/recipe.json", nested.as_bytes(), "nested deeper"),
        ("huge", "/recipe.json", huge.as_bytes(), "at most"),
    ]) {
        user.put(pod, path, content).await;
    }
    user.put(
        "good",
        "/recipe.json",
        recipe("good").to_string().as_bytes(),
    )
    .await;
    let rebuilt = user.protocol.rebuild().await.unwrap();
    assert_eq!(rebuilt.found.len(), 1);
    let why = |pod: &str| {
        let skipped = rebuilt
            .skipped
            .iter()
            .find(|skipped| skipped.entry.raw() == pod);
        skipped
            .unwrap_or_else(|| panic!("{pod} was not told"))
            .why
            .clone()
    };
    for (pod, _, _, expected) in BAD {
        assert!(why(pod).contains(expected), "{pod}: {}", why(pod));
    }
    assert!(why("nested").contains("nested deeper"));
    assert!(why("huge").contains("at most"));
}

/// Pod, file, content, and why it is skipped.
const BAD: [(&str, &str, &[u8], &str); 4] = [
    ("text", "/recipe.json", b"not json", "not valid JSON"),
    ("list", "/recipe.json", b"[]", "expected an object"),
    (
        "twice",
        "/twice.recipe",
        b"{\"a\":1,\"a\":1}",
        "not valid JSON",
    ),
    ("archive", "/archive.zip", b"no zip", "zip"),
];

async fn s28_rebuilding_stops_when_storage_fails() {
    let world = World::new();
    let user = world.user("ann");
    user.put(
        "root",
        "/recipe.json",
        recipe("root").to_string().as_bytes(),
    )
    .await;
    user.put("archive", "/archive.zip", &pod_archive(&recipe("archive")))
        .await;
    let old = json!({ "old": recipe("old") }).to_string();
    user.put("ComputePodRegistry", "/Registry.json", old.as_bytes())
        .await;
    let before = user.storage().await;
    for reading in [
        Reading::Fails,
        Reading::Breaks(3),
        Reading::Short(3),
        Reading::Long(1),
    ] {
        for path in ["/recipe.json", "/archive.zip", "/Registry.json"] {
            user.dfs.be_honest();
            user.dfs.on_read(path, std::slice::from_ref(&reading));
            let error = user.protocol.rebuild().await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{path} {reading:?}");
            assert_eq!(user.storage().await, before);
        }
    }
    user.dfs.be_honest();
    user.dfs.pods_fail();
    assert_says(user.protocol.rebuild().await, &["list the pods"]);
    user.dfs.be_honest();
    user.dfs.on_write("/Registry.json", &[Writing::Fails(0)]);
    assert_says(user.protocol.rebuild().await, &["write a file"]);
    assert_eq!(
        user.get("ComputePodRegistry", "/Registry.json")
            .await
            .unwrap(),
        old.as_bytes()
    );
}

async fn two_processes_at_once_lose_nothing() {
    let world = World::new();
    let names: Vec<String> = (0..8).map(|number| format!("pod{number}")).collect();
    let mut running = tokio::task::JoinSet::new();
    for name in &names {
        // Each with a store and a lock of its own, as another process has.
        let user = world.user("ann");
        let pod = user.make_pod(name, |recipe| recipe["public"] = json!(true));
        running.spawn(async move {
            let persisted = user.protocol.persist(&pod, Contents::default()).await;
            persisted.unwrap();
        });
    }
    running.join_all().await;
    let listing = world.user("ann").protocol.list().await.unwrap();
    let listed: Vec<&str> = listing.own.iter().map(|own| own.pod.as_str()).collect();
    assert_eq!(listed, names);
    assert!(listing.own.iter().all(|own| own.references.len() == 1));
}

async fn what_is_shared_no_more_leads_nowhere_and_is_out_of_the_book() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let pod = ann.make_pod("render", |recipe| recipe["public"] = json!(true));
    let persisted = ann
        .protocol
        .persist(&pod, Contents::default())
        .await
        .unwrap();
    let reference = persisted.reference.unwrap();
    let unshared = ann.protocol.unshare("render").await.unwrap();
    assert_eq!(unshared.references, [reference.as_str()]);
    let forked = ben
        .protocol
        .fork(&reference.parse().unwrap(), &ben.desk, None)
        .await;
    assert_says(forked, &["no pod is shared as"]);
    assert_eq!(ann.json("SharedPods", "/SharedPods.json").await, json!({}));
    assert_eq!(ann.protocol.list().await.unwrap().own.len(), 1);
    assert_says(ann.protocol.unshare("render").await, &["not shared"]);
    assert_says(ann.protocol.unshare("nobody").await, &["no pod `nobody`"]);
    assert_says(ann.protocol.unshare("../x").await, &["pod name"]);
}

async fn a_share_that_ended_before_is_taken_out_of_the_book() {
    let world = World::new();
    let user = world.user("ann");
    let pod = user.make_pod("render", |recipe| recipe["public"] = json!(true));
    user.protocol
        .persist(&pod, Contents::default())
        .await
        .unwrap();
    user.dfs.on_write("/SharedPods.json", &[Writing::Fails(0)]);
    assert_says(user.protocol.unshare("render").await, &["write a file"]);
    user.dfs.be_honest();
    assert_eq!(
        user.protocol
            .unshare("render")
            .await
            .unwrap()
            .references
            .len(),
        1
    );
    assert_eq!(user.json("SharedPods", "/SharedPods.json").await, json!({}));
}

async fn a_deleted_pod_is_gone_with_its_output_and_its_entries() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let pod = ann.make_pod("render", |recipe| {
        recipe["public"] = json!(true);
        recipe["golem"]["output"] = json!({ "share": "output" });
    });
    write(&pod, "output/x", b"x");
    ann.protocol
        .persist(&pod, Contents::default())
        .await
        .unwrap();
    let other = ann.make_pod("other", |_| ());
    ann.protocol
        .persist(&other, Contents::default())
        .await
        .unwrap();
    let deleted = ann.protocol.delete("render").await.unwrap();
    assert_eq!(deleted.pods, ["render", "output-render"]);
    assert_eq!(
        ann.json("ComputePodRegistry", "/Registry.json").await,
        json!({ "other": recipe("other") })
    );
    assert_eq!(ann.json("SharedPods", "/SharedPods.json").await, json!({}));
    assert!(fs::exists(pod.join("recipe.json")).unwrap());
    let again = ann.protocol.delete("render").await;
    assert_eq!(assert_says(again, &["no pod `render`"]).kind(), Kind::Usage);

    // Somebody else's pod that is called like its output is not the pod's output.
    eve.put("output-other", "/x", b"hers").await;
    let reference = eve.share("output-other").await;
    ann.dfs
        .receive(&reference, &"output-other".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(ann.protocol.delete("other").await.unwrap().pods, ["other"]);
    assert!(ann.get("output-other", "/x").await.is_some());
}

async fn a_fork_is_forgotten_and_stays_its_owners() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let reference = ben
        .publish("x", &pod_archive(&recipe("x")), &recipe("x"))
        .await;
    ann.protocol
        .fork(&reference, &ann.desk, None)
        .await
        .unwrap();
    let deleted = ann.protocol.delete("x").await.unwrap();
    assert!(deleted.forgotten && deleted.pods.is_empty());
    assert!(ann.protocol.list().await.unwrap().forked.is_empty());
    assert_eq!(ann.on_desk(), ["x"]);
    ann.protocol
        .fork(&reference, &ann.desk, Some("again"))
        .await
        .unwrap();
}

async fn a_fork_outlives_an_own_pod_of_its_name() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let reference = ben
        .publish("x", &pod_archive(&recipe("x")), &recipe("x"))
        .await;
    ann.protocol
        .fork(&reference, &ann.desk, Some("theirs"))
        .await
        .unwrap();
    let own = ann.make_pod("x", |_| ());
    ann.protocol
        .persist(&own, Contents::default())
        .await
        .unwrap();
    let deleted = ann.protocol.delete("x").await.unwrap();
    assert_eq!(
        (deleted.pods, deleted.forgotten),
        (vec!["x".to_owned()], false)
    );
    assert_eq!(ann.protocol.list().await.unwrap().forked.len(), 1);
    assert!(ann.protocol.delete("x").await.unwrap().forgotten);
}

async fn what_no_book_can_hold_is_not_stored() {
    let world = World::new();
    let user = world.user("ann");
    let deep = (0..40).fold(json!("bottom"), |inner, _| json!([inner]));
    let pod = user.make_pod("deep", |recipe| recipe["x"] = deep);
    let persisted = user.protocol.persist(&pod, Contents::default()).await;
    assert_says(persisted, &["deep"]);
    assert!(user.storage().await.is_empty());
}

async fn the_books_themselves_are_not_deleted() {
    let world = World::new();
    let user = world.user("ann");
    let pod = user.make_pod("render", |recipe| recipe["public"] = json!(true));
    user.protocol
        .persist(&pod, Contents::default())
        .await
        .unwrap();
    let before = user.storage().await;
    for name in [
        "ComputePodRegistry",
        "SharedPods",
        "ForkedPods",
        "sharedpods",
    ] {
        let error = assert_says(
            user.protocol.delete(name).await,
            &[name, "holds your books", "not deleted"],
        );
        assert_eq!(error.kind(), Kind::Usage);
    }
    assert_eq!(user.storage().await, before);
}
