//! From storage into a directory.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use sovr_capability::Digest;
use sovr_capability::difference::ChangeKind;
use sovr_dfs::Dfs;
use sovr_pod::card::Card;
use sovr_protocol::{Contents, Kind};

use crate::hostile::Reading;
use crate::world::{World, assert_says, native_recipe, pod_archive, recipe, tree, write, zip};

crate::tests![
    a_pod_is_forked_by_its_reference_and_entered_into_the_book,
    s12_what_has_the_name_already_is_left_as_it_is,
    s13_an_own_pod_of_the_same_name_is_not_brought_instead,
    a_reference_that_leads_nowhere_makes_nothing,
    s9_s10_an_archive_that_is_refused_leaves_nothing,
    s26_a_stream_that_is_not_as_long_as_the_file_leaves_nothing,
    s26_an_archive_of_absurd_length_is_not_begun,
    a_store_that_invents_files_brings_nothing,
    the_recipe_in_the_archive_counts_and_a_different_one_is_told,
    a_documented_marker_is_as_good_as_a_recipe,
    an_archive_without_a_recipe_takes_the_one_beside_it,
    s19_a_recipe_beside_the_archive_is_not_taken_where_the_archive_is_pinned,
    what_has_no_recipe_or_no_archive_is_not_forked,
    s22_a_recipe_that_is_none_is_refused,
    a_pod_of_the_original_is_forked_and_told_to_be_native,
    directories_that_the_archive_does_not_hold_are_made,
    an_origin_in_the_archive_is_replaced_and_pins_are_kept,
    a_book_of_forks_that_cannot_be_written_leaves_no_directory,
    own_received_and_forked_pods_are_imported_by_name,
    s19_a_fork_that_has_changed_is_refused_until_it_is_updated,
    a_name_that_several_owners_use_is_not_decided_for_the_user,
    a_comparison_says_what_is_asked_for_now_and_keeps_nothing,
];

async fn a_pod_is_forked_by_its_reference_and_entered_into_the_book() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let pod = ann.make_pod("render", |recipe| recipe["public"] = json!(true));
    write(&pod, "payload/deep/er/file", b"deep");
    let persisted = ann
        .protocol
        .persist(&pod, Contents::default())
        .await
        .unwrap();
    let reference = persisted.reference.unwrap();
    let by = reference.parse().unwrap();
    let forked = ben.protocol.fork(&by, &ben.desk, None).await.unwrap();

    assert_eq!(forked.directory, ben.desk.join("render"));
    assert_eq!(forked.archive.sha256, persisted.sha256);
    assert_eq!(forked.archive.size, persisted.size);
    assert_eq!(forked.remarks, [""; 0]);
    assert_eq!(ben.on_desk(), ["render"]);
    let mut expected = tree(&pod);
    let lock = json!({
        "version": 1,
        "origin": {
            "reference": reference,
            "pod": "render",
            "sha256": persisted.sha256,
            "size": persisted.size
        },
        "references": {}
    });
    let mut lock = serde_json::to_vec_pretty(&lock).unwrap();
    lock.push(b'\n');
    expected.insert("sovr.lock".to_owned(), lock);
    assert_eq!(tree(&forked.directory), expected);

    assert_eq!(
        ben.json("ForkedPods", "/ForkedPods.json").await,
        json!({ "render": [{
            "recipe": forked.recipe,
            "sharing_reference": reference,
            "archive": persisted.sha256
        }] })
    );
    // Nothing was received, so nobody's name lies among the user's pods.
    assert_eq!(
        ben.storage().await.keys().collect::<Vec<_>>(),
        ["ForkedPods", "ForkedPods/ForkedPods.json"]
    );

    let elsewhere = ben
        .protocol
        .fork(&by, &ben.desk, Some("copy"))
        .await
        .unwrap();
    assert_eq!(tree(&elsewhere.directory), expected);
    let book = ben.json("ForkedPods", "/ForkedPods.json").await;
    assert_eq!(book["render"].as_array().unwrap().len(), 1);
}

