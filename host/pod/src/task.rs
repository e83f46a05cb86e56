//! The recipe of a task: several pods, one after the other or side by side.
//!
//! | key | form | |
//! |---|---|---|
//! | `name`, `description`, `version`, `author`, `public` | as in a pod's recipe | |
//! | `pods` | list of sharing references | needed; the order is the order of execution |
//! | `payload` | list of `{ref, data}` | archives that every pod of the task gets |
//! | `mode` | `"sequential"` or `"parallel"` | ours; whether a pod gets the output of the one before it |
//!
//! Unknown keys are kept, as in a pod's recipe, but for `capabilities`: somebody who writes it here believes that it
//! counts, and it would not. Each pod asks in its own recipe.
//!
//! A reference may stand in `pods` more than once, since a pod can work on its own output; each stands for a step of
//! its own. Side by side, the same pod would do the same work on the same input and be paid for twice, so in parallel
//! mode a doublet is an error.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use sovr_capability::Untrusted;
use sovr_capability::section::{Problems, Section, describe};
use sovr_capability::text::quote;

use crate::document::Source;
use crate::pod::PodLock;
use crate::recipe::{
    EXPECTED_REFERENCE, ExternalPayload, Header, is_reference, parse_json, read_shared_payload,
    refuse_both,
};
use crate::{Error, Tree};

/// Most pods of a task.
pub const MOST_PODS: usize = 64;

/// A task's recipe. Keys that this host does not know are kept in [`Task::document`].
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Name of the task. Checked: 1 to 64 letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// What it does.
    pub description: Untrusted,
    /// Its version, free text.
    pub version: Untrusted,
    /// Who wrote it, as they say.
    pub author: Untrusted,
    /// Whether persisting it shares it.
    pub public: bool,
    /// Sharing references of its pods, 64 lower-case hexadecimal digits each, in the order of execution. Not empty.
    pub pods: Vec<String>,
    /// Archives that every pod gets.
    pub payload: Vec<ExternalPayload>,
    /// How its pods follow each other.
    pub mode: Mode,
    /// The whole recipe as it was read.
    pub document: Map<String, Value>,
}

/// How the pods of a task follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One after the other; each gets the output of the one before.
    #[default]
    Sequential,
    /// None gets another's output, so they may run at the same time.
    Parallel,
}

/// A loaded task. Loading changes nothing on disk.
#[derive(Debug)]
pub struct TaskDirectory {
    task: Task,
    source: Source,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sequential" => Ok(Self::Sequential),
            "parallel" => Ok(Self::Parallel),
            other => Err(format!(
                "got {}, expected \"sequential\" or \"parallel\"",
                quote(other)
            )),
        }
    }
}

impl Task {
    /// Loads the task in a directory, or of a recipe file.
    ///
    /// # Errors
    /// When there is none, or its recipe is not valid.
    pub fn load(path: &Path) -> Result<TaskDirectory, Error> {
        let source = Source::read(path)?;
        let task = Self::parse(source.bytes(), &source.path())?;
        Ok(TaskDirectory { task, source })
    }

    /// Reads a task's recipe; `path` is for messages.
    ///
    /// # Errors
    /// With every problem found, each with its key path.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, Error> {
        Self::from_value(parse_json(text, path)?, path)
    }

    pub(crate) fn from_value(value: Value, path: &Path) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let fields = Fields::read(&value, &mut problems);
        match (fields, value) {
            (Some(fields), Value::Object(document)) if problems.is_empty() => Ok(Self {
                name: fields.name,
                description: fields.header.description,
                version: fields.header.version,
                author: fields.header.author,
                public: fields.header.public,
                pods: fields.pods,
                payload: fields.payload,
                mode: fields.mode,
                document,
            }),
            _ => Err(Error::Recipe {
                path: path.to_owned(),
                problems: problems.lines().collect(),
            }),
        }
    }
}

