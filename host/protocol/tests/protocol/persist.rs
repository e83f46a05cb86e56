//! From a directory into storage.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde_json::json;
use sovr_protocol::event::Direction;
use sovr_protocol::{Contents, Event, Kind, Observer, Protocol, SharedOutput};

use crate::hostile::{Reading, Writing};
use crate::world::{World, assert_says, names_of, recipe, tree, unzip, write};

crate::tests![
    the_same_tree_gives_the_same_bytes_whenever_it_was_touched_and_whatever_a_run_left,
    results_go_along_only_if_they_are_asked_for,
    secrets_histories_and_fetched_payloads_are_left_out_and_told,
    a_recipe_under_another_name_becomes_recipe_json,
    books_and_layout_are_those_of_the_original,
    a_pod_that_is_not_public_is_not_shared,
    a_pod_that_is_persisted_again_keeps_its_reference,
    a_task_is_persisted_without_the_pods_that_a_run_forked_into_it,
    pins_travel_and_the_origin_does_not,
    a_failing_store_leaves_the_earlier_version_and_the_books,
    a_book_that_could_not_be_written_is_complete_after_persisting_again,
    a_store_that_took_something_else_is_not_believed,
    a_store_that_forgets_what_it_took_is_not_believed,
    a_pod_that_could_not_be_stored_is_not_left_behind_empty,
    a_bomb_is_not_stored,
    an_output_is_shared_and_can_be_used_by_its_reference,
    output_of_a_pod_that_has_not_run_is_told_to_be_nothing,
    what_moves_is_told_and_what_is_not_whole_is_not_called_complete,
    s16_an_output_beyond_the_pod_is_not_shared,
    s17_a_link_that_a_guest_left_is_not_followed,
];

const OUTPUTS: Contents = Contents { outputs: true };
const PLAIN: Contents = Contents { outputs: false };

async fn the_same_tree_gives_the_same_bytes_whenever_it_was_touched_and_whatever_a_run_left() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    let first = user.protocol.persist(&pod, PLAIN).await.unwrap();
    let stored = user.get("render", "/render.zip").await.unwrap();
    assert_eq!(stored.len() as u64, first.size);

    for file in ["recipe.json", "script/main.wasm", "payload/scene.json"] {
        let file = fs::File::options()
            .append(true)
            .open(pod.join(file))
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    write(&pod, "output/frame.png", b"png");
    write(&pod, "logs/run.log", b"done");
    write(&pod, "payload/external/a.bin", b"fetched");
    write(&pod, "tmp/x", b"tmp");
    let second = user.protocol.persist(&pod, PLAIN).await.unwrap();
    assert_eq!(second.sha256, first.sha256);
    assert_eq!(user.get("render", "/render.zip").await.unwrap(), stored);

    write(&pod, "payload/scene.json", b"[]");
    let third = user.protocol.persist(&pod, PLAIN).await.unwrap();
    assert_ne!(third.sha256, first.sha256);
}

async fn results_go_along_only_if_they_are_asked_for() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    write(&pod, "output/frames/1.png", b"png");
    write(&pod, "logs/run.log", b"done");
    for (contents, expected) in [(PLAIN, false), (OUTPUTS, true)] {
        user.protocol.persist(&pod, contents).await.unwrap();
        let members = unzip(&user.get("render", "/render.zip").await.unwrap());
        for result in ["output/frames/1.png", "logs/run.log"] {
            assert_eq!(members.contains_key(result), expected, "{result}");
        }
        // The original's pods expect the directories.
        assert!(members.contains_key("output/") && members.contains_key("logs/"));
    }
}

async fn secrets_histories_and_fetched_payloads_are_left_out_and_told() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    for file in [
        ".git/config",
        "creds.json",
        "payload/.env",
        "payload/external/x",
        "render.zip~",
    ] {
        write(&pod, file, b"secret");
    }
    let persisted = user.protocol.persist(&pod, OUTPUTS).await.unwrap();
    let members = unzip(&user.get("render", "/render.zip").await.unwrap());
    assert_eq!(
        names_of(&members),
        [
            "logs/",
            "output/",
            "payload/",
            "payload/scene.json",
            "recipe.json",
            "script/",
            "script/main.wasm"
        ]
    );
    let told: Vec<String> = persisted
        .left_out
        .iter()
        .map(|left_out| left_out.path.escaped())
        .collect();
    let expected = [
        ".git/",
        "creds.json",
        "payload/.env",
        "payload/external/",
        "render.zip~",
    ];
    assert_eq!(told, expected);
}

