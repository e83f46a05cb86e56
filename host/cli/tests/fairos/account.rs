//! Accounts: what is taken, what is kept, and what is said when it does not do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use sovr_test_support::http::{Listener, Response};

use crate::someone::{BY_VARIABLE, PASSWORD, Someone};

pub(crate) fn a_login_is_kept_until_logout() {
    let alice = Someone::signed_up("keeps");
    let kept = fs::read_to_string(alice.kept_login()).unwrap();
    let mode = fs::metadata(alice.kept_login())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let who = alice.does(&["whoami", "--json"]).json();
    assert_eq!(
        (&who["user"], &who["held"], &who["server"]),
        (
            &alice.name.as_str().into(),
            &"login".into(),
            &"http://localhost:9090".into()
        )
    );
    assert!(who["address"].as_str().unwrap().starts_with("0x"), "{who}");
    // Somebody else's command does not go on with it.
    let other = [("SOVR_USER", "somebody-else")];
    let given = alice.with(&other, &["whoami"]);
    assert_eq!(given.code, Some(5), "{given}");

    let given = alice.does(&["logout"]);
    assert!(given.stderr.contains("Logged out"), "{given}");
    assert!(!alice.kept_login().exists());
    assert!(alice.does(&["logout"]).stderr.contains("not logged in"));
    // The server has forgotten it too.
    fs::write(alice.kept_login(), kept).unwrap();
    fs::set_permissions(alice.kept_login(), fs::Permissions::from_mode(0o600)).unwrap();
    alice.fails(5, &["whoami"], &["login", "next: `sovr-host login`"]);

    let user = [BY_VARIABLE, ("SOVR_USER", alice.name.as_str())];
    let given = alice.with(&user, &["login", "--json"]);
    assert_eq!(given.json()["user"], alice.name.as_str());
    alice.does(&["list"]);
}

pub(crate) fn a_login_that_has_ended_is_told_and_a_password_goes_on() {
    let dave = Someone::signed_up("dave");
    let kept = fs::read_to_string(dave.kept_login()).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    kept["login"] = "ended.or.forged".into();
    fs::write(dave.kept_login(), kept.to_string()).unwrap();
    dave.fails(5, &["list"], &["any more", "next: `sovr-host login`"]);
    let given = dave.with(&[BY_VARIABLE], &["list"]);
    assert_eq!(given.code, Some(0), "{given}");
    // What is broken is told as that, and goes with a logout.
    fs::write(dave.kept_login(), "{").unwrap();
    dave.fails(5, &["list"], &["fairos-login.json", "log in again"]);
    dave.does(&["logout"]);
    assert!(!dave.kept_login().exists());
}

pub(crate) fn a_wrong_password_and_an_unknown_user_are_told_apart() {
    let erin = Someone::signed_up("erin");
    erin.does(&["logout"]);
    let wrong = ("SOVR_FAIROS_PASSWORD", "not the right password");
    for words in [&["login"][..], &["list"], &["whoami"]] {
        let given = erin.with(&[wrong, ("SOVR_USER", &erin.name)], words);
        assert_eq!(given.code, Some(5), "{given}");
        assert!(
            given.stderr.contains("refused the password") && given.stderr.contains(wrong.0),
            "{given}"
        );
        assert!(!given.stderr.contains(wrong.1), "{given}");
    }
    assert!(!erin.kept_login().exists());
    let unknown = [BY_VARIABLE, ("SOVR_USER", "no-such-user")];
    let given = erin.with(&unknown, &["login"]);
    assert_eq!(given.code, Some(5), "{given}");
    assert!(given.stderr.contains("sovr-host signup"), "{given}");
    let given = erin.with(&unknown, &["list", "--json"]);
    assert_eq!(given.json_lines()[0]["exit"], "unavailable", "{given}");
}

pub(crate) fn a_taken_name_and_an_unfit_password_are_no_account() {
    let frank = Someone::signed_up("frank");
    let given = frank.with(&[BY_VARIABLE], &["signup", &frank.name]);
    assert_eq!(given.code, Some(2), "{given}");
    assert!(given.stderr.contains("sovr-host login"), "{given}");
    let short = ("SOVR_FAIROS_PASSWORD", "short-one");
    let other = Someone::new("other");
    let given = other.with(&[short], &["signup", &other.name]);
    assert_eq!(given.code, Some(2), "{given}");
    assert!(
        given.stderr.contains("12 characters") && !given.stderr.contains("short-one"),
        "{given}"
    );
    assert!(!other.kept_login().exists());
    // The original client's words.
    let given = other.with(&[BY_VARIABLE], &["user", "new", &other.name]);
    assert_eq!(given.code, Some(0), "{given}");
}

