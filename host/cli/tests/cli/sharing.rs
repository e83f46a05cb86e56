//! Pods between users: persist, fork, compare, import, list, lock, unshare, delete, rebuild.

use std::fs;

use serde_json::json;

use crate::place::{Place, User, change_recipe};

fn render(user: User<'_>) -> String {
    user.pod("render", |_| ());
    user.shares("render")
}

/// What a command that is refused says, with its code.
#[track_caller]
fn refused(user: User<'_>, words: &[&str], code: i32, says: &[&str]) {
    let given = user.run(words);
    assert_eq!(
        (given.code, given.stdout.as_str()),
        (Some(code), ""),
        "{words:?}\n{given}"
    );
    for words in says {
        assert!(given.stderr.contains(words), "{words}\n{given}");
    }
}

#[test]
fn a_reference_is_all_that_persist_writes_to_standard_output() {
    let place = Place::new();
    let alice = place.user("alice");
    alice.pod("render", |_| ());
    fs::write(alice.path("render/.env"), "SECRET=1").unwrap();
    let given = alice.does(&["persist", "render"]);
    assert_eq!(given.stdout.len(), 65, "{given}");
    assert!(
        given
            .stdout
            .trim_end()
            .bytes()
            .all(|b| b.is_ascii_hexdigit()),
        "{given}"
    );
    assert!(
        given.stderr.contains(".env: it may hold secrets"),
        "{given}"
    );
    let quiet = alice.does(&["persist", "render", "-q"]);
    assert_eq!(
        (quiet.stdout.as_str(), quiet.stderr.as_str()),
        (given.stdout.as_str(), "")
    );

    // The directory itself, its recipe, and the current directory are the same pod.
    let report = alice
        .does(&["persist", "render/recipe.json", "--json"])
        .json();
    assert_eq!(report["reference"], given.stdout.trim_end());
    assert!(
        given.stderr.contains(report["sha256"].as_str().unwrap()),
        "{given}"
    );
    assert_eq!(report["left-out"][0]["path"], ".env");
    let mut here = alice.command(&["persist"]);
    let here = here.current_dir(alice.path("render")).output().unwrap();
    assert_eq!(String::from_utf8(here.stdout).unwrap(), given.stdout);
}

#[test]
fn a_private_pod_has_no_reference() {
    let place = Place::new();
    let alice = place.user("alice");
    alice.pod("hello-world", |recipe| recipe["public"] = false.into());
    let given = alice.does(&["persist", "hello-world"]);
    assert_eq!(given.stdout, "", "{given}");
    assert!(given.stderr.contains("Not shared"), "{given}");
    assert!(alice.does(&["persist", "hello-world", "--json"]).json()["reference"].is_null());
}

#[test]
fn a_pod_persisted_from_within_holds_no_copy_of_its_own_archive() {
    let place = Place::new();
    let alice = place.user("alice");
    let pod = alice.pod("hello-world", |_| {});
    let outside = alice.does(&["persist", "hello-world", "--json"]).json();
    let mut command = alice.command(&["persist", "--json"]);
    let within = command.current_dir(&pod).output().unwrap();
    let within: serde_json::Value = serde_json::from_slice(&within.stdout).unwrap();
    assert_eq!(within["sha256"], outside["sha256"]);
    assert!(!pod.join("HelloWorld.zip").exists());
}

#[test]
fn a_pod_that_is_private_now_is_told_to_be_readable_still() {
    let place = Place::new();
    let alice = place.user("alice");
    alice.pod("hello-world", |_| {});
    let reference = alice.does(&["persist", "hello-world"]).stdout;
    alice.pod("hello-world", |recipe| recipe["public"] = false.into());
    let given = alice.does(&["persist", "hello-world"]);
    assert!(
        given.stderr.contains(reference.trim_end()) && given.stderr.contains("unshare"),
        "{given}"
    );
    alice.does(&["unshare", "HelloWorld"]);
    let given = alice.does(&["persist", "hello-world"]);
    assert!(!given.stderr.contains("unshare"), "{given}");
}

