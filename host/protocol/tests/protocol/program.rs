//! The program itself as a pod.

use serde_json::json;
use sovr_protocol::Companion;

use crate::hostile::Writing;
use crate::world::{World, assert_says, names_of, unzip, write};

crate::tests![
    s18_the_program_goes_with_exactly_the_files_it_is_given,
    a_program_that_is_not_there_stores_nothing,
];

const COMPANIONS: [Companion; 3] = [
    Companion {
        path: "README.md",
        content: b"read me",
    },
    Companion {
        path: "templates/hello/recipe.json",
        content: b"{}",
    },
    Companion {
        path: "templates/hello/output/keep",
        content: b"",
    },
];

async fn s18_the_program_goes_with_exactly_the_files_it_is_given() {
    let user = World::new().user("ann");
    // What lies about the program is not looked at.
    write(&user.desk, "bin/sovr-host-1", b"\x7fELF");
    write(&user.desk, "bin/creds.json", b"{\"password\":\"secret\"}");
    write(&user.desk, "bin/other", b"other");
    let program = user.desk.join("bin/sovr-host-1");
    let before = user.on_desk();
    let persist = || {
        user.protocol
            .persist_program(&program, "1.2.3", &COMPANIONS)
    };
    let persisted = persist().await.unwrap();
    assert!(persisted.left_out.is_empty(), "{:?}", persisted.left_out);
    let members = unzip(&user.get("Sovr", "/Sovr.zip").await.unwrap());
    let files: Vec<&str> = names_of(&members)
        .into_iter()
        .filter(|name| !name.ends_with('/'))
        .collect();
    assert_eq!(
        files,
        [
            "README.md",
            "recipe.json",
            "sovr-host",
            "templates/hello/output/keep",
            "templates/hello/recipe.json"
        ]
    );
    assert_eq!(members["sovr-host"], b"\x7fELF");
    let recipe = user.json("Sovr", "/recipe.json").await;
    assert_eq!(recipe["version"], json!("1.2.3"));
    let reference = persisted.reference.unwrap();
    let shared = user.json("SharedPods", "/SharedPods.json").await;
    assert_eq!(shared["Sovr"][0]["sharing_reference"], json!(reference));
    assert_eq!(persist().await.unwrap().sha256, persisted.sha256);
    assert_eq!(user.on_desk(), before);

    // A registry that is made anew has it too.
    user.protocol.rebuild().await.unwrap();
    let registry = user.json("ComputePodRegistry", "/Registry.json").await;
    assert_eq!(registry, json!({ "Sovr": recipe }));
}

async fn a_program_that_is_not_there_stores_nothing() {
    let user = World::new().user("ann");
    let program = user.desk.join("gone");
    let persisted = user
        .protocol
        .persist_program(&program, "1", &COMPANIONS)
        .await;
    assert_says(persisted, &["copy the program"]);
    write(&user.desk, "gone", b"\x7fELF");
    user.dfs.on_write("/Sovr.zip", &[Writing::Fails(0)]);
    let persisted = user
        .protocol
        .persist_program(&program, "1", &COMPANIONS)
        .await;
    assert_says(persisted, &["the line is dead"]);
    assert!(user.storage().await.is_empty());
}
