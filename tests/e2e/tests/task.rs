//! Tasks: the order of inputs, what is handed on, what stops, what goes on again, and pods that want to reach further
//! than the next one's payload.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use sovr_e2e::{Ended, Pod, Running, Storage, User, exit, paths};

/// A pod that carries out instructions, shared by a user.
fn pod(user: &User, name: &str, instructions: &str) -> String {
    shared(user, name, instructions, |_| {})
}

fn shared(user: &User, name: &str, instructions: &str, edit: impl FnOnce(&mut Value)) -> String {
    user.persist(&built(name, instructions, edit).path())
}

fn built(name: &str, instructions: &str, edit: impl FnOnce(&mut Value)) -> Pod {
    let component = fs::read(paths::guest("task_pod")).unwrap();
    let pod = Pod::from_component(name, &component, json!({}));
    pod.edit_recipe(|recipe| {
        recipe["public"] = json!(true);
        recipe["golem"]["exec"] = json!(format!("script/script.wasm {instructions}"));
        edit(recipe);
    });
    pod
}

/// Files that another pod of a user holds as an archive, as an entry of a payload.
fn payload(user: &User, name: &str, files: &[(&str, &str)]) -> Value {
    let pod = built(name, "", |recipe| {
        recipe["golem"]["output"] = json!({ "share": "output" })
    });
    for (path, text) in files {
        let path = pod.join("output").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    user.share_output(&pod)
}

fn run(user: &User, task: &Path, options: &[&str]) -> Ended {
    let words = ["run", task.to_str().unwrap(), "--yes", "--json"];
    user.run(words.iter().chain(options))
}

/// What the script of a pod printed, by its number.
fn printed(ended: &Ended, step: usize) -> String {
    let outputs = ended.events_of("output");
    let of_step = outputs
        .iter()
        .filter(|event| event.json["step"] == step && event.text("stream") == "stdout");
    of_step.map(|event| event.text("text")).collect()
}

fn outcomes(ended: &Ended) -> Vec<String> {
    let report = &ended.event("task-finished").json["report"];
    let steps = report["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| step[1]["outcome"].as_str().unwrap().to_owned())
        .collect()
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_pod_gets_its_own_archives_then_the_tasks_payload_then_the_previous_output() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let own = payload(
        &alice,
        "own",
        &[("own", "1"), ("contested", "own"), ("taken", "own")],
    );
    let of_task = payload(
        &alice,
        "shared",
        &[
            ("shared", "2"),
            ("contested", "shared"),
            ("taken", "shared"),
        ],
    );
    let pods = [
        pod(
            &alice,
            "first",
            "write output/previous 3 write output/contested previous",
        ),
        shared(&alice, "second", "list", |recipe| {
            recipe["golem"]["payload"] = json!([own])
        }),
    ];
    let task = bob.task("order", &pods, json!({ "payload": [of_task] }));
    for _ in 0..2 {
        let ended = run(&bob, &task, &["--afresh"]).expect(exit::OK);
        assert_eq!(
            printed(&ended, 2),
            "payload/external/contested: previous\n\
             payload/external/own: 1\n\
             payload/external/previous: 3\n\
             payload/external/shared: 2\n\
             payload/external/taken: shared\n"
        );
        let supplied = ended.events_of("supplied");
        let collisions = &supplied
            .iter()
            .find(|event| event.json["step"] == 2)
            .unwrap()
            .json["collisions"];
        let told: Vec<_> = collisions
            .as_array()
            .unwrap()
            .iter()
            .map(|c| (c["path"].as_str().unwrap(), c["by"].as_str().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                ("contested", "the task's payload"),
                ("taken", "the task's payload"),
                ("contested", "the output of first")
            ]
        );
    }
}

#[test]
fn outputs_of_every_pod_are_kept_and_pods_of_one_name_have_a_place_each() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let twin = storage.user("twin");
    let pods = [
        pod(&alice, "same", "write output/a 1"),
        pod(&twin, "same", "list write output/b 2"),
    ];
    let task = bob.task("twins", &pods, json!({}));
    let ended = run(&bob, &task, &[]).expect(exit::OK);
    assert_eq!(printed(&ended, 2), "payload/external/a: 1\n");
    assert_eq!(read(task.join("same/output/a")), "1");
    assert_eq!(read(task.join("same-2/output/b")), "2");
}

#[test]
fn a_failing_pod_stops_the_task_and_its_output_is_not_handed_on() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let pods = [
        pod(&alice, "good", "write output/good 1"),
        pod(&alice, "bad", "write output/half 1 fail"),
        pod(&alice, "last", "list"),
    ];
    let task = bob.task("fails", &pods, json!({}));
    let ended = run(&bob, &task, &[]).expect(exit::POD_FAILED);
    assert_eq!(outcomes(&ended), ["ran", "ran", "not-run"]);

    let ended = run(&bob, &task, &["--keep-going"]).expect(exit::POD_FAILED);
    assert_eq!(outcomes(&ended), ["unchanged", "ran", "ran"]);
    assert_eq!(printed(&ended, 3), "payload/external/good: 1\n");
}