#[test]
fn the_program_is_forked_by_its_reference_and_shown_as_what_it_is() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let reference = alice.does(&["persist-self"]).stdout;
    let given = bob.does(&["fork", reference.trim_end()]);
    assert!(given.stdout.contains("sovr-host"), "{given}");
    let program = fs::metadata(bob.path("Sovr/sovr-host")).unwrap();
    assert!(program.len() > 1_000_000);
    assert!(bob.path("Sovr/templates/pods/render/recipe.json").exists());
    // It cannot be persisted under that name by somebody else.
    refused(bob, &["persist", "Sovr"], 6, &["golem"]);
}

#[test]
fn shared_output_is_printed_as_others_name_it_in_their_recipes() {
    let place = Place::new();
    let alice = place.user("alice");
    alice.pod("render", |recipe| {
        recipe["golem"]["output"] = json!({ "share": "output/frames" })
    });
    let given = alice.does(&["persist", "render"]);
    assert!(
        given.stderr.contains("run it first") && given.stdout.lines().count() == 1,
        "{given}"
    );

    fs::create_dir_all(alice.path("render/output/frames")).unwrap();
    fs::write(alice.path("render/output/frames/1.png"), "picture").unwrap();
    let given = alice.does(&["persist", "render"]);
    let output = given.stdout.lines().nth(1).unwrap();
    for words in [
        format!("\"ref\": \"{output}\""),
        "\"data\": \"/output-render.zip\"".to_owned(),
    ] {
        assert!(given.stderr.contains(&words), "{words}\n{given}");
    }
    assert!(given.stderr.contains("output/: "), "{given}");

    // What was printed is what another pod uses, and what `lock` pins.
    let bob = place.user("bob");
    bob.does(&[
        "init",
        "--name",
        "user",
        "--payload",
        &format!("{output}:/output-render.zip"),
    ]);
    let pinned = bob.does(&["lock", "user"]);
    assert!(pinned.stdout.contains(output), "{pinned}");
    let listed = alice.does(&["list"]).stdout;
    assert!(
        listed.contains(&format!("  output  {output}\n")),
        "{listed}"
    );

    let with = alice
        .does(&["persist", "render", "--with-output", "--json"])
        .json();
    assert_eq!(with["left-out"], json!([]));
    assert_eq!(with["output"]["state"], "shared");
}

#[test]
fn a_fork_is_shown_in_the_words_of_inspect_and_pinned() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let reference = render(alice);
    let persisted = alice.does(&["persist", "render", "--json"]).json();
    let given = bob.does(&["fork", &format!(" {reference} ")]);
    let inspected = bob.does(&["inspect", "render"]).stdout;
    for line in inspected.lines().take_while(|line| *line != "It imports") {
        assert!(given.stdout.contains(line), "{line}\n{given}");
    }
    let digest = persisted["sha256"].as_str().unwrap();
    assert!(
        given.stdout.contains(digest) && given.stdout.contains(&reference),
        "{given}"
    );
    assert!(
        given.stderr.contains("next: sovr-host run ./render"),
        "{given}"
    );
    let lock = fs::read_to_string(bob.path("render/sovr.lock")).unwrap();
    assert!(lock.contains(digest), "{lock}");

    let report = bob
        .does(&["fork", &reference, "--into", "./again", "--json"])
        .json();
    assert_eq!(report["archive"]["sha256"], digest);
    assert_eq!(report["directory"], "[PLACE]/bob/again");
    assert_eq!(report["inspection"]["requested"]["golem"]["budget"], "10");
    assert!(report["obstacle"].is_null());
    assert_eq!(
        fs::read_dir(bob.path("")).unwrap().count(),
        3,
        "only what was forked, and the home"
    );
}