async fn a_recipe_under_another_name_becomes_recipe_json() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    let text = format!("\n{}\n", recipe("other"));
    write(&pod, "other.recipe", text.as_bytes());
    let path = pod.join("other.recipe");
    let persisted = user.protocol.persist(&path, PLAIN).await.unwrap();
    assert_eq!(persisted.pod, "other");
    assert_eq!(
        user.get("other", "/recipe.json").await.unwrap(),
        text.as_bytes()
    );
    let members = unzip(&user.get("other", "/other.zip").await.unwrap());
    assert_eq!(members["recipe.json"], text.as_bytes());
    assert!(user.get("render", "/recipe.json").await.is_none());
}

async fn books_and_layout_are_those_of_the_original() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |recipe| {
        recipe["public"] = json!(true);
        recipe["x-unknown"] = json!({ "kept": [1, "ä"] });
    });
    let persisted = user.protocol.persist(&pod, PLAIN).await.unwrap();
    let reference = persisted.reference.unwrap();
    let recipe: serde_json::Value =
        serde_json::from_slice(&fs::read(pod.join("recipe.json")).unwrap()).unwrap();

    let storage = user.storage().await;
    assert_eq!(
        names_of(&storage),
        [
            "ComputePodRegistry",
            "ComputePodRegistry/Registry.json",
            "SharedPods",
            "SharedPods/SharedPods.json",
            "render",
            "render/recipe.json",
            "render/render.zip"
        ]
    );
    assert_eq!(
        user.json("ComputePodRegistry", "/Registry.json").await,
        json!({ "render": recipe })
    );
    assert_eq!(
        user.json("SharedPods", "/SharedPods.json").await,
        json!({ "render": [{ "recipe": recipe, "sharing_reference": reference }] })
    );
    // The original reads with whatever encoding its machine prefers.
    for book in [
        "ComputePodRegistry/Registry.json",
        "SharedPods/SharedPods.json",
    ] {
        assert!(storage[book].is_ascii());
    }
}

async fn a_pod_that_is_not_public_is_not_shared() {
    let world = World::new();
    let user = world.user("ann");
    let pod = user.make_pod("render", |_| ());
    let persisted = user.protocol.persist(&pod, PLAIN).await.unwrap();
    assert_eq!(persisted.reference, None);
    assert!(user.get("SharedPods", "/SharedPods.json").await.is_none());
    let unshared = user.protocol.unshare("render").await;
    assert_says(unshared, &["`render` is not shared"]);
}

async fn a_pod_that_is_persisted_again_keeps_its_reference() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |recipe| recipe["public"] = json!(true));
    let first = user.protocol.persist(&pod, PLAIN).await.unwrap();
    write(&pod, "payload/more", b"more");
    let second = user.protocol.persist(&pod, PLAIN).await.unwrap();
    assert_eq!(first.reference, second.reference);
    let shared = user.json("SharedPods", "/SharedPods.json").await;
    assert_eq!(shared["render"].as_array().unwrap().len(), 1);
}

async fn a_task_is_persisted_without_the_pods_that_a_run_forked_into_it() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let pod = ann.make_pod("render", |recipe| recipe["public"] = json!(true));
    let render = ann.protocol.persist(&pod, PLAIN).await.unwrap();
    let reference = render.reference.unwrap();
    let task = ben.desk.join("frames");
    let recipe = json!({ "name": "frames", "pods": [reference], "public": true });
    write(&task, "recipe.json", recipe.to_string().as_bytes());
    write(&task, "payload/notes.txt", b"notes");
    ben.protocol
        .fork(&reference.parse().unwrap(), &task, None)
        .await
        .unwrap();
    let persisted = ben.protocol.persist(&task, PLAIN).await.unwrap();
    assert_eq!(persisted.left_out.len(), 1, "{:?}", persisted.left_out);
    let members = unzip(&ben.get("frames", "/frames.zip").await.unwrap());
    assert_eq!(
        names_of(&members),
        ["payload/", "payload/notes.txt", "recipe.json"]
    );
    assert_eq!(
        ben.json("ComputePodRegistry", "/Registry.json").await,
        json!({ "frames": recipe })
    );
    let listing = ben.protocol.list().await.unwrap();
    assert_eq!(listing.own[0].references, [persisted.reference.unwrap()]);
}

async fn pins_travel_and_the_origin_does_not() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    let pins = json!({ &a: { "/images.zip": { "sha256": &b, "size": 3 } } });
    let origin = json!({ "reference": &b, "pod": "old", "sha256": &a, "size": 9 });
    for (references, travels) in [(json!({}), false), (pins, true)] {
        let lock = json!({ "version": 1, "origin": origin, "references": references });
        write(&pod, "sovr.lock", lock.to_string().as_bytes());
        user.protocol.persist(&pod, PLAIN).await.unwrap();
        let members = unzip(&user.get("render", "/render.zip").await.unwrap());
        let found = members
            .get("sovr.lock")
            .map(|lock| serde_json::from_slice::<serde_json::Value>(lock).unwrap());
        let expected = travels.then(|| json!({ "version": 1, "references": references }));
        assert_eq!(found, expected);
    }
}