#[test]
fn a_task_goes_on_after_the_last_pod_whose_inputs_have_not_changed() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let pods = [
        pod(&alice, "one", "write output/one 1"),
        pod(&alice, "two", "list write output/two 2"),
        pod(&alice, "three", "list write output/three 3"),
    ];
    let task = bob.task("resumes", &pods, json!({}));
    let ended = run(&bob, &task, &[]).expect(exit::OK);
    assert_eq!(outcomes(&ended), ["ran", "ran", "ran"]);
    assert_eq!(
        outcomes(&run(&bob, &task, &[])),
        ["unchanged", "unchanged", "unchanged"]
    );

    // Somebody changed a result: the pod that made it runs again, and what comes after has the same inputs as before.
    fs::write(task.join("two/output/two"), "changed").unwrap();
    let ended = run(&bob, &task, &[]).expect(exit::OK);
    assert_eq!(outcomes(&ended), ["unchanged", "ran", "unchanged"]);
    assert_eq!(read(task.join("two/output/two")), "2");

    // Other arguments in the recipe of a pod.
    let recipe = task.join("one/recipe.json");
    fs::write(&recipe, read(recipe.clone()).replace("one 1", "one other")).unwrap();
    let ended = run(&bob, &task, &[]).expect(exit::OK);
    assert_eq!(outcomes(&ended), ["ran", "ran", "unchanged"]);
    assert_eq!(
        outcomes(&run(&bob, &task, &["--afresh"])),
        ["ran", "ran", "ran"]
    );
}

#[test]
fn pods_that_do_not_need_each_other_run_at_the_same_time() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let of_task = payload(&alice, "inputs", &[("question", "?")]);
    let names = ["model-a", "model-b", "model-c"];
    let pods = names.map(|name| pod(&alice, name, &format!("list write output/{name} done")));
    let by_recipe = bob.task(
        "models",
        &pods,
        json!({ "payload": [of_task], "mode": "parallel" }),
    );
    let by_flag = bob.task("models-too", &pods, json!({ "payload": [of_task] }));
    for (task, options) in [(&by_recipe, &[][..]), (&by_flag, &["--parallel"])] {
        let ended = run(&bob, task, options).expect(exit::OK);
        for step in 1..=3 {
            assert_eq!(printed(&ended, step), "payload/external/question: ?\n");
        }
        // All turns begin before the first is over.
        let turns: Vec<_> = ended
            .events()
            .iter()
            .map(|event| event.text("event").to_owned())
            .filter(|event| event.starts_with("step-"))
            .collect();
        assert_eq!(
            turns[..3],
            ["step-begun", "step-begun", "step-begun"],
            "{turns:?}"
        );
        ended.expect_no_process_left();
    }
}

#[test]
fn bait_and_switch_of_a_tasks_pod_is_refused_with_both_digests_until_the_user_updates() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let bait = built("bait", "write output/a honest", |_| {});
    let pods = [alice.persist(&bait.path())];
    let task = bob.task("trusting", &pods, json!({}));
    run(&bob, &task, &[]).expect(exit::OK);
    let lock = read(task.join("sovr.lock"));

    bait.edit_recipe(|recipe| {
        recipe["golem"]["exec"] = json!("script/script.wasm write output/a evil")
    });
    assert_eq!(
        alice.persist(&bait.path()),
        pods[0],
        "the reference is the same"
    );

    // What was fetched then is what runs now.
    run(&bob, &task, &["--afresh"]).expect(exit::OK);
    assert_eq!(read(task.join("bait/output/a")), "honest");

    // On another machine, which has the lock file and not the pod.
    let elsewhere = bob.task("elsewhere", &pods, json!({}));
    fs::write(elsewhere.join("sovr.lock"), &lock).unwrap();
    let ended = run(&bob, &elsewhere, &[]).expect(exit::DENIED);
    let pinned: Value = serde_json::from_str(&lock).unwrap();
    let pinned = pinned["references"][&pods[0]]["/bait.zip"]["sha256"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(ended.stderr.contains(&pinned), "{ended}");
    assert!(ended.stderr.contains("lock --update"), "{ended}");
    assert!(!elsewhere.join("bait").exists());
    assert_eq!(read(elsewhere.join("sovr.lock")), lock);
    bob.run(["lock", elsewhere.to_str().unwrap()])
        .expect(exit::DENIED);

    // The user wants the new one. The old one is kept with its results.
    bob.run(["lock", "--update", task.to_str().unwrap()])
        .expect(exit::OK);
    run(&bob, &task, &[]).expect(exit::OK);
    assert_eq!(read(task.join("bait/output/a")), "evil");
    let aside = task.join(format!("bait-{}", &pinned[..12]));
    assert_eq!(read(aside.join("output/a")), "honest");
}

