//! The whole help is one snapshot: whoever changes an option sees all it changes.

use crate::place::Place;

const COMMANDS: [&[&str]; 32] = [
    &[],
    &["init"],
    &["check"],
    &["inspect"],
    &["run"],
    &["persist"],
    &["fork"],
    &["import"],
    &["list"],
    &["lock"],
    &["unshare"],
    &["delete"],
    &["registry"],
    &["registry", "rebuild"],
    &["persist-self"],
    &["signup"],
    &["login"],
    &["logout"],
    &["whoami"],
    &["golem"],
    &["golem", "status"],
    &["cleanup"],
    &["provide"],
    &["doctor"],
    &["consent"],
    &["consent", "list"],
    &["consent", "revoke"],
    &["audit"],
    &["audit", "list"],
    &["audit", "show"],
    &["audit", "verify"],
    &["completions"],
];

#[test]
fn help() {
    let place = Place::new();
    let mut all = String::new();
    for command in COMMANDS {
        let given = place.run(&[command, &["--help"]].concat());
        assert_eq!((given.code, given.stderr.as_str()), (Some(0), ""));
        all.push_str(&format!(
            "$ sovr-host {}\n{}\n",
            [command, &["--help"]].concat().join(" "),
            given.stdout
        ));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn without_words_help_is_shown_as_an_error() {
    let given = Place::new().run(&[]);
    assert_eq!(given.code, Some(2), "{given}");
    assert!(given.stderr.contains("Usage: sovr-host"), "{given}");
}

#[test]
fn version() {
    let given = Place::new().run(&["--version"]);
    assert_eq!(given.code, Some(0));
    assert_eq!(
        given.stdout,
        format!("sovr-host {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_come_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let given = Place::new().run(&["completions", shell]);
        assert_eq!(given.code, Some(0), "{given}");
        assert!(
            given.stdout.contains("sovr-host") && given.stdout.contains("inspect"),
            "{shell}"
        );
    }
}