impl TaskDirectory {
    /// What the recipe says.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The recipe's file, byte for byte as it was read.
    #[must_use]
    pub fn recipe_bytes(&self) -> &[u8] {
        self.source.bytes()
    }

    /// The name of the recipe's file in the task's directory; `recipe.json`, unless the user named another.
    #[must_use]
    pub fn recipe_name(&self) -> &OsStr {
        self.source.name()
    }

    /// The task's files.
    #[must_use]
    pub fn tree(&self) -> &Arc<Tree> {
        self.source.tree()
    }

    /// The task's directory, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.tree().root()
    }

    /// Makes this the only run of the task.
    ///
    /// # Errors
    /// When another run holds it.
    pub fn lock(&self) -> Result<PodLock, Error> {
        PodLock::hold(self.tree())
    }
}

struct Fields {
    name: String,
    header: Header,
    pods: Vec<String>,
    payload: Vec<ExternalPayload>,
    mode: Mode,
}

impl Fields {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        if !value.is_object() {
            problems.add(
                "recipe",
                format_args!("got {}, expected an object", describe(value)),
            );
            return None;
        }
        let mut section = Section::new("", Some(value), problems);
        let mut header = Header::read(&mut section, "task", problems);
        if section.has("golem") && !section.has("pods") {
            problems.add(
                "golem",
                "is the mark of a pod; name the recipe of a task, which lists its pods in `pods`",
            );
            return None;
        }
        refuse_both(&section, problems);
        let mode = section.parsed("mode", "\"sequential\" or \"parallel\"", problems);
        let mode = mode.unwrap_or_default();
        let pods = match section.take("pods") {
            Some(pods) => read_pods(pods, mode, problems),
            None => {
                section.missing("pods", "list the sharing references of its pods", problems);
                Vec::new()
            }
        };
        let payload = section
            .take("payload")
            .map(|value| read_shared_payload(value, problems))
            .unwrap_or_default();
        if section.has("capabilities") {
            problems.add(
                "capabilities",
                "has no meaning in a task: each of its pods asks in its own recipe; leave the key out",
            );
        }
        Some(Self {
            name: header.name.take()?,
            header,
            pods,
            payload,
            mode,
        })
    }
}