#[test]
fn a_fork_never_lands_on_what_is_there() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let reference = render(alice);
    fs::create_dir(bob.path("render")).unwrap();
    fs::write(bob.path("render/mine"), "precious").unwrap();
    refused(bob, &["fork", &reference], 2, &["exists already", "--into"]);
    refused(
        bob,
        &["fork", &reference, "--into", "render"],
        2,
        &["exists already"],
    );
    for into in ["..", ".", "/", ".git", "x/nul"] {
        refused(bob, &["fork", &reference, "--into", into], 2, &["--into"]);
    }
    refused(
        bob,
        &["fork", &reference, "--into", "absent/x"],
        5,
        &["absent"],
    );
    assert_eq!(fs::read_dir(bob.path("render")).unwrap().count(), 1);
    refused(bob, &["fork", &"0f".repeat(32)], 5, &[&"0f".repeat(32)]);
    refused(bob, &["fork", "short"], 2, &["64 hexadecimal digits"]);
}

#[test]
fn a_pod_of_the_original_is_brought_and_shown_with_the_way_to_port_it() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let pod = alice.path("xception");
    fs::create_dir_all(pod.join("script")).unwrap();
    fs::write(pod.join("script/main.py"), "print(1)").unwrap();
    let recipe = json!({
        "name": "XCeption", "description": "Image Classification", "public": true,
        "golem": {
            "exec": "python3 [@]script/main.py --model xception",
            "payload": [ { "ref": "da".repeat(32), "data": "/images.zip" } ],
            "output": "output", "logs": "logs"
        }
    });
    fs::write(pod.join("recipe.json"), recipe.to_string()).unwrap();
    let reference = alice.shares("xception");
    let given = bob.does(&["fork", &reference]);
    for words in [
        "Image Classification",
        "python3 [@]script/main.py",
        "cannot run here",
        "1 archive",
    ] {
        assert!(given.stdout.contains(words), "{words}\n{given}");
    }
    for words in [
        "To port it",
        "wasm32-wasip2",
        "next: sovr-host check ./XCeption",
    ] {
        assert!(given.stderr.contains(words), "{words}\n{given}");
    }
    let report = bob
        .does(&["fork", &reference, "--into", "again", "--json"])
        .json();
    assert!(
        report["obstacle"].as_str().unwrap().contains("python3"),
        "{report}"
    );
    assert!(report["inspection"].is_null());
    refused(bob, &["run", "XCeption"], 6, &["python3", "component"]);
    let listed = bob.does(&["list"]).stdout;
    assert!(
        listed.contains("cannot run here: `golem.exec` names the program \"python3\""),
        "{listed}"
    );
}

#[test]
fn a_task_is_brought_with_the_pods_that_it_names() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let pod = render(alice);
    alice.does(&["init", "--task", "--name", "film", "--pods", &pod, &pod]);
    let given = bob.does(&["fork", &alice.shares("film")]);
    assert_eq!(
        given.stdout.matches(&format!("\n  {pod}")).count(),
        2,
        "{given}"
    );
    assert!(
        given.stderr.contains("next: sovr-host run ./film"),
        "{given}"
    );
}