async fn a_failing_store_leaves_the_earlier_version_and_the_books() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |recipe| recipe["public"] = json!(true));
    user.protocol.persist(&pod, PLAIN).await.unwrap();
    let before = user.storage().await;
    // More than the pipe holds, and nothing that can be compressed.
    write(&pod, "payload/noise", &noise(12 << 20));
    for failure in [Writing::Fails(0), Writing::Fails(3 << 20)] {
        user.dfs.on_write("/render.zip", &[failure]);
        let error = assert_says(
            user.protocol.persist(&pod, PLAIN).await,
            &["the line is dead", "try again"],
        );
        assert_eq!(error.kind(), Kind::Unavailable);
        assert_eq!(user.storage().await, before);
    }
    user.dfs.be_honest();
    user.protocol.persist(&pod, PLAIN).await.unwrap();
    assert_ne!(user.storage().await, before);
}

async fn a_book_that_could_not_be_written_is_complete_after_persisting_again() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |recipe| recipe["public"] = json!(true));
    for book in ["/SharedPods.json", "/Registry.json"] {
        user.dfs.be_honest();
        user.dfs.on_write(book, &[Writing::Fails(9)]);
        let error = assert_says(user.protocol.persist(&pod, PLAIN).await, &["write a file"]);
        assert_eq!(error.kind(), Kind::Unavailable);
    }
    user.dfs.be_honest();
    let persisted = user.protocol.persist(&pod, PLAIN).await.unwrap();
    let listing = user.protocol.list().await.unwrap();
    assert_eq!(listing.own[0].references, [persisted.reference.unwrap()]);
}

async fn a_store_that_took_something_else_is_not_believed() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    user.dfs.on_write("/render.zip", &[Writing::Claims(7)]);
    assert_says(
        user.protocol.persist(&pod, PLAIN).await,
        &["/render.zip of pod render has", "storage took 7", "again"],
    );
    assert!(
        user.get("ComputePodRegistry", "/Registry.json")
            .await
            .is_none()
    );
}

async fn a_store_that_forgets_what_it_took_is_not_believed() {
    for file in ["/render.zip", "/recipe.json", "/Registry.json"] {
        let user = World::new().user("ann");
        let pod = user.make_pod("render", |_| ());
        user.dfs.on_write(file, &[Writing::Forgets]);
        assert_says(
            user.protocol.persist(&pod, PLAIN).await,
            &["find a file again"],
        );
        let entered = user.get("ComputePodRegistry", "/Registry.json").await;
        assert_eq!(entered.is_some(), file == "/Registry.json", "{file}");
    }
}

async fn a_pod_that_could_not_be_stored_is_not_left_behind_empty() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    user.dfs.on_write("/render.zip", &[Writing::Fails(0)]);
    assert_says(
        user.protocol.persist(&pod, PLAIN).await,
        &["the line is dead"],
    );
    assert!(user.storage().await.is_empty());
}

async fn a_bomb_is_not_stored() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    let zeros = fs::File::create(pod.join("payload/zeros")).unwrap();
    zeros.set_len(100 << 20).unwrap();
    let error = assert_says(
        user.protocol.persist(&pod, PLAIN).await,
        &["bombs", "remove files"],
    );
    assert_eq!(error.kind(), Kind::InvalidPod);
    assert!(user.storage().await.is_empty());
}

async fn an_output_is_shared_and_can_be_used_by_its_reference() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |recipe| {
        recipe["golem"]["output"] = json!({ "share": "output/results" });
    });
    write(&pod, "output/results/frames/1.png", b"png");
    write(&pod, "output/private.txt", b"private");
    let persisted = user.protocol.persist(&pod, PLAIN).await.unwrap();
    assert_eq!(persisted.reference, None);
    let Some(SharedOutput::Shared {
        pod: name,
        reference,
        data,
        files,
        size,
    }) = persisted.output
    else {
        panic!("nothing was shared");
    };
    assert_eq!(
        (name.as_str(), data.as_str(), files),
        ("output-render", "/output-render.zip", 1)
    );
    let archive = user
        .get("output-render", "/output-render.zip")
        .await
        .unwrap();
    assert_eq!(archive.len() as u64, size);
    assert_eq!(names_of(&unzip(&archive)), ["frames/", "frames/1.png"]);
    let shared = user.json("SharedPods", "/SharedPods.json").await;
    assert_eq!(
        shared["output-render"][0]["sharing_reference"],
        json!(reference)
    );
    let listing = user.protocol.list().await.unwrap();
    assert_eq!(listing.own.len(), 1);
    assert_eq!(listing.own[0].output_references, [reference]);
}

