//! A look at any recipe, for showing it.
//!
//! Registries and imported pods hold recipes of the original Sovr, in which any key may have any type and `exec` is a
//! command line of a machine. They are shown as far as they can be; what is missing is empty, and why this host would
//! not run it is said in words. Nothing decides anything by a card.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use sovr_capability::Untrusted;

use crate::pod::check_recipe;
use crate::{Error, Exec, Recipe, Task};

/// What a recipe describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A compute pod: it has `golem`.
    Pod,
    /// A task: it has `pods` and no `golem`.
    Task,
    /// Neither.
    Unknown,
}

/// What can be shown of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Card {
    /// What it describes.
    pub kind: Kind,
    /// Its name as written, unchecked; empty if it is no text, as in all that follow.
    pub name: Untrusted,
    /// What it does.
    pub description: Untrusted,
    /// Its version.
    pub version: Untrusted,
    /// Who wrote it, as they say.
    pub author: Untrusted,
    /// Whether the original would share it: whether `public` is anything but false, zero, null or empty.
    pub public: bool,
    /// A pod's `golem.exec`; empty for a task.
    pub exec: Untrusted,
    /// How many pods a task has.
    pub pods: usize,
    /// How many archives of other pods it wants.
    pub payloads: usize,
    /// Why this host cannot run it, in one line that is safe to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
}

impl Card {
    /// Looks at a recipe.
    #[must_use]
    pub fn of(recipe: &Value) -> Self {
        let at = |pointer: &str| recipe.pointer(pointer);
        let text = |pointer: &str| {
            let text = at(pointer).and_then(Value::as_str);
            Untrusted::new(text.unwrap_or_default())
        };
        let count = |pointer: &str| at(pointer).and_then(Value::as_array).map_or(0, Vec::len);
        let kind = if is_truthy(at("/golem")) {
            Kind::Pod
        } else if is_truthy(at("/pods")) {
            Kind::Task
        } else {
            Kind::Unknown
        };
        let is_pod = kind == Kind::Pod;
        Self {
            kind,
            name: text("/name"),
            description: text("/description"),
            version: text("/version"),
            author: text("/author"),
            public: is_truthy(at("/public")),
            exec: text("/golem/exec"),
            pods: if is_pod { 0 } else { count("/pods") },
            payloads: count(if is_pod { "/golem/payload" } else { "/payload" }),
            obstacle: obstacle(kind, recipe),
        }
    }
}

/// What Python takes for true, on which the original decides.
fn is_truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(entries)) => !entries.is_empty(),
    }
}

