//! The journey that the Sovr Protocol documents, on each kind of storage: one user persists and shares, another forks,
//! runs and shares the output, a third works on that output, in a pod and in a task. And what else users do with the
//! pods that they have in storage.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use sovr_dfs::Place;
use sovr_e2e::{
    Ended, Pod, Storage, User, block_on, each, exit, on_each_storage, paths, tests, tree,
};
use tokio::io::AsyncReadExt as _;

fn main() -> ExitCode {
    let trials = on_each_storage(&tests![
        a_pod_goes_from_one_user_to_the_next_and_its_output_on_to_a_third,
        a_task_renders_and_lays_out_and_is_not_paid_for_twice,
        what_is_persisted_is_listed_and_imported_and_deleted,
        a_lost_registry_is_made_anew,
        whoever_has_a_reference_forks_and_has_said_nothing_of_themselves,
        a_script_works_on_the_storage_pods_that_it_was_given_and_no_others,
    ]);
    each::run(trials)
}

/// Three small frames: the same road in less time.
const EXEC: &str = "script/render.wasm --frames 0..30:10 --width 96 --height 72 --samples 4";

/// The render pod, made quick.
fn render() -> Pod {
    let pod = Pod::from_template("render");
    pod.edit_recipe(|recipe| recipe["golem"]["exec"] = json!(EXEC));
    pod
}

fn edit(directory: &Path, edit: impl FnOnce(&mut Value)) {
    let path = directory.join("recipe.json");
    let mut recipe: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut recipe);
    fs::write(&path, recipe.to_string()).unwrap();
}

fn run(user: &User, directory: &Path) -> Ended {
    let path = directory.to_str().unwrap();
    user.run(["run", path, "--yes", "--json"]).expect(exit::OK)
}

fn a_pod_goes_from_one_user_to_the_next_and_its_output_on_to_a_third(storage: &Storage) {
    let (alice, bob, carol) = (
        storage.user("alice"),
        storage.user("bob"),
        storage.user("carol"),
    );

    // Alice persists and shares.
    let original = render();
    let reference = alice.persist(&original.path());

    // Bob forks by reference, looks, runs.
    let forked = bob.document(&["fork", &reference]);
    let fork = bob.path("render");
    assert_eq!(
        Path::new(forked["directory"].as_str().unwrap()),
        fork.canonicalize().unwrap()
    );
    for name in [
        "script/render.wasm",
        "payload/scene.json",
        "payload/renderer.zip",
        "recipe.json",
    ] {
        assert_eq!(
            fs::read(fork.join(name)).unwrap(),
            fs::read(original.join(name)).unwrap(),
            "{name}"
        );
    }
    let inspected = bob.document(&["inspect", "render"]);
    assert_eq!(inspected["name"], "render");
    run(&bob, &fork);
    let sheet = fs::read(fork.join("output/contact-sheet.png")).unwrap();

    // He persists it as a pod of his own, and shares what it made.
    edit(&fork, |recipe| {
        recipe["name"] = json!("render-of-bob");
        recipe["golem"]["output"] = json!({ "share": "output" });
    });
    let persisted = bob.document(&["persist", "render"]);
    let output = &persisted["output"];
    assert_eq!(output["pod"], "output-render-of-bob", "{persisted:#}");
    let payload = json!([{ "ref": output["reference"], "data": output["data"] }]);

    // Carol lays his frames out on a sheet of her own: in a pod...
    let contact_sheet = Pod::from_template("contact-sheet");
    contact_sheet.edit_recipe(|recipe| recipe["golem"]["payload"] = payload.clone());
    let ended = run(&carol, &contact_sheet.path());
    assert_eq!(
        ended.script_output(),
        "3 pictures on output/contact-sheet.png\n"
    );
    assert_eq!(
        fs::read(contact_sheet.join("output/contact-sheet.png")).unwrap(),
        sheet
    );
    let lock: Value =
        serde_json::from_slice(&fs::read(contact_sheet.join("sovr.lock")).unwrap()).unwrap();
    let pinned =
        &lock["references"][output["reference"].as_str().unwrap()]["/output-render-of-bob.zip"];
    assert_eq!(pinned["size"], output["size"], "{lock:#}");

    // ... and in a task, whose payload his frames are.
    let plain = Pod::from_template("contact-sheet");
    let of_carol = carol.persist(&plain.path());
    let task = carol.task("sheets", &[of_carol], json!({ "payload": payload }));
    let ended = run(&carol, &task);
    let report = &ended.event("task-finished").json["report"];
    let output = report["output"].as_str().unwrap();
    assert_eq!(
        fs::read(Path::new(output).join("contact-sheet.png")).unwrap(),
        sheet
    );
    ended.expect_no_process_left();
}