#[test]
fn bait_and_switch_of_a_payload_is_refused_and_what_is_there_stays() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let source = built("source", "", |recipe| {
        recipe["golem"]["output"] = json!({ "share": "output" })
    });
    fs::create_dir(source.join("output")).unwrap();
    fs::write(source.join("output/data"), "honest").unwrap();
    let entry = alice.share_output(&source);
    let reader = built("reader", "list", |recipe| {
        recipe["golem"]["payload"] = json!([entry])
    });
    let path = reader.path();
    let run = |options: &[&str]| run(&bob, &path, options);
    let ended = run(&[]).expect(exit::OK);
    assert_eq!(ended.script_output(), "payload/external/data: honest\n");

    fs::write(source.join("output/data"), "evil").unwrap();
    assert_eq!(
        alice.share_output(&source),
        entry,
        "the reference is the same"
    );
    let ended = run(&[]).expect(exit::DENIED);
    assert!(ended.stderr.contains("is not what it was"), "{ended}");
    assert!(ended.script_output().is_empty(), "nothing ran\n{ended}");
    assert_eq!(read(reader.join("payload/external/data")), "honest");

    bob.run(["lock", "--update", path.to_str().unwrap()])
        .expect(exit::OK);
    let ended = run(&[]).expect(exit::OK);
    assert_eq!(ended.script_output(), "payload/external/data: evil\n");
}

#[test]
fn a_pod_does_not_replace_the_package_that_the_next_one_submits() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let own = payload(&alice, "tools", &[("tool.zip", "honest")]);
    let pods = [
        pod(&alice, "poisoner", "write output/tool.zip evil"),
        shared(&alice, "victim", "list", |recipe| {
            recipe["golem"]["payload"] = json!([own]);
            recipe["capabilities"] = json!({ "golem": {
                "budget": "1", "packages": { "tool": [ { "wasi": "payload/external/tool.zip" } ] }
            } });
        }),
    ];
    let task = bob.task("poisoned", &pods, json!({}));
    let ended = run(&bob, &task, &[]).expect(exit::INVALID_POD);
    assert_eq!(outcomes(&ended), ["ran", "refused"]);
    let report = &ended.event("task-finished").json["report"];
    let why = report["steps"][1][1]["why"].as_str().unwrap();
    assert!(why.contains("tool.zip") && why.contains("package"), "{why}");
}

#[test]
fn a_pod_sees_neither_its_siblings_nor_the_task() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let paths = [
        "../recipe.json",
        "../sovr.lock",
        "../second/recipe.json",
        "recipe.json",
        "sovr.lock",
        "/recipe.json",
    ];
    let instructions: Vec<String> = paths.iter().map(|path| format!("show {path}")).collect();
    let pods = [
        pod(&alice, "first", &instructions.join(" ")),
        pod(&alice, "second", ""),
    ];
    let task = bob.task("family", &pods, json!({}));
    let ended = run(&bob, &task, &[]).expect(exit::OK);
    let printed = printed(&ended, 1);
    assert_eq!(printed.lines().count(), paths.len(), "{printed}");
    assert!(!printed.contains('{'), "{printed}");
}