async fn output_of_a_pod_that_has_not_run_is_told_to_be_nothing() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |recipe| {
        recipe["golem"]["output"] = json!({ "share": "output/results" });
    });
    for make in [false, true] {
        if make {
            fs::create_dir(pod.join("output/results")).unwrap();
        }
        let persisted = user.protocol.persist(&pod, PLAIN).await.unwrap();
        let Some(SharedOutput::Nothing { directory }) = persisted.output else {
            panic!("{:?}", persisted.output);
        };
        assert_eq!(directory, pod.join("output/results"));
        assert!(
            user.get("output-render", "/output-render.zip")
                .await
                .is_none()
        );
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Observer for Told {
    fn observe(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Told {
    /// What was said to be complete, and whether its progress was told before.
    fn take(&self) -> Vec<(Direction, String, u64, bool)> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        let told = |whole: u64, name: &str| {
            events.iter().any(|event| match event {
                Event::Transferred { what, bytes, .. } => what == name && *bytes <= whole,
                _ => false,
            })
        };
        let complete = events.iter().filter_map(|event| match event {
            Event::Complete {
                direction,
                what,
                bytes,
            } => Some((*direction, what.clone(), *bytes, told(*bytes, what))),
            _ => None,
        });
        complete.collect()
    }
}

async fn what_moves_is_told_and_what_is_not_whole_is_not_called_complete() {
    let user = World::new().user("ann");
    let told = Arc::new(Told::default());
    let lock = user.desk.with_file_name("told-lock");
    let protocol = Protocol::new(user.dfs.clone(), lock, told.clone());
    let pod = user.make_pod("render", |recipe| recipe["public"] = json!(true));
    write(&pod, "payload/noise", &noise(9 << 20));
    let persisted = protocol.persist(&pod, PLAIN).await.unwrap();
    let up = "/render.zip of pod render".to_owned();
    assert_eq!(told.take(), [(Direction::Up, up, persisted.size, true)]);

    let reference = persisted.reference.unwrap().parse().unwrap();
    let down = format!("/render.zip of the pod shared as {reference}");
    protocol
        .fork(&reference, &user.desk, Some("fork"))
        .await
        .unwrap();
    assert_eq!(told.take(), [(Direction::Down, down, persisted.size, true)]);

    user.dfs.on_read("/render.zip", &[Reading::Short(9 << 20)]);
    assert_says(
        protocol.fork(&reference, &user.desk, Some("cut")).await,
        &["was to give"],
    );
    user.dfs.on_write("/render.zip", &[Writing::Fails(9 << 20)]);
    assert_says(protocol.persist(&pod, PLAIN).await, &["the line is dead"]);
    assert_eq!(told.take(), []);
}

/// Bytes that cannot be compressed.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

async fn s16_an_output_beyond_the_pod_is_not_shared() {
    let user = World::new().user("ann");
    write(&user.desk, "secret/key", b"secret");
    for (number, share) in [
        "../secret",
        "output/../../secret",
        "/etc",
        "script",
        "",
        "output/a\0",
    ]
    .into_iter()
    .enumerate()
    {
        let pod = user.make_pod(&format!("render{number}"), |recipe| {
            recipe["golem"]["output"] = json!({ "share": share });
        });
        let error = assert_says(user.protocol.persist(&pod, PLAIN).await, &["golem.output"]);
        assert_eq!(error.kind(), Kind::InvalidPod, "{share}");
    }
    // The path is good and leads out all the same.
    let pod = user.make_pod("render", |recipe| {
        recipe["golem"]["output"] = json!({ "share": "output/results" });
    });
    symlink(user.desk.join("secret"), pod.join("output/results")).unwrap();
    assert_says(
        user.protocol.persist(&pod, PLAIN).await,
        &["output/results", "symbolic link"],
    );
    assert!(user.storage().await.is_empty());
}

async fn s17_a_link_that_a_guest_left_is_not_followed() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |_| ());
    write(&user.desk, "id_rsa", b"secret");
    symlink(user.desk.join("id_rsa"), pod.join("output/a")).unwrap();
    let before = tree(&pod);
    assert_says(
        user.protocol.persist(&pod, OUTPUTS).await,
        &["output/a", "symbolic link", "remove it"],
    );
    assert!(user.storage().await.is_empty());
    assert_eq!(tree(&pod), before);
}