#[test]
fn a_bait_and_switch_shows_what_is_more_and_brings_nothing() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let reference = render(alice);
    bob.does(&["fork", &reference]);
    let same = bob.does(&["fork", "--diff", "render"]);
    assert!(same.stdout.contains("nothing changed"), "{same}");

    change_recipe(&alice.path("render"), |recipe| {
        let asks = &mut recipe["capabilities"];
        asks["golem"]["budget"] = "25".into();
        asks["golem"]["max-workers"] = 2.into();
        asks["env"] = json!(["LANG"]);
        recipe["golem"]["exec"] = "script/render.wasm --frames 0..3".into();
    });
    fs::copy(
        alice
            .pod("hello-world", |_| ())
            .join("script/hello-world.wasm"),
        alice.path("render/script/render.wasm"),
    )
    .unwrap();
    assert_eq!(alice.shares("render"), reference);

    let given = bob.does(&["fork", &reference, "--diff", "render"]);
    for words in [
        "archive   before",
        "component before",
        "exec      before script/render.wasm --frames 0..60:10",
        "          now    script/render.wasm --frames 0..3",
        "  + env added: LANG",
        "  + golem.budget widened from 10 to 25 GLM",
        "  - golem.max-workers narrowed from 3 to 2",
    ] {
        assert!(given.stdout.contains(words), "{words}\n{given}");
    }
    let more = given.stdout.find("  + ").unwrap();
    assert!(
        more < given.stdout.find("  - ").unwrap(),
        "what is more comes first\n{given}"
    );
    let report = bob.does(&["fork", "--diff", "render", "--json"]).json();
    assert_eq!(report["changed"], true, "{report:#}");
    assert_eq!(report["capabilities"][0]["kind"], "added", "{report:#}");
    assert_ne!(report["component"]["before"], report["component"]["after"]);
    assert_eq!(
        fs::read_dir(bob.path("")).unwrap().count(),
        2,
        "nothing is left behind"
    );

    refused(
        bob,
        &["import", "render", "--into", "newer"],
        3,
        &["is not what you forked", "--update"],
    );
    bob.does(&["import", "render", "--into", "newer", "--update"]);
    assert!(
        bob.does(&["fork", "--diff", "newer"])
            .stdout
            .contains("nothing changed")
    );
    // In the book it stands twice now, in the list once.
    let listed = bob.does(&["list"]).stdout;
    assert_eq!(listed.matches(&reference).count(), 1, "{listed}");

    refused(
        alice,
        &["fork", "--diff", "render"],
        2,
        &["no fork", "reference"],
    );
    refused(bob, &["fork"], 2, &["REFERENCE"]);
}

#[test]
fn references_in_a_list_are_whole_also_on_a_narrow_terminal() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    assert!(alice.does(&["list"]).stderr.contains("sovr-host init"));
    assert_eq!(
        alice.does(&["list", "--json"]).json(),
        json!({ "own": [], "forked": [], "skipped": [] })
    );
    let reference = render(alice);
    bob.does(&["fork", &reference]);
    for (user, label) in [(alice, "shared"), (bob, "forked")] {
        let listed = user.does(&["list"]).stdout;
        assert!(
            listed.contains(&format!("\n  {label}  {reference}\n")),
            "{listed}"
        );
        assert!(listed.contains("render  1.0"), "{listed}");
    }
    let report = bob.does(&["list", "--json"]).json();
    assert_eq!(report["forked"][0]["reference"], reference.as_str());
    assert_eq!(report["forked"][0]["card"]["kind"], "pod");
}

#[test]
fn what_changed_behind_a_reference_is_not_pinned_anew_without_update() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let reference = render(alice);
    bob.does(&["init", "--task", "--name", "film", "--pods", &reference]);
    let pinned = |words: &[&str]| {
        bob.does(&[&["lock", "film", "--json"], words].concat())
            .json()
    };
    let first = pinned(&[]);
    assert_eq!(
        (&first[0]["state"], &first[0]["reference"]),
        (&"new".into(), &reference.as_str().into())
    );
    assert_eq!(pinned(&[])[0]["state"], "same");

    change_recipe(&alice.path("render"), |recipe| {
        recipe["version"] = "2".into()
    });
    alice.shares("render");
    let digest = first[0]["pin"]["sha256"].as_str().unwrap();
    refused(bob, &["lock", "film"], 3, &[digest, "--update"]);
    assert_eq!(pinned(&["--update"])[0]["state"], "updated");
    let shown = bob.does(&["lock", "film"]).stdout;
    assert!(
        shown.starts_with("same       /render.zip") && shown.contains(&reference),
        "{shown}"
    );

    bob.does(&["init", "--name", "plain"]);
    let nothing = bob.does(&["lock", "plain"]);
    assert!(
        nothing.stderr.contains("nothing to pin") && nothing.stdout.is_empty(),
        "{nothing}"
    );
}

#[test]
fn an_unshared_pod_cannot_be_forked_any_more() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let reference = render(alice);
    let given = alice.does(&["unshare", "render"]);
    assert!(
        given.stderr.contains(&reference) && given.stdout.is_empty(),
        "{given}"
    );
    refused(bob, &["fork", &reference], 5, &["no pod is shared as"]);
    refused(alice, &["unshare", "render"], 2, &["render"]);
    refused(alice, &["unshare", "nothing"], 2, &["no pod `nothing`"]);
    let again = alice.shares("render");
    assert_ne!(again, reference);
    assert_eq!(
        alice.does(&["unshare", "render", "--json"]).json()["references"],
        json!([again])
    );
}