fn read_pods(value: &Value, mode: Mode, problems: &mut Problems) -> Vec<String> {
    const KEY: &str = "pods";
    let entries = match value {
        Value::Array(entries) if entries.is_empty() => {
            problems.add(
                KEY,
                "is empty; a task has at least one pod, named by its sharing reference",
            );
            return Vec::new();
        }
        Value::Array(entries) if entries.len() <= MOST_PODS => entries,
        other => {
            let expected = format!("a list of 1 to {MOST_PODS} sharing references");
            problems.add(
                KEY,
                format_args!("got {}, expected {expected}", describe(other)),
            );
            return Vec::new();
        }
    };
    let mut seen = HashMap::new();
    let mut pods = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let key = format!("{KEY}[{index}]");
        let Some(reference) = entry.as_str().filter(|text| is_reference(text)) else {
            problems.add(
                &key,
                format_args!("got {}, {EXPECTED_REFERENCE}", describe(entry)),
            );
            continue;
        };
        let reference = reference.to_ascii_lowercase();
        if let Some(first) = seen.insert(reference.clone(), index)
            && mode == Mode::Parallel
        {
            problems.add(
                &key,
                format_args!("is the same as `{KEY}[{first}]`: in parallel mode both would do the same work, and both be paid; remove one"),
            );
        }
        pods.push(reference);
    }
    pods
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::document::RECIPE;
    use crate::{Document, Pod};

    fn parse(recipe: &Value) -> Result<Task, Error> {
        Task::parse(recipe.to_string().as_bytes(), Path::new(RECIPE))
    }

    fn problems(recipe: &Value) -> Vec<String> {
        match parse(recipe) {
            Err(Error::Recipe { problems, .. }) => problems,
            other => panic!("{other:?}"),
        }
    }

    fn reference(begin: &str) -> String {
        begin.repeat(32)
    }

    fn with(key: &str, value: Value) -> Value {
        let mut recipe = json!({ "name": "keras", "pods": [reference("a6"), reference("de")] });
        recipe[key] = value;
        recipe
    }

    #[test]
    fn a_task_of_the_original_format_is_read_and_unknown_keys_are_kept() {
        let task = parse(&json!({
            "name": "keras",
            "description": "Image Classification",
            "author": "somebody",
            "version": "1.0",
            "public": true,
            "x-new": { "kept": [1] },
            "pods": [reference("DE"), reference("a6"), reference("de")],
            "payload": [ { "ref": reference("0F"), "data": "/Images.ZIP" } ],
        }))
        .unwrap();
        assert_eq!(
            (task.name.as_str(), task.public, task.mode),
            ("keras", true, Mode::Sequential)
        );
        assert_eq!(
            task.pods,
            [reference("de"), reference("a6"), reference("de")]
        );
        let payload = [ExternalPayload {
            reference: reference("0f"),
            data: "/Images.ZIP".into(),
        }];
        assert_eq!(task.payload, payload);
        assert_eq!(task.document["x-new"]["kept"][0], 1);
        assert_eq!(task.document["pods"][0], reference("DE"));
        assert_eq!(
            parse(&with("mode", json!("parallel"))).unwrap().mode,
            Mode::Parallel
        );
    }

    #[test]
    fn an_error_names_key_found_and_expected() {
        let cases = [
            (json!("x"), "`recipe`: got \"x\", expected an object"),
            (
                json!({ "pods": [] }),
                "`name`: is missing; give the task a name",
            ),
            (
                with("name", json!("../../x")),
                "`name`: got \"../../x\", expected 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit",
            ),
            (
                with("pods", json!([])),
                "`pods`: is empty; a task has at least one pod, named by its sharing reference",
            ),
            (
                json!({ "name": "x" }),
                "`pods`: is missing; list the sharing references of its pods",
            ),
            (
                with("pods", json!(reference("a6"))),
                "`pods`: got \"a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6\", expected a list of 1 to 64 sharing references",
            ),
            (
                with("pods", json!(vec![reference("a6"); 65])),
                "`pods`: got a list of 65, expected a list of 1 to 64 sharing references",
            ),
            (
                with("pods", json!([reference("a6"), 7])),
                "`pods[1]`: got the number 7, expected a sharing reference, 64 or 128 hexadecimal digits",
            ),
            (
                with("pods", json!(["\u{1b}[2J"])),
                "`pods[0]`: got \"\\u{1b}[2J\", expected a sharing reference, 64 or 128 hexadecimal digits",
            ),
            (
                with("payload", json!("payload")),
                "`payload`: got \"payload\", expected a list of at most 64 { \"ref\": ..., \"data\": ... }",
            ),
            (
                with(
                    "payload",
                    json!([{ "ref": reference("a6"), "data": "/../x.zip" }]),
                ),
                "`payload[0].data`: got \"/../x.zip\", which has a part that is empty, . or .., expected an absolute path in the shared pod such as \"/images.zip\"",
            ),
            (
                with("mode", json!("Parallel")),
                "`mode`: got \"Parallel\", expected \"sequential\" or \"parallel\"",
            ),
            (
                with("mode", json!(["parallel"])),
                "`mode`: got a list of 1, expected \"sequential\" or \"parallel\", in quotation marks",
            ),
            (
                json!({ "name": "x", "golem": { "exec": "script/x.wasm" } }),
                "`golem`: is the mark of a pod; name the recipe of a task, which lists its pods in `pods`",
            ),
            (
                with("golem", json!({ "exec": "script/x.wasm" })),
                "`pods`: stands beside `golem`, so that the recipe is a pod and a task at once; leave one of them out",
            ),
            (
                with("capabilities", json!({})),
                "`capabilities`: has no meaning in a task: each of its pods asks in its own recipe; leave the key out",
            ),
        ];
        for (recipe, expected) in cases {
            let found = problems(&recipe);
            assert!(found.contains(&expected.to_owned()), "{found:#?}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let found = problems(&json!({
            "name": 1, "public": "yes", "pods": ["x", {}], "payload": [{}], "mode": 3
        }));
        assert_eq!(found.len(), 7, "{found:#?}");
    }

    #[test]
    fn the_same_pod_twice_is_two_steps_and_side_by_side_a_mistake() {
        let twice = json!([reference("a6"), reference("A6")]);
        assert_eq!(parse(&with("pods", twice.clone())).unwrap().pods.len(), 2);
        let mut recipe = with("pods", twice);
        recipe["mode"] = json!("parallel");
        assert_eq!(
            problems(&recipe),
            [
                "`pods[1]`: is the same as `pods[0]`: in parallel mode both would do the same work, and both be paid; remove one"
            ]
        );
    }

    #[test]
    fn deep_long_and_doubled_recipes_of_a_task_are_errors() {
        let here = Path::new(RECIPE);
        let deep = format!(r#"{{"name":"x","pods":{}"#, "[".repeat(100_000));
        assert!(matches!(
            Task::parse(deep.as_bytes(), here),
            Err(Error::Json { .. })
        ));
        let twice = format!(r#"{{"name":"x","pods":[],"pods":["{}"]}}"#, reference("a6"));
        let error = Task::parse(twice.as_bytes(), here).unwrap_err().to_string();
        assert!(error.contains("the key \"pods\" stands twice"), "{error}");
        let many = json!({ "name": "x", "pods": vec!["x"; 64], "payload": vec![json!({}); 64] });
        assert_eq!(problems(&many).len(), 21);
    }

    #[test]
    fn a_directory_is_a_pod_or_a_task_by_what_its_recipe_says() {
        let dir = tempfile::tempdir().unwrap();
        let text = with("mode", json!("parallel")).to_string() + "\n \n";
        fs::write(dir.path().join(RECIPE), &text).unwrap();
        let loaded = Task::load(dir.path()).unwrap();
        assert_eq!(loaded.task().mode, Mode::Parallel);
        assert_eq!(loaded.recipe_bytes(), text.as_bytes());
        assert_eq!(loaded.recipe_name(), RECIPE);
        assert_eq!(loaded.root(), dir.path().canonicalize().unwrap());
        let held = loaded.lock().unwrap();
        assert!(matches!(loaded.lock(), Err(Error::InUse { .. })));
        drop(held);

        let (root, document) = Document::load(dir.path()).unwrap();
        assert_eq!(root, loaded.root());
        assert_eq!(document, Document::Task(loaded.task().clone()));
        let error = Pod::load(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(
                "`pods`: is the mark of a task, a chain of pods; name the recipe of a single pod"
            ),
            "{error}"
        );

        // A pod of the original is a document too, though it does not run here.
        let text = br#"{"name":"hello","golem":{"exec":"python3 script/hello.py"}}"#;
        fs::write(dir.path().join("hello.recipe"), text).unwrap();
        let (source, document) = Document::read(&dir.path().join("hello.recipe")).unwrap();
        assert!(matches!(&document, Document::Pod(recipe) if recipe.exec.starts_with("python3")));
        assert_eq!(
            (source.bytes(), source.name()),
            (&text[..], OsStr::new("hello.recipe"))
        );
        assert_eq!(document.name(), "hello");
    }

    #[test]
    fn a_recipe_that_would_be_a_pod_and_a_task_is_refused_whoever_reads_it() {
        let both = with("golem", json!({ "exec": "script/x.wasm" })).to_string();
        let here = Path::new(RECIPE);
        for error in [
            Document::parse(both.as_bytes(), here).unwrap_err(),
            Task::parse(both.as_bytes(), here).unwrap_err(),
            crate::Recipe::parse(both.as_bytes(), here).unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(error.contains("is a pod and a task at once"), "{error}");
        }
    }
}
