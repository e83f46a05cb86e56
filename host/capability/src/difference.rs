//! What changed between two requests, for whoever reviewed the first.
//!
//! A fork of a newer version of a pod asks again. Reading all of it again invites nodding it through; what is new or
//! more is what needs a look. So changes are ordered by how much they matter, and compared by what they allow: a pod that
//! may now be written, and could be read before, is one change and not two.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde::Serialize;

use crate::capabilities::{Dfs, Golem, Image, PackageForm};
use crate::{Amount, Capabilities, Untrusted};

/// Longest path of a package; longer ones are not accepted in a recipe.
const PATH_SHOWN: usize = 1024;

/// How a capability changed. In the order of how much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was not asked for before.
    Added,
    /// More of it than before.
    Widened,
    /// Something else than before.
    Changed,
    /// Less of it than before.
    Narrowed,
    /// It is no longer asked for.
    Removed,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// Dotted path in `capabilities`, such as `golem.budget`.
    pub key: String,
    /// How it changed.
    pub kind: ChangeKind,
    /// What was asked before; safe to show. None for what was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What is asked now; safe to show. None for what was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Change {
    /// One line for a person; safe to show.
    #[must_use]
    pub fn in_words(&self) -> String {
        let verb = match self.kind {
            ChangeKind::Added => "added",
            ChangeKind::Widened => "widened",
            ChangeKind::Changed => "changed",
            ChangeKind::Narrowed => "narrowed",
            ChangeKind::Removed => "removed",
        };
        let key = &self.key;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                // "from 1 to 10 GLM" reads better with the unit once.
                let before = match (before.strip_suffix(GLM), after.ends_with(GLM)) {
                    (Some(number), true) => number,
                    _ => before,
                };
                format!("{key} {verb} from {before} to {after}")
            }
            (Some(what), None) | (None, Some(what)) => format!("{key} {verb}: {what}"),
            (None, None) => format!("{key} {verb}"),
        }
    }
}

const GLM: &str = " GLM";

/// All changes from one request to another, the most important first. Sections that say the same in other words do not
/// differ; a request without limits has the default ones.
#[must_use]
pub fn difference(before: &Capabilities, after: &Capabilities) -> Vec<Change> {
    let mut changes = Changes::default();
    match (&before.golem, &after.golem) {
        (Some(before), Some(after)) => golem(before, after, &mut changes),
        (before, after) => {
            changes.section(
                "golem",
                before.as_ref().map(golem_in_words),
                after.as_ref().map(golem_in_words),
            );
        }
    }
    match (&before.dfs, &after.dfs) {
        (Some(before), Some(after)) => dfs(before, after, &mut changes),
        (before, after) => {
            changes.section(
                "dfs",
                before.as_ref().map(dfs_in_words),
                after.as_ref().map(dfs_in_words),
            );
        }
    }
    changes.names("env", &before.env, &after.env, &after.env, &before.env);
    let (was, is) = (&before.limits, &after.limits);
    changes.amount("limits.memory", was.memory, is.memory);
    changes.amount("limits.time", was.time, is.time);
    changes.amount("limits.output", was.output, is.output);
    changes.amount("limits.files", was.files, is.files);
    changes.amount("limits.log", was.log, is.log);
    // Stable: changes of one kind stay in the order of the recipe's keys.
    changes.0.sort_by_key(|change| change.kind);
    changes.0
}

fn golem(before: &Golem, after: &Golem, changes: &mut Changes) {
    changes.amount("golem.budget", Glm(before.budget), Glm(after.budget));
    changes.amount("golem.max-workers", before.max_workers, after.max_workers);
    changes.amount("golem.max-tasks", before.max_tasks, after.max_tasks);
    changes.amount("golem.timeout", before.timeout, after.timeout);
    let (was, is) = (&before.subnets, &after.subnets);
    changes.names("golem.subnets", was, is, is, was);
    let names: BTreeSet<&String> = before
        .packages
        .keys()
        .chain(after.packages.keys())
        .collect();
    for name in names {
        let (was, is) = (before.packages.get(name), after.packages.get(name));
        if was != is {
            let key = format!("golem.packages.{name}");
            let in_words = |forms: &Vec<PackageForm>| forms_in_words(forms);
            changes.section(&key, was.map(in_words), is.map(in_words));
        }
    }
}

