//! The original Sovr client's spelling of commands: `--recipe FILE --run` is `run FILE`, `--fork REFERENCE` is
//! `fork REFERENCE`. What its users typed to FairOS's own client for an account, `user new NAME`, works too.
//!
//! Words are rewritten before clap sees them, so that each command has one set of arguments and one help. What
//! else stands on the line (`--yes`, `--json`, words after `--`) goes along unchanged. A line whose first word, after
//! options that hold for every command, is no option is in our own spelling and left alone.

use std::ffi::{OsStr, OsString};

/// An action of the original.
struct Action {
    /// As the original spells it.
    option: &'static str,
    /// What its value is; none where it has none.
    value: Option<&'static str>,
    /// Whether it works on `--recipe FILE`.
    on_recipe: bool,
    /// Our words for it.
    command: &'static [&'static str],
}

impl Action {
    const fn plain(option: &'static str, command: &'static [&'static str]) -> Action {
        Action {
            option,
            value: None,
            on_recipe: false,
            command,
        }
    }

    const fn with(
        option: &'static str,
        value: &'static str,
        command: &'static [&'static str],
    ) -> Action {
        Action {
            value: Some(value),
            ..Action::plain(option, command)
        }
    }

    const fn on_recipe(option: &'static str, command: &'static [&'static str]) -> Action {
        Action {
            on_recipe: true,
            ..Action::plain(option, command)
        }
    }
}

const ACTIONS: [Action; 9] = [
    Action::on_recipe("--run", &["run"]),
    Action::on_recipe("--persist", &["persist"]),
    Action::with("--task", "FILE", &["run"]),
    Action::with("--fork", "REFERENCE", &["fork"]),
    Action::with("--import-pod", "NAME", &["import"]),
    Action::plain("--init", &["init"]),
    Action::plain("--list-pods", &["list"]),
    Action::plain("--generate-pod-registry", &["registry", "rebuild"]),
    Action::plain("--persist-self", &["persist-self"]),
];

/// The second word after `user`, in FairOS's own client, and our command.
const OF_USERS: [(&str, &str); 3] = [("new", "signup"), ("login", "login"), ("logout", "logout")];

const RECIPE: &str = "--recipe";

/// Options that may stand before one of our commands.
const BEFORE_A_COMMAND: [&str; 3] = ["--json", "--quiet", "-q"];
/// Those with a value.
const WITH_VALUE: [&str; 2] = ["--color", "--dfs"];

/// Turns the original's spelling into ours; any other command line comes back as it was. The error says what is wrong
/// with a line in the original's spelling.
pub(crate) fn rewrite(args: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let end = args
        .iter()
        .position(|word| word == "--")
        .unwrap_or(args.len());
    if is_ours(&args[..end]) {
        return Ok(of_users(args));
    }

    let mut found: Option<(&Action, Option<OsString>)> = None;
    let mut recipe = None;
    let mut rest = Vec::new();
    let mut words = args[..end].iter().skip(1);
    while let Some(word) = words.next() {
        let mut value = |option: &str, what: &str| match value_of(word, option) {
            Some(value) => Ok(value),
            None => match words.next() {
                Some(value) if !is_option(value) => Ok(value.clone()),
                _ => Err(format!("`{option}` needs a value: `{option} {what}`")),
            },
        };
        if is(word, RECIPE) {
            if recipe.replace(value(RECIPE, "FILE")?).is_some() {
                return Err(format!("`{RECIPE}` stands twice; write it once"));
            }
        } else if let Some(action) = ACTIONS.iter().find(|action| is(word, action.option)) {
            if value_of(word, action.option).is_some() && action.value.is_none() {
                return Err(format!("`{}` takes no value", action.option));
            }
            let value = action
                .value
                .map(|what| value(action.option, what))
                .transpose()?;
            if let Some((first, _)) = found.replace((action, value)) {
                return Err(format!(
                    "`{}` and `{}` are two actions; write one at a time",
                    first.option, action.option
                ));
            }
        } else {
            rest.push(word.clone());
        }
    }

    let (action, value) = match (found, &recipe) {
        (None, None) => return Ok(args),
        (None, Some(_)) => {
            return Err(format!(
                "`{RECIPE}` alone does nothing; add `--run` or `--persist`"
            ));
        }
        (Some(found), _) => found,
    };
    let value = match (action.on_recipe, recipe) {
        (true, None) => {
            return Err(format!(
                "`{0}` needs a recipe: `{RECIPE} FILE {0}`",
                action.option
            ));
        }
        (false, Some(_)) => {
            return Err(format!(
                "`{}` takes no recipe; leave `{RECIPE}` out",
                action.option
            ));
        }
        (_, recipe) => recipe.or(value),
    };
    let mut rewritten = vec![args[0].clone()];
    rewritten.extend(action.command.iter().map(OsString::from));
    rewritten.extend(value);
    rewritten.extend(rest);
    rewritten.extend_from_slice(&args[end..]);
    Ok(rewritten)
}

/// `user new NAME` as `signup NAME`.
fn of_users(mut args: Vec<OsString>) -> Vec<OsString> {
    if let Some(at) = command(&args)
        && args[at] == "user"
        && let Some(second) = args.get(at + 1)
        && let Some((_, ours)) = OF_USERS.iter().find(|(word, _)| second == word)
    {
        args.splice(at..at + 2, [OsString::from(ours)]);
    }
    args
}

/// Whether a command stands where ours stand.
fn is_ours(args: &[OsString]) -> bool {
    command(args).is_none_or(|at| !is_option(&args[at]))
}

/// The first word that is none of the options that may stand before a command.
fn command(args: &[OsString]) -> Option<usize> {
    let mut words = args.iter().enumerate().skip(1);
    while let Some((at, word)) = words.next() {
        if WITH_VALUE.iter().any(|option| word == option) {
            words.next();
        } else if !WITH_VALUE.iter().any(|option| is(word, option))
            && !BEFORE_A_COMMAND.iter().any(|option| word == option)
        {
            return Some(at);
        }
    }
    None
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// Whether a word is this option, with or without a value in it.
fn is(word: &OsStr, option: &str) -> bool {
    word == option || value_of(word, option).is_some()
}

/// The value in `--option=VALUE`.
fn value_of(word: &OsStr, option: &str) -> Option<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let value = word.as_bytes().strip_prefix(option.as_bytes())?;
    Some(OsString::from_vec(value.strip_prefix(b"=")?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> Result<String, String> {
        let words = line.split(' ').map(OsString::from).collect();
        let words = rewrite(words)?;
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        Ok(words.join(" "))
    }

    #[test]
    fn the_original_spelling_becomes_a_command() {
        for (line, ours) in [
            ("--recipe a/recipe.json --run", "run a/recipe.json"),
            ("--run --recipe a/recipe.json", "run a/recipe.json"),
            ("--recipe=a/recipe.json --run", "run a/recipe.json"),
            ("--recipe a/recipe.json --persist", "persist a/recipe.json"),
            ("--persist --recipe=a", "persist a"),
            ("--task a/task.json", "run a/task.json"),
            ("--task=a/task.json", "run a/task.json"),
            ("--fork a61d", "fork a61d"),
            ("--fork=a61d", "fork a61d"),
            ("--import-pod XCeption", "import XCeption"),
            ("--import-pod=XCeption", "import XCeption"),
            ("--init", "init"),
            ("--list-pods", "list"),
            ("--generate-pod-registry", "registry rebuild"),
            ("--persist-self", "persist-self"),
            ("user new alice", "signup alice"),
            ("--dfs fairos --json user new", "--dfs fairos --json signup"),
            ("user login", "login"),
            ("user logout", "logout"),
        ] {
            let line = format!("sovr-host {line}");
            assert_eq!(rewritten(&line), Ok(format!("sovr-host {ours}")), "{line}");
        }
    }

    #[test]
    fn other_words_go_along() {
        for (line, ours) in [
            (
                "--json --recipe a --run --yes -- --frames 0..9 --recipe b",
                "run a --json --yes -- --frames 0..9 --recipe b",
            ),
            ("--allow abc --recipe a --run", "run a --allow abc"),
            (
                "--color never --fork abc --into x",
                "fork abc --color never --into x",
            ),
            ("-q --list-pods", "list -q"),
            ("--dfs fairos --list-pods", "list --dfs fairos"),
            ("--init --help", "init --help"),
        ] {
            let line = format!("sovr-host {line}");
            assert_eq!(rewritten(&line), Ok(format!("sovr-host {ours}")), "{line}");
        }
    }

    #[test]
    fn our_own_spelling_is_left_alone() {
        for line in [
            "sovr-host",
            "sovr-host --help",
            "sovr-host --json",
            "sovr-host run a -- --recipe b --run",
            "sovr-host run a --recipe b --run",
            "sovr-host --color never run a --task b",
            "sovr-host --json --color=never init --task --name x --pods a",
            "sovr-host -q persist",
            "sovr-host --dfs fairos list",
            "sovr-host user",
            "sovr-host run user new",
            "sovr-host -- --run",
        ] {
            assert_eq!(rewritten(line), Ok(line.to_owned()));
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_says_what_is_missing() {
        for (line, problem) in [
            (
                "--recipe a",
                "`--recipe` alone does nothing; add `--run` or `--persist`",
            ),
            ("--run", "`--run` needs a recipe: `--recipe FILE --run`"),
            (
                "--persist --yes",
                "`--persist` needs a recipe: `--recipe FILE --persist`",
            ),
            (
                "--recipe --run",
                "`--recipe` needs a value: `--recipe FILE`",
            ),
            (
                "--run --recipe",
                "`--recipe` needs a value: `--recipe FILE`",
            ),
            ("--fork", "`--fork` needs a value: `--fork REFERENCE`"),
            (
                "--import-pod -- x",
                "`--import-pod` needs a value: `--import-pod NAME`",
            ),
            (
                "--recipe a --run --persist",
                "`--run` and `--persist` are two actions; write one at a time",
            ),
            (
                "--list-pods --fork abc",
                "`--list-pods` and `--fork` are two actions; write one at a time",
            ),
            (
                "--init --recipe a",
                "`--init` takes no recipe; leave `--recipe` out",
            ),
            (
                "--recipe a --recipe b --run",
                "`--recipe` stands twice; write it once",
            ),
            ("--list-pods=x", "`--list-pods` takes no value"),
        ] {
            let line = format!("sovr-host {line}");
            assert_eq!(rewritten(&line), Err(problem.to_owned()), "{line}");
        }
    }
}
