//! Work that is dropped half-way, as Ctrl-C drops it.

use std::fs::File;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sovr_pod::Tree;
use sovr_pod::recipe::ExternalPayload;
use sovr_protocol::{Contents, Sources};

use crate::hostile::{Reading, Writing};
use crate::world::{World, names_in, pod_archive, recipe, tree, write, zip};

crate::tests![
    a_fork_that_is_stopped_leaves_nothing,
    a_persist_that_is_stopped_leaves_storage_as_it_was,
    a_payload_that_is_stopped_is_as_it_was,
    waiting_for_the_books_can_be_given_up,
];

/// Lets something run into what never ends, and drops it there.
async fn stop<T>(work: impl Future<Output = T>) {
    let stopped = tokio::time::timeout(Duration::from_millis(500), work).await;
    assert!(stopped.is_err(), "it came to an end");
}

async fn a_fork_that_is_stopped_leaves_nothing() {
    let world = World::new();
    let (ann, ben) = (world.user("ann"), world.user("ben"));
    let reference = ann
        .publish("x", &pod_archive(&recipe("x")), &recipe("x"))
        .await;
    for path in ["/x.zip", "/recipe.json"] {
        ben.dfs.be_honest();
        ben.dfs.on_read(path, &[Reading::Hangs(9)]);
        stop(ben.protocol.fork(&reference, &ben.desk, None)).await;
        assert!(ben.on_desk().is_empty());
    }
    // All is there but for the entry in the book.
    ben.dfs.be_honest();
    ben.dfs.on_write("/ForkedPods.json", &[Writing::Hangs(9)]);
    stop(ben.protocol.fork(&reference, &ben.desk, None)).await;
    assert!(ben.on_desk().is_empty());
    ben.dfs.be_honest();
    ben.protocol
        .fork(&reference, &ben.desk, None)
        .await
        .unwrap();

    ben.dfs.on_read("/x.zip", &[Reading::Hangs(9)]);
    stop(ben.protocol.compare(&reference, &ben.desk.join("x"))).await;
    assert_eq!(ben.on_desk(), ["x"]);
}

async fn a_persist_that_is_stopped_leaves_storage_as_it_was() {
    let user = World::new().user("ann");
    let pod = user.make_pod("render", |recipe| recipe["public"] = json!(true));
    user.protocol
        .persist(&pod, Contents::default())
        .await
        .unwrap();
    let before = user.storage().await;
    write(&pod, "payload/more", &vec![7; 9 << 20]);
    let (desk, files) = (user.on_desk(), tree(&pod));
    user.dfs.on_write("/render.zip", &[Writing::Hangs(1000)]);
    stop(user.protocol.persist(&pod, Contents::default())).await;
    assert_eq!(user.storage().await, before);
    assert_eq!((user.on_desk(), tree(&pod)), (desk, files));
    // Nothing is held any more.
    user.dfs.be_honest();
    user.protocol
        .persist(&pod, Contents::default())
        .await
        .unwrap();
}

async fn a_payload_that_is_stopped_is_as_it_was() {
    let world = World::new();
    let user = world.user("ann");
    user.put("data", "/a.zip", &zip(&[("a", b"a")])).await;
    user.put("data", "/b.zip", &zip(&[("b", b"b")])).await;
    let by = user.share("data").await;
    let pod = user.make_pod("render", |_| ());
    write(&pod, "payload/external/earlier", b"x");
    user.dfs.on_read("/b.zip", &[Reading::Hangs(9)]);
    let archives = ["/a.zip", "/b.zip"].map(|data| ExternalPayload {
        reference: by.to_string(),
        data: data.into(),
    });
    let sources = Sources {
        archives: &archives,
        ..Sources::default()
    };
    let tree = Arc::new(Tree::open(&pod).unwrap());
    stop(user.protocol.gather(&tree, sources)).await;
    assert_eq!(names_in(&pod.join("payload/external")), ["earlier"]);
    assert!(!pod.join(".sovr-partial").exists());
    assert!(!pod.join("sovr.lock").exists());
}

async fn waiting_for_the_books_can_be_given_up() {
    let world = World::new();
    let user = world.user("ann");
    let pod = user.make_pod("render", |_| ());
    user.protocol
        .persist(&pod, Contents::default())
        .await
        .unwrap();
    let lock = user.desk.with_file_name("ann-lock");
    let held = File::options().append(true).open(&lock).unwrap();
    held.lock().unwrap();
    stop(user.protocol.rebuild()).await;
    drop(held);
    user.protocol.rebuild().await.unwrap();
}