fn dfs(before: &Dfs, after: &Dfs, changes: &mut Changes) {
    // Whoever may write a pod may read it.
    let readable = |dfs: &Dfs| dfs.read.union(&dfs.write).cloned().collect::<BTreeSet<_>>();
    changes.names(
        "dfs.read",
        &readable(before),
        &after.read,
        &readable(after),
        &before.read,
    );
    let (was, is) = (&before.write, &after.write);
    changes.names("dfs.write", was, is, is, was);
    if before.share != after.share {
        let share = |dfs: &Dfs| dfs.share.then(|| "true".to_owned());
        changes.section("dfs.share", share(before), share(after));
    }
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, key: &str, kind: ChangeKind, before: Option<String>, after: Option<String>) {
        self.0.push(Change {
            key: key.to_owned(),
            kind,
            before,
            after,
        });
    }

    /// Something that may be there, and differs. The words may be the same where characters had to be escaped.
    fn section(&mut self, key: &str, before: Option<String>, after: Option<String>) {
        let kind = match (&before, &after) {
            (None, None) => return,
            (None, Some(_)) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (Some(_), Some(_)) => ChangeKind::Changed,
        };
        self.add(key, kind, before, after);
    }

    fn amount<T: Ord + Display>(&mut self, key: &str, before: T, after: T) {
        let kind = match after.cmp(&before) {
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => ChangeKind::Widened,
            std::cmp::Ordering::Less => ChangeKind::Narrowed,
        };
        self.add(key, kind, Some(before.to_string()), Some(after.to_string()));
    }

    /// Names: those of `now` that were not `held` are added, those of `was` that are not `holds` removed.
    fn names(
        &mut self,
        key: &str,
        held: &BTreeSet<String>,
        now: &BTreeSet<String>,
        holds: &BTreeSet<String>,
        was: &BTreeSet<String>,
    ) {
        let added: Vec<&str> = now.difference(held).map(String::as_str).collect();
        let removed: Vec<&str> = was.difference(holds).map(String::as_str).collect();
        if !added.is_empty() {
            self.add(key, ChangeKind::Added, None, Some(added.join(", ")));
        }
        if !removed.is_empty() {
            self.add(key, ChangeKind::Removed, Some(removed.join(", ")), None);
        }
    }
}

/// An amount with its token.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Glm(Amount);

impl Display for Glm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{GLM}", self.0)
    }
}

fn golem_in_words(golem: &Golem) -> String {
    let packages: Vec<String> = golem
        .packages
        .iter()
        .map(|(name, forms)| format!("{name} ({})", forms_in_words(forms)))
        .collect();
    format!(
        "budget {}, max-workers {}, max-tasks {}, timeout {}, subnets {}, packages {}",
        Glm(golem.budget),
        golem.max_workers,
        golem.max_tasks,
        golem.timeout,
        list(&golem.subnets),
        packages.join(", ")
    )
}

fn dfs_in_words(dfs: &Dfs) -> String {
    let mut parts = Vec::new();
    if !dfs.read.is_empty() {
        parts.push(format!("read {}", list(&dfs.read)));
    }
    if !dfs.write.is_empty() {
        parts.push(format!("write {}", list(&dfs.write)));
    }
    if dfs.share {
        parts.push("share".to_owned());
    }
    if parts.is_empty() {
        return "nothing".to_owned();
    }
    parts.join(", ")
}

fn forms_in_words(forms: &[PackageForm]) -> String {
    let forms: Vec<String> = forms.iter().map(form_in_words).collect();
    forms.join(" or ")
}

fn form_in_words(form: &PackageForm) -> String {
    let mut words = match &form.image {
        Image::Wasi(path) => Untrusted::new(path.as_str()).escaped_within(PATH_SHOWN),
        // In full: two images that begin alike are two images.
        Image::Vm(image) => format!("image {image}"),
    };
    if let Some(url) = &form.url {
        words += &format!(
            " from {}",
            Untrusted::new(url.as_str()).escaped_within(PATH_SHOWN)
        );
    }
    if let Some(gib) = form.min_mem_gib {
        words += &format!(" with {} GiB of memory", gib.as_f64());
    }
    if let Some(gib) = form.min_storage_gib {
        words += &format!(" with {} GiB of storage", gib.as_f64());
    }
    if let Some(threads) = form.min_cpu_threads {
        words += &format!(" with {threads} threads");
    }
    for capability in &form.capabilities {
        words += &format!(" with {capability}");
    }
    words
}

