//! On a terminal: the question, its answers, the bars.

use crate::person::Person;
use crate::place::Place;

#[test]
fn a_yes_runs_the_pod_and_shows_how_it_went() {
    let place = Place::new();
    place.template("hello-world");
    let mut person = Person::at(&place, &["run", "hello-world"]);
    person.wait_for("[y/N]");
    person.types("yes\n");
    let (code, seen, stdout) = person.leaves();
    assert_eq!(code, Some(0), "{seen}");
    assert!(
        seen.contains("GLM") && seen.contains("HelloWorld"),
        "{seen}"
    );
    assert!(!stdout.is_empty() && !stdout.contains('\u{1b}'), "{stdout}");

    // The answer is remembered: nobody is asked again.
    let given = place.run(&["run", "hello-world"]);
    assert_eq!(given.code, Some(0), "{given}");
}

#[test]
fn anything_else_is_a_no_and_is_not_remembered() {
    let place = Place::new();
    place.template("hello-world");
    for answer in ["n\n", "\n", "yeah\n", "\u{4}"] {
        let mut person = Person::at(&place, &["run", "hello-world"]);
        person.wait_for("[y/N]");
        person.types(answer);
        let (code, seen, stdout) = person.leaves();
        assert_eq!((code, stdout.as_str()), (Some(3), ""), "{answer:?}\n{seen}");
    }
    assert_eq!(place.run(&["run", "hello-world"]).code, Some(3));
}

#[test]
fn what_was_typed_before_the_question_is_no_answer() {
    let place = Place::new();
    place.template("hello-world");
    let mut person = Person::at(&place, &["run", "hello-world"]);
    person.types("y\n");
    person.wait_for("[y/N]");
    person.types("n\n");
    let (code, seen, _) = person.leaves();
    assert_eq!(code, Some(3), "{seen}");
}

#[test]
fn the_wizard_makes_a_pod_from_answers_in_the_originals_order() {
    let place = Place::new();
    let reference = "dA".repeat(32);
    let mut person = Person::at(&place, &["--init", "--color", "never"]);
    for (question, answer) in [
        ("Pod or task? [pod]: ", ""),
        ("Name: ", "../x"),
        ("Name: ", "Render"),
        ("Description: ", "Draws\u{1b}[A"),
        ("an escape character", "Draws  Pictures"),
        ("Author: ", "Me"),
        ("Version [1.0]: ", ""),
        ("(persisting it shares it)? [yes]: ", "perhaps"),
        ("please answer yes or no", "no"),
        ("arguments [script/Render.wasm]: ", ""),
        ("File to copy there (none if it is still to be built): ", ""),
        ("archives of other pods? [no]: ", "y"),
        ("Reference 1: ", &reference),
        ("such as /images.zip: ", "/Data.ZIP"),
        ("Reference 2: ", ""),
    ] {
        person.answers(question, answer);
    }
    let (code, seen, stdout) = person.leaves();
    assert_eq!(code, Some(0), "{seen}");
    assert_eq!(stdout, format!("{}\n", place.path("Render").display()));
    assert!(seen.contains("next: sovr-host check ./Render"), "{seen}");
    let recipe = std::fs::read_to_string(place.path("Render/recipe.json")).unwrap();
    for words in [
        &reference,
        "/Data.ZIP",
        "Draws  Pictures",
        "\"public\": false",
    ] {
        assert!(recipe.contains(words), "{words}\n{recipe}");
    }
}

#[test]
fn a_wizard_that_is_left_makes_nothing() {
    let place = Place::new();
    let mut person = Person::at(&place, &["init"]);
    person.answers("Pod or task?", "");
    person.answers("Name", "fine");
    person.wait_for("Description");
    person.types("\u{4}");
    let (code, seen, stdout) = person.leaves();
    assert_eq!((code, stdout.as_str()), (Some(130), ""), "{seen}");
    assert!(seen.contains("nothing was made"), "{seen}");
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 0);
}

#[test]
fn a_deletion_is_asked_about_and_only_a_yes_deletes() {
    let place = Place::new();
    let alice = place.user("alice");
    alice.pod("hello-world", |recipe| recipe["public"] = true.into());
    alice.shares("hello-world");
    let asked = |answer: &str| {
        let mut person = Person::at_command(&mut alice.command(&["delete", "HelloWorld"]));
        person.wait_for("Delete HelloWorld? [y/N]");
        person.types(answer);
        person.leaves()
    };
    let (code, seen, _) = asked("\n");
    assert_eq!(code, Some(3), "{seen}");
    assert!(
        seen.contains("One reference to it leads nowhere then"),
        "{seen}"
    );
    assert!(alice.does(&["list"]).stdout.contains("HelloWorld"));
    let (code, seen, _) = asked("yes\n");
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("Deleted HelloWorld"), "{seen}");
    assert_eq!(alice.does(&["list"]).stdout, "");
}

#[test]
fn a_password_is_typed_unseen_and_the_terminal_is_as_before() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut command = place.command(&["--dfs", "fairos", "list"]);
    command
        .env("SOVR_USER", "alice")
        .env("SOVR_FAIROS_SERVER", nowhere);
    let mut person = Person::at_command(&mut command);
    person.wait_for("Password of alice at http://127.0.0.1:");
    assert!(!person.sees_what_is_typed());
    person.types("a long enough password\n");
    person.wait_for("error: ");
    assert!(person.sees_what_is_typed());
    let (code, seen, _) = person.leaves();
    assert_eq!(code, Some(5), "{seen}");
    assert!(!seen.contains("long enough"), "{seen}");
}