#[test]
fn nothing_is_deleted_without_a_yes() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let reference = render(alice);
    bob.does(&["fork", &reference]);
    for user in [alice, bob] {
        refused(user, &["delete", "render"], 2, &["--yes"]);
    }
    refused(alice, &["delete", "nothing"], 2, &["no pod `nothing`"]);
    refused(
        alice,
        &["delete", "nothing", "--yes"],
        2,
        &["no pod `nothing`"],
    );

    let given = alice.does(&["delete", "render", "--yes"]);
    assert!(
        given.stderr.contains("Deleted render") && given.stdout.is_empty(),
        "{given}"
    );
    assert!(
        alice.path("render/recipe.json").exists(),
        "the directory stays"
    );
    refused(bob, &["fork", &reference, "--into", "late"], 5, &[]);
    let report = bob.does(&["delete", "render", "-y", "--json"]).json();
    assert_eq!(
        report,
        json!({ "pod": "render", "pods": [], "forgotten": true })
    );
    for user in [alice, bob] {
        assert!(user.does(&["list"]).stderr.contains("no pods"));
    }
}

#[test]
fn a_rebuilt_registry_has_the_pods_that_are_there() {
    let place = Place::new();
    let alice = place.user("alice");
    let empty = alice.does(&["registry", "rebuild"]);
    assert!(
        empty.stderr.contains("0 pods") && empty.stdout.is_empty(),
        "{empty}"
    );
    let reference = render(alice);
    let listed = alice.does(&["list"]).stdout;
    let given = alice.does(&["registry", "rebuild"]);
    assert_eq!(given.stdout, listed);
    assert!(
        given.stdout.contains(&reference) && given.stderr.contains("1 pod."),
        "{given}"
    );
    assert!(
        !given.stderr.contains("kept as"),
        "nothing was lost\n{given}"
    );

    crate::hostile::plant(
        alice,
        "ComputePodRegistry",
        "/Registry.json",
        "{\"gone\": {}}",
    );
    assert!(alice.does(&["list"]).stdout.contains("gone"));
    let given = alice.does(&["registry", "rebuild"]);
    assert_eq!(given.stdout, listed);
    assert!(
        given
            .stderr
            .contains("kept as /Registry-before-rebuild.json"),
        "{given}"
    );
    assert_eq!(
        alice.does(&["registry", "rebuild", "--json"]).json()["found"][0]["pod"],
        "render"
    );
}

#[test]
fn the_originals_spelling_makes_the_whole_journey() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    alice.pod("render", |_| ());
    let reference = alice
        .does(&["--recipe", "render/recipe.json", "--persist"])
        .stdout;
    let reference = reference.trim_end();
    assert!(alice.does(&["--list-pods"]).stdout.contains(reference));
    assert!(
        alice
            .does(&["--generate-pod-registry"])
            .stdout
            .contains(reference)
    );
    bob.does(&["--fork", reference]);
    fs::rename(bob.path("render"), bob.path("first")).unwrap();
    bob.does(&["--import-pod", "render"]);
    let (first, again) = (
        bob.path("first/recipe.json"),
        bob.path("render/recipe.json"),
    );
    assert_eq!(fs::read(first).unwrap(), fs::read(again).unwrap());
    refused(
        bob,
        &["--recipe", "render/recipe.json", "--run"],
        3,
        &["--yes"],
    );
    refused(bob, &["--task", "render/recipe.json"], 3, &["--yes"]);
    refused(
        bob,
        &["--fork", reference, "--list-pods"],
        2,
        &["`--fork` and `--list-pods`"],
    );
    refused(
        bob,
        &["--recipe", "render/recipe.json"],
        2,
        &["add `--run` or `--persist`"],
    );
}
