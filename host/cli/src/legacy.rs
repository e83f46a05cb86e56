//! The original Sovr client's spelling of commands: `--recipe FILE --run` is `run FILE`.
//!
//! Words are rewritten before clap sees them, so that each command has one set of arguments and one help. What
//! else stands on the line (`--yes`, `--json`, words after `--`) goes along unchanged.

use std::ffi::{OsStr, OsString};

/// The original's actions on a recipe, and the command that each stands for.
const ACTIONS: [(&str, &str); 1] = [("--run", "run")];

/// Turns the original's spelling into ours; any other command line comes back as it was.
pub(crate) fn rewrite(args: Vec<OsString>) -> Vec<OsString> {
    let end = args
        .iter()
        .position(|word| word == "--")
        .unwrap_or(args.len());
    let action = args[..end]
        .iter()
        .position(|word| ACTIONS.iter().any(|(old, _)| word == old));
    let recipe = args[..end]
        .iter()
        .position(|word| word == "--recipe" || value_of(word).is_some());
    let (Some(action), Some(recipe)) = (action, recipe) else {
        return args;
    };
    let (file, words) = match value_of(&args[recipe]) {
        Some(file) => (file, 1),
        // `--recipe` with nothing after it is for clap to refuse.
        None if recipe + 1 == end || recipe + 1 == action => return args,
        None => (args[recipe + 1].clone(), 2),
    };
    let Some((_, command)) = ACTIONS.iter().find(|(old, _)| args[action] == *old) else {
        return args;
    };

    let mut rewritten = vec![args[0].clone(), OsString::from(command), file];
    rewritten.extend(
        args.iter()
            .enumerate()
            .skip(1)
            .filter(|(index, _)| *index != action && !(recipe..recipe + words).contains(index))
            .map(|(_, word)| word.clone()),
    );
    rewritten
}

/// The file in `--recipe=FILE`.
fn value_of(word: &OsStr) -> Option<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let value = word.as_bytes().strip_prefix(b"--recipe=")?;
    Some(OsString::from_vec(value.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        rewrite(words)
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn the_original_spelling_becomes_a_command() {
        for line in [
            "sovr-host --recipe a/recipe.json --run",
            "sovr-host --run --recipe a/recipe.json",
            "sovr-host --recipe=a/recipe.json --run",
        ] {
            assert_eq!(rewritten(line), "sovr-host run a/recipe.json");
        }
    }

    #[test]
    fn other_words_go_along() {
        assert_eq!(
            rewritten("sovr-host --json --recipe a --run --yes -- --frames 0..9 --recipe b"),
            "sovr-host run a --json --yes -- --frames 0..9 --recipe b"
        );
    }

    #[test]
    fn our_own_spelling_is_left_alone() {
        for line in [
            "sovr-host",
            "sovr-host run a -- --recipe b --run",
            "sovr-host --recipe a",
            "sovr-host --run",
            "sovr-host --recipe --run",
            "sovr-host --run --recipe",
        ] {
            assert_eq!(rewritten(line), line);
        }
    }
}