async fn s12_what_has_the_name_already_is_left_as_it_is() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let reference = eve
        .publish("src", &pod_archive(&recipe("src")), &recipe("src"))
        .await;
    let place = ann.desk.join("src");
    let makes: [fn(&std::path::Path); 4] = [
        |place| write(place, "auth.py", b"mine"),
        |place| fs::create_dir(place).unwrap(),
        |place| fs::write(place, b"mine").unwrap(),
        |place| symlink("/nowhere", place).unwrap(),
    ];
    for make in makes {
        make(&place);
        let before = tree(&ann.desk);
        let parts = ["src exists already and is left as it is", "choose another"];
        let error = assert_says(ann.protocol.fork(&reference, &ann.desk, None).await, &parts);
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(tree(&ann.desk), before);
        assert!(ann.storage().await.is_empty());
        match place.symlink_metadata().unwrap().is_dir() {
            true => fs::remove_dir_all(&place).unwrap(),
            false => fs::remove_file(&place).unwrap(),
        }
    }
    for wrong in ["../x", "..", "a/b", ".git", ""] {
        let forked = ann.protocol.fork(&reference, &ann.desk, Some(wrong)).await;
        assert_says(forked, &["cannot be the name of a new directory"]);
    }
    assert!(ann.on_desk().is_empty());
}

async fn s13_an_own_pod_of_the_same_name_is_not_brought_instead() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let mine = ann.make_pod("render", |recipe| recipe["description"] = json!("mine"));
    ann.protocol
        .persist(&mine, Contents::default())
        .await
        .unwrap();
    let mut hers = recipe("render");
    hers["description"] = json!("hers");
    let reference = eve.publish("render", &pod_archive(&hers), &hers).await;
    let forked = ann
        .protocol
        .fork(&reference, &ann.desk, Some("fork"))
        .await
        .unwrap();
    assert_eq!(forked.recipe["description"], json!("hers"));

    // And when hers cannot be had, nothing is brought.
    eve.dfs.unshare(&"render".parse().unwrap()).await.unwrap();
    let again = ann
        .protocol
        .fork(&reference, &ann.desk, Some("again"))
        .await;
    let error = assert_says(again, &["no pod is shared as", &reference.to_string()]);
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(ann.on_desk(), ["fork", "render"]);
}

async fn a_reference_that_leads_nowhere_makes_nothing() {
    let user = World::new().user("ann");
    let reference = "ab".repeat(32).parse().unwrap();
    let parts = ["no pod is shared as", "ask its owner"];
    assert_says(
        user.protocol.fork(&reference, &user.desk, None).await,
        &parts,
    );
    assert!(user.on_desk().is_empty());
    assert!(user.storage().await.is_empty());
}

async fn s9_s10_an_archive_that_is_refused_leaves_nothing() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let text = recipe("x").to_string();
    let with =
        |name: &str, content: &[u8]| zip(&[("recipe.json", text.as_bytes()), (name, content)]);
    let zeros = vec![0; 80 << 20];
    let archives: [(Vec<u8>, &[&str]); 7] = [
        (with("../../x", b"x"), &["../../x"]),
        (with("/etc/x", b"x"), &["/etc/x"]),
        (with("a\\b", b"x"), &["a\\b"]),
        (with("RECIPE.json", b"x"), &["RECIPE.json"]),
        (with("script/nul", b"x"), &["script/nul"]),
        (with("zeros", &zeros), &["bombs"]),
        (b"not a zip at all".to_vec(), &["zip"]),
    ];
    for (archive, parts) in archives {
        let reference = eve.publish("x", &archive, &recipe("x")).await;
        let forked = ann.protocol.fork(&reference, &ann.desk, None).await;
        let error = assert_says(forked, parts);
        assert_eq!(error.kind(), Kind::InvalidPod, "{parts:?}");
        assert_says::<()>(
            Err(error),
            &[
                "the archive /x.zip of the pod shared as",
                "was not unpacked",
            ],
        );
        assert!(ann.on_desk().is_empty(), "{parts:?}");
        assert!(ann.storage().await.is_empty());
    }
}