#[test]
fn ctrl_c_stops_the_task_and_the_next_run_goes_on_there() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let component = fs::read(paths::guest("endless_sleep")).unwrap();
    let sleeper = Pod::from_component("sleeper", &component, json!({}));
    sleeper.edit_recipe(|recipe| recipe["public"] = json!(true));
    let pods = [
        pod(&alice, "first", "write output/a 1"),
        alice.persist(&sleeper.path()),
        pod(&alice, "third", "list"),
    ];
    let task = bob.task("stopped", &pods, json!({}));
    let command = bob
        .home
        .command(["run", task.to_str().unwrap(), "--yes", "--json"]);
    let mut running = Running::start(command);
    running
        .wait_for(|event| event["event"] == "started" && event["step"] == 2)
        .expect("the second pod begins");
    running.signal(Signal::INT);
    let ended = running.wait().expect(exit::INTERRUPTED);
    assert_eq!(outcomes(&ended), ["ran", "ran", "not-run"]);
    ended.expect_no_process_left();

    let command = bob
        .home
        .command(["run", task.to_str().unwrap(), "--yes", "--json"]);
    let mut running = Running::start(command);
    running
        .wait_for(|event| event["event"] == "started" && event["step"] == 2)
        .expect("the second pod begins");
    running.signal(Signal::INT);
    assert_eq!(outcomes(&running.wait()), ["unchanged", "ran", "not-run"]);
}

#[test]
fn nobody_is_asked_in_the_middle_and_nothing_runs_before_all_are_agreed_to() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let pods = [
        pod(&alice, "first", "write output/a 1"),
        shared(&alice, "second", "list", |recipe| {
            recipe["capabilities"] = json!({ "env": ["LANG"] })
        }),
    ];
    let task = bob.task("asked", &pods, json!({}));
    let path = task.to_str().unwrap();
    let ended = bob.run(["run", path, "--json"]).expect(exit::DENIED);
    assert!(ended.events_of("started").is_empty(), "{ended}");
    let requests: Vec<String> = ["first", "second"]
        .map(|pod| {
            bob.document(&["inspect", task.join(pod).to_str().unwrap()])["request"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .to_vec();
    // Agreed to one of them alone.
    bob.run(["run", path, "--json", "--allow", &requests[0]])
        .expect(exit::DENIED);
    let ended = bob.run([
        "run",
        path,
        "--json",
        "--allow",
        &requests[0],
        "--allow",
        &requests[1],
    ]);
    assert_eq!(outcomes(&ended.expect(exit::OK)), ["ran", "ran"]);
}

#[test]
fn a_task_in_the_original_spelling_runs() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let task = bob.task("old", &[pod(&alice, "only", "write output/a 1")], json!({}));
    let recipe = task.join("recipe.json");
    let recipe = recipe.to_str().unwrap();
    for words in [
        ["--task", recipe, "--yes", "--json"].as_slice(),
        &["--recipe", recipe, "--run", "--yes", "--json"],
    ] {
        let ended = bob.run(words.iter().chain(&["--afresh"])).expect(exit::OK);
        assert_eq!(outcomes(&ended), ["ran"]);
    }
}

#[test]
fn a_link_that_a_pod_leaves_in_its_output_is_not_followed_when_it_is_persisted() {
    let storage = Storage::new();
    let alice = storage.user("alice");
    let secret = alice.path("secret");
    fs::write(&secret, "the user's own").unwrap();
    let target = format!("../../../../../../../../../../..{}", secret.display());
    let pod = built(
        "linker",
        &format!("write output/a 1 link {target} stolen"),
        |recipe| {
            recipe["golem"]["output"] = json!({ "share": "output" });
        },
    );
    run(&alice, &pod.path(), &[]).expect(exit::OK);
    let link = pod.join("output/stolen");
    if link.symlink_metadata().is_err() {
        // The host did not let it; then somebody else put it there.
        std::os::unix::fs::symlink(&secret, &link).unwrap();
    }
    for options in [&[][..], &["--with-output"]] {
        let path = pod.path();
        let words = ["persist", path.to_str().unwrap()];
        let ended = alice
            .run(words.iter().chain(options))
            .expect(exit::INVALID_POD);
        assert!(
            ended.stderr.contains("stolen") && ended.stderr.contains("symbolic link"),
            "{ended}"
        );
    }
    assert_eq!(
        alice.document(&["list"])["own"],
        json!([]),
        "nothing was stored"
    );
}

#[test]
fn a_task_within_a_task_is_refused_before_anything_runs() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let first = pod(&alice, "first", "write output/a 1");
    let inner = alice.persist(&alice.task(
        "inner",
        std::slice::from_ref(&first),
        json!({ "public": true }),
    ));
    let task = bob.task("outer", &[first, inner], json!({}));
    let ended = run(&bob, &task, &[]).expect(exit::INVALID_POD);
    assert!(ended.stderr.contains("pod 2 of the task, inner"), "{ended}");
    assert!(ended.events_of("started").is_empty(), "{ended}");
}