fn a_task_renders_and_lays_out_and_is_not_paid_for_twice(storage: &Storage) {
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let pods = [
        alice.persist(&render().path()),
        alice.persist(&Pod::from_template("contact-sheet").path()),
    ];
    let task = bob.task("film", &pods, json!({}));
    let ended = run(&bob, &task);
    assert_eq!(
        fs::read(task.join("contact-sheet/output/contact-sheet.png")).unwrap(),
        fs::read(task.join("render/output/contact-sheet.png")).unwrap()
    );
    let cost = ended.event("finished").json["cost"]
        .as_str()
        .unwrap()
        .parse::<f64>()
        .unwrap();
    assert!(cost > 0.0);

    let again = run(&bob, &task);
    let outcomes: Vec<_> = again
        .events_of("step-ended")
        .iter()
        .map(|event| event.text("outcome").to_owned())
        .collect();
    assert_eq!(outcomes, ["unchanged", "unchanged"], "{again}");
    assert!(again.events_of("finished").is_empty(), "nothing ran");
}

/// Names in a list of pods.
fn names(pods: &Value) -> Vec<&str> {
    let pods = pods.as_array().unwrap().iter();
    pods.map(|pod| pod["pod"].as_str().unwrap()).collect()
}

fn what_is_persisted_is_listed_and_imported_and_deleted(storage: &Storage) {
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let original = render();
    let reference = alice.persist(&original.path());
    alice.persist(&Pod::from_template("contact-sheet").path());
    bob.document(&["fork", &reference]);

    let listed = alice.document(&["list"]);
    assert_eq!(names(&listed["own"]), ["contact-sheet", "render"]);
    assert_eq!(listed["own"][1]["references"], json!([reference]));
    let listed = bob.document(&["list"]);
    assert_eq!(names(&listed["own"]), [""; 0]);
    assert_eq!(names(&listed["forked"]), ["render"]);
    assert_eq!(listed["forked"][0]["reference"], reference);

    // The owner by name, and who forked it by the same name.
    for user in [&alice, &bob] {
        user.document(&["import", "render", "--into", "again"]);
        let imported = tree(&user.path("again"));
        let of_original = tree(&original.path());
        for (path, content) in &of_original {
            let same = imported.iter().any(|(p, c)| p == path && c == content);
            assert!(same, "{}", path.display());
        }
    }

    // Persisted again it has the same reference, which shows the new content.
    original.edit_recipe(|recipe| recipe["description"] = json!("another"));
    assert_eq!(alice.persist(&original.path()), reference);
    bob.document(&["fork", &reference, "--into", "changed"]);
    let changed: Value =
        serde_json::from_slice(&fs::read(bob.path("changed/recipe.json")).unwrap()).unwrap();
    assert_eq!(changed["description"], "another");

    let deleted = alice.document(&["delete", "render", "--yes"]);
    assert_eq!(deleted["pods"], json!(["render"]));
    assert_eq!(names(&alice.document(&["list"])["own"]), ["contact-sheet"]);
    let ended = bob
        .run(["fork", &reference, "--into", "late"])
        .expect(exit::UNAVAILABLE);
    assert!(ended.stderr.contains(&reference), "{ended}");
    assert!(!bob.path("late").exists());
}