async fn s26_a_stream_that_is_not_as_long_as_the_file_leaves_nothing() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let reference = eve
        .publish("x", &pod_archive(&recipe("x")), &recipe("x"))
        .await;
    for (path, readings) in [
        (
            "/x.zip",
            [
                Reading::Short(5),
                Reading::Long(1 << 20),
                Reading::Claims(7),
            ],
        ),
        (
            "/recipe.json",
            [Reading::Short(5), Reading::Long(1), Reading::Claims(7)],
        ),
    ] {
        for reading in readings {
            ann.dfs.on_read(path, std::slice::from_ref(&reading));
            let forked = ann.protocol.fork(&reference, &ann.desk, None).await;
            let error = assert_says(forked, &[path, "was to give", "gave", "try again"]);
            assert_eq!(error.kind(), Kind::Unavailable, "{reading:?}");
        }
        for reading in [Reading::Breaks(3), Reading::Fails] {
            ann.dfs.on_read(path, &[reading]);
            let forked = ann.protocol.fork(&reference, &ann.desk, None).await;
            let error = assert_says(forked, &["the line is dead"]);
            assert_eq!(error.kind(), Kind::Unavailable);
        }
        ann.dfs.be_honest();
    }
    assert!(ann.on_desk().is_empty());
    assert!(ann.storage().await.is_empty());
}

async fn s26_an_archive_of_absurd_length_is_not_begun() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let reference = eve
        .publish("x", &pod_archive(&recipe("x")), &recipe("x"))
        .await;
    for size in [u64::MAX, (16 << 30) + 1] {
        ann.dfs.on_read("/x.zip", &[Reading::Claims(size)]);
        let forked = ann.protocol.fork(&reference, &ann.desk, None).await;
        assert_says(forked, &["/x.zip", &size.to_string(), "at most"]);
    }
    ann.dfs.be_honest();
    ann.dfs
        .on_read("/recipe.json", &[Reading::Claims(u64::MAX)]);
    let forked = ann.protocol.fork(&reference, &ann.desk, None).await;
    assert_says(forked, &["/recipe.json", "at most"]);
    assert!(ann.on_desk().is_empty());
}

async fn a_store_that_invents_files_brings_nothing() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    eve.put("x", "/nothing", b"").await;
    let reference = eve.share("x").await;
    for (name, says) in [
        ("../../x.zip", "../../x.zip"),
        ("x.zip", "nothing at `/x.zip`"),
    ] {
        ann.dfs.be_honest();
        ann.dfs.invent(name, 9);
        assert_says(
            ann.protocol.fork(&reference, &ann.desk, None).await,
            &[says],
        );
    }
    assert!(ann.on_desk().is_empty());
}

async fn the_recipe_in_the_archive_counts_and_a_different_one_is_told() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let mut shown = recipe("x");
    shown["description"] = json!("harmless");
    let reference = eve.publish("x", &pod_archive(&recipe("x")), &shown).await;
    let forked = ann
        .protocol
        .fork(&reference, &ann.desk, None)
        .await
        .unwrap();
    assert_eq!(forked.recipe, recipe("x"));
    let [remark] = forked.remarks.as_slice() else {
        panic!("{:?}", forked.remarks);
    };
    assert!(remark.contains("the one in the archive counts"), "{remark}");
    let text = fs::read(forked.directory.join("recipe.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), recipe("x"));
}

async fn a_documented_marker_is_as_good_as_a_recipe() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let text = recipe("x").to_string();
    let text = text.as_bytes();
    for (pod, archive) in [
        (
            "inside",
            zip(&[("inside.recipe", text), ("script/main.wasm", b"")]),
        ),
        (
            "several",
            zip(&[
                ("several.recipe", text),
                ("a.recipe", b"{}"),
                ("dir.recipe/", b""),
            ]),
        ),
        ("beside", zip(&[("script/main.wasm", b"")])),
    ] {
        ann.put(pod, &format!("/{pod}.zip"), &archive).await;
        ann.put(pod, &format!("/{pod}.recipe"), text).await;
        let reference = ann.share(pod).await;
        let forked = ben
            .protocol
            .fork(&reference, &ben.desk, None)
            .await
            .unwrap();
        assert_eq!(forked.recipe, recipe("x"), "{pod}");
        assert_eq!(
            fs::read(forked.directory.join("recipe.json")).unwrap(),
            text
        );
    }
}