pub(crate) fn the_twelve_words_are_told_once_and_taken_from_a_file() {
    let grace = Someone::new("grace");
    let given = grace.with(&[BY_VARIABLE], &["signup", &grace.name, "--json"]);
    let account = given.json();
    let words = account["mnemonic"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 12);
    assert!(!given.stderr.contains(words), "{given}");
    assert_eq!(
        grace.does(&["whoami", "--json"]).json()["address"],
        account["address"]
    );

    // The same words are the same account under another name.
    let again = Someone::new("again");
    let file = again.place.path("words");
    fs::write(&file, words.replace(' ', "\n")).unwrap();
    let given = again.with(
        &[BY_VARIABLE],
        &["signup", &again.name, "--mnemonic", "words", "--json"],
    );
    assert_eq!(given.json()["address"], account["address"], "{given}");
    assert!(given.json()["mnemonic"].is_null(), "{given}");
    fs::remove_file(file).unwrap();
    again.does(&["list"]);
    again.has_kept_secret(words);
    let quiet = Someone::new("quiet");
    let given = quiet.with(&[BY_VARIABLE], &["signup", &quiet.name, "--quiet"]);
    assert_eq!(given.stdout.split_whitespace().count(), 12, "{given}");
}

/// The released server asks for it on a chain of its own, so this one is played.
pub(crate) fn a_sign_up_that_costs_a_fee_tells_what_to_pay_and_the_words() {
    const WORDS: &str = "one two three four five six seven eight nine ten eleven twelve";
    const ADDRESS: &str = "0x5018FFc99DF497147dF3AC66426E21A003177cB7";
    let server = Listener::start(|_| Response {
        status: 402,
        content_type: "application/json",
        body: json!({ "address": ADDRESS, "mnemonic": WORDS, "message": "poor" })
            .to_string()
            .into(),
        cut: None,
    });
    let server = server.unwrap();
    let url = format!("http://{}", server.address());
    let poor = Someone::new("poor");
    let there = [BY_VARIABLE, ("SOVR_FAIROS_SERVER", &url)];
    let given = poor.with(&there, &["signup", &poor.name]);
    assert_eq!(given.code, Some(5), "{given}");
    for part in [WORDS, ADDRESS, "0.01 ETH", "signup", "--mnemonic"] {
        assert!(format!("{given}").contains(part), "{part}: {given}");
    }
    let given = poor.with(&there, &["signup", &poor.name, "--json"]);
    assert_eq!(given.code, Some(5), "{given}");
    let told = given.json();
    assert_eq!(
        (&told["address"], &told["mnemonic"]),
        (&ADDRESS.into(), &WORDS.into())
    );
    assert!(!poor.kept_login().exists());
}

pub(crate) fn credentials_of_the_original_are_taken() {
    let heidi = Someone::signed_up("heidi");
    heidi.does(&["logout"]);
    let path = heidi.place.path("creds.json");
    let content = serde_json::json!({ "username": heidi.name, "password": PASSWORD });
    fs::write(&path, content.to_string()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let named = [("SOVR_FAIROS_CREDENTIALS", path.to_str().unwrap())];
    let given = heidi.with(&named, &["whoami", "--json"]);
    assert_eq!(given.json()["held"], "credentials", "{given}");
    assert!(given.stderr.contains("warning: ") && given.stderr.contains("chmod 600"));
    let given = heidi.with(&named, &["list"]);
    assert!(given.stderr.contains("chmod 600"), "{given}");
    let given = heidi.with(&named, &["doctor", "--json"]);
    let state = given.json()["state"].to_string();
    assert!(state.contains("chmod 600"), "{given}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let given = heidi.with(&named, &["list"]);
    assert_eq!(given.code, Some(0), "{given}");
    assert!(!given.stderr.contains("warning"), "{given}");
}

pub(crate) fn doctor_sees_server_and_account() {
    let ivan = Someone::signed_up("ivan");
    let item = |given: &crate::place::Given, part: &str, name: &str| {
        let report = given.json();
        let items = report[part].as_array().unwrap();
        let found = items.iter().find(|item| item["name"] == name);
        found
            .unwrap_or_else(|| panic!("no {name}\n{given}"))
            .clone()
    };
    let given = ivan.does(&["doctor", "--json"]);
    let server = item(&given, "daemons", "FairOS-dfs");
    assert_eq!(server["state"], "ok");
    assert!(server["found"].as_str().unwrap().contains("v0.10.1"));
    let account = item(&given, "state", "account");
    assert_eq!(account["state"], "ok");
    assert!(account["found"].as_str().unwrap().contains(&ivan.name));

    let given = ivan.with(
        &[("SOVR_USER", "no-such-user"), BY_VARIABLE],
        &["doctor", "--json"],
    );
    assert_eq!(given.code, Some(5), "{given}");
    let account = item(&given, "state", "account");
    assert_eq!(account["state"], "missing");
    assert!(
        account["found"]
            .as_str()
            .unwrap()
            .contains("sovr-host signup")
    );

    let nobody = Someone::new("nobody");
    let given = nobody.does(&["doctor", "--json"]);
    let account = item(&given, "state", "account");
    assert_eq!(account["state"], "partial");
    // Looking leaves nothing behind.
    assert!(!nobody.place.path("home").exists());
}
