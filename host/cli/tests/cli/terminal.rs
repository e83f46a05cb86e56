//! On a terminal: the question, its answers, the bars.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::ptr::{null, null_mut};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::place::Place;

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A person at a terminal.
struct Person {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Person {
    /// Starts the program with standard input and standard error on a terminal.
    fn at(place: &Place, words: &[&str]) -> Person {
        Person::at_command(&mut place.command(words))
    }

    fn at_command(command: &mut Command) -> Person {
        let (controller, terminal) = pseudoterminal();
        let child = command
            .env("TERM", "xterm")
            .stdin(terminal.try_clone().unwrap())
            .stderr(terminal)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keyboard = controller;
        let mut eyes = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // Reading fails once the program has ended and the terminal is closed.
            while let Ok(read) = eyes.read(&mut chunk) {
                if read == 0 || sender.send(chunk[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Person {
            keyboard,
            screen,
            seen: String::new(),
            child,
        }
    }

    fn wait_for(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(chunk) = self.screen.recv_timeout(left) else {
                panic!("`{words}` did not appear; seen: {}", self.seen);
            };
            self.seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    /// Waits for a question and answers it.
    fn answers(&mut self, question: &str, answer: &str) {
        self.wait_for(question);
        // The question may come again.
        self.seen.clear();
        self.types(&format!("{answer}\n"));
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// The exit code, what was on the screen, and standard output.
    fn leaves(mut self) -> (Option<i32>, String, String) {
        let mut stdout = self.child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            while let Ok(chunk) = self.screen.recv_timeout(Duration::from_millis(50)) {
                self.seen.push_str(&String::from_utf8_lossy(&chunk));
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "does not end; seen: {}",
                self.seen
            );
        };
        (
            status.code(),
            std::mem::take(&mut self.seen),
            stdout.join().unwrap().unwrap(),
        )
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // It has ended, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The two ends of a terminal: the person's and the program's.
fn pseudoterminal() -> (File, File) {
    let (mut controller, mut terminal) = (-1, -1);
    // SAFETY: both are places for a descriptor; name, settings and size are left out, which null says.
    let failed =
        unsafe { libc::openpty(&mut controller, &mut terminal, null_mut(), null(), null()) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call has just made both descriptors, and nobody else owns them.
    unsafe {
        (
            File::from(OwnedFd::from_raw_fd(controller)),
            File::from(OwnedFd::from_raw_fd(terminal)),
        )
    }
}

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