async fn an_archive_without_a_recipe_takes_the_one_beside_it() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let reference = ann
        .publish("x", &zip(&[("script/a", b"")]), &recipe("x"))
        .await;
    let forked = ben
        .protocol
        .fork(&reference, &ben.desk, None)
        .await
        .unwrap();
    assert_eq!(forked.recipe, recipe("x"));
    assert!(forked.directory.join("recipe.json").is_file());
    assert!(
        forked.remarks[0].contains("has no recipe.json"),
        "{:?}",
        forked.remarks
    );
}

async fn s19_a_recipe_beside_the_archive_is_not_taken_where_the_archive_is_pinned() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let archive = zip(&[("script/main.wasm", b"")]);
    let reference = eve.publish("x", &archive, &recipe("x")).await;
    ann.protocol
        .fork(&reference, &ann.desk, None)
        .await
        .unwrap();
    // The archive is the same, and what runs is not.
    eve.publish("x", &archive, &native_recipe("x")).await;
    let parts = [
        "its archive has no recipe.json",
        "replaced",
        "sovr-host fork",
    ];
    let imported = ann.protocol.import("x", &ann.desk, Some("y"), false).await;
    assert_eq!(assert_says(imported, &parts).kind(), Kind::InvalidPod);
    let check = |_: &_, _: &_| Ok(());
    let forked = ann
        .protocol
        .fork_checked(&reference, &ann.desk, Some("y"), check)
        .await;
    assert_says(forked, &parts);
    assert_eq!(ann.on_desk(), ["x"]);
    ann.protocol
        .import("x", &ann.desk, Some("y"), true)
        .await
        .unwrap();
}

async fn what_has_no_recipe_or_no_archive_is_not_forked() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    ann.put("payload", "/images.zip", &zip(&[("images/1.jpg", b"jpg")]))
        .await;
    ann.put("payload", "/more.zip", &zip(&[("images/2.jpg", b"jpg")]))
        .await;
    ann.put("bare", "/bare.zip", &zip(&[("a", b"")])).await;
    for (pod, parts) in [
        (
            "payload",
            ["not a compute pod", "`payload.zip`", "golem.payload"],
        ),
        ("bare", ["not a compute pod", "recipe.json", "neither"]),
    ] {
        let reference = ann.share(pod).await;
        let error = assert_says(ben.protocol.fork(&reference, &ben.desk, None).await, &parts);
        assert_eq!(error.kind(), Kind::InvalidPod);
    }
    assert!(ben.on_desk().is_empty());
}

