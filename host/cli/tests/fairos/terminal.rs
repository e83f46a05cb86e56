//! Passwords at a terminal.

use crate::person::Person;
use crate::someone::{PASSWORD, Someone};

pub(crate) fn a_password_is_asked_for_and_not_shown() {
    let judy = Someone::signed_up("judy");
    judy.does(&["logout"]);

    let mut person = Person::at_command(&mut judy.command(&["login"]));
    person.answers("User at http://localhost:9090", &judy.name);
    person.wait_for(&format!(
        "Password of {} at http://localhost:9090: ",
        judy.name
    ));
    assert!(!person.sees_what_is_typed());
    // A slip of the finger is taken back.
    person.types(&format!("{PASSWORD}x\u{7f}\n"));
    person.wait_for("Logged in");
    assert!(person.sees_what_is_typed());
    let (code, seen, stdout) = person.leaves();
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{seen}");
    assert!(
        !seen.contains(PASSWORD) && !seen.contains("correct"),
        "{seen}"
    );

    // With the login nobody is asked; without it any command that needs an account asks.
    judy.does(&["list"]);
    judy.does(&["logout"]);
    let mut list = judy.command(&["list"]);
    list.env("SOVR_USER", &judy.name);
    let mut person = Person::at_command(&mut list);
    person.answers("Password of", PASSWORD);
    let (code, seen, _) = person.leaves();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains(PASSWORD), "{seen}");
    assert!(!judy.kept_login().exists());

    // Also where a login was kept and has ended.
    judy.with(
        &[crate::someone::BY_VARIABLE, ("SOVR_USER", &judy.name)],
        &["login"],
    );
    let kept = std::fs::read_to_string(judy.kept_login()).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    kept["login"] = "ended".into();
    std::fs::write(judy.kept_login(), kept.to_string()).unwrap();
    let mut person = Person::at_command(&mut judy.command(&["list"]));
    person.answers("Password of", PASSWORD);
    let (code, seen, _) = person.leaves();
    assert_eq!(code, Some(0), "{seen}");

    for (words, given_up) in [("login", "sec\u{3}"), ("list", "\u{4}")] {
        let mut command = judy.command(&[words]);
        command.env("SOVR_USER", &judy.name);
        let mut person = Person::at_command(&mut command);
        person.wait_for("Password of");
        person.types(given_up);
        let (code, seen, _) = person.leaves();
        assert_eq!(code, Some(130), "{words}\n{seen}");
    }
    judy.has_kept_secret(PASSWORD);
}

pub(crate) fn a_new_password_is_typed_twice() {
    let kim = Someone::new("kim");
    let mut person = Person::at_command(&mut kim.command(&["signup", &kim.name]));
    person.answers("New password of", PASSWORD);
    person.answers("The same again", "correct horse battery stable");
    let (code, seen, stdout) = person.leaves();
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{seen}");
    assert!(seen.contains("are not the same"), "{seen}");

    let mut person = Person::at_command(&mut kim.command(&["signup", &kim.name]));
    person.answers("New password of", PASSWORD);
    person.answers("The same again", PASSWORD);
    let (code, seen, stdout) = person.leaves();
    assert_eq!(code, Some(0), "{seen}");
    assert_eq!(stdout.split_whitespace().count(), 12, "{stdout}");
    assert!(seen.contains("Write these twelve words down"), "{seen}");
    assert!(!seen.contains(PASSWORD), "{seen}");
}
