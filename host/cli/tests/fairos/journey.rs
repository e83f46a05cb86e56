//! From the first command of somebody new to the pod in somebody else's directory.

use crate::someone::{BY_VARIABLE, PASSWORD, Someone};

pub(crate) fn a_pod_goes_from_one_account_to_another_and_to_somebody_without() {
    let alice = Someone::signed_up("alice");
    alice.pod();
    let reference = alice.does(&["persist", "hello-world"]).stdout;
    let reference = reference.trim();
    let listed = alice.does(&["list", "--json"]).json();
    assert_eq!(listed["own"][0]["references"][0], reference);
    // The other storage knows nothing of it: the option goes before the variable.
    assert_eq!(alice.does(&["list", "--dfs", "local"]).stdout, "");

    let bob = Someone::signed_up("bob");
    bob.does(&["fork", reference]);
    assert!(bob.place.path("HelloWorld/recipe.json").exists());
    let listed = bob.does(&["list", "--json"]).json();
    assert_eq!(listed["forked"][0]["reference"], reference);
    bob.does(&["import", "HelloWorld", "--into", "again"]);
    assert!(bob.place.path("again/recipe.json").exists());

    let nobody = Someone::new("nobody");
    let given = nobody.does(&["fork", reference]);
    assert!(
        given.stderr.contains("not kept in your list of forks"),
        "{given}"
    );
    assert!(nobody.place.path("HelloWorld/recipe.json").exists());
    let given = nobody.does(&["fork", "--diff", "HelloWorld"]);
    assert!(given.stdout.contains("nothing changed"), "{given}");
    for words in [&["list"][..], &["persist", "HelloWorld"], &["whoami"]] {
        nobody.fails(5, words, &["sovr-host login", "sovr-host signup"]);
    }

    alice.fails(2, &["unshare", "HelloWorld"], &["Swarm forgets nothing"]);
    alice.does(&["delete", "HelloWorld", "--yes"]);
    assert!(!alice.does(&["list"]).stdout.contains("HelloWorld"));
}

pub(crate) fn no_secret_is_written_down_or_said() {
    let carol = Someone::signed_up("carol");
    carol.pod();
    let given = carol.with(&[BY_VARIABLE], &["run", "hello-world", "--yes", "--json"]);
    assert_eq!(given.code, Some(0), "{given}");
    for words in [
        &["persist", "hello-world"][..],
        &["login"],
        &["whoami", "--json"],
        &["doctor", "--json"],
        &["audit"],
        &["logout"],
        &["list"],
    ] {
        let user = ("SOVR_USER", carol.name.as_str());
        let given = carol.with(&[BY_VARIABLE, user], words);
        assert_eq!(given.code, Some(0), "{words:?}\n{given}");
    }
    carol.has_kept_secret(PASSWORD);
}