async fn s22_a_recipe_that_is_none_is_refused() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("{{\"a\":{}1{}}}", "[".repeat(60), "]".repeat(60));
    let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
    for (text, part) in [
        ("[]", "expected an object"),
        ("\"recipe\"", "expected an object"),
        ("{", "not valid JSON"),
        ("{\"a\":1,\"a\":2}", "not valid JSON"),
        (&deep, "not valid JSON"),
        (&nested, "nested deeper"),
        (&huge, "recipe"),
        ("\u{1b}[2J", "not valid JSON"),
    ] {
        let reference = eve
            .publish("x", &zip(&[("recipe.json", text.as_bytes())]), &recipe("x"))
            .await;
        let error = assert_says(
            ann.protocol.fork(&reference, &ann.desk, None).await,
            &[part],
        );
        let shown = &text[..text.len().min(20)];
        assert!(error.kind() != Kind::Usage, "{shown}");
        assert!(ann.on_desk().is_empty(), "{shown}");
        assert!(ann.storage().await.is_empty(), "{shown}");
    }
    // A directory in its place.
    let reference = eve
        .publish("x", &zip(&[("recipe.json/a", b"{}")]), &recipe("x"))
        .await;
    let forked = ann
        .protocol
        .fork(&reference, &ann.desk, None)
        .await
        .unwrap();
    assert!(forked.remarks[0].contains("has no recipe.json"));
}

async fn a_pod_of_the_original_is_forked_and_told_to_be_native() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let recipe = native_recipe("blender");
    let reference = ann.publish("blender", &pod_archive(&recipe), &recipe).await;
    let forked = ben
        .protocol
        .fork(&reference, &ben.desk, None)
        .await
        .unwrap();
    let obstacle = Card::of(&forked.recipe).obstacle.unwrap();
    assert!(
        obstacle.contains("python3") && obstacle.contains("compile"),
        "{obstacle}"
    );
}

async fn directories_that_the_archive_does_not_hold_are_made() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let text = recipe("x").to_string();
    // One of them is something else; that is for the layout check to tell.
    let archive = zip(&[("recipe.json", text.as_bytes()), ("logs", b"a file")]);
    let reference = ann.publish("x", &archive, &recipe("x")).await;
    let forked = ben
        .protocol
        .fork(&reference, &ben.desk, None)
        .await
        .unwrap();
    for area in ["script", "payload", "output"] {
        assert!(forked.directory.join(area).is_dir(), "{area}");
    }
    assert!(forked.directory.join("logs").is_file());
}

async fn an_origin_in_the_archive_is_replaced_and_pins_are_kept() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    let pins = json!({ &a: { "/images.zip": { "sha256": &b, "size": 3 } } });
    let lock = json!({
        "version": 1,
        "origin": { "reference": a, "pod": "trusted", "sha256": b, "size": 1 },
        "references": pins
    });
    let (text, lock) = (recipe("x").to_string(), lock.to_string());
    let archive = zip(&[
        ("recipe.json", text.as_bytes()),
        ("sovr.lock", lock.as_bytes()),
    ]);
    let reference = eve.publish("x", &archive, &recipe("x")).await;
    let forked = ann
        .protocol
        .fork(&reference, &ann.desk, None)
        .await
        .unwrap();
    let read = |forked: &sovr_protocol::Forked| -> Value {
        serde_json::from_slice(&fs::read(forked.directory.join("sovr.lock")).unwrap()).unwrap()
    };
    let lock = read(&forked);
    assert_eq!(lock["references"], pins);
    assert_eq!(lock["origin"]["reference"], json!(reference.to_string()));
    assert_eq!(lock["origin"]["pod"], json!("x"));
    assert_eq!(lock["origin"]["sha256"], json!(Digest::of(&archive)));
    // What the user imports as their own came from nowhere.
    let imported = eve
        .protocol
        .import("x", &eve.desk, None, false)
        .await
        .unwrap();
    assert_eq!(read(&imported), json!({ "version": 1, "references": pins }));

    let archive = zip(&[
        ("recipe.json", text.as_bytes()),
        ("sovr.lock", b"{\"version\":9}"),
    ]);
    let reference = eve.publish("y", &archive, &recipe("y")).await;
    assert_says(
        ann.protocol.fork(&reference, &ann.desk, None).await,
        &["sovr.lock", "version"],
    );
    assert_eq!(ann.on_desk(), ["x"]);
}