fn a_lost_registry_is_made_anew(storage: &Storage) {
    let alice = storage.user("alice");
    let reference = alice.persist(&render().path());
    alice.persist(&Pod::from_template("contact-sheet").path());
    let listed = alice.document(&["list"]);
    let registry = "ComputePodRegistry".parse().unwrap();
    block_on(storage.open(&alice).delete_pod(&registry)).unwrap();
    assert_eq!(alice.document(&["list"])["own"], json!([]));
    let rebuilt = alice.document(&["registry", "rebuild"]);
    assert_eq!(names(&rebuilt["found"]), ["contact-sheet", "render"]);
    assert_eq!(rebuilt["skipped"], json!([]));
    assert_eq!(alice.document(&["list"]), listed);
    // Also for others nothing has changed.
    storage.user("bob").document(&["fork", &reference]);
}

fn whoever_has_a_reference_forks_and_has_said_nothing_of_themselves(storage: &Storage) {
    let original = Pod::from_template("contact-sheet");
    let reference = storage.user("alice").persist(&original.path());
    let stranger = storage.stranger();
    stranger.document(&["fork", &reference]);
    assert_eq!(
        fs::read(stranger.path("contact-sheet/script/contact-sheet.wasm")).unwrap(),
        fs::read(original.join("script/contact-sheet.wasm")).unwrap()
    );
}

fn a_script_works_on_the_storage_pods_that_it_was_given_and_no_others(storage: &Storage) {
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let of_bob = bob.persist(&Pod::from_template("contact-sheet").path());
    // Nobody shares unless they have said that pods may.
    fs::write(
        alice.home.path().join("policy.toml"),
        "[dfs]\nshare = true\n",
    )
    .unwrap();
    let closed = "closed".parse().unwrap();
    block_on(storage.open(&alice).create_pod(&closed)).unwrap();
    let component = fs::read(paths::guest("storage_errands")).unwrap();
    let capabilities = json!({ "dfs": { "write": ["results"], "share": true } });
    let pod = Pod::from_component("errands", &component, capabilities);
    fs::write(pod.join("payload/large"), vec![7; 3_000_000]).unwrap();
    let script = |words: &str| {
        pod.edit_recipe(|recipe| {
            recipe["golem"]["exec"] = json!(format!("script/script.wasm {words}"));
        });
        let ended = run(&alice, &pod.path());
        let output = ended.script_output();
        let lines = output.lines().map(str::to_owned);
        lines.collect::<Vec<_>>()
    };

    let told = script(
        "pods make results directory results /a write results /a/b text write results /a/b changed read results /a/b \
         list results / list results /a store payload/large results /large fetch results /large output/large \
         remove results /a/b list results /a pods",
    );
    assert_eq!(
        told,
        [
            "pods: ",
            "make: done",
            "directory: done",
            "write: done",
            "write: done",
            "read: changed",
            "list: a/",
            "list: b=7",
            "store: 3000000",
            "fetch: 3000000",
            "remove: done",
            "list: ",
            "pods: results",
        ]
    );
    assert_eq!(
        fs::read(pod.join("output/large")).unwrap(),
        vec![7; 3_000_000]
    );

    // What others shared can be received and read, and what is one's own be shared.
    let told = script(&format!(
        "receive {of_bob} list received / write received /a text share results"
    ));
    assert_eq!(told[0], "receive: ");
    assert!(told[1].contains("contact-sheet.zip="), "{told:?}");
    assert!(told[2].starts_with("write: held: "), "{told:?}");
    let shared = told[3].strip_prefix("share: ").unwrap();
    let place = Place::Shared(shared.parse().unwrap());
    let read = async {
        let dfs = storage.open(&bob);
        let mut file = dfs.read(&place, &"/large".parse().unwrap()).await.unwrap();
        let mut content = Vec::new();
        file.content.read_to_end(&mut content).await.unwrap();
        content
    };
    assert_eq!(block_on(read), vec![7; 3_000_000]);

    // A pod that nobody named stays closed, to every instruction.
    let told = script(
        "make other list closed / write closed /a text read ComputePodRegistry /Registry.json share closed \
         store payload/large closed /large remove closed /a",
    );
    assert!(
        told.iter().all(|line| line.contains(": held: ")) && told.len() == 7,
        "{told:?}"
    );
    assert_eq!(
        block_on(
            storage
                .open(&alice)
                .list(&(&closed).into(), &"/".parse().unwrap())
        )
        .unwrap(),
        []
    );
}