fn list(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(section: &Value) -> Capabilities {
        Capabilities::parse(Some(section)).unwrap()
    }

    fn words(before: &Value, after: &Value) -> Vec<String> {
        let changes = difference(&parse(before), &parse(after));
        changes.iter().map(Change::in_words).collect()
    }

    const HASH: &str = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae";

    fn full() -> Value {
        json!({
            "golem": {
                "budget": "1", "max-workers": 3, "max-tasks": 100, "timeout": "30m", "subnets": ["public"],
                "packages": { "renderer": [ { "wasi": "payload/renderer.zip" }, { "vm": HASH, "min-mem-gib": 0.5 } ] }
            },
            "dfs": { "read": ["images"], "write": ["results"], "share": false },
            "env": ["LANG"],
            "limits": { "memory": "256MiB", "time": "15m", "output": "1GiB", "files": 10000, "log": "16MiB" }
        })
    }

    /// `full` with the value at a JSON pointer replaced.
    fn with(pointer: &str, value: Value) -> Value {
        let mut section = full();
        *section.pointer_mut(pointer).unwrap() = value;
        section
    }

    #[test]
    fn every_kind_of_change_has_its_words() {
        let cases = [
            (
                with("/golem/budget", json!("10.0")),
                vec!["golem.budget widened from 1 to 10 GLM"],
            ),
            (
                with("/golem/budget", json!("0.25")),
                vec!["golem.budget narrowed from 1 to 0.25 GLM"],
            ),
            (
                with("/golem/max-workers", json!(20)),
                vec!["golem.max-workers widened from 3 to 20"],
            ),
            (
                with("/golem/max-tasks", json!(7)),
                vec!["golem.max-tasks narrowed from 100 to 7"],
            ),
            (
                with("/golem/timeout", json!("2h")),
                vec!["golem.timeout widened from 30m to 2h"],
            ),
            (
                with("/golem/subnets", json!(["devnet", "lab"])),
                vec![
                    "golem.subnets added: devnet, lab",
                    "golem.subnets removed: public",
                ],
            ),
            (
                with("/dfs/read", json!(["images", "mail"])),
                vec!["dfs.read added: mail"],
            ),
            (
                with("/dfs/write", json!([])),
                vec!["dfs.write removed: results"],
            ),
            (
                with("/dfs/share", json!(true)),
                vec!["dfs.share added: true"],
            ),
            (with("/env", json!([])), vec!["env removed: LANG"]),
            (
                with("/env", json!(["LANG", "HOME"])),
                vec!["env added: HOME"],
            ),
            (
                with("/limits/memory", json!("1GiB")),
                vec!["limits.memory widened from 256MiB to 1GiB"],
            ),
            (
                with("/limits/time", json!("1m")),
                vec!["limits.time narrowed from 15m to 1m"],
            ),
            (
                with("/limits/output", json!("2GiB")),
                vec!["limits.output widened from 1GiB to 2GiB"],
            ),
            (
                with("/limits/files", json!(1)),
                vec!["limits.files narrowed from 10000 to 1"],
            ),
            (
                with("/limits/log", json!("1MiB")),
                vec!["limits.log narrowed from 16MiB to 1MiB"],
            ),
        ];
        for (after, expected) in cases {
            assert_eq!(words(&full(), &after), expected);
        }
    }

    #[test]
    fn packages_are_compared_form_by_form_and_images_shown_in_full() {
        let other = HASH.replace("c7ae", "c7af");
        let form = |hash: &str| json!([ { "wasi": "payload/renderer.zip" }, { "vm": hash, "min-mem-gib": 0.5, "min-storage-gib": 2, "min-cpu-threads": 4, "capabilities": ["vpn"], "url": "https://a.org/b" } ]);
        assert_eq!(
            words(&full(), &with("/golem/packages/renderer", form(&other))),
            [format!(
                "golem.packages.renderer changed from payload/renderer.zip or image {HASH} with 0.5 GiB of memory to payload/renderer.zip or image {other} from https://a.org/b with 0.5 GiB of memory with 2 GiB of storage with 4 threads with vpn"
            )]
        );
        let packages = json!({ "cracker": [ { "wasi": "payload/c.zip" } ] });
        assert_eq!(
            words(&full(), &with("/golem/packages", packages)),
            [
                "golem.packages.cracker added: payload/c.zip".to_owned(),
                format!(
                    "golem.packages.renderer removed: payload/renderer.zip or image {HASH} with 0.5 GiB of memory"
                ),
            ]
        );
    }

    #[test]
    fn a_section_that_appears_is_told_with_all_that_it_holds() {
        let added = words(&json!({}), &full());
        assert_eq!(
            added,
            [
                format!(
                    "golem added: budget 1 GLM, max-workers 3, max-tasks 100, timeout 30m, subnets public, packages renderer (payload/renderer.zip or image {HASH} with 0.5 GiB of memory)"
                ),
                "dfs added: read images, write results".to_owned(),
                "env added: LANG".to_owned(),
            ]
        );
        let removed: Vec<String> = added
            .iter()
            .map(|line| line.replacen("added", "removed", 1))
            .collect();
        assert_eq!(words(&full(), &json!({})), removed);
        assert_eq!(
            words(&json!({}), &json!({ "dfs": {} })),
            ["dfs added: nothing"]
        );
        assert_eq!(
            words(
                &json!({}),
                &json!({ "dfs": { "write": ["x"], "share": true } })
            ),
            ["dfs added: write x, share"]
        );
    }

    #[test]
    fn a_request_without_limits_has_the_default_ones() {
        assert_eq!(
            words(&json!({}), &json!({ "limits": { "memory": "256MiB" } })),
            [""; 0]
        );
        assert_eq!(
            words(&json!({}), &json!({ "limits": { "time": "1h" } })),
            ["limits.time widened from 15m to 1h"]
        );
        assert_eq!(words(&full(), &full()), [""; 0]);
        // The same amount in other words.
        assert_eq!(
            words(&full(), &with("/golem/budget", json!("1.000"))),
            [""; 0]
        );
    }

    #[test]
    fn a_pod_that_may_be_written_may_be_read_and_is_told_once() {
        let section =
            |read: Value, write: Value| json!({ "dfs": { "read": read, "write": write } });
        let (read, write) = (
            section(json!(["x"]), json!([])),
            section(json!([]), json!(["x"])),
        );
        assert_eq!(words(&read, &write), ["dfs.write added: x"]);
        assert_eq!(words(&write, &read), ["dfs.write removed: x"]);
    }

    #[test]
    fn what_is_new_or_more_comes_first() {
        let mut after = with("/golem/budget", json!("2"));
        after["limits"]["time"] = json!("1m");
        after["env"] = json!(["HOME"]);
        after["golem"]["packages"]["renderer"] = json!([ { "wasi": "payload/r.zip" } ]);
        let changes = difference(&parse(&full()), &parse(&after));
        let kinds: Vec<ChangeKind> = changes.iter().map(|change| change.kind).collect();
        use ChangeKind::{Added, Changed, Narrowed, Removed, Widened};
        assert_eq!(kinds, [Added, Widened, Changed, Narrowed, Removed]);
        assert_eq!(
            serde_json::to_value(&changes[1]).unwrap(),
            json!({ "key": "golem.budget", "kind": "widened", "before": "1 GLM", "after": "2 GLM" })
        );
        assert_eq!(
            serde_json::to_value(&changes[0]).unwrap(),
            json!({ "key": "env", "kind": "added", "after": "HOME" })
        );
    }

    #[test]
    fn a_path_in_a_change_cannot_draw_on_the_terminal_or_hide_its_end() {
        let path = |end: &str| format!("payload/\u{1b}[2J\u{202e}{}{end}.zip", "x".repeat(500));
        let section =
            |end: &str| with("/golem/packages/renderer", json!([ { "wasi": path(end) } ]));
        let words = words(&section("good"), &section("evil"));
        assert_eq!(words.len(), 1);
        assert!(
            words[0].contains("good.zip to ") && words[0].ends_with("evil.zip"),
            "{words:?}"
        );
        assert!(!words[0].contains(['\u{1b}', '\u{202e}']));
    }
}