async fn a_book_of_forks_that_cannot_be_written_leaves_no_directory() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let reference = ann
        .publish("x", &pod_archive(&recipe("x")), &recipe("x"))
        .await;
    ben.put("ForkedPods", "/ForkedPods.json", b"{ broken").await;
    let before = ben.storage().await;
    let parts = ["ForkedPods", "not valid JSON"];
    assert_says(ben.protocol.fork(&reference, &ben.desk, None).await, &parts);
    assert!(ben.on_desk().is_empty());
    assert_eq!(ben.storage().await, before);
}

async fn own_received_and_forked_pods_are_imported_by_name() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let own = ben.make_pod("own", |_| ());
    ben.protocol
        .persist(&own, Contents::default())
        .await
        .unwrap();
    let imported = ben
        .protocol
        .import("own", &ben.desk, Some("own-2"), false)
        .await
        .unwrap();
    assert_eq!(tree(&imported.directory), tree(&own));
    assert_eq!(imported.reference, None);

    // As another program received it, under a name of its own.
    let reference = ann
        .publish("theirs", &pod_archive(&recipe("theirs")), &recipe("theirs"))
        .await;
    ben.dfs
        .receive(&reference, &"mine".parse().unwrap())
        .await
        .unwrap();
    let imported = ben
        .protocol
        .import("mine", &ben.desk, None, false)
        .await
        .unwrap();
    assert_eq!(imported.recipe, recipe("theirs"));

    let reference = ann
        .publish("forked", &pod_archive(&recipe("forked")), &recipe("forked"))
        .await;
    ben.protocol
        .fork(&reference, &ben.desk, None)
        .await
        .unwrap();
    let imported = ben
        .protocol
        .import("forked", &ben.desk, Some("again"), false)
        .await
        .unwrap();
    assert_eq!(imported.reference, Some(reference));
    assert_eq!(tree(&imported.directory), tree(&ben.desk.join("forked")));

    let error = assert_says(
        ben.protocol.import("nobody", &ben.desk, None, false).await,
        &["no pod `nobody` among your pods", "list"],
    );
    assert_eq!(error.kind(), Kind::Usage);
    assert_says(
        ben.protocol.import("../x", &ben.desk, None, false).await,
        &["pod name"],
    );
}

async fn s19_a_fork_that_has_changed_is_refused_until_it_is_updated() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let (good, bad) = (pod_archive(&recipe("x")), pod_archive(&native_recipe("x")));
    let reference = eve.publish("x", &good, &recipe("x")).await;
    ann.protocol
        .fork(&reference, &ann.desk, None)
        .await
        .unwrap();
    eve.publish("x", &bad, &native_recipe("x")).await;
    let before = ann.storage().await;
    let (old, new) = (Digest::of(&good).to_string(), Digest::of(&bad).to_string());
    let again = ann
        .protocol
        .import("x", &ann.desk, Some("again"), false)
        .await;
    let error = assert_says(again, &["not what you forked", &old, &new, "--update"]);
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(ann.on_desk(), ["x"]);
    assert_eq!(ann.storage().await, before);

    let updated = ann
        .protocol
        .import("x", &ann.desk, Some("new"), true)
        .await
        .unwrap();
    assert_eq!(updated.archive.sha256.to_string(), new);
    let again = ann
        .protocol
        .import("x", &ann.desk, Some("again"), false)
        .await
        .unwrap();
    assert_eq!(again.archive.sha256.to_string(), new);
}

async fn a_name_that_several_owners_use_is_not_decided_for_the_user() {
    let world = World::new();
    let (ann, ben, eve) = (world.user("ann"), world.user("ben"), world.user("eve"));
    let archive = pod_archive(&recipe("x"));
    let first = ben.publish("x", &archive, &recipe("x")).await;
    let second = eve.publish("x", &archive, &recipe("x")).await;
    ann.protocol.fork(&first, &ann.desk, None).await.unwrap();
    ann.protocol
        .fork(&second, &ann.desk, Some("hers"))
        .await
        .unwrap();
    let (first, second) = (first.to_string(), second.to_string());
    let error = assert_says(
        ann.protocol
            .import("x", &ann.desk, Some("which"), false)
            .await,
        &["several owners", "`x`", "fork REFERENCE", &first, &second],
    );
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(ann.on_desk(), ["hers", "x"]);
}