fn obstacle(kind: Kind, recipe: &Value) -> Option<String> {
    let here = Path::new("");
    let checked = match kind {
        Kind::Unknown => {
            return Some(
                "the recipe has neither `golem`, which makes a pod, nor `pods`, which makes a task"
                    .to_owned(),
            );
        }
        Kind::Task => Task::from_value(recipe.clone(), here).map(drop),
        Kind::Pod => {
            // Of all that may be wrong, this is what a reader of an original recipe needs to know first.
            let exec = recipe.pointer("/golem/exec").and_then(Value::as_str);
            if let Some(Err(error)) = exec.map(Exec::parse) {
                return Some(format!("`golem.exec` {error}"));
            }
            Recipe::from_value(recipe.clone(), here)
                .and_then(|recipe| check_recipe(&recipe, here).map(drop))
        }
    };
    match checked.err()? {
        Error::Recipe { problems, .. } => problems.into_iter().next(),
        error => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_of_the_original_is_shown_with_the_reason_why_it_does_not_run_here() {
        let card = Card::of(&json!({
            "name": "XCeption",
            "description": "Image Classification",
            "author": "somebody",
            "version": "1.0",
            "public": 1,
            "golem": {
                "exec": "python3 [@]script/main.py --model xception",
                "payload": [ { "ref": "da".repeat(32), "data": "/images.zip" } ],
                "output": "output",
                "logs": "logs"
            }
        }));
        assert_eq!(
            (card.kind, card.public, card.payloads, card.pods),
            (Kind::Pod, true, 1, 0)
        );
        assert_eq!(card.name.raw(), "XCeption");
        assert_eq!(
            card.exec.raw(),
            "python3 [@]script/main.py --model xception"
        );
        let obstacle = card.obstacle.unwrap();
        assert!(
            obstacle.starts_with(
                "`golem.exec` names the program \"python3\": this host runs WebAssembly components"
            ),
            "{obstacle}"
        );
        assert!(
            obstacle.contains("compile the script to a component"),
            "{obstacle}"
        );
    }

    #[test]
    fn what_runs_here_has_no_obstacle() {
        let pod = Card::of(&json!({ "name": "x", "golem": { "exec": "script/x.wasm" } }));
        assert_eq!((pod.kind, pod.obstacle), (Kind::Pod, None));
        let task = Card::of(&json!({
            "name": "x", "pods": ["a6".repeat(32)], "payload": [ { "ref": "a6".repeat(32), "data": "/x.zip" } ]
        }));
        assert_eq!(
            (task.kind, task.pods, task.payloads, task.obstacle),
            (Kind::Task, 1, 1, None)
        );
    }

    #[test]
    fn the_first_problem_of_a_recipe_is_its_obstacle() {
        let obstacle = |recipe: Value| Card::of(&recipe).obstacle.unwrap();
        let pod = |key: &str, value: Value| {
            let mut pod = json!({ "name": "x", "golem": { "exec": "script/x.wasm" } });
            pod[key] = value;
            pod
        };
        assert!(obstacle(pod("name", json!("../x"))).starts_with("`name`: got \"../x\""));
        assert!(
            obstacle(pod("golem", json!(true)))
                .starts_with("`golem`: got true, expected an object")
        );
        assert!(obstacle(pod("pods", json!([1]))).contains("a pod and a task at once"));
        assert!(
            obstacle(pod("capabilities", json!({ "network": true })))
                .starts_with("`capabilities.network`: unknown key")
        );
        let evil =
            json!({ "golem": { "budget": "1", "packages": { "r": [ { "wasi": "../r.zip" } ] } } });
        assert!(
            obstacle(pod("capabilities", evil)).starts_with("`capabilities.golem.packages.r`: ")
        );
        let external = json!({ "exec": "payload/external/x.wasm" });
        assert!(obstacle(pod("golem", external)).contains("code travels in the pod itself"));
        assert!(
            obstacle(json!({ "name": "x", "pods": ["x"] })).starts_with("`pods[0]`: got \"x\"")
        );
        assert!(
            obstacle(json!({ "name": "x", "golem": {}, "pods": [] }))
                .starts_with("the recipe has neither")
        );
    }

    #[test]
    fn a_recipe_of_wrong_types_is_shown_empty_and_never_fails() {
        for recipe in [
            json!(null),
            json!([1]),
            json!("golem"),
            json!({ "name": 7, "description": [], "version": {}, "author": null, "public": [], "golem": 0.0 }),
            json!({ "name": {}, "pods": "x", "payload": 5 }),
            json!({ "golem": [[[]]], "name": ["x"] }),
            json!({ "golem": { "exec": { "a": 1 }, "payload": "payload" }, "public": "" }),
        ] {
            let card = Card::of(&recipe);
            assert!(
                card.name.is_empty() && card.exec.is_empty() && !card.public,
                "{card:?}"
            );
            assert_eq!((card.pods, card.payloads), (0, 0));
            assert!(card.obstacle.is_some(), "{card:?}");
        }
    }

    #[test]
    fn an_obstacle_cannot_draw_on_the_terminal() {
        let card = Card::of(&json!({
            "name": "\u{1b}]0;x\u{7}", "golem": { "exec": "\u{1b}[2J\u{202e}sh -c x" }
        }));
        assert!(
            !card
                .obstacle
                .unwrap()
                .contains(['\u{1b}', '\u{202e}', '\u{7}'])
        );
        assert_eq!(card.name.escaped(), "\\u{1b}]0;x\\u{7}");
    }
}
