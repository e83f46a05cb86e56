//! Names that would lead elsewhere, or take the place of something.

use serde_json::json;
use sovr_dfs::Dfs;
use sovr_protocol::{Contents, Kind};

use crate::world::{World, assert_says, pod_archive, recipe, tree, write};

crate::tests![
    s15_a_recipe_whose_name_leads_elsewhere_is_not_persisted,
    s14_a_recipe_with_the_name_of_a_registry_is_not_persisted,
    s14_a_received_pod_with_the_name_of_a_book_is_not_taken_for_it_and_can_be_forgotten,
    a_received_pod_of_the_same_name_is_not_written,
    a_name_that_is_too_long_for_its_output_is_refused_before_anything_is_stored,
    s11_a_shared_pod_whose_name_leads_elsewhere_touches_nothing,
    s23_a_name_that_a_terminal_would_obey_is_shown_escaped,
];

const WRONG: [&str; 12] = [
    "../../x",
    "..",
    ".",
    "",
    "a/b",
    "/etc/x",
    "a\\b",
    "a\0b",
    ".git",
    "x y",
    "ä",
    "x\u{202e}y",
];

async fn s15_a_recipe_whose_name_leads_elsewhere_is_not_persisted() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    let long = "x".repeat(65);
    for name in WRONG.into_iter().chain([long.as_str()]) {
        write(&pod, "recipe.json", recipe(name).to_string().as_bytes());
        let before = tree(&user.desk);
        let persisted = user.protocol.persist(&pod, Contents::default()).await;
        let error = assert_says(persisted, &["name"]);
        assert_eq!(error.kind(), Kind::InvalidPod, "{name:?}");
        assert!(user.storage().await.is_empty());
        assert_eq!(tree(&user.desk), before);
    }
}

async fn s14_a_recipe_with_the_name_of_a_registry_is_not_persisted() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    for name in [
        "ComputePodRegistry",
        "sharedpods",
        "FORKEDPODS",
        "Sovr",
        "Output-x",
        "nul",
    ] {
        write(&pod, "recipe.json", recipe(name).to_string().as_bytes());
        let persisted = user.protocol.persist(&pod, Contents::default()).await;
        let error = assert_says(persisted, &["name", name]);
        assert_eq!(error.kind(), Kind::InvalidPod, "{name:?}");
        assert!(user.storage().await.is_empty());
    }
}

async fn s14_a_received_pod_with_the_name_of_a_book_is_not_taken_for_it_and_can_be_forgotten() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    for (name, file) in [
        ("ComputePodRegistry", "/Registry.json"),
        ("SharedPods", "/SharedPods.json"),
        ("ForkedPods", "/ForkedPods.json"),
    ] {
        let book = json!({ "evil": { "name": "evil", "golem": {} } }).to_string();
        eve.put(name, file, book.as_bytes()).await;
        let reference = eve.share(name).await;
        // As another program receives.
        let received = ann.dfs.receive(&reference, &name.parse().unwrap()).await;
        received.unwrap();
        let parts = [name, "received from somebody else", "delete"];
        assert_says(ann.protocol.list().await, &parts);
        if name != "ForkedPods" {
            let pod = ann.make_pod(&format!("render-{name}"), |_| ());
            let persisted = ann.protocol.persist(&pod, Contents::default()).await;
            assert_says(persisted, &parts);
        }
        let deleted = ann.protocol.delete(name).await.unwrap();
        assert_eq!(deleted.pods, [name]);
        assert!(ann.protocol.list().await.unwrap().own.is_empty());
        assert!(eve.get(name, file).await.is_some());
    }
}

async fn a_received_pod_of_the_same_name_is_not_written() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    for name in ["render", "output-render"] {
        eve.put(name, "/x", b"hers").await;
        let reference = eve.share(name).await;
        let received = ann.dfs.receive(&reference, &name.parse().unwrap()).await;
        received.unwrap();
        let before = ann.storage().await;
        let directory = format!("of-{name}");
        let pod = ann.make_pod(&directory, |recipe| {
            recipe["name"] = json!("render");
            recipe["golem"]["output"] = json!({ "share": "output" });
        });
        write(&pod, "output/x", b"x");
        let persisted = ann.protocol.persist(&pod, Contents::default()).await;
        assert_says(persisted, &[name, "received"]);
        assert_eq!(ann.storage().await, before);
        ann.dfs.delete_pod(&name.parse().unwrap()).await.unwrap();
    }
}

async fn a_name_that_is_too_long_for_its_output_is_refused_before_anything_is_stored() {
    let user = World::new().user("ann");
    let name = "x".repeat(58);
    let pod = user.make_pod(&name, |recipe| {
        recipe["golem"]["output"] = json!({ "share": "output" });
    });
    write(&pod, "output/x", b"x");
    let persisted = user.protocol.persist(&pod, Contents::default()).await;
    assert_says(persisted, &["`name`", "output-xxx", "64 bytes", "shorter"]);
    assert!(user.storage().await.is_empty());
}

async fn s11_a_shared_pod_whose_name_leads_elsewhere_touches_nothing() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let reference = eve
        .publish("x", &pod_archive(&recipe("x")), &recipe("x"))
        .await;
    write(&ann.desk, "x.zip", b"mine");
    write(&ann.desk, "x/mine", b"mine");
    let before = tree(&ann.desk);
    let inner = ann.desk.join("x");
    let reserved = ["ComputePodRegistry", "sharedPods", "output-x", "con"];
    for name in WRONG.into_iter().chain(reserved) {
        ann.dfs.share_name(name);
        for parent in [&ann.desk, &inner] {
            let forked = ann.protocol.fork(&reference, parent, None).await;
            let error = assert_says(forked, &["the name that its owner gave the shared pod"]);
            assert_eq!(error.kind(), Kind::InvalidPod, "{name:?}");
            // A directory of the user's choice does not make the name a good one.
            let forked = ann.protocol.fork(&reference, parent, Some("y")).await;
            assert_says(forked, &["the name that its owner gave the shared pod"]);
        }
        assert_eq!(tree(&ann.desk), before, "{name:?}");
    }
    assert!(ann.storage().await.is_empty());
}

async fn s23_a_name_that_a_terminal_would_obey_is_shown_escaped() {
    let world = World::new();
    let (ann, eve) = (world.user("ann"), world.user("eve"));
    let reference = eve
        .publish("x", &pod_archive(&recipe("x")), &recipe("x"))
        .await;
    for name in ["\u{1b}[2J\u{1b}]0;evil\u{7}", "x\rok", "x\u{9b}1A"] {
        ann.dfs.share_name(name);
        assert_says(
            ann.protocol.fork(&reference, &ann.desk, None).await,
            &["\\"],
        );
    }
    ann.dfs.be_honest();
    ann.dfs.invent("\u{1b}[2J.recipe", 3);
    ann.dfs.invent("\u{1b}[2J.zip", 3);
    eve.put("y", "/nothing", b"").await;
    let reference = eve.share("y").await;
    assert_says(
        ann.protocol.fork(&reference, &ann.desk, None).await,
        &["path in a pod"],
    );
    assert!(ann.on_desk().is_empty());
}