async fn a_comparison_says_what_is_asked_for_now_and_keeps_nothing() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let asks = |capabilities: Value| {
        let mut asking = recipe("x");
        asking["capabilities"] = capabilities;
        asking
    };
    let with = |recipe: &Value, component: &[u8]| {
        let text = recipe.to_string();
        zip(&[
            ("recipe.json", text.as_bytes()),
            ("script/main.wasm", component),
        ])
    };
    let packages = json!({ "r": [{ "wasi": "payload/r.zip" }] });
    let before = asks(json!({
        "golem": { "budget": "1", "packages": packages },
        "dfs": { "read": ["images"] }
    }));
    let after = asks(json!({ "golem": { "budget": "5", "packages": packages } }));
    let old = with(&before, b"old");
    let reference = eve.publish("x", &old, &before).await;
    let forked = ann
        .protocol
        .fork(&reference, &ann.desk, None)
        .await
        .unwrap();
    let same = ann
        .protocol
        .compare(&reference, &forked.directory)
        .await
        .unwrap();
    assert!(same.changes.is_empty() && same.component.is_none() && same.exec.is_none());
    assert_eq!(same.before, Some(same.after));

    let new = with(&after, b"new");
    eve.publish("x", &new, &after).await;
    let (desk, storage) = (tree(&ann.desk), ann.storage().await);
    let changed = ann
        .protocol
        .compare(&reference, &forked.directory)
        .await
        .unwrap();
    assert_eq!(changed.before.unwrap().sha256, Digest::of(&old));
    assert_eq!(changed.after.sha256, Digest::of(&new));
    assert_eq!(
        changed.component,
        Some((Some(Digest::of("old")), Some(Digest::of("new"))))
    );
    let budget = changed
        .changes
        .iter()
        .find(|change| change.key == "golem.budget");
    assert_eq!(budget.unwrap().kind, ChangeKind::Widened);
    let dfs = changed
        .changes
        .iter()
        .find(|change| change.key.starts_with("dfs"));
    assert_eq!(dfs.unwrap().kind, ChangeKind::Removed);

    // Another one appears, and goes.
    eve.publish("x", &with(&recipe("x"), b"new"), &recipe("x"))
        .await;
    let less = ann
        .protocol
        .compare(&reference, &forked.directory)
        .await
        .unwrap();
    assert!(
        less.changes
            .iter()
            .all(|change| change.kind == ChangeKind::Removed)
    );
    assert!(!less.changes.is_empty());
    write(
        &ann.desk,
        "plain/recipe.json",
        recipe("x").to_string().as_bytes(),
    );
    eve.publish("x", &new, &after).await;
    let more = ann
        .protocol
        .compare(&reference, &ann.desk.join("plain"))
        .await
        .unwrap();
    assert!(
        more.changes
            .iter()
            .all(|change| change.kind == ChangeKind::Added)
    );
    assert!(!more.changes.is_empty() && more.before.is_none());
    fs::remove_dir_all(ann.desk.join("plain")).unwrap();

    // What is refused is no comparison, and nothing stays either.
    eve.publish("x", b"not a zip", &after).await;
    assert_says(
        ann.protocol.compare(&reference, &forked.directory).await,
        &["refused"],
    );
    let task = json!({ "name": "t", "pods": ["ab".repeat(32)] });
    let task = zip(&[("recipe.json", task.to_string().as_bytes())]);
    eve.publish("x", &task, &after).await;
    assert_says(
        ann.protocol.compare(&reference, &forked.directory).await,
        &["`pods`"],
    );
    assert_eq!(tree(&ann.desk), desk);
    assert_eq!(ann.storage().await, storage);
}
